"""What the row `ops` measures: one call a case, by the families of the op surface.

A case is a function of (L, inputs); L is either library. Inputs are named by letters, one an
operand (see `inputs`); each lies contiguous in memory or the other way round.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

Op = Callable[..., Any]
SQUARE = (1000, 1000)


class Case(NamedTuple):
    """One call. With `grad` it is the call and its gradient, from a gradient as large as it."""

    op: Op
    kinds: str
    shape: tuple[int, ...] = SQUARE
    dtype: str = "float32"
    grad: bool = False
    both: bool = True  # also with transposed inputs


def _named(name: str, *more: Any, **keywords: Any) -> Op:
    return lambda L, *inputs: getattr(L, name)(*inputs, *more, **keywords)


def _functional(name: str, *more: Any, **keywords: Any) -> Op:
    return lambda L, *inputs: getattr(L.nn.functional, name)(*inputs, *more, **keywords)


def _special(name: str, *more: Any) -> Op:
    return lambda L, *inputs: getattr(L.special, name)(*inputs, *more)


@functools.lru_cache(maxsize=32)
def _numbers(
    kind: str, place: int, shape: tuple[int, ...], dtype: str
) -> tuple[np.ndarray[Any, Any], str]:
    """One operand, and its dtype's name: NumPy has no bfloat16."""
    rng = np.random.default_rng(place)
    floating = dtype in ("float16", "bfloat16", "float32", "float64")
    name = dtype if floating else "float32"
    array: Any = rng.standard_normal(shape)
    if kind == "p":
        array = np.abs(array) + 0.01
    elif kind == "P":
        array = np.minimum(np.abs(array), 1)
    elif kind == "u":
        array = np.tanh(array) * 0.99
    elif kind == "i":
        array, name = rng.integers(0, 1000, shape), "int64"
    elif kind in "ns":
        low, high = (-1000, 1000) if kind == "n" else (1, 8)
        name = "int32" if floating else dtype
        array = rng.integers(low, high, shape)
    elif kind == "b":
        array, name = array > 0, "bool"
    return np.asarray(array, dtype="float32" if name == "bfloat16" else name), name


def inputs(L: Any, device: str, case: Case, transposed: bool) -> list[Any]:
    """The operands, by letter: f normal, p positive, u within (-1, 1), P probability, i index below
    1000, b bool, n int32 or the case's integer dtype, s the same but small and positive."""
    made = []
    for place, kind in enumerate(case.kinds):
        array, name = _numbers(kind, place, case.shape, case.dtype)
        tensor = L.from_numpy(np.array(array.T if transposed else array, order="C")).to(device)
        tensor = tensor.to(L.bfloat16) if name == "bfloat16" else tensor
        tensor = tensor.permute(*range(tensor.dim() - 1, -1, -1)) if transposed else tensor
        made.append(tensor)
    return made


UNARY = (
    "abs acos acosh asin asinh atan atanh ceil cos cosh deg2rad digamma erf erfc erfinv exp exp2 "
    "expm1 floor frac isfinite isinf isnan isposinf lgamma log log10 log1p log2 logical_not logit "
    "neg positive rad2deg reciprocal relu round rsqrt sigmoid sign sgn signbit sin sinc sinh sqrt "
    "square tan tanh trunc i0 nan_to_num clone bitwise_not angle zeros_like ones_like empty_like "
    "rand_like randn_like"
)
BINARY = (
    "add sub mul div atan2 copysign eq floor_divide fmax fmin fmod ge gt hypot le logaddexp "
    "logaddexp2 logical_and logical_or logical_xor lt maximum minimum ne nextafter pow remainder "
    "xlogy heaviside float_power ldexp isclose"
)
SPECIAL = "ndtr ndtri log_ndtr entr i0e i1 i1e erfcx bessel_j0 bessel_j1 log1p expit"
ACTIVATIONS = (
    "celu elu gelu hardshrink hardsigmoid hardswish hardtanh leaky_relu logsigmoid mish relu6 selu "
    "silu softplus softshrink softsign tanhshrink glu rrelu softmin"
)
# Over all, over columns (dim 0) and over rows (dim 1).
REDUCE = "sum mean prod argmax argmin any all std var nansum count_nonzero median nanmean aminmax"
REDUCE_DIM = (
    "amax amin max min logsumexp cumsum cumprod cummax cummin softmax log_softmax logcumsumexp "
    "mode nanmedian"
)


