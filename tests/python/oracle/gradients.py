"""What test_gradients.py differentiates: one row a verb and way to call it."""

# ruff: noqa: E501 (one row of a table, one line)
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from oracle.library import IS_TORCH, Array

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """`call(L, *inputs)` is differentiated at inputs of the shapes, drawn from the domains.

    Domains keep away from kinks by more than the steps of the differences. `order` 2 also checks the
    gradient of the gradient.
    """

    verb: str
    call: Callable[..., Any]
    shapes: tuple[Shape, ...]
    domains: tuple[str, ...]
    order: int = 1
    label: str = ""

    def name(self) -> str:
        return f"{self.verb}[{self.label or '-'.join('x'.join(map(str, s)) or '0d' for s in self.shapes)}]"


def draw(rng: np.random.Generator, shape: Shape, domain: str) -> Array:
    u = rng.uniform(0, 1, shape)
    sign = rng.choice([-1.0, 1.0], shape)
    if domain == "positive":
        return 0.3 + 2 * u
    if domain == "unit":
        return sign * (0.1 + 0.75 * u)
    if domain == "above_one":
        return 1.3 + 2 * u
    if domain == "off_integers":  # at least 0.1 from any integer
        return rng.integers(-3, 4, shape) + 0.1 + 0.8 * u
    if domain == "probability":
        return 0.1 + 0.8 * u
    if domain == "distinct":  # any two differ by 0.1 or more, none near 0
        return (
            rng.permutation(int(np.prod(shape))).reshape(shape) + 0.5 - np.prod(shape) // 2
        ) * 0.2
    return sign * (0.15 + 1.5 * u)  # "real": away from 0


def functional(name: str, *args: Any, **options: Any) -> Callable[..., Any]:
    return lambda L, *x: getattr(L.nn.functional, name)(*x, *args, **options)


ROWS: list[Row] = []


def row(verb: str, call: Callable[..., Any] | None, *shapes: Shape, domain: str | tuple[str, ...] = "real",
        order: int = 1, label: str = "") -> None:  # fmt: skip
    call = call or (lambda L, *x: getattr(L, verb)(*x))
    shapes = shapes or ((3, 4),)
    domains = domain if isinstance(domain, tuple) else (domain,) * len(shapes)
    ROWS.append(Row(verb, call, shapes, domains, order, label))


def _places(L: Any, x: Any) -> Any:
    return L.tensor([[0, 2, 1, 0], [0, 0, 1, 2], [1, 2, 1, 0]], device=x.device)


def _mask(L: Any, x: Any) -> Any:
    """Zeros in two columns: the product's second derivative meets both."""
    return L.tensor([1.0, 0.0, 0.0, 1.0], dtype=x.dtype, device=x.device)


# ---- elementwise, one input
UNARY = {
    "neg": "real", "abs": "real", "square": "real", "sign": "real", "floor": "off_integers",
    "ceil": "off_integers", "trunc": "off_integers", "frac": "off_integers", "relu": "real",
    "sqrt": "positive", "rsqrt": "positive", "reciprocal": "real", "exp": "real", "exp2": "real",
    "expm1": "real", "log": "positive", "log2": "positive", "log10": "positive",
    "log1p": "positive", "sin": "real", "cos": "real", "tan": "unit", "asin": "unit",
    "acos": "unit", "atan": "real", "sinh": "real", "cosh": "real", "asinh": "real",
    "acosh": "above_one", "atanh": "unit", "tanh": "real", "sigmoid": "real", "erf": "real",
    "erfc": "real", "erfinv": "unit",
}  # fmt: skip
FIRST_ORDER = {"sign", "floor", "ceil", "trunc", "frac", "relu", "abs", "neg"}
for _name, _domain in UNARY.items():
    row(_name, None, domain=_domain, order=1 if _name in FIRST_ORDER else 2)
