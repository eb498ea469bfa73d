"""Convolutions and transposed convolutions of one, two and three dimensions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from quicksilver import _C
from quicksilver.nn import functional as F
from quicksilver.nn import init
from quicksilver.nn.modules.module import Module
from quicksilver.nn.parameter import Parameter

Tensor = _C.Tensor
_PADDING_MODES = {"zeros", "reflect", "replicate", "circular"}
_PADDING_NAMES = {"same", "valid"}


def _tuple(value: Any, count: int) -> tuple[int, ...]:
    """A number stands for one in each dimension."""
    return tuple(value) if isinstance(value, Iterable) else (value,) * count


class _ConvNd(Module):
    """What the six have in common: the parameters and how they are described."""

    _dims: ClassVar[int]
    _convolve: ClassVar[Any]
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        stride: tuple[int, ...],
        padding: str | tuple[int, ...],
        dilation: tuple[int, ...],
        transposed: bool,
        output_padding: tuple[int, ...],
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups != 0:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups != 0:
            raise ValueError("out_channels must be divisible by groups")
        if isinstance(padding, str):
            if padding not in _PADDING_NAMES:
                raise ValueError(
                    f"Invalid padding string {padding!r}, should be one of {_PADDING_NAMES}"
                )
            if padding == "same" and any(s != 1 for s in stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"padding_mode must be one of {_PADDING_MODES},"
                f" but got padding_mode='{padding_mode}'"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.transposed = transposed
        self.output_padding = output_padding
        self.groups = groups
        self.padding_mode = padding_mode
        # What F.pad takes for the modes that are no zeros: the last dimension first, both sides.
        sides: list[tuple[int, int]] = []
        for d, k in enumerate(kernel_size):
            if not isinstance(padding, str):
                sides.append((padding[d], padding[d]))
            elif padding == "same":
                total = dilation[d] * (k - 1)
                sides.append((total // 2, total - total // 2))
            else:
                sides.append((0, 0))
        self._reversed_padding_repeated_twice = [n for side in reversed(sides) for n in side]
        channels = (in_channels, out_channels) if transposed else (out_channels, in_channels)
        shape = (channels[0], channels[1] // groups, *kernel_size)
        self.weight = Parameter(_C.empty(shape, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(_C.empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        # With a = sqrt(5) the bound is exactly 1 / sqrt(fan_in).
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in != 0:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size},"
            f" stride={self.stride}"
        )
        if self.padding != (0,) * len(self.padding):
            text += f", padding={self.padding}"
        if self.dilation != (1,) * len(self.dilation):
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * len(self.output_padding):
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class _Conv(_ConvNd):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        n = self._dims
        super().__init__(
            in_channels,
            out_channels,
            _tuple(kernel_size, n),
            _tuple(stride, n),
            padding if isinstance(padding, str) else _tuple(padding, n),
            _tuple(dilation, n),
            False,
            (0,) * n,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = (0,) * self._dims
        return self._convolve(input, weight, bias, self.stride, padding, self.dilation, self.groups)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)


class Conv1d(_Conv):
    """Cross-correlation over signals: [n, in_channels, l] or [in_channels, l].

    weight is [out_channels, in_channels / groups, k]; it and bias [out_channels] start uniform in
    ±1 / sqrt(in_channels / groups * k).
    """

    _dims = 1
    _convolve = staticmethod(_C._nn.conv1d)


class Conv2d(_Conv):
    """Cross-correlation over images: [n, in_channels, h, w] or [in_channels, h, w].

    weight is [out_channels, in_channels / groups, kh, kw]; it and bias [out_channels] start uniform
    in ±1 / sqrt(in_channels / groups * kh * kw).
    """

    _dims = 2
    _convolve = staticmethod(_C._nn.conv2d)


class Conv3d(_Conv):
    """Cross-correlation over volumes: [n, in_channels, d, h, w] or [in_channels, d, h, w].

    weight is [out_channels, in_channels / groups, kd, kh, kw]; it and bias [out_channels] start
    uniform in ±1 / sqrt(in_channels / groups * kd * kh * kw).
    """

    _dims = 3
    _convolve = staticmethod(_C._nn.conv3d)


class _ConvTransposeNd(_ConvNd):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(
                f'Only "zeros" padding mode is supported for {self.__class__.__name__}'
            )
        n = self._dims
        super().__init__(
            in_channels,
            out_channels,
            _tuple(kernel_size, n),
            _tuple(stride, n),
            _tuple(padding, n),
            _tuple(dilation, n),
            True,
            _tuple(output_padding, n),
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _output_padding(self, input: Tensor, output_size: Sequence[int]) -> list[int]:
        """What must be added behind for the result to have the asked size."""
        n = self._dims
        leading = 2 if input.dim() == n + 2 else 1
        sizes = list(output_size)
        if len(sizes) == leading + n:
            sizes = sizes[leading:]
        if len(sizes) != n:
            raise ValueError(
                f"ConvTranspose{n}D: for {input.dim()}D input, output_size must have {n} "
                f"or {leading + n} elements (got {len(sizes)})"
            )
        least = [
            (input.size(d + leading) - 1) * self.stride[d]
            - 2 * self.padding[d]
            + self.dilation[d] * (self.kernel_size[d] - 1)
            + 1
            for d in range(n)
        ]
        most = [low + stride - 1 for low, stride in zip(least, self.stride, strict=True)]
        if any(not low <= s <= high for s, low, high in zip(sizes, least, most, strict=True)):
            raise ValueError(
                f"requested an output size of {sizes}, but valid sizes range "
                f"from {least} to {most} (for an input of {input.size()[2:]})"
            )
        return [s - low for s, low in zip(sizes, least, strict=True)]

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        behind: Sequence[int] = self.output_padding
        if output_size is not None:
            behind = self._output_padding(input, output_size)
        return self._convolve(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            behind,
            self.groups,
            self.dilation,
        )


class ConvTranspose1d(_ConvTransposeNd):
    """The gradient of Conv1d with respect to its input, as a layer.

    weight is [in_channels, out_channels / groups, k]. `output_size` of a call picks among the sizes
    that a stride above one leaves open.
    """

    _dims = 1
    _convolve = staticmethod(_C._nn.conv_transpose1d)


class ConvTranspose2d(_ConvTransposeNd):
    """The gradient of Conv2d with respect to its input, as a layer.

    weight is [in_channels, out_channels / groups, kh, kw]. `output_size` of a call picks among the
    sizes that a stride above one leaves open.
    """

    _dims = 2
    _convolve = staticmethod(_C._nn.conv_transpose2d)


class ConvTranspose3d(_ConvTransposeNd):
    """The gradient of Conv3d with respect to its input, as a layer.

    weight is [in_channels, out_channels / groups, kd, kh, kw]. `output_size` of a call picks among
    the sizes that a stride above one leaves open.
    """

    _dims = 3
    _convolve = staticmethod(_C._nn.conv_transpose3d)
