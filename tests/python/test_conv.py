"""Convolutions and their gradients against direct sums, PyTorch's errors, and who computes them."""

# ruff: noqa: E501 (one row of a table, one line)
from __future__ import annotations

import io
import itertools
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import traced
from oracle.compare import EPS, mismatch
from oracle.convolution import Geometry
from oracle.layouts import arrange
from oracle.library import DEVICES, IS_TORCH, Array, L, serves, to_library, to_numpy
from traced import cases_conv

F = L.nn.functional
ON_DEVICES = pytest.mark.parametrize("device", DEVICES)


@dataclass(frozen=True)
class Shape:
    """x is [n, c, *size], w [o, c / groups, *kernel]."""

    n: int
    c: int
    o: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.stride, self.padding, self.dilation, self.groups)

    @property
    def x(self) -> tuple[int, ...]:
        return (self.n, self.c, *self.size)

    @property
    def w(self) -> tuple[int, ...]:
        return (self.o, self.c // self.groups, *self.kernel)

    @property
    def y(self) -> tuple[int, ...]:
        return (self.n, self.o, *self.geometry.out_size(self.size, self.kernel))

    def __str__(self) -> str:
        spatial = "x".join(map(str, self.size))
        parts = (self.kernel, self.stride, self.padding, self.dilation)
        rest = "_".join("".join(map(str, p)) for p in parts)
        return f"{self.n}x{self.c}-{self.o}@{spatial}_k{rest}_g{self.groups}"


def shape(n, c, o, size, kernel, stride=1, padding=0, dilation=1, groups=1) -> Shape:  # type: ignore[no-untyped-def]
    def each(v: Any) -> tuple[int, ...]:
        return v if isinstance(v, tuple) else (v,) * len(size)

    return Shape(n, c, o, size, each(kernel), each(stride), each(padding), each(dilation), groups)


SHAPES = [
    shape(2, 3, 5, (9, 8), 3),
    shape(2, 3, 5, (9, 8), 3, padding=1),
    shape(3, 4, 6, (10, 11), 3, stride=2, padding=1),
    shape(2, 4, 6, (7, 12), (3, 2), stride=(2, 3), padding=(1, 0), dilation=(1, 2)),
    shape(1, 2, 3, (13, 12), 3, padding=4, dilation=3),
    shape(2, 6, 4, (8, 8), 3, padding=1, groups=2),
    shape(2, 6, 12, (9, 7), 3, stride=2, padding=1, groups=6),  # depthwise, two results a channel
    shape(3, 5, 7, (6, 6), 1),
    shape(3, 5, 7, (9, 9), 1, stride=2),
    shape(1, 3, 40, (5, 6), 5, padding=2),
    shape(2, 2, 2, (5, 5), 5),  # one result
    shape(2, 1, 3, (20, 20), (7, 3), stride=(5, 1), padding=(3, 1)),
    shape(1, 2, 2, (4, 4), 2, stride=3, padding=1),  # positions that no tap meets
    shape(2, 3, 4, (31,), 4, stride=2, padding=1),
    shape(1, 1, 1, (50,), 9, stride=4, padding=3, dilation=2),
    shape(2, 4, 4, (5, 6, 7), 3, padding=1),
    shape(1, 2, 3, (6, 5, 4), (2, 3, 1), stride=(2, 1, 1), padding=(0, 1, 0)),
    shape(2, 4, 2, (5, 5, 5), 2, stride=2, dilation=2, padding=1, groups=2),
    shape(3, 6, 6, (9, 10), 3, padding=1, groups=6),  # depthwise from here on
    shape(2, 5, 5, (14, 13), 3, stride=2, padding=1, groups=5),
    shape(2, 3, 3, (7, 40), 5, padding=2, dilation=2, groups=3),
    shape(2, 7, 7, (6, 33), (7, 4), stride=(3, 2), padding=(3, 0), groups=7),
    shape(2, 4, 4, (5, 6, 7), 3, padding=1, groups=4),
    shape(2, 9, 9, (37,), 4, stride=3, padding=1, groups=9),
]
# Large enough that blocks of positions, steps of channels and pieces of the batch are cut.
LARGE = [
    shape(5, 70, 33, (17, 19), 3, padding=1),
    shape(19, 3, 8, (40, 23), 5, stride=2, padding=2),
    shape(40, 64, 48, (4, 4), 3, padding=1),
    shape(2, 3, 4, (700,), 400, stride=160),
    shape(2, 5, 130, (33, 31), 1),
    shape(3, 130, 3, (8, 9), 3, stride=2, padding=1),
]
ALL = pytest.mark.parametrize("s", SHAPES, ids=str)


def draw(s: Shape, dtype: str) -> tuple[Array, Array, Array, Array]:
    """x, w, a bias and what is multiplied with y."""
    rng = np.random.default_rng(zlib.crc32(f"{s}/{dtype}".encode()))

    def some(extents: tuple[int, ...]) -> Array:
        if dtype.startswith(("i", "u")):
            return rng.integers(0 if dtype == "u8" else -9, 10, extents)
        return to_numpy(to_library(rng.standard_normal(extents), dtype, "cpu")).astype(np.float64)

    return some(s.x), some(s.w), some((s.o,)), some(s.y)


def conv(*args: Any, **options: Any) -> Any:
    return (F.conv1d, F.conv2d, F.conv3d)[args[0].dim() - 3](*args, **options)


def conv_transpose(*args: Any, **options: Any) -> Any:
    verbs = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
    return verbs[args[0].dim() - 3](*args, **options)


def options_of(s: Shape) -> dict[str, Any]:
    return {
        "stride": s.stride, "padding": s.padding, "dilation": s.dilation, "groups": s.groups,
    }  # fmt: skip


def near(got: Any, expected: Array, scale: Array, dtype: str) -> None:
    """The error of a sum of k products is about sqrt(k) eps of the sum of their sizes."""
    slack = 8 * scale * EPS["f32" if dtype in ("f16", "bf16") else dtype] if dtype in EPS else 0.0
    ulps = 1.0 if dtype in ("f16", "bf16") else 2.0
    text = mismatch(to_numpy(got), expected, dtype, ulps=ulps, slack=slack)
    assert not text, text


def check(s: Shape, dtype: str, device: str, layout: str = "contiguous") -> None:
    """y, and the gradients of x, w and the bias."""
    if not serves(device, dtype):
        pytest.skip("this driver has no float64")
    x, w, b, g = draw(s, dtype)
    geometry = s.geometry

    def place(a: Array) -> Any:
        if layout == "channels_last":
            order = [0, *range(2, a.ndim), 1]
            back = [0, a.ndim - 1, *range(1, a.ndim - 1)]
            return to_library(a.transpose(order), dtype, device).permute(*back)
        return arrange(a, layout, dtype, device)

    tx, tw, tb, tg = place(x), place(w), to_library(b, dtype, device), place(g)
    integral = dtype not in EPS
    if not integral:
        for t in (tx, tw, tb):
            t.requires_grad_()
    channel = (1, -1, *([1] * len(s.size)))
    y = conv(tx, tw, tb, **options_of(s))
    want = geometry.forward(x, w)
    near(y, want + b.reshape(channel), geometry.forward(abs(x), abs(w)) + 1, dtype)
    near(conv(tx, tw, **options_of(s)), want, geometry.forward(abs(x), abs(w)), dtype)
    if integral:
        return
    y.backward(tg)
    near(tx.grad, geometry.to_input(g, w, s.size), geometry.to_input(abs(g), abs(w), s.size), dtype)
    near(
        tw.grad,
        geometry.to_weight(g, x, s.kernel),
        geometry.to_weight(abs(g), abs(x), s.kernel),
        dtype,
    )
    axes = (0, *range(2, g.ndim))
    near(tb.grad, g.sum(axes), abs(g).sum(axes), dtype)


@ALL
@ON_DEVICES
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_convolution(s: Shape, dtype: str, device: str) -> None:
    check(s, dtype, device)


@ON_DEVICES
@pytest.mark.parametrize("s", LARGE, ids=str)
def test_large_convolution(s: Shape, device: str) -> None:
    check(s, "f32", device)


@ALL
@ON_DEVICES
@pytest.mark.parametrize("dtype", ["f16", "bf16", "i64"])
def test_convolution_of_other_dtypes(s: Shape, dtype: str, device: str) -> None:
    check(s, dtype, device)


@ON_DEVICES
@pytest.mark.parametrize("dtype", ["i32", "i16", "i8", "u8"])
def test_narrow_integers_wrap_around(dtype: str, device: str) -> None:
    s = SHAPES[2]
    check(s, dtype, device)


@ON_DEVICES
@pytest.mark.parametrize("s", [SHAPES[i] for i in (0, 2, 5, 6, 13, 15)], ids=str)
@pytest.mark.parametrize("layout", ["transposed", "sliced", "offset", "permuted", "channels_last"])
def test_layouts(s: Shape, layout: str, device: str) -> None:
    check(s, "f32", device, layout)
    check(s, "bf16", device, layout)


@ON_DEVICES
@pytest.mark.parametrize("s", SHAPES + LARGE[:1], ids=str)
@pytest.mark.parametrize("dtype", ["f32", "f64", "bf16"])
def test_transposed_convolution(s: Shape, dtype: str, device: str) -> None:
    """It is the gradient to the input; output_padding picks the size that x had."""
    if not serves(device, dtype):
        pytest.skip("this driver has no float64")
    _, w, _, y = draw(s, dtype)
    geometry = s.geometry
    least = [
        (j - 1) * st - 2 * p + d * (k - 1) + 1
        for j, st, p, d, k in zip(
            y.shape[2:], s.stride, s.padding, s.dilation, s.kernel, strict=True
        )
    ]
    behind = tuple(n - low for n, low in zip(s.size, least, strict=True))
    rng = np.random.default_rng(7)
    b = to_numpy(to_library(rng.standard_normal(s.c), dtype, "cpu")).astype(np.float64)
    g = to_numpy(to_library(rng.standard_normal(s.x), dtype, "cpu")).astype(np.float64)
    ty, tw, tb, tg = (to_library(a, dtype, device) for a in (y, w, b, g))
    for t in (ty, tw, tb):
        t.requires_grad_()
    x = conv_transpose(ty, tw, tb, output_padding=behind, **options_of(s))
    channel = (1, -1, *([1] * len(s.size)))
    near(
        x,
        geometry.to_input(y, w, s.size) + b.reshape(channel),
        geometry.to_input(abs(y), abs(w), s.size) + 1,
        dtype,
    )
    x.backward(tg)
    out = y.shape[2:]
    near(ty.grad, geometry.forward(g, w, out), geometry.forward(abs(g), abs(w), out), dtype)
    near(
        tw.grad,
        geometry.to_weight(y, g, s.kernel),
        geometry.to_weight(abs(y), abs(g), s.kernel),
        dtype,
    )
    axes = (0, *range(2, g.ndim))
    near(tb.grad, g.sum(axes), abs(g).sum(axes), dtype)


@ON_DEVICES
def test_transposed_convolution_of_single_elements(device: str, rng: np.random.Generator) -> None:
    y, w = rng.standard_normal((6, 10, 1, 1)), rng.standard_normal((10, 7, 4, 3))
    b = rng.standard_normal(7)
    geometry = Geometry((2, 2), (0, 0), (1, 1))
    for bias in (None, b):
        tb = None if bias is None else to_library(b, "f32", device)
        x = F.conv_transpose2d(to_library(y, "f32", device), to_library(w, "f32", device), tb, 2)
        want = geometry.to_input(y, w, (4, 3)) + (0 if bias is None else b.reshape(1, 7, 1, 1))
        near(x, want, geometry.to_input(abs(y), abs(w), (4, 3)) + 1, "f32")


@ON_DEVICES
@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (4, 1), ((2, 5), (3, 2)), (1, 1)])
def test_named_padding(device: str, kernel: Any, dilation: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 9, 10))
    sizes = kernel if isinstance(kernel, tuple) else (kernel,) * 2
    steps = dilation if isinstance(dilation, tuple) else (dilation,) * 2
    w = rng.standard_normal((4, 3, *sizes))
    tx, tw = to_library(x, "f32", device), to_library(w, "f32", device)
    totals = [d * (k - 1) for d, k in zip(steps, sizes, strict=True)]
    front = tuple(t // 2 for t in totals)
    same = Geometry((1, 1), front, steps)
    got = F.conv2d(tx, tw, padding="same", dilation=dilation)
    near(got, same.forward(x, w, (9, 10)), same.forward(abs(x), abs(w), (9, 10)), "f32")
    valid = Geometry((1, 1), (0, 0), steps)
    got = F.conv2d(tx, tw, padding="valid", dilation=dilation)
    near(got, valid.forward(x, w), valid.forward(abs(x), abs(w)), "f32")


@ON_DEVICES
def test_empty_and_unbatched(device: str) -> None:
    x, w = L.randn(2, 5, 6, device=device), L.randn(3, 2, 3, 3, device=device)
    assert L.equal(F.conv2d(x, w, padding=1), F.conv2d(x[None], w, padding=1)[0])
    assert F.conv_transpose2d(x, w.transpose(0, 1)).shape == (3, 7, 8)
    assert F.conv1d(L.ones(2, 5, device=device), L.ones(3, 2, 3, device=device)).shape == (3, 3)
    empty = F.conv2d(L.ones(0, 2, 5, 5, device=device), w)
    assert empty.shape == (0, 3, 3, 3)
    assert F.conv_transpose2d(L.ones(0, 3, 5, 5, device=device), w).shape == (0, 2, 7, 7)
    # No channels: a sum of nothing, plus the bias.
    bias = L.tensor([1.0, 2.0, 3.0], device=device)
    x, w = L.ones(1, 0, 5, 5, device=device), L.ones(3, 0, 3, 3, device=device)
    assert to_numpy(F.conv2d(x, w, bias))[0, :, 1, 1].tolist() == [1, 2, 3]
    w = L.randn(3, 2, 3, 3, device=device).requires_grad_()
    F.conv2d(L.ones(0, 2, 5, 5, device=device), w).sum().backward()
    assert to_numpy(w.grad).tolist() == np.zeros((3, 2, 3, 3)).tolist()


@ON_DEVICES
def test_not_a_number_spreads_to_what_it_meets_only(device: str) -> None:
    x = np.ones((1, 1, 6, 6))
    x[0, 0, 2, 3] = np.nan
    x[0, 0, 5, 5] = np.inf
    w = np.zeros((1, 1, 3, 3))
    got = to_numpy(F.conv2d(to_library(x, "f32", device), to_library(w, "f32", device), padding=1))
    bad = np.zeros((6, 6), bool)
    bad[1:4, 2:5] = True
    bad[4:, 4:] = True
    assert (np.isnan(got[0, 0]) == bad).all()


@ON_DEVICES
def test_infinity_stays_in_its_channel_and_under_its_taps(device: str) -> None:
    """Depthwise: what a plane's rows are read beyond must not reach any gradient."""
    x = np.ones((2, 3, 6, 6))
    x[0, 1, 5, 5] = np.inf
    given, w = to_library(x, "f32", device), to_library(np.ones((3, 1, 3, 3)), "f32", device)
    for t in (given, w):
        t.requires_grad_()
    y = F.conv2d(given, w, padding=1, groups=3)
    y.sum().backward()
    bad = np.zeros((2, 3, 6, 6), bool)
    bad[0, 1, 4:, 4:] = True
    assert (np.isinf(to_numpy(y)) == bad).all()
    under = np.zeros((3, 1, 3, 3), bool)
    under[1, 0, 1:, 1:] = True
    assert (np.isinf(to_numpy(w.grad)) == under).all()
    assert np.isfinite(to_numpy(given.grad)).all()


ERRORS: list[tuple[str, Callable[[Any], Any]]] = [
    ("weight dtype", lambda d: F.conv2d(one(d, 1, 2, 5, 5), one(d, 3, 2, 3, 3).double())),
    ("bias dtype", lambda d: F.conv2d(one(d, 1, 2, 5, 5), one(d, 3, 2, 3, 3), one(d, 3).double())),
    ("bias size", lambda d: F.conv2d(one(d, 1, 2, 5, 5), one(d, 3, 2, 3, 3), one(d, 4))),
    ("bias rank", lambda d: F.conv2d(one(d, 1, 2, 5, 5), one(d, 3, 2, 3, 3), one(d, 3, 1))),
    ("channels", lambda d: F.conv2d(one(d, 1, 3, 5, 5), one(d, 3, 2, 3, 3))),
    ("too small", lambda d: F.conv2d(one(d, 1, 2, 2, 2), one(d, 3, 2, 3, 3))),
    ("no extent", lambda d: F.conv2d(one(d, 1, 2, 0, 5), one(d, 3, 2, 3, 3))),
    ("no extent, padded", lambda d: F.conv2d(one(d, 1, 2, 0, 5), one(d, 3, 2, 3, 3), padding=2)),
    ("rank 2", lambda d: F.conv2d(one(d, 5, 5), one(d, 3, 2, 3, 3))),
    ("rank 5", lambda d: F.conv2d(one(d, 1, 1, 2, 5, 5), one(d, 3, 2, 3, 3))),
    ("rank 1", lambda d: F.conv1d(one(d, 5), one(d, 3, 2, 3))),
    ("weight rank", lambda d: F.conv2d(one(d, 1, 2, 5, 5), one(d, 3, 2, 3))),
    ("stride 0", lambda d: F.conv2d(one(d, 1, 2, 5, 5), one(d, 3, 2, 3, 3), stride=0)),
    ("padding -1", lambda d: F.conv2d(one(d, 1, 2, 5, 5), one(d, 3, 2, 3, 3), padding=-1)),
    ("dilation 0", lambda d: F.conv2d(one(d, 1, 2, 5, 5), one(d, 3, 2, 3, 3), dilation=0)),
    ("groups 0", lambda d: F.conv2d(one(d, 1, 2, 5, 5), one(d, 3, 2, 3, 3), groups=0)),
    ("groups 2", lambda d: F.conv2d(one(d, 1, 2, 5, 5), one(d, 3, 2, 3, 3), groups=2)),
    ("groups 3", lambda d: F.conv2d(one(d, 1, 2, 5, 5), one(d, 3, 2, 3, 3), groups=3)),
    ("no rows", lambda d: F.conv2d(one(d, 1, 2, 5, 5), one(d, 0, 2, 3, 3))),
    ("no taps", lambda d: F.conv2d(one(d, 1, 2, 5, 5), one(d, 3, 2, 0, 3))),
    ("three strides", lambda d: F.conv2d(one(d, 1, 2, 5, 5), one(d, 3, 2, 3, 3), stride=(1, 1, 1))),
    ("three paddings", lambda d: F.conv2d(one(d, 1, 2, 5, 5), one(d, 3, 2, 3, 3), None, 1, (1,) * 3)),
    ("same, strided", lambda d: F.conv2d(one(d, 1, 2, 5, 5), one(d, 3, 2, 3, 3), None, 2, "same")),
    ("a name", lambda d: F.conv2d(one(d, 1, 2, 5, 5), one(d, 3, 2, 3, 3), padding="foo")),
    ("bool", lambda d: F.conv2d(one(d, 1, 2, 5, 5).bool(), one(d, 3, 2, 3, 3).bool())),
    ("bool 3d", lambda d: F.conv3d(one(d, 1, 2, 5, 5, 5).bool(), one(d, 3, 2, 3, 3, 3).bool())),
    ("dilated ints", lambda d: F.conv2d(one(d, 1, 2, 5, 5).int(), one(d, 3, 2, 2, 2).int(), dilation=2)),
    ("transposed ints", lambda d: F.conv_transpose2d(one(d, 1, 2, 5, 5).int(), one(d, 2, 2, 2, 2).int())),
    ("transposed channels", lambda d: F.conv_transpose2d(one(d, 1, 2, 5, 5), one(d, 3, 2, 3, 3))),
    ("transposed bias", lambda d: F.conv_transpose2d(one(d, 1, 2, 5, 5), one(d, 2, 3, 3, 3), one(d, 4))),
    ("output padding", lambda d: F.conv_transpose2d(one(d, 1, 2, 5, 5), one(d, 2, 3, 3, 3), output_padding=1)),
    ("output padding -1", lambda d: F.conv_transpose2d(one(d, 1, 2, 5, 5), one(d, 2, 3, 3, 3), None, 2, 0, -1)),
    ("too small a result", lambda d: F.conv_transpose2d(one(d, 1, 2, 5, 5), one(d, 2, 3, 3, 3), padding=5)),
]  # fmt: skip


def one(device: str, *size: int) -> Any:
    return L.ones(size, device=device)


@ON_DEVICES
@pytest.mark.parametrize(("name", "call"), ERRORS, ids=[n for n, _ in ERRORS])
def test_errors_are_pytorchs(name: str, call: Callable[[Any], Any], device: str) -> None:
    kind, text = WANTED[name]
    with pytest.raises(kind) as caught:
        call(device)
    assert str(caught.value) == text


# Read off PyTorch 2.13: QS_TEST_MODULE=torch runs the same test there.
_W = "weight of size [3, 2, 3, 3]"
_LIST = "to be a single integer value or a list of 2 values to match the convolution dimensions"
WANTED: dict[str, tuple[type[Exception], str]] = {
    "weight dtype": (RuntimeError, "expected scalar type Float but found Double"),
    "bias dtype": (RuntimeError, "Input type (float) and bias type (double) should be the same"),
    "bias size": (
        RuntimeError,
        f"Given {_W}, expected bias to be 1-dimensional with 3 elements, but got bias of size [4]"
        " instead",
    ),
    "bias rank": (
        RuntimeError,
        f"Given {_W}, expected bias to be 1-dimensional with 3 elements, but got bias of size"
        " [3, 1] instead",
    ),
    "channels": (
        RuntimeError,
        f"Given groups=1, {_W}, expected input[1, 3, 5, 5] to have 2 channels, but got 3 channels"
        " instead",
    ),
    "too small": (
        RuntimeError,
        "Calculated padded input size per channel: (2 x 2). Kernel size: (3 x 3). Kernel size can't"
        " be greater than actual input size",
    ),
    "no extent": (
        RuntimeError,
        "Calculated padded input size per channel: (0 x 5). Kernel size: (3 x 3). Kernel size can't"
        " be greater than actual input size",
    ),
    "no extent, padded": (
        RuntimeError,
        "Only zero batch or zero channel inputs are supported, but got input shape: [1, 2, 0, 5]",
    ),
    "rank 2": (
        RuntimeError,
        "Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of size: [5, 5]",
    ),
    "rank 5": (
        RuntimeError,
        "Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of size:"
        " [1, 1, 2, 5, 5]",
    ),
    "rank 1": (
        RuntimeError,
        "Expected 2D (unbatched) or 3D (batched) input to conv1d, but got input of size: [5]",
    ),
    "weight rank": (
        RuntimeError,
        "expected stride to be a single integer value or a list of 1 values to match the"
        " convolution dimensions, but got stride=[1, 1]",
    ),
    "stride 0": (RuntimeError, "non-positive stride is not supported"),
    "padding -1": (RuntimeError, "negative padding is not supported"),
    "dilation 0": (RuntimeError, "dilation should be greater than zero, but got [0, 0]"),
    "groups 0": (RuntimeError, "non-positive groups is not supported"),
    "groups 2": (
        RuntimeError,
        "Given groups=2, expected weight to be divisible by 2 at dimension 0, but got weight of"
        " size [[3, 2, 3, 3]] instead",
    ),
    "groups 3": (
        RuntimeError,
        f"Given groups=3, {_W}, expected input[1, 2, 5, 5] to have 6 channels, but got 2 channels"
        " instead",
    ),
    "no rows": (
        RuntimeError,
        "Given groups=1, expected weight to be at least 1 at dimension 0, but got weight of size"
        " [0, 2, 3, 3] instead",
    ),
    "no taps": (
        RuntimeError,
        "kernel size should be greater than zero, but got kernel_height: 0 kernel_width: 3",
    ),
    "three strides": (RuntimeError, f"expected stride {_LIST}, but got stride=[1, 1, 1]"),
    "three paddings": (RuntimeError, f"expected padding {_LIST}, but got padding=[1, 1, 1]"),
    "same, strided": (RuntimeError, "padding='same' is not supported for strided convolutions"),
    "a name": (RuntimeError, "Invalid padding string: 'foo'"),
    "bool": (NotImplementedError, "\"slow_conv2d_cpu\" not implemented for 'Bool'"),
    "bool 3d": (NotImplementedError, "\"compute_columns3d\" not implemented for 'Bool'"),
    "dilated ints": (NotImplementedError, "\"slow_conv_dilated<>\" not implemented for 'Int'"),
    "transposed ints": (
        NotImplementedError,
        "\"slow_conv_transpose2d_out_cpu\" not implemented for 'Int'",
    ),
    "transposed channels": (
        RuntimeError,
        f"Given transposed=1, {_W}, expected input[1, 2, 5, 5] to have 3 channels, but got 2"
        " channels instead",
    ),
    "transposed bias": (
        RuntimeError,
        "Given transposed=1, weight of size [2, 3, 3, 3], expected bias to be 1-dimensional with 3"
        " elements, but got bias of size [4] instead",
    ),
    "output padding": (
        RuntimeError,
        "output padding must be smaller than either stride or dilation, but got"
        " output_padding_height: 1 output_padding_width: 1 stride_height: 1 stride_width: 1"
        " dilation_height: 1 dilation_width: 1",
    ),
    "output padding -1": (RuntimeError, "negative output_padding is not supported"),
    "too small a result": (
        RuntimeError,
        "Given input size per channel: (5 x 5). Calculated output size per channel: (-3 x -3)."
        " Output size is too small",
    ),
}


@ON_DEVICES
def test_results_keep_channels_last(device: str) -> None:
    x, w = L.randn(2, 4, 6, 6, device=device), L.randn(8, 4, 3, 3, device=device)
    last = L.channels_last
    assert F.conv2d(x, w).stride() == (128, 16, 4, 1)
    for a, b in ((x.to(memory_format=last), w), (x, w.to(memory_format=last))):
        y = F.conv2d(a, b)
        assert y.stride() == (128, 1, 32, 8)
        assert y.is_contiguous(memory_format=last)
        assert np.allclose(to_numpy(y), to_numpy(F.conv2d(x, w)), atol=1e-5)
    assert F.conv_transpose2d(x.to(memory_format=last), w.transpose(0, 1)).stride() == (
        512, 1, 64, 8,
    )  # fmt: skip
    a = x.to(memory_format=last).requires_grad_()
    F.conv2d(a, w).sum().backward()
    assert a.grad.stride() == (144, 1, 24, 4)
    assert F.conv2d(L.randn(2, 1, 6, 6), L.randn(3, 1, 3, 3)).stride() == (48, 16, 4, 1)


@ON_DEVICES
def test_memory_formats(device: str) -> None:
    x = L.randn(2, 3, 4, 5, device=device)
    last = x.contiguous(memory_format=L.channels_last)
    assert last.stride() == (60, 1, 15, 3)
    assert last.is_contiguous(memory_format=L.channels_last) and not last.is_contiguous()
    assert L.equal(last, x) and last.contiguous().stride() == x.stride()
    assert last.contiguous(memory_format=L.channels_last) is not None
    assert last.to(memory_format=L.channels_last).data_ptr() == last.data_ptr()
    assert last.clone().stride() == last.stride()
    assert last.clone(memory_format=L.contiguous_format).stride() == (60, 20, 5, 1)
    assert (last * 2 + 1).relu().stride() == last.stride()
    assert not x[0].is_contiguous(memory_format=L.channels_last)
    volume = L.randn(2, 3, 4, 5, 6, device=device)
    moved = volume.to(memory_format=L.channels_last_3d)
    assert moved.stride() == (360, 1, 90, 18, 3) and L.equal(moved, volume)
    for bad, wanted in ((x[0], L.channels_last), (x, L.channels_last_3d)):
        rank, name = (4, "") if wanted is L.channels_last else (5, "_3d")
        with pytest.raises(RuntimeError) as caught:
            bad.contiguous(memory_format=wanted)
        text = f"required rank {rank} tensor to use channels_last{name} format"
        assert str(caught.value) == text
    net = L.nn.Sequential(L.nn.Conv2d(3, 4, 3), L.nn.ReLU()).to(device)
    plain = net(x)
    net = net.to(memory_format=L.channels_last)
    assert net[0].weight.is_contiguous(memory_format=L.channels_last)
    y = net(last)
    assert y.is_contiguous(memory_format=L.channels_last)
    assert np.allclose(to_numpy(y), to_numpy(plain), atol=1e-5)


@pytest.mark.parametrize("case", ["modules", "output_size", "padding_modes"])
def test_modules_are_pytorchs(case: str) -> None:
    traced.check("conv", case, L, 1e-4, 1e-4)


@ON_DEVICES
def test_lenet_trains_as_in_pytorch(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases_conv, "DEVICE", device)
    traced.check("conv", "lenet", L, 2e-4, 1e-5)


_BITS = """
import sys
sys.path.insert(0, {tests!r})
import numpy as np
from test_conv import LARGE, SHAPES, conv, draw, options_of, to_library, to_numpy
parts = []
for s in SHAPES + LARGE:
    x, w, b, g = (to_library(a, "f32", {device!r}) for a in draw(s, "f32"))
    for t in (x, w):
        t.requires_grad_()
    y = conv(x, w, b, **options_of(s))
    y.backward(g)
    parts += [to_numpy(t).ravel() for t in (y, x.grad, w.grad)]
np.save(sys.stdout.buffer, np.concatenate(parts))
"""


def bits(device: str, **environment: str) -> Array:
    code = _BITS.format(tests=os.path.dirname(__file__), device=device)
    env = {**os.environ, **environment}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, check=True)
    return np.load(io.BytesIO(out.stdout))


