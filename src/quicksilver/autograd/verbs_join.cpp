// Joining and repeating.
#include <algorithm>

#include "quicksilver/autograd/apply.h"
#include "quicksilver/core/error.h"
#include "quicksilver/tensor/rules.h"

namespace qs {

using namespace autograd;

namespace {

/// PyTorch drops tensors of shape [0] from cat, whatever the others' shapes.
bool is_skipped(const Tensor& t) { return t.dim() == 1 && t.numel() == 0; }

void check_joined(const Tensor& first, const Tensor& t, int dim, size_t index) {
  QS_CHECK(t.dim() == first.dim(), Error,
           "Tensors must have same number of dimensions: got {} and {}", first.dim(), t.dim());
  QS_CHECK(
      t.device_type() == first.device_type(), Error,
      "Expected all tensors to be on the same device, but found at least two devices, {} and {}! "
      "(in cat; move one of them with .to())",
      first.device().str(), t.device().str());
  for (int d = 0; d < t.dim(); ++d)
    QS_CHECK(
        d == dim || t.size(d) == first.size(d), Error,
        "Sizes of tensors must match except in dimension {}. Expected size {} but got size {} for "
        "tensor number {} in the list.",
        dim, first.size(d), t.size(d), index);
}

/// The tensors behind one another in a tensor of this layout; many of them in several steps.
Tensor join(std::span<const Tensor> tensors, int dim, DType dtype, const Layout& layout) {
  if (tensors.size() <= k_most_joined) return record_cat(tensors, dim, dtype, layout);
  std::vector<Tensor> parts;
  for (size_t from = 0; from < tensors.size(); from += k_most_joined) {
    const auto some = tensors.subspan(from, std::min(k_most_joined, tensors.size() - from));
    Dims shape = layout.shape;
    shape[dim] = 0;
    for (const Tensor& t : some) shape[dim] += t.size(dim);
    parts.push_back(record_cat(some, dim, dtype, Layout::contiguous(shape)));
  }
  return join(parts, dim, dtype, layout);
}

}  // namespace

Tensor cat(const TensorList& tensors, int64_t dim) {
  QS_CHECK(!tensors.empty(), ValueError, "torch.cat(): expected a non-empty list of Tensors");
  const Tensor* first = nullptr;
  SmallVector<Operand, 8> kinds;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& t = tensors[i];
    require_defined(t, "cat");
    QS_CHECK(t.dim() > 0, Error, "zero-dimensional tensor (at position {}) cannot be concatenated",
             i);
    kinds.push_back(t);
    if (!first && !is_skipped(t)) first = &t;
  }
  const DType dtype = result_type(kinds);
  if (!first) return zeros({0}, Options(dtype, tensors[0].device()));
  const int at = wrap_dim(dim, first->dim());
  Dims shape(first->shape());
  shape[at] = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (is_skipped(tensors[i])) continue;
    check_joined(*first, tensors[i], at, i);
    shape[at] += tensors[i].size(at);
  }

  bool channels_last = true;
  for (const Tensor& t : tensors)
    channels_last = channels_last && (is_skipped(t) || suggests_channels_last(t.layout()));
  Dims sizes;
  TensorList joined;
  for (const Tensor& t : tensors) {
    sizes.push_back(is_skipped(t) ? 0 : t.size(at));
    if (sizes.back()) joined.push_back(t);
  }
  if (joined.empty()) joined.push_back(*first);
  const Layout layout(shape,
                      channels_last ? channels_last_strides(shape) : contiguous_strides(shape));
  const Tensor out = join(joined, at, dtype, layout);
  std::vector<DType> dtypes;
  for (const Tensor& t : tensors) dtypes.push_back(t.dtype());
  with_gradient("Cat", tensors, {&out, 1},
                [at, sizes, dtypes](FunctionNodeBase& node, std::vector<Tensor>& grads) {
                  std::vector<Tensor> parts(sizes.size());
                  if (!grads[0].defined()) return parts;
                  int64_t start = 0;
                  for (size_t i = 0; i < sizes.size(); ++i) {
                    if (node.edges[i] && sizes[i])
                      parts[i] = to(narrow(grads[0], at, start, sizes[i]), {}, dtypes[i]);
                    start += sizes[i];
                  }
                  return parts;
                });
  return out;
}

Tensor stack(const TensorList& tensors, int64_t dim) {
  QS_CHECK(!tensors.empty(), Error, "stack expects a non-empty TensorList");
  require_defined(tensors[0], "stack");
  const int at = wrap_dim(dim, tensors[0].dim() + 1);
  TensorList rows;
  for (size_t i = 0; i < tensors.size(); ++i) {
    require_defined(tensors[i], "stack");
    QS_CHECK(Dims(tensors[i].shape()) == Dims(tensors[0].shape()), Error,
             "stack expects each tensor to be equal size, but got {} at entry 0 and {} at entry {}",
             to_string(tensors[0].shape()), to_string(tensors[i].shape()), i);
    rows.push_back(unsqueeze(tensors[i], at));
  }
  return cat(rows, at);
}

