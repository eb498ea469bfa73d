"""torch._foreach_*: one op over a list of tensors.

Each is a loop over the op of one tensor; on mps equal kernels become parts of one launch anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from quicksilver import _C

Tensor = _C.Tensor

_UNARY = (
    "abs", "acos", "asin", "atan", "ceil", "cos", "cosh", "erf", "erfc", "exp", "expm1", "floor",
    "frac", "lgamma", "log", "log10", "log1p", "log2", "neg", "reciprocal", "round", "rsqrt",
    "sigmoid", "sign", "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
)  # fmt: skip
_BINARY = ["add", "sub", "mul", "div", "clamp_min", "clamp_max", "maximum", "minimum", "pow"]
_TERNARY = ["addcmul", "addcdiv"]
_TENSOR_OR_NUMBER = {"maximum": "clamp_min", "minimum": "clamp_max"}  # for a number


def _list(values: Any, name: str) -> list[Tensor]:
    if not isinstance(values, (list, tuple)):
        raise TypeError(
            f"_foreach_{name}(): argument 'self' (position 1) must be tuple of Tensors, not"
            f" {type(values).__name__}"
        )
    if not values:
        raise RuntimeError("Tensor list must have at least one tensor.")
    return list(values)


def _each(value: Any, count: int, name: str) -> Sequence[Any]:
    """value for each tensor: it may be a list of as many."""
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        raise RuntimeError(
            f"Tensor lists must have the same number of tensors, got {count} and {len(value)}"
        )
    return value


def _unary(name: str) -> Callable[..., Any]:
    def function(self: Any) -> Any:
        return tuple(getattr(x, name)() for x in _list(self, name))

    return function


def _apply(x: Tensor, name: str, other: Any, options: dict[str, Any]) -> Tensor:
    if not isinstance(other, Tensor):
        name = _TENSOR_OR_NUMBER.get(name, name)
    return getattr(x, name)(other, **options)


def _binary(name: str) -> Callable[..., Any]:
    def function(self: Any, other: Any, **options: Any) -> Any:
        tensors = _list(self, name)
        others = _each(other, len(tensors), name)
        return tuple(_apply(x, name, y, options) for x, y in zip(tensors, others, strict=True))

    return function


def _ternary(name: str) -> Callable[..., Any]:
    def function(self: Any, tensor1: Any, tensor2: Any, value: Any = 1) -> Any:
        tensors = _list(self, name)
        count = len(tensors)
        parts = (_each(v, count, name) for v in (tensor1, tensor2, _scalars(value)))
        return tuple(
            getattr(x, name)(a, b, value=v) for x, a, b, v in zip(tensors, *parts, strict=True)
        )

    return function


def _scalars(value: Any) -> Any:
    return value.tolist() if isinstance(value, Tensor) else value


def lerp(self: Any, tensors1: Any, weight: Any) -> Any:
    """x + weight (y - x) for each."""
    tensors = _list(self, "lerp")
    parts = (_each(v, len(tensors), "lerp") for v in (tensors1, weight))
    return tuple(x.lerp(y, w) for x, y, w in zip(tensors, *parts, strict=True))


def norm(self: Any, ord: Any = 2, dtype: Any = None) -> Any:
    """The norm of each."""
    return tuple(x.norm(ord, dtype=dtype) for x in _list(self, "norm"))


def zero_(self: Any) -> Any:
    """Fills each with 0."""
    for x in _list(self, "zero_"):
        x.zero_()
    return self


def copy_(self: Any, src: Any, non_blocking: bool = False) -> Any:
    """Copies each of src."""
    tensors = _list(self, "copy_")
    pairs = zip(tensors, _each(src, len(tensors), "copy_"), strict=True)
    for x, y in pairs:
        x.copy_(y, non_blocking=non_blocking)
    return self


def _in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    """Writes the results over the first list."""

    def written(self: Any, *args: Any, **kwargs: Any) -> Any:
        for x, y in zip(self, function(self, *args, **kwargs), strict=True):
            x.copy_(y)
        return self

    return written


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: _unary(name) for name in _UNARY},
    **{name: _binary(name) for name in _BINARY},
    **{name: _ternary(name) for name in _TERNARY},
    "lerp": lerp,
    "norm": norm,
    "zero_": zero_,
    "copy_": copy_,
}
FUNCTIONS.update({f"{n}_": _in_place(FUNCTIONS[n]) for n in (*_UNARY, *_BINARY, *_TERNARY, "lerp")})


def find(name: str) -> Any:
    """The function torch.<name>, whose name begins with "_foreach_".

    Raises:
        AttributeError: there is none.
    """
    function = FUNCTIONS.get(name.removeprefix("_foreach_"))
    if function is None:
        raise AttributeError(f"module 'quicksilver' has no attribute {name!r}")
    function.__name__ = function.__qualname__ = name
    return function
