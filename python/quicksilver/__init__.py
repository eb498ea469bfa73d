"""Quicksilver: a deep-learning runtime whose mps device runs on every machine.

``import quicksilver as torch`` is the intent: the same names, arguments, defaults and errors. What
the extension ``_C`` offers under a public name is a name of this package; the rest is composed in
Python. Submodules are imported when they are first used, which keeps the import short.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

from quicksilver import _C, _composed
from quicksilver._grad_mode import (
    enable_grad,
    inference_mode,
    no_grad,
    set_grad_enabled,
)
from quicksilver._settings import (
    are_deterministic_algorithms_enabled,
    get_float32_matmul_precision,
    get_num_interop_threads,
    set_default_device,
    set_default_tensor_type,
    set_float32_matmul_precision,
    set_num_interop_threads,
    typename,
    use_deterministic_algorithms,
)
from quicksilver.functional import (
    broadcast_shapes,
    broadcast_tensors,
    diag,
    einsum,
    meshgrid,
    multinomial,
)

# The whole public surface of the extension: functions over tensors, dtypes, small types, errors.
# Written as a loop so that a new op needs no line here.
_NOT_HERE = ("step_end", "plan_stats", "reset_plan_stats", "describe_plan")
globals().update(
    {
        name: getattr(_C, name)
        for name in dir(_C)
        if not name.startswith("_") and name not in _NOT_HERE
    }
)

_standard_gamma = _C._standard_gamma

__version__: str = _C.__version__

e, pi, inf, nan = math.e, math.pi, math.inf, math.nan
newaxis = None

_MODULES = frozenset(
    (
        "accelerator",
        "amp",
        "autograd",
        "backends",
        "compiler",
        "distributed",
        "distributions",
        "cuda",
        "fft",
        "func",
        "hub",
        "jit",
        "linalg",
        "mps",
        "multiprocessing",
        "nn",
        "optim",
        "profiler",
        "random",
        "return_types",
        "serialization",
        "special",
        "testing",
        "utils",
        "storage",
        "version",
        "_dynamo",
        "_inductor",
    )
)
_FUNCTIONS = {
    "save": "serialization",
    "load": "serialization",
    "compile": "compiler",
    "GradScaler": "amp",
    **dict.fromkeys(
        (
            "autocast", "is_autocast_enabled", "get_autocast_dtype", "set_autocast_enabled",
            "set_autocast_dtype", "is_autocast_cache_enabled", "is_autocast_available",
            "get_autocast_cpu_dtype", "get_autocast_gpu_dtype", "is_autocast_cpu_enabled",
            "set_autocast_cache_enabled", "clear_autocast_cache",
        ),
        "amp.autocast_mode",
    ),
    "vmap": "_vmap",
    "explain": "_explain",
    "Explanation": "_explain",
    "set_printoptions": "_tensor_str",
    "get_printoptions": "_tensor_str",
    "seed": "random",
    "initial_seed": "random",
    "get_rng_state": "random",
    "set_rng_state": "random",
    **dict.fromkeys(
        (
            "FloatTensor", "DoubleTensor", "HalfTensor", "BFloat16Tensor", "ByteTensor",
            "CharTensor", "ShortTensor", "IntTensor", "LongTensor", "BoolTensor",
        ),
        "_legacy_types",
    ),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"quicksilver.{name}")
    if name in _FUNCTIONS:
        value = getattr(importlib.import_module(f"quicksilver.{_FUNCTIONS[name]}"), name)
        globals()[name] = value
        return value
    if name.startswith("_foreach_"):
        value = importlib.import_module("quicksilver._foreach").find(name)
        globals()[name] = value
        return value
    if name in _composed.FUNCTIONS:
        value = _composed.find(_composed.FUNCTIONS[name], name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'quicksilver' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_FUNCTIONS, *_composed.FUNCTIONS})


def _repr(tensor: Any) -> str:
    from quicksilver._tensor_str import tensor_repr

    return tensor_repr(tensor)


_C._set_repr_function(_repr)
