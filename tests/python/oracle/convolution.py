"""Convolutions written plainly, in float64 or int64: one shifted product a tap.

All take the geometry of the forward convolution: y[n, o, j] is the sum over channels c of the group
and taps k of w[o, c, k] * x[n, c, j * stride + k * dilation - padding], where x is 0 outside.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from oracle.library import Array


@dataclass(frozen=True)
class Geometry:
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    def out_size(self, size: Sequence[int], kernel: Sequence[int]) -> tuple[int, ...]:
        return tuple(
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(
                size, kernel, self.stride, self.padding, self.dilation, strict=True
            )
        )

    def _taps(self, kernel: Sequence[int], out: Sequence[int]) -> Iterator[tuple]:
        """For each tap its index and, for each dimension, the positions it reads in x padded."""
        for tap in itertools.product(*(range(k) for k in kernel)):
            yield (
                tap,
                tuple(
                    slice(t * d, t * d + s * (j - 1) + 1, s)
                    for t, d, s, j in zip(tap, self.dilation, self.stride, out, strict=True)
                ),
            )

    def _frame(self, size: Sequence[int], kernel: Sequence[int], out: Sequence[int]) -> list[int]:
        """Extents that hold x, the padding in front, and all that is read behind."""
        return [
            max(p + n, d * (k - 1) + s * (j - 1) + 1)
            for n, k, j, s, p, d in zip(
                size, kernel, out, self.stride, self.padding, self.dilation, strict=True
            )
        ]

    def _inside(self, size: Sequence[int]) -> tuple:
        return (
            slice(None),
            slice(None),
            *(slice(p, p + n) for n, p in zip(size, self.padding, strict=True)),
        )

    def _padded(self, x: Array, kernel: Sequence[int], out: Sequence[int]) -> Array:
        frame = np.zeros((*x.shape[:2], *self._frame(x.shape[2:], kernel, out)), x.dtype)
        frame[self._inside(x.shape[2:])] = x
        return frame

    def forward(self, x: Array, w: Array, out: Sequence[int] | None = None) -> Array:
        kernel = w.shape[2:]
        out = tuple(out or self.out_size(x.shape[2:], kernel))
        frame = self._padded(x, kernel, out)
        y = np.zeros((x.shape[0], w.shape[0], *out), np.result_type(x, w))
        rows, channels = w.shape[0] // self.groups, w.shape[1]
        for tap, where in self._taps(kernel, out):
            for g in range(self.groups):
                part = frame[:, g * channels : (g + 1) * channels][(..., *where)]
                block = w[g * rows : (g + 1) * rows][(..., *tap)]
                y[:, g * rows : (g + 1) * rows] += np.einsum("oc,nc...->no...", block, part)
        return y

    def to_input(self, y: Array, w: Array, size: Sequence[int]) -> Array:
        """The gradient of x from that of y; also the transposed convolution of y."""
        kernel, out = w.shape[2:], y.shape[2:]
        rows, channels = w.shape[0] // self.groups, w.shape[1]
        frame = np.zeros(
            (y.shape[0], channels * self.groups, *self._frame(size, kernel, out)),
            np.result_type(y, w),
        )
        for tap, where in self._taps(kernel, out):
            for g in range(self.groups):
                block = w[g * rows : (g + 1) * rows][(..., *tap)]
                part = np.einsum("oc,no...->nc...", block, y[:, g * rows : (g + 1) * rows])
                frame[:, g * channels : (g + 1) * channels][(..., *where)] += part
        return frame[self._inside(size)].copy()

    def to_weight(self, y: Array, x: Array, kernel: Sequence[int]) -> Array:
        """The gradient of w from that of y."""
        out = y.shape[2:]
        frame = self._padded(x, kernel, out)
        rows, channels = y.shape[1] // self.groups, x.shape[1] // self.groups
        w = np.zeros((y.shape[1], channels, *kernel), np.result_type(x, y))
        for tap, where in self._taps(kernel, out):
            for g in range(self.groups):
                part = frame[:, g * channels : (g + 1) * channels][(..., *where)]
                mine = y[:, g * rows : (g + 1) * rows]
                w[g * rows : (g + 1) * rows][(..., *tap)] = np.einsum(
                    "noz,ncz->oc",
                    mine.reshape(*mine.shape[:2], -1),
                    part.reshape(*part.shape[:2], -1),
                )
        return w
