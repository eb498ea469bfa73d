"""Parity rows of the reductions, the composites over axes, scans and sorts."""

# ruff: noqa: E501 (one row of a table, one line)
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from oracle.case import Arg, Case, floating, quiet
from oracle.library import Array

CUBE = (6, 35, 11)
LONG = (3, 2600)
Reference = Callable[..., Any]

# label, PyTorch's arguments, NumPy's axis, keepdims
AXES: list[tuple[str, dict[str, Any], Any, bool]] = [
    ("all", {}, None, False),
    ("0", {"dim": 0}, 0, False),
    ("1", {"dim": 1}, 1, False),
    ("-1 keep", {"dim": -1, "keepdim": True}, -1, True),
    ("0,2", {"dim": (0, 2)}, (0, 2), False),
    ("1,2 keep", {"dim": (1, 2), "keepdim": True}, (1, 2), True),
]


def fold(
    name: str,
    reference: Callable[[Array, Any, bool], Any],
    domain: str = "real",
    *,
    op: str | None = None,
    labels: tuple[str, ...] | None = None,
    magnitude: Callable[[Array, Any, bool], Any] | None = None,
    **more: Any,
) -> list[Case]:
    """One case for each choice of axes, and one over long rows and over empty ones."""
    cases = []
    shapes = [(CUBE, a) for a in AXES] + [
        (LONG, ("long rows", {"dim": 1}, 1, False)),
        (LONG, ("long columns", {"dim": 0}, 0, False)),
        ((1, 40000), ("longest", {"dim": 1}, 1, False)),
    ]
    if more.pop("of_nothing", True):
        shapes.append(((4, 0), ("nothing", {"dim": 1}, 1, False)))
        shapes.append(((), ("0-dim", {}, None, False)))
    for shape, (label, args, axis, keep) in shapes:
        if labels is not None and label not in labels:
            continue
        cases.append(
            Case(
                f"{name}[{label}]",
                (op or name,),
                lambda L, x, args=args: getattr(L, name)(x, **args),
                quiet(lambda x, axis=axis, keep=keep: reference(x, axis, keep)),
                (Arg(shape, domain),),
                magnitude=None
                if magnitude is None
                else lambda x, axis=axis, keep=keep: magnitude(x, axis, keep),
                **more,
            )
        )
    return cases


def _sum(x: Array, axis: Any, keep: bool) -> Array:
    return np.sum(x, axis=axis, keepdims=keep)


def _abs_sum(x: Array, axis: Any, keep: bool) -> Array:
    count = x.size if axis is None else np.prod(np.take(x.shape, axis))
    return np.sqrt(count + 16.0) * np.sqrt(np.sum(np.square(x * 1.0), axis=axis, keepdims=keep))


def _mean(x: Array, axis: Any, keep: bool) -> Array:
    return (
        np.mean(x, axis=axis, keepdims=keep)
        if x.size
        else np.full(_sum(x, axis, keep).shape, np.nan)
    )


def _mean_abs(x: Array, axis: Any, keep: bool) -> Array:
    return _abs_sum(x, axis, keep) / max(1, x.size / max(1, _sum(x, axis, keep).size))


def _prod(x: Array, axis: Any, keep: bool) -> Array:
    return np.prod(x if x.dtype.kind == "f" else x.astype(np.int64), axis=axis, keepdims=keep)


def _var(x: Array, axis: Any, keep: bool) -> Array:
    return np.var(x, axis=axis, keepdims=keep, ddof=1)


def _argmax(x: Array, axis: Any, keep: bool) -> Array:
    return np.argmax(x, axis=axis, keepdims=keep)


def _argmin(x: Array, axis: Any, keep: bool) -> Array:
    return np.argmin(x, axis=axis, keepdims=keep)


def _logsumexp(x: Array, axis: Any, keep: bool) -> Array:
    return special.logsumexp(x, axis=axis, keepdims=keep)


ONE_DIM = ("all", "0", "1", "-1 keep", "long rows", "long columns", "longest")
SOME_DIMS = ("0", "1", "-1 keep", "0,2", "1,2 keep", "long rows", "long columns", "longest")

