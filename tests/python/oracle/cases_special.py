"""Parity rows of special functions, activations, running extremes, searching and reductions by index.

References are SciPy's in float64. Where SciPy's own answer differs from PyTorch's at an edge, the
reference says what PyTorch gives.
"""

# ruff: noqa: E501 (one row of a table, one line)
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from oracle.case import Arg, Case, floating, quiet
from oracle.cases_maps import binary, unary
from oracle.library import Array

FLOATS = ("f32", "f64", "f16", "bf16")
WIDE = ("f32", "f64")
INTEGERS = ("i64", "i32", "i16", "i8", "u8")
ROWS = (9, 35)
CUBE = (6, 35, 4)


def _special(name: str) -> Callable[..., Any]:
    return lambda L, *x: getattr(L.special, name)(*x)


def _functional(name: str, *more: Any) -> Callable[..., Any]:
    return lambda L, *x: getattr(L.nn.functional, name)(*x, *more)


def _log_ndtr(x: Array) -> Array:
    return special.log_ndtr(x)


def _mish(x: Array) -> Array:
    return x * np.tanh(np.logaddexp(0, x))


def _spherical(x: Array) -> Array:
    return np.where(np.isinf(x), 0.0, np.sin(x) / np.where(x == 0, 1, x) + (x == 0))


def _gradient(name: str, *more: Any) -> Callable[..., Any]:
    def call(L: Any, x: Any) -> Any:
        x = x.detach().requires_grad_()
        y = getattr(L.nn.functional, name)(x, *more)
        return L.autograd.grad(y, x, L.ones_like(y))[0]

    return call


_MODERATE = {"edges": False, "dtypes": WIDE}


def _i0(x):
    """Modified Bessel function of order 0. SciPy's is up to 5 units in the last place off near 7; a
    sum of positive terms in long doubles is not."""
    x = np.asarray(x, np.float64)
    near = np.abs(x) < 30
    quarter = (np.where(near, x, 0).astype(np.longdouble) / 2) ** 2
    term = total = np.ones_like(quarter)
    for k in range(1, 80):
        term = term * quarter / (k * k)
        total = total + term
    return np.where(near, total.astype(np.float64), special.i0(x))