row("round", lambda L, x: L.round(x + 0.5) * x, domain="off_integers")
row("lgamma", None, domain="positive")
row("silu", functional("silu"), order=2)
row("gelu", functional("gelu"), order=2)
row("gelu", functional("gelu", approximate="tanh"), order=2, label="tanh")
row("leaky_relu", functional("leaky_relu", 0.2))
row("elu", functional("elu", 1.3), order=2)
row("softplus", functional("softplus", 1.5), order=2)
row("tril", lambda L, x: L.tril(x, 1))
row("triu", lambda L, x: L.triu(x, -1))

for _name, _domain in {
    "digamma": "positive", "sinc": "real", "i0": "real", "log_sigmoid": "real", "hardswish": "real",
    "hardsigmoid": "real", "mish": "real", "selu": "real",
}.items():  # fmt: skip
    _call = None if _name in ("digamma", "sinc", "i0") else functional(_name.replace("_", ""))
    row(_name, _call, domain=_domain, order=2)
for _name, _domain in {
    "i0e": "real", "i1": "real", "i1e": "real", "erfcx": "real", "ndtri": "probability", "ndtr": "real",
    "log_ndtr": "real", "entr": "positive",
}.items():  # fmt: skip
    row(
        f"special_{_name}",
        lambda L, x, n=_name: getattr(L.special, n)(x),
        domain="unit" if _domain == "real" else _domain,
        order=2,
    )
row("polygamma", lambda L, x: L.polygamma(2, x), domain="positive", order=2)
row("celu", functional("celu", 1.3), order=2)
row("softshrink", functional("softshrink", 0.1))
row("hardshrink", functional("hardshrink", 0.1))
row("threshold", functional("threshold", 0.05, 7.0))
row("nan_to_num", lambda L, x: L.nan_to_num(x))
row("prelu_kernel", lambda L, x, w: L.nn.functional.prelu(x, w), (3, 4), (4,), order=2)
row("logaddexp", None, (3, 4), (4,), order=2)
row("logaddexp2", None, (3, 4), (3, 1), order=2)
row("xlogy", None, (3, 4), (4,), domain=("real", "positive"), order=2)
row(
    "special_xlog1py",
    lambda L, x, y: L.special.xlog1py(x, y),
    (3, 4),
    (4,),
    domain=("real", "positive"),
)
row("special_zeta", lambda L, x: L.special.zeta(2.5, x), domain="positive", order=2)
row(
    "igamma",
    lambda L, x: L.igamma(L.full((), 1.5, dtype=x.dtype, device=x.device), x),
    domain="positive",
    order=2,
)
row(
    "igammac",
    lambda L, x: L.igammac(L.full((), 1.5, dtype=x.dtype, device=x.device), x),
    domain="positive",
)
row("cummax", lambda L, x: L.cummax(x, 1)[0], domain="distinct")
row("cummin", lambda L, x: L.cummin(x, 0)[0], domain="distinct")
row("logcumsumexp", lambda L, x: L.logcumsumexp(x, 1), domain="real", order=2)
row("kthvalue", lambda L, x: L.kthvalue(x, 2, 1)[0], domain="distinct")
row("topk", lambda L, x: L.topk(x, 2, 1)[0], domain="distinct")
for _mode in ("sum", "prod", "mean", "amax", "amin"):
    for _self in (True, False):
        row(
            "scatter_reduce",
            lambda L, x, s, m=_mode, i=_self: L.scatter_reduce(
                x, 0, _places(L, x), s, m, include_self=i
            ),
            (3, 4),
            (3, 4),
            domain=("distinct", "off_integers"),
            label=f"{_mode} {_self}",
        )