FOLDS = [
    *fold("sum", _sum, magnitude=_abs_sum, half_ulps=1),
    *fold("prod", _prod, "near_one", labels=ONE_DIM[1:5], magnitude=lambda x, a, k: 40 * np.abs(_prod(x, a, k)), half_ulps=1),
    *fold("amax", lambda x, a, k: np.max(x, axis=a, keepdims=k), "any", of_nothing=False),
    *fold("amin", lambda x, a, k: np.min(x, axis=a, keepdims=k), "any", of_nothing=False),
    *fold("any", lambda x, a, k: np.any(x, axis=a, keepdims=k), "counts"),
    *fold("all", lambda x, a, k: np.all(x, axis=a, keepdims=k), "counts"),
    *fold("argmax", _argmax, "counts", labels=ONE_DIM),
    *fold("argmin", _argmin, "counts", labels=ONE_DIM),
    *fold("mean", _mean, magnitude=_mean_abs, half_ulps=1),
    *fold("var", _var, ulps=8, magnitude=lambda x, a, k: 40 * _var(x, a, k) + 1e-6 * _mean(x * x, a, k), half_ulps=1, of_nothing=False),
    *fold("std", lambda x, a, k: np.sqrt(_var(x, a, k)), op="var", ulps=8, magnitude=lambda x, a, k: 40 * np.sqrt(_var(x, a, k)) + 4 * _mean(np.abs(x), a, k), half_ulps=2, of_nothing=False),
    *fold("logsumexp", _logsumexp, ulps=2, labels=SOME_DIMS, magnitude=lambda x, a, k: 8 + np.abs(_logsumexp(x * 1.0, a, k)), half_ulps=1),
]  # fmt: skip


def _over(
    name: str,
    op: str,
    call: Callable[..., Any],
    reference: Reference,
    shape: tuple[int, ...],
    **more: Any,
) -> Case:
    domain = more.pop("domain", "real")
    return Case(name, (op,), call, quiet(reference), (Arg(shape, domain),), **more)


def _softmax(axis: int) -> Reference:
    return floating(lambda x: special.softmax(x, axis))


def _softmax_scale(axis: int) -> Reference:
    """e^d has a relative error of |d| eps from the rounding of d alone."""
    return lambda x: special.softmax(x, axis) * (8 + 2 * (np.max(x, axis, keepdims=True) - x))


def _log_softmax(axis: int) -> Reference:
    return floating(lambda x: special.log_softmax(x, axis))


def _norm(p: float, axis: Any) -> Reference:
    def reference(x: Array) -> Array:
        a = np.abs(x)
        if p == np.inf:
            return np.max(a, axis=axis)
        if p == -np.inf:
            return np.min(a, axis=axis)
        if p == 0:
            return np.sum(a != 0, axis=axis) * 1.0
        return np.sum(a**p, axis=axis) ** (1 / p)

    return reference


FLOATS = ("f32", "f64", "f16", "bf16")
SOFTMAXES = [
    *(
        _over(f"softmax[{a}]", "softmax", lambda L, x, a=a: L.softmax(x, a), _softmax(a), CUBE, ulps=4, magnitude=_softmax_scale(a), half_ulps=1)
        for a in (0, 1, -1)
    ),
    _over("softmax[long]", "softmax", lambda L, x: L.softmax(x, 1), _softmax(1), LONG, ulps=4, magnitude=_softmax_scale(1), half_ulps=1),
    _over("softmax[dtype]", "softmax", lambda L, x: L.softmax(x, 1, dtype=L.float32), _softmax(1), (5, 7), ulps=4, magnitude=_softmax_scale(1), half_ulps=1, dtypes=("f16", "bf16", "f32", "i64")),
    *(
        _over(f"log_softmax[{a}]", "log_softmax", lambda L, x, a=a: L.log_softmax(x, a), _log_softmax(a), CUBE, ulps=4, magnitude=lambda x: 8 + np.abs(x), half_ulps=1)
        for a in (0, -1)
    ),
    _over("log_softmax[long]", "log_softmax", lambda L, x: L.log_softmax(x, 1), _log_softmax(1), LONG, ulps=4, magnitude=lambda x: 16 + np.abs(x), half_ulps=1),
    *(
        _over(f"norm[{p} {d}]", "sum", lambda L, x, p=p, d=d: L.norm(x, p, d) if d is not None else L.norm(x, p), _norm(p, d), CUBE, ulps=8, magnitude=lambda x, p=p, d=d: 16 * _norm(p, d)(x), half_ulps=2, dtypes=FLOATS)
        for p, d in ((2, None), (2, 1), (1, 0), (np.inf, 2), (-np.inf, 1), (0, 1), (3, -1))
    ),
]  # fmt: skip


def _backward_softmax(log: bool) -> Case:
    def call(L: Any, x: Any, g: Any) -> Any:
        x = x.detach().requires_grad_()
        y = L.log_softmax(x, 1) if log else L.softmax(x, 1)
        return L.autograd.grad(y, x, g)[0]

    def reference(x: Array, g: Array) -> Array:
        s = special.softmax(x, 1)
        return g - s * g.sum(1, keepdims=True) if log else s * (g - (g * s).sum(1, keepdims=True))

    name = "log_softmax_backward" if log else "softmax_backward"
    scale = lambda x, g: 64 + 8 * np.abs(g).sum(1, keepdims=True) + 0 * g  # noqa: E731
    return Case(name, (name,), call, reference, (Arg(CUBE), Arg(CUBE)), ulps=8, saves_results=True, magnitude=scale, half_ulps=8, dtypes=FLOATS)  # fmt: skip


