"""torch._dynamo for scripts that set its switches: they are kept, and change nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from quicksilver.compiler import disable as disable
from quicksilver.compiler import is_compiling as is_compiling
from quicksilver.compiler import reset as reset

config = SimpleNamespace(
    suppress_errors=False,
    cache_size_limit=8,
    recompile_limit=8,
    automatic_dynamic_shapes=True,
    verbose=False,
)


def mark_dynamic(tensor: Any, index: Any, **bounds: Any) -> None:
    """Nothing: plans are found again for other extents by themselves."""


def graph_break(msg: str = "") -> None:
    """Nothing: no function is compiled as a whole."""
