"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quicksilver import _C
from quicksilver._grad_mode import enable_grad
from quicksilver.optim.optimizer import Optimizer, ParamsT

_sgd_step = _C._sgd_step_


class SGD(Optimizer):
    """p -= lr * v, where v = momentum * v + (1 - dampening) * g and g = grad + weight_decay * p.

    The first v is g itself; with nesterov the step is lr * (g + momentum * v) (Sutskever et al.
    2013). maximize goes up the gradient. ``foreach``, ``fused`` and ``differentiable=False`` are
    accepted: all steps are fused on mps.
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
        if differentiable:
            raise NotImplementedError("SGD: differentiable=True is not supported")
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
            lr = float(group["lr"])
            momentum = group["momentum"]
            decay = group["weight_decay"]
            maximize = group["maximize"]
            if not momentum:
                for parameter in group["params"]:
                    gradient = parameter.grad
                    if gradient is not None:
                        if maximize:
                            gradient = gradient.neg()
                        _sgd_step(parameter, gradient, None, lr, decay, 0.0, 0.0, False)
                continue
            dampening = group["dampening"]
            nesterov = group["nesterov"]
            state = self.state
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is None:
                    continue
                if maximize:
                    gradient = gradient.neg()
                own = state[parameter]
                buffer = own.get("momentum_buffer")
                if buffer is None:
                    # 0 * momentum + g, whatever the dampening: the first buffer is g itself.
                    buffer = own["momentum_buffer"] = _C.zeros_like(parameter)
                    _sgd_step(parameter, gradient, buffer, lr, decay, momentum, 0.0, nesterov)
                else:
                    _sgd_step(parameter, gradient, buffer, lr, decay, momentum, dampening, nesterov)
        return loss
