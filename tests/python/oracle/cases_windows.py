"""Parity rows of pooling, resizing, padding, blocks and of the norms over batches and groups."""

# ruff: noqa: E501 (one row of a table, one line)
from __future__ import annotations

from typing import Any

import numpy as np

from oracle import windows as w
from oracle.case import Arg, Case
from oracle.library import FLOATING as FLOATS
from oracle.library import Array

LINE, IMAGE, VOLUME = (2, 3, 17), (2, 3, 9, 11), (2, 2, 5, 6, 7)
SPATIAL = {1: LINE, 2: IMAGE, 3: VOLUME}
LAYOUTS = ("contiguous", "transposed", "sliced", "offset", "permuted")
INTEGERS = ("i64", "i32", "u8", "i8", "i16")


def _each(value: Any, n: int) -> tuple[int, ...]:
    return (value,) * n if isinstance(value, int) else tuple(value)


def _with_gradient(verb: Any) -> Any:
    """(x, seed) -> (result, gradient): the result's gradient is made of the seed's first elements."""

    def call(L: Any, x: Any, seed: Any) -> Any:
        x = x.detach().requires_grad_()
        y = verb(L, x)
        g = seed.reshape(-1)[: y.numel()].reshape(y.shape)
        return y.detach(), L.autograd.grad(y, x, g)[0]

    return call


