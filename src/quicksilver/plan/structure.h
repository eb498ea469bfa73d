// What planning finds out that does not depend on extents: the first of the two levels of a plan.
//
// The passes look at layouts, but most of what they decide stays right when a dimension grows:
// which nodes are dropped or merged, which form a group, in which order groups run, who takes whose
// memory. A Structure keeps the finished Ir of one recording. Its key (`class_key`) is the
// recording's with every extent replaced by a class (0, 1, more) and every stride by another (0 or
// not), so recordings that differ in sizes find it. To *instantiate* it for such a recording means:
//
//   compare  the key with the one that the Ir was fitted to last: a group none of whose layouts
//            differ (an optimizer's, when the batch grows) keeps what the next steps gave it
//   read     every layout again, from the place in the key where it stood (graph::Origin), into the
//            Ir that is there: nothing is allocated
//   check    what the decisions rest on: layouts that were equal are equal, folds run in the same
//            mode and order, the loops of each group combine, whatever a group writes is touched at
//            one element, memory that is handed on has the same size
//   place    the arena, for the new sizes
//   emit     commands; a kernel whose recipe still fits (codegen/recipe.h) only gets new arguments
//            (and those only new addresses when the group did not change), any other group is
//            lowered again
//
// A check that fails is no error: the recording is planned from the start and leaves another
// structure under the same key, a candidate beside the first. So a structure is never wrong, only
// of no use. Sizes that happen to agree (a batch of 10 with 10 classes) can make a structure that
// others do not fit, and size classes (few columns, short rows) make one each.
//
// Example: y = relu(x @ w + b) for x [64, 784]. The class key has four nodes with shapes [+, +],
// [+]; the Ir has two groups, matmul and (add relu). For x [7, 784] five layouts are read, (add
// relu) is found to share its loops [7, 256] as before, and two commands come out: the same kernels
// over other extents. That takes 2 us; the passes took 15.
//
// Decisions that a pass takes on extents for speed alone and does not state (passes.h) are kept:
// they give the same bits, and were right for the sizes that came first.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "quicksilver/core/hash.h"
#include "quicksilver/core/ref.h"
#include "quicksilver/plan/compiled.h"
#include "quicksilver/plan/ir.h"

namespace qs::plan {

struct Recording;

/// A recording's key without extents, strides and constant offsets.
void class_key(std::span<const uint64_t> key, std::vector<uint64_t>& out);

class Structure final : public RefCounted {
 public:
  /// `ir` has been through all passes, and its plan was emitted.
  Structure(const Recording& recording, const std::vector<bool>& live);

  std::vector<uint64_t> live;  // bit v: value v is an output
  std::vector<Guard> guards;   // sorted
  std::shared_ptr<FaultTable> faults = std::make_shared<FaultTable>();
  Patience patience;  // with plans made of it that compute something that is not live
  int32_t nodes = 0;  // recorded

  /// The Ir when all passes have run and commands were emitted.
  void keep(Ir ir, std::span<const uint64_t> key);
  /// Names of the ops of a group: "add relu".
  std::string names_of(int32_t group, size_t from = 0) const;
  /// A plan for another recording of the same class; null when something it rests on does not hold.
  std::unique_ptr<CompiledPlan> instantiate(DeviceRuntime& device, const Recording& recording);
  /// Keeps a kernel that plans made of it name, for as long as there may be such.
  void hold(Ref<const driver::Kernel> kernel);
  /// Out of the cache: plans made of it may still name it, so what they need stays.
  void retire() {
    ir_ = {};
    fitted_ = {};
    fits_ = usable_ = false;
  }

 private:
  using Origin = graph::Origin;
  /// One operand or result of a node.
  struct At {
    NodeId node = 0;
    uint8_t index = 0;
    bool write = false;
  };
  /// Two accesses that must touch the same element at each point of the group's loops.
  struct Meeting {
    int32_t group;
    At a, b;
  };
  /// How a node folds.
  struct Folding {
    driver::TileMode mode;
    codegen::AxisList order;
    bool few_long_rows;
    explicit Folding(const codegen::Space& space);
    friend bool operator==(const Folding&, const Folding&) = default;
  };

  void prepare(std::span<const uint64_t> key);
  bool has_origins() const;
  void check_origins(std::span<const uint64_t> key);
  void list_records(std::span<const uint64_t> key);
  void note_changes(std::span<const uint64_t> key);
  bool changed(Origin origin) const {
    return origin.at >= 0 ? changed_[static_cast<size_t>(origin.at)]
                          : origin.at < -1 && derived_changed_[Derived::index(origin)];
  }
  bool fit(std::span<const uint64_t> key);
  bool derive_layouts(std::span<const uint64_t> key);
  void read(std::span<const uint64_t> key, graph::Origin origin, Layout& out) const;
  bool same(std::span<const uint64_t> key, const SameLayout& s) const;
  codegen::Space space_of(const Node& n, std::span<const uint64_t> key) const;
  void order_nodes();
  bool find_meetings();
  void add_meetings(int32_t group, const std::vector<At>& touches);
  void add_gifts();
  bool layouts_agree(std::span<const uint64_t> key) const;
  bool read_layouts(std::span<const uint64_t> key);
  bool combine_groups(bool compare);
  bool meets(const Meeting& m) const;
  Touch touch(const At& at) const;
  const Node& node(NodeId id) const { return ir_.nodes[static_cast<size_t>(id)]; }

  Ir ir_;
  std::vector<Ref<const driver::Kernel>> kernels_;
  std::vector<Layout> derived_;  // Ir::derived, for the key at hand
  std::vector<uint8_t> derived_changed_;
  bool prepared_ = false, usable_ = true;
  std::vector<uint64_t> fitted_;  // the key whose layouts the Ir has,
  bool fits_ = false;             // when it has those of one key, all of them
  /// Where the layouts stand in a key that something depends on.
  struct Record {
    int32_t at;
    uint32_t words;  // that follow the head
  };
  std::vector<Record> records_;
  std::vector<uint8_t> changed_;   // by word of the key: the record there is not as in fitted_
  std::vector<int32_t> group_of_;  // by node
  std::vector<std::vector<NodeId>>
      joins_;  // by group: its nodes in an order in which loops combine
  std::vector<Meeting> meetings_;
  std::vector<Folding> foldings_;  // of the nodes that fold, in sequence
  std::vector<graph::Op> group_ops_;
  std::vector<uint32_t> group_ends_;  // in group_ops_
};

}  // namespace qs::plan
