"""What distributions share: broadcasting of parameters, probabilities and logits."""

from __future__ import annotations

from typing import Any

from quicksilver import _C
from quicksilver.functional import broadcast_tensors

Tensor = _C.Tensor

EULER = 0.57721566490153286060


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """Numbers and tensors as tensors of one shape; numbers take the tensors' dtype and device.

    Raises:
        ValueError: a value is neither.
    """
    if not all(isinstance(v, (Tensor, int, float)) for v in values):
        raise ValueError(
            "Input arguments must all be instances of Number, torch.Tensor or objects implementing"
            " __torch_function__."
        )
    tensors = [v for v in values if isinstance(v, Tensor)]
    dtype = tensors[0].dtype if tensors else _C.get_default_dtype()
    device = tensors[0].device if tensors else None
    return tuple(
        broadcast_tensors(
            *(
                v if isinstance(v, Tensor) else _C.tensor(v, dtype=dtype, device=device)
                for v in values
            )
        )
    )


def clamp_probs(probs: Tensor) -> Tensor:
    """Probabilities kept away from 0 and 1 by one rounding step, so that logarithms are finite."""
    eps = _C.finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """log(p), or log(p / (1 - p)) for a binary choice."""
    p = clamp_probs(probs)
    return p.log() - (-p).log1p() if is_binary else p.log()


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """The inverse of probs_to_logits; log-odds need not be normalised."""
    return logits.sigmoid() if is_binary else logits.softmax(-1)


def xlogy(x: Tensor, y: Tensor) -> Tensor:
    """x log(y), 0 where x is 0."""
    return _C.xlogy(x, y)


class lazy_property:
    """A property that is computed once, when it is first read, and kept as an attribute."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped
        self.__doc__ = wrapped.__doc__

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        value = self.wrapped(instance)
        setattr(instance, self.wrapped.__name__, value)
        return value


def sum_rightmost(value: Tensor, dims: int) -> Tensor:
    """The sum over the last `dims` dimensions."""
    return value.sum(tuple(range(-dims, 0))) if dims else value
