"""Shapes: joining, splitting, diagonals, index grids, and the copying forms of views."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from quicksilver import _C
from quicksilver._composed import with_out

Tensor = _C.Tensor


def _listed(tensors: tuple[Any, ...]) -> list[Tensor]:
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        return list(tensors[0])
    return list(tensors)


def _each(function: Any, tensors: tuple[Any, ...]) -> Any:
    if len(tensors) == 1 and isinstance(tensors[0], Tensor):
        return function(tensors[0])
    return tuple(function(t) for t in _listed(tensors))


def atleast_1d(*tensors: Any) -> Any:
    """0-dim tensors as one dimension; others as they are."""
    return _each(lambda t: t.reshape(1) if t.dim() == 0 else t, tensors)


def atleast_2d(*tensors: Any) -> Any:
    """Tensors with leading dimensions of extent 1, up to two dimensions."""
    return _each(lambda t: t.reshape(1, -1) if t.dim() < 2 else t, tensors)


def atleast_3d(*tensors: Any) -> Any:
    """Tensors with dimensions of extent 1 around, up to three dimensions."""

    def wide(t: Tensor) -> Tensor:
        if t.dim() < 2:
            return t.reshape(1, -1, 1)
        return t.unsqueeze(-1) if t.dim() == 2 else t

    return _each(wide, tensors)


@with_out
def column_stack(tensors: Any) -> Tensor:
    """Joined along the second dimension; vectors are columns."""
    return _C.cat([t.reshape(t.numel(), 1) if t.dim() <= 1 else t for t in tensors], 1)


@with_out
def row_stack(tensors: Any) -> Tensor:
    """Joined along the first dimension; vectors are rows."""
    return _C.cat(list(atleast_2d(list(tensors))), 0)


@with_out
def dstack(tensors: Any) -> Tensor:
    """Joined along the third dimension."""
    return _C.cat(list(atleast_3d(list(tensors))), 2)


def _split(name: str, input: Tensor, how: Any, dim: int) -> tuple[Tensor, ...]:
    if isinstance(how, int):
        if how == 0 or input.size(dim) % how:
            raise RuntimeError(
                f"torch.{name} attempted to split along dimension {dim}, but the size of the"
                f" dimension {input.size(dim)} is not divisible by the split_size {how}!"
            )
        return _C.tensor_split(input, how, dim)
    return _C.tensor_split(input, list(how), dim)


def _split_arguments(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if kwargs:
        (value,) = kwargs.values()
        return value
    if len(args) == 1:
        return args[0]
    if not args:
        raise TypeError(f"{name}() missing 1 required positional argument: 'indices_or_sections'")
    return args


def hsplit(input: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
    """Split along the second dimension (the first of a vector)."""
    if input.dim() < 1:
        raise RuntimeError(
            "torch.hsplit requires a tensor with at least 1 dimension, but got a tensor with 0"
            " dimensions!"
        )
    how = _split_arguments("hsplit", args, kwargs)
    return _split("hsplit", input, how, 0 if input.dim() == 1 else 1)


def vsplit(input: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
    """Split along the first dimension."""
    if input.dim() < 2:
        raise RuntimeError(
            "torch.vsplit requires a tensor with at least 2 dimension, but got a tensor with"
            f" {input.dim()} dimensions!"
        )
    return _split("vsplit", input, _split_arguments("vsplit", args, kwargs), 0)


def dsplit(input: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
    """Split along the third dimension."""
    if input.dim() < 3:
        raise RuntimeError(
            "torch.dsplit requires a tensor with at least 3 dimension, but got a tensor with"
            f" {input.dim()} dimensions!"
        )
    return _split("dsplit", input, _split_arguments("dsplit", args, kwargs), 2)


def unsafe_chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """chunk."""
    return input.chunk(chunks, dim)


def unsafe_split(input: Tensor, split_size: int, dim: int = 0) -> tuple[Tensor, ...]:
    """split."""
    return input.split(split_size, dim)


def unsafe_split_with_sizes(input: Tensor, split_sizes: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """split by sizes."""
    return input.split(list(split_sizes), dim)


@with_out
def block_diag(*tensors: Any) -> Tensor:
    """The tensors as blocks along the diagonal of a matrix."""
    blocks = _listed(tensors)
    for i, t in enumerate(blocks):
        if t.dim() > 2:
            raise RuntimeError(
                "torch.block_diag: Input tensors must have 2 or fewer dimensions. Input"
                f" {i} has {t.dim()} dimensions"
            )
    if not blocks:
        return _C.empty(1, 0)
    blocks = list(atleast_2d(blocks))
    dtype = blocks[0].dtype
    for t in blocks[1:]:
        dtype = _C.promote_types(dtype, t.dtype)
    shape = [sum(t.size(d) for t in blocks) for d in (0, 1)]
    out = _C.zeros(shape, dtype=dtype, device=blocks[0].device)
    row = column = 0
    for t in blocks:
        out[row : row + t.size(0), column : column + t.size(1)] = t.to(dtype)
        row, column = row + t.size(0), column + t.size(1)
    return out


def cartesian_prod(*tensors: Any) -> Tensor:
    """All combinations of elements of vectors, one a row."""
    vectors = _listed(tensors)
    for t in vectors:
        if t.dim() != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(t.shape)}")
    if len(vectors) == 1:
        return vectors[0]
    grids = _C._meshgrid(vectors, "ij")
    return _C.stack([g.reshape(-1) for g in grids], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of r elements of a vector, one a row, in order."""
    if input.dim() != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return _C.empty(0, dtype=input.dtype, device=input.device)
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = list(choose(range(input.numel()), r))
    index = _C.tensor(rows, dtype=_C.int64, device=input.device).reshape(-1)
    return input[index].reshape(-1, r)


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """Powers of a vector's elements, one element a row."""
    if x.dim() != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    count = x.numel() if N is None else N
    if count < 0:
        raise RuntimeError("N must be non-negative.")
    base = x.long() if x.dtype in (_C.bool, _C.uint8, _C.int8, _C.int16, _C.int32) else x
    powers = _C.ones((x.numel(), min(count, 1)), dtype=base.dtype, device=x.device)
    if count > 1:
        rest = base.unsqueeze(-1).expand(x.numel(), count - 1).cumprod(-1)
        powers = _C.cat([powers, rest], -1)
    return powers if increasing else powers.flip(-1)