# ---- the largest
def _max(
    n: int,
    label: str,
    k: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> list[Case]:
    name, shape = f"max_pool{n}d", SPATIAL[n]
    sides = [_each(v, n) for v in (k, k if stride is None else stride, padding, dilation)]

    def places(x: Array) -> Any:
        return w.windows(x.shape[-n:], *sides, ceil_mode)

    def reference(x: Array) -> Any:
        out, each = places(x)
        return w.largest(x, out, each)

    def gradient(x: Array, seed: Array) -> Any:
        values, at = reference(x)
        g = seed.reshape(-1)[: values.size].reshape(*at.shape[: at.ndim - n], -1)
        dx = np.zeros((*g.shape[:-1], int(np.prod(x.shape[-n:]))))
        for lead in np.ndindex(*g.shape[:-1]):
            np.add.at(dx[lead], at[lead].reshape(-1), g[lead])
        return values, dx.reshape(x.shape)

    def call(L: Any, x: Any, pool: Any = None) -> Any:
        return getattr(L.nn.functional, name)(x, k, stride, padding, dilation, ceil_mode, True)

    def value(L: Any, x: Any) -> Any:
        return getattr(L.nn.functional, name)(x, k, stride, padding, dilation, ceil_mode)

    return [
        Case(f"{name}[{label}]", ("max_pool",), call, reference, (Arg(shape, "counts"),), native=True, edges=True, layouts=LAYOUTS, dtypes=(*FLOATS, *INTEGERS) if n > 1 else FLOATS),
        Case(f"{name}_backward[{label}]", ("max_pool_backward",), _with_gradient(value), gradient, (Arg(shape, "distinct"), Arg((600,))), ulps=1, half_ulps=1,
             magnitude=lambda x, g: 40.0, saves_results=True, layouts=LAYOUTS, dtypes=FLOATS),
    ]  # fmt: skip


# ---- the mean
def _mean(
    n: int,
    label: str,
    k: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count: bool = True,
    divisor: int | None = None,
) -> list[Case]:
    name, shape = f"avg_pool{n}d", SPATIAL[n]
    sides = [_each(v, n) for v in (k, k if stride is None else stride, padding, 1)]

    def reference(x: Array) -> Any:
        out, each = w.windows(x.shape[-n:], *sides, ceil_mode)
        return w.means(x, out, each, count, divisor)

    def value(L: Any, x: Any) -> Any:
        more = () if n == 1 else (divisor,)
        return getattr(L.nn.functional, name)(x, k, stride, padding, ceil_mode, count, *more)

    return [
        Case(f"{name}[{label}]", ("avg_pool",), value, reference, (Arg(shape),), ulps=2, half_ulps=1, magnitude=lambda x: 16.0, layouts=LAYOUTS, dtypes=(*FLOATS, "i64", "i32")),
        _linear_gradient(f"{name}_backward[{label}]", "avg_pool_backward", value, reference, shape),
    ]  # fmt: skip


def _linear_gradient(
    name: str, op: str, value: Any, reference: Any, shape: tuple[int, ...], size: int = 3000
) -> Case:
    """The gradient of a linear function: its transpose, from the function at every unit vector."""

    def gradient(x: Array, seed: Array) -> Any:
        y = np.asarray(reference(x))
        g = seed.reshape(-1)[: y.size].reshape(y.shape)
        unit = np.eye(x.size).reshape(x.size, *x.shape)
        columns = [np.sum(np.asarray(reference(u)) * g) for u in unit]
        return y, np.array(columns).reshape(x.shape)

    return Case(name, (op,), _with_gradient(value), gradient, (Arg(shape), Arg((size,))), ulps=4, half_ulps=1, magnitude=lambda x, g: 256.0,
                layouts=("contiguous", "transposed", "sliced"), dtypes=FLOATS)  # fmt: skip


# ---- adaptive
def _adaptive(n: int, size: Any) -> list[Case]:
    shape = SPATIAL[n]

    def biggest(x: Array) -> Any:
        return w.largest(x, size, w.adaptive(x.shape[-n:], size))

    def average(x: Array) -> Any:
        return w.means(x, size, w.adaptive(x.shape[-n:], size), False, None)

    def mean(L: Any, x: Any) -> Any:
        return getattr(L.nn.functional, f"adaptive_avg_pool{n}d")(x, size)

    def call(L: Any, x: Any) -> Any:
        return getattr(L.nn.functional, f"adaptive_max_pool{n}d")(x, size, True)

    label = "x".join(map(str, size))
    return [
        Case(f"adaptive_max_pool{n}d[{label}]", ("max_pool",), call, biggest, (Arg(shape, "counts"),), native=True, edges=True, layouts=LAYOUTS, dtypes=(*FLOATS, "i64")),
        Case(f"adaptive_avg_pool{n}d[{label}]", ("avg_pool",), mean, average, (Arg(shape),), ulps=2, half_ulps=1, magnitude=lambda x: 16.0, layouts=LAYOUTS, dtypes=(*FLOATS, "i64")),
        _linear_gradient(f"adaptive_avg_pool{n}d_backward[{label}]", "avg_pool_backward", mean, average, shape),
    ]  # fmt: skip


POOLS = [
    *_max(1, "3 by 2", 3, 2, 1), *_max(1, "dilated", 3, 1, 0, 2), *_max(1, "ceil", 4, 3, 2, 1, True),
    *_max(2, "2x2", 2), *_max(2, "3x3 by 2", 3, 2, 1), *_max(2, "overlapping", (3, 2), 1, (1, 0)),
    *_max(2, "dilated", 2, (1, 2), 1, (2, 3)), *_max(2, "ceil", 3, 2, 1, 1, True), *_max(2, "5 apart", 2, 5),
    *_max(3, "2x2x2", 2), *_max(3, "mixed", (2, 3, 2), (1, 2, 2), (0, 1, 1), 1, True),
    *_mean(1, "3 by 2", 3, 2, 1), *_mean(1, "inside", 3, 2, 1, True, False),
    *_mean(2, "2x2", 2), *_mean(2, "3x3 by 2", 3, 2, 1), *_mean(2, "inside", (3, 2), (2, 1), (1, 1), False, False),
    *_mean(2, "ceil", 3, 2, 1, True), *_mean(2, "divisor", 3, 2, 0, False, True, 5),
    *_mean(3, "2x2x2", 2), *_mean(3, "inside", (2, 3, 2), 2, (1, 1, 1), True, False),
    *_adaptive(1, (5,)), *_adaptive(2, (4, 3)), *_adaptive(2, (1, 7)), *_adaptive(3, (2, 3, 4)),
]  # fmt: skip


# ---- resizing, padding
def _resize(
    n: int,
    mode: str,
    size: Any = None,
    scale: float = 0.0,
    corners: bool | None = None,
    antialias: bool = False,
) -> list[Case]:
    shape = SPATIAL[n]
    sizes = size or [int(s * scale) for s in shape[2:]]

    def value(L: Any, x: Any) -> Any:
        return L.nn.functional.interpolate(
            x, size, scale or None, mode, corners, antialias=antialias
        )

    def reference(x: Array) -> Any:
        return w.resample(x, sizes, mode, bool(corners), antialias, scale)

    label = (
        f"{mode} {n}d {size or scale}"
        + (" corners" if corners else "")
        + (" antialias" if antialias else "")
    )
    picks = mode.startswith("nearest")
    return [
        Case(f"interpolate[{label}]", ("resample",), value, reference, (Arg(shape),), ulps=0 if picks else 8, half_ulps=0 if picks else 1,
             magnitude=None if picks else lambda x: 128.0, layouts=LAYOUTS, dtypes=(*FLOATS, "u8", "i64") if picks else FLOATS),
        _linear_gradient(f"interpolate_backward[{label}]", "resample", value, reference, shape, 7000),
    ]  # fmt: skip


def _bilinear_bytes() -> Case:
    return Case("interpolate[bytes]", ("resample",), lambda L, x: L.nn.functional.interpolate(x, (4, 6), mode="bilinear"),
                lambda x: np.floor(w.resample(x.astype(np.float64), (4, 6), "bilinear") + 0.5).astype(np.int64), (Arg((2, 3, 8, 12)),), layouts=LAYOUTS, dtypes=("u8",))  # fmt: skip


def _pad(shape: tuple[int, ...], padding: list[int], mode: str) -> list[Case]:
    def value(L: Any, x: Any) -> Any:
        return L.nn.functional.pad(x, padding, mode)

    def reference(x: Array) -> Any:
        sides = [(0, 0)] * x.ndim
        for k in range(len(padding) // 2):
            sides[x.ndim - 1 - k] = (padding[2 * k], padding[2 * k + 1])
        if mode == "circular" or mode == "constant":  # what is cut off is gone before
            cut = tuple(
                slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(x.shape, sides, strict=True)
            )
            x, sides = x[cut], [(max(a, 0), max(b, 0)) for a, b in sides]
        more = tuple((max(a, 0), max(b, 0)) for a, b in sides)
        how = {
            "reflect": "reflect",
            "replicate": "edge",
            "circular": "wrap",
            "constant": "constant",
        }[mode]
        y = np.pad(x, more, mode=how)
        return y[
            tuple(
                slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(y.shape, sides, strict=True)
            )
        ]

    name = f"{mode} {'x'.join(map(str, padding))}"
    dtypes = (*FLOATS, *INTEGERS, *(("bool",) if mode in ("circular", "constant") else ()))
    op = "copy" if mode == "constant" else "resample"
    return [
        Case(f"pad[{name}]", (op,), value, reference, (Arg(shape),), native=True, layouts=LAYOUTS, dtypes=dtypes),
        _linear_gradient(f"pad_backward[{name}]", op, value, reference, shape),
    ]  # fmt: skip


RESIZES = [
    *_resize(1, "nearest", scale=1.7), *_resize(2, "nearest", (18, 22)), *_resize(2, "nearest", (4, 30)), *_resize(3, "nearest", scale=2.0),
    *_resize(2, "nearest-exact", (4, 30)), *_resize(1, "nearest-exact", scale=0.6),
    *_resize(1, "linear", (7,)), *_resize(1, "linear", scale=2.5), *_resize(1, "linear", (40,), corners=True),
    *_resize(2, "bilinear", (18, 22)), *_resize(2, "bilinear", (4, 5), corners=True), *_resize(2, "bilinear", scale=1.3), *_resize(2, "bilinear", (1, 1), corners=True),
    *_resize(2, "bicubic", (13, 7)), *_resize(2, "bicubic", (20, 5), corners=True), *_resize(2, "bilinear", (4, 17), antialias=True),
    *_resize(2, "bicubic", (3, 15), antialias=True), *_resize(2, "lanczos", (4, 5), antialias=True),
    *_resize(3, "trilinear", (7, 3, 9)), *_resize(3, "trilinear", (3, 8, 8), corners=True), _bilinear_bytes(),
    *_pad(IMAGE, [2, 1, 0, 3], "reflect"), *_pad(IMAGE, [-1, 2, 3, -2], "reflect"), *_pad(LINE, [4, 16], "reflect"), *_pad(VOLUME, [1, 2, 3, 1, 2, 0], "reflect"),
    *_pad(IMAGE, [5, 1, 0, 12], "replicate"), *_pad(IMAGE, [2, -3, -1, 1], "replicate"), *_pad(VOLUME, [1, 2, 3, 1, 2, 0], "replicate"),
    *_pad(IMAGE, [11, 1, 0, 9], "circular"), *_pad(IMAGE, [-2, 3, 1, -1], "circular"), *_pad(LINE, [0, 17], "circular"),
    *_pad(IMAGE, [2, 1, -1, 3], "constant"), *_pad(LINE, [1, 0, 0, 2, 1, 1], "constant"), *_pad(IMAGE, [-3, -2], "constant"),
]  # fmt: skip


# ---- blocks
def _blocks(label: str, k: Any, dilation: Any, padding: Any, stride: Any) -> list[Case]:
    h, v = 9, 11

    def unfold(L: Any, x: Any) -> Any:
        return L.nn.functional.unfold(x, k, dilation, padding, stride)

    def fold(L: Any, x: Any) -> Any:
        return L.nn.functional.fold(x, (h, v), k, dilation, padding, stride)

    sides = [_each(s, 2) for s in (k, dilation, padding, stride)]
    shape = w.columns(np.zeros((2, 2, h, v)), *sides).shape
    back = lambda x: w.from_columns(x, (h, v), *sides)  # noqa: E731
    return [
        Case(f"unfold[{label}]", ("copy",), unfold, lambda x: w.columns(x, *sides), (Arg((2, 3, h, v)),), native=True, layouts=LAYOUTS, dtypes=FLOATS),
        _linear_gradient(f"unfold_backward[{label}]", "col2im", unfold, lambda x: w.columns(x, *sides), (2, 2, h, v), 4000),
        Case(f"fold[{label}]", ("col2im",), fold, back, (Arg(shape),), ulps=2, half_ulps=1, magnitude=lambda x: 64.0, layouts=LAYOUTS, dtypes=FLOATS),
    ]  # fmt: skip


BLOCKS = [
    *_blocks("2x2", 2, 1, 0, 1), *_blocks("3x2 dilated", (3, 2), (2, 1), (1, 0), (1, 2)), *_blocks("apart", 2, 1, 1, 3),
    Case("pixel_shuffle", ("copy",), lambda L, x: L.nn.functional.pixel_shuffle(x, 3), lambda x: x.reshape(2, 2, 3, 3, 5, 4).transpose(0, 1, 4, 2, 5, 3).reshape(2, 2, 15, 12),
         (Arg((2, 18, 5, 4)),), native=True),
    Case("pixel_unshuffle", ("copy",), lambda L, x: L.nn.functional.pixel_unshuffle(x, 3), lambda x: x.reshape(2, 2, 5, 3, 4, 3).transpose(0, 1, 3, 5, 2, 4).reshape(2, 18, 5, 4),
         (Arg((2, 2, 15, 12)),), native=True),
    Case("channel_shuffle", ("copy",), lambda L, x: L.nn.functional.channel_shuffle(x, 3), lambda x: x.reshape(2, 3, 2, 5).swapaxes(1, 2).reshape(2, 6, 5),
         (Arg((2, 6, 5)),), native=True),
]  # fmt: skip


# ---- norms
EPS = 1e-5


def _normal(x: Array, axes: tuple[int, ...], weight: Array, bias: Array) -> Array:
    d = x - x.mean(axes, keepdims=True)
    return d / np.sqrt((d * d).mean(axes, keepdims=True) + EPS) * weight + bias


def _slopes(x: Array, axes: tuple[int, ...], weight: Array, g: Array) -> tuple[Array, Array]:
    """dx and the normalised x."""
    d = x - x.mean(axes, keepdims=True)
    r = 1 / np.sqrt((d * d).mean(axes, keepdims=True) + EPS)
    h, gw = d * r, g * weight
    return (gw - gw.mean(axes, keepdims=True) - h * (gw * h).mean(axes, keepdims=True)) * r, h


def _channels(v: Array, rank: int) -> Array:
    return v.reshape(-1, *([1] * (rank - 2)))


def _batch(shape: tuple[int, ...], dtypes: tuple[str, ...] = FLOATS) -> list[Case]:
    rank = len(shape)
    axes = (0, *range(2, rank))
    n = int(np.prod(shape)) // shape[1]
    args = (Arg(shape), Arg((shape[1],)), Arg((shape[1],)))
    label = "x".join(map(str, shape))

    def train(L: Any, x: Any, wt: Any, b: Any) -> Any:
        mean, var = b.clone(), wt.abs() + 1
        y = L.nn.functional.batch_norm(x, mean, var, wt, b, True, 0.3)
        return y, mean, var

    def train_reference(x: Array, wt: Array, b: Array) -> Any:
        y = _normal(x, axes, _channels(wt, rank), _channels(b, rank))
        return (
            y,
            0.7 * b + 0.3 * x.mean(axes),
            0.7 * (np.abs(wt) + 1) + 0.3 * x.var(axes) * n / (n - 1),
        )

    def fixed(L: Any, x: Any, wt: Any, b: Any) -> Any:
        return L.nn.functional.batch_norm(x, b, wt.abs().clamp(min=0.5), wt, b)  # exact in halves

    def fixed_reference(x: Array, wt: Array, b: Array) -> Any:
        m, v, a = (
            _channels(b, rank),
            _channels(np.maximum(np.abs(wt), 0.5), rank),
            _channels(wt, rank),
        )
        return (x - m) / np.sqrt(v + EPS) * a + m

    def gradients(L: Any, x: Any, wt: Any, g: Any) -> Any:
        x, wt = x.detach().requires_grad_(), wt.detach().requires_grad_()
        b = L.zeros_like(wt).requires_grad_()
        y = L.nn.functional.batch_norm(x, None, None, wt, b, True)
        return L.autograd.grad(y, (x, wt, b), g)

    def slopes(x: Array, wt: Array, g: Array) -> Any:
        dx, h = _slopes(x, axes, _channels(wt, rank), g)
        return dx, (g * h).sum(axes), g.sum(axes)

    big = lambda x, a, b: 64.0  # noqa: E731
    return [
        Case(f"batch_norm[{label}]", ("batch_norm",), train, train_reference, args, ulps=16, half_ulps=3, magnitude=big, layouts=LAYOUTS, dtypes=dtypes),
        Case(f"batch_norm[{label} eval]", ("mul",), fixed, fixed_reference, args, ulps=16, half_ulps=3, magnitude=big, layouts=LAYOUTS, dtypes=dtypes),
        Case(f"batch_norm_backward[{label}]", ("batch_norm_backward",), gradients, slopes, (args[0], args[1], args[0]), ulps=64, magnitude=lambda x, a, g: 400.0 + n, half_ulps=8,
             layouts=LAYOUTS, dtypes=("f32", "f64")),
    ]  # fmt: skip


def _split(x: Array, groups: int) -> Array:
    return x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])