@pytest.mark.skipif(IS_TORCH, reason="switches of ours")
def test_bits_do_not_depend_on_threads_nor_on_recording() -> None:
    first = bits("mps", QS_NUM_THREADS="1")
    for more in ({"QS_NUM_THREADS": "3"}, {"QS_NUM_THREADS": "2", "QS_SYNC": "1"}):
        assert (bits("mps", **more).view(np.int32) == first.view(np.int32)).all()
    assert (bits("cpu", QS_NUM_THREADS="2").view(np.int32) == first.view(np.int32)).all()


_REPEATED = """
import numpy as np
import quicksilver as qs
rng = np.random.default_rng(0)
for groups, channels, out in ((2, 2, 1), (3, 40, 3), (4, 5, 7), (1, 600, 2)):
    x = qs.from_numpy(rng.standard_normal((2, groups * channels, 5, 5), "float32")).to("mps")
    w = qs.from_numpy(rng.standard_normal((groups * out, channels, 2, 2), "float32")).to("mps")
    y = [qs.nn.functional.conv2d(x, w, groups=groups, stride=2) for _ in range(150)]
    first = y[0].cpu().numpy()
    want = np.stack(
        [
            np.einsum("nchw,ochw->no", x.cpu().numpy()[:, g * channels : (g + 1) * channels, :2, :2],
                      w.cpu().numpy()[g * out : (g + 1) * out])
            for g in range(groups)
        ], 1,
    ).reshape(2, -1)
    assert np.abs(first[:, :, 0, 0] - want).max() < 1e-3
    assert all((other.cpu().numpy() == first).all() for other in y)
"""


