"""RMSprop, Adagrad, Adadelta, Adamax, NAdam and RAdam: rates that follow the gradients' sizes."""

from __future__ import annotations

from typing import Any

from quicksilver import _C
from quicksilver.optim.optimizer import (
    ParamsT,
    PerParameter,
    check_betas,
    check_flags,
    check_rates,
    new_count,
)

Tensor = _C.Tensor
State = dict[str, Any]


def _decayed(group: State, parameter: Tensor, gradient: Tensor) -> Tensor:
    """gradient + weight_decay parameter; decoupled, the parameter shrinks instead."""
    decay = group["weight_decay"]
    if not decay:
        return gradient
    if group.get("decoupled_weight_decay"):
        parameter.mul_(1 - float(group["lr"]) * decay)
        return gradient
    return gradient.add(parameter, alpha=decay)


def _moments(group: State, gradient: Tensor, own: State) -> None:
    """The running means of the gradient and of its square."""
    beta1, beta2 = group["betas"]
    own["exp_avg"].lerp_(gradient, 1 - beta1)
    own["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)


class RMSprop(PerParameter):
    """Hinton's lecture 6: s = alpha s + (1 - alpha) g^2, p -= lr g / (sqrt(s) + eps).

    ``centered`` subtracts the squared mean gradient from s (Graves 2013); with momentum the
    quotient is accumulated first.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_rates(lr, eps)
        if not momentum >= 0.0:
            raise ValueError(f"Invalid momentum value: {momentum}")
        check_rates(0.0, None, weight_decay)
        if not alpha >= 0.0:
            raise ValueError(f"Invalid alpha value: {alpha}")
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "alpha": alpha,
                "eps": eps,
                "centered": centered,
                "weight_decay": weight_decay,
                "capturable": capturable,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
            },
        )

    def _start(self, group: State, parameter: Tensor, own: State) -> None:
        own["square_avg"] = _C.zeros_like(parameter)
        if group["momentum"] > 0:
            own["momentum_buffer"] = _C.zeros_like(parameter)
        if group["centered"]:
            own["grad_avg"] = _C.zeros_like(parameter)

    def _update(self, group: State, parameter: Tensor, gradient: Tensor, own: State) -> None:
        lr, alpha = float(group["lr"]), group["alpha"]
        gradient = _decayed(group, parameter, gradient)
        square = own["square_avg"]
        square.mul_(alpha).addcmul_(gradient, gradient, value=1 - alpha)
        if group["centered"]:
            mean = own["grad_avg"]
            mean.lerp_(gradient, 1 - alpha)
            average = square.addcmul(mean, mean, value=-1).sqrt() + group["eps"]
        else:
            average = square.sqrt() + group["eps"]
        if group["momentum"] > 0:
            buffer = own["momentum_buffer"]
            buffer.mul_(group["momentum"]).addcdiv_(gradient, average)
            parameter.add_(buffer, alpha=-lr)
        else:
            parameter.addcdiv_(gradient, average, value=-lr)


class Adagrad(PerParameter):
    """Duchi et al. 2011: s += g^2, p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)."""

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_rates(lr)
        if not lr_decay >= 0.0:
            raise ValueError(f"Invalid lr_decay value: {lr_decay}")
        check_rates(0.0, None, weight_decay)
        if not initial_accumulator_value >= 0.0:
            raise ValueError(
                f"Invalid initial_accumulator_value value: {initial_accumulator_value}"
            )
        check_rates(0.0, eps)
        check_flags(fused, foreach, differentiable)
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "eps": eps,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "fused": fused,
            },
        )
        for group in self.param_groups:
            for parameter in group["params"]:
                own = self.state[parameter]
                own["step"] = new_count()
                self._start(group, parameter, own)

    def _start(self, group: State, parameter: Tensor, own: State) -> None:
        own["sum"] = _C.full_like(parameter, group["initial_accumulator_value"])

    def share_memory(self) -> None:
        """PyTorch's name; tensors here are handed to other processes by copy."""

    def _update(self, group: State, parameter: Tensor, gradient: Tensor, own: State) -> None:
        gradient = _decayed(group, parameter, gradient)
        rate = float(group["lr"]) / (1 + (own["step"].item() - 1) * group["lr_decay"])
        own["sum"].addcmul_(gradient, gradient, value=1)
        parameter.addcdiv_(gradient, own["sum"].sqrt() + group["eps"], value=-rate)


