"""nn.Module: a named tree of parameters, buffers and submodules with a forward.

The tree lives in three ordered tables of each module, ``_parameters``, ``_buffers`` and
``_modules``; everything here reads or edits those. The two hot paths are C (``_C._ModuleBase``):
a call, which goes straight to ``forward`` when there are no hooks, and the lookup of an attribute
that is not in ``__dict__``, which searches the three tables. Hooks are in `_hooks.py`, walking the
tree in `_walk.py`, state dicts in `_state.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from quicksilver import _C
from quicksilver._grad_mode import no_grad
from quicksilver.nn.modules._hooks import HooksMixin
from quicksilver.nn.modules._hooks import (
    register_module_forward_hook as register_module_forward_hook,
)
from quicksilver.nn.modules._hooks import (
    register_module_forward_pre_hook as register_module_forward_pre_hook,
)
from quicksilver.nn.modules._hooks import (
    register_module_full_backward_hook as register_module_full_backward_hook,
)
from quicksilver.nn.modules._hooks import (
    register_module_full_backward_pre_hook as register_module_full_backward_pre_hook,
)
from quicksilver.nn.modules._state import StateMixin
from quicksilver.nn.modules._walk import WalkMixin, type_name
from quicksilver.nn.parameter import Buffer, Parameter

Tensor = _C.Tensor

_TABLES = (
    "_parameters",
    "_buffers",
    "_modules",
)
_HOOK_TABLES = (
    "_backward_pre_hooks",
    "_backward_hooks",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


class Module(_C._ModuleBase, HooksMixin, StateMixin, WalkMixin):
    """Base class of all networks: subclass it, make submodules in __init__, write forward.

    Attributes that are a Parameter, a Module or a buffer are registered when they are assigned.

    Attributes:
        training: True in training mode (``train()``), False in evaluation (``eval()``).
    """

    dump_patches: bool = False
    call_super_init: bool = False
    _version: int = 1

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent_buffers_set: set[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init:
            if kwargs:
                raise TypeError(
                    f"{type(self).__name__}.__init__() got an unexpected keyword argument"
                    f" '{next(iter(kwargs))}'"
                )
            if args:
                raise TypeError(
                    f"{type(self).__name__}.__init__() takes 1 positional argument but"
                    f" {len(args) + 1} were given"
                )
        # Plain object attributes: the tables must be there before __setattr__ below may run.
        own = self.__dict__
        own["training"] = True
        for name in _TABLES:
            own[name] = {}
        own["_non_persistent_buffers_set"] = set()
        for name in _HOOK_TABLES:
            own[name] = OrderedDict()
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; each subclass defines it."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    # ---- attributes -------------------------------------------------------------------------
    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        kind = type(value)
        if isinstance(value, Parameter):
            if own.get("_parameters") is None:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            _remove(name, own, self._buffers, self._modules, self._non_persistent_buffers_set)
            self.register_parameter(name, value)
            return
        parameters = own.get("_parameters")
        if parameters and name in parameters:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{type_name(value)}' as parameter '{name}'"
                    " (torch.nn.Parameter or None expected)"
                )
            self.register_parameter(name, value)
            return
        modules = own.get("_modules")
        if isinstance(value, Module):
            if modules is None:
                raise AttributeError("cannot assign module before Module.__init__() call")
            _remove(name, own, self._parameters, self._buffers, self._non_persistent_buffers_set)
            modules[name] = value
            return
        if modules and name in modules:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{type_name(value)}' as child module '{name}'"
                    " (torch.nn.Module or None expected)"
                )
            modules[name] = value
            return
        buffers = own.get("_buffers")
        if kind is Buffer or (buffers and name in buffers):
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"cannot assign '{type_name(value)}' as buffer '{name}'"
                    " (torch.nn.Buffer, torch.Tensor or None expected)"
                )
            if kind is Buffer:
                _remove(name, own, self._parameters, self._modules)
                self.register_buffer(name, value, value.persistent)
            else:
                buffers[name] = value  # type: ignore[index]
            return
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if name in self._parameters:
            del self._parameters[name]
        elif name in self._buffers:
            del self._buffers[name]
            self._non_persistent_buffers_set.discard(name)
        elif name in self._modules:
            del self._modules[name]
        else:
            super().__delattr__(name)

    def __dir__(self) -> list[str]:
        names = {*dir(type(self)), *self.__dict__}
        for table in _TABLES:
            names.update(self.__dict__.get(table, ()))
        return sorted(name for name in names if not name[0].isdigit())

    def __setstate__(self, state: dict[str, Any]) -> None:
        own = self.__dict__
        own.update(state)
        for name in _HOOK_TABLES:  # pickles of older versions may lack some
            own.setdefault(name, OrderedDict())
        own.setdefault("_non_persistent_buffers_set", set())

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)

    # ---- registering ------------------------------------------------------------------------
    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Adds a parameter, or None in its place, under a name without dots.

        Raises:
            AttributeError: before ``Module.__init__()``.
            TypeError: the name is no str, or param is no Parameter.
            KeyError: the name is empty, has a dot, or is taken by something else.
            ValueError: param has a history, so it is not a leaf.
        """
        if "_parameters" not in self.__dict__:
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        self._check_name("parameter", name, self._parameters)
        if param is None:
            self._parameters[name] = None
            return
        if not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{type_name(param)}' object to parameter '{name}' "
                "(torch.nn.Parameter or None required)"
            )
        if param.requires_grad and param.grad_fn is not None:
            raise ValueError(
                f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be"
                f" created explicitly. To express '{name}' as a function of another Tensor,"
                " compute the value in the forward() method."
            )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Adds a tensor that belongs to the module's state but is not trained.

        With ``persistent=False`` it is left out of state_dict.

        Raises:
            AttributeError: before ``Module.__init__()``.
            TypeError: the name is no str, or the value is neither a tensor nor None.
            KeyError: the name is empty, has a dot, or is taken by something else.
        """
        if "_buffers" not in self.__dict__:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        self._check_name("buffer", name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{type_name(tensor)}' object to buffer '{name}' "
                "(torch Tensor or None required)"
            )
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Adds a submodule, or None in its place, under a name without dots.

        Raises:
            TypeError: module is no Module, or the name is no str.
            KeyError: the name is empty, has a dot, or is taken by something else.
        """
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{type_name(module)} is not a Module subclass")
        if not isinstance(name, str):
            raise TypeError(f"module name should be a string. Got {type_name(name)}")
        if hasattr(self, name) and name not in self._modules:
            raise KeyError(f"attribute '{name}' already exists")
        if "." in name:
            raise KeyError(f'module name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError('module name can\'t be empty string ""')
        self._modules[name] = module

    register_module = add_module

    def _check_name(self, what: str, name: str, table: dict[str, Any]) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string. Got {type_name(name)}")
        if "." in name:
            raise KeyError(f'{what} name can\'t contain "."')
        if name == "":
            raise KeyError(f'{what} name can\'t be empty string ""')
        if hasattr(self, name) and name not in table:
            raise KeyError(f"attribute '{name}' already exists")

    # ---- changing all tensors ---------------------------------------------------------------
    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Module:
        """Replaces the content of each parameter and buffer by fn of it; objects stay the same."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for parameter in self._parameters.values():
            if parameter is None:
                continue
            with no_grad():
                parameter.data = fn(parameter.data)
                if parameter.grad is not None:
                    parameter.grad = fn(parameter.grad.data)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def apply(self, fn: Callable[[Module], None]) -> Module:
        """Calls fn(module) on every submodule, then on this one; returns self."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Module:
        """Moves to a device and casts floating-point tensors, in place; returns self.

        ``to(device=None, dtype=None, non_blocking=False)``, ``to(dtype)``, ``to(tensor)``.

        Raises:
            TypeError: the dtype is neither floating-point nor complex.
            MPSDeviceError: the device is unknown or not there.
        """
        device, dtype, non_blocking = _parse_to(*args, **kwargs)
        memory_format = kwargs.get("memory_format")
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got"
                f" desired dtype={dtype}"
            )

        def convert(tensor: Tensor) -> Tensor:
            casts = dtype is not None and (tensor.is_floating_point() or tensor.is_complex())
            moved = tensor.to(device, dtype if casts else None, non_blocking)
            # Channels-last is for images and volumes, weights of convolutions among them.
            if memory_format is not None and tensor.dim() in (4, 5):
                moved = moved.contiguous(memory_format=memory_format)
            return moved

        return self._apply(convert)

    def cpu(self) -> Module:
        """Moves all parameters and buffers to the cpu, in place; returns self."""
        return self._apply(lambda tensor: tensor.cpu())

    def mps(self) -> Module:
        """Moves all parameters and buffers to mps, in place; returns self."""
        return self.to("mps")

    def cuda(self, device: Any = None) -> Module:
        """PyTorch's spelling; raises MPSDeviceError, as there is no such device."""
        return self.to("cuda" if device is None else device)

    def type(self, dst_type: Any) -> Module:
        """Casts all parameters and buffers to dst_type, in place; returns self."""
        return self._apply(lambda tensor: tensor.type(dst_type))

    def float(self) -> Module:
        """Casts floating-point tensors to float32, in place; returns self."""
        return self._cast(_C.float32)

    def double(self) -> Module:
        """Casts floating-point tensors to float64, in place; returns self."""
        return self._cast(_C.float64)

    def half(self) -> Module:
        """Casts floating-point tensors to float16, in place; returns self."""
        return self._cast(_C.float16)

    def bfloat16(self) -> Module:
        """Casts floating-point tensors to bfloat16, in place; returns self."""
        return self._cast(_C.bfloat16)

    def _cast(self, dtype: Any) -> Module:
        return self._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)

    def to_empty(self, *, device: Any, recurse: bool = True) -> Module:
        """Moves to a device without copying: the content is undefined afterwards."""
        return self._apply(lambda t: _C.empty_like(t, device=device), recurse=recurse)

    def share_memory(self) -> Module:
        """Puts the cpu tensors in shared memory; tensors here are handed over by copy: returns
        self."""
        return self

    # ---- modes ------------------------------------------------------------------------------
    def train(self, mode: bool = True) -> Module:
        """Sets training mode (or evaluation mode) here and below; returns self.

        Raises:
            ValueError: mode is no bool.
        """
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Module:
        """``train(False)``."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Sets requires_grad of all parameters; returns self."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients of all parameters, or sets them to zero."""
        for parameter in self.parameters():
            gradient = parameter.grad
            if gradient is None:
                continue
            if set_to_none:
                parameter.grad = None
            else:
                if gradient.grad_fn is not None:
                    gradient.detach_()
                else:
                    gradient.requires_grad_(False)
                gradient.zero_()

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: on mps every step is recorded, fused and replayed as it is."""

    # ---- text -------------------------------------------------------------------------------
    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What repr puts between the parentheses; subclasses say their arguments."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({key}): {_indented(repr(module))}" for key, module in self._modules.items()]
        name = self._get_name()
        if len(lines) == 1 and not children:
            return f"{name}({lines[0]})"
        if not lines and not children:
            return f"{name}()"
        return f"{name}(\n  " + "\n  ".join(lines + children) + "\n)"


def _indented(text: str) -> str:
    """All lines but the first moved right by two."""
    return text.replace("\n", "\n  ")


def _remove(name: str, *tables: Any) -> None:
    for table in tables:
        if name in table:
            if isinstance(table, dict):
                del table[name]
            else:
                table.discard(name)


def _parse_to(*args: Any, **kwargs: Any) -> tuple[Any, Any, bool]:
    """(device, dtype, non_blocking) of the arguments of ``to``."""
    values = list(args)
    unknown = set(kwargs) - {"device", "dtype", "non_blocking", "memory_format", "tensor", "other"}
    if unknown:
        raise TypeError(f"to() got an unexpected keyword argument '{sorted(unknown)[0]}'")
    device = kwargs.get("device")
    dtype = kwargs.get("dtype")
    non_blocking = kwargs.get("non_blocking", False)
    other = kwargs.get("tensor", kwargs.get("other"))
    if values and isinstance(values[0], Tensor):
        other = values.pop(0)
    elif values and isinstance(values[0], _C.dtype):
        dtype = values.pop(0)
    elif values:
        device = values.pop(0)
        if values and (values[0] is None or isinstance(values[0], _C.dtype)):
            dtype = values.pop(0)
    if values:
        non_blocking = values.pop(0)
    if other is not None:
        device, dtype = other.device, other.dtype
    if device is not None and not isinstance(device, _C.device):
        device = _C.device(device)  # raises for what is no device
    if dtype is not None and not isinstance(dtype, _C.dtype):
        raise TypeError(f"to(): argument 'dtype' must be torch.dtype, not {type_name(dtype)}")
    return device, dtype, bool(non_blocking)