def _lower_triangle(offset: int, place: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of each place in the triangle that begins where its first row does: rows of
    c, c + 1, ... elements. Row t begins at t (t + b) / 2 with b = 2 c - 1; a float64 holds these
    numbers exactly, and their roots where they are squares.
    """
    first = max(0, -offset)
    b = 2 * (first + offset + 1) - 1
    t = ((8 * place + b * b).sqrt() - b).mul(0.5).floor()
    return t + first, place - t * (t + b) * 0.5


def _triangle(row: int, col: int, offset: int, dtype: Any, device: Any, lower: bool) -> Tensor:
    if row < 0 or col < 0:
        name = "row" if row < 0 else "col"
        raise RuntimeError(f"{name} must be non-negative, got{min(row, col)}")
    # The upper triangle is the lower one of the matrix turned by half a turn, last element first.
    at = offset if lower else col - row - offset
    # Rows [first, full) have 1 + at + r elements, the rows behind them col.
    first = min(max(0, -at), row)
    full = min(max(col - at - 1, first), row)
    steps = full - first
    count = steps * (first + at + 1) + steps * (steps - 1) // 2
    options = {"dtype": _C.float64, "device": device or "cpu"}
    place = _C.arange(count, **options) if lower else _C.arange(count - 1, -1, -1, **options)
    rows, columns = _lower_triangle(at, place)
    if full < row and col:
        block = (row - full, col)
        more = _C.arange(full, row, **options).unsqueeze(1).expand(block).reshape(-1)
        rows = _C.cat([rows, more] if lower else [more.flip(0), rows])
        more = _C.arange(col, **options).expand(block).reshape(-1)
        columns = _C.cat([columns, more] if lower else [more.flip(0), columns])
    if not lower:
        rows, columns = row - 1 - rows, col - 1 - columns
    kind = dtype or _C.int64
    return _C.stack([rows.to(kind), columns.to(kind)])


def tril_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: Any = None,
    device: Any = None,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """Rows and columns of the lower triangle, [2, count]."""
    return _triangle(row, col, offset, dtype, device, True)


def triu_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: Any = None,
    device: Any = None,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """Rows and columns of the upper triangle, [2, count]."""
    return _triangle(row, col, offset, dtype, device, False)


@with_out
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices, in dimensions dim1 and dim2, with the last dimension on their diagonals."""
    rank = input.dim() + 1
    first, second = dim1 % rank, dim2 % rank
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    size = input.size(-1) + abs(offset)
    shape = list(input.shape[:-1])
    for d in sorted((first, second)):
        shape.insert(d, size)
    out = _C.zeros(shape, dtype=input.dtype, device=input.device)
    out.diagonal(offset, first, second).copy_(input)
    return out


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A matrix with the flat input on its diagonal."""
    return diag_embed(input.reshape(-1), offset)


def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned by k right angles in the plane of two dimensions, from the first to the second."""
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if input.dim() < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {input.dim()}")
    rank = input.dim()
    for d in dims:
        if not -rank <= d < rank:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but got"
                f" {d})"
            )
    first, second = (d % rank for d in dims)
    if first == second:
        raise RuntimeError(
            f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}"
        )
    k %= 4
    if k == 0:
        return input.clone()
    if k == 2:
        return input.flip([first, second])
    return input.flip([second if k == 1 else first]).transpose_(first, second)