class Adadelta(PerParameter):
    """Zeiler 2012, arXiv:1212.5701: the step is g sqrt(d + eps) / sqrt(s + eps), where s and d are
    running means of the squared gradients and of the squared steps."""

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_rates(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_rates(0.0, eps, weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "rho": rho,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
                "capturable": capturable,
                "foreach": foreach,
                "differentiable": differentiable,
            },
        )

    def _start(self, group: State, parameter: Tensor, own: State) -> None:
        own["square_avg"] = _C.zeros_like(parameter)
        own["acc_delta"] = _C.zeros_like(parameter)

    def _update(self, group: State, parameter: Tensor, gradient: Tensor, own: State) -> None:
        rho, eps = group["rho"], group["eps"]
        gradient = _decayed(group, parameter, gradient)
        square, delta = own["square_avg"], own["acc_delta"]
        square.mul_(rho).addcmul_(gradient, gradient, value=1 - rho)
        change = (delta + eps).sqrt() / (square + eps).sqrt() * gradient
        delta.mul_(rho).addcmul_(change, change, value=1 - rho)
        parameter.add_(change, alpha=-float(group["lr"]))


class Adamax(PerParameter):
    """Adam with the running maximum of |g| in the place of sqrt(v) (arXiv:1412.6980, section 7)."""

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
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
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def _start(self, group: State, parameter: Tensor, own: State) -> None:
        own["exp_avg"] = _C.zeros_like(parameter)
        own["exp_inf"] = _C.zeros_like(parameter)

    def _update(self, group: State, parameter: Tensor, gradient: Tensor, own: State) -> None:
        beta1, beta2 = group["betas"]
        gradient = _decayed(group, parameter, gradient)
        own["exp_avg"].lerp_(gradient, 1 - beta1)
        largest = _C.maximum(own["exp_inf"] * beta2, gradient.abs() + group["eps"])
        own["exp_inf"].copy_(largest)
        rate = float(group["lr"]) / (1 - beta1 ** own["step"].item())
        parameter.addcdiv_(own["exp_avg"], largest, value=-rate)


class NAdam(PerParameter):
    """Adam with Nesterov momentum (Dozat 2016); the momentum follows a schedule,
    mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2)."""

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_rates(lr, eps)
        check_betas(betas)
        check_rates(0.0, None, weight_decay)
        if not momentum_decay >= 0.0:
            raise ValueError(f"Invalid momentum_decay value: {momentum_decay}")
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "differentiable": differentiable,
            },
        )

    def _start(self, group: State, parameter: Tensor, own: State) -> None:
        own["mu_product"] = new_count(1.0)
        own["exp_avg"] = _C.zeros_like(parameter)
        own["exp_avg_sq"] = _C.zeros_like(parameter)

    def _update(self, group: State, parameter: Tensor, gradient: Tensor, own: State) -> None:
        beta1, beta2 = group["betas"]
        lr, count = float(group["lr"]), own["step"].item()
        gradient = _decayed(group, parameter, gradient)
        mu, mu_next = (
            beta1 * (1 - 0.5 * 0.96 ** (t * group["momentum_decay"])) for t in (count, count + 1)
        )
        own["mu_product"] *= mu
        product = own["mu_product"].item()
        _moments(group, gradient, own)
        denominator = (own["exp_avg_sq"] / (1 - beta2**count)).sqrt() + group["eps"]
        parameter.addcdiv_(gradient, denominator, value=-lr * (1 - mu) / (1 - product))
        parameter.addcdiv_(
            own["exp_avg"], denominator, value=-lr * mu_next / (1 - product * mu_next)
        )


class RAdam(PerParameter):
    """Adam whose adaptive rate is rectified, and left out in the first steps, where its variance
    is unbounded (Liu et al. 2019, arXiv:1908.03265)."""

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
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
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "decoupled_weight_decay": decoupled_weight_decay,
                "differentiable": differentiable,
            },
        )

    def _start(self, group: State, parameter: Tensor, own: State) -> None:
        own["exp_avg"] = _C.zeros_like(parameter)
        own["exp_avg_sq"] = _C.zeros_like(parameter)

    def _update(self, group: State, parameter: Tensor, gradient: Tensor, own: State) -> None:
        beta1, beta2 = group["betas"]
        count = own["step"].item()
        gradient = _decayed(group, parameter, gradient)
        _moments(group, gradient, own)
        bias1, bias2 = 1 - beta1**count, 1 - beta2**count
        change = own["exp_avg"] / bias1 * float(group["lr"])
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * count * beta2**count / bias2
        if length > 5.0:
            rectified = (length - 4) * (length - 2) * longest
            rectified = (rectified / ((longest - 4) * (longest - 2) * length)) ** 0.5
            change = change * (bias2**0.5 / (own["exp_avg_sq"].sqrt() + group["eps"])) * rectified
        parameter.sub_(change)
