// Builds the expressions of a nest: sharing, domains, and the conversions between dtypes.
#pragma once
#include <unordered_map>

#include "quicksilver/codegen/loop_nest.h"

namespace qs::codegen {

class NestBuilder {
 public:
  explicit NestBuilder(const Axes& axes);

  int32_t emit(Prim prim, std::span<const int32_t> sources, uint32_t aux = 0);
  int32_t fold(Fold op, int32_t x);
  /// `fixed`: it is the same at all extents.
  int32_t constant(uint64_t word, DType word_dtype, DType dtype, bool fixed = true);
  int32_t scalar(const driver::ScalarRef& ref, DType dtype);
  int32_t load(Access access, Cause cause);
  void store(int32_t e, Access access, Cause cause, bool after_loads);
  /// What the nest remembers of an expansion that asked for extents.
  void add_expansion(Expansion expansion) { nest_.expansions.push_back(std::move(expansion)); }
  void fix(int32_t scalar) { nest_.fixed[static_cast<size_t>(scalar)] = 1; }
  const Expr& expr(int32_t e) const { return nest_.exprs[static_cast<size_t>(e)]; }
  /// From register to register; to bool it asks whether the value is not zero.
  int32_t cast(int32_t e, DType dtype);
  /// A value of dtype `from` as an operand of a node that computes in `to`.
  int32_t convert(int32_t e, DType from, DType to);
  /// A computed value as a result of dtype `dtype`: what a load of the stored result would give.
  int32_t round(int32_t e, DType dtype);

  DType dtype(int32_t e) const { return nest_.exprs[static_cast<size_t>(e)].dtype; }
  /// The register that holds a value made in this group, or -1.
  int32_t value(graph::ValueId v) const;
  /// The register of its imaginary part, or -1 when it is real.
  int32_t imag_value(graph::ValueId v) const;
  void set_value(graph::ValueId v, int32_t e, int32_t imag = -1) {
    values_.push_back({v, e, imag});
  }
  LoopNest finish() { return std::move(nest_); }

 private:
  int32_t share(const Expr& e);
  bool exact_in(int32_t e, DType dtype, int depth) const;

  struct Hash {
    size_t operator()(const Expr& e) const;
  };
  struct Equal {
    bool operator()(const Expr& a, const Expr& b) const;
  };
  struct Known {
    graph::ValueId value;
    int32_t expr, imag;
  };
  LoopNest nest_;
  std::unordered_map<Expr, int32_t, Hash, Equal> shared_;
  SmallVector<Known, 16> values_;
};

}  // namespace qs::codegen