@pytest.mark.skipif(IS_TORCH, reason="switches of ours")
def test_weights_are_laid_out_apart() -> None:
    """Threads lay the weights of all groups out at once; none writes into another's."""
    env = {**os.environ, "QS_CONV": "own", "QS_NUM_THREADS": "3"}
    subprocess.run([sys.executable, "-c", _REPEATED], check=True, env=env)


@pytest.mark.skipif(IS_TORCH, reason="switches of ours")
@pytest.mark.parametrize("isa", ["", "avx2"])
def test_every_method_computes_the_same(isa: str) -> None:
    env = {"QS_ISA": isa} if isa else {}
    own = bits("cpu", QS_CONV="own", **env)
    for method in ("dnnl", "auto"):
        other = bits("cpu", QS_CONV=method, **env)
        assert np.abs(other - own).max() < 2e-3 * np.abs(own).max()
        assert np.median(np.abs(other - own)) < 1e-5


def test_draws_are_of_many_kinds() -> None:
    """The shapes above mean something: strides, dilations, groups, dimensions all occur."""
    kinds = {(len(s.size), max(s.stride) > 1, max(s.dilation) > 1, s.groups > 1) for s in SHAPES}
    assert len(kinds) >= 9
    assert all(dims in {k[0] for k in kinds} for dims in (1, 2, 3))
    assert len({str(s) for s in itertools.chain(SHAPES, LARGE)}) == len(SHAPES) + len(LARGE)
