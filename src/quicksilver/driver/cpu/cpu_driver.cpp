// The cpu driver: a command runs in the thread that submits it, over the pool when it is large.
//
// Both ways to run a list (submit and replay) walk it in one parallel region: the helpers are woken
// once and stay near; each command's chunks are dealt out, and the next command starts when all of
// them are done. A command of one chunk runs in the calling thread and wakes nobody. What differs
// is where a command's preparations (resolved strides, piece sizes) live: submit makes them on the
// spot, a frozen program has made them once and only looks up addresses and scalars in the launch
// table.
//
// A kernel that meets data it must refuse sets Launch.error; nothing is thrown. From there on the
// predicated commands are skipped, in this list and, the record being sticky, in those behind it.
// All others run: what they make of a failed command's results is safe, and the runtime knows which
// of theirs are worthless.
//
// Complication: a program is shared by no two threads at a time (the execution lock).
#include "quicksilver/driver/cpu/cpu_driver.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <optional>

#include "quicksilver/core/cpu_info.h"
#include "quicksilver/core/error.h"
#include "quicksilver/core/thread_pool.h"
#include "quicksilver/driver/cpu/attention.h"
#include "quicksilver/driver/cpu/conv.h"
#include "quicksilver/driver/cpu/cpu_memory.h"
#include "quicksilver/driver/cpu/gemm.h"
#include "quicksilver/driver/cpu/tile.h"

