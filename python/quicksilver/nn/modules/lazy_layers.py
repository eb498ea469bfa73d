"""Linear and convolution layers that take their number of inputs from the first input."""

from __future__ import annotations

from typing import Any

from quicksilver import _C
from quicksilver.nn.modules.conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from quicksilver.nn.modules.lazy import LazyModuleMixin
from quicksilver.nn.modules.linear import Linear
from quicksilver.nn.parameter import UninitializedParameter

Tensor = _C.Tensor


class LazyLinear(LazyModuleMixin, Linear):
    """Linear with in_features from the last dimension of the first input."""

    cls_to_become = Linear

    def __init__(
        self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(0, 0, False)
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.out_features = out_features
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        if not self.has_uninitialized_params() and self.in_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        if self.has_uninitialized_params():
            self.in_features = input.shape[-1]
            self.weight.materialize((self.out_features, self.in_features))
            if self.bias is not None:
                self.bias.materialize((self.out_features,))
            self.reset_parameters()


class _LazyConv(LazyModuleMixin):
    """The convolution's own arguments without in_channels."""

    def __init__(self: Any, out_channels: int, kernel_size: Any, *args: Any, **more: Any) -> None:
        names = ("stride", "padding", *self._order, "padding_mode", "device", "dtype")
        if len(args) > len(names):
            raise TypeError(f"{type(self).__name__}: too many arguments")
        options = {**dict(zip(names, args, strict=False)), **more}
        bias = options.pop("bias", True)
        kind = {name: options.get(name) for name in ("device", "dtype")}
        super().__init__(0, 0, kernel_size, bias=False, **options)
        self.weight = UninitializedParameter(**kind)
        self.out_channels = out_channels
        if bias:
            self.bias = UninitializedParameter(**kind)

    def reset_parameters(self: Any) -> None:
        if not self.has_uninitialized_params() and self.in_channels != 0:
            super().reset_parameters()

    def initialize_parameters(self: Any, input: Tensor, *args: Any) -> None:
        if not self.has_uninitialized_params():
            return
        spatial = len(self.kernel_size)
        if input.dim() not in (spatial + 1, spatial + 2):
            raise RuntimeError(
                f"Expected {spatial + 1}D (unbatched) or {spatial + 2}D (batched) input to"
                f" {type(self).__name__}, but got input of size: {input.shape}"
            )
        self.in_channels = input.shape[-spatial - 1]
        if self.in_channels % self.groups != 0:
            raise ValueError("in_channels must be divisible by groups")
        if self.transposed:
            first, second = self.in_channels, self.out_channels
        else:
            first, second = self.out_channels, self.in_channels
        self.weight.materialize((first, second // self.groups, *self.kernel_size))
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()


class _Lazy(_LazyConv):
    _order = ("dilation", "groups", "bias")


class _LazyTranspose(_LazyConv):
    _order = ("output_padding", "groups", "bias", "dilation")


class LazyConv1d(_Lazy, Conv1d):
    """Conv1d with in_channels from the first input."""

    cls_to_become = Conv1d


class LazyConv2d(_Lazy, Conv2d):
    """Conv2d with in_channels from the first input."""

    cls_to_become = Conv2d


class LazyConv3d(_Lazy, Conv3d):
    """Conv3d with in_channels from the first input."""

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyTranspose, ConvTranspose1d):
    """ConvTranspose1d with in_channels from the first input."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyTranspose, ConvTranspose2d):
    """ConvTranspose2d with in_channels from the first input."""

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyTranspose, ConvTranspose3d):
    """ConvTranspose3d with in_channels from the first input."""

    cls_to_become = ConvTranspose3d
