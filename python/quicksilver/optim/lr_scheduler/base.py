"""LRScheduler: what all schedules by epoch share."""

from __future__ import annotations

import warnings
from typing import Any

from quicksilver import _C
from quicksilver.optim.optimizer import Optimizer

Tensor = _C.Tensor

EPOCH_DEPRECATION_WARNING = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where"
    " possible. Please use `scheduler.step()` to step the scheduler. During the deprecation, if"
    " epoch is different from None, the closed form is used instead of the new chainable form,"
    " where available. Please open an issue if you are unable to replicate your use case:"
    " https://github.com/pytorch/pytorch/issues/new/choose."
)


def set_lr(group: dict[str, Any], value: Any) -> None:
    """Sets a group's rate; a rate that is a tensor keeps its identity."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(value)
    else:
        group["lr"] = value


class LRScheduler:
    """Sets the groups' ``lr`` from the number of the epoch; call step() once an epoch.

    Subclasses write get_lr(), the rates of epoch ``last_epoch``, given those of the epoch before,
    and may write _get_closed_form_lr(), the rates from the epoch alone.

    Args:
        optimizer: whose rates are set; each group's ``initial_lr`` is remembered in the group.
        last_epoch: -1 starts afresh; otherwise the epoch at which a run is taken up again.

    Raises:
        TypeError: optimizer is no Optimizer.
        KeyError: a run is taken up but a group has no initial_lr.
    """

    _get_lr_called_within_step = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        if last_epoch == -1:
            for group in optimizer.param_groups:
                lr = group["lr"]
                group.setdefault("initial_lr", lr.clone() if isinstance(lr, Tensor) else lr)
        else:
            for i, group in enumerate(optimizer.param_groups):
                if "initial_lr" not in group:
                    raise KeyError(
                        "param 'initial_lr' is not specified in"
                        f" param_groups[{i}] when resuming scheduler with last_epoch >= 0."
                        "\nThis typically happens when:"
                        "\n1. You're trying to resume training from a checkpoint but haven't"
                        " properly loaded the optimizer state"
                        "\n2. You're using last_epoch >= 0 for a fresh training run (not"
                        " recommended)"
                    )
        self.base_lrs = [_copied(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._is_initial = True
        self._step_count = 0
        self.step()
        self._is_initial = False

    def state_dict(self) -> dict[str, Any]:
        """All attributes but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what state_dict gave."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list[Any]:
        """The rates that were set last."""
        return self._last_lr

    def get_lr(self) -> list[Any]:
        """The rates of epoch last_epoch."""
        raise NotImplementedError

    def step(self, epoch: int | None = None) -> None:
        """Goes to the next epoch (or to a given one) and sets its rates."""
        if self._step_count == 1 and not self.optimizer._opt_called:
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. In PyTorch"
                " 1.1.0 and later, you should call them in the opposite order:"
                " `optimizer.step()` before `lr_scheduler.step()`.  Failure to do this will"
                " result in PyTorch skipping the first value of the learning rate schedule. See"
                " more details at"
                " https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate",
                stacklevel=2,
            )
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_DEPRECATION_WARNING, UserWarning, stacklevel=2)
        self._update(epoch)

    def _update(self, epoch: int | None = None) -> None:
        self._get_lr_called_within_step = True
        try:
            if epoch is None:
                self.last_epoch += 1
                values = self.get_lr()
            else:
                self.last_epoch = epoch
                closed = getattr(self, "_get_closed_form_lr", None)
                values = closed() if closed else self.get_lr()
        finally:
            self._get_lr_called_within_step = False
        for group, lr in zip(self.optimizer.param_groups, values, strict=False):
            set_lr(group, lr)
        self._last_lr = [_copied(group["lr"]) for group in self.optimizer.param_groups]

    def _warn_outside_step(self) -> None:
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use"
                " `get_last_lr()`.",
                UserWarning,
                stacklevel=3,
            )

    def _current(self) -> list[Any]:
        return [group["lr"] for group in self.optimizer.param_groups]


_LRScheduler = LRScheduler


def _copied(lr: Any) -> Any:
    return lr.clone() if isinstance(lr, Tensor) else lr
