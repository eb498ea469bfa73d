"""Order statistics, histograms, covariance."""

from __future__ import annotations

import math
from typing import Any

from quicksilver import _C
from quicksilver._composed import with_out, write_out
from quicksilver.autograd import Function

Tensor = _C.Tensor


def _type_name(tensor: Tensor) -> str:
    return tensor.type().rsplit(".", 1)[-1].removesuffix("Tensor")


def nanmean(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None
) -> Tensor:
    """The mean of what is not NaN."""
    if not (input.is_floating_point() or input.is_complex()):
        raise RuntimeError(
            "nanmean(): expected input to have floating point or complex dtype but got"
            f" {_type_name(input)}"
        )
    count = input.isnan().logical_not().sum(dim, keepdim=keepdim)
    value = input.nansum(dim, keepdim=keepdim, dtype=dtype) / count
    return value if out is None else write_out("nanmean", value, out)


def _named(name: str, pair: Any, out: Any) -> Any:
    if out is not None:
        return write_out(name, tuple(pair), out)
    from quicksilver import return_types

    return getattr(return_types, name)(pair)


def _check_dim(name: str, input: Tensor, dim: int) -> int:
    rank = max(input.dim(), 1)
    if not -rank <= dim < rank:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but got"
            f" {dim})"
        )
    if input.dim() and input.size(dim) == 0:
        raise IndexError(f"{name}(): Expected reduction dim {dim} to have non-zero size.")
    return dim % rank


