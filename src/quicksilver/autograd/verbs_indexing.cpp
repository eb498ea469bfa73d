// Gather, scatter and advanced indexing. Indices are int64 when they are recorded.
#include <algorithm>

#include "quicksilver/autograd/apply.h"
#include "quicksilver/core/error.h"

namespace qs {

using namespace autograd;

namespace {

Tensor as_index(const Tensor& index, const char* verb, bool narrow_allowed) {
  require_defined(index, verb);
  const DType d = index.dtype();
  if (narrow_allowed) {
    QS_CHECK(d == DType::i64 || d == DType::i32, Error,
             "{}(): Expected dtype int32 or int64 for index", verb);
  } else {
    QS_CHECK(d == DType::i64, Error, "{}(): Expected dtype int64 for index", verb);
  }
  return index;
}

/// Runs an in-place kernel op on a tensor; its result has x's dtype and shape.
const Tensor& write(Op op, const Tensor& x, std::span<const Operand> in, Attrs attrs) {
  const ResultSpec spec[] = {{x.dtype(), Dims(x.shape())}};
  RecordOptions options;
  options.compute = x.dtype();
  options.results = spec;
  return apply_in_place(op, x, in, attrs, options);
}

const Tensor& write_dim(Op op, const Tensor& x, int64_t dim, const Tensor& index,
                        const Tensor& source) {
  const Operand in[] = {x, index, source};
  const uint64_t attrs[] = {attr(dim)};
  return write(op, x, in, attrs);
}

/// A 0-dim tensor of an indexing verb is one element along one dimension.
Tensor at_least_1d(const Tensor& x) { return x.dim() == 0 ? view(x, Dims{1}) : x; }

}  // namespace

Tensor index_select(const Tensor& x, int64_t dim, const Tensor& index) {
  require_defined(x, "index_select");
  const Tensor i = at_least_1d(as_index(index, "index_select", true));
  QS_CHECK(i.dim() == 1, IndexError, "index_select(): Index is supposed to be a vector");
  const int at = wrap_dim(dim, x.dim());
  if (x.dim() == 0) return reshape(index_select(view(x, Dims{1}), 0, i), Dims{});
  Dims shape(x.shape());
  shape[at] = i.numel();
  const ResultSpec spec[] = {{x.dtype(), shape}};
  RecordOptions options;
  options.results = spec;
  return apply(Op::index_select, {x, i}, {attr(int64_t{at})}, options);
}

Tensor embedding(const Tensor& weight, const Tensor& index, int64_t padding_idx) {
  require_defined(weight, "embedding");
  const Tensor i = as_index(index, "embedding", true);
  QS_CHECK(weight.dim() == 2, Error, "'weight' must be 2-D");
  Dims shape(i.shape());
  shape.push_back(weight.size(1));
  const ResultSpec spec[] = {{weight.dtype(), shape}};
  RecordOptions options;
  options.results = spec;
  if (padding_idx < 0 || !wants_gradient(weight))
    return apply(Op::index_select, {weight, i}, {attr(int64_t{0})}, options);
  Tensor out;
  {
    const NoGrad guard;
    out = apply(Op::index_select, {weight, i}, {attr(int64_t{0})}, options);
  }
  auto node = with_gradient(
      "Embedding", {&weight, 1}, {&out, 1},
      [padding_idx, whole = Dims(weight.shape())](FunctionNodeBase& self, std::vector<Tensor>& g) {
        std::vector<Tensor> back(1);
        if (!g[0].defined()) return back;
        const Tensor rows = self.unpack(0);
        const Tensor kept = masked_fill(g[0], unsqueeze(eq(rows, padding_idx), -1), 0.0);
        back[0] = index_add(zeros(whole, Options(kept.dtype(), kept.device())), 0,
                            reshape(rows, Dims{-1}), reshape(kept, Dims{-1, whole[1]}));
        return back;
      });
  if (node) node->saved.emplace_back(i, false);
  return out;
}

namespace {

/// index's extents may not exceed x's, except along dim.
void check_reach(const char* verb, const Tensor& x, int dim, const Tensor& index) {
  QS_CHECK(x.dim() == index.dim(), Error,
           "Index tensor must have the same number of dimensions as {} tensor",
           std::string_view(verb) == "gather" ? "input" : "self");
  for (int d = 0; d < x.dim(); ++d)
    QS_CHECK(
        d == dim || index.size(d) <= x.size(d), Error,
        "Size does not match at dimension {} expected index {} to be no larger than self {} apart "
        "from dimension {}",
        d, to_string(index.shape()), to_string(x.shape()), dim);
}

}  // namespace

Tensor gather(const Tensor& x, int64_t dim, const Tensor& index) {
  require_defined(x, "gather");
  as_index(index, "gather", false);
  const int at = wrap_dim(dim, x.dim());
  if (x.dim() == 0 || index.dim() == 0) {
    const Tensor flat = gather(at_least_1d(x), 0, at_least_1d(index));
    return reshape(flat, index.shape());
  }
  check_reach("gather", x, at, index);
  const ResultSpec spec[] = {{x.dtype(), Dims(index.shape())}};
  RecordOptions options;
  options.results = spec;
  return apply(Op::gather, {x, index}, {attr(int64_t{at})}, options);
}

// ---- advanced indexing
namespace autograd {

namespace {

/// What indexing gives: the indexed (adjacent) dimensions become those of the indices.
Dims indexed_shape(DimSpan x, DimSpan index, uint64_t mask) {
  Dims out;
  bool placed = false;
  for (size_t d = 0; d < x.size(); ++d) {
    if (!(mask >> d & 1)) {
      out.push_back(x[d]);
    } else if (!placed) {
      for (int64_t s : index) out.push_back(s);
      placed = true;
    }
  }
  return out;
}

Dims common_shape(std::span<const Tensor> indices) {
  Dims shape(indices[0].shape());
  for (const Tensor& t : indices.subspan(1)) shape = broadcast_shapes(shape, t.shape());
  return shape;
}

}  // namespace

Tensor index_adjacent(const Tensor& x, std::span<const Tensor> indices, uint64_t mask) {
  ResultSpec spec[] = {{x.dtype(), indexed_shape(x.shape(), common_shape(indices), mask)}};
  // Where nothing but indices tells the points apart, the result lies as the first of them does.
  const Layout& first = indices[0].layout();
  if (first.shape == spec[0].shape && first.is_dense()) spec[0].strides = first.strides;
  RecordOptions options;
  options.results = spec;
  Operand in[9];
  in[0] = x;
  for (size_t i = 0; i < indices.size(); ++i) in[i + 1] = indices[i];
  const uint64_t attrs[] = {mask};
  return apply(Op::index, Operands(in, indices.size() + 1), attrs, options);
}

const Tensor& index_put_adjacent_(const Tensor& x, const Tensor& values,
                                  std::span<const Tensor> indices, uint64_t mask, bool accumulate) {
  const Tensor v = expand(values, indexed_shape(x.shape(), common_shape(indices), mask));
  Operand in[10];
  in[0] = x;
  in[1] = v;
  for (size_t i = 0; i < indices.size(); ++i) in[i + 2] = indices[i];
  const uint64_t attrs[] = {mask, attr(accumulate)};
  return write(Op::index_put, x, Operands(in, indices.size() + 2), attrs);
}

}  // namespace autograd

namespace {

/// Indices made ready: masks are positions, all are int64 of one shape, indexed dimensions
/// adjacent.
struct Indexing {
  TensorList indices;  // expanded to their common shape
  uint64_t mask = 0;   // of the permuted tensor
  Dims order;          // permutation of x; empty when none is needed
};

Indexing prepare(const Tensor& x, const TensorList& given) {
  Indexing out;
  TensorList at;  // one a dimension of x
  for (const Tensor& t : given) {
    if (!t.defined()) {
      at.emplace_back();
      continue;
    }
    const DType d = t.dtype();
    QS_CHECK(is_integral(d), IndexError,
             "tensors used as indices must be long, int, byte or bool tensors");
    if (d != DType::bool_ && d != DType::u8) {
      at.push_back(to(t, {}, DType::i64));
      continue;
    }
    for (int k = 0; k < t.dim(); ++k)
      QS_CHECK(
          static_cast<int>(at.size()) + k < x.dim() &&
              t.size(k) == x.size(static_cast<int>(at.size()) + k),
          IndexError,
          "The shape of the mask {} at index {} does not match the shape of the indexed tensor {} "
          "at index {}",
          to_string(t.shape()), k, to_string(x.shape()), at.size() + static_cast<size_t>(k));
    const Tensor positions = nonzero(t);
    for (int k = 0; k < t.dim(); ++k) at.push_back(contiguous(select(positions, 1, k)));
  }
  QS_CHECK(static_cast<int>(at.size()) <= x.dim(), IndexError,
           "too many indices for tensor of dimension {}", x.dim());

  Dims indexed, rest, shape;
  bool first = true;
  for (int d = 0; d < x.dim(); ++d) {
    const bool taken = d < static_cast<int>(at.size()) && at[static_cast<size_t>(d)].defined();
    (taken ? indexed : rest).push_back(d);
    if (!taken) continue;
    const Tensor& t = at[static_cast<size_t>(d)];
    try {
      shape = first ? Dims(t.shape()) : broadcast_shapes(shape, t.shape());
    } catch (const Error&) {
      std::string shapes;
      for (const Tensor& i : at)
        if (i.defined()) shapes += (shapes.empty() ? "" : ", ") + to_string(i.shape());
      throw IndexError(
          "shape mismatch: indexing tensors could not be broadcast together with shapes " + shapes);
    }
    first = false;
  }
  QS_CHECK(!indexed.empty(), IndexError, "index(): expected at least one index tensor");
  QS_CHECK(indexed.size() <= 8, IndexError, "at most 8 dimensions can be indexed at once, got {}",
           indexed.size());
  for (int64_t d : indexed) out.indices.push_back(expand(at[static_cast<size_t>(d)], shape));
  bool adjacent = true;
  for (size_t i = 1; i < indexed.size(); ++i)
    adjacent = adjacent && indexed[i] == indexed[i - 1] + 1;
  if (adjacent) {
    for (int64_t d : indexed) out.mask |= uint64_t{1} << d;
  } else {  // the indexed dimensions come first, as in NumPy
    out.order = indexed;
    for (int64_t d : rest) out.order.push_back(d);
    out.mask = (uint64_t{1} << indexed.size()) - 1;
  }
  for (Tensor& t : out.indices)
    if (t.device_type() != x.device_type() && t.is_cpu()) t = to(t, x.device(), {});
  return out;
}

bool is_mask(const Tensor& t) {
  return t.defined() && (t.dtype() == DType::bool_ || t.dtype() == DType::u8);
}

/// Dimensions under one mask become one where x walks them in equal steps: one index instead of
/// several. Gives x so viewed.
Tensor flatten_under_masks(const Tensor& x, TensorList& indices) {
  Tensor flat = x;
  int at = 0;
  for (Tensor& t : indices) {
    const int rank = is_mask(t) ? t.dim() : 1;
    bool even = rank > 1 && at + rank <= flat.dim();
    for (int k = 0; k < rank && even; ++k) {
      const int d = at + k;
      even = t.size(k) == flat.size(d) &&
             (k == 0 || flat.stride(d - 1) == flat.stride(d) * flat.size(d));
    }
    if (even) {
      flat = flatten(flat, at, at + rank - 1);
      t = reshape(t, Dims{-1});
      ++at;
    } else {
      at += rank;
    }
  }
  return flat;
}

bool nothing_indexed(const TensorList& indices) {
  for (const Tensor& t : indices)
    if (t.defined()) return false;
  return true;
}

}  // namespace

Tensor index(const Tensor& x, const TensorList& indices) {
  require_defined(x, "index");
  if (nothing_indexed(indices)) return view(x, x.shape());
  // A 0-dim mask adds a dimension of extent 0 or 1.
  for (size_t i = 0; i < indices.size(); ++i) {
    if (!indices[i].defined() || indices[i].dim() != 0 || indices[i].dtype() != DType::bool_)
      continue;
    TensorList more = indices;
    more[i] = unsqueeze(indices[i], 0);
    return index(unsqueeze(x, static_cast<int64_t>(i)), more);
  }
  TensorList flat = indices;
  const Tensor from = flatten_under_masks(x, flat);
  const Indexing plan = prepare(from, flat);
  return index_adjacent(plan.order.empty() ? from : permute(from, plan.order), plan.indices,
                        plan.mask);
}

const Tensor& index_put_(const Tensor& x, const TensorList& indices, const Tensor& values,
                         bool accumulate) {
  require_defined(x, "index_put_");
  require_defined(values, "index_put_");
  QS_CHECK(
      x.dtype() == values.dtype(), Error,
      "Index put requires the source and destination dtypes match, got {} for the destination and "
      "{} for the source.",
      scalar_type_name(x.dtype()), scalar_type_name(values.dtype()));
  if (nothing_indexed(indices)) return accumulate ? add_(x, values) : copy_(x, values);
  for (size_t i = 0; i < indices.size(); ++i) {
    if (!indices[i].defined() || indices[i].dim() != 0 || indices[i].dtype() != DType::bool_)
      continue;
    TensorList more = indices;
    more[i] = unsqueeze(indices[i], 0);
    index_put_(unsqueeze(x, static_cast<int64_t>(i)), more, values, accumulate);
    return x;
  }
  TensorList flat = indices;
  const Tensor into = flatten_under_masks(x, flat);
  const Indexing plan = prepare(into, flat);
  Tensor v = values;
  if (v.device_type() != x.device_type() && v.dim() == 0) v = to(v, x.device(), {});
  const Tensor target = plan.order.empty() ? into : permute(into, plan.order);
  const Dims wanted = indexed_shape(target.shape(), plan.indices[0].shape(), plan.mask);
  while (v.dim() > static_cast<int>(wanted.size()) && v.size(0) == 1) v = squeeze(v, Dims{0});
  bool fits = v.dim() <= static_cast<int>(wanted.size());
  for (int d = 0; fits && d < v.dim(); ++d)
    fits = v.size(d) == 1 || v.size(d) == wanted[wanted.size() - static_cast<size_t>(v.dim()) + d];
  QS_CHECK(
      fits, Error,
      "shape mismatch: value tensor of shape {} cannot be broadcast to indexing result of shape {}",
      to_string(values.shape()), to_string(wanted));
  index_put_adjacent_(target, v, plan.indices, plan.mask, accumulate);
  return x;
}

// ---- index_add, scatter
const Tensor& index_add_(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source,
                         Scalar alpha) {
  require_defined(x, "index_add_");
  require_defined(source, "index_add_");
  const Tensor i = at_least_1d(as_index(index, "index_add", true));
  QS_CHECK(i.dim() == 1, IndexError, "index_add_(): Index is supposed to be a vector");
  QS_CHECK(x.dtype() == source.dtype(), Error,
           "index_add_(): self ({}) and source ({}) must have the same scalar type",
           scalar_type_name(x.dtype()), scalar_type_name(source.dtype()));
  const int at = wrap_dim(dim, x.dim());
  if (x.dim() == 0) {
    index_add_(view(x, Dims{1}), 0, i, at_least_1d(source), alpha);
    return x;
  }
  QS_CHECK(source.dim() == x.dim(), Error, "index_add_(): source has {} dimensions, expected {}",
           source.dim(), x.dim());
  QS_CHECK(
      i.numel() == source.size(at), Error,
      "index_add_(): Number of indices ({}) should be equal to source.size(dim): ({}), for dim: {}",
      i.numel(), source.size(at), at);
  for (int d = 0; d < x.dim(); ++d)
    QS_CHECK(
        d == at || source.size(d) == x.size(d), Error,
        "source tensor shape must match self tensor shape, excluding the specified dimension. Got "
        "self.shape = {} source.shape = {}",
        to_string(x.shape()), to_string(source.shape()));
  const bool plain = alpha.is_integral() ? alpha.to_int() == 1 : alpha.to_double() == 1;
  return write_dim(Op::index_add, x, at, i, plain ? source : mul(source, alpha));
}

Tensor index_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source,
                 Scalar alpha) {
  const Tensor out = row_major_copy(x);
  return index_add_(out, dim, index, source, alpha);
}