def _elementwise() -> Iterator[tuple[str, Case]]:
    narrow = {"acos", "asin", "atanh", "erfinv"}
    positive = {"sqrt", "rsqrt", "log", "log2", "log10", "log1p", "lgamma", "digamma", "acosh"}
    for name in UNARY.split():
        kind = "u" if name in narrow else "p" if name in positive else "f"
        kind = {"bitwise_not": "n", "logit": "P"}.get(name, kind)
        yield name, Case(_named(name), kind)
    for name in SPECIAL.split():
        yield f"special.{name}", Case(_special(name), "P" if name == "ndtri" else "f")
    yield "special.polygamma 1", Case(lambda L, x: L.special.polygamma(1, x), "p")
    yield "special.zeta", Case(lambda L, x: L.special.zeta(x + 1.5, 2.0), "p")
    yield "special.xlog1py", Case(_special("xlog1py"), "fp")
    for name in BINARY.split():
        yield name, Case(_named(name), "pf" if name in ("pow", "xlogy", "float_power") else "fp")
    for name in ["bitwise_and", "bitwise_or", "bitwise_xor", "gcd", "lcm"]:
        yield name, Case(_named(name), "nn")
    for name in ["bitwise_left_shift", "bitwise_right_shift"]:
        yield name, Case(_named(name), "ns")
    for name in ACTIVATIONS.split():
        more = {"glu": (1,), "softmin": (1,), "rrelu": (0.1, 0.3, True)}.get(name, ())
        yield f"F.{name}", Case(_functional(name, *more), "f")
    yield "F.threshold", Case(_functional("threshold", 0.1, 20.0), "f")
    yield "F.prelu", Case(lambda L, x, w: L.nn.functional.prelu(x, w[0, :1]), "ff")
    yield (
        "F.prelu channels",
        Case(lambda L, x, w: L.nn.functional.prelu(x, w[0].contiguous()), "ff"),
    )
    yield "where", Case(_named("where"), "bff")
    yield "where number", Case(lambda L, m, x: L.where(m, x, 0.0), "bf")
    yield "lerp", Case(lambda L, x, y: L.lerp(x, y, 0.3), "ff")
    yield "lerp tensor", Case(_named("lerp"), "ffu")
    yield "clamp", Case(_named("clamp", -0.5, 0.5), "f")
    yield "clamp tensors", Case(_named("clamp"), "fup")
    yield "addcmul", Case(_named("addcmul", value=0.5), "fff")
    yield "addcdiv", Case(_named("addcdiv", value=0.5), "ffp")
    yield "masked_fill", Case(lambda L, x, m: x.masked_fill(m, 0.0), "fb")
    yield "add column", Case(lambda L, x, y: x + y[:, :1], "ff")
    yield "add row", Case(lambda L, x, y: x + y[:1], "ff")
    yield "add number", Case(lambda L, x: x + 1.5, "f")
    yield "add alpha", Case(_named("add", alpha=0.5), "ff")
    yield "mul number", Case(lambda L, x: x * 1.5, "f")
    yield "number / x", Case(lambda L, x: 1.5 / x, "p")
    for number in (2, 3, 0.5, -1.5):
        yield f"x ** {number}", Case(lambda L, x, n=number: x**n, "p")
    yield "number ** x", Case(lambda L, x: 1.7**x, "f")
    yield "round decimals", Case(_named("round", decimals=2), "f")
    yield "x > 0", Case(lambda L, x: x > 0, "f")
    yield "isin", Case(lambda L, i, j: L.isin(i, j[0, :10]), "ii")
    for name in ("float64", "float16", "bfloat16", "int32", "int64", "uint8", "bool"):
        yield f"to {name}", Case(lambda L, x, n=name: x.to(getattr(L, n)), "p")
    for name in ["add_", "mul_", "copy_", "sub_", "div_"]:
        yield f"x.{name}(y)", Case(lambda L, x, y, n=name: getattr(x, n)(y), "fp")
    for name in ["zero_", "relu_", "sigmoid_", "abs_"]:
        yield f"x.{name}()", Case(lambda L, x, n=name: getattr(x, n)(), "f")
    yield "x.fill_(1)", Case(lambda L, x: x.fill_(1.0), "f")
    yield "x.clamp_", Case(lambda L, x: x.clamp_(-0.5, 0.5), "f")
    yield "x.masked_fill_", Case(lambda L, x, m: x.masked_fill_(m, 0.5), "fb")
    yield "add out=", Case(lambda L, x, y, o: L.add(x, y, out=o), "fff")