row(
    "index_reduce",
    lambda L, x, s: L.index_reduce(x, 0, _places(L, x)[:, 0], s, "prod"),
    (3, 4),
    (3, 4),
)
row("flip", lambda L, x: L.flip(x, (0,)) * x, order=2)
row("prod", lambda L, x: L.prod(x * _mask(L, x), 1), order=2, label="two zeros")
row("det", lambda L, x: L.det(x @ x.mT + x), (3, 3), order=2)
row("inv", lambda L, x: L.linalg.inv(x @ x.mT + x), (3, 3), order=2)
row("solve", lambda L, a, b: L.linalg.solve(a @ a.mT + 1, b), (3, 3), (3, 2), order=2)
row(
    "cholesky",
    lambda L, x: L.linalg.cholesky(x @ x.mT + L.eye(3, dtype=x.dtype, device=x.device)),
    (3, 3),
)
row("qr", lambda L, x: L.linalg.qr(x)[0] + L.linalg.qr(x)[1].sum(), (4, 3), label="reduced")
row(
    "svd",
    lambda L, x: (
        lambda p: (p[0] * p[1].unsqueeze(-2)).square().sum(0) + p[2].square().sum(0) * p[1]
    )(L.linalg.svd(x, full_matrices=False)),
    (4, 3),
)
row("pinv", lambda L, x: L.linalg.pinv(x), (4, 3))
row("matrix_exp", lambda L, x: L.matrix_exp(x), (3, 3), order=2)
row("fft", lambda L, x: L.view_as_real(L.fft.fft(x)), (3, 4), order=2)
row("irfft", lambda L, x: L.fft.irfft(L.fft.rfft(x) ** 2), (3, 6))

# ---- two inputs, broadcast in every way
PAIRS: list[tuple[Shape, Shape]] = [
    ((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 1), (1, 4)), ((), (2, 3)), ((2, 3), (2, 1)),
]  # fmt: skip
BINARY: dict[str, tuple[str, str]] = {
    "add": ("real", "real"), "sub": ("real", "real"), "mul": ("real", "real"), "div": ("real", "real"),
    "maximum": ("distinct", "off_integers"), "minimum": ("distinct", "off_integers"),
    "fmax": ("distinct", "off_integers"), "fmin": ("distinct", "off_integers"),
    "pow": ("positive", "real"), "atan2": ("real", "real"), "hypot": ("real", "real"),
    "copysign": ("real", "real"), "rsub": ("real", "real"),
}  # fmt: skip
for _name, _domains in BINARY.items():
    for _a, _b in (
        PAIRS if _name in ("add", "mul", "div", "pow", "maximum") else PAIRS[::4] + PAIRS[1:2]
    ):
        row(_name, None, _a, _b, domain=_domains, order=2 if _name in ("mul", "div", "pow") else 1)
row("maximum", None, (3, 4), (3, 4), domain=("distinct", "positive"), label="other")
row(
    "remainder",
    lambda L, x, y: L.remainder(x, y + 9),
    (3, 4),
    (3, 4),
    domain=("positive", "positive"),
)
row("remainder", lambda L, x: L.remainder(x, 1.0), (3, 4), domain="off_integers", label="number")
row("fmod", lambda L, x, y: L.fmod(x, y + 9), (3, 4), (4,), domain=("positive", "positive"))
if not IS_TORCH:  # PyTorch has none
    row("floor_divide", lambda L, x: L.floor_divide(x, 1.0) * x, (3, 4), domain="off_integers")
row(
    "div",
    lambda L, x: L.div(x, 1.0, rounding_mode="trunc") * x,
    (3, 4),
    domain="off_integers",
    label="trunc",
)
row("add", lambda L, x, y: L.add(x, y, alpha=2.5), (3, 4), (4,), label="alpha")
row("sub", lambda L, x, y: L.sub(x, y, alpha=2.5), (3, 4), (4,), label="alpha")
for _label, _f in {
    "x + 2": lambda L, x: x + 2.0, "3 - x": lambda L, x: 3.0 - x, "x * 2": lambda L, x: x * 2,
    "x / 3": lambda L, x: x / 3, "1 / x": lambda L, x: 1 / x,
}.items():  # fmt: skip
    row("div" if "/" in _label else "mul", _f, label=_label, order=2)
for _p in (2, 3, -1, 0.5, 0, 2.5):
    row("pow", lambda L, x, p=_p: x**p, domain="positive", label=f"x ** {_p}", order=2)
row("pow", lambda L, x: 2.0**x, label="2 ** x", order=2)

