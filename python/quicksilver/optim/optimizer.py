"""The base of all optimizers: parameter groups, state, hooks and state dicts.

A subclass keeps its numbers in ``param_groups`` and its tensors in ``state``, and writes ``step``.
Every ``step``, a user's own included, is wrapped once a class: hooks run around it, and at its end
``_C.step_end()`` tells the mps device that a step is over, which is where its tape is cut.
"""

from __future__ import annotations

import functools
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any

from quicksilver import _C
from quicksilver._grad_mode import enable_grad, set_grad_enabled
from quicksilver.utils.hooks import RemovableHandle

Tensor = _C.Tensor
ParamsT = Any
_step_end = _C.step_end
_forget_gradients = _C._forget_gradients
_losses = _C._losses

_global_step_pre_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()
_global_step_post_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()


class _RequiredParameter:
    def __repr__(self) -> str:
        return "<required parameter>"


required = _RequiredParameter()


def register_optimizer_step_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls hook(optimizer, args, kwargs) before the step of every optimizer."""
    handle = RemovableHandle(_global_step_pre_hooks)
    _global_step_pre_hooks[handle.id] = hook
    return handle


def register_optimizer_step_post_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls hook(optimizer, args, kwargs) after the step of every optimizer."""
    handle = RemovableHandle(_global_step_post_hooks)
    _global_step_post_hooks[handle.id] = hook
    return handle


