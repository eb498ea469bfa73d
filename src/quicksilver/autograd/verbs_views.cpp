// Views: another layout over the same storage. They record nothing; only their gradients do.
#include <algorithm>
#include <numeric>

#include "quicksilver/autograd/apply.h"
#include "quicksilver/core/error.h"

namespace qs {

using namespace autograd;

namespace {

/// Replaces the one -1 in `shape`; PyTorch's texts when it cannot.
Dims inferred_shape(DimSpan shape, int64_t numel) {
  Dims out(shape);
  int64_t known = 1;
  int at = -1;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == -1) {
      QS_CHECK(at < 0, Error, "only one dimension can be inferred");
      at = static_cast<int>(i);
      continue;
    }
    QS_CHECK(shape[i] >= 0, Error, "invalid shape dimension {}", shape[i]);
    known *= shape[i];
  }
  if (at >= 0) {
    QS_CHECK(known != 0 || numel != 0, Error,
             "cannot reshape tensor of 0 elements into shape {} because the unspecified dimension "
             "size -1 can be any value and is ambiguous",
             to_string(shape));
    QS_CHECK(known != 0 && numel % known == 0, Error, "shape '{}' is invalid for input of size {}",
             to_string(shape), numel);
    out[static_cast<size_t>(at)] = numel / known;
  } else {
    QS_CHECK(known == numel, Error, "shape '{}' is invalid for input of size {}", to_string(shape),
             numel);
  }
  return out;
}

Tensor viewed(const char* name, const Tensor& x, Dims shape, Dims strides) {
  const int64_t offset = x.storage_offset();
  return view_of(name, x, Layout(std::move(shape), std::move(strides), offset),
                 [back = Dims(x.shape())](const Tensor& g) { return reshape(g, back); });
}

/// A view with other strides over a part; the gradient is zero outside it. `again` makes the same
/// view of the zeros.
template <class F>
Tensor part_of(const char* name, const Tensor& x, Layout layout, F again) {
  return view_of(name, x, std::move(layout), [shape = Dims(x.shape()), again](const Tensor& g) {
    const Tensor whole = zeros(shape, Options(g.dtype(), g.device()));
    copy_(again(whole), g);
    return whole;
  });
}

}  // namespace

Tensor view(const Tensor& x, DimSpan shape) {
  require_defined(x, "view");
  Dims wanted = inferred_shape(shape, x.numel()), strides;
  QS_CHECK(
      view_strides(x.layout(), wanted, strides), Error,
      "view size is not compatible with input tensor's size and stride (at least one dimension "
      "spans across two contiguous subspaces). Use .reshape(...) instead.");
  return viewed("View", x, std::move(wanted), std::move(strides));
}

Tensor reshape(const Tensor& x, DimSpan shape) {
  require_defined(x, "reshape");
  Dims wanted = inferred_shape(shape, x.numel()), strides;
  if (view_strides(x.layout(), wanted, strides))
    return viewed("View", x, std::move(wanted), std::move(strides));
  return view(contiguous(x), wanted);
}

Tensor flatten(const Tensor& x, int64_t start_dim, int64_t end_dim) {
  require_defined(x, "flatten");
  const int start = wrap_dim(start_dim, x.dim()), end = wrap_dim(end_dim, x.dim());
  QS_CHECK(start <= end, Error, "flatten() has invalid args: start_dim cannot come after end_dim");
  if (x.dim() == 0) return reshape(x, Dims{1});
  if (start == end) return x;
  Dims shape;
  int64_t run = 1;
  for (int d = 0; d < x.dim(); ++d) {
    if (d < start || d > end) {
      shape.push_back(x.size(d));
      continue;
    }
    run *= x.size(d);
    if (d == end) shape.push_back(run);
  }
  return reshape(x, shape);
}

Tensor unflatten(const Tensor& x, int64_t dim, DimSpan sizes) {
  require_defined(x, "unflatten");
  const int at = wrap_dim(dim, x.dim());
  QS_CHECK(!sizes.empty(), Error, "unflatten: sizes must be non-empty");
  int64_t known = 1, open = 0;
  for (int64_t s : sizes) s == -1 ? void(++open) : void(known *= s);
  QS_CHECK(open ? known != 0 && x.size(at) % known == 0 : known == x.size(at), Error,
           "unflatten: Provided sizes {} don't multiply up to the size of dim {} ({}) in the input "
           "tensor",
           to_string(sizes), at, x.size(at));
  Dims shape;
  for (int d = 0; d < x.dim(); ++d) {
    if (d != at) {
      shape.push_back(x.size(d));
      continue;
    }
    for (int64_t s : sizes) shape.push_back(s == -1 ? x.size(at) / known : s);
  }
  return view(x, shape);
}

