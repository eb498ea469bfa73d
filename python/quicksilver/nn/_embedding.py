"""nn.functional's embedding and embedding_bag: rows of a table; sums, means or largest of them."""

from __future__ import annotations

import math
from typing import Any

from quicksilver import _C
from quicksilver._grad_mode import no_grad
from quicksilver.autograd.function import Function

Tensor = _C.Tensor
_nn = _C._nn


def _renormalise_rows(weight: Tensor, rows: Tensor, max_norm: float, norm_type: float) -> None:
    """Scales the named rows of weight down to max_norm, in place."""
    with no_grad():
        chosen = rows.reshape(-1).long()
        picked = weight.detach().index_select(0, chosen)
        norms = picked.norm(norm_type, 1, keepdim=True)
        scale = _C.where(norms > max_norm, max_norm / (norms + 1e-7), 1.0)
        weight.detach()[chosen] = picked * scale  # rows named twice get the same values twice


class _ByFrequency(Function):
    """Rows [n, D] as they are; their gradients are divided by how often `indices` names them."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, indices: Tensor, count: int) -> Tensor:
        ctx.save_for_backward(indices)
        ctx.count = count
        return rows.view_as(rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (indices,) = ctx.saved_tensors
        one = _C.ones(indices.shape, dtype=grad.dtype, device=grad.device)
        times = _C.zeros(ctx.count, dtype=grad.dtype, device=grad.device)
        times = times.index_add(0, indices, one).index_select(0, indices)
        return grad / times.unsqueeze(1), None, None


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of weight [V, D] picked by integers of any shape: input.shape + [D].

    The row padding_idx gets no gradient. max_norm first scales longer rows down, in place;
    scale_grad_by_freq divides a row's gradient by how often it is named. ``sparse`` is accepted and
    the gradient is dense.

    Raises:
        IndexError: an index is outside of [0, V); on mps at the next read.
        AssertionError: padding_idx is outside of [-V, V).
    """
    if max_norm is not None:
        _renormalise_rows(weight, input, max_norm, norm_type)
    rows = _nn.embedding(input, weight, padding_idx)
    if scale_grad_by_freq and rows.requires_grad:
        flat = _ByFrequency.apply(
            rows.reshape(-1, weight.size(1)), input.reshape(-1).long(), weight.size(0)
        )
        rows = flat.reshape(rows.shape)
    return rows


# ---- bags ----------------------------------------------------------------------------------------
def _check_bags(
    input: Tensor,
    offsets: Tensor | None,
    mode: str,
    weights: Tensor | None,
    scale_grad_by_freq: bool,
    sparse: bool,
) -> None:
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch"
                f" of fixed length sequences. However, found offsets of type {type(offsets)}"
            )
    elif input.dim() == 1:
        if offsets is None:
            raise ValueError("offsets has to be a 1D Tensor but got None")
        if offsets.dim() != 1:
            raise ValueError("offsets has to be a 1D Tensor")
    else:
        raise ValueError(
            f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}"
        )
    if weights is not None and weights.shape != input.shape:
        raise ValueError(
            "embedding_bag: If per_sample_weights is not None, then it must have the same shape as"
            f" the input ({tuple(input.shape)}), but it has shape {tuple(weights.shape)}."
        )
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if mode == "max" and scale_grad_by_freq:
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    if mode == "max" and sparse:
        raise ValueError("max mode does not support sparse weights")
    if weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported"
            f" for mode='sum' (got mode='{mode}'). Please open a feature request on GitHub."
        )


def _bag_of_each(offsets: Tensor, count: int) -> Tensor:
    """Which bag each of `count` elements is in: how many bags have begun by then, less 1."""
    begins = _C.zeros(count + 1, dtype=_C.int64, device=offsets.device)
    begins = begins.index_add(0, offsets, _C.ones_like(offsets))
    return begins.cumsum(0)[:count] - 1


def _largest(rows: Tensor, bags: Tensor, count: int, keep: Tensor | None) -> Tensor:
    """The largest of each bag's rows by column, 0 for an empty bag; the first of equals counts."""
    sizes = _C.zeros(count + 1, dtype=_C.int64, device=bags.device)
    sizes = sizes.index_add(0, bags, _C.ones_like(bags))
    longest = max(int(sizes[:count].max().item()), 1) if count else 1
    starts = sizes.cumsum(0) - sizes
    place = _C.arange(len(bags), device=bags.device) - starts.index_select(0, bags)
    # [bags, longest] positions of rows; what lies behind a bag's end is masked.
    table = _C.zeros((count + 1) * longest, dtype=_C.int64, device=bags.device)
    real = _C.zeros((count + 1) * longest, dtype=_C.bool, device=bags.device)
    inside = place < longest  # elements behind the last bag may be more
    at = _C.where(inside, bags * longest + place, count * longest)
    table = table.scatter(0, at, _C.arange(len(bags), device=bags.device))
    kept = _C.ones_like(bags, dtype=_C.bool) if keep is None else keep
    real = real.scatter(0, at, kept)
    table, real = table[: count * longest], real[: count * longest].reshape(count, longest, 1)
    if len(rows) == 0:
        return rows.new_zeros(count, rows.size(1))
    padded = rows.index_select(0, table).reshape(count, longest, -1)
    best = padded.masked_fill(real.logical_not(), -math.inf).max(1).values
    return best.masked_fill(real.any(1).logical_not(), 0.0)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sum, mean or largest of the rows of weight [V, D] that each bag of indices names: [bags, D].

    Args:
        input: [bags, n], or [total] with offsets [bags], where each bag begins.
        per_sample_weights: of input's shape; factors of the rows, for mode "sum".
        include_last_offset: offsets has one more element, the end of the last bag.
        padding_idx: indices that name it count as absent.
    """
    _check_bags(input, offsets, mode, per_sample_weights, scale_grad_by_freq, sparse)
    if padding_idx is not None:
        if not -weight.size(0) <= padding_idx < weight.size(0):
            raise AssertionError("padding_idx must be within the number of embeddings")
        padding_idx %= weight.size(0)
    if input.dim() == 2:
        count, length = input.shape
        bags = _C.arange(count, device=input.device).unsqueeze(1).expand(count, length).reshape(-1)
    else:
        starts = offsets.long()
        count = len(starts) - bool(include_last_offset)
        if count < 0:
            raise RuntimeError("include_last_offset: number of offset should be at least 1")
        if starts.device.type == "cpu" and len(starts) and int(starts[0]) != 0:
            raise RuntimeError(
                "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start"
                f" from position 0. However, got {int(starts[0])}"
            )
        bags = _bag_of_each(starts, input.numel())
    indices = input.reshape(-1).long()
    rows = embedding(indices, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)
    keep = None if padding_idx is None else indices != padding_idx
    if mode == "max":
        return _largest(rows, bags, count, keep)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1, 1)
    if keep is not None:
        rows = rows.masked_fill(keep.logical_not().unsqueeze(1), 0.0)
    # What lies behind the last bag falls into one bag more.
    sums = rows.new_zeros(count + 1, rows.size(1)).index_add(0, bags, rows)[:count]
    if mode == "sum":
        return sums
    one = rows.new_ones(len(bags)) if keep is None else keep.to(rows.dtype)
    sizes = rows.new_zeros(count + 1).index_add(0, bags, one)[:count]
    return sums / sizes.clamp(min=1).unsqueeze(1)
