"""Registering hooks on modules, and the slow path of a call that has some.

A module without hooks never comes here: ``Module.__call__`` goes straight to ``forward``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from quicksilver import _C
from quicksilver.utils.hooks import RemovableHandle

Hook = Callable[..., Any]

# Hooks of all modules; `_C._set_global_module_hooks` tells the fast call that there are some.
global_forward_hooks: OrderedDict[int, Hook] = OrderedDict()
global_forward_pre_hooks: OrderedDict[int, Hook] = OrderedDict()
global_backward_hooks: OrderedDict[int, Hook] = OrderedDict()
global_backward_pre_hooks: OrderedDict[int, Hook] = OrderedDict()
_GLOBAL_TABLES = (
    global_forward_hooks,
    global_forward_pre_hooks,
    global_backward_hooks,
    global_backward_pre_hooks,
)
_with_kwargs: dict[int, bool] = {}  # forward hooks of all modules that take keyword arguments


class _GlobalHandle(RemovableHandle):
    """Removes a hook of all modules and frees the fast call again after the last one."""

    def remove(self) -> None:
        super().remove()
        _tell_fast_call()


def _tell_fast_call() -> None:
    _C._set_global_module_hooks(any(_GLOBAL_TABLES))


def _register_global(table: OrderedDict[int, Hook], hook: Hook) -> RemovableHandle:
    handle = _GlobalHandle(table, extra_dict=_with_kwargs)
    table[handle.id] = hook
    _tell_fast_call()
    return handle


def register_module_forward_pre_hook(hook: Hook) -> RemovableHandle:
    """Calls ``hook(module, args)`` before the forward of every module; see the method."""
    return _register_global(global_forward_pre_hooks, hook)


def register_module_forward_hook(hook: Hook, *, with_kwargs: bool = False) -> RemovableHandle:
    """Calls ``hook(module, args, output)`` after the forward of every module; see the method."""
    handle = _register_global(global_forward_hooks, hook)
    if with_kwargs:
        _with_kwargs[handle.id] = True
    return handle


def register_module_full_backward_pre_hook(hook: Hook) -> RemovableHandle:
    """Calls ``hook(module, grad_output)`` before the gradients of every module; see the method."""
    return _register_global(global_backward_pre_hooks, hook)


def register_module_full_backward_hook(hook: Hook) -> RemovableHandle:
    """Calls ``hook(module, grad_input, grad_output)`` for every module; see the method."""
    return _register_global(global_backward_hooks, hook)


class HooksMixin:
    """The part of Module that registers hooks and calls a module that has some."""

    training: bool
    _backward_hooks: OrderedDict[int, Hook]
    _backward_pre_hooks: OrderedDict[int, Hook]
    _forward_hooks: OrderedDict[int, Hook]
    _forward_hooks_with_kwargs: OrderedDict[int, bool]
    _forward_hooks_always_called: OrderedDict[int, bool]
    _forward_pre_hooks: OrderedDict[int, Hook]
    _forward_pre_hooks_with_kwargs: OrderedDict[int, bool]
    _state_dict_hooks: OrderedDict[int, Hook]
    _state_dict_pre_hooks: OrderedDict[int, Hook]
    _load_state_dict_pre_hooks: OrderedDict[int, Hook]
    _load_state_dict_post_hooks: OrderedDict[int, Hook]
    forward: Callable[..., Any]

    # ---- registering ------------------------------------------------------------------------
    def register_forward_pre_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(module, args)`` before each forward; a result replaces the arguments.

        With ``with_kwargs`` it is ``hook(module, args, kwargs)``, and a result must be the pair of
        new positional and keyword arguments. ``prepend`` puts it before the hooks there are.
        """
        handle = RemovableHandle(
            self._forward_pre_hooks, extra_dict=self._forward_pre_hooks_with_kwargs
        )
        if with_kwargs:
            self._forward_pre_hooks_with_kwargs[handle.id] = True
        return _put(self._forward_pre_hooks, handle, hook, prepend)

    def register_forward_hook(
        self,
        hook: Hook,
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Calls ``hook(module, args, output)`` after each forward; a result replaces the output.

        With ``with_kwargs`` it is ``hook(module, args, kwargs, output)``. With ``always_call`` the
        hook also runs when forward or another hook raises.
        """
        handle = RemovableHandle(
            self._forward_hooks,
            extra_dict=[self._forward_hooks_with_kwargs, self._forward_hooks_always_called],
        )
        if with_kwargs:
            self._forward_hooks_with_kwargs[handle.id] = True
        if always_call:
            self._forward_hooks_always_called[handle.id] = True
        return _put(self._forward_hooks, handle, hook, prepend)

    def register_full_backward_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(module, grad_output)`` before the module's gradients are computed.

        A result replaces the gradients of the outputs.
        """
        handle = RemovableHandle(self._backward_pre_hooks)
        return _put(self._backward_pre_hooks, handle, hook, prepend)

    def register_full_backward_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(module, grad_input, grad_output)`` once the module's gradients are there.

        A result replaces the gradients of the inputs. Inputs that need no gradient are None.
        """
        handle = RemovableHandle(self._backward_hooks)
        return _put(self._backward_hooks, handle, hook, prepend)

    def register_backward_hook(self, hook: Hook) -> RemovableHandle:
        """register_full_backward_hook, by the name it replaced. PyTorch shows this older hook the
        inputs of the last function in the module; here it sees the module's own."""
        return self.register_full_backward_hook(hook)

    def register_state_dict_post_hook(self, hook: Hook) -> RemovableHandle:
        """Calls ``hook(module, state_dict, prefix, local_metadata)`` at the end of state_dict."""
        handle = RemovableHandle(self._state_dict_hooks)
        return _put(self._state_dict_hooks, handle, hook, False)

    _register_state_dict_hook = register_state_dict_post_hook

    def register_state_dict_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Calls ``hook(module, prefix, keep_vars)`` before state_dict."""
        handle = RemovableHandle(self._state_dict_pre_hooks)
        return _put(self._state_dict_pre_hooks, handle, hook, False)

    def register_load_state_dict_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Calls ``hook(module, state_dict, prefix, local_metadata, strict, missing_keys,
        unexpected_keys, error_msgs)`` before load_state_dict copies."""
        handle = RemovableHandle(self._load_state_dict_pre_hooks)
        return _put(self._load_state_dict_pre_hooks, handle, (hook, True), False)

    def _register_load_state_dict_pre_hook(
        self, hook: Hook, with_module: bool = False
    ) -> RemovableHandle:
        handle = RemovableHandle(self._load_state_dict_pre_hooks)
        return _put(self._load_state_dict_pre_hooks, handle, (hook, with_module), False)

    def register_load_state_dict_post_hook(self, hook: Hook) -> RemovableHandle:
        """Calls ``hook(module, incompatible_keys)`` after load_state_dict; it may edit the keys."""
        handle = RemovableHandle(self._load_state_dict_post_hooks)
        return _put(self._load_state_dict_post_hooks, handle, hook, False)

    # ---- calling ----------------------------------------------------------------------------
    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One call of a module that has hooks, or while there are hooks of all modules."""
        called: set[int] = set()
        try:
            return self._call_hooks_in_order(args, kwargs, called)
        except Exception:
            # An always-called hook that did not run yet runs now; what it raises is dropped, so
            # that the first error stays the one seen.
            for key, hook in list(self._forward_hooks.items()):
                if key in self._forward_hooks_always_called and key not in called:
                    with_kwargs = key in self._forward_hooks_with_kwargs
                    middle = (args, kwargs) if with_kwargs else (args,)
                    try:
                        hook(self, *middle, None)
                    except Exception as error:
                        import warnings

                        warnings.warn(
                            "forward hook with ``always_call=True`` raised an exception that was"
                            f" silenced as another error was raised in forward: {error!s}",
                            stacklevel=2,
                        )
            raise

    def _call_hooks_in_order(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], called: set[int]
    ) -> Any:
        for hook in list(global_forward_pre_hooks.values()):
            result = hook(self, args)
            if result is not None:
                args = result if isinstance(result, tuple) else (result,)
        for key, hook in list(self._forward_pre_hooks.items()):
            if key in self._forward_pre_hooks_with_kwargs:
                result = hook(self, args, kwargs)
                if result is not None:
                    if not (isinstance(result, tuple) and len(result) == 2):
                        raise RuntimeError(
                            "forward pre-hook must return None or a tuple of (new_args,"
                            f" new_kwargs), but got {result}."
                        )
                    args, kwargs = result
            else:
                result = hook(self, args)
                if result is not None:
                    args = result if isinstance(result, tuple) else (result,)

        backward = None
        hooks = [*global_backward_hooks.values(), *self._backward_hooks.values()]
        pre_hooks = [*global_backward_pre_hooks.values(), *self._backward_pre_hooks.values()]
        if hooks or pre_hooks:
            from quicksilver.nn.modules._backward_hooks import BackwardHook

            backward = BackwardHook(self, hooks, pre_hooks)
            args = backward.watch_inputs(args)

        output = self.forward(*args, **kwargs)

        for key, hook in list(global_forward_hooks.items()):
            middle = (args, kwargs) if key in _with_kwargs else (args,)
            result = hook(self, *middle, output)
            if result is not None:
                output = result
        for key, hook in list(self._forward_hooks.items()):
            called.add(key)
            if key in self._forward_hooks_with_kwargs:
                result = hook(self, args, kwargs, output)
            else:
                result = hook(self, args, output)
            if result is not None:
                output = result
        return backward.watch_outputs(output) if backward else output


def _put(
    table: OrderedDict[int, Any], handle: RemovableHandle, hook: Any, first: bool
) -> RemovableHandle:
    table[handle.id] = hook
    if first:
        table.move_to_end(handle.id, last=False)
    return handle