def _wrap_step(step: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(step)
    def wrapped(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if self._losses != _losses():
            self._forget_lost_state()
        if (
            _global_step_pre_hooks
            or _global_step_post_hooks
            or self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
        ):
            result = _step_with_hooks(self, step, args, kwargs)
        else:
            result = step(self, *args, **kwargs)
        self._opt_called = True  # for the schedulers' warning
        _step_end()
        return result

    wrapped.hooked = True  # type: ignore[attr-defined]
    return wrapped


def _step_with_hooks(
    self: Optimizer, step: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    full = (self, *args)
    for hook in chain(
        list(_global_step_pre_hooks.values()), list(self._optimizer_step_pre_hooks.values())
    ):
        result = hook(self, full, kwargs)
        if result is not None:
            if not (isinstance(result, tuple) and len(result) == 2):
                raise RuntimeError(
                    f"{step} must return None or a tuple of (new_args, new_kwargs), but got"
                    f" {result}."
                )
            full, kwargs = result
    out = step(*full, **kwargs)
    for hook in chain(
        list(self._optimizer_step_post_hooks.values()), list(_global_step_post_hooks.values())
    ):
        hook(self, full, kwargs)
    return out


class Optimizer:
    """Base class of optimizers.

    Args:
        params: tensors, (name, tensor) pairs, or dicts {"params": ..., option: value} that give a
            group of parameters options of its own.
        defaults: the options of groups that do not say otherwise.

    Attributes:
        param_groups: a dict a group: "params" and every option.
        state: what the optimizer remembers, by parameter.

    Raises:
        TypeError: params is one tensor, or holds something that is no tensor.
        ValueError: there are no parameters, one is no leaf, or one stands in two groups.
    """

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self._make_hook_tables()
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts,"
                " but got " + params.type()
            )
        self.state: defaultdict[Tensor, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        step = cls.__dict__.get("step")
        if step is not None and not getattr(step, "hooked", False):
            cls.step = _wrap_step(step)  # type: ignore[method-assign]

    def _make_hook_tables(self) -> None:
        self._optimizer_step_pre_hooks: OrderedDict[int, Any] = OrderedDict()
        self._optimizer_step_post_hooks: OrderedDict[int, Any] = OrderedDict()
        self._optimizer_state_dict_pre_hooks: OrderedDict[int, Any] = OrderedDict()
        self._optimizer_state_dict_post_hooks: OrderedDict[int, Any] = OrderedDict()
        self._optimizer_load_state_dict_pre_hooks: OrderedDict[int, Any] = OrderedDict()
        self._optimizer_load_state_dict_post_hooks: OrderedDict[int, Any] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {
            "defaults": self.defaults,
            "state": self.state,
            "param_groups": self.param_groups,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "_optimizer_step_pre_hooks" not in self.__dict__:
            self._make_hook_tables()
        self.defaults.setdefault("differentiable", False)

    def __repr__(self) -> str:
        text = type(self).__name__ + " ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            for key in sorted(group):
                if key != "params":
                    text += f"    {key}: {group[key]}\n"
        return text + ")"

    # ---- hooks --------------------------------------------------------------------------------
    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls hook(optimizer, args, kwargs) before step; it may return new (args, kwargs)."""
        return _register(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls hook(optimizer, args, kwargs) after step."""
        return _register(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Calls hook(optimizer) before state_dict."""
        return _register(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Calls hook(optimizer, state_dict) after state_dict; it may return another one."""
        return _register(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Calls hook(optimizer, state_dict) before loading; it may return another one."""
        return _register(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Calls hook(optimizer) after loading."""
        return _register(self._optimizer_load_state_dict_post_hooks, hook, prepend)

    _opt_called = False
    _losses = 0  # of the process, when the state was last looked through

    # ---- stepping -----------------------------------------------------------------------------
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step along the gradients; a closure computes the loss again and is returned."""
        raise NotImplementedError

    def _forget_lost_state(self) -> None:
        """Drops the state of parameters whose first step was recorded and then failed with its
        run: it begins anew, as if that step had never been made."""
        self._losses = _losses()
        for key in [key for key, own in self.state.items() if _has_lost(own)]:
            del self.state[key]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients of all parameters, or sets them to zero."""
        if set_to_none:
            _forget_gradients(self.param_groups)
            return
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is not None:
                    if gradient.grad_fn is not None:
                        gradient.detach_()
                    else:
                        gradient.requires_grad_(False)
                    gradient.zero_()

    # ---- groups -------------------------------------------------------------------------------
    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group: {"params": tensor or tensors, option: value, ...}."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, Tensor):
            params = [params]
        elif isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the"
                " ordering of tensors in sets will change between runs. Please use a list instead."
            )
        else:
            params = list(params)
        param_group["params"] = self._take_names(param_group, params)
        for parameter in param_group["params"]:
            if not isinstance(parameter, Tensor):
                raise TypeError(
                    "optimizer can only optimize Tensors, but one of the params is "
                    + type(parameter).__name__
                )
            if not (self.defaults.get("differentiable") or parameter.is_leaf):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(
                    f"parameter group didn't specify a value of required optimization parameter"
                    f" {name}"
                )
            param_group.setdefault(name, default)
        params = param_group["params"]
        if len(params) != len({id(p) for p in params}):
            import warnings

            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this"
                " will cause an error; see github.com/pytorch/pytorch/issues/40967 for more"
                " information",
                stacklevel=3,
            )
        known = {id(p) for group in self.param_groups for p in group["params"]}
        if any(id(p) in known for p in params):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    def _take_names(self, param_group: dict[str, Any], params: list[Any]) -> list[Any]:
        """Splits (name, tensor) pairs; all groups have names or none has."""
        named = [isinstance(p, tuple) for p in params]
        if any(named):
            if not all(named):
                raise ValueError(
                    "all optimizer params should be with/without names. Some param names are"
                    " missing"
                )
            param_group["param_names"] = [name for name, _ in params]
            params = [p for _, p in params]
        if self.param_groups:
            now, before = "param_names" in param_group, "param_names" in self.param_groups[0]
            if now != before:
                raise ValueError(
                    "all optimizer param groups should be with/without names. cannot add param"
                    f" group with{'' if now else 'out'} names to the optimizer"
                )
        return params

    # ---- state dicts --------------------------------------------------------------------------
    def state_dict(self) -> dict[str, Any]:
        """{"state": by position of the parameter, "param_groups": with positions as params}."""
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        positions: dict[int, int] = {}
        packed = []
        for group in self.param_groups:
            for parameter in group["params"]:
                positions.setdefault(id(parameter), len(positions))
            out = {key: value for key, value in group.items() if key != "params"}
            out["params"] = [positions[id(p)] for p in group["params"]]
            packed.append(out)
        state = {
            positions[id(key)] if isinstance(key, Tensor) else key: value
            for key, value in self.state.items()
        }
        result = {"state": state, "param_groups": packed}
        for hook in self._optimizer_state_dict_post_hooks.values():
            replaced = hook(self, result)
            if replaced is not None:
                result = replaced
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what state_dict gave; tensors move to their parameter's device and dtype.

        Raises:
            ValueError: the groups differ in number or size.
        """
        state_dict = state_dict.copy()
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            replaced = hook(self, state_dict)
            if replaced is not None:
                state_dict = replaced
        groups = self.param_groups
        saved = deepcopy(state_dict["param_groups"])
        if len(groups) != len(saved):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(g["params"]) != len(s["params"]) for g, s in zip(groups, saved, strict=True)):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of"
                " optimizer's group"
            )
        by_position = dict(
            zip(
                chain.from_iterable(g["params"] for g in saved),
                chain.from_iterable(g["params"] for g in groups),
                strict=True,
            )
        )
        state: defaultdict[Any, Any] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if isinstance(key, Hashable) and key in by_position:
                parameter = by_position[key]
                state[parameter] = _moved_to(parameter, value)
            else:
                state[key] = value
        for group, new in zip(groups, saved, strict=True):
            new["params"] = group["params"]
            if "param_names" in group and "param_names" not in new:
                new["param_names"] = group["param_names"]
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)


class PerParameter(Optimizer):
    """An optimizer that treats each parameter by itself, in plain ops: ``_start`` makes the state
    of a new parameter, ``_update`` takes one step. On mps the steps of all parameters are recorded
    and run as one plan."""

    def _counts(self) -> bool:
        """Whether the state of a parameter has a count of steps."""
        return True

    def _start(self, group: dict[str, Any], parameter: Tensor, own: dict[str, Any]) -> None:
        raise NotImplementedError

    def _update(
        self, group: dict[str, Any], parameter: Tensor, gradient: Tensor, own: dict[str, Any]
    ) -> None:
        raise NotImplementedError

    def __setstate__(self, state: dict[str, Any]) -> None:
        # The options of this class; the base adds one to the defaults of all.
        known = set(self.__dict__.get("defaults") or state["defaults"])
        super().__setstate__(state)
        for group in self.param_groups:
            for name in ("maximize", "differentiable", "capturable"):
                if name in known:
                    group.setdefault(name, False)
            if "foreach" in known:
                group.setdefault("foreach", None)
            counts_as_tensors(self.state, group["params"])

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; a closure is called first, with gradients on, and its result returned."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        state = self.state
        with set_grad_enabled(self.defaults.get("differentiable", False)):
            for group in self.param_groups:
                for parameter in group["params"]:
                    gradient = parameter.grad
                    if gradient is None:
                        continue
                    if group.get("maximize"):
                        gradient = -gradient
                    own = state[parameter]
                    if not own:  # all of it or, when something is raised, nothing
                        made: dict[str, Any] = {"step": new_count()} if self._counts() else {}
                        self._start(group, parameter, made)
                        own.update(made)
                    if "step" in own:
                        own["step"] += 1
                    self._update(group, parameter, gradient, own)
        return loss


def new_count(start: float = 0.0) -> Tensor:
    """A count of steps as PyTorch keeps it: a 0-dim float32 tensor on cpu."""
    return _C.tensor(start, dtype=_C.float32, device="cpu")


def counts_as_tensors(state: Any, parameters: Iterable[Tensor]) -> None:
    """State dicts of old versions count steps in numbers."""
    for parameter in parameters:
        own = state.get(parameter)
        if own and "step" in own and not isinstance(own["step"], Tensor):
            own["step"] = new_count(float(own["step"]))


def check_rates(lr: Any, eps: float | None = None, weight_decay: float | None = None) -> None:
    """The checks that most constructors share.

    Raises:
        ValueError: one is negative or NaN, or a tensor for lr has more than one element.
    """
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if not lr >= 0.0:
        raise ValueError(f"Invalid learning rate: {lr}")
    if eps is not None and not eps >= 0.0:
        raise ValueError(f"Invalid epsilon value: {eps}")
    if weight_decay is not None and not weight_decay >= 0.0:
        raise ValueError(f"Invalid weight_decay value: {weight_decay}")


def check_betas(betas: tuple[Any, Any]) -> None:
    """Raises ValueError when a beta is not in [0, 1)."""
    for i, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}")


def check_flags(fused: bool | None, foreach: bool | None, differentiable: bool) -> None:
    """Raises RuntimeError for the combinations that PyTorch refuses."""
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


def _get_capturable_supported_devices(supports_xla: bool = True) -> list[str]:
    """Where ``capturable`` may be asked for; it changes nothing here."""
    return ["cpu", "mps"]


def _default_to_fused_or_foreach(
    params: Any, differentiable: bool, use_fused: bool = False
) -> tuple[bool, bool]:
    """(fused, foreach) of an optimizer that was not told: neither, as a step is one plan anyway."""
    return False, False


def _has_lost(value: Any) -> bool:
    if isinstance(value, Tensor):
        return _C._is_lost(value)
    if isinstance(value, dict):
        return any(map(_has_lost, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_lost, value))


def _register(table: OrderedDict[int, Any], hook: Any, first: bool = False) -> RemovableHandle:
    handle = RemovableHandle(table)
    table[handle.id] = hook
    if first:
        table.move_to_end(handle.id, last=False)
    return handle


def _moved_to(parameter: Tensor, value: Any, key: str | None = None) -> Any:
    """A saved state of one parameter, its tensors copied to the parameter's device and dtype."""
    if isinstance(value, Tensor):
        if key == "step":  # a count: its dtype stays
            return value.clone()
        dtype = parameter.dtype if parameter.is_floating_point() else value.dtype
        return value.to(device=parameter.device, dtype=dtype, copy=True)
    if isinstance(value, dict):
        return {k: _moved_to(parameter, v, k) for k, v in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return type(value)(_moved_to(parameter, v) for v in value)  # type: ignore[call-arg]
    return value