def _reductions() -> Iterator[tuple[str, Case]]:
    for name in REDUCE.split():
        more = {"aminmax": {"dim": 0}}
        yield f"{name}()", Case(_named(name), "f")
        for dim in (0, 1):
            if name in more:
                yield (
                    f"{name} dim {dim}",
                    Case(lambda L, x, n=name, d=dim: getattr(L, n)(x, dim=d), "f"),
                )
            else:
                yield f"{name} dim {dim}", Case(_named(name, dim), "f")
    for name in ("max", "min", "amax", "amin"):
        yield f"{name}()", Case(_named(name), "f")
    for name in REDUCE_DIM.split():
        for dim in (0, 1):
            yield f"{name} dim {dim}", Case(_named(name, dim), "f")
    for p in (1, 2, 3, float("inf")):
        yield f"norm {p}", Case(lambda L, x, p=p: L.linalg.vector_norm(x, p), "f")
    for dim in (0, 1):
        yield f"norm dim {dim}", Case(lambda L, x, d=dim: L.linalg.vector_norm(x, 2, d), "f")
    yield "var_mean", Case(_named("var_mean", 1), "f")
    yield "logsumexp all", Case(_named("logsumexp", (0, 1)), "f")
    yield "any bool", Case(_named("any", 1), "b")
    yield "sum bool", Case(_named("sum"), "b")
    yield "quantile", Case(lambda L, x: L.quantile(x, 0.3, 1), "f")
    yield "kthvalue", Case(_named("kthvalue", 100, 1), "f")
    yield "dist", Case(_named("dist"), "ff")
    yield "equal", Case(lambda L, x, y: L.equal(x, x), "ff")
    yield "allclose", Case(lambda L, x, y: L.allclose(x, x), "ff")
    # Few long rows, and one.
    for shape in ((2, 500_000), (1, 1_000_000), (8, 125_000)):
        for name in [
            "sum",
            "mean",
            "amax",
            "argmax",
            "var",
            "logsumexp",
            "softmax",
            "log_softmax",
            "cumsum",
            "prod",
            "any",
        ]:
            yield f"{name} of {shape[0]} rows", Case(_named(name, 1), "f", shape, both=False)
    for name in ["sum", "mean", "amax", "argmax", "var", "softmax", "cumsum"]:
        yield f"{name} of columns, 500000 x 2", Case(_named(name, 0), "f", (500_000, 2), both=False)
        yield f"{name} of pairs, 500000 x 2", Case(_named(name, 1), "f", (500_000, 2), both=False)
        yield f"{name} of middle", Case(_named(name, 1), "f", (50, 400, 50), both=False)
        yield f"{name} of tens", Case(_named(name, 1), "f", (100_000, 10), both=False)


def _moves() -> Iterator[tuple[str, Case]]:
    yield "contiguous of t()", Case(lambda L, x: x.t().contiguous(), "f")
    yield "cat 0", Case(lambda L, x, y: L.cat([x, y], 0), "ff")
    yield "cat 1", Case(lambda L, x, y: L.cat([x, y], 1), "ff")
    yield "cat of 10", Case(lambda L, x: L.cat([x] * 10, 0), "f", (100, 1000))
    yield "stack", Case(lambda L, x, y: L.stack([x, y]), "ff")
    yield "stack last", Case(lambda L, x, y: L.stack([x, y], -1), "ff")
    yield "flip", Case(_named("flip", (0, 1)), "f")
    yield "flip 1", Case(_named("flip", (1,)), "f")
    yield "roll", Case(_named("roll", 3, 1), "f")
    yield "rot90", Case(_named("rot90"), "f")
    yield "tril", Case(_named("tril"), "f")
    yield "triu", Case(_named("triu", 1), "f")
    yield "diag", Case(lambda L, x: L.diag(x[0]), "f")
    yield "diagonal copy", Case(lambda L, x: L.diagonal(x).clone(), "f")
    yield "repeat", Case(lambda L, x: x.repeat(2, 1), "f")
    yield "tile", Case(_named("tile", (1, 2)), "f")
    yield "expand copy", Case(lambda L, x: x[:1].expand(1000, 1000).clone(), "f")
    yield "repeat_interleave", Case(_named("repeat_interleave", 2, 1), "f")
    yield "repeat_interleave 0", Case(_named("repeat_interleave", 2, 0), "f")
    yield "permute copy", Case(lambda L, x: x.permute(2, 0, 1).contiguous(), "f", (100, 100, 100))
    yield (
        "swap middle copy",
        Case(lambda L, x: x.permute(0, 2, 1, 3).contiguous(), "f", (8, 128, 8, 128), both=False),
    )
    yield "pad", Case(_functional("pad", (1, 1, 1, 1)), "f")
    for mode in ("reflect", "replicate", "circular"):
        yield (
            f"pad {mode}",
            Case(_functional("pad", (2, 2, 2, 2), mode=mode), "f", (1, 1, 1000, 1000)),
        )
    yield "split and cat", Case(lambda L, x: L.cat(list(reversed(x.split(250, 1))), 1), "f")
    yield "unfold copy", Case(lambda L, x: x.unfold(1, 10, 10).sum(-1), "f")
    yield "pixel_shuffle", Case(_functional("pixel_shuffle", 2), "f", (4, 64, 64, 64), both=False)
    yield "x[::2] = y[::2]", Case(lambda L, x, y: x[::2].copy_(y[::2]), "ff")
    yield "x[:, ::2].clone()", Case(lambda L, x: x[:, ::2].clone(), "f")
    yield "x.copy_(y.t())", Case(lambda L, x, y: x.copy_(y.t()), "ff")


