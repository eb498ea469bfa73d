"""torch.jit for scripts that ask for it: functions and modules run as they stand.

This is what PyTorch does under ``PYTORCH_JIT=0``. There is nothing to compile here: the mps device
records, fuses and replays what a program does anyway. Programs that were *saved* by TorchScript are
another matter: `load` and `save` are not served.
"""

from __future__ import annotations

import contextlib
import typing
from collections.abc import Callable
from typing import Any

Final = typing.Final


def script(
    obj: Any,
    optimize: None = None,
    _frames_up: int = 0,
    _rcb: Any = None,
    example_inputs: Any = None,
) -> Any:
    """Returns obj: a function, a class or a Module."""
    return obj


def trace(func: Any, example_inputs: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Returns func. The inputs are not run."""
    return func


def trace_module(mod: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
    """Returns mod."""
    return mod


def script_if_tracing(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Returns fn."""
    return fn


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """A decorator that does nothing; with or without arguments."""
    return drop if callable(drop) else lambda fn: fn


def unused(fn: Any) -> Any:
    """Returns fn."""
    return fn


def export(fn: Any) -> Any:
    """Returns fn."""
    return fn


def interface(obj: Any) -> Any:
    """Returns obj."""
    return obj


def is_scripting() -> bool:
    """False: programs run as Python."""
    return False


def is_tracing() -> bool:
    """False: programs run as Python."""
    return False


def annotate(the_type: Any, the_value: Any) -> Any:
    """Returns the_value."""
    return the_value


def isinstance(obj: Any, target_type: Any) -> bool:
    """Whether obj is an instance, where a type may be List[int] and the like: its elements are
    looked at."""
    import builtins

    if builtins.isinstance(target_type, tuple):
        return any(isinstance(obj, t) for t in target_type)
    origin, inner = typing.get_origin(target_type), typing.get_args(target_type)
    if origin is typing.Union:
        return any(isinstance(obj, t) for t in inner)
    if origin is None:
        return builtins.isinstance(obj, target_type)
    if not builtins.isinstance(obj, origin):
        return False
    if origin is dict:
        return all(isinstance(k, inner[0]) and isinstance(v, inner[1]) for k, v in obj.items())
    if origin is tuple:
        return len(obj) == len(inner) and all(map(isinstance, obj, inner))
    return all(isinstance(x, inner[0]) for x in obj)


def freeze(mod: Any, preserved_attrs: Any = None, optimize_numerics: bool = True) -> Any:
    """Returns mod, in evaluation mode.

    Raises:
        RuntimeError: it is in training mode.
    """
    if mod.training:
        raise RuntimeError(
            "Freezing is currently only implemented for modules in eval mode. Please call .eval()"
            " on your module before freezing."
        )
    return mod


def optimize_for_inference(mod: Any, other_methods: Any = None) -> Any:
    """Returns mod."""
    return mod


@contextlib.contextmanager
def optimized_execution(should_optimize: bool) -> Any:
    """A context that does nothing."""
    yield


def fork(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls func at once; `wait` gives its result."""
    return func(*args, **kwargs)


def wait(future: Any) -> Any:
    """What the forked function returned."""
    return future


def _not_served(name: str) -> Any:
    def function(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            f"torch.jit.{name}: programs of TorchScript are not served; keep a state_dict with"
            " torch.save and build the module in Python"
        )

    function.__name__ = name
    function.__doc__ = "Raises NotImplementedError: programs of TorchScript are not served."
    return function


load, save = _not_served("load"), _not_served("save")
