// What the emitters of the last pass share: addresses and the list of commands that grows.
#pragma once
#include "quicksilver/kernels/kernels.h"
#include "quicksilver/plan/compiled.h"

namespace qs::plan {

class Emitter {
 public:
  Emitter(Ir& ir, DeviceRuntime& device, CompiledPlan& plan)
      : ir_(ir), device_(device), plan_(plan) {}

  void run();
  /// What the plan needs beside its buffers: scratch behind the arena, the same for all commands,
  /// as they run one after the other.
  int64_t arena_bytes() const {
    return scratch_bytes_ ? scratch_at() + scratch_bytes_ : ir_.arena_bytes;
  }

 private:
  /// A tile group, ready to be launched.
  struct Lowered {
    int32_t group = 0;
    const driver::Kernel* kernel = nullptr;
    driver::TileArgs args;
    int32_t tag = 0;
    bool predicated = false;
    int64_t bytes = 0;  // moved
    driver::TileMode mode = driver::TileMode::map;
    int reduced_loops = 0;
    void take(const TileRecipe& recipe, const Emitted& emitted);
  };
  /// Where maps behind a matrix product run: over the loops `frame` of its blocks. What lies at
  /// `cached` does not count as moved.
  struct Behind {
    Dims frame;
    driver::PtrRef cached;
  };
  /// False when the group stores nothing.
  bool lower(int32_t group, Lowered& out);
  bool lower_epilogue(Group& group, const Behind& behind, Lowered& out);
  void lower_nodes(Group& group, std::span<const codegen::GroupNode> nodes, const Behind* behind,
                   Lowered& out);
  bool fit(Group& group, std::span<const codegen::GroupNode> nodes, const Behind* behind) const;
  void bind(const codegen::LoopNest& nest, const std::vector<uint32_t>& access,
            driver::TileArgs& args) const;
  int64_t bytes_moved(const codegen::LoopNest& nest, const std::vector<uint32_t>& access,
                      const driver::TileArgs& args, const Behind* behind) const;
  bool nodes_of(const Group& group, SmallVector<codegen::GroupNode, 8>& nodes) const;
  void tiles(std::span<const int32_t> groups);
  void matmul(Group& group);      // emit_matmul.cpp
  void kernel(const Node& node);  // emit_kernels.cpp
  /// Whether anybody reads a result of a kernel, now or after the run.
  bool wanted(const Node& node, size_t result) const;
  /// Gives a call that the driver runs as text the scratch it wants.
  void reserve_scratch(kernels::KernelCall& call);
  int64_t scratch_at() const { return (ir_.arena_bytes + 255) / 256 * 256; }
  void attention(const Node& node);  // emit_attention.cpp
  void conv(const Node& node);       // emit_conv.cpp

  /// The address of element 0 of a layout over a value.
  driver::PtrRef address(ValueId value, DType dtype, int32_t word, int64_t offset) const;
  driver::PtrRef address(const graph::Operand& o) const {
    return address(o.value_id, o.dtype, o.word, o.layout.offset);
  }
  driver::PtrRef result_address(const Node& node, size_t result) const;
  /// Adds a command of the group at hand; gives the line that describes it.
  CompiledPlan::Line& push(const driver::Kernel* kernel, driver::Args args, int32_t tag);
  /// The kernel for a call. Building its source's key and looking that up takes longer than all
  /// else that there is to do for the call, so the group remembers.
  const driver::Kernel* build(const driver::Source& source);
  template <class Call>
  const driver::Kernel* kernel_for(const Call& call);
  bool emit_again(Group& group, Lowered& out) const;
  Ir& ir_;
  DeviceRuntime& device_;
  CompiledPlan& plan_;
  Group* group_ = nullptr;        // at hand
  std::vector<Lowered> lowered_;  // of the step at hand
  int64_t scratch_bytes_ = 0;
};

/// Pooling, resampling and col2im (emit_windows.cpp).
kernels::KernelCall window_call(const Node& node, std::span<const kernels::View> in,
                                std::span<const kernels::View> out);

}  // namespace qs::plan
