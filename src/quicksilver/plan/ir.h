// What the passes work on: the decoded program, its nodes in execution order, what is known about
// values, and, from grouping on, groups and buffers. Built for one recording, then frozen into a
// CompiledPlan (compiled.h).
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "quicksilver/codegen/recipe.h"
#include "quicksilver/codegen/space.h"
#include "quicksilver/driver/driver.h"
#include "quicksilver/graph/program.h"
#include "quicksilver/plan/arena.h"

namespace qs::plan {

using graph::ValueId;
using NodeId = int32_t;

/// Set of small integers; rows of a reachability matrix.
class BitSet {
 public:
  explicit BitSet(size_t n = 0) : words_((n + 63) / 64, 0) {}
  void grow(size_t n) {
    if (words_.size() < (n + 63) / 64) words_.resize((n + 63) / 64, 0);
  }
  bool has(size_t i) const { return i / 64 < words_.size() && (words_[i / 64] >> (i % 64) & 1); }
  void add(size_t i) {
    grow(i + 1);
    words_[i / 64] |= uint64_t{1} << (i % 64);
  }
  void add(const BitSet& o) {
    if (words_.size() < o.words_.size()) words_.resize(o.words_.size(), 0);
    for (size_t i = 0; i < o.words_.size(); ++i) words_[i] |= o.words_[i];
  }

