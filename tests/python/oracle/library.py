"""The module under test, its devices and dtypes, and the way to NumPy and back.

QS_TEST_MODULE=torch runs the same tests against PyTorch (on cpu): a failure there is a mistake in
the test, not in the library. The trace scripts in tests/traces use the same switch.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Tensor = Any  # of whichever module is under test

NAME = os.environ.get("QS_TEST_MODULE", "quicksilver")
L = importlib.import_module(NAME)
IS_TORCH = NAME == "torch"
DEVICES = ("cpu",) if IS_TORCH else ("cpu", "mps")

# Short names as the op table and the traces spell them.
NAMES = {
    "bool": "bool",
    "u8": "uint8",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
    "f16": "float16",
    "bf16": "bfloat16",
    "f32": "float32",
    "f64": "float64",
}
SHORT = {full: short for short, full in NAMES.items()}
FAST_DTYPES = ("f32", "f64", "i64", "i32", "bool")
SLOW_DTYPES = ("f16", "bf16", "u8", "i8", "i16")
DTYPES = FAST_DTYPES + SLOW_DTYPES
FLOATING = ("f16", "bf16", "f32", "f64")
HALVES = ("f16", "bf16")
REFUSALS = (TypeError, RuntimeError, NotImplementedError, ValueError)  # "this dtype is not served"


def library_dtype(short: str) -> Any:
    return getattr(L, NAMES[short])


def short_dtype(t: Tensor) -> str:
    """The short name of a tensor's dtype: "f32"."""
    full = str(t.dtype).rsplit(".", maxsplit=1)[-1]
    return SHORT.get(full, full)


def numpy_dtype(short: str) -> np.dtype[Any]:
    """The NumPy dtype that holds values of `short`: bfloat16 lives in float32."""
    return np.dtype("float32" if short == "bf16" else NAMES[short])


def round_to_bf16(a: Array) -> Array:
    """float32 values rounded to the nearest bfloat16, halves to even; NaN stays NaN."""
    bits = np.ascontiguousarray(a, dtype=np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)
    return np.where(np.isnan(a), np.float32(np.nan), rounded).reshape(np.shape(a))


def to_library(a: Array, dtype: str, device: str) -> Tensor:
    """A fresh contiguous tensor with the values of `a`."""
    a = np.array(a, dtype=numpy_dtype(dtype), order="C")
    t = L.from_numpy(a.reshape(-1)).reshape(a.shape)
    if dtype == "bf16":
        t = t.to(L.bfloat16)
    return t.to(device) if device != "cpu" else t.clone()


def to_numpy(t: Tensor) -> Array:
    """The values of a tensor of any device; bfloat16 comes as float32."""
    t = t.detach().cpu()
    if short_dtype(t) == "bf16":
        t = t.float()
    return np.array(t.numpy())


def synchronize(device: str) -> None:
    if device == "mps":
        L.mps.synchronize()


def serves(device: str, dtype: str) -> bool:
    """float64 is the driver's choice: Metal has none."""
    return not (dtype == "f64" and device == "mps" and "metal" in L.backends.mps.driver())
