"""Scaling the loss, so that gradients in float16 do not vanish."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from quicksilver import _C
from quicksilver._grad_mode import no_grad
from quicksilver.optim.optimizer import Optimizer

Tensor = _C.Tensor


class GradScaler:
    """Multiplies losses by a scale, divides gradients by it before a step, leaves out steps whose
    gradients are not finite, and adapts the scale.

    Args:
        device: where the scale lives; on "cuda", which is not there, it is switched off.
        init_scale: the first scale.
        growth_factor: what it is multiplied by after growth_interval good steps in a row.
        backoff_factor: what it is multiplied by after a bad step.
        enabled: False makes everything pass through.

    Raises:
        AssertionError: the factors point the wrong way.
    """

    def __init__(
        self,
        device: str = "mps",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._device = device
        if enabled and device == "cuda":
            warnings.warn(
                "torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling.",
                stacklevel=2,
            )
            enabled = False
        self._enabled = enabled
        if enabled:
            assert growth_factor > 1.0, "The growth factor must be > 1.0."
            assert backoff_factor < 1.0, "The backoff factor must be < 1.0."
        self._init_scale = init_scale
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._growth_tracker = 0
        self._scale: Tensor | None = None
        # By optimizer: whether its gradients are divided, and a tensor that says if one is not
        # finite.
        self._unscaled: dict[int, Tensor] = {}
        self._stepped: defaultdict[int, bool] = defaultdict(bool)

    def _need_scale(self) -> Tensor:
        if self._scale is None:
            self._scale = _C.full((), self._init_scale, dtype=_C.float32, device=self._device)
        return self._scale

    def scale(self, outputs: Any) -> Any:
        """outputs (a tensor or an iterable of them) times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._need_scale().to(outputs.device)
        if isinstance(outputs, Iterable):
            scaled = (self.scale(o) for o in outputs)
            return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else scaled
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divides the optimizer's gradients by the scale, in place; for clipping before step().

        Raises:
            RuntimeError: it was called for this optimizer already, or after step().
        """
        if not self._enabled:
            return
        if self._stepped[id(optimizer)]:
            raise RuntimeError("unscale_() is being called after step().")
        if id(optimizer) in self._unscaled:
            raise RuntimeError(
                "unscale_() has already been called on this optimizer since the last update()."
            )
        scale = self._need_scale()
        bad: list[Tensor] = []
        with no_grad():
            inverse = scale.double().reciprocal().float()
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    gradient = parameter.grad
                    if gradient is None:
                        continue
                    if gradient.dtype is _C.float16:
                        raise ValueError("Attempting to unscale FP16 gradients.")
                    gradient.mul_(inverse.to(gradient.device))
                    bad.append(gradient.isfinite().logical_not().any().to(scale.device))
            if not bad:
                raise AssertionError("No inf checks were recorded for this optimizer.")
            self._unscaled[id(optimizer)] = _C.stack(bad).any()

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """optimizer.step(...) with gradients divided by the scale; left out when one is not finite.

        Raises:
            RuntimeError: it was called twice since the last update(), or with a closure.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        if self._stepped[id(optimizer)]:
            raise RuntimeError("step() has already been called since the last update().")
        if id(optimizer) not in self._unscaled:
            self.unscale_(optimizer)
        self._stepped[id(optimizer)] = True
        if self._unscaled[id(optimizer)].item():
            return None
        return optimizer.step(*args, **kwargs)

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adapts the scale after the steps of an iteration, or sets it."""
        if not self._enabled:
            return
        if self._scale is None:
            raise AssertionError(
                "Attempted update but _scale is None.  This may indicate your script did not use"
                " scaler.scale(loss or outputs) earlier in the iteration."
            )
        scale = self._scale
        if new_scale is not None:
            scale.fill_(float(new_scale))
        else:
            if not self._unscaled:
                raise AssertionError("No inf checks were recorded prior to update.")
            if any(bool(bad.item()) for bad in self._unscaled.values()):
                scale.mul_(self._backoff_factor)
                self._growth_tracker = 0
            else:
                self._growth_tracker += 1
                if self._growth_tracker == self._growth_interval:
                    scale.mul_(self._growth_factor)
                    self._growth_tracker = 0
        self._unscaled.clear()
        self._stepped.clear()

    def get_scale(self) -> float:
        """The scale; waits for the device."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else self._scale.item()

    def get_growth_factor(self) -> float:
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """Scale, factors and how many good steps there were; empty when not enabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what state_dict gave.

        Raises:
            RuntimeError: it is empty, from a scaler that was not enabled.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled"
                " instance of GradScaler."
            )
        self._init_scale = state_dict["scale"]
        if self._scale is not None:
            self._scale.fill_(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._growth_tracker = state_dict["_growth_tracker"]