Tensor flip(const Tensor& x, DimSpan dims) {
  require_defined(x, "flip");
  uint64_t seen = 0;
  Layout turned = x.layout();  // the same elements, walked backwards
  for (int64_t d : dims) {
    const int at = wrap_dim(d, x.dim());
    QS_CHECK(!(seen >> at & 1), Error, "dim {} appears multiple times in the list of dims", at);
    seen |= uint64_t{1} << at;
    if (x.dim() == 0 || x.size(at) < 2) continue;
    const auto i = static_cast<size_t>(at);
    turned.offset += (turned.shape[i] - 1) * turned.strides[i];
    turned.strides[i] = -turned.strides[i];
  }
  Tensor out;
  {
    const NoGrad guard;
    RecordOptions options;
    options.row_major = true;
    // The result lies as the input does, if that is dense.
    Dims order, back(static_cast<size_t>(x.dim()));
    for (int d = 0; d < x.dim(); ++d) order.push_back(d);
    if (x.layout().is_dense())
      std::stable_sort(order.begin(), order.end(),
                       [&](int64_t a, int64_t b) { return x.stride(a) > x.stride(b); });
    for (size_t i = 0; i < order.size(); ++i) back[static_cast<size_t>(order[i])] = int64_t(i);
    const Tensor walked = permute(make_view(x, std::move(turned)), order);
    out = permute(apply(Op::copy, {walked}, {}, options), back);
    out = make_view(out, out.layout());  // nobody's view
  }
  with_gradient_of("Flip", x, out, [all = Dims(dims)](const Tensor& g) { return flip(g, all); });
  return out;
}

Tensor roll(const Tensor& x, DimSpan shifts, DimSpan dims) {
  require_defined(x, "roll");
  QS_CHECK(!shifts.empty(), Error, "`shifts` required");
  if (dims.empty()) {
    QS_CHECK(shifts.size() == 1, Error, "shifts and dimensions must align. shifts: {}, dims:0",
             shifts.size());
    const Dims zero{0};
    return reshape(roll(reshape(x, Dims{-1}), shifts, zero), x.shape());
  }
  QS_CHECK(shifts.size() == dims.size(), Error,
           "shifts and dimensions must align. shifts: {}, dims:{}", shifts.size(), dims.size());
  Tensor out = x;
  for (size_t i = 0; i < dims.size(); ++i) {
    const int at = wrap_dim(dims[i], x.dim());
    const int64_t size = x.dim() ? x.size(at) : 1;
    const int64_t shift = size ? ((shifts[i] % size) + size) % size : 0;
    if (shift == 0) continue;
    out = cat({narrow(out, at, size - shift, shift), narrow(out, at, 0, size - shift)}, at);
  }
  return out.same(x) ? clone(x) : out;
}

namespace {

/// `out`, reshaped from a copy that only it sees, as a result that is no view; a copy where it
/// shares x's memory.
Tensor nobodys_view(const Tensor& x, const Tensor& out) {
  if (out.impl()->storage == x.impl()->storage) return clone(out);
  if (out.impl()->grad_slot) {
    GradMeta& meta = grad_meta(out);
    meta.base = Tensor();
    meta.view_without_grad = false;
  }
  return out;
}

}  // namespace

Tensor repeat(const Tensor& x, DimSpan repeats) {
  require_defined(x, "repeat");
  const size_t rank = static_cast<size_t>(x.dim());
  QS_CHECK(repeats.size() >= rank, Error,
           "Number of dimensions of repeat dims can not be smaller than number of dimensions of "
           "tensor");
  const size_t lead = repeats.size() - rank;
  Dims split_shape, expanded, shape;  // each dimension beside one for its repeats
  for (size_t i = 0; i < repeats.size(); ++i) {
    QS_CHECK(repeats[i] >= 0, Error, "Trying to create tensor with negative dimension {}: {}",
             repeats[i], to_string(repeats));
    const int64_t size = i < lead ? 1 : x.shape()[i - lead];
    split_shape.push_back(1);
    split_shape.push_back(size);
    expanded.push_back(repeats[i]);
    expanded.push_back(size);
    shape.push_back(repeats[i] * size);
  }
  const Tensor out = reshape(expand(reshape(x, split_shape), expanded), shape);
  return nobodys_view(x, out);
}

Tensor repeat_interleave(const Tensor& x, int64_t repeats, std::optional<int64_t> dim) {
  require_defined(x, "repeat_interleave");
  QS_CHECK(repeats >= 0, Error, "Repeats must be non-negative");
  const Tensor from = dim ? x : reshape(x, Dims{-1});
  const int at = wrap_dim(dim.value_or(0), from.dim());
  Dims expanded, shape;
  for (int d = 0; d < from.dim(); ++d) {
    expanded.push_back(from.size(d));
    shape.push_back(from.size(d) * (d == at ? repeats : 1));
    if (d == at) expanded.push_back(repeats);
  }
  const Tensor out = reshape(expand(unsqueeze(from, at + 1), expanded), shape);
  return nobodys_view(x, out);
}

}  // namespace qs
