"""PyTorch's compiler switches. There is nothing to compile: loops are recorded, fused and replayed
as they run, so these give back what they were given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def compile(
    model: Any = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: Any = "inductor",
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    disable: bool = False,
) -> Any:
    """torch.compile: returns model (a function or a Module), or a decorator that does.

    The arguments choose how PyTorch compiles; they change nothing here, where the mps device fuses
    and replays what a program records anyway.

    Raises:
        RuntimeError: mode and options are both given.
    """
    if mode is not None and options is not None:
        raise RuntimeError(
            "Either mode or options can be specified, but both can't be specified at the same time."
        )
    return (lambda fn: fn) if model is None else model


def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """Returns fn, or a decorator that does."""
    return (lambda f: f) if fn is None else fn


def is_compiling() -> bool:
    """False: a program always runs as it stands."""
    return False


is_dynamo_compiling = is_compiling


def reset() -> None:
    """There is nothing to forget."""


def allow_in_graph(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Returns fn."""
    return fn