namespace qs::driver {
namespace {

using cpu::AttentionPlan;
using cpu::ConvPlan;
using cpu::ConvPointers;
using cpu::GemmPlan;
using cpu::GemmPointers;
using cpu::GemmShape;

struct BuiltPortable final : Kernel {
  explicit BuiltPortable(const PortableKernel& k) : portable(k) {}
  PortableKernel portable;
};
struct BuiltAttention final : Kernel {
  explicit BuiltAttention(const AttentionCall& c) : call(c) {}
  AttentionCall call;
};
struct BuiltMatmul final : Kernel {
  explicit BuiltMatmul(const MatmulCall& c) : call(c) {}
  MatmulCall call;
};
struct BuiltConv final : Kernel {
  explicit BuiltConv(const ConvCall& c) : call(c) {}
  ConvCall call;
};

void* resolve(const PtrRef& ref, const Launch& launch) {
  char* p = static_cast<char*>(launch.bases[static_cast<size_t>(ref.base)]) + ref.bytes;
  if (ref.offset_word >= 0)
    p += static_cast<int64_t>(launch.words[static_cast<size_t>(ref.offset_word)]) * ref.item_size;
  return p;
}

uint64_t resolve(const ScalarRef& ref, const Launch& launch) {
  return ref.word >= 0 ? launch.words[static_cast<size_t>(ref.word)] : ref.value;
}

void run_portable(const PortableKernel& kernel, const KernelArgs& args, int32_t tag,
                  const Launch& launch) {
  constexpr size_t k_inline = 24;
  void* inline_pointers[k_inline];
  uint64_t inline_scalars[k_inline];
  std::vector<void*> more_pointers;
  std::vector<uint64_t> more_scalars;
  void** pointers = inline_pointers;
  uint64_t* scalars = inline_scalars;
  if (args.pointers.size() > k_inline) {
    more_pointers.resize(args.pointers.size());
    pointers = more_pointers.data();
  }
  if (args.scalars.size() > k_inline) {
    more_scalars.resize(args.scalars.size());
    scalars = more_scalars.data();
  }
  for (size_t i = 0; i < args.pointers.size(); ++i) pointers[i] = resolve(args.pointers[i], launch);
  for (size_t i = 0; i < args.scalars.size(); ++i) scalars[i] = resolve(args.scalars[i], launch);
  const KernelView view{pointers, args.ints.data(), scalars, launch.error, tag};

  const int64_t grain = args.grain > 0 ? args.grain : 1;
  const int64_t chunks = (args.items + grain - 1) / grain;
  ThreadPool::instance().parallel_for(chunks, [&](int64_t first, int64_t last, int) {
    kernel.host(view, first * grain, std::min(last * grain, args.items));
  });
}

void run_attention(const AttentionPlan& plan, const AttentionArgs& args, const Launch& launch) {
  const int64_t chunks = plan.chunks();
  if (chunks == 0) return;
  cpu::AttentionPointers p;
  p.q = resolve(args.q.ptr, launch);
  p.k = resolve(args.k.ptr, launch);
  p.v = resolve(args.v.ptr, launch);
  p.out = resolve(args.out.ptr, launch);
  p.mask = resolve(args.mask.ptr, launch);
  p.logsumexp = resolve(args.logsumexp, launch);
  p.grad_out = resolve(args.grad_out.ptr, launch);
  p.grad_q = resolve(args.grad_q.ptr, launch);
  p.grad_k = resolve(args.grad_k.ptr, launch);
  p.grad_v = resolve(args.grad_v.ptr, launch);
  p.keep = std::bit_cast<double>(resolve(args.keep, launch));
  p.drop_scale = std::bit_cast<double>(resolve(args.drop_scale, launch));
  p.seed = resolve(args.seed, launch);
  p.offset = resolve(args.offset, launch);
  ThreadPool::instance().parallel_for(
      chunks, [&](int64_t first, int64_t last, int) { plan.run(p, first, last); });
}

void run_conv(const ConvPlan& plan, const ConvArgs& args, const Launch& launch) {
  ConvPointers p;
  p.x = resolve(args.x.ptr, launch);
  p.w = resolve(args.w.ptr, launch);
  p.y = resolve(args.y.ptr, launch);
  p.bias = resolve(args.bias, launch);
  plan.run(p);
}

cpu::TileScratch& tile_scratch() {
  static thread_local cpu::TileScratch scratch;
  return scratch;
}

constexpr double k_worth_sharing_ns = 10000;

/// Deals out the pieces of all parts as if they were one launch, to each thread the same share of
/// every part: parts that write the same lines of memory (a stack along the last dimension) write
/// them from one core. `pieces` gives how many a part has, `run` runs the pieces [first, last).
template <class Pieces, class Run>
void share_pieces(std::span<const cpu::TileLaunch> tiles, Pieces&& pieces, Run&& run) {
  int64_t total = 0;
  for (const cpu::TileLaunch& t : tiles) total += pieces(t);
  ThreadPool::instance().parallel_for(total, [&](int64_t first, int64_t last, int) {
    for (const cpu::TileLaunch& t : tiles) {
      const int64_t here = pieces(t), from = first * here / total, to = last * here / total;
      if (from < to) run(t, from, to);
    }
  });
}

/// The parts of one launch.
void run_tiles(std::span<const cpu::TileLaunch> tiles, const Launch& launch) {
  double ns = 0;
  int64_t finish_chunks = 0;
  for (const cpu::TileLaunch& t : tiles) {
    if (t.chunks() == 0) continue;
    t.begin(launch);
    ns += t.estimated_ns();
    finish_chunks += t.finish_chunks();
  }
  const auto chunks = [](const cpu::TileLaunch& t) { return t.chunks(); };
  const auto run = [&](const cpu::TileLaunch& t, int64_t first, int64_t last) {
    t.run(launch, first, last, tile_scratch());
  };
  if (finish_chunks == 0 && ns < k_worth_sharing_ns) {
    for (const cpu::TileLaunch& t : tiles)
      if (t.chunks()) run(t, 0, t.chunks());
    return;
  }
  share_pieces(tiles, chunks, run);
  if (finish_chunks == 0) return;
  share_pieces(
      tiles, [](const cpu::TileLaunch& t) { return t.finish_chunks(); },
      [&](const cpu::TileLaunch& t, int64_t first, int64_t last) {
        t.finish(launch, first, last, tile_scratch());
      });
}

/// A matrix product and, for each of its chunks, what is done with that part of C.
struct PreparedMatmul {
  GemmPlan plan;
  std::vector<cpu::TileLaunch> behind;

  explicit PreparedMatmul(const Command& c)
      : plan(GemmShape::of(static_cast<const BuiltMatmul*>(c.kernel)->call,
                           std::get<MatmulArgs>(c.args)),
             c.epilogue.kernel != nullptr) {
    if (!c.epilogue.kernel) return;
    const auto& kernel = static_cast<const cpu::TileKernel&>(*c.epilogue.kernel);
    behind.reserve(static_cast<size_t>(plan.chunks()));
    for (int64_t chunk = 0; chunk < plan.chunks(); ++chunk) {
      const GemmPlan::Box box = plan.box(chunk);
      behind.emplace_back(kernel,
                          kernel.part(c.epilogue.args, {box.batch, box.row, box.column},
                                      {box.items, box.rows, box.columns}),
                          c.tag);
    }
  }

