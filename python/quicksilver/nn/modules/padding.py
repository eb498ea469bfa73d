"""Padding modules: what lies around the last one, two or three dimensions."""

from __future__ import annotations

from typing import Any

from quicksilver import _C
from quicksilver.nn import functional as F
from quicksilver.nn.modules.module import Module

Tensor = _C.Tensor


class _Pad(Module):
    """padding: one number, or (left, right) of the last dimension, then of the one before, ..."""

    _n = 0
    _mode = "constant"

    def __init__(self, padding: Any) -> None:
        super().__init__()
        if isinstance(padding, int):
            self.padding = (padding,) * (2 * self._n)
        else:
            self.padding = tuple(padding)
            if len(self.padding) != 2 * self._n:
                raise ValueError(
                    f"padding must have {2 * self._n} elements, got {len(self.padding)}"
                )

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """value around the last dimension."""

    _n = 1


class ConstantPad2d(_ConstantPad):
    """value around the last two dimensions."""

    _n = 2


class ConstantPad3d(_ConstantPad):
    """value around the last three dimensions."""

    _n = 3


class ZeroPad1d(ConstantPad1d):
    """Zeros around the last dimension."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad2d(ConstantPad2d):
    """Zeros around the last two dimensions."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad3d(ConstantPad3d):
    """Zeros around the last three dimensions."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ReflectionPad(_Pad):
    _mode = "reflect"


class ReflectionPad1d(_ReflectionPad):
    """The mirror image about the first and last element."""

    _n = 1


class ReflectionPad2d(_ReflectionPad):
    """The mirror image about the edge elements."""

    _n = 2


class ReflectionPad3d(_ReflectionPad):
    """The mirror image about the edge elements."""

    _n = 3


class _ReplicationPad(_Pad):
    _mode = "replicate"


class ReplicationPad1d(_ReplicationPad):
    """The nearest element."""

    _n = 1


class ReplicationPad2d(_ReplicationPad):
    """The nearest element."""

    _n = 2


class ReplicationPad3d(_ReplicationPad):
    """The nearest element."""

    _n = 3


class _CircularPad(_Pad):
    _mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        ranks = (self._n + 1, self._n + 2)
        if input.dim() not in ranks:
            raise ValueError(
                f"expected {ranks[0]}D or {ranks[1]}D input (got {input.dim()}D input)"
            )
        return super().forward(input)


class CircularPad1d(_CircularPad):
    """The elements from the other end."""

    _n = 1


class CircularPad2d(_CircularPad):
    """The elements from the other end."""

    _n = 2


class CircularPad3d(_CircularPad):
    """The elements from the other end."""

    _n = 3
