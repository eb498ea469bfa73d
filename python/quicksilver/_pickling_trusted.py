"""What a pickle may name beside tensors when it is trusted (``weights_only=False``): NumPy's arrays
and numbers, argparse's namespaces and a few containers.

Checkpoints of training scripts hold such things. They are built here from the pickle's own plain
values, each checked; still nothing that a file says is run.
"""

from __future__ import annotations

from argparse import Namespace
from collections import defaultdict
from collections.abc import Callable
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any

import numpy as np

from quicksilver._pickling import Global, UnpicklingError, check_key

_KINDS = "biufcSUMm"  # the kinds of dtypes without objects in them and without fields
_FACTORIES = {kind.__name__: kind for kind in (list, dict, set, tuple, int, float, str, bool)}


def _dtype(text: Any, align: Any = False, copy: Any = True) -> Any:
    if not isinstance(text, str) or len(text) > 16 or text[:1] not in _KINDS:
        raise UnpicklingError(f"a NumPy dtype {text!r}")
    return np.dtype(text, copy=True)


def _dtype_state(target: Any, state: Any) -> None:
    """Its byte order; those with fields, subarrays or flags are not taken."""
    plain = isinstance(state, tuple) and len(state) >= 8 and state[2:5] == (None, None, None)
    sized = plain and state[5] in (-1, target.itemsize)
    if not sized or state[1] not in ("<", ">", "|", "=") or state[7] not in (0, 8):  # 8: text
        raise UnpicklingError(f"the state of a NumPy dtype: {state!r}")
    target.__setstate__(state)


def _scalar(dtype: Any, content: Any) -> Any:
    if not isinstance(dtype, np.dtype) or not isinstance(content, bytes):
        raise UnpicklingError("a NumPy number is made of no dtype and bytes")
    (value,) = np.frombuffer(content, dtype)
    return value


def _array(kind: Any, shape: Any, letter: Any) -> Any:
    if kind is not NDARRAY:
        raise UnpicklingError(f"a NumPy array of the kind {kind!r}")
    return np.empty(0)


def _array_state(target: Any, state: Any) -> None:
    version, shape, dtype, order, content = state
    if (
        not isinstance(dtype, np.dtype)
        or dtype.hasobject
        or not isinstance(content, bytes)
        or not isinstance(shape, tuple)
        or any(type(n) is not int or n < 0 for n in shape)
    ):
        raise UnpicklingError("the state of a NumPy array is no dtype, sizes and bytes")
    target.__setstate__((version, shape, dtype, bool(order), content))


def _from_buffer(content: Any, dtype: Any, shape: Any, order: Any) -> Any:
    made = np.empty(0)
    content = bytes(content) if isinstance(content, (bytes, bytearray)) else content
    _array_state(made, (1, shape, dtype, order == "F", content))
    return made


def _namespace_state(target: Any, state: Any) -> None:
    if not isinstance(state, dict) or any(not isinstance(key, str) for key in state):
        raise UnpicklingError("the state of a namespace is no dict of names")
    target.__dict__.update(state)


def _default_dict(factory: Any = None, items: Any = ()) -> Any:
    if factory is not None and factory not in _FACTORIES.values():
        raise UnpicklingError(f"a defaultdict of {factory!r}")
    made = defaultdict(factory)
    for key, value in items.items() if isinstance(items, dict) else items:
        check_key(key)
        made[key] = value
    return made


def _path(*parts: Any) -> Any:
    if any(not isinstance(part, str) for part in parts):
        raise UnpicklingError("a path is made of something that is not text")
    return PurePosixPath(*parts)


def _frozen(items: Any = ()) -> Any:
    for item in items:
        check_key(item)
    return frozenset(items)


NDARRAY = Global("numpy", "ndarray")

_BUILDERS = [
    NDARRAY,
    Global("numpy", "dtype", _dtype),
    *(
        found
        for module in ("numpy._core", "numpy.core")  # NumPy 2 and 1
        for found in (
            Global(f"{module}.multiarray", "scalar", _scalar),
            Global(f"{module}.multiarray", "_reconstruct", _array),
            Global(f"{module}.numeric", "_frombuffer", _from_buffer),
        )
    ),
    Global("argparse", "Namespace", Namespace),
    Global("types", "SimpleNamespace", SimpleNamespace),
    Global("collections", "defaultdict", _default_dict),
    Global("pathlib", "PosixPath", _path),
    Global("pathlib", "PurePosixPath", _path),
    *(Global(module, "frozenset", _frozen) for module in ("builtins", "__builtin__")),
]
TRUSTED: dict[str, Any] = {repr(g): g for g in _BUILDERS}
TRUSTED.update({f"builtins.{name}": kind for name, kind in _FACTORIES.items()})
TRUSTED.update({f"__builtin__.{name}": kind for name, kind in _FACTORIES.items()})

# How the objects that these builders make take the state that a pickle gives them.
STATES: tuple[tuple[type, Callable[[Any, Any], None]], ...] = (
    (np.dtype, _dtype_state),
    (np.ndarray, _array_state),
    (Namespace, _namespace_state),
    (SimpleNamespace, _namespace_state),
)