Tensor permute(const Tensor& x, DimSpan dims) {
  require_defined(x, "permute");
  const size_t rank = static_cast<size_t>(x.dim());
  QS_CHECK(
      dims.size() == rank, Error,
      "permute(sparse_coo): number of dimensions in the tensor input does not match the length "
      "of the desired ordering of dimensions i.e. input.dim() = {} is not equal to len(dims) = "
      "{}",
      rank, dims.size());
  Layout layout;
  layout.offset = x.storage_offset();
  Dims back(rank);
  uint64_t seen = 0;
  for (size_t i = 0; i < rank; ++i) {
    const size_t d = static_cast<size_t>(wrap_dim(dims[i], x.dim()));
    QS_CHECK(!(seen >> d & 1), Error, "permute(): duplicate dims are not allowed.");
    seen |= uint64_t{1} << d;
    layout.shape.push_back(x.shape()[d]);
    layout.strides.push_back(x.strides()[d]);
    back[d] = static_cast<int64_t>(i);
  }
  return view_of("Permute", x, std::move(layout),
                 [back](const Tensor& g) { return permute(g, back); });
}

Tensor transpose(const Tensor& x, int64_t dim0, int64_t dim1) {
  require_defined(x, "transpose");
  const size_t a = static_cast<size_t>(wrap_dim(dim0, x.dim()));
  const size_t b = static_cast<size_t>(wrap_dim(dim1, x.dim()));
  Layout layout = x.layout();
  if (x.dim() > 0) {
    std::swap(layout.shape[a], layout.shape[b]);
    std::swap(layout.strides[a], layout.strides[b]);
  }
  return view_of("Transpose", x, std::move(layout), [a, b](const Tensor& g) {
    return transpose(g, static_cast<int64_t>(a), static_cast<int64_t>(b));
  });
}

Tensor t(const Tensor& x) {
  require_defined(x, "t");
  QS_CHECK(x.dim() <= 2, Error, "t() expects a tensor with <= 2 dimensions, but self is {}D",
           x.dim());
  return transpose(x, 0, x.dim() < 2 ? 0 : 1);
}

Tensor expand(const Tensor& x, DimSpan shape) {
  require_defined(x, "expand");
  const size_t rank = static_cast<size_t>(x.dim());
  QS_CHECK(
      shape.size() >= rank, Error,
      "expand({}{{{}}}, size={}): the number of sizes provided ({}) must be greater or equal to "
      "the number of dimensions in the tensor ({})",
      scalar_type_name(x.dtype()), to_string(x.shape()), to_string(shape), shape.size(), rank);
  Layout layout;
  layout.offset = x.storage_offset();
  const size_t lead = shape.size() - rank;
  for (size_t i = 0; i < shape.size(); ++i) {
    int64_t want = shape[i];
    if (i < lead) {
      QS_CHECK(want >= 0, Error,
               "The expanded size of the tensor ({}) isn't allowed in a leading, non-existing "
               "dimension {}",
               want, i);
      layout.shape.push_back(want);
      layout.strides.push_back(0);
      continue;
    }
    const int64_t have = x.shape()[i - lead];
    if (want == -1) want = have;
    QS_CHECK(
        want >= 0, Error,
        "The expanded size of the tensor ({}) isn't allowed in dimension {}: only -1 may stand "
        "for the existing size",
        want, i);
    QS_CHECK(
        have == want || have == 1, Error,
        "The expanded size of the tensor ({}) must match the existing size ({}) at non-singleton "
        "dimension {}.  Target sizes: {}.  Tensor sizes: {}",
        want, have, i, to_string(shape), to_string(x.shape()));
    layout.shape.push_back(want);
    layout.strides.push_back(have == want ? x.strides()[i - lead] : 0);
  }
  checked_numel(layout.shape);
  return view_of("Expand", x, std::move(layout),
                 [back = Dims(x.shape())](const Tensor& g) { return sum_to_shape(g, back); });
}