UNARY = [
    unary("sinc", floating(np.sinc), "moderate", 4, magnitude=lambda x: 8 + 0 * np.abs(x), edges=False),
    unary("i0", floating(_i0), "moderate", 4, **_MODERATE),
    *(
        unary(f"special_{name}", floating(f), domain, 16, ops=(f"special_{name}",), call=_special(name), **_MODERATE)
        for name, f, domain in (
            ("i0e", special.i0e, "real"), ("i1", special.i1, "moderate"), ("i1e", special.i1e, "real"),
            ("ndtri", special.ndtri, "probability"), ("entr", special.entr, "positive"),
            ("modified_bessel_k0", special.k0, "positive"), ("modified_bessel_k1", special.k1, "positive"),
            ("scaled_modified_bessel_k0", special.k0e, "positive"),
            ("scaled_modified_bessel_k1", special.k1e, "positive"),
            ("spherical_bessel_j0", _spherical, "moderate"),
        )
    ),
    *(
        unary(f"special_{name}", floating(f), domain, 16, ops=(f"special_{name}",), call=_special(name),
              magnitude=lambda x: 16 + 0 * np.abs(x), **_MODERATE)
        for name, f, domain in (
            ("bessel_j0", special.j0, "angle"), ("bessel_j1", special.j1, "angle"),
            ("bessel_y0", special.y0, "positive"), ("bessel_y1", special.y1, "positive"),
        )
    ),
    unary("special_erfcx", floating(special.erfcx), "exponent", 16, ops=("special_erfcx",), call=_special("erfcx"), **_MODERATE),
    unary("special_airy_ai", floating(lambda x: special.airy(x)[0]), "moderate", 1e6, ops=("mul",), call=_special("airy_ai"), magnitude=lambda x: 1e5 + 0 * x, edges=False, dtypes=("f64",)),
    unary("special_ndtr", floating(special.ndtr), "exponent", 200, ops=("special_ndtr",), call=_special("ndtr"), **_MODERATE),
    unary("special_log_ndtr", floating(_log_ndtr), "moderate", 200, ops=("special_log_ndtr",), call=_special("log_ndtr"), **_MODERATE),
    *(
        unary(f"polygamma[{n}]", floating(lambda x, n=n: special.polygamma(n, x)), "positive", 64, ops=("polygamma",),
              call=lambda L, x, n=n: L.polygamma(n, x), **_MODERATE)
        for n in (1, 2, 3)
    ),
    unary("log_sigmoid", floating(lambda x: -np.logaddexp(0, -x)), "real", 4, call=_functional("logsigmoid"), edges=False, dtypes=FLOATS),
    unary("hardsigmoid", floating(lambda x: np.clip(x + 3, 0, 6) / 6), "real", 1, call=_functional("hardsigmoid"), magnitude=lambda x: 1 + 0 * x, edges=False, dtypes=FLOATS),
    unary("hardswish", floating(lambda x: x * np.clip(x + 3, 0, 6) / 6), "real", 2, call=_functional("hardswish"), magnitude=lambda x: 2 * np.abs(x), edges=False, dtypes=FLOATS),
    unary("mish", floating(_mish), "real", 8, call=_functional("mish"), edges=False, dtypes=FLOATS),
    unary("selu", floating(lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x))), "real", 4, call=_functional("selu"), edges=False, dtypes=FLOATS),
    unary("celu", floating(lambda x: np.where(x > 0, x, 1.5 * np.expm1(x / 1.5))), "real", 4, call=_functional("celu", 1.5), edges=False, dtypes=FLOATS),
    unary("softshrink", floating(lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.75, 0)), "real", 1, call=_functional("softshrink", 0.75), edges=False, dtypes=FLOATS),
    unary("hardshrink", floating(lambda x: np.where(np.abs(x) <= 0.75, 0, x)), "real", 0, call=_functional("hardshrink", 0.75), edges=False, dtypes=FLOATS),
    unary("threshold", lambda x: np.where(x <= 1, np.asarray(7).astype(x.dtype), x), "real", 0, call=_functional("threshold", 1, 7), edges=False, dtypes=(*FLOATS, *INTEGERS)),
    unary("nan_to_num", lambda x: x if x.dtype.kind != "f" else np.nan_to_num(x, nan=2.0, posinf=5.0, neginf=-6.0), "any", 0, call=lambda L, x: L.nan_to_num(x, 2.0, 5.0, -6.0)),
    unary("isposinf", np.isposinf, "any"),
    unary("isneginf", np.isneginf, "any"),
    unary("conj", lambda x: x, "any", call=lambda L, x: L.conj(x) + 0, ops=("add",), edges=False),
    unary("angle", lambda x: np.where(np.isnan(x * 1.0), np.nan, np.where(x < 0, np.pi, 0.0)) if x.dtype.kind != "b" else x * 0.0, "real", 1, edges=False, dtypes=("f32", "f64", "i64", "i32", "bool")),
    unary("log_sigmoid_backward", floating(lambda x: special.expit(-x)), "real", 8, ops=("log_sigmoid_backward",), call=_gradient("logsigmoid"), edges=False, dtypes=WIDE),
    unary("hardsigmoid_backward", floating(lambda x: np.where(np.abs(x) < 3, 1 / 6, 0)), "real", 1, ops=("hardsigmoid_backward",), call=_gradient("hardsigmoid"), edges=False, dtypes=WIDE),
    unary("hardswish_backward", floating(lambda x: np.where(x <= -3, 0, np.where(x < 3, x / 3 + 0.5, 1))), "real", 2, ops=("hardswish_backward",), call=_gradient("hardswish"), magnitude=lambda x: 2 + 0 * np.abs(x), edges=False, dtypes=WIDE),
    unary("mish_backward", floating(lambda x: np.tanh(np.logaddexp(0, x)) + x * special.expit(x) * (1 - np.tanh(np.logaddexp(0, x)) ** 2)), "real", 8, ops=("mish_backward",), call=_gradient("mish"), magnitude=lambda x: 4 + np.abs(x), edges=False, dtypes=WIDE),
]  # fmt: skip


