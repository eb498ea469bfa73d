"""Parameters that are computed from others: ``module.weight`` becomes the result of modules over
``module.parametrizations.weight.original``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from typing import Any

from quicksilver import _C
from quicksilver._grad_mode import no_grad
from quicksilver.nn.modules.container import ModuleDict, ModuleList
from quicksilver.nn.modules.module import Module
from quicksilver.nn.parameter import Parameter

Tensor = _C.Tensor

_cache_depth = 0
_cache: dict[tuple[int, str], Tensor] = {}


@contextmanager
def cached() -> Iterator[None]:
    """Within the block each parametrized tensor is computed once."""
    global _cache_depth
    _cache_depth += 1
    try:
        yield
    finally:
        _cache_depth -= 1
        if not _cache_depth:
            _cache.clear()


class ParametrizationList(ModuleList):
    """The modules that compute one tensor, and what they compute it from.

    Attributes:
        original: the tensor that is trained; original0, original1, ... when the first module's
            right_inverse gives several.
    """

    unsafe: bool

    def __init__(
        self, modules: Sequence[Module], original: Tensor | Parameter, unsafe: bool = False
    ) -> None:
        if not modules:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        shape, dtype = original.shape, original.dtype
        with no_grad():
            new: Any = original
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    with suppress(NotImplementedError):
                        new = module.right_inverse(new)
        several = not isinstance(new, Tensor)
        if several and not isinstance(new, Sequence):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...)."
                f" Got {type(new).__name__}"
            )
        self.is_tensor = not several
        self.ntensors = len(new) if several else 1
        if several:
            for i, value in enumerate(new):
                self._register(f"original{i}", value, original)
        else:
            if new.dtype != dtype and not unsafe:
                raise ValueError(
                    "When `right_inverse` outputs one tensor, it may not change the dtype.\n"
                    f"original.dtype: {dtype}\nright_inverse(original).dtype: {new.dtype}"
                )
            if isinstance(original, Parameter):
                if new is not original:
                    with no_grad():
                        original.data = new.detach().clone()
                self.register_parameter("original", original)
            else:
                self.register_buffer("original", new)
        if not unsafe:
            self._check(shape, dtype)

    def _register(self, name: str, value: Tensor, original: Tensor) -> None:
        if isinstance(original, Parameter):
            self.register_parameter(name, Parameter(value, original.requires_grad))
        else:
            self.register_buffer(name, value)

    def _check(self, shape: Any, dtype: Any) -> None:
        out = self()
        if not isinstance(out, Tensor):
            raise ValueError(f"A parametrization must return a tensor. Got {type(out).__name__}.")
        if out.dtype != dtype:
            raise ValueError(
                "Registering a parametrization may not change the dtype of the tensor, unless"
                f" `unsafe` flag is enabled.\nunparametrized dtype: {dtype}\nparametrized dtype:"
                f" {out.dtype}"
            )
        if out.shape != shape:
            raise ValueError(
                "Registering a parametrization may not change the shape of the tensor, unless"
                f" `unsafe` flag is enabled.\nunparametrized shape: {shape}\nparametrized shape:"
                f" {out.shape}"
            )

    def right_inverse(self, value: Tensor) -> None:
        """Sets what is trained so that the computed tensor becomes ``value``."""
        with no_grad():
            new: Any = value
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"parametrization {type(module).__name__} does not implement right_inverse."
                    )
                new = module.right_inverse(new)
            if self.is_tensor:
                self.original.copy_(new)
            else:
                for i, part in enumerate(new):
                    getattr(self, f"original{i}").copy_(part)

    def forward(self) -> Tensor:
        """The tensor, computed."""
        modules = list(self)
        if self.is_tensor:
            value = modules[0](self.original)
        else:
            value = modules[0](*(getattr(self, f"original{i}") for i in range(self.ntensors)))
        for module in modules[1:]:
            value = module(value)
        return value


def _inject_class(module: Module) -> None:
    """Gives the module a class of its own, which properties can be set on."""
    kind = type(module)

    def getstate(self: Module) -> Any:
        raise RuntimeError(
            "Serialization of parametrized modules is only supported through state_dict(). See:\n"
            "https://pytorch.org/tutorials/beginner/saving_loading_models.html"
            "#saving-loading-a-general-checkpoint-for-inference-and-or-resuming-training"
        )

    def deepcopied(self: Module, memo: dict[int, Any]) -> Module:
        made = self.__new__(type(self))
        memo[id(self)] = made
        made.__dict__ = deepcopy(self.__dict__, memo)
        return made

    module.__class__ = type(
        f"Parametrized{kind.__name__}",
        (kind,),
        {"__getstate__": getstate, "__deepcopy__": deepcopied},
    )


def _inject_property(module: Module, name: str) -> None:
    def get(self: Module) -> Tensor:
        parametrization = self.parametrizations[name]
        if not _cache_depth:
            return parametrization()
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = parametrization()
        return _cache[key]

    def assign(self: Module, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    setattr(type(module), name, property(get, assign))


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a tensor of the module (any, without a name) is computed."""
    parametrizations = getattr(module, "parametrizations", None)
    if not isinstance(parametrizations, ModuleDict):
        return False
    if tensor_name is None:
        return len(parametrizations) > 0
    return tensor_name in parametrizations


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Makes ``module.tensor_name`` parametrization(what is trained), after those there are.

    If the parametrization has right_inverse, what is trained starts as right_inverse of the
    present value, and assigning to the tensor sets it.

    Raises:
        ValueError: there is no such tensor, or its shape or dtype would change (but for unsafe).
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        known = module.parametrizations[tensor_name]
        if not unsafe:
            value = getattr(module, tensor_name)
            out = parametrization(value)
            for what in ("dtype", "shape"):
                before, after = getattr(value, what), getattr(out, what)
                if before != after:
                    raise ValueError(
                        f"Registering a parametrization may not change the {what} of the tensor,"
                        f" unless the `unsafe` flag is enabled.\nmodule.{tensor_name}.{what}:"
                        f" {before}\nparametrization(module.{tensor_name}).{what}: {after}"
                    )
            if hasattr(parametrization, "right_inverse"):
                known.right_inverse(parametrization.right_inverse(value.detach()))
        known.append(parametrization)
        known.unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        original = getattr(module, tensor_name)
        made = ParametrizationList([parametrization], original, unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _inject_class(module)
            module.parametrizations = ModuleDict()
        _inject_property(module, tensor_name)
        module.parametrizations[tensor_name] = made
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element"
            f" with name '{tensor_name}'"
        )
    return module


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Makes the tensor a plain one again: its computed value, or with leave_parametrized=False
    what was trained.

    Raises:
        ValueError: it is not parametrized, or was trained as several tensors and is to be left so.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    parametrization = module.parametrizations[tensor_name]
    if parametrization.is_tensor:
        original = parametrization.original
        if leave_parametrized:
            with no_grad():
                value = getattr(module, tensor_name).detach().clone()
            if isinstance(original, Parameter):
                original.data = value
            else:
                original = value
    elif leave_parametrized:
        value = getattr(module, tensor_name).detach()
        trained = any(p.requires_grad for p in parametrization.parameters(recurse=False))
        original = Parameter(value) if trained else value
    else:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is"
            " parametrized in terms of a sequence of tensors."
        )
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    if not len(module.parametrizations):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    if isinstance(original, Parameter):
        module.register_parameter(tensor_name, original)
    else:
        module.register_buffer(tensor_name, original)
    return module


def type_before_parametrizations(module: Module) -> type:
    """The module's class without what parametrizing made of it."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)
