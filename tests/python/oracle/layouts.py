"""One array, many layouts: tensors with the values of an array whose memory is not row-major.

What lies between the elements of a view is poison (NaN, the smallest integer, True), so a kernel
that reads beside its view shows it.
"""

from __future__ import annotations

import numpy as np

from oracle.library import Array, Tensor, numpy_dtype, to_library

LAYOUTS = ("contiguous", "transposed", "sliced", "offset", "expanded", "permuted")


def poison(dtype: str) -> float | int | bool:
    if dtype == "bool":
        return True
    kind = numpy_dtype(dtype)
    return float("nan") if kind.kind == "f" else int(np.iinfo(kind).min)


def _sliced(a: Array, dtype: str, device: str) -> Tensor:
    if a.ndim == 0:
        base = np.full((3,), poison(dtype), numpy_dtype(dtype))
        base[1] = a
        return to_library(base, dtype, device)[1]
    steps = [3] + [2] * (a.ndim - 1)
    base = np.full([s * n + 1 for s, n in zip(steps, a.shape, strict=True)], poison(dtype), a.dtype)
    region = tuple(slice(1, None, s) for s in steps)
    base[region] = a
    return to_library(base, dtype, device)[region]


def _offset(a: Array, dtype: str, device: str) -> Tensor:
    base = np.full((a.size + 5,), poison(dtype), a.dtype)
    base[3 : 3 + a.size] = a.reshape(-1)
    return to_library(base, dtype, device)[3 : 3 + a.size].view(a.shape)


def arrange(a: Array, layout: str, dtype: str, device: str) -> Tensor:
    """A tensor of the values of `a` in the given layout.

    `expanded` wants values that are equal along dimension 0 (see `constant`). A rank that cannot
    have the layout gets the nearest: a vector cannot be transposed, so it is sliced.
    """
    a = np.asarray(a, dtype=numpy_dtype(dtype))
    if layout == "offset":
        return _offset(a, dtype, device)
    if layout == "sliced" or (layout in ("transposed", "permuted") and a.ndim < 2):
        return _sliced(a, dtype, device)
    if layout == "transposed":
        return to_library(np.swapaxes(a, 0, -1), dtype, device).transpose(0, -1)
    if layout == "permuted":  # the first dimension is the innermost
        return to_library(np.moveaxis(a, 0, -1), dtype, device).movedim(-1, 0)
    if layout == "expanded" and a.ndim > 0 and a.shape[0] > 0:
        return to_library(a[:1], dtype, device).expand(a.shape)
    return to_library(a, dtype, device)


def constant(a: Array) -> Array:
    """`a` with its first row everywhere: what an expanded tensor holds."""
    if a.ndim == 0 or a.shape[0] == 0:
        return a
    return np.broadcast_to(a[:1], a.shape).copy()