Tensor squeeze(const Tensor& x, const OptionalDims& dims) {
  require_defined(x, "squeeze");
  uint64_t mask = ~uint64_t{0};
  if (dims) {
    mask = 0;
    for (int64_t d : *dims) mask |= uint64_t{1} << wrap_dim(d, x.dim());
  }
  Dims shape, strides;
  for (size_t d = 0; d < x.shape().size(); ++d) {
    if (x.shape()[d] == 1 && mask >> d & 1) continue;
    shape.push_back(x.shape()[d]);
    strides.push_back(x.strides()[d]);
  }
  return viewed("Squeeze", x, std::move(shape), std::move(strides));
}

Tensor unsqueeze(const Tensor& x, int64_t dim) {
  require_defined(x, "unsqueeze");
  const size_t at = static_cast<size_t>(wrap_dim(dim, x.dim() + 1));
  Dims shape(x.shape()), strides(x.strides());
  const int64_t stride = at < x.shape().size() ? x.shape()[at] * x.strides()[at] : 1;
  shape.insert(at, 1);
  strides.insert(at, stride);
  return viewed("Unsqueeze", x, std::move(shape), std::move(strides));
}

Tensor select(const Tensor& x, int64_t dim, int64_t index) {
  require_defined(x, "select");
  QS_CHECK(x.dim() > 0, IndexError, "select() cannot be applied to a 0-dim tensor.");
  const int at = wrap_dim(dim, x.dim());
  const int64_t size = x.size(at);
  QS_CHECK(index >= -size && index < size, IndexError,
           "select(): index {} out of range for tensor of size {} at dimension {}", index,
           to_string(x.shape()), at);
  const int64_t i = index < 0 ? index + size : index;
  Layout layout = x.layout();
  layout.offset += i * layout.strides[at];
  layout.shape.erase(at);
  layout.strides.erase(at);
  return part_of("Select", x, std::move(layout),
                 [at, i](const Tensor& whole) { return select(whole, at, i); });
}

Tensor slice(const Tensor& x, int64_t dim, std::optional<int64_t> start, std::optional<int64_t> end,
             int64_t step) {
  require_defined(x, "slice");
  QS_CHECK(x.dim() > 0, Error, "slice() cannot be applied to a 0-dim tensor.");
  QS_CHECK(step > 0, Error, "slice step must be positive");
  const int at = wrap_dim(dim, x.dim());
  const int64_t size = x.size(at);
  auto inside = [size](int64_t v) { return std::clamp<int64_t>(v < 0 ? v + size : v, 0, size); };
  const int64_t from = inside(start.value_or(0));
  const int64_t to = std::max(from, inside(end.value_or(size)));
  Layout layout = x.layout();
  layout.offset += from * layout.strides[at];
  layout.shape[at] = (to - from) / step + ((to - from) % step != 0);
  if (__builtin_mul_overflow(layout.strides[at], step, &layout.strides[at]))
    layout.strides[at] = 1;  // one element at most: nobody takes that step
  return part_of("Slice", x, std::move(layout), [at, from, to, step](const Tensor& whole) {
    return slice(whole, at, from, to, step);
  });
}

Tensor narrow(const Tensor& x, int64_t dim, int64_t start, int64_t length) {
  require_defined(x, "narrow");
  QS_CHECK(x.dim() > 0, Error, "narrow() cannot be applied to a 0-dim tensor.");
  QS_CHECK(length >= 0, Error, "narrow(): length must be non-negative.");
  const int at = wrap_dim(dim, x.dim());
  const int64_t size = x.size(at);
  QS_CHECK(start >= -size && start <= size, IndexError,
           "start out of range (expected to be in range of [{}, {}], but got {})", -size, size,
           start);
  const int64_t from = start < 0 ? start + size : start;
  QS_CHECK(from + length <= size, Error, "start ({}) + length ({}) exceeds dimension size ({}).",
           from, length, size);
  return slice(x, at, from, from + length);
}

