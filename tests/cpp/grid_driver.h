// A driver that takes texts: it runs portable kernels on the emulated grid, all else on the cpu
// driver. It has no host form of a kernel that has a text, so a plan that needed one would fail.
#pragma once
#include <memory>

#include "grid.h"

namespace qs::test {

class GridDriver final : public driver::Driver {
 public:
  GridDriver() : inner_(driver::open_driver("cpu")) {
    info_ = inner_->info();
    info_.driver = "grid";
    info_.takes_text = true;
  }
  const driver::DriverInfo& info() const override { return info_; }
  void* alloc(size_t bytes) override { return inner_->alloc(bytes); }
  void release(void* p, size_t bytes) noexcept override { inner_->release(p, bytes); }
  void write(void* to, const void* from, size_t n) override { inner_->write(to, from, n); }
  void read(void* to, const void* from, size_t n) override { inner_->read(to, from, n); }
  void copy(void* to, const void* from, size_t n) override { inner_->copy(to, from, n); }

  std::unique_ptr<driver::Kernel> build(const driver::Source& source) override {
    auto kernel = std::make_unique<Built>();
    if (auto* portable = std::get_if<driver::PortableKernel>(&source))
      kernel->text = portable->text;
    if (!kernel->text) kernel->inner = inner_->build(source);
    return kernel;
  }
  bool accepts(const driver::Source& source) const override { return inner_->accepts(source); }

  driver::Fence submit(std::span<const driver::Command> commands,
                       const driver::Launch& launch) override {
    for (const driver::Command& c : commands) {
      const Built& kernel = *static_cast<const Built*>(c.kernel);
      if (c.predicated && launch.error->set) continue;
      if (kernel.text) {
        grid::run(*kernel.text, std::get<driver::KernelArgs>(c.args), launch, c.tag, ++launches_);
        if (launch.error->set && !launch.error->run) launch.error->run = launch.run;
        continue;
      }
      driver::Command inner = c;
      inner.kernel = kernel.inner.get();
      if (c.epilogue.kernel)
        inner.epilogue.kernel = static_cast<const Built*>(c.epilogue.kernel)->inner.get();
      inner_->submit({&inner, 1}, launch);
    }
    return 0;
  }
  std::unique_ptr<driver::Program> freeze(std::vector<driver::Command> commands) override {
    auto frozen = std::make_unique<Frozen>();
    frozen->commands = std::move(commands);
    return frozen;
  }
  driver::Fence replay(driver::Program& program, const driver::Launch& launch) override {
    return submit(static_cast<Frozen&>(program).commands, launch);
  }
  void wait(driver::Fence) override {}
  bool done(driver::Fence) override { return true; }
  int64_t allocated_bytes() const override { return inner_->allocated_bytes(); }
  uint64_t launches() const { return launches_; }

 private:
  struct Built final : driver::Kernel {
    const driver::KernelText* text = nullptr;
    std::unique_ptr<driver::Kernel> inner;
  };
  struct Frozen final : driver::Program {
    std::vector<driver::Command> commands;
  };
  std::unique_ptr<driver::Driver> inner_;
  driver::DriverInfo info_;
  uint64_t launches_ = 0;  // of texts
};

}  // namespace qs::test
