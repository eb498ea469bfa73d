"""nn.functional's pooling. Windows run over the last one, two or three dimensions of [N, C, ...] or
[C, ...]; kernel_size, stride (default: kernel_size), padding and dilation are one number or one for
each dimension."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from quicksilver import _C

Tensor = _C.Tensor
_nn = _C._nn
Sizes = int | Sequence[int]

avg_pool1d = _nn.avg_pool1d
avg_pool2d = _nn.avg_pool2d
avg_pool3d = _nn.avg_pool3d
adaptive_avg_pool1d = _nn.adaptive_avg_pool1d


# ---- the largest ---------------------------------------------------------------------------------
def max_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Largest element of each window; with return_indices also its position. A NaN is largest."""
    verb = _nn.max_pool1d_with_indices if return_indices else _nn.max_pool1d
    return verb(input, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Largest element of each window; with return_indices also its flat position in the plane."""
    verb = _nn.max_pool2d_with_indices if return_indices else _nn.max_pool2d
    return verb(input, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Largest element of each window; with return_indices also its flat position in the volume."""
    verb = _nn.max_pool3d_with_indices if return_indices else _nn.max_pool3d
    return verb(input, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool1d_with_indices(input: Tensor, *args: Any, **options: Any) -> Any:
    """max_pool1d with return_indices."""
    return max_pool1d(input, *args, **{**options, "return_indices": True})


def max_pool2d_with_indices(input: Tensor, *args: Any, **options: Any) -> Any:
    """max_pool2d with return_indices."""
    return max_pool2d(input, *args, **{**options, "return_indices": True})


def max_pool3d_with_indices(input: Tensor, *args: Any, **options: Any) -> Any:
    """max_pool3d with return_indices."""
    return max_pool3d(input, *args, **{**options, "return_indices": True})


# ---- adaptive: output_size says how many windows there are; None keeps a dimension ---------------
def _sizes(output_size: Any, input: Tensor) -> Any:
    """output_size with None replaced by the input's own extents."""
    if isinstance(output_size, int):
        return output_size
    given = list(output_size)
    if input.dim() <= len(given):
        raise ValueError(f"Input dimension should be at least {len(given) + 1}")
    own = input.shape[-len(given) :]
    return [o if g is None else g for g, o in zip(given, own, strict=True)]


def _twice(output_size: Any, n: int) -> Any:
    return (output_size,) * n if isinstance(output_size, int) else output_size


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Means of output_size windows [floor(i H / h), ceil((i + 1) H / h))."""
    return _nn.adaptive_avg_pool2d(input, _twice(_sizes(output_size, input), 2))


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Means of output_size windows, over three dimensions."""
    return _nn.adaptive_avg_pool3d(input, _twice(_sizes(output_size, input), 3))


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Largest elements of output_size windows; with return_indices also their positions."""
    values, indices = _nn.adaptive_max_pool1d(input, output_size)
    return (values, indices) if return_indices else values


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Largest elements of output_size windows; with return_indices also their positions."""
    values, indices = _nn.adaptive_max_pool2d(input, _twice(_sizes(output_size, input), 2))
    return (values, indices) if return_indices else values


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Largest elements of output_size windows; with return_indices also their positions."""
    values, indices = _nn.adaptive_max_pool3d(input, _twice(_sizes(output_size, input), 3))
    return (values, indices) if return_indices else values


def adaptive_max_pool1d_with_indices(input: Tensor, output_size: Any) -> Any:
    """adaptive_max_pool1d with return_indices."""
    return adaptive_max_pool1d(input, output_size, True)


def adaptive_max_pool2d_with_indices(input: Tensor, output_size: Any) -> Any:
    """adaptive_max_pool2d with return_indices."""
    return adaptive_max_pool2d(input, output_size, True)


def adaptive_max_pool3d_with_indices(input: Tensor, output_size: Any) -> Any:
    """adaptive_max_pool3d with return_indices."""
    return adaptive_max_pool3d(input, output_size, True)


# ---- back to the places that max_pool names ------------------------------------------------------
def _each(value: Sizes, n: int) -> list[int]:
    return [value] * n if isinstance(value, int) else list(value)


def _unpool_size(
    input: Tensor,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    output_size: Sequence[int] | None,
) -> list[int]:
    n = len(kernel_size)
    extents = input.shape[-n:]
    default = [
        (e - 1) * s + k - 2 * p
        for e, k, s, p in zip(extents, kernel_size, stride, padding, strict=True)
    ]
    if output_size is None:
        return default
    wanted = list(output_size)
    if len(wanted) == n + 2:
        wanted = wanted[2:]
    if len(wanted) != n:
        raise ValueError(
            f"output_size should be a sequence containing {n} or {n + 2} elements, but it has a"
            f" length of '{len(wanted)}'"
        )
    for d in range(n):
        low, high = default[d] - stride[d], default[d] + stride[d]
        if not low < wanted[d] < high:
            shown = wanted if isinstance(output_size, list) else tuple(wanted)
            raise ValueError(
                f'invalid output_size "{shown}" (dim {d} must be between {low} and {high})'
            )
    return wanted


def _unpool(n: int) -> Callable[..., Tensor]:
    def max_unpool(
        input: Tensor,
        indices: Tensor,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        output_size: Sequence[int] | None = None,
    ) -> Tensor:
        kernel = _each(kernel_size, n)
        step = kernel if stride is None else _each(stride, n)
        size = _unpool_size(input, kernel, step, _each(padding, n), output_size)
        return _nn.max_unpool(input, indices, size)

    max_unpool.__name__ = max_unpool.__qualname__ = f"max_unpool{n}d"
    max_unpool.__doc__ = (
        f"Puts the elements of max_pool{n}d's result back to their places; zero elsewhere."
    )
    return max_unpool


max_unpool1d = _unpool(1)
max_unpool2d = _unpool(2)
max_unpool3d = _unpool(3)


# ---- power averages ------------------------------------------------------------------------------
def _lp(out: Tensor, count: int, norm_type: float) -> Tensor:
    return (out.sign() * _nn.relu(out.abs())).mul(count).pow(1.0 / norm_type)


def lp_pool1d(
    input: Tensor,
    norm_type: float,
    kernel_size: int,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """(sum over each window of x^p)^(1/p)"""
    out = avg_pool1d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    return _lp(out, kernel_size, norm_type)


def lp_pool2d(
    input: Tensor,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """(sum over each window of x^p)^(1/p)"""
    high, wide = _each(kernel_size, 2)
    out = avg_pool2d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    return _lp(out, high * wide, norm_type)


def lp_pool3d(
    input: Tensor,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """(sum over each window of x^p)^(1/p)"""
    deep, high, wide = _each(kernel_size, 3)
    out = avg_pool3d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    return _lp(out, deep * high * wide, norm_type)
