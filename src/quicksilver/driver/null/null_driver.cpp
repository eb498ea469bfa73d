#include "quicksilver/driver/null/null_driver.h"

#include <atomic>
#include <cstring>

#include "quicksilver/core/error.h"

namespace qs::driver {
namespace {

struct AtomicCounters {
  std::atomic<int64_t> kernels_built{0}, launches{0}, submits{0}, replays{0}, touched_bytes{0};
};
AtomicCounters& counters() {
  static AtomicCounters c;
  return c;
}

/// `except`: memory that is in the cache.
int64_t touched(const TileProgram& program, const TileArgs& args, const PtrRef* except = nullptr) {
  int64_t total = 0;
  for (size_t i = 0; i < program.operands.size(); ++i) {
    const TileOperand& o = program.operands[i];
    if (o.kind != TileOperand::memory) continue;
    if (except && is_same_place(args.operands[i].ptr, *except)) continue;
    int64_t elements = 1;
    for (size_t d = 0; d < args.extents.size(); ++d) {
      const bool moves = args.operands[i].strides[d] != 0;
      if (moves || args.extents[d] == 0) elements *= args.extents[d];
    }
    total += elements * static_cast<int64_t>(size_of(o.dtype));
  }
  return total;
}

int64_t touched(const PortableKernel&, const KernelArgs&) { return 0; }

int64_t touched(const MatmulCall& call, const MatmulArgs& args) {
  const auto elements = [&](const MatmulArgs::Matrix& x, int64_t rows, int64_t columns) {
    return (x.row ? rows : 1) * (x.column ? columns : 1) * (x.batch ? args.batch : 1);
  };
  if (args.batch * args.m * args.n == 0) return 0;
  int64_t total = elements(args.c, args.m, args.n) * (args.beta != 0 ? 2 : 1);
  if (args.k > 0) total += elements(args.a, args.m, args.k) + elements(args.b, args.k, args.n);
  if (call.bias) total += elements(args.bias, args.m, args.n);
  return total * static_cast<int64_t>(size_of(call.dtype));
}

int64_t touched(const AttentionCall& call, const AttentionArgs& a) {
  const auto bytes = [&](const AttentionArgs::Matrix& x, int64_t heads, int64_t rows,
                         int64_t columns, DType dtype) {
    return (x.batch ? a.batch : 1) * (x.head ? heads : 1) * (x.row ? rows : 1) *
           (x.column ? columns : 1) * static_cast<int64_t>(size_of(dtype));
  };
  const DType d = call.dtype;
  int64_t total = bytes(a.q, a.heads, a.rows, a.width, d) +
                  bytes(a.k, a.key_heads, a.keys, a.width, d) +
                  bytes(a.v, a.key_heads, a.keys, a.value_width, d) +
                  bytes(a.out, a.heads, a.rows, a.value_width, d);
  total += a.batch * a.heads * a.rows * static_cast<int64_t>(size_of(compute_dtype(d)));
  if (call.mask != AttentionCall::none)
    total += bytes(a.mask, a.heads, a.rows, a.keys, call.mask_dtype);
  if (call.backward)
    total += bytes(a.grad_out, a.heads, a.rows, a.value_width, d) +
             bytes(a.grad_q, a.heads, a.rows, a.width, d) +
             bytes(a.grad_k, a.key_heads, a.keys, a.width, d) +
             bytes(a.grad_v, a.key_heads, a.keys, a.value_width, d);
  return total;
}

int64_t touched(const ConvCall& call, const ConvArgs& a) {
  const auto volume = [](const int64_t (&size)[3]) { return size[0] * size[1] * size[2]; };
  int64_t elements = a.batch * (a.in * volume(a.x_size) + a.out * volume(a.y_size));
  elements += a.out * (a.in / a.groups) * volume(a.kernel);
  if (call.bias) elements += call.kind == ConvCall::input ? a.in : a.out;
  return elements * static_cast<int64_t>(size_of(call.dtype));
}

struct NullKernel final : Kernel {
  explicit NullKernel(const Source& s) : source(s) {}
  Source source;
};

struct NullProgram final : Program {
  std::vector<Command> commands;
};

class NullDriver final : public Driver {
 public:
  NullDriver() {
    info_.driver = "null";
    info_.name = "nothing";
    info_.exact_rows = true;
    info_.memory_bytes = int64_t{1} << 40;
  }
  const DriverInfo& info() const override { return info_; }

