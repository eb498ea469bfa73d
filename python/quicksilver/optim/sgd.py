"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quicksilver import _C
from quicksilver._grad_mode import enable_grad
from quicksilver.optim.optimizer import Optimizer, ParamsT, check_flags

_group_step = _C._sgd_group_step


class SGD(Optimizer):
    """p -= lr * v, where v = momentum * v + (1 - dampening) * g and g = grad + weight_decay * p.

    The first v is g itself; with nesterov the step is lr * (g + momentum * v) (Sutskever et al.
    2013). maximize goes up the gradient. ``foreach`` and ``fused`` choose between implementations
    in PyTorch; here every step is one call over the whole group, fused on mps. With
    ``differentiable`` the step is a part of the graph.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        if isinstance(lr, _C.Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if lr < 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if momentum < 0.0:
            raise ValueError(f"Invalid momentum value: {momentum}")
        if weight_decay < 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, defaults)
        check_flags(fused, foreach, differentiable)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name, default in (
                ("nesterov", False),
                ("maximize", False),
                ("foreach", None),
                ("differentiable", False),
                ("fused", None),
            ):
                group.setdefault(name, default)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; a closure is called first, with gradients on, and its result returned."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["differentiable"]:
                with enable_grad():
                    _differentiable_step(group, self.state)
            else:
                _group_step(group, self.state)
        return loss


def _differentiable_step(group: dict[str, Any], state: Any) -> None:
    """The same step in ops that have gradients."""
    for parameter in group["params"]:
        gradient = parameter.grad
        if gradient is None:
            continue
        if group["maximize"]:
            gradient = -gradient
        if group["weight_decay"]:
            gradient = gradient + group["weight_decay"] * parameter
        if group["momentum"]:
            own = state[parameter]
            buffer = own.get("momentum_buffer")
            if buffer is None:
                buffer = own["momentum_buffer"] = gradient.detach().clone()
            else:
                buffer.mul_(group["momentum"]).add_(gradient, alpha=1 - group["dampening"])
            gradient = gradient + group["momentum"] * buffer if group["nesterov"] else buffer
        parameter.sub_(group["lr"] * gradient)