def _group(shape: tuple[int, ...], groups: int) -> list[Case]:
    rank = len(shape)
    axes = tuple(range(2, rank + 1))
    args = (Arg(shape), Arg((shape[1],)), Arg((shape[1],)))

    def reference(x: Array, wt: Array, b: Array) -> Any:
        y = _normal(_split(x, groups), axes, np.ones(1), np.zeros(1)).reshape(x.shape)
        return y * _channels(wt, rank) + _channels(b, rank)

    def gradients(L: Any, x: Any, wt: Any, g: Any) -> Any:
        x, wt = x.detach().requires_grad_(), wt.detach().requires_grad_()
        b = L.zeros_like(wt).requires_grad_()
        return L.autograd.grad(L.nn.functional.group_norm(x, groups, wt, b), (x, wt, b), g)

    def slopes(x: Array, wt: Array, g: Array) -> Any:
        scaled = np.broadcast_to(_channels(wt, rank), x.shape)
        dx, h = _slopes(_split(x, groups), axes, _split(scaled, groups), _split(g, groups))
        rest = (0, *range(2, rank))
        return dx.reshape(x.shape), (g * h.reshape(x.shape)).sum(rest), g.sum(rest)

    label = f"{'x'.join(map(str, shape))} {groups}"
    return [
        Case(f"group_norm[{label}]", ("layer_norm",), lambda L, x, a, b: L.nn.functional.group_norm(x, groups, a, b), reference, args, ulps=16, half_ulps=3,
             magnitude=lambda x, a, b: 64.0, layouts=LAYOUTS, dtypes=FLOATS),
        Case(f"group_norm_backward[{label}]", ("layer_norm_backward",), gradients, slopes, (args[0], args[1], args[0]), ulps=64, magnitude=lambda x, a, g: 800.0, half_ulps=8,
             layouts=LAYOUTS, dtypes=("f32", "f64")),
    ]  # fmt: skip


