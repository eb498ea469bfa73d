"""Parameters and buffers: tensors that a Module registers when they are assigned to it."""

from __future__ import annotations

from typing import Any

from quicksilver import _C

__all__ = ["Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter", "is_lazy"]


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


class _Uninitialized:
    """A tensor whose shape is not known yet: see nn.modules.lazy."""

    _becomes: type

    def materialize(self: Any, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Gives it a shape and uninitialised memory; it becomes an ordinary parameter or buffer."""
        if device is None:
            device = self.data.device
        if dtype is None:
            dtype = self.data.dtype
        self.data = _C.empty(shape, device=device, dtype=dtype)
        self.__class__ = self._becomes

    @property
    def shape(self) -> Any:
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually"
            " happens in `load_state_dict` when trying to load an uninitialized parameter into an"
            " initialized one. Call `forward` to initialize the parameters before accessing their"
            " attributes."
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class UninitializedParameter(_Uninitialized, Parameter):
    """A parameter without a shape, until a lazy module's first forward."""

    _becomes = Parameter

    def __new__(
        cls, requires_grad: bool = True, device: Any = None, dtype: Any = None
    ) -> UninitializedParameter:
        data = _C.empty(0, device=device, dtype=dtype)
        return _C.Tensor._make_subclass(cls, data, requires_grad)


class UninitializedBuffer(_Uninitialized, Buffer):
    """A buffer without a shape, until a lazy module's first forward."""

    _becomes = Buffer

    def __new__(
        cls,
        requires_grad: bool = False,
        device: Any = None,
        dtype: Any = None,
        persistent: bool = True,
    ) -> UninitializedBuffer:
        data = _C.empty(0, device=device, dtype=dtype)
        result = _C.Tensor._make_subclass(cls, data, requires_grad)
        result.persistent = persistent
        return result


def is_lazy(tensor: Any) -> bool:
    """Whether the tensor still has to be materialized."""
    return isinstance(tensor, _Uninitialized)


_C._set_parameter_class(Parameter)