Tensor diagonal(const Tensor& x, int64_t offset, int64_t dim1, int64_t dim2) {
  require_defined(x, "diagonal");
  const int a = wrap_dim(dim1, x.dim()), b = wrap_dim(dim2, x.dim());
  QS_CHECK(a != b, Error, "diagonal dimensions cannot be identical {}, {}", dim1, dim2);
  Layout layout;
  layout.offset = x.storage_offset();
  const int64_t rows = x.size(a), columns = x.size(b);
  const int64_t length = std::max<int64_t>(
      0, offset >= 0 ? std::min(rows, columns - offset) : std::min(rows + offset, columns));
  if (length > 0) layout.offset += offset >= 0 ? offset * x.stride(b) : -offset * x.stride(a);
  for (int d = 0; d < x.dim(); ++d) {
    if (d == a || d == b) continue;
    layout.shape.push_back(x.size(d));
    layout.strides.push_back(x.stride(d));
  }
  layout.shape.push_back(length);
  layout.strides.push_back(x.stride(a) + x.stride(b));
  return part_of("Diagonal", x, std::move(layout),
                 [offset, a, b](const Tensor& whole) { return diagonal(whole, offset, a, b); });
}

Tensor as_strided(const Tensor& x, DimSpan shape, DimSpan strides, std::optional<int64_t> offset) {
  require_defined(x, "as_strided");
  QS_CHECK(shape.size() == strides.size(), Error,
           "mismatch in length of strides and shape: got {} and {}", strides.size(), shape.size());
  for (size_t i = 0; i < shape.size(); ++i) {
    QS_CHECK(shape[i] >= 0, Error, "as_strided: negative size {} at dimension {}", shape[i], i);
    QS_CHECK(strides[i] >= 0, Error,
             "as_strided: Negative strides are not supported at the moment, got strides: {}",
             to_string(strides));
  }
  Layout layout(Dims(shape), Dims(strides), offset.value_or(x.storage_offset()));
  QS_CHECK(layout.offset >= 0, Error, "as_strided: storage offset must be non-negative, got {}",
           layout.offset);
  const int64_t item = static_cast<int64_t>(size_of(x.dtype()));
  if (checked_numel(shape) > 0) {
    // One past the last byte; a sum that no int64 holds is out of every storage.
    int64_t end = layout.offset;
    bool fits = !__builtin_add_overflow(end, 1, &end);
    for (size_t i = 0; i < shape.size(); ++i) {
      int64_t reach;
      fits = fits && !__builtin_mul_overflow(shape[i] - 1, strides[i], &reach) &&
             !__builtin_add_overflow(end, reach, &end);
    }
    fits = fits && !__builtin_mul_overflow(end, item, &end);
    QS_CHECK(
        fits && end <= x.storage().bytes, Error,
        "setStorage: sizes {}, strides {}, storage offset {}, and itemsize {} requiring a storage "
        "size of {} are out of bounds for storage of size {}",
        to_string(shape), to_string(strides), layout.offset, item,
        fits ? std::to_string(end) : "more bytes than can be counted", x.storage().bytes);
  }
  return view_of("AsStrided", x, layout, [input = x.layout(), layout](const Tensor& g) {
    return as_strided_backward(g, input, layout);
  });
}

Tensor unfold(const Tensor& x, int64_t dim, int64_t size, int64_t step) {
  require_defined(x, "unfold");
  const int at = wrap_dim(dim, x.dim());
  const int64_t extent = x.dim() ? x.size(at) : 1;
  QS_CHECK(size >= 0, Error, "size is {} but must be >= 0", size);
  QS_CHECK(size <= extent, Error, "maximum size for tensor at dimension {} is {} but size is {}",
           at, extent, size);
  QS_CHECK(step > 0, Error, "step is {} but must be > 0", step);
  const int64_t windows = (extent - size) / step + 1;
  Layout layout = x.layout();
  const int64_t stride = x.dim() ? layout.strides[at] : 1;
  if (x.dim()) {
    layout.shape[at] = windows;
    if (__builtin_mul_overflow(stride, step, &layout.strides[at]))
      layout.strides[at] = 1;  // of one window: nobody takes that step
  }
  layout.shape.push_back(size);
  layout.strides.push_back(stride);
  return view_of("Unfold", x, std::move(layout),
                 [shape = Dims(x.shape()), at, size, step, windows](const Tensor& g) {
                   if (shape.empty()) return reshape(g, shape);
                   const Options as(DType::i64, g.device());
                   const Tensor index = reshape(
                       unsqueeze(arange(0, windows * step, step, as), 1) + arange(0, size, 1, as),
                       Dims{-1});
                   Dims order;  // the windows' elements beside the windows
                   for (int d = 0; d < static_cast<int>(shape.size()); ++d) {
                     order.push_back(d);
                     if (d == at) order.push_back(static_cast<int64_t>(shape.size()));
                   }
                   Dims flat = shape;
                   flat[at] = windows * size;
                   return index_add(zeros(shape, Options(g.dtype(), g.device())), at, index,
                                    reshape(permute(g, order), flat));
                 });
}

