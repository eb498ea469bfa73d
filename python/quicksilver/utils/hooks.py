"""Handles by which hooks are removed again."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from typing import Any


class RemovableHandle:
    """Removes one hook from the table it was put in. Also a context manager.

    Args:
        hooks_dict: the ordered table the hook is about to be put in, under ``handle.id``.
        extra_dict: a table, or a list of tables, that may hold facts about the hook under its id.
    """

    next_id: int = 0
    id: int

    def __init__(self, hooks_dict: dict[int, Any], *, extra_dict: Any = None) -> None:
        self.hooks_dict_ref = _reference(hooks_dict)
        self.id = RemovableHandle.next_id
        RemovableHandle.next_id += 1
        if extra_dict is None:
            extras: tuple[Any, ...] = ()
        elif isinstance(extra_dict, list):
            extras = tuple(_reference(extra) for extra in extra_dict)
        else:
            extras = (_reference(extra_dict),)
        self.extra_dict_ref = extras

    def remove(self) -> None:
        """Removes the hook; harmless when it is gone already."""
        for reference in (self.hooks_dict_ref, *self.extra_dict_ref):
            table = reference()
            if table is not None and self.id in table:
                del table[self.id]

    def __getstate__(self) -> tuple[Any, ...]:
        if not self.extra_dict_ref:
            return (self.hooks_dict_ref(), self.id)
        return (self.hooks_dict_ref(), self.id, tuple(ref() for ref in self.extra_dict_ref))

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        # A table that died before pickling comes back as an empty one of the handle's own.
        self.hooks_dict_ref = _reference(state[0] if state[0] is not None else OrderedDict())
        self.id = state[1]
        RemovableHandle.next_id = max(RemovableHandle.next_id, self.id + 1)
        extras = state[2] if len(state) > 2 else ()
        self.extra_dict_ref = tuple(
            _reference(e if e is not None else OrderedDict()) for e in extras
        )

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        self.remove()


def _reference(table: Any) -> Any:
    """A weak reference; to a plain dict or set, which cannot have one, a strong one."""
    try:
        return weakref.ref(table)
    except TypeError:
        return lambda: table