namespace {

const Tensor& scatter_into(Op op, const char* verb, const Tensor& x, int64_t dim,
                           const Tensor& index, const Operand& source) {
  require_defined(x, verb);
  if (as_index(index, "scatter", true).dtype() != DType::i64)
    return scatter_into(op, verb, x, dim, to(index, {}, DType::i64), source);
  QS_CHECK(source.kind() != Operand::absent, TypeError, "{}(): the source is an undefined tensor",
           verb);
  const int at = wrap_dim(dim, x.dim());
  Tensor from;
  if (source.is_tensor()) {
    from = Tensor(Ref<TensorImpl>(source.impl()));
    QS_CHECK(from.dtype() == x.dtype(), Error, "{}(): Expected self.dtype to be equal to src.dtype",
             "scatter");
  } else {
    from = expand(full({}, source.number(), Options(x.dtype(), x.device())), index.shape());
  }
  if (x.dim() == 0) {
    scatter_into(op, verb, view(x, Dims{1}), 0, at_least_1d(index), at_least_1d(from));
    return x;
  }
  if (index.numel() == 0) return x;
  const Tensor i = at_least_1d(index);
  from = at_least_1d(from);
  check_reach(verb, x, at, i);
  QS_CHECK(from.dim() == i.dim(), Error,
           "Index tensor must have the same number of dimensions as src tensor");
  for (int d = 0; d < i.dim(); ++d) {
    QS_CHECK(i.size(d) <= from.size(d), Error,
             "Expected index {} to be no larger than src {} in every dimension",
             to_string(i.shape()), to_string(from.shape()));
    if (i.size(d) < from.size(d)) from = narrow(from, d, 0, i.size(d));
  }
  return write_dim(op, x, at, i, from);
}

}  // namespace