def _indexing() -> Iterator[tuple[str, Case]]:
    yield "index_select 0", Case(lambda L, x, i: L.index_select(x, 0, i[0]), "fi")
    yield "index_select 1", Case(lambda L, x, i: L.index_select(x, 1, i[0]), "fi")
    yield "x[i]", Case(lambda L, x, i: x[i[0]], "fi")
    yield "x[:, i]", Case(lambda L, x, i: x[:, i[0]], "fi")
    yield "x[i, j]", Case(lambda L, x, i, j: x[i, j], "fii")
    yield "x[i, j] few", Case(lambda L, x, i, j: x[i[0], j[0]], "fii")
    yield "x[mask]", Case(lambda L, x, m: x[m], "fb")
    yield "x[i] = y", Case(lambda L, x, i, y: x.__setitem__(i[0], y), "fif")
    yield "x[:, i] = y", Case(lambda L, x, i, y: x.__setitem__((slice(None), i[0]), y), "fif")
    yield "x[i, j] = y", Case(lambda L, x, i, j, y: x.__setitem__((i, j), y), "fiif")
    yield "x[mask] = 0", Case(lambda L, x, m: x.__setitem__(m, 0.0), "fb")
    yield "x[mask] = y", Case(lambda L, x, m, y: x.__setitem__(m, y[m]), "fbf")
    yield (
        "index_put accumulate",
        Case(lambda L, x, i, j, y: L.index_put(x, (i, j), y, accumulate=True), "fiif"),
    )
    yield "take", Case(lambda L, x, i: L.take(x, i), "fi")
    yield "put", Case(lambda L, x, i, y: L.put(x, i, y), "fif")
    for dim in (0, 1):
        yield f"gather {dim}", Case(_gather(dim), "fi")
        yield f"scatter {dim}", Case(lambda L, x, i, y, d=dim: L.scatter(x, d, i, y), "fif")
        yield f"scatter_add {dim}", Case(lambda L, x, i, y, d=dim: L.scatter_add(x, d, i, y), "fif")
        yield (
            f"scatter_reduce {dim}",
            Case(lambda L, x, i, y, d=dim: L.scatter_reduce(x, d, i, y, "amax"), "fif"),
        )
        yield f"index_add {dim}", Case(lambda L, x, i, y, d=dim: L.index_add(x, d, i[0], y), "fif")
        yield (
            f"index_copy {dim}",
            Case(lambda L, x, i, y, d=dim: L.index_copy(x, d, i[0], y), "fif"),
        )
        yield f"index_fill {dim}", Case(lambda L, x, i, d=dim: L.index_fill(x, d, i[0], 2.0), "fi")
    yield "scatter number", Case(lambda L, x, i: L.scatter(x, 1, i, 1.0), "fi")
    yield "take_along_dim", Case(lambda L, x, i: L.take_along_dim(x, i, 1), "fi")
    yield "nonzero", Case(_named("nonzero"), "b")
    yield "argwhere", Case(_named("argwhere"), "b")
    yield "masked_select", Case(_named("masked_select"), "fb")
    yield "masked_scatter", Case(_named("masked_scatter"), "fbf")
    yield "embedding", Case(lambda L, i, x: L.nn.functional.embedding(i[:10], x), "if")
    yield (
        "embedding narrow",
        Case(lambda L, i, x: L.nn.functional.embedding(i[:, :50], x[:, :20].contiguous()), "if"),
    )
    yield "one_hot", Case(lambda L, i: L.nn.functional.one_hot(i[0], 1000), "i")
    yield "sort 0", Case(lambda L, x: L.sort(x, 0), "f")
    yield "sort 1", Case(lambda L, x: L.sort(x, 1), "f")
    yield "sort one row", Case(lambda L, x: L.sort(x.reshape(-1)), "f")
    yield "sort int64", Case(lambda L, i: L.sort(i, 1), "i")
    yield "argsort", Case(_named("argsort", 1), "f")
    yield "argsort descending", Case(_named("argsort", 1, True), "f")
    yield "topk", Case(_named("topk", 10, 1), "f")
    yield "topk 0", Case(_named("topk", 10, 0), "f")
    yield "topk one row", Case(lambda L, x: L.topk(x.reshape(-1), 100), "f")
    yield "cumsum one row", Case(lambda L, x: L.cumsum(x.reshape(-1), 0), "f")
    yield "unique", Case(lambda L, i: L.unique(i), "i")
    yield "unique_consecutive", Case(lambda L, i: L.unique_consecutive(i), "i")
    yield "bincount", Case(lambda L, i: L.bincount(i.reshape(-1)), "i")
    yield "bincount weights", Case(lambda L, i, x: L.bincount(i.reshape(-1), x.reshape(-1)), "if")
    yield "histc", Case(_named("histc", 100), "f")
    yield "searchsorted", Case(lambda L, x, y: L.searchsorted(L.sort(y[0]).values, x), "ff")
    yield "bucketize", Case(lambda L, x, y: L.bucketize(x, L.sort(y[0, :50]).values), "ff")
    yield "diff", Case(_named("diff"), "f")
    yield "trapezoid", Case(_named("trapezoid"), "f")


def _gather(dim: int) -> Op:
    return lambda L, x, i: L.gather(x, dim, i)