 private:
  std::vector<uint64_t> words_;
};

struct Node : graph::Node {
  int32_t tag = 0;  // the recorded node that error messages name
  bool dead = false;
  bool tile = false;   // loops over elements: has a space and may be grouped
  bool clone = false;  // computes a value again for its one reader: grouped with that, not before
  /// An in-place kernel over an older storage checks its indices first, in a node of its own; a
  /// `write` relies on such a check. A `piece` writes a region of a storage that its siblings leave
  /// alone (join.cpp).
  enum Part : uint8_t { whole, check, write, piece } part = whole;
  codegen::Space space;
};

struct ValueInfo : graph::Value {
  ValueId successor =
      0;               // the value that replaces it in the same storage; itself when there is none
  bool live = false;   // its content is wanted after the run
  bool blank = false;  // a fresh storage before its first piece: no node makes it
  bool in_memory = false;  // somebody outside its group reads it
};

/// Two launch words that must be equal for the plan to hold; or one (b below 0) and a value.
struct Guard {
  int32_t a, b;
  uint64_t value = 0;
  friend bool operator==(const Guard&, const Guard&) = default;
};

/// Two recorded layouts that were equal, and some pass relied on it.
struct SameLayout {
  graph::Origin a, b;
  bool shape_only = false;
  int without = -1;  // shapes are compared without this dimension of a, and of b if it has it
};

/// A layout that a pass made of others; its origin is below -1.
struct Derived {
  enum Kind : uint8_t {
    rows,       // the rows of operand a that make those rows of a product b in which view c lies
    in_rows,    // view a of a product b, as a view of just the rows in which it lies
    broadcast,  // a, over the shape of b
    through,    // operand a of a node whose result is b, as a reader sees it who sees c of b
    piece,      // a, as long as b along `dim`, from behind c (another piece) on
  } kind = broadcast;
  graph::Origin a, b, c = {};
  int dim = 0;
  static size_t index(graph::Origin o) { return static_cast<size_t>(-2 - o.at); }
};

/// A question about one recorded layout, and the answer that some pass acted on.
struct Choice {
  bool (*question)(const Layout&);
  graph::Origin origin;
  bool answer;
};

/// A kernel that a tile group was lowered to.
struct TileRecipe {
  codegen::Recipe recipe;
  const driver::Kernel* kernel = nullptr;
};

/// A matrix product as library calls: one for each point of `outer`, whose strides are a, b, c and
/// bias (elements). Pointers are left out. emit_matmul.cpp.
struct MatmulLoops {
  driver::MatmulCall call;
  driver::MatmulArgs args;
  Dims outer, a, b, c, bias;
};

/// What emit leaves in a group for the next time, when no extent and no stride of it may have
/// changed (Group::changed): only addresses are new then.
struct Emitted {
  bool settled = false;  // args and bytes are those of recipes[0]
  driver::TileArgs args;
  int64_t bytes = 0;  // moved
  std::unique_ptr<MatmulLoops> matmul;
  struct Known {
    uint64_t call;  // what tells it from others of the group
    const driver::Kernel* kernel;
  };
  std::vector<Known> kernels;
};

struct Group {
  enum Kind : uint8_t { tile, matmul, kernel } kind = tile;
  std::vector<NodeId> nodes;  // in order; a matrix product may be followed by maps over its result
  codegen::Axes axes;
  bool gone = false;   // merged into another
  bool check = false;  // may set the error record
  bool writes_external = false;
  bool predicated = false;          // not to be run after a failure (checks.cpp)
  int cost = 0;                     // instructions, roughly
  int32_t step = 0;                 // when it runs; groups of one step may be parts of one launch
  std::vector<int32_t> before;      // groups that must run earlier
  std::vector<TileRecipe> recipes;  // left by emit, the last used first
  bool changed = true;              // extents or strides, since it was emitted last
  Emitted emitted;
};

/// The memory of one storage, by the storage's first value.
struct Buffer {
  enum Place : uint8_t { none, arena, output, external } place = none;
  int64_t bytes = 0;
  int64_t offset = 0;     // arena
  int32_t slot = -1;      // launch base: output and external
  int32_t given_in = -1;  // arena: the group in which `giver` hands its place on
  ValueId giver = 0;
  int32_t shadow = -1;  // external: the launch base of all values but the first (checks.cpp)
  bool shadow_copy = false;
  int32_t first = INT32_MAX, last = -1;  // steps of groups that touch it
};

struct Ir {
  std::vector<Node> nodes;
  std::vector<NodeId> sequence;  // execution order of the nodes that are not dead
  std::vector<ValueInfo> values;
  std::vector<uint64_t> words;  // launch words of the recording the plan is built for
  std::vector<Guard> guards;
  std::vector<SameLayout> same_layouts;
  std::vector<Choice> choices;
  std::vector<Derived> derived;
  /// Fresh storages that pieces fill, and the layout of the whole.
  struct Blank {
    ValueId value = 0;
    DType dtype = DType::f32;
    graph::Origin origin;
  };
  std::vector<Blank> blanks;
  std::vector<Group> groups;
  std::vector<int32_t> order;   // of groups, by step
  std::vector<Buffer> buffers;  // by value id; used where value.root == id
  std::vector<uint32_t> late;   // by node: results stored into memory that its group still reads
  /// The storages in the arena, by the step in which each is made; those that hand their memory on
  /// are one buffer of the packing.
  struct Arena {
    std::vector<ValueId> roots;
    std::vector<uint32_t> buffer_of;  // by root, in the same order
    std::vector<Lifetime> buffers;
    Packing packing;
  } arena;
  int64_t arena_bytes = 0;
  int32_t slots = 1;  // launch bases; 0 is the arena
  const driver::Driver* driver = nullptr;

  ValueId root(ValueId v) const { return values[v].root; }
  bool external(ValueId v) const { return values[values[v].root].external; }
  /// A fresh storage holding `layout` dense and row-major; returns its value.
  ValueId add_value(NodeId node, int32_t result, int64_t bytes);
  graph::Origin derive(Derived d) {
    derived.push_back(d);
    return {-1 - static_cast<int32_t>(derived.size()), false};
  }
};

/// The element a node's operand or result touches, in terms of its own space.
struct Touch {
  ValueId value = 0;
  DType dtype = DType::f32;
  int32_t word = -1;
  int64_t offset = 0;
  Dims strides;
  bool write = false;
};

}  // namespace qs::plan
