"""nn.functional's convolution in the order of sequences."""

from __future__ import annotations

from quicksilver import _C

Tensor = _C.Tensor


def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """A 1-d convolution of a sequence [T, B, C] by weight [k, C, out]: [T', B, out]."""
    out = _C._nn.conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad)
    return out.permute(2, 0, 1)