def _creation() -> Iterator[tuple[str, Case]]:
    n = 1_000_000
    made: dict[str, Op] = {
        "zeros": lambda L, x: L.zeros(SQUARE, device=x.device),
        "ones": lambda L, x: L.ones(SQUARE, device=x.device),
        "full": lambda L, x: L.full(SQUARE, 1.5, device=x.device),
        "eye": lambda L, x: L.eye(1000, device=x.device),
        "arange": lambda L, x: L.arange(n, device=x.device),
        "arange float": lambda L, x: L.arange(0, n, 1.0, device=x.device),
        "linspace": lambda L, x: L.linspace(0, 1, n, device=x.device),
        "logspace": lambda L, x: L.logspace(0, 1, n, device=x.device),
        "rand": lambda L, x: L.rand(SQUARE, device=x.device),
        "randn": lambda L, x: L.randn(SQUARE, device=x.device),
        "randint": lambda L, x: L.randint(0, 1000, SQUARE, device=x.device),
        "randperm": lambda L, x: L.randperm(n, device=x.device),
        "normal_": lambda L, x: x.normal_(),
        "uniform_": lambda L, x: x.uniform_(-1, 1),
        "exponential_": lambda L, x: x.exponential_(),
        "bernoulli_": lambda L, x: x.bernoulli_(0.3),
        "tril_indices": lambda L, x: L.tril_indices(1000, 1000, device=x.device),
        "triu_indices": lambda L, x: L.triu_indices(1000, 1000, device=x.device),
        "full_like": lambda L, x: L.full_like(x, 2.5),
        "meshgrid sum": lambda L, x: L.add(*L.meshgrid(x[0], x[1], indexing="ij")),
    }
    for name, op in made.items():
        yield name, Case(op, "f", both=False)
    yield "bernoulli", Case(_named("bernoulli"), "P")
    yield "multinomial", Case(lambda L, x: L.multinomial(x, 10, True), "p", both=False)
    yield "vander", Case(lambda L, x: L.vander(x[0], 100), "f", both=False)


def _products() -> Iterator[tuple[str, Case]]:
    yield "matmul", Case(_named("matmul"), "ff")
    yield "matmul t()", Case(lambda L, x, y: x @ y.t(), "ff")
    yield "t() matmul", Case(lambda L, x, y: x.t() @ y, "ff")
    yield "addmm", Case(_named("addmm"), "fff")
    yield "mv", Case(lambda L, x, y: L.mv(x, y[0]), "ff")
    yield "vector @ matrix", Case(lambda L, x, y: y[0] @ x, "ff")
    yield "dot", Case(lambda L, x, y: L.dot(x.reshape(-1), y.reshape(-1)), "ff", both=False)
    yield "outer", Case(lambda L, x, y: L.outer(x[0], y[0]), "ff")
    yield "bmm", Case(_named("bmm"), "ff", (64, 128, 128), both=False)
    yield "baddbmm", Case(_named("baddbmm"), "fff", (64, 128, 128), both=False)
    yield "batched matmul", Case(_named("matmul"), "ff", (1000, 32, 32), both=False)
    yield "linear", Case(lambda L, x, w: L.nn.functional.linear(x, w, w[0]), "ff")
    yield "einsum", Case(lambda L, x, y: L.einsum("ij,ij->i", x, y), "ff")
    yield "einsum matmul", Case(lambda L, x, y: L.einsum("ij,kj->ik", x, y), "ff")
    yield "tensordot", Case(lambda L, x, y: L.tensordot(x, y, 1), "ff")
    yield "kron", Case(lambda L, x, y: L.kron(x[:30, :30], y[:33, :33]), "ff")
    yield "cdist", Case(lambda L, x, y: L.cdist(x[:, :64], y[:, :64]), "ff")
    yield "cross", Case(lambda L, x, y: L.cross(x, y, dim=1), "ff", (333_333, 3), both=False)
    yield "cosine_similarity", Case(_functional("cosine_similarity", 1), "ff")
    yield "pairwise_distance", Case(_functional("pairwise_distance"), "ff")
    yield "cov", Case(_named("cov"), "f")
    yield "trace", Case(_named("trace"), "f")


