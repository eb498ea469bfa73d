"""Averages of a model's weights: stochastic weight averaging (Izmailov et al. 2018,
arXiv:1803.05407) and exponential moving averages, and SWA's learning-rate schedule."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any, Literal

from quicksilver import _C
from quicksilver._grad_mode import no_grad
from quicksilver.nn.modules.module import Module
from quicksilver.optim.lr_scheduler import LRScheduler
from quicksilver.optim.optimizer import Optimizer

Tensor = _C.Tensor
Average = Callable[[Tensor, Tensor, Any], Tensor]
MultiAverage = Callable[[Any, Any, Any], None]


def _check_decay(decay: float) -> None:
    if decay < 0.0 or decay > 1.0:
        raise ValueError(
            f"Invalid decay value {decay} provided. Please provide a value in [0,1] range."
        )


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAverage:
    """For AveragedModel's multi_avg_fn: average = decay average + (1 - decay) current."""
    _check_decay(decay)

    def ema_update(ema_param_list: Any, current_param_list: Any, _: Any) -> None:
        with no_grad():
            for ema, current in zip(ema_param_list, current_param_list, strict=True):
                if ema.is_floating_point() or ema.is_complex():
                    ema.lerp_(current, 1 - decay)
                else:
                    ema.copy_(ema * decay + current * (1 - decay))

    return ema_update


def get_swa_multi_avg_fn() -> MultiAverage:
    """For AveragedModel's multi_avg_fn: the plain mean."""

    def swa_update(averaged_param_list: Any, current_param_list: Any, num_averaged: Any) -> None:
        with no_grad():
            for averaged, current in zip(averaged_param_list, current_param_list, strict=True):
                averaged.copy_(averaged + (current - averaged) / (float(num_averaged) + 1))

    return swa_update


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """For AveragedModel's avg_fn: decay average + (1 - decay) current."""
    _check_decay(decay)

    def ema_update(ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        with no_grad():
            return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_swa_avg_fn() -> Average:
    """For AveragedModel's avg_fn: the plain mean."""

    def swa_update(averaged_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        with no_grad():
            return averaged_param + (current_param - averaged_param) / (float(num_averaged) + 1)

    return swa_update


class AveragedModel(Module):
    """A copy of a model whose parameters are an average of the model's over calls of
    ``update_parameters``: the plain mean, or what avg_fn or multi_avg_fn makes.

    Args:
        model: what is averaged; the copy is at ``.module``.
        device: where the copy lives.
        avg_fn: (average, current, how many so far) -> average, a parameter each.
        multi_avg_fn: (averages, currents, how many so far), all at once and in place.
        use_buffers: average the buffers too; otherwise they are copied.
    """

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: MultiAverage | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer(
            "n_averaged", _C.tensor(0, dtype=_C.long, device="cpu" if device is None else device)
        )
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Takes the model's present parameters into the average."""
        own, new = (
            [p.detach() for p in (*m.parameters(), *(m.buffers() if self.use_buffers else ()))]
            for m in (self.module, model)
        )
        new = [current.to(average.device) for average, current in zip(own, new, strict=True)]
        count = self.n_averaged
        if int(count) == 0:
            for average, current in zip(own, new, strict=True):
                average.copy_(current)
        elif self.multi_avg_fn is not None or self.avg_fn is None:
            (self.multi_avg_fn or get_swa_multi_avg_fn())(own, new, count)
        else:
            for average, current in zip(own, new, strict=True):
                average.copy_(self.avg_fn(average, current, count.to(average.device)))
        if not self.use_buffers:
            for average, current in zip(self.module.buffers(), model.buffers(), strict=True):
                average.detach().copy_(current.detach().to(average.device))
        self.n_averaged += 1


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Computes the running statistics of all BatchNorm layers anew in one pass over the data.

    Args:
        loader: batches; of a list or tuple the first entry is the input.
        model: the model; a model without BatchNorm is left alone.
        device: where the inputs go.
    """
    layers = [m for m in model.modules() if hasattr(m, "running_mean") and hasattr(m, "momentum")]
    layers = [m for m in layers if type(m).__name__.startswith(("BatchNorm", "SyncBatchNorm"))]
    if not layers:
        return
    was_training = model.training
    model.train()
    momenta = {m: m.momentum for m in layers}
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean over all batches
    with no_grad():
        for batch in loader:
            x = batch[0] if isinstance(batch, (list, tuple)) else batch
            model(x.to(device) if device is not None else x)
    for layer, momentum in momenta.items():
        layer.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """Anneals every group's rate to swa_lr within anneal_epochs, then keeps it."""

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: Any,
        anneal_epochs: int = 10,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        last_epoch: int = -1,
    ) -> None:
        groups = optimizer.param_groups
        rates = list(swa_lr) if isinstance(swa_lr, (list, tuple)) else [swa_lr] * len(groups)
        if len(rates) != len(groups):
            raise ValueError(
                f"swa_lr must have the same length as optimizer.param_groups: swa_lr has"
                f" {len(rates)}, optimizer.param_groups has {len(groups)}"
            )
        for rate, group in zip(rates, groups, strict=True):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must by one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _part(self, t: float) -> float:
        if self._anneal_strategy == "linear":
            return t
        return (1 - math.cos(math.pi * t)) / 2

    def get_lr(self) -> list[Any]:
        """The rates of the next epoch."""
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use"
                " `get_last_lr()`.",
                UserWarning,
                stacklevel=2,
            )
        step = self._step_count - 1
        length = max(1, self.anneal_epochs)
        before = self._part(max(0.0, min(1.0, (step - 1) / length)))
        now = self._part(max(0.0, min(1.0, step / length)))
        rates = []
        for group in self.optimizer.param_groups:
            target = group["swa_lr"]
            # What the rate was before annealing began follows from where it is.
            start = target if before == 1 else (group["lr"] - before * target) / (1 - before)
            rates.append(target * now + start * (1 - now))
        return rates