# ---- three inputs
row(
    "where", lambda L, x, y: L.where(x > y, x * 2, y), (3, 4), (4,), domain=("distinct", "positive")
)
row("clamp", lambda L, x: L.clamp(x, -0.5, 0.75), domain="off_integers")
row("hardtanh", functional("hardtanh", -0.5, 0.75), domain="off_integers")
row("clamp", lambda L, x: L.clamp(x, min=0.05), label="min", domain="off_integers")
row("clamp", lambda L, x, a, b: L.clamp(x, a - 3, b + 1), (3, 4), (4,), (3, 1),
    domain=("distinct", "positive", "positive"), label="tensors")  # fmt: skip
row(
    "lerp",
    lambda L, x, y, w: L.lerp(x, y, w),
    (3, 4),
    (3, 4),
    (4,),
    domain=("real", "real", "positive"),
    order=2,
)
row("lerp", lambda L, x, y: L.lerp(x, y, 0.3), (3, 4), (4,), label="number")
row("addcmul", lambda L, x, a, b: L.addcmul(x, a, b), (3, 4), (4,), (3, 1), label="plain")
row("addcmul", lambda L, x, a, b: L.addcmul(x, a, b, value=0.7), (3, 4), (4,), (3, 1), order=2)
row("addcdiv", lambda L, x, a, b: L.addcdiv(x, a, b, value=0.7), (3, 4), (4,), (3, 1))
row("masked_fill", lambda L, x: x.masked_fill(x > 0.2, 2.0), domain="distinct")

# ---- reductions
REDUCED: list[tuple[str, dict[str, Any]]] = [
    ("all", {}), ("0", {"dim": 0}), ("-1 keep", {"dim": -1, "keepdim": True}), ("0,2", {"dim": (0, 2)}),
]  # fmt: skip
BOX = (2, 3, 4)
for _label, _args in REDUCED:
    for _name in ("sum", "mean", "var", "amax", "amin", "logsumexp", "std"):
        if _name == "logsumexp" and not _args:
            continue
        row("std_" if _name == "std" else _name, lambda L, x, n=_name, a=_args: getattr(L, n)(x, **a), BOX,
            domain="distinct", order=1 if _name in ("amax", "amin") else 2, label=_label)  # fmt: skip
for _dim in (None, 0, 2):
    row(
        "prod",
        lambda L, x, d=_dim: L.prod(x) if d is None else L.prod(x, d),
        BOX,
        label=str(_dim),
        order=2,
    )
for _p in (1, 2, 3, float("inf"), 0.5):
    row("norm", lambda L, x, p=_p: L.norm(x, p, 1), BOX, domain="distinct", label=f"p={_p}")
row("norm", lambda L, x: L.norm(x), BOX, label="all", order=2)
row("max_dim", lambda L, x: L.max(x, 1)[0], BOX, domain="distinct")
row("max_dim", lambda L, x: L.max(x), BOX, domain="distinct", label="all")
row("min_dim", lambda L, x: L.min(x, 0, keepdim=True)[0], BOX, domain="distinct")
row("cumsum", lambda L, x: L.cumsum(x, 1), BOX, order=2)
row("cumprod", lambda L, x: L.cumprod(x, 1), BOX, order=2)
row("sort", lambda L, x: L.sort(x, dim=1, descending=True)[0], BOX, domain="distinct")
row("topk", lambda L, x: L.topk(x, 2, dim=-1)[0], BOX, domain="distinct")

# ---- softmax, norms, losses
row("softmax", lambda L, x: L.softmax(x, 1), BOX, order=2)
row("softmax", lambda L, x: L.softmax(x, 0), (3, 4), order=2)
row("log_softmax", lambda L, x: L.log_softmax(x, -1), BOX, order=2)
row(
    "layer_norm",
    lambda L, x, w, b: L.nn.functional.layer_norm(x, (4,), w, b),
    BOX,
    (4,),
    (4,),
    order=2,
)
row("layer_norm", lambda L, x: L.nn.functional.layer_norm(x, (3, 4)), BOX, order=2)
CLASSES = [1, 0, 3, 2, 1]


