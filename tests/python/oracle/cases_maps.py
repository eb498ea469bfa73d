"""Parity rows of the elementwise ops: one, two and three inputs, numbers as operands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from oracle.case import GRID, Arg, Case, floating, quiet
from oracle.library import DTYPES, Array

Reference = Callable[..., Any]


def unary(
    name: str,
    reference: Reference,
    domain: str = "real",
    ulps: float = 2.0,
    *,
    call: Callable[..., Any] | None = None,
    ops: tuple[str, ...] | None = None,
    **more: Any,
) -> Case:
    more.setdefault("edges", True)
    return Case(
        name,
        ops or (name,),
        call or (lambda L, x: getattr(L, name)(x)),
        reference,
        (Arg(domain=domain),),
        ulps=ulps,
        elementwise=True,
        **more,
    )


def binary(
    name: str,
    reference: Reference,
    domains: tuple[str, str] = ("real", "real"),
    ulps: float = 0.0,
    *,
    call: Callable[..., Any] | None = None,
    ops: tuple[str, ...] | None = None,
    **more: Any,
) -> Case:
    more.setdefault("edges", True)
    return Case(
        name,
        ops or (name,),
        call or (lambda L, x, y: getattr(L, name)(x, y)),
        reference,
        tuple(Arg(domain=d) for d in domains),
        ulps=ulps,
        elementwise=True,
        **more,
    )


def _sign(x: Array) -> Array:
    return np.sign(x) if x.dtype.kind != "b" else x


def _torch_sign(x: Array) -> Array:  # PyTorch's sign of NaN is 0
    return np.where(np.isnan(x), 0.0, np.sign(x)) if x.dtype.kind == "f" else _sign(x)


def _relu(x: Array) -> Array:
    return np.where(np.isnan(x), x, np.maximum(x, 0))


def _frac(x: Array) -> Array:
    return x - np.trunc(x)


def _sigmoid(x: Array) -> Array:
    return special.expit(x)


def _gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def _erfc(x: Array) -> Array:
    """SciPy's erfc is off by up to 277 ulp above 6 (against mpmath); its scaled form is not.

    e^(-x*x) takes x*x in two parts: s has 24 bits, so that s * s is exact.
    """
    with np.errstate(all="ignore"):
        s = x.astype(np.float32).astype(np.float64)
        tail = special.erfcx(x) * np.exp(-s * s) * np.exp((s - x) * (s + x))
        return np.where((x > 1) & (x < 26), tail, special.erfc(x))


def _digamma(x: Array) -> Array:  # PyTorch: -inf at 0, inf at -0, NaN at negative integers
    value = special.digamma(x)
    value = np.where(x == 0, np.copysign(np.inf, -x), value)
    return np.where((x < 0) & (x == np.trunc(x)), np.nan, value)


def _lgamma(x: Array) -> Array:
    return np.where(
        np.isinf(x), np.inf, np.where(np.abs(x) < 1e-300, -np.log(np.abs(x)), special.gammaln(x))
    )


UNARY = [
    unary("clone", lambda x: x, "any", 0, ops=("copy",), signed_zero=True),
    unary("contiguous", lambda x: x, "any", 0, ops=("copy",), call=lambda L, x: x.contiguous()),
    unary("neg", np.negative, "any", 0, signed_zero=True),
    unary("abs", np.abs, "any", 0, signed_zero=True),
    unary("sign", _torch_sign, "any", 0),
    unary("square", quiet(np.square), "any", 0),
    unary("floor", np.floor, "any", 0, signed_zero=True),
    unary("ceil", np.ceil, "any", 0, signed_zero=True),
    unary("trunc", np.trunc, "any", 0, signed_zero=True),
    unary("round", lambda x: np.rint(x) if x.dtype.kind == "f" else x, "any", 0, signed_zero=True),
    unary("frac", quiet(_frac), "real", 0),
    unary("relu", _relu, "any", 0),
    unary("sqrt", floating(np.sqrt), "positive", 0, signed_zero=True),
    unary("rsqrt", floating(lambda x: 1 / np.sqrt(x)), "positive"),
    unary("reciprocal", floating(lambda x: 1 / x), "nonzero", 0, signed_zero=True),
    unary("exp", floating(np.exp)),
    unary("exp2", floating(np.exp2)),
    unary("expm1", floating(np.expm1), signed_zero=True),
    unary("log", floating(np.log), "positive"),
    unary("log2", floating(np.log2), "positive"),
    unary("log10", floating(np.log10), "positive"),
    unary("log1p", floating(np.log1p), "above_minus_one", signed_zero=True),
    unary("sin", floating(np.sin), "angle", signed_zero=True),
    unary("cos", floating(np.cos), "angle"),
    unary("tan", floating(np.tan), "angle", 4, signed_zero=True),
    unary("asin", floating(np.arcsin), "unit", signed_zero=True),
    unary("acos", floating(np.arccos), "unit"),
    unary("atan", floating(np.arctan), signed_zero=True),
    unary("sinh", floating(np.sinh), "moderate", signed_zero=True),
    unary("cosh", floating(np.cosh), "moderate"),
    unary("asinh", floating(np.arcsinh), signed_zero=True),
    unary("acosh", floating(np.arccosh), "above_one"),
    unary("atanh", floating(np.arctanh), "unit", signed_zero=True),
    unary("tanh", floating(np.tanh), signed_zero=True),
    unary("sigmoid", floating(_sigmoid), ulps=3),
    unary("erf", floating(special.erf), signed_zero=True),
    unary("erfc", floating(_erfc), ulps=24),
    unary("erfinv", floating(special.erfinv), "unit", 8, call=lambda L, x: L.erfinv(x)),
    unary("lgamma", floating(_lgamma), "real", 8, magnitude=lambda x: 8 + 0 * np.abs(x)),
    unary("digamma", floating(_digamma), "positive", 8, magnitude=lambda x: 8 + 0 * np.abs(x)),
    unary(
        "silu",
        floating(lambda x: np.where(x == -np.inf, np.nan, x * _sigmoid(x))),
        ulps=3,
        call=lambda L, x: L.nn.functional.silu(x),
    ),
    unary(
        "gelu",
        floating(lambda x: x * special.ndtr(x)),
        ulps=4,
        magnitude=lambda x: 4 * np.abs(x),
        call=lambda L, x: L.nn.functional.gelu(x),
    ),
    unary(
        "gelu_tanh",
        floating(_gelu_tanh),
        ulps=4,
        magnitude=lambda x: 4 * np.abs(x),
        edges=False,
        call=lambda L, x: L.nn.functional.gelu(x, approximate="tanh"),
    ),
    unary("isnan", np.isnan, "any"),
    unary("isinf", np.isinf, "any"),
    unary("isfinite", np.isfinite, "any"),
    unary("signbit", np.signbit, "any", edges=False, call=lambda L, x: L.signbit(x)),
    unary("logical_not", np.logical_not, "any"),
    unary("bitwise_not", np.invert, "any"),
    unary(
        "leaky_relu",
        floating(lambda x: np.where(x > 0, x, x * 0.1)),
        call=lambda L, x: L.nn.functional.leaky_relu(x, 0.1),
    ),
    unary(
        "elu",
        floating(lambda x: np.where(x > 0, x, 1.5 * np.expm1(x))),
        ulps=4,
        call=lambda L, x: L.nn.functional.elu(x, 1.5),
    ),
    unary(
        "softplus",
        floating(lambda x: np.where(x * 2 > 20, x, np.log1p(np.exp(x * 2)) / 2)),
        ulps=4,
        call=lambda L, x: L.nn.functional.softplus(x, 2),
    ),
]


def _floor_divide(x: Array, y: Array) -> Array:
    if x.dtype.kind == "f":
        q = np.floor_divide(x, y)
        return np.where((y == 0), x / y, q)
    return np.floor_divide(x, y)


def _trunc_divide(x: Array, y: Array) -> Array:
    if x.dtype.kind == "f":
        return np.trunc(x / y)
    return np.sign(x) * np.sign(y) * (np.abs(x) // np.abs(y))


def _integer_pow(x: Array, y: Array) -> Array:
    if x.dtype.kind == "f":
        return np.power(x, y)
    return np.power(x.astype(np.int64), y.astype(np.int64))


COMPARISONS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
}
COUNTS = ("counts", "counts")
DIVISORS = ("real", "nonzero")

BINARY = [
    binary("add", quiet(np.add), signed_zero=True),
    binary("sub", quiet(np.subtract), signed_zero=True),
    binary("mul", quiet(np.multiply), signed_zero=True),
    binary("div", floating(np.divide), DIVISORS, signed_zero=True),
    binary("floor_divide", _floor_divide, DIVISORS, 1, edges=False),
    binary(
        "div_trunc",
        _trunc_divide,
        DIVISORS,
        1,
        edges=False,
        ops=("trunc_divide",),
        call=lambda L, x, y: L.div(x, y, rounding_mode="trunc"),
    ),
    binary(
        "div_floor",
        _floor_divide,
        DIVISORS,
        1,
        edges=False,
        ops=("floor_divide",),
        call=lambda L, x, y: L.div(x, y, rounding_mode="floor"),
    ),
    binary("remainder", quiet(np.remainder), DIVISORS, 1, edges=False),
    binary("fmod", quiet(np.fmod), DIVISORS, 0, edges=False),
    binary("maximum", np.maximum),
    binary("minimum", np.minimum),
    binary("fmax", np.fmax),
    binary("fmin", np.fmin),
    binary("pow", quiet(_integer_pow), ("positive", "exponent"), 2, edges=False),
    binary(
        "pow_edges",
        quiet(np.power),
        ("counts", "counts"),
        2,
        ops=("pow",),
        call=lambda L, x, y: L.pow(x, y),
        dtypes=("f32", "f64", "f16", "bf16"),
    ),
    binary("atan2", floating(np.arctan2), signed_zero=True, ulps=2),
    binary("hypot", floating(np.hypot), ulps=2),
    binary(
        "copysign",
        floating(np.copysign),
        signed_zero=True,
        dtypes=tuple(d for d in DTYPES if d != "bf16"),
    ),
    binary("nextafter", np.nextafter, native=True, signed_zero=True, dtypes=("f32", "f64")),
    *(binary(name, f, COUNTS) for name, f in COMPARISONS.items()),
    binary("bitwise_left_shift", np.left_shift, ("any", "shift"), edges=False),
    binary("bitwise_right_shift", np.right_shift, ("any", "shift"), edges=False),
    binary(
        "add_alpha",
        quiet(lambda x, y: x + 2 * y),
        ops=("add_scaled",),
        call=lambda L, x, y: L.add(x, y, alpha=2),
        edges=False,
        magnitude=lambda x, y: np.abs(x) + 2 * np.abs(y),
    ),
    binary(
        "sub_alpha",
        quiet(lambda x, y: x - 3 * y),
        ops=("add_scaled",),
        call=lambda L, x, y: L.sub(x, y, alpha=3),
        edges=False,
        magnitude=lambda x, y: np.abs(x) + 3 * np.abs(y),
    ),
]


def _terms(*weights: float) -> Callable[..., Array]:
    return lambda *a: sum(w * np.abs(x) for w, x in zip(weights, a, strict=False))


def _clamp(x: Array, low: Array, high: Array) -> Array:
    return np.minimum(np.maximum(x, low), high)


def ternary(
    name: str,
    reference: Reference,
    domains: tuple[str, str, str] = ("real", "real", "real"),
    *,
    ops: tuple[str, ...] | None = None,
    call: Callable[..., Any] | None = None,
    **more: Any,
) -> Case:
    return Case(
        name,
        ops or (name,),
        call or (lambda L, x, y, z: getattr(L, name)(x, y, z)),
        reference,
        tuple(Arg(domain=d) for d in domains),
        elementwise=True,
        **more,
    )


TERNARY = [
    Case(
        "where",
        ("where",),
        lambda L, c, x, y: L.where(c, x, y),
        np.where,
        (Arg(dtype="bool"), Arg(domain="any"), Arg(domain="any")),
        elementwise=True,
        signed_zero=True,
        edges=True,
    ),
    Case(
        "masked_fill",
        ("where",),
        lambda L, x, m: x.masked_fill(m, 3),
        lambda x, m: np.where(m, np.asarray(3).astype(x.dtype), x),
        (Arg(domain="any"), Arg(dtype="bool")),
        elementwise=True,
        edges=True,
    ),
    ternary(
        "addcmul",
        quiet(lambda x, y, z: x + y * z),
        magnitude=lambda x, y, z: np.abs(x) + 2 * np.abs(y * z),
        half_ulps=1,
    ),
    ternary(
        "addcmul_value",
        quiet(lambda x, y, z: x + 3 * y * z),
        call=lambda L, x, y, z: L.addcmul(x, y, z, value=3),
        magnitude=lambda x, y, z: np.abs(x) + 6 * np.abs(y * z),
        half_ulps=1,
    ),
    ternary(
        "addcdiv",
        floating(lambda x, y, z: x + 3 * y / z),
        ("real", "real", "nonzero"),
        call=lambda L, x, y, z: L.addcdiv(x, y, z, value=3),
        magnitude=lambda x, y, z: np.abs(x) + 6 * np.abs(y / z),
        half_ulps=1,
    ),
    ternary(
        "lerp",
        floating(lambda x, y, z: x + z * (y - x)),
        ("real", "real", "probability"),
        magnitude=lambda x, y, z: 3 * (np.abs(x) + np.abs(y)),
        half_ulps=1,
    ),
    ternary("clamp_tensors", _clamp, ops=("clamp",), call=lambda L, x, y, z: L.clamp(x, y, z)),
]


def number(
    name: str, op: str, call: Callable[..., Any], reference: Reference, ulps: float = 0, **more: Any
) -> Case:
    """A Python number beside a tensor."""
    more.setdefault("edges", True)
    domain = more.pop("domain", "real")
    return Case(
        name,
        (op,),
        call,
        quiet(reference),
        (Arg(domain=domain),),
        ulps=ulps,
        elementwise=True,
        **more,
    )


NUMBERS = [
    number("add_int", "add", lambda L, x: x + 3, lambda x: x + np.int64(3)),
    number("add_float", "add", lambda L, x: x + 0.5, floating(lambda x: x + 0.5)),
    number("int_sub", "sub", lambda L, x: 3 - x, lambda x: np.int64(3) - x),
    number("mul_float", "mul", lambda L, x: 0.25 * x, floating(lambda x: 0.25 * x)),
    number("mul_int", "mul", lambda L, x: x * 5, lambda x: x * np.int64(5)),
    number("div_int", "div", lambda L, x: x / 4, floating(lambda x: x / 4)),
    number("int_div", "div", lambda L, x: 1 / x, floating(lambda x: 1 / x), ulps=1),
    number(
        "floor_divide_int", "floor_divide", lambda L, x: x // 3, lambda x: x // 3, 1, edges=False
    ),
    number("remainder_int", "remainder", lambda L, x: x % 3, lambda x: x % 3, 1, edges=False),
    number("eq_int", "eq", lambda L, x: x == 1, lambda x: x == 1),
    number("gt_float", "gt", lambda L, x: x > 0.5, lambda x: x > 0.5),
    number("bitwise_and_int", "bitwise_and", lambda L, x: x & 6, lambda x: x & np.int64(6)),
    number("shift_int", "bitwise_left_shift", lambda L, x: x << 2, lambda x: x << np.int64(2)),
    number("pow_2", "pow", lambda L, x: x**2, lambda x: x**2, 1, edges=False),
    number(
        "pow_3",
        "pow",
        lambda L, x: x**3,
        lambda x: x.astype(np.int64) ** 3 if x.dtype.kind != "f" else x**3,
        2,
        edges=False,
    ),
    number("pow_half", "pow", lambda L, x: x**0.5, floating(np.sqrt), 2, domain="positive"),
    number(
        "pow_minus_1", "pow", lambda L, x: x**-1.0, floating(lambda x: 1 / x), 2, domain="nonzero"
    ),
    number(
        "pow_float",
        "pow",
        lambda L, x: x**2.5,
        floating(lambda x: x**2.5),
        3,
        domain="positive",
        edges=False,
    ),
    number("number_pow", "pow", lambda L, x: 2.0**x, floating(lambda x: 2.0**x), 2, edges=False),
    number(
        "clamp_both",
        "clamp",
        lambda L, x: L.clamp(x, 0, 2),
        lambda x: np.clip(x, 0, 2) if x.dtype.kind != "b" else x.astype(np.int64),
    ),
    number(
        "clamp_low", "clamp", lambda L, x: x.clamp(min=0.5), floating(lambda x: np.maximum(x, 0.5))
    ),
    number("clamp_high", "clamp", lambda L, x: x.clamp(max=1), lambda x: np.minimum(x, 1)),
    number(
        "where_number", "where", lambda L, x: L.where(x > 0, x, 7), lambda x: np.where(x > 0, x, 7)
    ),
    number(
        "lerp_number",
        "lerp",
        lambda L, x: L.lerp(x, x * 0 + 2, 0.25),
        floating(lambda x: x + 0.25 * (2 - x)),
        2,
        magnitude=lambda x: 3 * np.abs(x) + 2,
        edges=False,
    ),
]


CASTS = [
    Case(
        f"to_{to}",
        ("copy",),
        lambda L, x, to=to: x.to(
            getattr(
                L,
                {
                    "f32": "float32",
                    "f64": "float64",
                    "i64": "int64",
                    "i32": "int32",
                    "bool": "bool",
                    "f16": "float16",
                    "bf16": "bfloat16",
                    "u8": "uint8",
                    "i8": "int8",
                    "i16": "int16",
                }[to],
            )
        ),
        lambda x, to=to: x != 0 if to == "bool" else (np.trunc(x) if to[0] in "iu" else x),
        (Arg(domain="moderate" if to != "u8" else "positive"),),
        elementwise=True,
        half_ulps=0.501,
    )
    for to in ("f32", "f64", "i64", "i32", "bool", "f16", "bf16", "u8", "i8", "i16")
]


def backward(
    name: str,
    derivative: Reference,
    call: Callable[..., Any],
    domain: str = "real",
    ulps: float = 8,
) -> Case:
    """The gradient op of an elementwise op: (x, g) -> g f'(x)."""

    def run(L: Any, x: Any, g: Any) -> Any:
        x = x.detach().requires_grad_()
        return L.autograd.grad(call(L, x), x, g)[0]

    return Case(
        name,
        (name,),
        run,
        lambda x, g: g * derivative(x),
        (Arg(domain=domain), Arg()),
        ulps=ulps,
        half_ulps=4,
        magnitude=lambda x, g: 8 * np.abs(g) * (4 + np.abs(x)),
        elementwise=True,
        broadcasts=False,
        saves_results=True,
        layouts=("contiguous", "transposed", "sliced"),
        dtypes=("f32", "f64", "f16", "bf16"),
    )


