"""Adafactor and Muon: optimizers that treat a matrix as a matrix."""

from __future__ import annotations

import math
from typing import Any

from quicksilver import _C
from quicksilver.optim.optimizer import ParamsT, PerParameter

Tensor = _C.Tensor
State = dict[str, Any]


class Adafactor(PerParameter):
    """Shazeer and Stern 2018, arXiv:1804.04235: the squared gradients of a matrix are remembered by
    their row and column means alone, and their product stands for them.

    Args:
        lr: the largest rate; the rate is min(lr, 1 / sqrt(t)) times the parameter's size.
        beta2_decay: the memory of step t is 1 - t^beta2_decay.
        eps: floors of a squared gradient (None: the dtype's eps) and of the parameter's size.
        d: a step whose root mean square is larger is scaled down to it.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        for text, wrong in (
            (f"Learning rate should be >= 0 but is: {lr}", not lr >= 0.0),
            (f"beta2_decay should be <= 0 but is: {beta2_decay}", not beta2_decay <= 0.0),
            (
                f"epsilon1 should be either None or >= 0 but is: {eps[0]}",
                eps[0] is not None and not eps[0] >= 0.0,
            ),
            (f"epsilon2 should be >= 0 but is: {eps[1]}", not eps[1] >= 0.0),
            (f"Clipping threshold d should be >= 1 but is: {d}", not d >= 1.0),
            (f"weight_decay should be >= 0 but is: {weight_decay}", not weight_decay >= 0.0),
        ):
            if wrong:
                raise ValueError(text)
        super().__init__(
            params,
            {
                "lr": lr,
                "beta2_decay": beta2_decay,
                "eps": eps,
                "d": d,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
            },
        )

    def _start(self, group: State, parameter: Tensor, own: State) -> None:
        if parameter.dim() > 1:
            own["row_var"] = _C.zeros_like(parameter[..., :1])
            own["col_var"] = _C.zeros_like(parameter[..., :1, :])
        else:
            own["variance"] = _C.zeros_like(parameter)

    def _update(self, group: State, parameter: Tensor, gradient: Tensor, own: State) -> None:
        t, lr = own["step"].item(), float(group["lr"])
        fresh = t ** group["beta2_decay"]
        floor, least = group["eps"]
        floor = _C.finfo(parameter.dtype).eps if floor is None else floor
        count = max(parameter.numel(), 1)
        size = (parameter.norm() / math.sqrt(count)).clamp(min=least)
        if group["weight_decay"]:
            parameter.mul_(1 - lr * group["weight_decay"])
        if parameter.dim() > 1:
            squares = gradient.square()
            rows = own["row_var"].lerp_(squares.mean(-1, keepdim=True), fresh)
            columns = own["col_var"].lerp_(squares.mean(-2, keepdim=True), fresh)
            variance = rows @ columns / rows.mean(-2, keepdim=True).clamp(min=floor)
        else:
            variance = own["variance"].lerp_(gradient.square(), fresh)
        update = gradient * variance.clamp(min=floor * floor).rsqrt()
        excess = (update.norm() / (math.sqrt(count) * group["d"])).clamp(min=1.0)
        parameter.sub_(update * (size * min(lr, 1 / math.sqrt(t)) / excess))


class Muon(PerParameter):
    """Jordan 2024: the momentum of a matrix, its singular values set near 1.

    That is done by ns_steps of a Newton-Schulz iteration x <- a x + (b y + c y^2) x, y = x x^T, in
    bfloat16. Parameters that are no matrices belong to another optimizer.

    Args:
        ns_coefficients: a, b and c.
        adjust_lr_fn: how the rate follows a matrix's extents m and n: "original" (or None) is
            sqrt(max(1, m / n)), "match_rms_adamw" is 0.2 sqrt(max(m, n)).

    Raises:
        ValueError: a parameter has not two dimensions, or an option is out of range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        for text, wrong in (
            (f"Learning rate should be >= 0 but is: {lr}", not lr >= 0.0),
            (f"momentum should be >= 0 but is: {momentum}", not momentum >= 0.0),
            (f"weight decay should be >= 0 but is: {weight_decay}", not weight_decay >= 0.0),
            (
                f"Adjust learning rate function {adjust_lr_fn} is not supported",
                adjust_lr_fn not in (None, "original", "match_rms_adamw"),
            ),
        ):
            if wrong:
                raise ValueError(text)
        super().__init__(
            params,
            {
                "lr": lr,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "nesterov": nesterov,
                "ns_coefficients": ns_coefficients,
                "eps": eps,
                "ns_steps": ns_steps,
                "adjust_lr_fn": adjust_lr_fn,
            },
        )
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.dim() != 2:
                    raise ValueError(
                        "Muon only supports 2D parameters whereas we found a parameter with size:"
                        f" {parameter.size()}"
                    )

    def _counts(self) -> bool:
        return False  # the state is the momentum alone

    def _start(self, group: State, parameter: Tensor, own: State) -> None:
        own["momentum_buffer"] = _C.zeros_like(parameter)

    def _update(self, group: State, parameter: Tensor, gradient: Tensor, own: State) -> None:
        momentum, lr = group["momentum"], float(group["lr"])
        buffer = own["momentum_buffer"].lerp_(gradient, 1 - momentum)
        step = gradient.lerp(buffer, momentum) if group["nesterov"] else buffer
        step = _orthogonalised(step, group["ns_coefficients"], group["ns_steps"], group["eps"])
        m, n = parameter.shape
        if group["adjust_lr_fn"] == "match_rms_adamw":
            rate = lr * 0.2 * math.sqrt(max(m, n))
        else:
            rate = lr * math.sqrt(max(1, m / n))
        parameter.mul_(1 - lr * group["weight_decay"]).add_(step, alpha=-rate)


def _orthogonalised(
    x: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    a, b, c = coefficients
    x, tall = x.bfloat16(), x.size(0) > x.size(1)
    x = x.mT if tall else x
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        y = x @ x.mT
        x = _C.addmm(x, _C.addmm(y, y, y, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
