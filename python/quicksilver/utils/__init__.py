"""Helpers beside the tensors: data loading, checkpointing, hooks."""

from __future__ import annotations

import importlib
from typing import Any

_LAZY = ("_pytree", "checkpoint", "data", "dlpack", "hooks")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*_LAZY]
