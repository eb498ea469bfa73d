"""Tensors as sets, and searching in sorted ones."""

from __future__ import annotations

from typing import Any

from quicksilver import _C
from quicksilver._composed import with_out

Tensor = _C.Tensor


def _heads(ordered: Tensor) -> Tensor:
    """Where a run of equal elements (rows, beyond one dimension) begins."""
    size = ordered.size(0)
    new = ordered[1:] != ordered[:-1]
    if ordered.dim() > 1:
        new = new.flatten(1).any(1)
    return _C.cat([_C.ones(min(size, 1), dtype=_C.bool, device=ordered.device), new])


def _lengths(heads: Tensor) -> Tensor:
    starts = heads.nonzero().reshape(-1)
    end = _C.full((1,), heads.size(0), dtype=_C.int64, device=heads.device)
    return _C.cat([starts[1:], end])[: starts.size(0)] - starts


def _packed(values: Tensor, inverse: Any, counts: Any) -> Any:
    wanted = [t for t in (inverse, counts) if t is not None]
    return (values, *wanted) if wanted else values


def _row_order(rows: Tensor) -> Tensor:
    """The stable order of rows, first column first."""
    order = _C.arange(rows.size(0), device=rows.device)
    for column in range(rows.size(1) - 1, -1, -1):
        order = order[rows[:, column][order].argsort(stable=True)]
    return order


def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different elements (slices along dim) in order.

    With ``return_inverse`` also where each element is found among them, with ``return_counts``
    how often each occurs.
    """
    x = input.detach()
    if dim is None:
        ordered, order = x.reshape(-1).sort()
        if not return_inverse:
            del order  # positions that nobody holds are not written
        shape = input.shape
    else:
        moved = x.movedim(dim, 0)
        if moved.numel() == 0 and moved.size(0):
            raise RuntimeError(
                "There are 0 sized dimensions, and they aren't selected, so unique cannot be"
                " applied"
            )
        order = _row_order(
            moved.reshape(moved.size(0), -1) if moved.size(0) else moved.new_empty(0, 1)
        )
        ordered = moved.index_select(0, order)
        shape = (moved.size(0),)
    heads = _heads(ordered)
    values = ordered[heads]
    if dim is not None:
        values = values.movedim(0, dim).contiguous()
    inverse = None
    if return_inverse:
        place = heads.cumsum(0) - 1
        inverse = _C.empty_like(place).scatter_(0, order, place).reshape(shape)
    return _packed(values, inverse, _lengths(heads) if return_counts else None)


def unique_consecutive(
    input: Tensor,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """Elements (slices along dim) that differ from the one before."""
    x = input.detach()
    rows = x.reshape(-1) if dim is None else x.movedim(dim, 0)
    heads = _heads(rows)
    values = rows[heads]
    if dim is not None:
        values = values.movedim(0, dim).contiguous()
    inverse = None
    if return_inverse:
        inverse = heads.cumsum(0) - 1
        if dim is None:
            inverse = inverse.reshape(input.shape)
    return _packed(values, inverse, _lengths(heads) if return_counts else None)


@with_out
def isin(
    elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False
) -> Tensor:
    """Whether each element is among test_elements."""
    if not isinstance(elements, Tensor):
        if not isinstance(test_elements, Tensor):
            raise TypeError("isin(): one of elements and test_elements must be a Tensor")
        elements = _C.tensor(elements, device=test_elements.device)
    if not isinstance(test_elements, Tensor):
        test_elements = _C.tensor(test_elements, device=elements.device)
    common = _C.result_type(elements, test_elements)
    x, among = elements.detach().to(common), test_elements.detach().to(common).reshape(-1)
    if among.numel() == 0:
        return _C.full(x.shape, invert, dtype=_C.bool, device=x.device)
    if among.numel() <= 16:  # one pass of comparisons
        found = x == among[0]
        for one in among[1:].unbind():
            found = found | (x == one)
    else:
        ordered = among.sort()[0]
        place = _C._searchsorted(ordered, x.contiguous()).clamp(max=ordered.numel() - 1)
        found = ordered[place] == x
    return found.logical_not() if invert else found


def msort(input: Tensor, *, out: Any = None) -> Tensor:
    """Sorted along the first dimension."""
    value = input.sort(0)[0]
    if out is None:
        return value
    from quicksilver._composed import write_out

    return write_out("msort", value, out)


@with_out
def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where input belongs in the rows of sorted_sequence (or in the one row it is).

    In front of equal elements, or behind them with right=True.
    """
    if side not in (None, "left", "right"):
        raise RuntimeError(
            f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}"
        )
    if side == "left" and right:
        raise RuntimeError(
            "torch.searchsorted(): side and right can't be set to opposites, got side of left"
            " while right was True"
        )
    if sorted_sequence.dim() == 0:
        raise RuntimeError(
            "torch.searchsorted(): input value can be a scalar only when boundaries tensor"
            " dimension is 1, but we got boundaries tensor dim(0)"
        )
    if not isinstance(input, Tensor):
        input = _C.tensor(input, device=sorted_sequence.device)
        if sorted_sequence.is_floating_point():
            input = input.to(sorted_sequence.dtype)
    rows = sorted_sequence.dim() > 1
    if rows and (
        input.dim() != sorted_sequence.dim() or input.shape[:-1] != sorted_sequence.shape[:-1]
    ):
        if input.dim() == 0:
            raise RuntimeError(
                "torch.searchsorted(): input value can be a scalar only when boundaries tensor"
                f" dimension is 1, but we got boundaries tensor dim({sorted_sequence.dim()}) and"
                " input value's dim(0) numel(1)"
            )
        raise RuntimeError(
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1"
            " dimensions of boundaries tensor and input value tensor must match, but we got"
            f" boundaries tensor {list(sorted_sequence.shape)} and input value tensor"
            f" {list(input.shape)}"
        )
    if input.dtype != sorted_sequence.dtype:
        common = _C.promote_types(input.dtype, sorted_sequence.dtype)
        input, sorted_sequence = input.to(common), sorted_sequence.to(common)
    if sorter is not None:
        if sorter.shape != sorted_sequence.shape:
            raise RuntimeError(
                "torch.searchsorted(): boundary and sorter must have the same size, but got"
                f" boundary tensor {list(sorted_sequence.shape)}and got sorter tensor"
                f" {list(sorter.shape)}"
            )
        sorted_sequence = sorted_sequence.gather(-1, sorter)
    found = _C._searchsorted(sorted_sequence, input, right or side == "right")
    return found.to(_C.int32) if out_int32 else found