def _instance(L: Any, x: Any, a: Any, b: Any) -> Any:
    mean, var = b.clone(), a.abs() + 1
    y = L.nn.functional.instance_norm(x, mean, var, a, b, True, 0.2)
    return y, mean, var


def _instance_reference(x: Array, a: Array, b: Array) -> Any:
    axes = tuple(range(2, x.ndim))
    y = _normal(x, axes, _channels(a, x.ndim), _channels(b, x.ndim))
    mean, var = x.mean(axes).mean(0), x.var(axes, ddof=1).mean(0)
    return y, 0.8 * b + 0.2 * mean, 0.8 * (np.abs(a) + 1) + 0.2 * var


def _rms(x: Array, a: Array) -> Array:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-4) * a


def _rms_slopes(x: Array, a: Array, g: Array) -> Any:
    r = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-4)
    h, gw = x * r, g * a
    return (gw - h * (gw * h).mean(-1, keepdims=True)) * r, (g * h).sum((0, 1))


def _rms_grads(L: Any, x: Any, a: Any, g: Any) -> Any:
    x, a = x.detach().requires_grad_(), a.detach().requires_grad_()
    return L.autograd.grad(L.nn.functional.rms_norm(x, (x.shape[-1],), a, 1e-4), (x, a), g)


def _response(x: Array) -> Array:
    padded = np.pad(x * x, ((0, 0), (1, 1), (0, 0), (0, 0)))
    mean = (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) / 3
    return x / (2 + 0.1 * mean) ** 0.6


