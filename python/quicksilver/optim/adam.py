"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quicksilver import _C
from quicksilver._grad_mode import enable_grad
from quicksilver.optim.optimizer import (
    Optimizer,
    ParamsT,
    check_betas,
    check_flags,
    check_rates,
    counts_as_tensors,
    new_count,
)

Tensor = _C.Tensor
_group_step = _C._adam_group_step


class Adam(Optimizer):
    """Kingma and Ba 2014, arXiv:1412.6980.

    m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, and after t steps
    p -= lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps), with g = grad + weight_decay p.
    amsgrad uses the largest v so far (Reddi et al. 2018). ``foreach``, ``fused`` and
    ``capturable`` choose between implementations in PyTorch; here every step is one call over the
    whole group, fused on mps. With ``differentiable`` the step is a part of the graph.
    """

    _decoupled = False

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and foreach and not capturable:
            raise ValueError(
                "lr as a Tensor is not supported for capturable=False and foreach=True"
            )
        check_rates(lr, eps)
        check_betas(betas)
        check_rates(0.0, None, weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "differentiable": differentiable,
                "fused": fused,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )
        check_flags(fused, foreach, differentiable)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name in ("amsgrad", "maximize", "capturable", "differentiable"):
                group.setdefault(name, False)
            group.setdefault("foreach", None)
            group.setdefault("fused", None)
            group.setdefault("decoupled_weight_decay", self._decoupled)
            counts_as_tensors(self.state, group["params"])

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
    lr, decay = group["lr"], group["weight_decay"]
    beta1, beta2 = group["betas"]
    for parameter in group["params"]:
        gradient = parameter.grad
        if gradient is None:
            continue
        own = state[parameter]
        if not own:
            names = ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * group["amsgrad"]
            zeros = {name: _C.zeros_like(parameter) for name in names}
            own.update({"step": new_count(), **zeros})
        own["step"] += 1
        count = own["step"].item()
        if group["maximize"]:
            gradient = -gradient
        if decay and group["decoupled_weight_decay"]:
            parameter.mul_(1 - lr * decay)
        elif decay:
            gradient = gradient + decay * parameter
        own["exp_avg"].lerp_(gradient, 1 - beta1)
        own["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        second = own["exp_avg_sq"].clone()  # sqrt keeps it for its gradient
        if group["amsgrad"]:
            second = _C.maximum(own["max_exp_avg_sq"].clone(), second)
            own["max_exp_avg_sq"].copy_(second)
        step_size = lr / (1 - beta1**count)
        denominator = second.sqrt() / (1 - beta2**count) ** 0.5 + group["eps"]
        parameter.sub_(step_size * own["exp_avg"].clone() / denominator)


class AdamW(Adam):
    """Adam with decoupled weight decay: p *= 1 - lr weight_decay (Loshchilov and Hutter 2017,
    arXiv:1711.05101)."""

    _decoupled = True

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True
