// The small language in which ops.def says what an op is made of: expressions over scalar
// primitives and folds. The plan's expand pass runs a row's expansion with a Builder of its own.
#pragma once
#include <span>

#include "quicksilver/core/prim.h"
#include "quicksilver/graph/op.h"

namespace qs::graph {

class Builder;

/// A value inside an expansion. Its logical shape is the broadcast of what it was made of; folds
/// keep their axes with extent 1. Its dtype is a compute dtype.
struct E {
  Builder* builder = nullptr;
  int id = -1;
  bool absent() const { return id < 0; }
};

class Builder {
 public:
  virtual ~Builder() = default;
  virtual E emit(Prim prim, std::span<const E> sources) = 0;
  virtual E fold(Fold fold, E x, uint64_t axes) = 0;
  virtual E number(double v) = 0;  // a constant of the compute dtype
  virtual E number(int64_t v, DType dtype) = 0;
  virtual E cast(E x, DType dtype) = 0;  // to a compute dtype
  // The iteration shape of a node is the broadcast of its inputs (those that lack the axes have
  // them with extent 1), or the shape of its first result when it has no tensor input.
  virtual E iota(int axis) = 0;  // i64 index along `axis` of the iteration shape
  virtual E linear() = 0;        // i64 row-major index within the iteration shape
  virtual int rank() const = 0;  // of the iteration shape
  // A value of a complex dtype is two real ones. `emit` takes and gives such values too.
  virtual bool is_complex(E x) const = 0;
  virtual E real(E x) = 0;  // x itself when it is not complex
  virtual E imag(E x) = 0;
  virtual E complex(E real, E imag) = 0;
  virtual DType dtype(E x) const = 0;  // of a complex value: that of its parts
  virtual int64_t extent(E x, int axis) const = 0;
  virtual uint64_t attr(int i) const = 0;  // attribute words; doubles as bits (attr_double)
  // The node's compute dtype, as registers hold it; complex when the node is.
  virtual DType compute() const = 0;

  // Spelled with the above:
  E integer(int64_t v) { return number(v, DType::i64); }
  E test(E x);                               // x != 0, as bool
  E philox(E seed, E offset, int draw = 0);  // 32 random bits a point (i64); draws are independent
  E unit(E bits);                            // such bits as a number in [0, 1), compute dtype
  double attr_double(int i) const;
  uint64_t axes() const { return attr(0); }
  int64_t count(E x, uint64_t axes) const;  // product of extents over the axes
};

using ExpandFn = void (*)(Builder& b, std::span<const E> in, std::span<E> out);
/// The expansion of `op`, or null for matmul and kernel ops.
ExpandFn expansion(Op op);

/// A primitive of which a source is complex, in primitives of their parts. Throws
/// NotImplementedError for those that have no meaning there.
E expand_complex(Builder& b, Prim prim, std::span<const E> sources);

}  // namespace qs::graph
