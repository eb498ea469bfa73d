"""Parameters and buffers: tensors that a Module registers when they are assigned to it."""

from __future__ import annotations

from typing import Any

from quicksilver import _C

__all__ = ["Buffer", "Parameter"]


class Parameter(_C.Tensor):
    """A tensor that is trained. It shares the memory of ``data`` and has no history.

    Args:
        data: any tensor; its dtype must be floating-point or complex if a gradient is wanted.
        requires_grad: whether it wants a gradient.

    Raises:
        RuntimeError: a gradient is wanted for an integer or bool tensor.
    """

    def __new__(cls, data: Any = None, requires_grad: bool = True) -> Parameter:
        if data is None:
            data = _C.empty(0)
        return _C.Tensor._make_subclass(cls, data, requires_grad)

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Buffer(_C.Tensor):
    """A tensor that belongs to a module's state and is not trained: ``self.mask = Buffer(t)``.

    Args:
        data: any tensor; its memory is shared.
        persistent: whether state_dict has it.
    """

    persistent: bool

    def __new__(cls, data: Any = None, *, persistent: bool = True) -> Buffer:
        if data is None:
            data = _C.empty(0)
        result = _C.Tensor._make_subclass(cls, data.detach(), data.requires_grad)
        result.persistent = persistent
        return result


_C._set_parameter_class(Parameter)