  void* alloc(size_t bytes) override {
    const uint64_t size = (bytes + 255) & ~uint64_t{255};
    allocated_ += static_cast<int64_t>(bytes);
    return reinterpret_cast<void*>(next_address_.fetch_add(size));
  }
  void release(void*, size_t bytes) noexcept override { allocated_ -= static_cast<int64_t>(bytes); }
  void write(void*, const void*, size_t) override {}
  void read(void* dst, const void*, size_t bytes) override {
    if (bytes) std::memset(dst, 0, bytes);
  }
  void copy(void*, const void*, size_t) override {}

  std::unique_ptr<Kernel> build(const Source& source) override {
    ++counters().kernels_built;
    return std::make_unique<NullKernel>(source);
  }
  Fence submit(std::span<const Command> commands, const Launch&) override {
    ++counters().submits;
    for (const Command& c : commands) {
      const auto* kernel = static_cast<const NullKernel*>(c.kernel);
      QS_ASSERT(kernel && kernel->source.index() == c.args.index());
      ++counters().launches;
      counters().touched_bytes += touched_bytes(kernel->source, c.args);
      for (const TileArgs& part : c.more)
        counters().touched_bytes += touched_bytes(kernel->source, part);
      if (c.epilogue.kernel)
        counters().touched_bytes += touched(
            std::get<TileProgram>(static_cast<const NullKernel*>(c.epilogue.kernel)->source),
            c.epilogue.args, &std::get<MatmulArgs>(c.args).c.ptr);
    }
    return 0;
  }
  std::unique_ptr<Program> freeze(std::vector<Command> commands) override {
    auto program = std::make_unique<NullProgram>();
    program->commands = std::move(commands);
    return program;
  }
  Fence replay(Program& program, const Launch& launch) override {
    ++counters().replays;
    return submit(static_cast<NullProgram&>(program).commands, launch);
  }
  void wait(Fence) override {}
  bool done(Fence) override { return true; }
  int64_t allocated_bytes() const override { return allocated_; }

 private:
  DriverInfo info_;
  std::atomic<uint64_t> next_address_{uint64_t{1} << 46};
  std::atomic<int64_t> allocated_{0};
};

}  // namespace

NullCounters null_counters() {
  AtomicCounters& c = counters();
  return {c.kernels_built, c.launches, c.submits, c.replays, c.touched_bytes};
}

void reset_null_counters() {
  AtomicCounters& c = counters();
  c.kernels_built = c.launches = c.submits = c.replays = c.touched_bytes = 0;
}

int64_t touched_bytes(const Source& source, const Args& args) {
  if (auto* tile = std::get_if<TileProgram>(&source))
    return touched(*tile, std::get<TileArgs>(args));
  if (auto* matmul = std::get_if<MatmulCall>(&source))
    return touched(*matmul, std::get<MatmulArgs>(args));
  if (auto* attention = std::get_if<AttentionCall>(&source))
    return touched(*attention, *std::get<Boxed<AttentionArgs>>(args));
  if (auto* conv = std::get_if<ConvCall>(&source))
    return touched(*conv, *std::get<Boxed<ConvArgs>>(args));
  return touched(std::get<PortableKernel>(source), std::get<KernelArgs>(args));
}

std::unique_ptr<Driver> open_null_driver() { return std::make_unique<NullDriver>(); }

}  // namespace qs::driver
