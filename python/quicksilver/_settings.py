"""Process-wide switches."""

from __future__ import annotations

from typing import Any

from quicksilver import _C

_deterministic = True
_matmul_precision = "highest"


def set_default_device(device: Any) -> None:
    """Sets where creation functions put tensors; None is the cpu."""
    _C._set_default_device(device)


def set_default_tensor_type(t: Any) -> None:
    """Sets the default dtype from a tensor type such as torch.DoubleTensor or its name."""
    name = t if isinstance(t, str) else t.__name__
    kinds = {
        "FloatTensor": _C.float32,
        "DoubleTensor": _C.float64,
        "HalfTensor": _C.float16,
        "BFloat16Tensor": _C.bfloat16,
    }
    kind = name.rsplit(".", 1)[-1]
    if kind not in kinds:
        raise TypeError(f"invalid type object: {name} (only floating-point types are supported)")
    _C.set_default_dtype(kinds[kind])


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Accepted: all kernels are deterministic, whatever is said here."""
    global _deterministic
    _deterministic = bool(mode)


def are_deterministic_algorithms_enabled() -> bool:
    """What use_deterministic_algorithms said; True at first."""
    return _deterministic


def set_float32_matmul_precision(precision: str) -> None:
    """Accepted: "highest", "high" or "medium"; products of float32 are float32 products."""
    global _matmul_precision
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(
            f"{precision} is not one of 'highest', 'high', or 'medium'; the current setup stays"
        )
    _matmul_precision = precision


def get_float32_matmul_precision() -> str:
    """What set_float32_matmul_precision said; "highest" at first."""
    return _matmul_precision


def get_num_interop_threads() -> int:
    """1: ops run one after the other."""
    return 1


def set_num_interop_threads(n: int) -> None:
    """Accepted: ops run one after the other."""


def typename(obj: Any, /) -> str:
    """The name of an object's type: "torch.FloatTensor", "int"."""
    from quicksilver.nn.modules._walk import type_name

    return type_name(obj)