def _layer_norm(x: Array, w: Array, b: Array) -> Array:
    d = x - x.mean(-1, keepdims=True)
    return d / np.sqrt((d * d).mean(-1, keepdims=True) + 1e-5) * w + b


def _layer_norm_slope(x: Array, w: Array, g: Array) -> tuple[Array, Array, Array]:
    d = x - x.mean(-1, keepdims=True)
    r = 1 / np.sqrt((d * d).mean(-1, keepdims=True) + 1e-5)
    h, gw = d * r, g * w
    dx = (gw - gw.mean(-1, keepdims=True) - h * (gw * h).mean(-1, keepdims=True)) * r
    return dx, (g * h).sum(0), g.sum(0)


def _layer_norm_grads(L: Any, x: Any, w: Any, g: Any) -> Any:
    x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
    b = L.zeros_like(w).requires_grad_()
    y = L.nn.functional.layer_norm(x, (x.shape[-1],), w, b)
    return L.autograd.grad(y, (x, w, b), g)


def _classes(x: Array, y: Array, rows: Array | None = None) -> Array:
    log = special.log_softmax(x, 1)
    return -np.take_along_axis(log, y[:, None], 1)[:, 0]


def _cross_entropy_slope(x: Array, y: Array) -> Array:
    s = special.softmax(x, 1)
    np.put_along_axis(s, y[:, None], np.take_along_axis(s, y[:, None], 1) - 1, 1)
    return s / len(x)


def _cross_entropy_grad(L: Any, x: Any, y: Any) -> Any:
    x = x.detach().requires_grad_()
    return L.autograd.grad(L.nn.functional.cross_entropy(x, y), x)[0]


def _cross_entropy_ignoring(x: Array, y: Array) -> Array:
    rows = _classes(x, y)
    return rows[y != 2].mean()


NORMS = [
    _backward_softmax(False),
    _backward_softmax(True),
    Case("layer_norm", ("layer_norm",), lambda L, x, w, b: L.nn.functional.layer_norm(x, (48,), w, b), _layer_norm,
         (Arg((9, 48)), Arg((48,)), Arg((48,))), ulps=8, magnitude=lambda x, w, b: 32 + 8 * np.abs(w) + 4 * np.abs(b), half_ulps=2, dtypes=FLOATS),
    Case("layer_norm[2 axes]", ("layer_norm",), lambda L, x: L.nn.functional.layer_norm(x, (6, 8)),
         lambda x: _layer_norm(x.reshape(5, 48), np.ones(48), np.zeros(48)).reshape(5, 6, 8), (Arg((5, 6, 8)),), ulps=8, magnitude=lambda x: 32 + 0 * x, half_ulps=2, dtypes=FLOATS),
    Case("layer_norm_backward", ("layer_norm_backward",), _layer_norm_grads, _layer_norm_slope,
         (Arg((9, 48)), Arg((48,)), Arg((9, 48))), ulps=64, magnitude=lambda x, w, g: 2000.0, half_ulps=8, dtypes=("f32", "f64")),
    Case("cross_entropy[none]", ("cross_entropy",), lambda L, x, y: L.nn.functional.cross_entropy(x, y, reduction="none"), _classes,
         (Arg((37, 11)), Arg((37,), "index:11", "i64")), ulps=4, magnitude=lambda x, y: 64.0, half_ulps=1, dtypes=FLOATS),
    Case("cross_entropy[mean]", ("cross_entropy",), lambda L, x, y: L.nn.functional.cross_entropy(x, y), lambda x, y: _classes(x, y).mean(),
         (Arg((37, 11)), Arg((37,), "index:11", "i64")), ulps=8, magnitude=lambda x, y: 64.0, half_ulps=2, dtypes=FLOATS),
    Case("cross_entropy[ignore]", ("cross_entropy",), lambda L, x, y: L.nn.functional.cross_entropy(x, y, ignore_index=2), _cross_entropy_ignoring,
         (Arg((37, 11)), Arg((37,), "index:11", "i64")), ulps=8, magnitude=lambda x, y: 64.0, half_ulps=2, dtypes=FLOATS),
    Case("cross_entropy_backward", ("cross_entropy_backward",), _cross_entropy_grad, _cross_entropy_slope,
         (Arg((37, 11)), Arg((37,), "index:11", "i64")), ulps=8, magnitude=lambda x, y: 1.0, half_ulps=4, dtypes=FLOATS),
    Case("nll_loss", ("gather",), lambda L, x, y: L.nn.functional.nll_loss(x, y), lambda x, y: -np.take_along_axis(x, y[:, None], 1).mean(),
         (Arg((37, 11)), Arg((37,), "index:11", "i64")), ulps=8, magnitude=lambda x, y: 16.0, half_ulps=2, dtypes=FLOATS),
    Case("mse_loss", ("square", "mean"), lambda L, x, y: L.nn.functional.mse_loss(x, y), lambda x, y: np.mean((x - y) ** 2),
         (Arg((37, 11)), Arg((37, 11))), ulps=8, magnitude=lambda x, y: 256.0, half_ulps=8, dtypes=("f32", "f64")),
    Case("l1_loss", ("abs", "mean"), lambda L, x, y: L.nn.functional.l1_loss(x, y), lambda x, y: np.mean(np.abs(x - y)),
         (Arg((37, 11)), Arg((37, 11))), ulps=8, magnitude=lambda x, y: 64.0, half_ulps=8, dtypes=("f32", "f64")),
]  # fmt: skip


