"""The row `ops` of bench/run: every op at a million elements beside PyTorch, the worst first.

A case is a function of (L, inputs); inputs are contiguous or transposed (the same numbers, lying
the other way round in memory). An op that one of the libraries lacks is listed, not measured.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import quicksilver as qs

SHAPE = (1000, 1000)
Op = Callable[..., Any]


def _named(name: str, *more: Any, **keywords: Any) -> Op:
    return lambda L, *inputs: getattr(L, name)(*inputs, *more, **keywords)


def _functional(name: str, *more: Any, **keywords: Any) -> Op:
    return lambda L, *inputs: getattr(L.nn.functional, name)(*inputs, *more, **keywords)


UNARY = [
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "ceil",
    "cos",
    "cosh",
    "deg2rad",
    "digamma",
    "erf",
    "erfc",
    "erfinv",
    "exp",
    "exp2",
    "expm1",
    "floor",
    "frac",
    "isfinite",
    "isinf",
    "isnan",
    "lgamma",
    "log",
    "log10",
    "log1p",
    "log2",
    "logical_not",
    "neg",
    "rad2deg",
    "reciprocal",
    "relu",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "signbit",
    "sin",
    "sinc",
    "sinh",
    "sqrt",
    "square",
    "tan",
    "tanh",
    "trunc",
    "i0",
    "nan_to_num",
    "clone",
    "bitwise_not",
]
BINARY = [
    "add",
    "sub",
    "mul",
    "div",
    "atan2",
    "copysign",
    "eq",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "ge",
    "gt",
    "hypot",
    "le",
    "logaddexp",
    "logical_and",
    "logical_or",
    "logical_xor",
    "lt",
    "maximum",
    "minimum",
    "ne",
    "nextafter",
    "pow",
    "remainder",
    "xlogy",
]
REDUCE = [
    "sum",
    "mean",
    "prod",
    "amax",
    "amin",
    "argmax",
    "argmin",
    "any",
    "all",
    "std",
    "var",
    "logsumexp",
    "cumsum",
    "cumprod",
    "cummax",
    "median",
    "nansum",
    "count_nonzero",
    "softmax",
    "log_softmax",
]
NEEDS_DIM = {
    "amax", "amin", "logsumexp", "cumsum", "cumprod", "cummax", "softmax", "log_softmax", "median",
}  # fmt: skip
ACTIVATIONS = [
    "celu",
    "elu",
    "gelu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "relu6",
    "selu",
    "silu",
    "softplus",
    "softshrink",
    "softsign",
    "tanhshrink",
]


def cases() -> dict[str, tuple[Op, str]]:
    """Name: (op, its inputs). Inputs: f float, p positive, u within (-1, 1), i int64 index of a
    row or column, b bool, n int32; one letter an operand."""
    found: dict[str, tuple[Op, str]] = {}
    narrow = {"acos", "asin", "atanh", "erfinv"}
    positive = {"sqrt", "rsqrt", "log", "log2", "log10", "log1p", "lgamma", "digamma", "acosh"}
    for name in UNARY:
        kind = "u" if name in narrow else "p" if name in positive else "f"
        found[name] = (_named(name), "n" if name == "bitwise_not" else kind)
    for name in BINARY:
        found[name] = (_named(name), "pf" if name in ("pow", "xlogy") else "fp")
    for name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
        found[name] = (_named(name), "nn")
    for name in REDUCE:
        if name not in NEEDS_DIM:
            found[f"{name}()"] = (_named(name), "f")
        for dim in (0, 1):
            if name not in ("any", "all"):
                found[f"{name} dim {dim}"] = (_named(name, dim), "f")
    for name in ACTIVATIONS:
        found[f"F.{name}"] = (_functional(name), "f")
    more: dict[str, tuple[Op, str]] = {
        "where": (_named("where"), "bff"),
        "lerp": (lambda L, x, y: L.lerp(x, y, 0.3), "ff"),
        "clamp": (_named("clamp", -0.5, 0.5), "f"),
        "addcmul": (_named("addcmul", value=0.5), "fff"),
        "addcdiv": (_named("addcdiv", value=0.5), "ffp"),
        "masked_fill": (lambda L, x, m: x.masked_fill(m, 0.0), "fb"),
        "add column": (lambda L, x, y: x + y[:, :1], "ff"),
        "add row": (lambda L, x, y: x + y[:1], "ff"),
        "add number": (lambda L, x: x + 1.5, "f"),
        "to float64": (lambda L, x: x.to(L.float64), "f"),
        "to float16": (lambda L, x: x.to(L.float16), "f"),
        "to bfloat16": (lambda L, x: x.to(L.bfloat16), "f"),
        "to int32": (lambda L, x: x.to(L.int32), "f"),
        "contiguous of t()": (lambda L, x: x.t().contiguous(), "f"),
        "cat 0": (lambda L, x, y: L.cat([x, y], 0), "ff"),
        "cat 1": (lambda L, x, y: L.cat([x, y], 1), "ff"),
        "stack": (lambda L, x, y: L.stack([x, y]), "ff"),
        "flip": (_named("flip", (0, 1)), "f"),
        "roll": (_named("roll", 3, 1), "f"),
        "tril": (_named("tril"), "f"),
        "diagonal copy": (lambda L, x: L.diagonal(x).clone(), "f"),
        "repeat": (lambda L, x: x.repeat(2, 1), "f"),
        "repeat_interleave": (_named("repeat_interleave", 2, 1), "f"),
        "index_select 0": (lambda L, x, i: L.index_select(x, 0, i[0]), "fi"),
        "index_select 1": (lambda L, x, i: L.index_select(x, 1, i[0]), "fi"),
        "x[i]": (lambda L, x, i: x[i[0]], "fi"),
        "x[i, j]": (lambda L, x, i, j: x[i, j], "fii"),
        "x[mask]": (lambda L, x, m: x[m], "fb"),
        "gather 0": (lambda L, x, i: L.gather(x, 0, i), "fi"),
        "gather 1": (lambda L, x, i: L.gather(x, 1, i), "fi"),
        "scatter 1": (lambda L, x, i, y: L.scatter(x, 1, i, y), "fif"),
        "scatter_add 0": (lambda L, x, i, y: L.scatter_add(x, 0, i, y), "fif"),
        "scatter_add 1": (lambda L, x, i, y: L.scatter_add(x, 1, i, y), "fif"),
        "index_add 0": (lambda L, x, i, y: L.index_add(x, 0, i[0], y), "fif"),
        "take_along_dim": (lambda L, x, i: L.take_along_dim(x, i, 1), "fi"),
        "nonzero": (_named("nonzero"), "b"),
        "sort 0": (lambda L, x: L.sort(x, 0), "f"),
        "sort 1": (lambda L, x: L.sort(x, 1), "f"),
        "sort one row": (lambda L, x: L.sort(x.reshape(-1)), "f"),
        "argsort": (_named("argsort", 1), "f"),
        "topk": (_named("topk", 10, 1), "f"),
        "cumsum one row": (lambda L, x: L.cumsum(x.reshape(-1), 0), "f"),
        "unique": (lambda L, i: L.unique(i), "i"),
        "bincount": (lambda L, i: L.bincount(i.reshape(-1)), "i"),
        "histc": (_named("histc", 100), "f"),
        "searchsorted": (lambda L, x, y: L.searchsorted(L.sort(y[0]).values, x), "ff"),
        "matmul": (_named("matmul"), "ff"),
        "norm": (lambda L, x: L.linalg.vector_norm(x), "f"),
        "layer_norm": (_functional("layer_norm", (1000,)), "f"),
        "mse_loss": (_functional("mse_loss"), "ff"),
        "smooth_l1_loss": (_functional("smooth_l1_loss"), "ff"),
        "cross_entropy": (lambda L, x, i: L.nn.functional.cross_entropy(x, i[0]), "fi"),
        "embedding": (lambda L, i, x: L.nn.functional.embedding(i[:10], x), "if"),
        "dropout": (_functional("dropout", 0.1), "f"),
        "rand": (lambda L, x: L.rand_like(x), "f"),
        "randn": (lambda L, x: L.randn_like(x), "f"),
        "randperm": (lambda L, x: L.randperm(1_000_000, device=x.device), "f"),
        "bernoulli": (lambda L, x: L.bernoulli(x), "P"),
        "x += y": (lambda L, x, y: x.add_(y), "ff"),
        "x.copy_(y.t())": (lambda L, x, y: x.copy_(y.t()), "ff"),
        "x[::2] = y[::2]": (lambda L, x, y: x[::2].copy_(y[::2]), "ff"),
    }
    return found | more


def inputs(L: Any, device: str, kinds: str, transposed: bool, dtype: str) -> list[Any]:
    rng = np.random.default_rng(0)
    tensors = []
    for kind in kinds:
        array: Any = rng.standard_normal(SHAPE).astype(dtype)
        if kind in "pP":
            array = np.abs(array) + (0.01 if kind == "p" else 0)
            array = np.minimum(array, 1) if kind == "P" else array + (kinds == "p")
        elif kind == "u":
            array = np.tanh(array) * 0.99
        elif kind == "i":
            array = rng.integers(0, 1000, SHAPE)
        elif kind == "n":
            array = rng.integers(-1000, 1000, SHAPE).astype(np.int32)
        elif kind == "b":
            array = array > 0
        array = np.ascontiguousarray(array.astype(dtype) if kind in "pPu" else array)
        tensor = L.tensor(array.T.copy() if transposed else array).to(device)
        tensors.append(tensor.t() if transposed else tensor)
    return tensors


def ops(bench: Any) -> list[Any]:
    """Prints its own table: microseconds of both, and how many times PyTorch's time ours takes."""
    if not bench.torch:
        print("ops: needs PyTorch to compare with")
        return []
    table: list[tuple[float, str, float, float]] = []
    lacking = []
    for name, (op, kinds) in cases().items():
        for layout in ("contiguous", "transposed"):
            try:
                ours = inputs(qs, "mps", kinds, layout == "transposed", "float32")
                theirs = inputs(bench.torch, "cpu", kinds, layout == "transposed", "float32")
                op(qs, *ours)
                qs.mps.synchronize()
                op(bench.torch, *theirs)
            except (AttributeError, NotImplementedError, RuntimeError, TypeError) as error:
                lacking.append(f"{name}: {type(error).__name__}: {str(error).splitlines()[0][:80]}")
                break
            a, b = _times(bench, op, ours, theirs)
            table.append((a / b, f"{name}, {layout}", a, b))
    table.sort(reverse=True)
    above = sum(ratio > 1.5 for ratio, *_ in table)
    print(
        f"ops: {len(table)} cases of {SHAPE} f32, {above} take more than 1.5 times PyTorch's time"
    )
    for ratio, name, a, b in table[: max(above + 10, 30)]:
        print(f"  {ratio:6.2f}  {name:<32} {a * 1e6:9.0f} us  PyTorch {b * 1e6:9.0f} us")
    print(f"  median ratio {statistics.median(r for r, *_ in table):.2f}")
    for line in lacking:
        print(f"  not measured: {line}")
    return []


def _times(bench: Any, op: Op, ours: list[Any], theirs: list[Any]) -> tuple[float, float]:
    """Median seconds of both, in turn."""
    a, b = [], []
    gc.collect()
    for i in range(bench.rounds + 2):
        start = time.perf_counter()
        held = op(qs, *ours)
        qs.mps.synchronize()
        middle = time.perf_counter()
        kept = op(bench.torch, *theirs)
        end = time.perf_counter()
        if i >= 2:
            a.append(middle - start)
            b.append(end - middle)
        del held, kept
    return statistics.median(a), statistics.median(b)
