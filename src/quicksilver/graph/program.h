// A recorded program, decoded: what the planner reads. The tape writes the same facts as a stream
// of 64-bit words (the plan's key), which `decode` turns into this form only when a plan must be
// built.
//
// Values: each storage's whole content, in order of first appearance. A storage that existed before
// is an external value; a node's result is a new value, either of a fresh storage or, for an
// in-place write, of the storage of one of its operands (`target`): then `base` is the value it
// replaces, and outside the written layout the new value equals the base. All values of one storage
// share one buffer: whoever reads the base comes before the write, in recorded order.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "quicksilver/core/hash.h"
#include "quicksilver/core/layout.h"
#include "quicksilver/graph/op.h"

namespace qs::graph {

using ValueId = uint32_t;

/// Where a layout stands in a key. A key that differs in extents and strides alone has the layout
/// of the same operand at the same place, so a finished plan can be fitted to it
/// (plan/structure.h). Passes copy it along with the layout.
struct Origin {
  int32_t at = -1;     // the record's first word; -1 for what has no dimensions; below: plan/ir.h
  bool dense = false;  // the recorded shape, row-major from the storage's start
  Origin made_dense() const { return {at, true}; }
  friend bool operator==(const Origin&, const Origin&) = default;
};

struct Operand {
  enum Kind : uint8_t { absent, value, scalar };
  Kind kind = absent;
  DType dtype = DType::f32;  // scalar: bool, i64, f64 or c128, how its word is read
  bool read = true;          // false: only the target of an in-place write (out=, copy_)
  ValueId value_id = 0;
  int32_t word = -1;  // scalar: its launch word; external value: the word with its start offset
  Layout layout;      // word >= 0: layout.offset is what is added to the word, 0 when recorded
  Origin origin;      // of the layout
  Origin recorded;  // of the layout it was recorded with, when a pass has put another in its place
};

struct Result {
  ValueId value_id = 0;
  DType dtype = DType::f32;
  int32_t target = -1;  // >= 0: written in place into operands[target], over that operand's layout
  bool full = true;     // the whole storage is written; false: the rest keeps the base's content
  Layout layout;        // fresh: dense over [0, numel); in place: a copy of the operand's layout
  Origin origin;        // of the layout
};

struct Node {
  Op op{};
  DType compute = DType::f32;  // common dtype the inputs are converted to (before compute_dtype())
  uint32_t region = 0;         // checkpoint region: nothing merges across regions
  int32_t line = -1;           // index into the recording's lines, for nodes that can fail
  std::vector<Operand> operands;
  std::vector<Result> results;
  std::vector<uint64_t> attrs;
};

struct Value {
  bool external = false;
  int32_t node = -1;  // producer; -1 for external values
  int32_t result = 0;
  ValueId base = 0;   // previous value of the same storage; itself when there is none
  ValueId root = 0;   // first value of the same storage
  int64_t bytes = 0;  // of the storage; 0 (unknown) for external values
};

struct Program {
  std::vector<Node> nodes;
  std::vector<Value> values;
  int32_t words = 0;
};

/// Appends one record to a key. All fields fit their widths by construction of the tape.
class KeyWriter {
 public:
  explicit KeyWriter(std::vector<uint64_t>& key, Hash128& hash) : key_(key), hash_(hash) {}
  void node(Op op, DType compute, size_t operands, size_t results, size_t attrs, uint32_t region) {
    put(static_cast<uint64_t>(op) | uint64_t(compute) << 16 | uint64_t(operands) << 24 |
        uint64_t(results) << 32 | uint64_t(attrs) << 40 | uint64_t(region) << 48);
  }
  void absent() { put(k_absent); }
  void scalar(DType dtype) { put(k_scalar | uint64_t(dtype) << 2); }
  /// `dynamic`: the start offset is a launch word, and only its alignment class (16 bytes) is key.
  void value(ValueId id, DType dtype, const Layout& l, bool dynamic, bool aligned, bool read) {
    const bool plain = is_plain(l);
    const bool offset = !dynamic && l.offset != 0;
    put(k_value | uint64_t(dtype) << 2 | uint64_t(l.rank()) << 10 | uint64_t(plain) << 18 |
        uint64_t(dynamic) << 19 | uint64_t(aligned) << 20 | uint64_t(read) << 21 |
        uint64_t(offset) << 22 | uint64_t(id) << 32);
    for (int64_t s : l.shape) put(static_cast<uint64_t>(s));
    if (!plain)
      for (int64_t s : l.strides) put(static_cast<uint64_t>(s));
    if (offset) put(static_cast<uint64_t>(l.offset));
  }
  /// In place: target >= 0 and the layout is that operand's, so it is not repeated.
  void result(DType dtype, const Layout& l, int target, bool full) {
    const bool plain = is_plain(l);
    put(uint64_t(dtype) << 2 | uint64_t(l.rank()) << 10 | uint64_t(plain) << 18 |
        uint64_t(full) << 19 | uint64_t(target + 1) << 32);
    if (target >= 0) return;
    for (int64_t s : l.shape) put(static_cast<uint64_t>(s));
    if (!plain)
      for (int64_t s : l.strides) put(static_cast<uint64_t>(s));
  }
  void attr(uint64_t w) { put(w); }

  static constexpr uint64_t k_absent = 0, k_value = 1, k_scalar = 2;

 private:
  static bool is_plain(const Layout& l) {
    int64_t step = 1;
    for (size_t i = l.shape.size(); i-- > 0;) {
      if (l.strides[i] != step) return false;
      step *= l.shape[i] > 0 ? l.shape[i] : 1;
    }
    return true;
  }
  void put(uint64_t w) {
    key_.push_back(w);
    hash_.add(w);
  }
  std::vector<uint64_t>& key_;
  Hash128& hash_;
};

/// How many words follow the head of a layout's record: extents, strides when they are not those of
/// the row-major order, a constant offset.
constexpr uint32_t layout_words(uint64_t head) {
  const uint32_t rank = head >> 10 & 0xff;
  return (head >> 18 & 1 ? rank : 2 * rank) + (head >> 22 & 1);
}
Program decode(std::span<const uint64_t> key);
/// The layout that stands at `origin` (which names a place) in a key.
void read_layout(std::span<const uint64_t> key, Origin origin, Layout& out);
/// One line a node: `%3:f32[64, 256] = relu(%2:f32[64, 256])`.
std::string to_string(const Program& program);
/// Throws InternalError when the program breaks a rule stated above.
void verify(const Program& program);

}  // namespace qs::graph