NORMS = [
    *_batch((6, 5, 7, 4)), *_batch((33, 20)), *_batch((3, 4, 40)), *_batch((2, 3, 3, 4, 5)), *_batch((2, 3, 130, 140), ("f32",)),
    *_group((3, 6, 5, 4), 2), *_group((2, 6, 3), 6), *_group((4, 6), 3), *_group((2, 8, 3, 3, 3), 1),
    Case("instance_norm", ("layer_norm",), _instance, _instance_reference, (Arg((3, 4, 5, 6)), Arg((4,)), Arg((4,))), ulps=16, half_ulps=3, magnitude=lambda x, a, b: 64.0, layouts=LAYOUTS, dtypes=FLOATS),
    Case("rms_norm", ("rms_norm",), lambda L, x, a: L.nn.functional.rms_norm(x, (48,), a, 1e-4), _rms, (Arg((4, 7, 48)), Arg((48,))), ulps=8, half_ulps=2, magnitude=lambda x, a: 32.0, layouts=LAYOUTS, dtypes=FLOATS),
    Case("rms_norm_backward", ("rms_norm_backward",), _rms_grads, _rms_slopes, (Arg((4, 7, 48)), Arg((48,)), Arg((4, 7, 48))), ulps=16, half_ulps=8, magnitude=lambda x, a, g: 800.0, layouts=LAYOUTS, dtypes=("f32", "f64")),
    Case("local_response_norm", ("avg_pool",), lambda L, x: L.nn.functional.local_response_norm(x, 3, 0.1, 0.6, 2.0), _response, (Arg((2, 5, 4, 6)),), ulps=32, half_ulps=6, magnitude=lambda x: 8.0, layouts=LAYOUTS, dtypes=FLOATS),
]  # fmt: skip

CASES = [*POOLS, *RESIZES, *BLOCKS, *NORMS]