def fill_diagonal_(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Writes a number on the main diagonal; of a tall matrix again and again with wrap."""
    if self.dim() < 2:
        raise RuntimeError("dimensions must larger than 1")
    if self.dim() > 2 and len(set(self.shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    rows, columns = self.size(0), self.size(1)
    size = min(self.shape)
    step = sum(self.stride())
    self.as_strided([size], [step], self.storage_offset()).fill_(fill_value)
    if wrap and self.dim() == 2 and rows > columns + 1:
        for start in range(columns + 1, rows, columns + 1):
            part = self[start : start + columns]
            part.as_strided([min(part.shape)], [step], part.storage_offset()).fill_(fill_value)
    return self


# ---- writing into part of a copy
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of input with src in the slice ``index`` of dim."""
    out = input.clone()
    out.select(dim, index).copy_(_fitting(src, out.select(dim, index)))
    return out


def slice_scatter(
    input: Tensor,
    src: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    """A copy of input with src in a slice of dim."""
    out = input.clone()
    place: list[Any] = [slice(None)] * input.dim()
    place[dim] = slice(start, end, step)
    part = out[tuple(place)]
    part.copy_(_fitting(src, part))
    return out


def diagonal_scatter(
    input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """A copy of input with src on a diagonal."""
    out = input.clone()
    part = out.diagonal(offset, dim1, dim2)
    part.copy_(_fitting(src, part))
    return out


def as_strided_scatter(
    input: Tensor, src: Tensor, size: Any, stride: Any, storage_offset: int | None = None
) -> Tensor:
    """A copy of input with src at strided places of its memory."""
    out = input.clone()
    out.as_strided(size, stride, storage_offset or 0).copy_(src)
    return out


def _fitting(src: Tensor, part: Tensor) -> Tensor:
    if src.shape != part.shape:
        raise RuntimeError(
            "expected src to have a size equal to the slice of self. src size ="
            f" {list(src.shape)}, slice size = {list(part.shape)}"
        )
    return src


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """Elements of source where the mask holds, in order; input elsewhere."""
    from quicksilver.functional import broadcast_shapes

    shape = broadcast_shapes(input.shape, mask.shape)
    return input.expand(shape).clone().masked_scatter_(mask, source)


# ---- flat indices
def put_(self: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """Writes source at flat (row-major) indices."""
    if index.dtype != _C.int64:
        raise RuntimeError(
            "put_(): Expected a long tensor for index, but got "
            + index.type().rsplit(".", 1)[-1].removesuffix("Tensor")
        )
    if self.dtype != source.dtype:
        raise RuntimeError(
            "put_(): self and source expected to have the same dtype, but got self.dtype ="
            f" {self.type().rsplit('.', 1)[-1].removesuffix('Tensor')} and source.dtype ="
            f" {source.type().rsplit('.', 1)[-1].removesuffix('Tensor')}"
        )
    if index.numel() != source.numel():
        raise IndexError(
            "put_(): Expected source and index to have the same number of elements, but got"
            f" source.numel() = {source.numel()}, index.numel() = {index.numel()}"
        )
    if self.numel() == 0 and index.numel():
        raise IndexError("put_(): Tried to put elements into an empty tensor")
    flat = index.reshape(-1)
    if self.is_contiguous():
        self.view(-1).index_put_([flat], source.reshape(-1), accumulate)
        return self
    filled = self.reshape(-1).index_put([flat], source.reshape(-1), accumulate)
    return self.copy_(filled.view(self.shape))


def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy with source at flat (row-major) indices."""
    return put_(input.clone(memory_format=_C.contiguous_format), index, source, accumulate)


@with_out
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """The first ``size`` positions of non-zero elements, filled up with fill_value."""
    found = input.nonzero()[:size]
    rest = size - found.size(0)
    if not rest:
        return found
    tail = _C.full((rest, input.dim()), fill_value, dtype=_C.int64, device=input.device)
    return _C.cat([found, tail])


# ---- copies and sizes
def narrow_copy(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """A copy of narrow."""
    return input.narrow(dim, start, length).clone()


def _copy_of(view: str) -> Any:
    def copied(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        method = getattr(input, view, None)
        result = method(*args, **kwargs) if method else getattr(_C, view)(input, *args, **kwargs)
        if isinstance(result, (tuple, list)):
            return tuple(t.clone() for t in result)
        return result.clone()

    copied.__name__ = copied.__qualname__ = f"{view}_copy"
    copied.__doc__ = f"A copy of {view}."
    return with_out(copied)


as_strided_copy = _copy_of("as_strided")
detach_copy = _copy_of("detach")
diagonal_copy = _copy_of("diagonal")
expand_copy = _copy_of("expand")
permute_copy = _copy_of("permute")
select_copy = _copy_of("select")
split_copy = _copy_of("split")
split_with_sizes_copy = _copy_of("split")
squeeze_copy = _copy_of("squeeze")
t_copy = _copy_of("t")
transpose_copy = _copy_of("transpose")
unbind_copy = _copy_of("unbind")
unfold_copy = _copy_of("unfold")
unsqueeze_copy = _copy_of("unsqueeze")
view_copy = _copy_of("view")
view_as_real_copy = _copy_of("view_as_real")
view_as_complex_copy = _copy_of("view_as_complex")


def alias_copy(input: Tensor, *, out: Any = None) -> Tensor:
    """A copy."""
    return input.clone() if out is None else out.copy_(input)


@with_out
def slice_copy(
    input: Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Tensor:
    """A copy of a slice of dim."""
    place: list[Any] = [slice(None)] * input.dim()
    place[dim] = slice(start, end, step)
    return input[tuple(place)].clone()


def constant_pad_nd(input: Tensor, pad: Any, value: float = 0) -> Tensor:
    """nn.functional.pad with a constant."""
    from quicksilver.nn import functional

    return functional.pad(input, pad, "constant", value)


def empty_permuted(size: Any, physical_layout: Any, **kwargs: Any) -> Tensor:
    """Uninitialised memory whose dimensions lie in the order of physical_layout."""
    shape = [size[d] for d in physical_layout]
    back = [list(physical_layout).index(d) for d in range(len(shape))]
    return _C.empty(shape, **kwargs).permute(back)


def new_empty_strided(self: Tensor, size: Any, stride: Any, **kwargs: Any) -> Tensor:
    """Uninitialised memory with the given strides."""
    kwargs.setdefault("dtype", self.dtype)
    kwargs.setdefault("device", self.device)
    return _C.empty_strided(size, stride, **kwargs)


def _call_on_items(name: str, function: Any, *tensors: Tensor) -> Tensor:
    """Writes function(items of all tensors) over the first tensor; slow, as in PyTorch."""
    for tensor in tensors:
        if tensor.device.type != "cpu":
            raise TypeError(f"{name} is only implemented on CPU tensors")
        if tensor.requires_grad:
            raise RuntimeError(f"Can't call {name}() on Variable that requires grad.")
        if tensor.shape != tensors[0].shape:
            tensor.expand(tensors[0].shape)  # says what does not fit
    first = tensors[0]
    columns = [tensor.expand(first.shape).reshape(-1).tolist() for tensor in tensors]
    made = [function(*items) for items in zip(*columns, strict=True)]
    return first.copy_(_C.tensor(made, dtype=first.dtype).reshape(first.shape))


def apply_(self: Tensor, callable: Any) -> Tensor:
    """Every element x becomes callable(x); cpu only."""
    return _call_on_items("apply_", callable, self)


def map_(self: Tensor, tensor: Tensor, callable: Any) -> Tensor:
    """Every element x becomes callable(x, y), y of the other tensor; cpu only."""
    return _call_on_items("map_", callable, self, tensor)


def map2_(self: Tensor, x: Tensor, y: Tensor, callable: Any) -> Tensor:
    """Every element becomes callable(it, x's, y's); cpu only."""
    return _call_on_items("map2_", callable, self, x, y)


def dim_order(self: Tensor, *, ambiguity_check: Any = False) -> tuple[int, ...]:
    """The dimensions from the outermost in memory to the innermost."""
    return tuple(sorted(range(self.dim()), key=lambda d: (-self.stride(d), d)))


def _in_view(self: Tensor, view: Tensor) -> Tensor:
    self.data = view
    return self


def swapaxes_(self: Tensor, axis0: int, axis1: int) -> Tensor:
    """transpose_."""
    return self.transpose_(axis0, axis1)


swapdims_ = swapaxes_


def as_strided_(self: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """as_strided in place: the tensor becomes that view of its memory."""
    return _in_view(self, self.detach().as_strided(size, stride, storage_offset))


def resize_as_(input: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """resize_ to another tensor's shape."""
    return input.resize_(the_template.shape)