def median(input: Tensor, dim: int | None = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """The lower median of all elements, or (values, indices) along dim; NaN wins."""
    if dim is None:
        if input.numel() == 0:
            return _C.full((), math.nan, dtype=input.dtype, device=input.device)
        return _shared_by_equals(input, _median(input.detach().reshape(-1), 0, False)[0])
    return _named("median", _median(input, _check_dim("median", input, dim), keepdim), out)


def _shared_by_equals(input: Tensor, value: Tensor) -> Tensor:
    """``value``, which is one of input's, with its gradient in equal parts to all that equal it."""
    if not (input.requires_grad and _C.is_grad_enabled()):
        return value
    equal = (input.detach() == value).logical_or(input.detach().isnan().logical_and(value.isnan()))
    return _Shared.apply(input, value, equal)


class _Shared(Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, value: Tensor, equal: Tensor) -> Tensor:
        ctx.save_for_backward(equal)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (equal,) = ctx.saved_tensors
        return grad * equal / equal.sum(), None, None


def _median(input: Tensor, dim: int, keepdim: bool) -> tuple[Tensor, Tensor]:
    size = input.size(dim) if input.dim() else 1
    values, indices = _C.kthvalue(input, (size - 1) // 2 + 1, dim, keepdim)
    if not input.is_floating_point():
        return values, indices
    missing = input.isnan()
    some = missing.any(dim, keepdim) if input.dim() else missing
    first = missing.to(_C.uint8).argmax(dim, keepdim) if input.dim() else indices
    return values.masked_fill(some, math.nan), _C.where(some, first, indices)


def nanmedian(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, out: Any = None
) -> Any:
    """The lower median of what is not NaN, of all elements or (values, indices) along dim."""
    if dim is None:
        if input.numel() == 0:
            return _C.full((), math.nan, dtype=input.dtype, device=input.device)
        return _shared_by_equals(input, _nanmedian(input.detach().reshape(-1), 0, False)[0])
    return _named("nanmedian", _nanmedian(input, _check_dim("nanmedian", input, dim), keepdim), out)


def _nanmedian(input: Tensor, dim: int, keepdim: bool) -> tuple[Tensor, Tensor]:
    if not input.is_floating_point() or input.dim() == 0:
        return _median(input, dim, keepdim)
    values, indices = input.sort(dim)
    count = input.isnan().logical_not().sum(dim, keepdim=True)
    at = (count - 1).clamp(min=0).div(2, rounding_mode="floor")
    values, indices = values.gather(dim, at), indices.gather(dim, at)
    return (values, indices) if keepdim else (values.squeeze(dim), indices.squeeze(dim))


def mode(input: Tensor, dim: int = -1, keepdim: bool = False, *, out: Any = None) -> Any:
    """(values, indices) of what occurs most often along dim; of several the smallest."""
    dim = _check_dim("mode", input, dim)
    if input.dim() == 0:
        zero = _C.zeros((), dtype=_C.int64, device=input.device)
        return _named("mode", (input.clone(), zero), out)
    ordered, order = input.sort(dim)
    size = input.size(dim)
    shape = [1] * input.dim()
    shape[dim] = size
    place = _C.arange(size, device=input.device).view(shape)
    head = _C.ones_like(ordered.narrow(dim, 0, 1), dtype=_C.bool)
    new = _C.cat([head, ordered.narrow(dim, 1, size - 1) != ordered.narrow(dim, 0, size - 1)], dim)
    start = _C.where(new, place, 0).cummax(dim)[0]
    last = (place - start).argmax(dim, keepdim=True)  # of the first longest run
    indices = order.gather(dim, last)
    values = input.gather(dim, indices)
    if not keepdim:
        values, indices = values.squeeze(dim), indices.squeeze(dim)
    return _named("mode", (values, indices), out)


def quantile(
    input: Tensor,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
    out: Any = None,
) -> Tensor:
    """The q-quantiles along dim; those of a vector q stand in a new first dimension."""
    value = _quantile("quantile", input, q, dim, keepdim, interpolation, False)
    return value if out is None else write_out("quantile", value, out)


def nanquantile(
    input: Tensor,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
    out: Any = None,
) -> Tensor:
    """quantile of what is not NaN."""
    value = _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)
    return value if out is None else write_out("nanquantile", value, out)


def _quantile(
    name: str, input: Tensor, q: Any, dim: int | None, keepdim: bool, how: str, skip_nan: bool
) -> Tensor:
    if input.dtype not in (_C.float32, _C.float64):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if input.numel() == 0:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    if how not in ("linear", "lower", "higher", "midpoint", "nearest"):
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest,"
            f" but got {how}"
        )
    if isinstance(q, Tensor):
        if q.dim() > 1:
            raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
        if q.dtype != input.dtype:
            raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    else:
        if not 0 <= q <= 1:
            raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q}")
        q = _C.tensor(float(q), dtype=input.dtype, device=input.device)
    if q.device.type == "cpu" and not bool(((q >= 0) & (q <= 1)).all()):
        raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    rank = input.dim()
    if dim is None:
        rows = input.reshape(-1)
    else:
        dim = _check_dim(name, input, dim)
        rows = (input.unsqueeze(0) if rank == 0 else input).movedim(dim, -1)
    ordered = rows.sort(-1)[0]
    size = ordered.size(-1)
    points = q.reshape(-1)
    if skip_nan:
        last = (ordered.isnan().logical_not().sum(-1, keepdim=True) - 1).to(input.dtype)
        rank_at = (points * last).clamp(min=0)
    else:
        rank_at = (points * (size - 1)).expand(*ordered.shape[:-1], points.size(0))
        holes = ordered.narrow(-1, size - 1, 1).isnan()
        rank_at = rank_at.masked_fill(holes, size - 1)
    if how == "lower":
        value = ordered.gather(-1, rank_at.floor().long())
    elif how == "higher":
        value = ordered.gather(-1, rank_at.ceil().long())
    elif how == "nearest":
        value = ordered.gather(-1, rank_at.round().long())
    else:
        low = rank_at.floor()
        weight = _C.full_like(rank_at, 0.5) if how == "midpoint" else rank_at - low
        below, above = low.long(), rank_at.ceil().long()
        value = ordered.gather(-1, below).lerp(ordered.gather(-1, above), weight)
    # [..., points] -> [points, ...]
    if dim is None:
        value = value.reshape(-1, *([1] * rank)) if keepdim else value.reshape(-1)
    else:
        value = value.movedim(-1, 0)
        if keepdim and rank:
            value = value.unsqueeze(dim + 1)
    return value.squeeze(0) if q.dim() == 0 else value