const Tensor& scatter_(const Tensor& x, int64_t dim, const Tensor& index, const Operand& source) {
  return scatter_into(Op::scatter, "scatter_", x, dim, index, source);
}

Tensor scatter(const Tensor& x, int64_t dim, const Tensor& index, const Operand& source) {
  const Tensor out = row_major_copy(x);
  return scatter_into(Op::scatter, "scatter", out, dim, index, source);
}

const Tensor& scatter_add_(const Tensor& x, int64_t dim, const Tensor& index,
                           const Tensor& source) {
  return scatter_into(Op::scatter_add, "scatter_add_", x, dim, index, source);
}

Tensor scatter_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source) {
  const Tensor out = row_major_copy(x);
  return scatter_into(Op::scatter_add, "scatter_add", out, dim, index, source);
}

// ---- masks and positions
Tensor nonzero(const Tensor& x) {
  require_defined(x, "nonzero");
  const NoGrad guard;
  const int64_t count = x.numel() ? sum(ne(x, 0)).item<int64_t>() : 0;  // shapes depend on it
  ResultSpec spec[] = {{DType::i64, Dims{count, x.dim()}}};
  if (x.dim() > 1 && count > 0) spec[0].strides = {1, count};  // PyTorch's: columns are dense
  RecordOptions options;
  options.compute = x.dtype();
  options.device = x.device_type();
  options.results = spec;
  return apply(Op::nonzero, {x, count}, {}, options);
}