def _layers() -> Iterator[tuple[str, Case]]:
    image = (8, 32, 64, 64)
    yield "layer_norm", Case(_functional("layer_norm", (1000,)), "f")
    yield (
        "layer_norm weights",
        Case(lambda L, x, w: L.nn.functional.layer_norm(x, (1000,), w[0], w[1]), "ff"),
    )
    yield "rms_norm", Case(_functional("rms_norm", (1000,)), "f")
    yield "normalize", Case(_functional("normalize"), "f")
    for name, op in {
        "batch_norm training": lambda L, x: L.nn.functional.batch_norm(
            x, None, None, training=True
        ),
        "batch_norm": lambda L, x: L.nn.functional.batch_norm(
            x, x[0, :, 0, 0], x[0, :, 0, 1].abs()
        ),
        "group_norm": lambda L, x: L.nn.functional.group_norm(x, 4),
        "instance_norm": lambda L, x: L.nn.functional.instance_norm(x),
        "local_response_norm": lambda L, x: L.nn.functional.local_response_norm(x, 5),
        "max_pool2d": lambda L, x: L.nn.functional.max_pool2d(x, 2),
        "max_pool2d 3 by 2": lambda L, x: L.nn.functional.max_pool2d(x, 3, 2, 1),
        "max_pool2d indices": lambda L, x: L.nn.functional.max_pool2d(x, 2, return_indices=True),
        "avg_pool2d": lambda L, x: L.nn.functional.avg_pool2d(x, 2),
        "avg_pool2d 3 by 1": lambda L, x: L.nn.functional.avg_pool2d(x, 3, 1, 1),
        "adaptive_avg_pool2d": lambda L, x: L.nn.functional.adaptive_avg_pool2d(x, 7),
        "adaptive_avg_pool2d 1": lambda L, x: L.nn.functional.adaptive_avg_pool2d(x, 1),
        "adaptive_max_pool2d": lambda L, x: L.nn.functional.adaptive_max_pool2d(x, 7),
        "lp_pool2d": lambda L, x: L.nn.functional.lp_pool2d(x, 2, 2),
        "interpolate nearest": lambda L, x: L.nn.functional.interpolate(x, scale_factor=2),
        "interpolate bilinear": lambda L, x: L.nn.functional.interpolate(
            x, scale_factor=2, mode="bilinear"
        ),
        "unfold": lambda L, x: L.nn.functional.unfold(x[:, :8], 3),
        "dropout2d": lambda L, x: L.nn.functional.dropout2d(x, 0.1),
        "channel_shuffle": lambda L, x: L.nn.functional.channel_shuffle(x, 4),
    }.items():
        yield name, Case(op, "f", image, both=False)
    for name, op in {
        "max_pool1d": lambda L, x: L.nn.functional.max_pool1d(x, 2),
        "avg_pool1d": lambda L, x: L.nn.functional.avg_pool1d(x, 2),
    }.items():
        yield name, Case(op, "f", (16, 64, 1024), both=False)
    yield "dropout", Case(_functional("dropout", 0.1), "f")
    yield "alpha_dropout", Case(_functional("alpha_dropout", 0.1, True), "f")
    for name in [
        "mse_loss",
        "l1_loss",
        "smooth_l1_loss",
        "huber_loss",
        "kl_div",
        "soft_margin_loss",
    ]:
        yield f"F.{name}", Case(_functional(name), "ff")
    yield "F.mse_loss none", Case(_functional("mse_loss", reduction="none"), "ff")
    yield "F.binary_cross_entropy", Case(_functional("binary_cross_entropy"), "PP")
    yield "F.bce_with_logits", Case(_functional("binary_cross_entropy_with_logits"), "fP")
    yield "F.poisson_nll_loss", Case(_functional("poisson_nll_loss"), "fp")
    yield "F.gaussian_nll_loss", Case(_functional("gaussian_nll_loss"), "ffp")
    yield "F.hinge_embedding_loss", Case(_functional("hinge_embedding_loss"), "ff")
    yield "F.margin_ranking_loss", Case(_functional("margin_ranking_loss"), "fff")
    yield (
        "F.cosine_embedding_loss",
        Case(lambda L, x, y, z: L.nn.functional.cosine_embedding_loss(x, y, z[0].sign()), "fff"),
    )
    yield "F.triplet_margin_loss", Case(_functional("triplet_margin_loss"), "fff")
    yield (
        "F.multi_margin_loss",
        Case(lambda L, x, i: L.nn.functional.multi_margin_loss(x, i[0]), "fi"),
    )
    yield "F.cross_entropy", Case(lambda L, x, i: L.nn.functional.cross_entropy(x, i[0]), "fi")
    yield (
        "F.cross_entropy smoothed",
        Case(lambda L, x, i: L.nn.functional.cross_entropy(x, i[0], label_smoothing=0.1), "fi"),
    )
    yield "F.cross_entropy probabilities", Case(_functional("cross_entropy"), "fP")
    yield "F.nll_loss", Case(lambda L, x, i: L.nn.functional.nll_loss(x, i[0]), "fi")


def _complex() -> Iterator[tuple[str, Case]]:
    def pair(L: Any, x: Any, y: Any) -> Any:
        return L.complex(x, y)

    shape = (1000, 500, 2)
    yield "complex", Case(pair, "ff")
    for name in ["mul", "add", "div"]:
        yield f"complex {name}", Case(
            lambda L, x, y, n=name: getattr(L, n)(L.view_as_complex(x), L.view_as_complex(y)),
            "ff", shape, both=False,
        )  # fmt: skip
    for name in ["abs", "angle", "exp", "conj", "sum"]:
        yield f"complex {name}", Case(
            lambda L, x, n=name: getattr(L, n)(L.view_as_complex(x)).resolve_conj(), "f", shape,
            both=False,
        )  # fmt: skip
    yield (
        "complex real",
        Case(lambda L, x: L.view_as_complex(x).real.clone(), "f", shape, both=False),
    )
    yield "polar", Case(_named("polar"), "pf")