// ---- several views at once: one node, whose gradient is one cat
namespace {

/// Views [start, start + size) along `dim`, one a size, with one node for all.
TensorList pieces(const char* name, const Tensor& x, int dim, DimSpan sizes, bool drop_dim) {
  TensorList out;
  int64_t start = 0;
  for (int64_t size : sizes) {
    Layout layout = x.layout();
    layout.offset += start * layout.strides[dim];
    layout.shape[dim] = size;
    if (drop_dim) {
      layout.shape.erase(dim);
      layout.strides.erase(dim);
    }
    start += size;
    out.push_back(make_view(x, std::move(layout)));
    mark_view(x, out.back());
  }
  const auto node = with_gradient(
      name, {&x, 1}, out,
      [dim, drop_dim, dtype = x.dtype(), device = x.device()](FunctionNodeBase& node,
                                                              std::vector<Tensor>& grads) {
        TensorList parts;
        for (size_t i = 0; i < node.results.size(); ++i) {
          Tensor g =
              grads[i].defined() ? grads[i] : zeros(node.results[i].shape, Options(dtype, device));
          parts.push_back(std::move(g));
        }
        return std::vector<Tensor>{drop_dim ? stack(parts, dim) : cat(parts, dim)};
      });
  for (size_t i = 0; node && i < out.size(); ++i) {
    grad_meta(out[i]).one_of_many = name;
    grad_meta(out[i]).output_of_many = static_cast<uint32_t>(i);
  }
  return out;
}

}  // namespace

TensorList split(const Tensor& x, int64_t size, int64_t dim) {
  require_defined(x, "split");
  QS_CHECK(x.dim() > 0, Error, "split expects at least a 1-dimensional tensor");
  const int at = wrap_dim(dim, x.dim());
  const int64_t extent = x.size(at);
  QS_CHECK(size >= 0, Error, "split expects split_size be non-negative, but got split_size={}",
           size);
  QS_CHECK(size > 0 || extent == 0, Error,
           "split_size can only be 0 if dimension size is 0, but got dimension size of {}", extent);
  Dims sizes;
  const int64_t count = size ? std::max<int64_t>((extent + size - 1) / size, 1) : 1;
  for (int64_t i = 0; i < count; ++i) sizes.push_back(std::min(size, extent - i * size));
  return pieces("Split", x, at, sizes, false);
}

TensorList split_sizes(const Tensor& x, DimSpan sizes, int64_t dim) {
  require_defined(x, "split");
  QS_CHECK(x.dim() > 0, Error, "split expects at least a 1-dimensional tensor");
  const int at = wrap_dim(dim, x.dim());
  int64_t total = 0;
  for (int64_t s : sizes) {
    QS_CHECK(s >= 0, Error,
             "split_with_sizes expects split_sizes have only non-negative entries, but got "
             "split_sizes={}",
             to_string(sizes));
    total += s;
  }
  QS_CHECK(total == x.size(at), Error,
           "split_with_sizes expects split_sizes to sum exactly to {} (input tensor's size at "
           "dimension {}), but got split_sizes={}",
           x.size(at), at, to_string(sizes));
  return pieces("SplitWithSizes", x, at, sizes, false);
}

TensorList chunk(const Tensor& x, int64_t chunks, int64_t dim) {
  require_defined(x, "chunk");
  QS_CHECK(x.dim() > 0, Error, "chunk expects at least a 1-dimensional tensor");
  QS_CHECK(chunks > 0, Error, "chunk expects `chunks` to be greater than 0, got: {}", chunks);
  const int at = wrap_dim(dim, x.dim());
  const int64_t extent = x.size(at), size = (extent + chunks - 1) / chunks;
  if (size == 0) return split_sizes(x, Dims(static_cast<size_t>(chunks), 0), at);
  return split(x, size, at);
}

TensorList unbind(const Tensor& x, int64_t dim) {
  require_defined(x, "unbind");
  QS_CHECK(x.dim() > 0, IndexError, "Dimension specified as {} but tensor has no dimensions", dim);
  const int at = wrap_dim(dim, x.dim());
  return pieces("Unbind", x, at, Dims(static_cast<size_t>(x.size(at)), 1), true);
}

}  // namespace qs