Tensor masked_select(const Tensor& x, const Tensor& mask) {
  require_defined(x, "masked_select");
  require_defined(mask, "masked_select");
  QS_CHECK(mask.dtype() == DType::bool_, Error, "masked_select: expected BoolTensor for mask");
  const Dims shape = broadcast_shapes(x.shape(), mask.shape());
  if (shape.empty()) return index(view(x, Dims{1}), {view(mask, Dims{1})});
  return index(expand(x, shape), {expand(mask, shape)});
}

Tensor one_hot(const Tensor& x, int64_t num_classes) {
  require_defined(x, "one_hot");
  QS_CHECK(x.dtype() == DType::i64, Error,
           "one_hot is only applicable to index tensor of type LongTensor.");
  const NoGrad guard;
  if (x.numel() == 0) {
    QS_CHECK(num_classes > 0, Error, "Can not infer total number of classes from empty tensor.");
  } else if (num_classes < 0 || x.is_cpu()) {
    QS_CHECK(amin(x).item<int64_t>() >= 0, Error, "Class values must be non-negative.");
    const int64_t largest = amax(x).item<int64_t>();
    if (num_classes < 0) num_classes = largest + 1;
    QS_CHECK(largest < num_classes, Error, "Class values must be smaller than num_classes.");
  }
  const Tensor classes = arange(0, num_classes, 1, Options(DType::i64, x.device()));
  return to(eq(unsqueeze(contiguous(x), -1), classes), {}, DType::i64);
}

}  // namespace qs