def classes(L: Any, x: Any) -> Any:
    return L.tensor(CLASSES, device=x.device)


for _label, _options in {
    "mean": {}, "sum": {"reduction": "sum"}, "none": {"reduction": "none"}, "ignore": {"ignore_index": 1},
    "smooth": {"label_smoothing": 0.1},
}.items():  # fmt: skip
    row("cross_entropy", lambda L, x, o=_options: L.nn.functional.cross_entropy(x, classes(L, x), **o), (5, 4),
        label=_label, order=2)  # fmt: skip
row(
    "cross_entropy",
    lambda L, x: L.nn.functional.cross_entropy(
        x, classes(L, x), weight=L.tensor([0.5, 1.0, 2.0, 0.25], dtype=x.dtype, device=x.device)
    ),
    (5, 4),
    label="weights",
)
row(
    "cross_entropy",
    lambda L, x, y: L.nn.functional.cross_entropy(x, L.softmax(y, 1)),
    (5, 4),
    (5, 4),
    label="probabilities",
)
row("nll_loss", lambda L, x: L.nn.functional.nll_loss(x, classes(L, x)), (5, 4))
row("mse_loss", functional("mse_loss"), (3, 4), (3, 4), order=2)
row("l1_loss", functional("l1_loss"), (3, 4), (3, 4), domain=("distinct", "off_integers"))

# ---- norms over batches and groups
row(
    "batch_norm",
    lambda L, x, w, b: L.nn.functional.batch_norm(x, None, None, w, b, True),
    (3, 2, 4),
    (2,),
    (2,),
    order=2,
)
row(
    "batch_norm",
    lambda L, x: L.nn.functional.batch_norm(x, None, None, training=True),
    (5, 2),
    order=2,
)
row(
    "batch_norm",
    lambda L, x, w, b: L.nn.functional.batch_norm(
        x, L.full_like(b, 0.3), L.full_like(b, 1.7), w, b
    ),
    (3, 2, 4),
    (2,),
    (2,),
    order=2,
    label="eval",
)
row(
    "group_norm",
    lambda L, x, w, b: L.nn.functional.group_norm(x, 2, w, b),
    (2, 4, 3),
    (4,),
    (4,),
    order=2,
)
row(
    "instance_norm",
    lambda L, x, w, b: L.nn.functional.instance_norm(x, None, None, w, b),
    (2, 3, 2, 2),
    (3,),
    (3,),
    order=2,
)
row("rms_norm", lambda L, x, w: L.nn.functional.rms_norm(x, (4,), w, 0.1), BOX, (4,), order=2)
row("rms_norm", lambda L, x: L.nn.functional.rms_norm(x, (3, 4)), BOX, order=2)
row("local_response_norm", functional("local_response_norm", 3, 0.5), (2, 4, 3), order=2)


# ---- products
for _verb, _a, _b in [
    ("matmul", (3, 4), (4, 2)), ("matmul", (4,), (4,)), ("matmul", (3, 4), (4,)), ("matmul", (4,), (4, 3)),
    ("matmul", (2, 3, 4), (4, 2)), ("matmul", (2, 3, 4), (2, 4, 2)), ("matmul", (2, 1, 3, 4), (3, 4, 2)),
    ("matmul", (2, 3, 4), (4,)), ("mm", (3, 4), (4, 2)), ("bmm", (2, 3, 4), (2, 4, 2)), ("mv", (3, 4), (4,)),
    ("dot", (5,), (5,)), ("outer", (3,), (4,)),
]:  # fmt: skip
    row(_verb, None, _a, _b, order=2)
row("matmul", lambda L, a, b: L.matmul(a.t(), b.t()), (4, 3), (2, 4), label="transposed", order=2)
row("addmm", lambda L, c, a, b: L.addmm(c, a, b, beta=0.5, alpha=2), (2,), (3, 4), (4, 2), order=2)
row("linear", functional("linear"), (5, 4), (3, 4), (3,), order=2)
row("linear", functional("linear"), (2, 5, 4), (3, 4), order=2)


