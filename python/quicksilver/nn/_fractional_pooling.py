"""nn.functional's fractional max pooling (Graham 2014, arXiv:1412.6071): windows of one size begin
at random places that are about input / output apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quicksilver import _C

Tensor = _C.Tensor
Sizes = int | Sequence[int]


def _several(value: Any, n: int) -> tuple[int, ...]:
    return (value,) * n if isinstance(value, (int, float)) else tuple(value)


def _starts(u: Tensor, size: int, count: int, window: int) -> Tensor:
    """Where windows begin along a dimension: [N, C, count] from samples u [N, C]."""
    last = _C.full((*u.shape, 1), size - window, dtype=_C.int64, device=u.device)
    if count == 1:
        return last
    step = (size - window) / (count - 1)
    u = u.unsqueeze(-1)
    places = _C.arange(count - 1, dtype=u.dtype, device=u.device)
    begins = ((places + u) * step).trunc() - (u * step).trunc()
    return _C.cat([begins.long(), last], -1)


def _pool(
    input: Tensor,
    n: int,
    kernel_size: Any,
    output_size: Any,
    output_ratio: Any,
    samples: Tensor | None,
    name: str,
) -> tuple[Tensor, Tensor]:
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    if input.dim() not in (n + 1, n + 2):
        raise RuntimeError(
            f"{name}(): Expected {n + 1}D or {n + 2}D tensor, but got: {list(input.shape)}"
        )
    window, sizes = _several(kernel_size, n), tuple(input.shape[-n:])
    if output_size is None:
        ratios = _several(output_ratio, n)
        counts = tuple(int(s * r) for s, r in zip(sizes, ratios, strict=True))
    else:
        counts = _several(output_size, n)
    for d, (size, count, k) in enumerate(zip(sizes, counts, window, strict=True)):
        if count + k - 1 > size:
            raise RuntimeError(
                f"{name}(): pool size ({k}) too large relative to input size ({size}) along"
                f" dimension {d} of the window, output size {count}"
            )
    x = input if input.dim() == n + 2 else input.unsqueeze(0)
    planes = x.shape[:2]
    if samples is None:
        samples = _C.rand(*planes, n, dtype=x.dtype, device=x.device)
    elif samples.size(0) < planes[0] or samples.size(1) != planes[1] or samples.size(2) != n:
        raise RuntimeError(
            f"{name}(): expected _random_samples of shape {[*planes, n]}, got {list(samples.shape)}"
        )
    samples = samples[: planes[0]]
    place = _C.zeros((1,) * (2 + n), dtype=_C.int64, device=x.device)
    values = x
    for d in range(n):
        # PyTorch's two dimensions take their samples in the opposite order.
        u = samples[..., n - 1 - d if n == 2 else d]
        offsets = _C.arange(window[d], device=x.device)
        at = (_starts(u, sizes[d], counts[d], window[d]).unsqueeze(-1) + offsets).flatten(2)
        at = at.reshape(*planes, *(-1 if e == d else 1 for e in range(n)))
        values = values.gather(2 + d, at.expand(*planes, *_at(values.shape[2:], d, at.size(2 + d))))
        place = place * sizes[d] + at
    split = [extent for d in range(n) for extent in (counts[d], window[d])]
    order = (0, 1, *(2 + 2 * d for d in range(n)), *(3 + 2 * d for d in range(n)))

    def windows(t: Tensor) -> Tensor:
        return t.reshape(*planes, *split).permute(order).flatten(2 + n)

    best, where = windows(values).max(-1)
    place = windows(place.expand(values.shape)).gather(-1, where.unsqueeze(-1)).squeeze(-1)
    return (best, place) if input.dim() == n + 2 else (best.squeeze(0), place.squeeze(0))


def _at(shape: Any, d: int, extent: int) -> list[int]:
    out = list(shape)
    out[d] = extent
    return out


def fractional_max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """(the largest of each window of [N, C, H, W] or [C, H, W], its position in the plane)."""
    return _pool(
        input, 2, kernel_size, output_size, output_ratio, _random_samples, "fractional_max_pool2d"
    )


def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """Largest element of windows that begin at random places, about input / output apart.

    Args:
        output_size: how many windows along each dimension; or output_ratio of the input's extent.
        _random_samples: [N, C, 2] in [0, 1), instead of drawing them.

    Raises:
        ValueError: neither is given.
        RuntimeError: the windows do not fit.
    """
    both = fractional_max_pool2d_with_indices(
        input, kernel_size, output_size, output_ratio, True, _random_samples
    )
    return both if return_indices else both[0]


def fractional_max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """(the largest of each window of [N, C, T, H, W] or [C, T, H, W], its position)."""
    return _pool(
        input, 3, kernel_size, output_size, output_ratio, _random_samples, "fractional_max_pool3d"
    )


def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """fractional_max_pool2d with three dimensions."""
    both = fractional_max_pool3d_with_indices(
        input, kernel_size, output_size, output_ratio, True, _random_samples
    )
    return both if return_indices else both[0]
