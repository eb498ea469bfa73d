"""Functions over several tensors that compose recorded ops."""

from __future__ import annotations

from typing import Any

from quicksilver import _C

Tensor = _C.Tensor


def _listed(tensors: tuple[Any, ...]) -> list[Tensor]:
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        return list(tensors[0])
    return list(tensors)


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """Each tensor as a view of the common shape."""
    return _C._broadcast_tensors(_listed(tensors))


def broadcast_shapes(*shapes: Any) -> Any:
    """The common shape of shapes (or sizes of one dimension).

    Raises:
        RuntimeError: they do not broadcast.
    """
    dims: list[int] = []
    for shape in shapes:
        extents = [shape] if isinstance(shape, int) else list(shape)
        dims = [1] * (len(extents) - len(dims)) + dims
        for i in range(1, len(extents) + 1):
            extent = extents[-i]
            if extent < 0:
                raise RuntimeError(
                    f"Trying to create tensor with negative dimension ({extent}): ({extent})"
                )
            if extent == 1 or extent == dims[-i]:
                continue
            if dims[-i] != 1:
                raise RuntimeError("Shape mismatch: objects cannot be broadcast to a single shape")
            dims[-i] = extent
    return _C.Size(dims)


def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Coordinates of a grid: one tensor a dimension. indexing is "ij" (default) or "xy"."""
    return _C._meshgrid(_listed(tensors), "ij" if indexing is None else indexing)


def einsum(*args: Any) -> Tensor:
    """Sums of products by subscripts: ``einsum("bij,bjk->bik", x, y)``.

    Operands are taken from left to right, two at a time, each pair as one batched matrix product.
    ``...`` stands for any leading dimensions, which broadcast; a letter that occurs twice in one
    operand takes its diagonal.

    Raises:
        ValueError: the equation is malformed.
        RuntimeError: extents do not fit.
    """
    from quicksilver._einsum import einsum as implementation

    return implementation(*args)