def _gradients() -> Iterator[tuple[str, Case]]:
    unary = (
        "exp log sqrt sin cos tanh sigmoid relu abs square reciprocal rsqrt erf log1p expm1 sign"
    )
    for name in unary.split():
        kind = "p" if name in ("log", "sqrt", "rsqrt", "log1p") else "f"
        yield f"grad {name}", Case(_named(name), kind, grad=True)
    for name in ["add", "sub", "mul", "div", "pow", "maximum", "atan2"]:
        yield f"grad {name}", Case(_named(name), "pp", grad=True)
    for name in ACTIVATIONS.split():
        more = {"glu": (1,), "softmin": (1,), "rrelu": (0.1, 0.3, True)}.get(name, ())
        yield f"grad F.{name}", Case(_functional(name, *more), "f", grad=True)
    yield "grad F.prelu", Case(lambda L, x, w: L.nn.functional.prelu(x, w[0, :1]), "ff", grad=True)
    for name in [
        "sum",
        "mean",
        "var",
        "std",
        "amax",
        "max",
        "logsumexp",
        "softmax",
        "log_softmax",
        "cumsum",
        "prod",
    ]:
        for dim in (0, 1):
            yield f"grad {name} dim {dim}", Case(_first(_named(name, dim)), "f", grad=True)
    yield "grad sum()", Case(_named("sum"), "f", grad=True)
    yield "grad norm", Case(lambda L, x: L.linalg.vector_norm(x), "f", grad=True)
    yield "grad where", Case(_named("where"), "bff", grad=True)
    yield "grad clamp", Case(_named("clamp", -0.5, 0.5), "f", grad=True)
    yield "grad lerp", Case(lambda L, x, y: L.lerp(x, y, 0.3), "ff", grad=True)
    yield "grad addcmul", Case(_named("addcmul", value=0.5), "fff", grad=True)
    yield "grad masked_fill", Case(lambda L, x, m: x.masked_fill(m, 0.0), "fb", grad=True)
    yield "grad add column", Case(lambda L, x, y: x + y[:, :1], "ff", grad=True)
    yield "grad add row", Case(lambda L, x, y: x * y[:1], "ff", grad=True)
    yield "grad cat", Case(lambda L, x, y: L.cat([x, y], 1), "ff", grad=True)
    yield "grad stack", Case(lambda L, x, y: L.stack([x, y]), "ff", grad=True)
    yield "grad t copy", Case(lambda L, x: x.t().contiguous(), "f", grad=True)
    yield "grad slice", Case(lambda L, x: x[:, 100:900] * 2, "f", grad=True)
    yield "grad tril", Case(_named("tril"), "f", grad=True)
    yield "grad index_select 0", Case(lambda L, x, i: L.index_select(x, 0, i[0]), "fi", grad=True)
    yield "grad x[i]", Case(lambda L, x, i: x[i[0]], "fi", grad=True)
    yield "grad gather 1", Case(_gather(1), "fi", grad=True)
    yield "grad gather 0", Case(_gather(0), "fi", grad=True)
    yield "grad scatter_add 1", Case(lambda L, x, i, y: L.scatter_add(x, 1, i, y), "fif", grad=True)
    yield "grad sort", Case(_first(_named("sort", 1)), "f", grad=True)
    yield "grad topk", Case(_first(_named("topk", 10, 1)), "f", grad=True)
    yield (
        "grad embedding",
        Case(lambda L, i, x: L.nn.functional.embedding(i[:1], x), "if", grad=True),
    )
    yield "grad matmul", Case(_named("matmul"), "ff", grad=True)
    yield "grad linear", Case(lambda L, x, w: L.nn.functional.linear(x, w, w[0]), "ff", grad=True)
    yield "grad bmm", Case(_named("bmm"), "ff", (64, 128, 128), grad=True, both=False)
    yield (
        "grad layer_norm",
        Case(lambda L, x, w: L.nn.functional.layer_norm(x, (1000,), w[0], w[1]), "ff", grad=True),
    )
    yield "grad rms_norm", Case(_functional("rms_norm", (1000,)), "f", grad=True)
    yield "grad dropout", Case(_functional("dropout", 0.1), "f", grad=True)
    for name in ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div"]:
        yield f"grad F.{name}", Case(_functional(name), "ff", grad=True)
    yield (
        "grad F.bce_with_logits",
        Case(_functional("binary_cross_entropy_with_logits"), "fP", grad=True),
    )
    yield (
        "grad F.cross_entropy",
        Case(lambda L, x, i: L.nn.functional.cross_entropy(x, i[0]), "fi", grad=True),
    )
    for name, op in {
        "batch_norm": lambda L, x: L.nn.functional.batch_norm(x, None, None, training=True),
        "group_norm": lambda L, x: L.nn.functional.group_norm(x, 4),
        "max_pool2d": lambda L, x: L.nn.functional.max_pool2d(x, 2),
        "avg_pool2d": lambda L, x: L.nn.functional.avg_pool2d(x, 2),
        "adaptive_avg_pool2d": lambda L, x: L.nn.functional.adaptive_avg_pool2d(x, 7),
        "interpolate bilinear": lambda L, x: L.nn.functional.interpolate(
            x, scale_factor=2, mode="bilinear"
        ),
        "pad reflect": lambda L, x: L.nn.functional.pad(x, (1, 1, 1, 1), mode="reflect"),
        "pad": lambda L, x: L.nn.functional.pad(x, (1, 1, 1, 1)),
    }.items():
        yield f"grad {name}", Case(op, "f", (8, 32, 64, 64), grad=True, both=False)


def _first(op: Op) -> Op:
    def values(L: Any, *inputs: Any) -> Any:
        result = op(L, *inputs)
        return result[0] if isinstance(result, tuple) else result

    return values


