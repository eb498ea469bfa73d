#include "quicksilver/driver/record/record_driver.h"

#include <mutex>

#include "quicksilver/core/error.h"

namespace qs::driver {
namespace {

constexpr size_t k_max_lines = 100000;  // then the oldest half goes: a log must not eat the machine

std::string describe(const TileProgram& p, const TileArgs& args) {
  constexpr std::string_view modes[] = {"map", "row", "column"};
  size_t instrs = 0, folds = 0;
  for (const TilePhase& phase : p.phases) {
    instrs += phase.body.size() + phase.tail.size();
    for (const TileInstr& i : phase.body) folds += i.kind == TileInstr::fold;
  }
  std::string reduced;
  if (p.reduced_loops > 0) reduced = format(" reduced {}", p.reduced_loops);
  return format("tile {} {}{} operands {} instrs {} folds {}", modes[static_cast<int>(p.mode)],
                to_string(args.extents), reduced, p.operands.size(), instrs, folds);
}

std::string describe(const PortableKernel& k, const KernelArgs& args) {
  return format("{} items {}", k.name, args.items);
}

std::string describe(const MatmulCall& call, const MatmulArgs& a) {
  std::string text =
      format("matmul {} {}x{}x{} batch {}", info(call.dtype).short_name, a.m, a.n, a.k, a.batch);
  if (call.bias) text += " bias";
  if (a.alpha != 1) text += format(" alpha {}", a.alpha);
  if (a.beta != 0) text += format(" beta {}", a.beta);
  return text;
}

std::string describe(const AttentionCall& call, const AttentionArgs& a) {
  constexpr std::string_view masks[] = {"", " mask bool", " mask"};
  return format("attention{} {} batch {} heads {}/{} {}x{} width {}/{}{}{}{}",
                call.backward ? " backward" : "", info(call.dtype).short_name, a.batch, a.heads,
                a.key_heads, a.rows, a.keys, a.width, a.value_width, call.causal ? " causal" : "",
                masks[call.mask], call.dropout ? " dropout" : "");
}

std::string describe(const ConvCall& call, const ConvArgs& a) {
  constexpr std::string_view kinds[] = {"conv", "conv input", "conv weight"};
  const auto sizes = [&](const int64_t (&v)[3]) { return to_string(DimSpan(v).last(call.dims)); };
  std::string text = format("{} {} x [{}, {}] {} y [{}] {} kernel {}", kinds[call.kind],
                            info(call.dtype).short_name, a.batch, a.in, sizes(a.x_size), a.out,
                            sizes(a.y_size), sizes(a.kernel));
  if (a.groups != 1) text += format(" groups {}", a.groups);
  if (call.bias) text += " bias";
  return text;
}

struct RecordKernel final : Kernel {
  Source source;
  std::unique_ptr<Kernel> inner;
};

struct RecordProgram final : Program {
  std::vector<std::string> lines;
  std::unique_ptr<Program> inner;
};

class RecordDriver final : public Driver, public CommandLog {
 public:
  explicit RecordDriver(std::unique_ptr<Driver> inner) : inner_(std::move(inner)) {
    info_ = inner_->info();
    info_.driver = "record:" + info_.driver;
  }
  const DriverInfo& info() const override { return info_; }
  void* alloc(size_t bytes) override { return inner_->alloc(bytes); }
  void release(void* p, size_t bytes) noexcept override { inner_->release(p, bytes); }
  void write(void* dst, const void* src, size_t bytes) override { inner_->write(dst, src, bytes); }
  void read(void* dst, const void* src, size_t bytes) override { inner_->read(dst, src, bytes); }
  void copy(void* dst, const void* src, size_t bytes) override { inner_->copy(dst, src, bytes); }

  std::unique_ptr<Kernel> build(const Source& source) override {
    auto kernel = std::make_unique<RecordKernel>();
    kernel->inner = inner_->build(source);
    kernel->source = source;
    return kernel;
  }
  bool accepts(const Source& source) const override { return inner_->accepts(source); }

  Fence submit(std::span<const Command> commands, const Launch& launch) override {
    const std::vector<Command> passed = unwrap(commands);
    keep(lines_of(commands), "");
    return inner_->submit(passed, launch);
  }
  std::unique_ptr<Program> freeze(std::vector<Command> commands) override {
    auto program = std::make_unique<RecordProgram>();
    program->lines = lines_of(commands);
    program->inner = inner_->freeze(unwrap(commands));
    return program;
  }
  Fence replay(Program& program, const Launch& launch) override {
    auto& recorded = static_cast<RecordProgram&>(program);
    keep(recorded.lines, "replay ");
    return inner_->replay(*recorded.inner, launch);
  }
  void wait(Fence fence) override { inner_->wait(fence); }
  bool done(Fence fence) override { return inner_->done(fence); }
  int64_t allocated_bytes() const override { return inner_->allocated_bytes(); }

  std::vector<std::string> lines() const override {
    std::lock_guard lock(mutex_);
    return lines_;
  }
  void clear() override {
    std::lock_guard lock(mutex_);
    lines_.clear();
  }

 private:
  static const RecordKernel& kernel_of(const Command& c) {
    return *static_cast<const RecordKernel*>(c.kernel);
  }
  static std::vector<Command> unwrap(std::span<const Command> commands) {
    std::vector<Command> list(commands.begin(), commands.end());
    for (Command& c : list) {
      c.kernel = kernel_of(c).inner.get();
      if (c.epilogue.kernel)
        c.epilogue.kernel = static_cast<const RecordKernel*>(c.epilogue.kernel)->inner.get();
    }
    return list;
  }
  static std::string line(const Command& c) {
    const Source& s = kernel_of(c).source;
    if (auto* tile = std::get_if<TileProgram>(&s)) {
      std::string text = describe(*tile, std::get<TileArgs>(c.args));
      if (!c.more.empty()) text += format(" parts {}", c.more.size() + 1);
      return text;
    }
    if (auto* call = std::get_if<MatmulCall>(&s)) {
      std::string text = describe(*call, std::get<MatmulArgs>(c.args));
      if (c.epilogue.kernel)
        text +=
            " then " + describe(std::get<TileProgram>(
                                    static_cast<const RecordKernel*>(c.epilogue.kernel)->source),
                                c.epilogue.args);
      return text;
    }
    if (auto* call = std::get_if<AttentionCall>(&s))
      return describe(*call, *std::get<Boxed<AttentionArgs>>(c.args));
    if (auto* call = std::get_if<ConvCall>(&s))
      return describe(*call, *std::get<Boxed<ConvArgs>>(c.args));
    return describe(std::get<PortableKernel>(s), std::get<KernelArgs>(c.args));
  }
  static std::vector<std::string> lines_of(std::span<const Command> commands) {
    std::vector<std::string> list;
    for (const Command& c : commands) list.push_back(line(c));
    return list;
  }
  void keep(const std::vector<std::string>& lines, const std::string& prefix) {
    std::lock_guard lock(mutex_);
    for (const std::string& l : lines) lines_.push_back(prefix + l);
    if (lines_.size() > k_max_lines) lines_.erase(lines_.begin(), lines_.begin() + k_max_lines / 2);
  }

  std::unique_ptr<Driver> inner_;
  DriverInfo info_;
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

}  // namespace

std::unique_ptr<Driver> open_record_driver(std::unique_ptr<Driver> inner) {
  return std::make_unique<RecordDriver>(std::move(inner));
}

}  // namespace qs::driver