def _xlogy(x: Array, y: Array) -> Array:
    return np.where(np.isnan(y), np.nan, special.xlogy(x, y))


BINARY = [
    binary("logaddexp", floating(np.logaddexp), ulps=8, magnitude=lambda x, y: 4 + np.abs(x) + np.abs(y), edges=False, dtypes=FLOATS),
    binary("logaddexp2", floating(np.logaddexp2), ulps=8, magnitude=lambda x, y: 4 + np.abs(x) + np.abs(y), edges=False, dtypes=FLOATS),
    binary("xlogy", floating(_xlogy), ("real", "positive"), 4, edges=False),
    binary("special_xlog1py", floating(special.xlog1py), ("real", "positive"), 4, ops=("special_xlog1py",), call=_special("xlog1py"), edges=False),
    binary("heaviside", lambda x, y: np.where(x == 0, y, (x > 0).astype(y.dtype)), ("counts", "real"), 0),
    binary("gcd", np.gcd, ("counts", "real"), 0, edges=False, dtypes=("i64", "i32", "i16", "i8", "u8")),
    binary("lcm", np.lcm, ("counts", "real"), 0, edges=False, dtypes=("i64", "i32", "i16", "i8", "u8")),
    binary("special_zeta", floating(special.zeta), ("above_one", "positive"), 64, ops=("special_zeta",), call=_special("zeta"), edges=False, dtypes=WIDE),
    binary("igamma", floating(special.gammainc), ("positive", "positive"), 300, magnitude=lambda x, y: 300 + 0 * x, edges=False, dtypes=WIDE),
    binary("igammac", floating(special.gammaincc), ("positive", "positive"), 300, magnitude=lambda x, y: 300 + 0 * x, edges=False, dtypes=WIDE),
    binary("float_power", quiet(lambda x, y: np.power(x.astype(np.float64), y.astype(np.float64))), ("positive", "exponent"), 2, ops=("pow",), edges=False),
    binary("ldexp", floating(lambda x, y: np.ldexp(x, np.int64(y))), ("real", "counts"), 1, ops=("mul",), call=lambda L, x, y: L.ldexp(x, y), edges=False, dtypes=("f32", "f64")),
]  # fmt: skip


def _along(
    name: str,
    op: str,
    call: Callable[..., Any],
    reference: Callable[..., Any],
    *args: Arg,
    **more: Any,
) -> Case:
    return Case(name, (op,), call, quiet(reference), args or (Arg(CUBE, "counts"),), **more)


def _running(f: Any, axis: int) -> Callable[[Array], tuple[Array, Array]]:
    def reference(x: Array) -> tuple[Array, Array]:
        values = f.accumulate(x, axis=axis)
        shape = [1] * x.ndim
        shape[axis] = -1
        place = np.where(x == values, np.arange(x.shape[axis]).reshape(shape), 0)
        return values, np.maximum.accumulate(place, axis=axis)

    return reference


def _kth(k: int, axis: int) -> Callable[[Array], tuple[Array, Array]]:
    def reference(x: Array) -> tuple[Array, Array]:
        order = np.argsort(x, axis=axis, kind="stable")
        at = np.take(order, [k - 1], axis)
        return np.take_along_axis(x, at, axis).squeeze(axis), at.squeeze(axis)

    return reference


def _reduced(mode: str, axis: int, include: bool) -> Callable[..., Array]:
    at = {
        "sum": np.add,
        "prod": np.multiply,
        "amax": np.maximum,
        "amin": np.minimum,
        "mean": np.add,
    }[mode]
    start = {"sum": 0, "prod": 1, "mean": 0}

    def reference(x: Array, index: Array, source: Array) -> Array:
        out = x.copy()
        places = list(np.indices(index.shape))
        places[axis] = index
        where = tuple(places)
        if not include:
            if mode in start:
                out[where] = start[mode]
            else:
                limits = np.iinfo(x.dtype) if x.dtype.kind in "iu" else None
                low = limits.min if limits else -np.inf
                high = limits.max if limits else np.inf
                out[where] = low if mode == "amax" else high
        at.at(out, where, source[tuple(slice(n) for n in index.shape)])
        if mode == "mean":
            count = np.ones(x.shape, np.int64)
            if not include:
                count[where] = 0
            np.add.at(count, where, 1)
            count = np.maximum(count, 1)
            out = out // count if x.dtype.kind in "iu" else out / count
        return out

    return reference


