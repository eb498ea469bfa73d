"""What the parity tests leave out, each with its reason.

A blank that nobody means to keep does not belong here but in a fix.
"""

# ruff: noqa: E501 (one row of a table, one line)
from __future__ import annotations

# Ops of the table that no parity row calls -> why, and which test does.
UNCOVERED: dict[str, str] = {
    "full": "no tensor argument: test_parity_creation.py",
    "arange": "no tensor argument: test_parity_creation.py",
    "linspace": "no tensor argument: test_parity_creation.py",
    "eye": "no tensor argument: test_parity_creation.py",
    "arange_along": "made by the planner: tests/cpp/test_plan_rows.cpp",
    "gather_row": "made by the planner: tests/cpp/test_plan_rows.cpp",
    "scatter_row": "made by the planner: tests/cpp/test_plan_rows.cpp",
    "uniform": "random: test_parity_random.py",
    "normal": "random: test_parity_random.py",
    "bernoulli": "random: test_parity_random.py",
    "random_int": "random: test_parity_random.py",
    "dropout": "random: test_parity_random.py",
    "conv": "needs geometries of its own: test_conv.py",
    "conv_backward_input": "needs geometries of its own: test_conv.py",
    "conv_backward_weight": "needs geometries of its own: test_conv.py",
    "draw": "random: test_distributions.py",
    **dict.fromkeys(
        (
            "complex",
            "polar",
            "conj",
            "complex_abs",
            "complex_sgn",
            "real_part",
            "imag_part",
        ),
        "complex numbers: test_complex.py",
    ),
    "sgd_step": "an optimizer's step: test_parity_steps.py",
    "sgd_momentum_step": "an optimizer's step: test_parity_steps.py",
    "adam_step": "an optimizer's step: test_parity_steps.py",
    "adam_amsgrad_step": "an optimizer's step: test_parity_steps.py",
    "lstm_cell": "a layer's step: test_recurrent.py",
    "lstm_cell_backward": "a layer's step: test_recurrent.py",
    "attention": "a test of its own: test_attention.py",
    "attention_backward": "a test of its own: test_attention.py",
}

# case -> dtype -> why values or dtypes differ from the trace.
KNOWN: dict[str, dict[str, str]] = {}

_WHOLE = ("i64", "i32", "u8", "i8", "i16")
_FLOATS_OF_INTEGERS = "integers compute in floating point, as exp and its kin do; PyTorch raises"
_BOOL = "bool counts as 0 and 1, the result is that of the integers; PyTorch raises"

# case -> (dtypes, why): PyTorch refuses, we serve.
EXTRAS: dict[str, tuple[tuple[str, ...], str]] = {
    **dict.fromkeys(
        ("silu", "gelu", "gelu_tanh", "leaky_relu", "elu", "softplus", "hypot", "lerp", "lerp_number"),
        ((*_WHOLE, "bool"), _FLOATS_OF_INTEGERS),
    ),
    **dict.fromkeys(
        ("avg_pool3d[2x2x2]", "avg_pool3d_backward[2x2x2]", "avg_pool3d[inside]", "avg_pool3d_backward[inside]", "local_response_norm",
         *(f"{name}[{mode} antialias]" for name in ("interpolate", "interpolate_backward")
           for mode in ("bilinear 2d (4, 17)", "bicubic 2d (3, 15)", "lanczos 2d (4, 5)"))),
        (("f16", "bf16"), "summed in f32 and rounded once, as in two dimensions; PyTorch raises"),
    ),
    "frac": ((*_WHOLE, "bool"), "a whole number has no fraction: 0; PyTorch raises"),
    **dict.fromkeys(
        ("abs", "floor", "ceil", "trunc", "round", "relu", "floor_divide", "div_floor", "div_trunc", "remainder",
         "fmod", "pow", "bitwise_left_shift", "bitwise_right_shift", "addcmul", "addcmul_value", "clamp_tensors"),
        (("bool",), _BOOL),
    ),
    **{
        f"{name}[{label}]": (("bool",), "True is larger than False; PyTorch raises")
        for name in ("argmax", "argmin")
        for label in ("all", "0", "1", "-1 keep", "long rows", "long columns", "longest")
    },
}  # fmt: skip

# verb -> which second operands PyTorch refuses and we serve, and why.
PROMOTION_EXTRAS: dict[str, tuple[tuple[str, ...], str]] = {
    **dict.fromkeys(
        ("maximum", "atan2", "logical_and"),
        (("True", "2", "2.5"), "a number is an operand like any other; PyTorch wants a tensor"),
    ),
    **dict.fromkeys(
        ("floor_divide", "remainder", "pow", "fmod", "bitwise_left_shift"),
        (("bool", "0-dim bool", "True"), _BOOL),
    ),
}

# case -> why its results are row-major here where PyTorch's are not. A row-major result serves every
# view that PyTorch's serves; the other way round is never allowed.
ROW_MAJOR: dict[str, str] = {
    **dict.fromkeys(
        (
            "sort[0 False]",
            "sort[1 True]",
            "sort[-1 False]",
            "sort[-1 True]",
            "sort[long]",
            "argsort",
        ),
        "the sort kernel writes rows; PyTorch keeps the input's order",
    ),
    **dict.fromkeys(
        ("index[rows]", "index[negative]", "index[middle]", "index[mixed]"),
        "the gathering kernel writes rows; PyTorch keeps the input's order",
    ),
    "nonzero": "one row a position; PyTorch's CPU writes one column a dimension and transposes",
    "where[indices]": "columns of nonzero",
    **dict.fromkeys(
        ("hardsigmoid_backward", "hardswish_backward", "mish_backward", "log_sigmoid_backward"),
        "strides of a gradient follow the gradient that came in",
    ),
    "rms_norm_backward": "a composite writes rows; PyTorch composes it of elementwise ops",
    "relu_backward": "strides of a gradient follow the gradient that came in",
    "leaky_relu_backward": "strides of a gradient follow the gradient that came in",
}