def _scan(name: str, f: Any, axis: int, domain: str, scale: Callable[[Array], Array]) -> Case:
    def reference(x: Array) -> Array:
        return f(x if x.dtype.kind == "f" else x.astype(np.int64), axis=axis)

    return _over(f"{name}[{axis}]", name, lambda L, x: getattr(L, name)(x, axis), reference, CUBE,
                 domain=domain, magnitude=scale, half_ulps=4)  # fmt: skip


def _sorted(axis: int, descending: bool) -> Reference:
    def reference(x: Array) -> tuple[Array, Array]:
        keyed = x.astype(np.int64) if x.dtype.kind == "b" else x
        order = np.argsort(-keyed if descending else keyed, axis=axis, kind="stable")
        return np.take_along_axis(x, order, axis), order

    return reference


def _top(k: int, axis: int, largest: bool) -> Reference:
    def reference(x: Array) -> tuple[Array, Array]:
        values, order = _sorted(axis, largest)(x)
        return np.take(values, range(k), axis), np.take(order, range(k), axis)

    return reference


def _extreme(name: str) -> Reference:
    pick = np.argmax if name == "max" else np.argmin
    value = np.max if name == "max" else np.min
    return lambda x: (value(x, 1), pick(x, 1))


DISTINCT = ("f32", "f64", "i64", "i32", "i16", "f16")  # dtypes with enough values
SCANS = [
    *(_scan("cumsum", np.cumsum, a, "real", lambda x, a=a: 4 * np.cumsum(np.abs(x), a)) for a in (0, 1, 2)),
    *(_scan("cumprod", np.cumprod, a, "near_one", lambda x, a=a: 64 * np.abs(np.cumprod(x * 1.0, a))) for a in (0, 1)),
    *(
        _over(f"sort[{a} {d}]", "sort", lambda L, x, a=a, d=d: L.sort(x, dim=a, descending=d, stable=True), _sorted(a, d), CUBE, domain="counts")
        for a, d in ((0, False), (1, True), (-1, False), (-1, True))
    ),
    _over("sort[long]", "sort", lambda L, x: L.sort(x, dim=1, stable=True), _sorted(1, False), LONG, domain="counts"),
    _over("argsort", "sort", lambda L, x: L.argsort(x, dim=1, stable=True), lambda x: _sorted(1, False)(x)[1], CUBE, domain="counts"),
    _over("topk", "topk", lambda L, x: L.topk(x, 3, dim=1), _top(3, 1, True), (6, 35, 4), domain="distinct", dtypes=DISTINCT, layouts=("contiguous", "transposed", "sliced", "offset")),
    _over("topk[smallest]", "topk", lambda L, x: L.topk(x, 2, dim=0, largest=False), _top(2, 0, False), (6, 8), domain="distinct", dtypes=DISTINCT, layouts=("contiguous", "transposed", "sliced", "offset")),
    _over("max[1]", "argmax", lambda L, x: L.max(x, 1), _extreme("max"), CUBE, domain="counts"),
    _over("min[1]", "argmin", lambda L, x: L.min(x, 1), _extreme("min"), CUBE, domain="counts"),
    _over("max[all]", "amax", lambda L, x: L.max(x), np.max, CUBE, domain="any"),
    _over("min[all]", "amin", lambda L, x: L.min(x), np.min, CUBE, domain="any"),
]  # fmt: skip

CASES = [*FOLDS, *SOFTMAXES, *NORMS, *SCANS]