def _sigmoid_slope(x: Array) -> Array:
    s = special.expit(x)
    return s * (1 - s)


def _silu_slope(x: Array) -> Array:
    s = special.expit(x)
    return s * (1 + x * (1 - s))


def _gelu_slope(x: Array) -> Array:
    return special.ndtr(x) + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


def _gelu_tanh_slope(x: Array) -> Array:
    k = np.sqrt(2 / np.pi)
    t = np.tanh(k * (x + 0.044715 * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * k * (1 + 3 * 0.044715 * x * x)


BACKWARD = [
    backward("relu_backward", lambda x: (x > 0) * 1.0, lambda L, x: L.relu(x), ulps=0),
    backward("sigmoid_backward", _sigmoid_slope, lambda L, x: L.sigmoid(x)),
    backward("tanh_backward", lambda x: 1 - np.tanh(x) ** 2, lambda L, x: L.tanh(x)),
    backward("silu_backward", _silu_slope, lambda L, x: L.nn.functional.silu(x)),
    backward("gelu_backward", _gelu_slope, lambda L, x: L.nn.functional.gelu(x)),
    backward(
        "gelu_tanh_backward",
        _gelu_tanh_slope,
        lambda L, x: L.nn.functional.gelu(x, approximate="tanh"),
    ),
    backward(
        "leaky_relu_backward",
        lambda x: np.where(x > 0, 1, 0.1),
        lambda L, x: L.nn.functional.leaky_relu(x, 0.1),
    ),
    backward(
        "elu_backward",
        lambda x: np.where(x > 0, 1, 1.5 * np.exp(x)),
        lambda L, x: L.nn.functional.elu(x, 1.5),
    ),
    backward(
        "softplus_backward",
        lambda x: np.where(2 * x > 20, 1, special.expit(2 * x)),
        lambda L, x: L.nn.functional.softplus(x, 2),
    ),
]

MAPS = [*UNARY, *BINARY, *TERNARY, *NUMBERS, *CASTS, *BACKWARD]
assert GRID[0] * GRID[1] > 2048
