// The passes of the planner, in the order in which pipeline.cpp runs them. Each works on the Ir in
// place and returns how many changes it made.
//
// What the passes decide is used again for recordings that differ in extents and strides alone
// (structure.h). So a pass that acts on extents says what it relied on: that two layouts are equal
// in Ir::same_layouts, the answer to a question about one layout in Ir::choices; and a layout that
// it copies or makes carries its `origin` along. What follows from the finished groups (their loops
// combine, their elements agree, donated memory is of one size) is checked without its doing.
#pragma once
#include "quicksilver/plan/ir.h"

namespace qs::plan {

struct Recording;

/// Decodes the key; fills nodes, values, liveness and spaces.
Ir decode_recording(const Recording& recording, const std::vector<bool>& live);

/// One launch word for all equal start offsets of one view (guarded).
int unify_words(Ir& ir);
/// Numbers instead of filled tensors, sources instead of copies.
int canonicalise(Ir& ir);
/// One node instead of two that compute the same. merge.cpp.
int merge_common(Ir& ir);
/// Drops what no live content needs.
int drop_dead(Ir& ir);
/// Joined tensors as copies into the regions of one storage. join.cpp.
int split_joins(Ir& ir);
/// Gather and scatter with one index a row as part of the row's kernel. rows.cpp.
int match_rows(Ir& ir);
/// Copies in front of matmul and kernels that cannot take an operand as it lies.
int prepare_calls(Ir& ir);
/// Just those rows of a matrix product that somebody reads. narrow.cpp.
int narrow_products(Ir& ir);
/// Index checks of in-place writes to older storages become nodes of their own. checks.cpp.
int split_checks(Ir& ir);
/// Forms groups: one kernel each.
int group_nodes(Ir& ir);
/// Cheap values computed again in their readers' groups rather than stored.
int recompute(Ir& ir);
/// Maps over the result of a matrix product, run on its blocks while they are in the cache.
int attach_epilogues(Ir& ir);
/// Whether the maps of a matmul's group still fit its result, for other extents; `loops` are the
/// product's.
bool epilogue_fits(const Ir& ir, const Group& group, const MatmulLoops& loops);
/// Order of the groups.
int order_groups(Ir& ir);
/// Steps: groups that do the same to other memory may become one launch.
int batch_groups(Ir& ir);
/// Buffers: arena offsets, launch slots, donation.
int place_buffers(Ir& ir);
/// The arena again, for values of other sizes (ValueInfo::bytes): who lives when and who gives its
/// memory to whom stays. False when somebody would be given memory of another size.
bool place_again(Ir& ir);

/// Memory of their own for older storages that are written before the last check. checks.cpp.
int place_shadows(Ir& ir);

/// Throws InternalError when the Ir breaks a rule of the stage behind `pass`.
void verify(const Ir& ir, const char* pass);

/// Whether the verifier runs behind each pass.
bool verifying();

// Shared by the passes.
/// A node that only checks the indices of `n`, a kernel that writes in place. checks.cpp.
Node check_of(const Node& n);
uint64_t hash_layout(const Layout& layout, uint64_t seed);
/// But for the start offset.
bool same_view(const Layout& a, const Layout& b);
/// Operand layout `operand` of a node whose result has layout `made`, as a reader needs it who
/// reads `view` of the result (recompute.cpp); false when that is no layout.
bool see_through(const Layout& operand, const Layout& made, const Layout& view, Layout& out);
/// The rows of `operand` that make the rows of a product with result `made` in which `view` lies;
/// that view of these rows alone. False when it lies in more than half of the rows. narrow.cpp.
bool rows_of(const Layout& operand, const Layout& made, const Layout& view, Layout& out);
bool seen_in_rows(const Layout& view, const Layout& made, Layout& out);
MatmulLoops matmul_loops(const Ir& ir, const Node& node);
/// Whether the dimensions before the last two are walked with one stride. emit_matmul.cpp.
bool has_one_batch_stride(const Layout& layout);
/// The shapes of `a` and `b` are the same when dimension `dim` is left out of them; `b` may lack
/// it.
bool same_shape_without(const Layout& a, const Layout& b, int dim);
/// The layout of `whole` that is as long as `part` along `dim` and lies behind `before`, if given.
Layout piece_of(const Layout& whole, const Layout& part, const Layout* before, int dim);
Touch touch_operand(const Node& node, size_t operand);
Touch touch_result(const Node& node, size_t result);
/// Whether an op computes from its elements' indices (arange, tril); draws count only linearly.
bool knows_its_place(graph::Op op);
/// Whether node `n` reads operand `i` from memory or a register.
bool reads(const Node& n, size_t i);
/// Adds dead-node-free readers of each value: readers[v].
std::vector<std::vector<NodeId>> readers_of(const Ir& ir);

}  // namespace qs::plan