  void run(const MatmulArgs& args, const Launch& launch) const {
    const int64_t chunks = plan.chunks();
    if (chunks == 0) return;
    GemmPointers p;
    p.a = resolve(args.a.ptr, launch);
    p.b = resolve(args.b.ptr, launch);
    p.c = resolve(args.c.ptr, launch);
    p.bias = resolve(args.bias.ptr, launch);
    for (const cpu::TileLaunch& t : behind) t.begin(launch);
    const auto run = [&](int64_t first, int64_t last, int) {
      if (behind.empty()) return plan.run(p, first, last);
      for (int64_t chunk = first; chunk < last; ++chunk) {
        plan.run(p, chunk, chunk + 1);
        const cpu::TileLaunch& t = behind[static_cast<size_t>(chunk)];
        t.run(launch, 0, t.chunks(), tile_scratch());
      }
    };
    if (chunks == 1) {
      run(0, 1, 0);
    } else {
      ThreadPool::instance().parallel_for(chunks, run);
    }
  }
};

/// Fits a command to the machine: one launch for each part.
std::vector<cpu::TileLaunch> prepare_tiles(const Command& c) {
  const auto& kernel = static_cast<const cpu::TileKernel&>(*c.kernel);
  std::vector<cpu::TileLaunch> tiles;
  tiles.reserve(1 + c.more.size());
  tiles.emplace_back(kernel, std::get<TileArgs>(c.args), c.tag);
  for (const TileArgs& part : c.more) tiles.emplace_back(kernel, part, c.tag);
  return tiles;
}

bool failed(const Launch& launch) {
  return std::atomic_ref(launch.error->set).load(std::memory_order_relaxed) != 0;
}

/// Says which run set the error record, when it was this one.
void sign(const Launch& launch) {
  if (failed(launch) && launch.error->run == 0) [[unlikely]]
    std::atomic_ref(launch.error->run).store(launch.run, std::memory_order_release);
}

class CpuProgram final : public Program {
 public:
  explicit CpuProgram(std::vector<Command> commands) : commands_(std::move(commands)) {
    steps_.reserve(commands_.size());
    for (const Command& c : commands_) {
      Prepared step;
      if (std::holds_alternative<TileArgs>(c.args)) {
        step.tiles = prepare_tiles(c);
        double ns = 0;
        for (const cpu::TileLaunch& t : step.tiles) {
          wide_ = wide_ || t.chunks() > 1;
          ns += t.estimated_ns();
        }
        wide_ = wide_ || (step.tiles.size() > 1 && ns >= k_worth_sharing_ns);
      } else if (std::holds_alternative<MatmulArgs>(c.args)) {
        step.matmul.emplace(c);
        wide_ = wide_ || step.matmul->plan.chunks() > 1;
      } else if (auto* attention = std::get_if<Boxed<AttentionArgs>>(&c.args)) {
        step.attention.emplace(static_cast<const BuiltAttention*>(c.kernel)->call, **attention);
        wide_ = wide_ || step.attention->chunks() > 1;
      } else if (auto* conv = std::get_if<Boxed<ConvArgs>>(&c.args)) {
        step.conv.emplace(static_cast<const BuiltConv*>(c.kernel)->call, **conv);
        wide_ = wide_ || step.conv->wide();
      } else {
        step.portable = &static_cast<const BuiltPortable*>(c.kernel)->portable;
        const KernelArgs& args = std::get<KernelArgs>(c.args);
        wide_ = wide_ || args.items > args.grain;
      }
      steps_.push_back(std::move(step));
    }
  }

  void run(const Launch& launch) {
    ThreadPool::Region region(wide_);
    for (size_t i = 0; i < steps_.size(); ++i) {
      const Prepared& s = steps_[i];
      const Command& c = commands_[i];
      if (c.predicated && failed(launch)) [[unlikely]]
        continue;
      if (!s.tiles.empty()) {
        run_tiles(s.tiles, launch);
      } else if (s.matmul) {
        s.matmul->run(std::get<MatmulArgs>(c.args), launch);
      } else if (s.attention) {
        run_attention(*s.attention, *std::get<Boxed<AttentionArgs>>(c.args), launch);
      } else if (s.conv) {
        run_conv(*s.conv, *std::get<Boxed<ConvArgs>>(c.args), launch);
      } else {
        run_portable(*s.portable, std::get<KernelArgs>(c.args), c.tag, launch);
      }
    }
    sign(launch);
  }

 private:
  struct Prepared {  // one of them
    std::vector<cpu::TileLaunch> tiles;
    std::optional<PreparedMatmul> matmul;
    std::optional<AttentionPlan> attention;
    std::optional<ConvPlan> conv;
    const PortableKernel* portable = nullptr;
  };
  std::vector<Command> commands_;
  std::vector<Prepared> steps_;
  bool wide_ = false;  // some command has work for the helpers
};

class CpuDriver final : public Driver {
 public:
  CpuDriver() {
    const CpuInfo& machine = cpu_info();
    info_.driver = "cpu";
    info_.threads = ThreadPool::instance().threads();
    info_.name = format("{} ({}), {} thread{}", machine.name, name_of(machine.isa), info_.threads,
                        info_.threads == 1 ? "" : "s");
    info_.host_memory = true;
    info_.exact_rows = true;
    info_.dlpack_device = 1;  // kDLCPU
    info_.memory_bytes = machine.memory_bytes;
  }