# ---- indexing
def index(values: Any) -> Callable[[Any, Any], Any]:
    return lambda L, x: L.tensor(values, device=x.device)


TWICE = index([2, 0, 2])
GRID = index([[0, 2], [1, 1]])
row("index_select", lambda L, x: L.index_select(x, 1, TWICE(L, x)), BOX)
row("gather", lambda L, x: L.gather(x, 1, GRID(L, x)), (2, 3))
row("embedding", lambda L, w: L.nn.functional.embedding(GRID(L, w), w), (3, 4), order=2)
row("index", lambda L, x: x[:, TWICE(L, x)] ** 2, BOX, order=2)
row("index", lambda L, x: x[TWICE(L, x)[:2] * 0, TWICE(L, x)[:2]], BOX, label="two")
row("index", lambda L, x: x[x > 0.2], (3, 4), domain="distinct", label="mask")
row("masked_select", lambda L, x: L.masked_select(x, x > 0.2), (3, 4), domain="distinct")
row("index_add", lambda L, x, s: L.index_add(x, 1, TWICE(L, x), s), BOX, BOX)
row(
    "scatter",
    lambda L, x, s: L.scatter(x, 1, L.tensor([[0], [2]], device=x.device), s),
    (2, 3),
    (2, 1),
)
row("scatter_add", lambda L, x, s: L.scatter_add(x, 1, GRID(L, x), s), (2, 3), (2, 2))


def put(L: Any, x: Any, v: Any) -> Any:
    y = x * 1.0
    y[:, TWICE(L, x)[:2]] = v
    return y * y


row("index_put_", put, (2, 3), (2, 2), label="write")

# ---- copies, views, joining
row("clone", lambda L, x: x.clone())
row("contiguous", lambda L, x: x.t().contiguous())
row("to", lambda L, x: x.to(L.float64, copy=True))
row("view", lambda L, x: x.view(2, 6))
row("reshape", lambda L, x: x.t().reshape(-1))
row("flatten", lambda L, x: x.flatten(1), BOX)
row("unflatten", lambda L, x: x.unflatten(1, (2, 2)))
row("permute", lambda L, x: x.permute(2, 0, 1), BOX)
row("transpose", lambda L, x: x.transpose(0, 2), BOX)
row("t", lambda L, x: x.t())
row("expand", lambda L, x: x.expand(5, 3, 4), (3, 1))
row("squeeze", lambda L, x: x.squeeze(1), (3, 1, 4))
row("unsqueeze", lambda L, x: x.unsqueeze(1))
row("select", lambda L, x: x.select(1, 2), BOX)
row("slice", lambda L, x: x[1:, ::2, -3:], BOX)
row("narrow", lambda L, x: x.narrow(2, 1, 2), BOX)
row("diagonal", lambda L, x: L.diagonal(x, 1), (3, 4))
row("as_strided", lambda L, x: L.as_strided(x, (3, 2), (2, 3), 1), (3, 4))
row("unfold", lambda L, x: x.unfold(1, 3, 1), (2, 5))
row("split", lambda L, x: L.split(x, 2, 2)[1], BOX)
row("split_sizes", lambda L, x: L.split(x, [1, 2], 1)[1], BOX)
row("chunk", lambda L, x: L.chunk(x, 2, 2)[0] * L.chunk(x, 2, 2)[1], BOX)
row("unbind", lambda L, x: L.unbind(x, 1)[2], BOX)
row("cat", lambda L, x, y: L.cat([x, y, x], 1), (2, 3), (2, 2))
row("stack", lambda L, x, y: L.stack([x, y], 1), (2, 3), (2, 3))
row("flip", lambda L, x: L.flip(x, (0, 2)), BOX)
row("roll", lambda L, x: L.roll(x, (1, -1), (0, 2)), BOX)
row("repeat", lambda L, x: x.repeat(2, 1, 3), BOX)
row("repeat_interleave", lambda L, x: L.repeat_interleave(x, 2, 1), BOX)


