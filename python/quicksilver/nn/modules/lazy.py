"""Modules that take the shapes of their parameters from the first input."""

from __future__ import annotations

import warnings
from typing import Any

from quicksilver import _C
from quicksilver.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy

Tensor = _C.Tensor


class LazyModuleMixin:
    """Put before a Module class: parameters are made by initialize_parameters(*inputs) before the
    first forward, after which the object is of the class ``cls_to_become``.

    A subclass makes its parameters as UninitializedParameter or UninitializedBuffer and
    materializes them in initialize_parameters. ``to`` and dtypes may change before; optimizers
    come after.
    """

    cls_to_become: type | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._load_hook = self._register_load_state_dict_pre_hook(self._lazy_load_hook)
        self._initialize_hook = self.register_forward_pre_hook(
            self._infer_parameters, with_kwargs=True
        )
        warnings.warn(
            "Lazy modules are a new feature under heavy development so changes to the API or"
            " functionality can happen at any moment.",
            stacklevel=3,
        )

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        # Nothing to detach where nothing is yet.
        for table in (self._parameters, self._buffers):
            for name, value in table.items():
                if value is None or name in self._non_persistent_buffers_set:
                    continue
                keep = keep_vars or is_lazy(value)
                destination[prefix + name] = value if keep else value.detach()

    def _lazy_load_hook(
        self: Any, state_dict: Any, prefix: str, *rest: Any, **options: Any
    ) -> None:
        """Gives parameters that are not there yet the shapes of those that are loaded."""
        for table in (self._parameters, self._buffers):
            for name, value in table.items():
                given = state_dict.get(prefix + name)
                if value is None or given is None or not is_lazy(value) or is_lazy(given):
                    continue
                value.materialize(given.shape)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Makes the parameters from what the first forward gets; each subclass defines it."""
        raise NotImplementedError(
            f"initialize_parameters is not implemented for {self.__class__.__name__}"
        )

    def has_uninitialized_params(self: Any) -> bool:
        """Whether a parameter or buffer is still without a shape."""
        return any(
            is_lazy(value)
            for table in (self._parameters, self._buffers)
            for value in table.values()
        )

    def _infer_parameters(self: Any, module: Any, args: Any, kwargs: Any = None) -> None:
        module.initialize_parameters(*args, **(kwargs or {}))
        if module.has_uninitialized_params():
            raise RuntimeError(f"module {self.__class__.__name__} has not been fully initialized")
        module._initialize_hook.remove()
        module._load_hook.remove()
        del module._initialize_hook, module._load_hook
        if module.cls_to_become is not None:
            module.__class__ = module.cls_to_become


__all__ = ["LazyModuleMixin", "UninitializedBuffer", "UninitializedParameter"]
