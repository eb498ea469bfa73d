"""ASGD, Rprop, and SparseAdam's name."""

from __future__ import annotations

from typing import Any

from quicksilver import _C
from quicksilver.optim.optimizer import (
    Optimizer,
    ParamsT,
    PerParameter,
    check_rates,
    new_count,
)

Tensor = _C.Tensor
State = dict[str, Any]


class ASGD(PerParameter):
    """Averaged SGD (Polyak and Juditsky 1992): state["ax"] is the mean of the parameters from step
    t0 on; the rate falls as lr / (1 + lambd lr t)^alpha."""

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_rates(lr, None, weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "lambd": lambd,
                "alpha": alpha,
                "t0": t0,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def _start(self, group: State, parameter: Tensor, own: State) -> None:
        own["eta"] = new_count(float(group["lr"]))
        own["mu"] = new_count(1.0)
        own["ax"] = _C.zeros_like(parameter)

    def _update(self, group: State, parameter: Tensor, gradient: Tensor, own: State) -> None:
        lr, lambd, count = float(group["lr"]), group["lambd"], own["step"].item()
        if group["weight_decay"]:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        eta, mu = own["eta"].item(), own["mu"].item()
        parameter.mul_(1 - lambd * eta)
        parameter.add_(gradient, alpha=-eta)
        if mu == 1:
            own["ax"].copy_(parameter)
        else:
            own["ax"].add_((parameter - own["ax"]) * mu)
        own["eta"] = new_count(lr / (1 + lambd * lr * count) ** group["alpha"])
        own["mu"] = new_count(1 / max(1.0, count - group["t0"]))


class Rprop(PerParameter):
    """Resilient backpropagation (Riedmiller and Braun 1993): each element has a step of its own,
    which grows while its gradient keeps its sign and shrinks when it turns."""

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_rates(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(
            params,
            {
                "lr": lr,
                "etas": etas,
                "step_sizes": step_sizes,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def _start(self, group: State, parameter: Tensor, own: State) -> None:
        own["prev"] = _C.zeros_like(parameter)
        own["step_size"] = _C.full_like(parameter, float(group["lr"]))

    def _update(self, group: State, parameter: Tensor, gradient: Tensor, own: State) -> None:
        smaller, larger = group["etas"]
        product = gradient * own["prev"]
        turned = product < 0
        size = own["step_size"]
        size = _C.where(turned, size * smaller, _C.where(product > 0, size * larger, size))
        size = size.clamp(*group["step_sizes"])
        own["step_size"].copy_(size)
        gradient = _C.where(turned, 0.0, gradient)  # after a turn this step is left out
        parameter.addcmul_(gradient.sign(), size, value=-1)
        own["prev"].copy_(gradient)


class SparseAdam(Optimizer):
    """PyTorch's Adam for sparse gradients. There are no sparse tensors here: gradients of
    embeddings are dense, and Adam takes them."""

    def __init__(self, params: ParamsT, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            "SparseAdam takes sparse gradients, and there are no sparse tensors here; the gradient"
            " of an embedding is dense, so use Adam"
        )