def _reduction(mode: str, include: bool) -> Case:
    op = "scatter_add" if mode in ("sum", "mean") else "scatter_reduce"
    return _along(
        f"scatter_reduce[{mode} {include}]", op,
        lambda L, x, i, s: L.scatter_reduce(x, 0, i, s, mode, include_self=include),
        _reduced(mode, 0, include), Arg((7, 9), "counts"), Arg((5, 8), "index:7", "i64"), Arg((6, 9), "counts"),
        ulps=4, magnitude=lambda x, i, s: 4000.0 if mode == "prod" else 64.0,
        dtypes=("f32", "f64", "i64", "i32"),
    )  # fmt: skip


def _index_reduction(mode: str) -> Case:
    def reference(x: Array, index: Array, source: Array) -> Array:
        out = x.copy()
        at = {"prod": np.multiply, "amax": np.maximum, "amin": np.minimum}[mode]
        at.at(out, index, source)
        return out

    return _along(
        f"index_reduce[{mode}]", "index_reduce", lambda L, x, i, s: L.index_reduce(x, 0, i, s, mode), reference,
        Arg((7, 9), "counts"), Arg((5,), "index:7", "i64"), Arg((5, 9), "counts"), ulps=4,
        magnitude=lambda x, i, s: 4000.0 if mode == "prod" else 1.0, dtypes=("f32", "f64", "i64", "i32"),
    )  # fmt: skip


def _log_running(x: Array) -> Array:
    return np.logaddexp.accumulate(x, axis=1)


def _search(right: bool) -> Callable[[Array, Array], Array]:
    def reference(rows: Array, values: Array) -> Array:
        side = "right" if right else "left"
        return np.stack(
            [np.searchsorted(np.sort(r), v, side) for r, v in zip(rows, values, strict=True)]
        )

    return reference


ORDER = [
    *(_along(f"cummax[{a}]", "cummax", lambda L, x, a=a: L.cummax(x, a), _running(np.maximum, a)) for a in (0, 1, 2)),
    *(_along(f"cummin[{a}]", "cummin", lambda L, x, a=a: L.cummin(x, a), _running(np.minimum, a)) for a in (0, 1)),
    _along("logcumsumexp", "logcumsumexp", lambda L, x: L.logcumsumexp(x, 1), _log_running, Arg(CUBE), ulps=8, half_ulps=2, magnitude=lambda x: 16 + 0 * np.abs(x), dtypes=FLOATS),
    *(
        _along(f"kthvalue[{k} {a}]", "kthvalue", lambda L, x, k=k, a=a: L.kthvalue(x, k, a), _kth(k, a), Arg((6, 35), "distinct"), dtypes=("f32", "f64", "i64", "i32"))
        for k, a in ((1, 0), (5, 1), (20, -1))
    ),
    _along("topk[half]", "topk", lambda L, x: L.topk(x, 20, dim=1), lambda x: tuple(f[:, ::-1][:, :20] for f in (np.sort(x, 1), np.argsort(x, 1))), Arg((6, 35), "distinct"), dtypes=("f32", "f64", "i64", "i32")),
    *(_along(f"searchsorted[{r}]", "searchsorted", lambda L, s, v, r=r: L.searchsorted(L.sort(s, 1)[0], v, right=r), _search(r), Arg((4, 21), "counts"), Arg((4, 9), "counts"), dtypes=("f32", "f64", "i64", "i32", "u8")) for r in (False, True)),
    *(_reduction(m, i) for m in ("sum", "prod", "amax", "amin", "mean") for i in (True, False)),
    *(_index_reduction(m) for m in ("prod", "amax", "amin")),
]  # fmt: skip

CASES = [*UNARY, *BINARY, *ORDER]