@with_out
def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None
) -> Tensor:
    """The n-th differences of neighbours along dim."""
    if input.dim() == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    parts = [t for t in (prepend, input, append) if t is not None]
    x = _C.cat(parts, dim) if len(parts) > 1 else input
    if n == 0:
        return x.clone() if x is input else x
    for _ in range(min(n, x.size(dim))):
        size = x.size(dim)
        rest = max(size - 1, 0)
        after, before = x.narrow(dim, min(1, size), rest), x.narrow(dim, 0, rest)
        x = after.logical_xor(before) if x.dtype == _C.bool else after - before
    return x


def _bin_range(name: str, input: Tensor, low: float, high: float) -> tuple[float, float]:
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"{name}: range of [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError(f"{name}: max must be larger than min")
    if low == high and input.numel():
        low, high = float(input.min()), float(input.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise RuntimeError(f"{name}: range of [{low}, {high}] is not finite")
    if low == high:
        low, high = low - 1, high + 1
    return low, high


@with_out
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements lie in each of bins equal intervals of [min, max] (or of their range)."""
    if not input.is_floating_point():
        raise NotImplementedError(f"\"histogram_cpu\" not implemented for '{_type_name(input)}'")
    if bins <= 0:
        raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins} for dimension 0")
    x = input.detach().reshape(-1)
    low, high = _bin_range("torch.histc", x, min, max)
    place = ((x - low) * bins / (high - low)).floor().clamp(0, bins - 1)
    inside = (x >= low) & (x <= high)
    index = _C.where(inside, place, bins).long()
    counts = _C.zeros(bins + 1, dtype=_C.int64, device=x.device)
    ones = _C.ones((), dtype=_C.int64, device=x.device).expand(index.shape)
    return counts.scatter_add_(0, index, ones)[:bins].to(input.dtype)


def _edges(input: Tensor, bins: int, span: Any) -> Tensor:
    low, high = span if span is not None else (0.0, 0.0)
    low, high = _bin_range("histogram", input, low, high)
    return _C.linspace(low, high, bins + 1, dtype=input.dtype, device=input.device)


def _bin_of(x: Tensor, edges: Tensor) -> Tensor:
    """The bin of each element, or the number of bins when it is in none."""
    count = edges.numel() - 1
    place = _C._searchsorted(edges, x, True) - 1
    place = _C.where(x == edges[count], count - 1, place)
    return _C.where((x >= edges[0]) & (x <= edges[count]), place, count)


def histogram(
    input: Tensor,
    bins: Any,
    *,
    range: Any = None,
    weight: Tensor | None = None,
    density: bool = False,
    out: Any = None,
) -> Any:
    """(hist, bin_edges): counts, or sums of weights, in bins given by number or by edges."""
    if not input.is_floating_point():
        raise NotImplementedError(f"\"histogram_cpu\" not implemented for '{_type_name(input)}'")
    x = input.detach().reshape(-1)
    edges = bins if isinstance(bins, Tensor) else _edges(x, bins, range)
    hist = _histogram(x.unsqueeze(-1), [edges], weight, density)
    return _named("histogram", (hist, edges), out)


def histogramdd(
    input: Tensor,
    bins: Any,
    *,
    range: Any = None,
    weight: Tensor | None = None,
    density: bool = False,
    out: Any = None,
) -> Any:
    """(hist, bin_edges) of points in the last dimension of input; bin_edges is a tuple."""
    depth = input.size(-1)
    x = input.detach().reshape(-1, depth)
    if isinstance(bins, int):
        bins = [bins] * depth
    if isinstance(bins[0], Tensor):
        edges = list(bins)
    else:
        spans = (
            [None] * depth
            if range is None
            else [tuple(range[2 * i : 2 * i + 2]) for i in _range(depth)]
        )
        edges = [_edges(x[:, i], n, spans[i]) for i, n in enumerate(bins)]
    from quicksilver import return_types

    return return_types.histogramdd((_histogram(x, edges, weight, density), tuple(edges)))


_range = range


def _histogram(x: Tensor, edges: list[Tensor], weight: Tensor | None, density: bool) -> Tensor:
    shape = [e.numel() - 1 for e in edges]
    total = math.prod(shape)
    index = _C.zeros(x.size(0), dtype=_C.int64, device=x.device)
    outside = _C.zeros(x.size(0), dtype=_C.bool, device=x.device)
    for i, (edge, count) in enumerate(zip(edges, shape, strict=True)):
        place = _bin_of(x[:, i].contiguous(), edge)
        outside = outside | (place == count)
        index = index * count + place
    index = _C.where(outside, total, index)
    if weight is None:
        each = _C.ones(x.size(0), dtype=x.dtype, device=x.device)
    else:
        each = weight.reshape(-1).to(x.dtype)
    hist = _C.zeros(total + 1, dtype=x.dtype, device=x.device).scatter_add_(0, index, each)
    hist = hist[:total].reshape(shape)
    if density:
        hist = hist / hist.sum()
        for i, edge in enumerate(edges):
            width = [1] * len(shape)
            width[i] = -1
            hist = hist / (edge[1:] - edge[:-1]).view(width)
    return hist


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each non-negative integer occurs, or the sum of its weights."""
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    if input.is_floating_point() or input.is_complex() or input.dtype == _C.bool:
        raise NotImplementedError(f"\"bincount_cpu\" not implemented for '{_type_name(input)}'")
    low, high = _C.stack(_C.aminmax(input)).tolist() if input.numel() else (0, -1)
    if input.dim() != 1 or low < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if weights is not None and weights.shape != input.shape:
        raise RuntimeError("weights should be 1-d and have the same length as input")
    size = max(high + 1, minlength)
    if weights is None:
        each = _C.ones((), dtype=_C.int64, device=input.device).expand(input.shape)
    else:
        each = weights if weights.dtype == _C.float32 else weights.double()
    counts = _C.zeros(size, dtype=each.dtype, device=input.device)
    return counts.scatter_add_(0, input.long(), each.detach())


def cov(
    input: Tensor,
    *,
    correction: int = 1,
    fweights: Tensor | None = None,
    aweights: Tensor | None = None,
) -> Tensor:
    """The covariance matrix of the rows of input; columns are observations."""
    if input.dim() > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with"
            f" {input.dim()} dimensions"
        )
    if input.dtype == _C.bool:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    x = input.reshape(1, -1) if input.dim() < 2 else input
    weights = fweights
    if aweights is not None:
        weights = aweights if fweights is None else fweights * aweights
    if weights is None:
        total = x.size(1)
        norm = total - correction
        mean = x.sum(1, keepdim=True) / total
    else:
        total = weights.sum()
        mean = (x * weights).sum(1, keepdim=True) / total
        if aweights is None or correction == 0:
            norm = total - correction
        else:
            norm = total - correction * (weights * aweights).sum() / total
    centred = x - mean
    right = centred.conj() if weights is None else (centred * weights).conj()
    if isinstance(norm, Tensor):
        norm = norm.clamp(min=0)
    else:
        norm = max(norm, 0)
    if not (centred.is_floating_point() or centred.is_complex()):
        centred, right = centred.to(_C.get_default_dtype()), right.to(_C.get_default_dtype())
    if right.dtype != centred.dtype:
        right = right.to(centred.dtype)
    return (centred @ right.t() / norm).squeeze()