  const DriverInfo& info() const override { return info_; }

  void* alloc(size_t bytes) override {
    void* p = cpu::host_alloc(bytes);
    QS_CHECK(p, OutOfMemoryError, "the system refused {} bytes of host memory", bytes);
    allocated_.fetch_add(static_cast<int64_t>(bytes), std::memory_order_relaxed);
    return p;
  }
  void release(void* p, size_t bytes) noexcept override {
    cpu::host_release(p, bytes);
    allocated_.fetch_sub(static_cast<int64_t>(bytes), std::memory_order_relaxed);
  }
  void write(void* dst, const void* src, size_t bytes) override { copy(dst, src, bytes); }
  void read(void* dst, const void* src, size_t bytes) override { copy(dst, src, bytes); }
  void copy(void* dst, const void* src, size_t bytes) override {
    if (bytes) std::memmove(dst, src, bytes);
  }

  std::unique_ptr<Kernel> build(const Source& source) override {
    if (auto* tile = std::get_if<TileProgram>(&source))
      return std::make_unique<cpu::TileKernel>(*tile);
    if (auto* portable = std::get_if<PortableKernel>(&source)) {
      QS_CHECK(portable->host, DeviceError, "kernel {} has no host function", portable->name);
      return std::make_unique<BuiltPortable>(*portable);
    }
    if (auto* attention = std::get_if<AttentionCall>(&source)) {
      QS_CHECK(accepts(source), DeviceError, "the cpu driver has no attention of {}",
               name_of(attention->dtype));
      return std::make_unique<BuiltAttention>(*attention);
    }
    if (auto* conv = std::get_if<ConvCall>(&source)) {
      QS_CHECK(accepts(source), DeviceError, "the cpu driver has no convolution of {}",
               name_of(conv->dtype));
      return std::make_unique<BuiltConv>(*conv);
    }
    const MatmulCall& call = std::get<MatmulCall>(source);
    QS_CHECK(accepts(source), DeviceError, "the cpu driver has no matrix product of {}",
             name_of(call.dtype));
    return std::make_unique<BuiltMatmul>(call);
  }
  bool accepts(const Source& source) const override {
    if (auto* call = std::get_if<MatmulCall>(&source)) return GemmPlan::accepts(call->dtype);
    if (auto* call = std::get_if<AttentionCall>(&source)) return is_floating(call->dtype);
    if (auto* call = std::get_if<ConvCall>(&source)) return ConvPlan::accepts(call->dtype);
    if (auto* portable = std::get_if<PortableKernel>(&source)) return portable->host != nullptr;
    return true;
  }

  Fence submit(std::span<const Command> commands, const Launch& launch) override {
    std::optional<ThreadPool::Region> region;
    if (commands.size() > 1) region.emplace();
    for (const Command& c : commands) {
      if (c.predicated && failed(launch)) [[unlikely]]
        continue;
      if (auto* matmul = std::get_if<MatmulArgs>(&c.args)) {
        PreparedMatmul(c).run(*matmul, launch);
      } else if (auto* attention = std::get_if<Boxed<AttentionArgs>>(&c.args)) {
        const AttentionCall& call = static_cast<const BuiltAttention*>(c.kernel)->call;
        run_attention(AttentionPlan(call, **attention), **attention, launch);
      } else if (auto* conv = std::get_if<Boxed<ConvArgs>>(&c.args)) {
        run_conv(ConvPlan(static_cast<const BuiltConv*>(c.kernel)->call, **conv), **conv, launch);
      } else if (auto* portable = std::get_if<KernelArgs>(&c.args)) {
        run_portable(static_cast<const BuiltPortable*>(c.kernel)->portable, *portable, c.tag,
                     launch);
      } else {
        run_tiles(prepare_tiles(c), launch);
      }
    }
    sign(launch);
    return 0;
  }
  std::unique_ptr<Program> freeze(std::vector<Command> commands) override {
    return std::make_unique<CpuProgram>(std::move(commands));
  }
  Fence replay(Program& program, const Launch& launch) override {
    static_cast<CpuProgram&>(program).run(launch);
    return 0;
  }
  void wait(Fence) override {}
  bool done(Fence) override { return true; }
  int64_t allocated_bytes() const override { return allocated_.load(std::memory_order_relaxed); }

 private:
  DriverInfo info_;
  std::atomic<int64_t> allocated_{0};
};

}  // namespace

std::string cpu_libraries() { return GemmPlan::description(); }

std::unique_ptr<Driver> open_cpu_driver() { return std::make_unique<CpuDriver>(); }

}  // namespace qs::driver
