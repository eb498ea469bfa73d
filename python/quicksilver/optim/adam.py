"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quicksilver import _C
from quicksilver._grad_mode import enable_grad, no_grad
from quicksilver.optim.optimizer import Optimizer, ParamsT

Tensor = _C.Tensor
_adam_step = _C._adam_step_


class Adam(Optimizer):
    """Kingma and Ba 2014, arXiv:1412.6980.

    m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, and after t steps
    p -= lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps), with g = grad + weight_decay p.
    amsgrad uses the largest v so far (Reddi et al. 2018). ``foreach``, ``fused`` and
    ``capturable`` are accepted: all steps are fused on mps.
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
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not lr >= 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not eps >= 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        if not 0.0 <= betas[0] < 1.0:
            raise ValueError(f"Invalid beta parameter at index 0: {betas[0]}")
        if not 0.0 <= betas[1] < 1.0:
            raise ValueError(f"Invalid beta parameter at index 1: {betas[1]}")
        if not weight_decay >= 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        if differentiable:
            raise NotImplementedError(
                f"{type(self).__name__}: differentiable=True is not supported"
            )
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

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name in ("amsgrad", "maximize", "capturable", "differentiable"):
                group.setdefault(name, False)
            group.setdefault("foreach", None)
            group.setdefault("fused", None)
            group.setdefault("decoupled_weight_decay", self._decoupled)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; a closure is called first, with gradients on, and its result returned."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        state = self.state
        for group in self.param_groups:
            lr = float(group["lr"])
            beta1, beta2 = group["betas"]
            eps = group["eps"]
            decay = group["weight_decay"]
            decoupled = group["decoupled_weight_decay"]
            plain = not (group["maximize"] or group["amsgrad"])
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is None:
                    continue
                own = state[parameter]
                if not own:
                    own["step"] = 0
                    own["exp_avg"] = _C.zeros_like(parameter)
                    own["exp_avg_sq"] = _C.zeros_like(parameter)
                    if group["amsgrad"]:
                        own["max_exp_avg_sq"] = _C.zeros_like(parameter)
                own["step"] = count = int(own["step"]) + 1
                if plain:
                    _adam_step(
                        parameter, gradient, own["exp_avg"], own["exp_avg_sq"],
                        lr, beta1, beta2, eps, decay, decoupled, count,
                    )  # fmt: skip
                else:
                    _rare_step(group, parameter, gradient, own)
        return loss


def _rare_step(group: dict[str, Any], parameter: Tensor, gradient: Tensor, own: Any) -> None:
    """The same step spelled out, for maximize and amsgrad."""
    lr = float(group["lr"])
    beta1, beta2 = group["betas"]
    decay = group["weight_decay"]
    if group["maximize"]:
        gradient = gradient.neg()
    with no_grad():
        if decay and group["decoupled_weight_decay"]:
            parameter.mul_(1 - lr * decay)
        elif decay:
            gradient = gradient + decay * parameter
        own["exp_avg"].lerp_(gradient, 1 - beta1)
        own["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        second = own["exp_avg_sq"]
        if group["amsgrad"]:
            second = own["max_exp_avg_sq"].copy_(_C.maximum(own["max_exp_avg_sq"], second))
        bias1 = 1 - beta1 ** own["step"]
        bias2 = 1 - beta2 ** own["step"]
        parameter.addcdiv_(
            own["exp_avg"], (second.sqrt() / bias2**0.5).add_(group["eps"]), value=-lr / bias1
        )


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