# ---- programs that write in place before they are differentiated
def _writes(text: str) -> Callable[..., Any]:
    code = compile(text, text, "exec")

    def call(L: Any, x: Any, *more: Any) -> Any:
        env = {"L": L, "x": x, **dict(zip("yz", more, strict=False))}
        exec(code, env)
        return env["r"]

    return call


for _text in [
    "r = x * 1; r += y",
    "r = x * 1; r *= y; r -= y",
    "r = x * 1; r[1] = 0",
    "r = x * 1; r[:, 1:3] *= y[1:3]",
    "r = x * 1; v = r[1]; v *= y; r = r + v",
    "r = x * 2; v = r.t(); v[0] = 3; v += 1; r = r * v.t()",
    "r = x * 2; v = r[:, ::2]; w = v[1:]; w *= y[::2]; r = r * 1",
    "r = x * 1; r[0] = y; r[2] = r[0] * 2 + x[1]",
    "h = x.exp(); r = h * 1; r[1] = y; r = r * h",
    "r = x * 1; r.clamp_(-0.4, 0.9); r = r * x",
    "r = L.zeros_like(x); r[1] = y; r += x; r[:, 0] = x[:, 1] * y[0]",
    "r = x.clone(); r.view(-1)[3:7] *= 2; r = r.sin()",
    "r = x * 1; a = r[0]; b = r[1]; a += b; r = r * 2 + a",
    "h = x * 1; r = h + 1; h += 5; r = r * h",
]:
    row("in place", _writes(_text), (3, 4), (4,), domain="off_integers", label=_text)
if not IS_TORCH:  # PyTorch halves it
    row(
        "in place",
        _writes("r = x * 1; r *= r; r += r"),
        (3, 4),
        domain="off_integers",
        label="r *= r",
    )

# verbs.h names them; no row here or in gradients_windows.py differentiates them -> why
NOT_HERE: dict[str, str] = {
    "scaled_dot_product_attention": "a test of its own: test_attention.py",
    "lstm_layer": "a test of its own: test_recurrent.py",
    "attention_backends": "a setting",
    "set_attention_backends": "a setting",
    **dict.fromkeys(
        ("isnan", "isinf", "isfinite", "signbit", "logical_not", "bitwise_not", "eq", "ne", "lt",
         "le", "gt", "ge", "logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or",
         "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift", "any", "all", "argmax",
         "argmin", "argsort", "equal", "nonzero", "one_hot", "is_contiguous"),
        "the result is boolean or integer"),
    **dict.fromkeys(
        ("empty", "full", "zeros", "ones", "arange", "linspace", "eye", "full_like", "rand",
         "randn", "randint", "randperm", "bernoulli"),
        "creation: nothing to differentiate"),
    **dict.fromkeys(("manual_seed", "synchronize", "step_end"), "not a function of tensors"),
    "dropout": "random: its gradient is checked in test_parity_random.py",
    "detach": "cuts the history: checked in test_gradients.py",
    **dict.fromkeys(
        ("draw", "special_bessel_j0", "special_bessel_j1", "special_bessel_y0", "special_bessel_y1",
         "special_spherical_bessel_j0", "special_modified_bessel_k0", "special_modified_bessel_k1",
         "special_scaled_modified_bessel_k0", "special_scaled_modified_bessel_k1"),
        "PyTorch has no derivative either (UNKNOWN in the gradient table)"),
    **dict.fromkeys(
        ("complex", "polar", "conj", "angle", "sgn", "real_part", "imag_part", "real", "imag",
         "view_as_real", "view_as_complex"),
        "complex numbers: test_complex.py"),
    **dict.fromkeys(("isposinf", "isneginf", "gcd", "lcm", "searchsorted"), "the result is boolean or integer"),
    **dict.fromkeys(("poisson", "standard_gamma", "binomial"), "random: test_distributions.py"),
    "heaviside": "its derivative is 0, as sign's",
    "nextafter": "no derivative is written (UNKNOWN in the gradient table)",
}  # fmt: skip