def _dtypes() -> Iterator[tuple[str, Case]]:
    common: dict[str, tuple[Op, str]] = {
        "add": (_named("add"), "ff"),
        "mul": (_named("mul"), "ff"),
        "div": (_named("div"), "fp"),
        "add number": (lambda L, x: x + 2, "f"),
        "maximum": (_named("maximum"), "ff"),
        "lt": (_named("lt"), "ff"),
        "where": (_named("where"), "bff"),
        "clamp": (_named("clamp", -1, 1), "f"),
        "abs": (_named("abs"), "f"),
        "neg": (_named("neg"), "f"),
        "sum()": (_named("sum"), "f"),
        "sum dim 0": (_named("sum", 0), "f"),
        "sum dim 1": (_named("sum", 1), "f"),
        "amax dim 1": (_named("amax", 1), "f"),
        "argmax dim 1": (_named("argmax", 1), "f"),
        "cumsum dim 1": (_named("cumsum", 1), "f"),
        "sort 1": (lambda L, x: L.sort(x, 1), "f"),
        "clone": (_named("clone"), "f"),
        "contiguous of t()": (lambda L, x: x.t().contiguous(), "f"),
        "cat 1": (lambda L, x, y: L.cat([x, y], 1), "ff"),
        "x[i]": (lambda L, x, i: x[i[0]], "fi"),
        "gather 1": (_gather(1), "fi"),
        "index_add 0": (lambda L, x, i, y: L.index_add(x, 0, i[0], y), "fif"),
        "masked_fill": (lambda L, x, m: x.masked_fill(m, 0), "fb"),
        "to float32": (lambda L, x: x.to(L.float32), "f"),
        "x[mask]": (lambda L, x, m: x[m], "fb"),
    }
    floats: dict[str, tuple[Op, str]] = {
        "exp": (_named("exp"), "f"),
        "log": (_named("log"), "p"),
        "sqrt": (_named("sqrt"), "p"),
        "tanh": (_named("tanh"), "f"),
        "sigmoid": (_named("sigmoid"), "f"),
        "relu": (_named("relu"), "f"),
        "F.gelu": (_functional("gelu"), "f"),
        "F.silu": (_functional("silu"), "f"),
        "pow": (_named("pow"), "pf"),
        "sin": (_named("sin"), "f"),
        "mean dim 1": (_named("mean", 1), "f"),
        "var dim 1": (_named("var", 1), "f"),
        "softmax 1": (_named("softmax", 1), "f"),
        "layer_norm": (_functional("layer_norm", (1000,)), "f"),
        "matmul": (_named("matmul"), "ff"),
        "F.mse_loss": (_functional("mse_loss"), "ff"),
        "dropout": (_functional("dropout", 0.1), "f"),
        "randn_like": (_named("randn_like"), "f"),
    }
    for dtype in ("float16", "bfloat16", "float64"):
        for name, (op, kinds) in (common | floats).items():
            yield f"{dtype} {name}", Case(op, kinds, dtype=dtype)
    whole = common | {
        "floor_divide": (_named("floor_divide"), "fp"),
        "remainder": (_named("remainder"), "fp"),
        "bitwise_and": (_named("bitwise_and"), "ff"),
        "eq": (_named("eq"), "ff"),
        "prod dim 1": (_named("prod", 1), "f"),
    }
    for dtype in ("int64", "int32", "uint8"):
        for name, (op, kinds) in whole.items():
            if not (dtype == "uint8" and name in ("abs", "neg", "clamp")):
                letters = kinds.replace("f", "s" if dtype == "uint8" else "n").replace("p", "s")
                yield f"{dtype} {name}", Case(op, letters, dtype=dtype)
    boolean: dict[str, tuple[Op, str]] = {
        "and": (lambda L, x, y: x & y, "bb"),
        "not": (lambda L, x: ~x, "b"),
        "eq": (_named("eq"), "bb"),
        "sum dim 0": (_named("sum", 0), "b"),
        "sum dim 1": (_named("sum", 1), "b"),
        "any dim 0": (_named("any", 0), "b"),
        "all()": (_named("all"), "b"),
        "argmax dim 1": (lambda L, x: x.to(L.uint8).argmax(1), "b"),
        "cumsum dim 1": (_named("cumsum", 1), "b"),
        "where": (_named("where"), "bbb"),
        "clone": (_named("clone"), "b"),
        "contiguous of t()": (lambda L, x: x.t().contiguous(), "b"),
        "cat 1": (lambda L, x, y: L.cat([x, y], 1), "bb"),
        "x[i]": (lambda L, x, i: x[i[0]], "bi"),
        "to float32": (lambda L, x: x.to(L.float32), "b"),
        "to int64": (lambda L, x: x.to(L.int64), "b"),
    }
    for name, (op, kinds) in boolean.items():
        yield f"bool {name}", Case(op, kinds)


def cases() -> dict[str, Case]:
    """All of them, by name."""
    found: dict[str, Case] = {}
    for family in (
        _elementwise, _reductions, _moves, _indexing, _creation, _products, _layers, _complex,
        _gradients, _dtypes,
    ):  # fmt: skip
        for name, case in family():
            assert name not in found, name
            found[name] = case
    return found