@with_out
def bucketize(
    input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False
) -> Tensor:
    """The bucket of each element between sorted boundaries."""
    if boundaries.dim() != 1:
        raise RuntimeError(
            f"boundaries tensor must be 1 dimension, but got dim({boundaries.dim()})"
        )
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """The coordinates that flat indices name in a row-major array of the shape."""
    shape = [shape] if isinstance(shape, int) else list(shape)
    coordinates = []
    step = 1
    for size in reversed(shape):
        coordinates.append(indices.div(step, rounding_mode="floor") % size)
        step *= size
    return tuple(reversed(coordinates))


def repeat_interleave(
    input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Each element (slice along dim) repeated: as often as repeats says, one number for all or one
    each. Alone, repeats gives the index of each element that many times."""
    if repeats is None:
        return _repeated(input, output_size)
    if not isinstance(repeats, Tensor):
        return _C._repeat_interleave(input, repeats, dim)
    if repeats.dim() > 1:
        raise RuntimeError("repeats must be 0-dim or 1-dim tensor")
    x = input if dim is not None else input.reshape(-1)
    axis = 0 if dim is None else dim
    if repeats.numel() == 1:
        repeats = repeats.reshape(1).expand(x.size(axis))
    if repeats.size(0) != x.size(axis):
        raise RuntimeError(
            "repeats must have the same size as input along dim, but got repeats.size(0) ="
            f" {repeats.size(0)} and input.size({axis}) = {x.size(axis)}"
        )
    return x.index_select(axis, _repeated(repeats, output_size))


def _repeated(repeats: Tensor, output_size: int | None) -> Tensor:
    if repeats.dim() != 1:
        raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
    if repeats.dtype not in (_C.int64, _C.int32):
        kind = repeats.type().rsplit(".", 1)[-1].removesuffix("Tensor")
        raise NotImplementedError(f"\"repeat_interleave_cpu\" not implemented for '{kind}'")
    if repeats.numel() and int(repeats.min()) < 0:
        raise RuntimeError("repeats can not be negative")
    ends = repeats.cumsum(0)
    total = (int(ends[-1]) if repeats.numel() else 0) if output_size is None else output_size
    # A mark where each element's run ends: their running count is the index.
    marks = _C.zeros(total + 1, dtype=_C.int64, device=repeats.device)
    one = _C.ones((), dtype=_C.int64, device=repeats.device)
    marks.scatter_add_(0, ends.long(), one.expand(ends.shape))
    return marks.cumsum(0)[:total]