def corrcoef(input: Tensor) -> Tensor:
    """The correlation coefficients of the rows of input; columns are observations."""
    if input.dim() > 2:
        raise RuntimeError(
            "corrcoef(): expected input to have two or fewer dimensions but got an input with"
            f" {input.dim()} dimensions"
        )
    c = cov(input)
    if c.dim() == 0:
        return c / c
    d = c.diagonal()
    spread = (d.real if c.is_complex() else d).sqrt()
    c = c / spread.view(-1, 1) / spread.view(1, -1)
    if c.is_complex():
        return _C.complex(c.real.clamp(-1, 1), c.imag.clamp(-1, 1))
    return c.clamp(-1, 1)


@with_out
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Slices along dim scaled down to a p-norm of maxnorm."""
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if input.dim() < 2:
        raise RuntimeError(
            f"renorm: input needs at least 2 dimensions, got {input.dim()} dimensions"
        )
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm:g}")
    dims = [d for d in range(input.dim()) if d != dim % input.dim()]
    size = input.norm(p, dims, keepdim=True)
    return input * _C.where(size > maxnorm, maxnorm / (size + 1e-7), 1.0)


def trace(input: Tensor) -> Tensor:
    """The sum of a matrix's diagonal."""
    if input.dim() != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.dim()}")
    return input.diagonal().sum()
