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


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None
) -> Tensor:
    """Indices drawn with probabilities in proportion to input: [K] or [N, K] to [..., num_samples].

    With replacement draws are searched for in the running sum; without, they are the num_samples
    largest of log p + Gumbel noise, which is the same distribution (Efraimidis and Spirakis 2006).

    Raises:
        RuntimeError: input is no float vector or matrix, has a negative, infinite or NaN weight or
            only zeros in a row, or there are fewer weights than draws without replacement.
    """
    if input.dim() not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if not input.is_floating_point():
        raise RuntimeError(
            f"multinomial only supports floating-point dtypes for input, got: {input.dtype}"
        )
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > input.size(-1):
        raise RuntimeError(
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement"
        )
    weights = input.detach()
    if weights.dtype is not _C.float64:
        weights = weights.float()
    sums = weights.cumsum(-1) if replacement and weights.size(-1) else None
    total = weights.sum(-1, True) if sums is None else sums[..., -1:]
    fine = (weights.isfinite() & (weights >= 0)).all(), (total > 0).all()
    valid, some = _C.stack(fine).tolist()  # both at once: a question waits for the device
    if not valid:
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if not some:
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
    if sums is not None:
        shape = (*weights.shape[:-1], num_samples)
        draws = _C.empty(shape, dtype=weights.dtype, device=weights.device)
        # A draw must not round up to the whole sum, where no weight is left.
        below = _C.nextafter(total, _C.zeros_like(total))
        draws = _C.minimum(draws.uniform_(generator=generator) * total, below)
        return _C._searchsorted(sums, draws, True)
    noise = _C.empty(weights.shape, dtype=weights.dtype, device=weights.device)
    noise = -(-noise.uniform_(generator=generator).log()).log()
    return (weights.log() + noise).topk(num_samples, -1)[1]


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix (a copy), or a matrix with a vector on its diagonal."""
    if input.dim() == 2:
        return input.diagonal(diagonal).clone()
    if input.dim() != 1:
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.dim()}D")
    size = input.size(0) + abs(diagonal)
    out = _C.zeros(size, size, dtype=input.dtype, device=input.device)
    out.diagonal(diagonal).copy_(input)
    return out


def _cuda(self: Tensor, device: Any = None, non_blocking: bool = False, **kwargs: Any) -> Tensor:
    """PyTorch's spelling; raises MPSDeviceError, as there is no such device."""
    return self.to("cuda" if device is None else device)


def _tril_(self: Tensor, diagonal: int = 0) -> Tensor:
    """tril in place."""
    return self.copy_(self.tril(diagonal))


def _triu_(self: Tensor, diagonal: int = 0) -> Tensor:
    """triu in place."""
    return self.copy_(self.triu(diagonal))


for _name, _method in (
    ("multinomial", multinomial),
    ("diag", diag),
    ("cuda", _cuda),
    ("tril_", _tril_),
    ("triu_", _triu_),
):
    setattr(Tensor, _name, _method)
