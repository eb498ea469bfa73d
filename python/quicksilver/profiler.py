"""Names for stretches of a program, as PyTorch's profiler takes them."""

from __future__ import annotations

from contextlib import ContextDecorator


class record_function(ContextDecorator):
    """Marks a block (or a function) by a name. Nothing listens yet: it runs as without.

    Args:
        name: what the stretch is called.
        args: more about it.
    """

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name
        self.args = args

    def __enter__(self) -> record_function:
        return self

    def __exit__(self, *args: object) -> None:
        """The stretch is over."""
