"""Plain references for ops over windows: every one a few loops over NumPy arrays in float64."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from oracle.library import Array


def count(n: int, k: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """How many windows fit; with ceil_mode also one that begins inside and sticks out."""
    room = n + 2 * padding - dilation * (k - 1) - 1
    out = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (out - 1) * stride >= n + padding:
        out -= 1
    return out


def windows(
    extents: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool = False,
) -> tuple[list[int], Iterator[tuple[tuple[int, ...], list[range], int]]]:
    """The result's extents; for each result its place, what it covers and its padded size."""
    sides = list(zip(extents, kernel, stride, padding, dilation, strict=True))
    out = [count(n, k, s, p, d, ceil_mode) for n, k, s, p, d in sides]

    def each() -> Iterator[tuple[tuple[int, ...], list[range], int]]:
        for at in itertools.product(*map(range, out)):
            covered, padded = [], 1
            for o, (n, k, s, p, d) in zip(at, sides, strict=True):
                start = o * s - p
                inside = [i for i in range(start, start + k * d, d) if 0 <= i < n]
                covered.append(range(inside[0], inside[-1] + 1, d) if inside else range(0))
                padded *= min(start + k, n + p) - start
            yield at, covered, padded

    return out, each()


def adaptive(
    extents: Sequence[int], out: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], list[range], int]]:
    for at in itertools.product(*map(range, out)):
        covered = [
            range(o * n // m, -(-(o + 1) * n // m))
            for o, n, m in zip(at, extents, out, strict=True)
        ]
        yield at, covered, 0


def largest(x: Array, out: Sequence[int], places: Any) -> tuple[Array, Array]:
    """Values and flat positions; the first of equals, a NaN over any number."""
    n = len(out)
    lead, plane = x.shape[: x.ndim - n], x.shape[x.ndim - n :]
    values = np.zeros((*lead, *out), x.dtype)
    positions = np.zeros((*lead, *out), np.int64)
    for at, covered, _ in places:
        cells = list(itertools.product(*covered))
        flat = np.stack([x[(..., *c)] for c in cells], -1)
        nan = np.isnan(flat) if flat.dtype.kind == "f" else np.zeros(flat.shape, bool)
        # PyTorch goes on after a NaN, and takes the last one.
        last_nan = flat.shape[-1] - 1 - np.argmax(nan[..., ::-1], -1)
        best = np.where(nan.any(-1), last_nan, np.argmax(np.where(nan, 0, flat), -1))
        values[(..., *at)] = np.take_along_axis(flat, best[..., None], -1)[..., 0]
        numbers = np.array([np.ravel_multi_index(c, plane) for c in cells])
        positions[(..., *at)] = numbers[best]
    return values, positions


def means(
    x: Array, out: Sequence[int], places: Any, padding_counts: bool, divisor: int | None
) -> Array:
    n = len(out)
    result = np.zeros((*x.shape[: x.ndim - n], *out), x.dtype)
    for at, covered, padded in places:
        cells = [x[(..., *c)] for c in itertools.product(*covered)]
        by = divisor or (padded if padding_counts else len(cells))
        total = np.sum(cells, axis=0)
        result[(..., *at)] = np.trunc(total / by) if x.dtype.kind != "f" else total / by
    return result


# ---- resampling ----------------------------------------------------------------------------------
def _cubic(t: float, a: float) -> float:
    t = abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def _matrix(n: int, m: int, mode: str, corners: bool, antialias: bool, scale: float) -> Array:
    """[m, n]: the weights of n elements in each of m results."""
    w = np.zeros((m, n))
    step = ((n - 1) / (m - 1) if m > 1 else 0.0) if corners else (1 / scale if scale else n / m)
    for o in range(m):
        if mode == "nearest":
            w[o, min(int(o * step), n - 1)] = 1
        elif mode == "nearest-exact":
            w[o, min(int((o + 0.5) * step), n - 1)] = 1
        elif antialias:
            wide = max(step, 1.0)
            reach = {"linear": 1, "cubic": 2, "lanczos": 3}[mode] * wide
            centre = step * (o + 0.5)
            first, last = max(int(centre - reach + 0.5), 0), min(int(centre + reach + 0.5), n)
            for i in range(first, last):
                t = (i - centre + 0.5) / wide
                kernel = {
                    "linear": max(0.0, 1 - abs(t)),
                    "cubic": _cubic(t, -0.5),
                    "lanczos": np.sinc(t) * np.sinc(t / 3) if abs(t) < 3 else 0.0,
                }
                w[o, i] = kernel[mode]
            w[o] /= w[o].sum()
        else:
            at = o * step if corners else (o + 0.5) * step - 0.5
            if mode == "linear":
                at = max(at, 0.0)
                i = min(int(at), n - 1)
                w[o, i] += 1 - (at - i)
                w[o, min(i + 1, n - 1)] += at - i
            else:
                i = int(np.floor(at))
                for k in range(-1, 3):
                    w[o, min(max(i + k, 0), n - 1)] += _cubic(at - i - k, -0.75)
    return w


def resample(
    x: Array,
    size: Sequence[int],
    mode: str,
    corners: bool = False,
    antialias: bool = False,
    scale: float = 0.0,
) -> Array:
    short = {"bilinear": "linear", "trilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    for d, m in enumerate(size, 2):
        w = _matrix(x.shape[d], m, short, corners, antialias, scale)
        x = np.moveaxis(np.tensordot(w, x, (1, d)), 0, d)
    return x


# ---- blocks --------------------------------------------------------------------------------------
def columns(x: Array, k: Any, dilation: Any, padding: Any, stride: Any) -> Array:
    n, c = x.shape[:2]
    padded = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    h, w = (
        count(e, *a, False) for e, *a in zip(x.shape[2:], k, stride, padding, dilation, strict=True)
    )
    out = np.zeros((n, c, k[0], k[1], h, w), x.dtype)
    for i, j, a, b in itertools.product(range(k[0]), range(k[1]), range(h), range(w)):
        out[:, :, i, j, a, b] = padded[
            :, :, a * stride[0] + i * dilation[0], b * stride[1] + j * dilation[1]
        ]
    return out.reshape(n, c * k[0] * k[1], h * w)


def from_columns(x: Array, size: Any, k: Any, dilation: Any, padding: Any, stride: Any) -> Array:
    n, c = x.shape[0], x.shape[1] // (k[0] * k[1])
    h, w = (count(e, *a, False) for e, *a in zip(size, k, stride, padding, dilation, strict=True))
    blocks = x.reshape(n, c, k[0], k[1], h, w)
    out = np.zeros((n, c, size[0] + 2 * padding[0], size[1] + 2 * padding[1]), x.dtype)
    for i, j, a, b in itertools.product(range(k[0]), range(k[1]), range(h), range(w)):
        out[:, :, a * stride[0] + i * dilation[0], b * stride[1] + j * dilation[1]] += blocks[
            :, :, i, j, a, b
        ]
    return out[:, :, padding[0] : padding[0] + size[0], padding[1] : padding[1] + size[1]]
