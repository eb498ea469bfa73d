"""Clipping gradients, in place and without history."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from quicksilver import _C
from quicksilver._grad_mode import no_grad

Tensor = _C.Tensor


def _as_list(parameters: Tensor | Iterable[Tensor], what: str) -> list[Tensor]:
    if isinstance(parameters, Tensor):
        return [parameters]
    result = list(parameters)
    if not result:
        warnings.warn(
            f"`parameters` is an empty generator, no gradient clipping will occur in {what}.",
            stacklevel=3,
        )
    return result


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The p-norm of all tensors seen as one vector: a 0-dim tensor on the first one's device.

    Raises:
        RuntimeError: error_if_nonfinite, and the norm is infinite or NaN.
    """
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    norm_type = float(norm_type)
    if not tensors:
        return _C.tensor(0.0)
    with no_grad():
        first = tensors[0].device
        norms = [tensor.detach().norm(norm_type).to(first) for tensor in tensors]
        total = _C.stack(norms).norm(norm_type)
    if error_if_nonfinite and not bool(total.isfinite()):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite,"
            " so it cannot be clipped. To disable this error and scale the gradients by the"
            " non-finite norm anyway, set `error_if_nonfinite=False`"
        )
    return total


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    total_norm: Tensor,
    foreach: bool | None = None,
) -> None:
    """Multiplies all gradients by min(1, max_norm / (total_norm + 1e-6))."""
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    with no_grad():
        # Not a branch on the value: that would wait for the device.
        factor = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
        for parameter in parameters:
            gradient = parameter.grad
            if gradient is not None:
                gradient.mul_(factor.to(gradient.device))


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scales all gradients down so that their common norm is at most max_norm.

    Returns:
        The norm before scaling, a 0-dim tensor.
    """
    listed = _as_list(parameters, "clip_grad_norm_")
    gradients = [parameter.grad for parameter in listed if parameter.grad is not None]
    total = get_total_norm(gradients, norm_type, error_if_nonfinite)
    clip_grads_with_norm_(listed, max_norm, total)
    return total


def clip_grad_norm(parameters: Any, max_norm: float, norm_type: float = 2.0) -> Tensor:
    """Old name of clip_grad_norm_."""
    warnings.warn(
        "torch.nn.utils.clip_grad_norm is now deprecated in favor of"
        " torch.nn.utils.clip_grad_norm_.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type)


def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Keeps each element of all gradients within [-clip_value, clip_value]."""
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    clip_value = float(clip_value)
    with no_grad():
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.clamp_(min=-clip_value, max=clip_value)
