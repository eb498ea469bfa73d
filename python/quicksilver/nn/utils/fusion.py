"""Folding batch norm into the layer before it, and layers without initial values."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from quicksilver import _C
from quicksilver.nn.parameter import Parameter

Tensor = _C.Tensor
M = TypeVar("M")


def skip_init(module_cls: type[M], *args: Any, **kwargs: Any) -> M:
    """module_cls(*args, **kwargs), for parameters that are overwritten anyway: nobody may rely on
    their values. On mps what is overwritten before it is read is never drawn.

    Raises:
        RuntimeError: module_cls is no Module, or takes no device.
    """
    import inspect

    from quicksilver.nn.modules.module import Module

    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    return module_cls(*args, **kwargs)


def _folded(
    weight: Tensor, bias: Tensor | None, bn: tuple[Any, ...], transpose: bool
) -> tuple[Parameter, Parameter]:
    mean, variance, eps, gain, shift = bn
    bias = _C.zeros_like(mean) if bias is None else bias
    gain = _C.ones_like(mean) if gain is None else gain
    shift = _C.zeros_like(mean) if shift is None else shift
    scale = gain * (variance + eps).rsqrt()
    shape = [1] * weight.dim()
    shape[1 if transpose else 0] = -1
    return (
        Parameter((weight * scale.reshape(shape)).to(weight.dtype).detach(), weight.requires_grad),
        Parameter(((bias - mean) * scale + shift).to(bias.dtype).detach(), bias.requires_grad),
    )


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the convolution that does what it and the batch norm did in evaluation."""
    return _folded(conv_w, conv_b, (bn_rm, bn_rv, bn_eps, bn_w, bn_b), transpose)


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor,
    bn_b: Tensor,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the linear layer that does what it and the batch norm did."""
    return _folded(linear_w, linear_b, (bn_rm, bn_rv, bn_eps, bn_w, bn_b), False)


def _fused(layer: Any, bn: Any, transpose: bool) -> Any:
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    fused = copy.deepcopy(layer)
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("bn.running_mean and bn.running_var must not be None")
    numbers = (bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias)
    fused.weight, fused.bias = _folded(fused.weight, fused.bias, numbers, transpose)
    return fused


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A copy of the convolution with the batch norm behind it folded in, for evaluation."""
    return _fused(conv, bn, transpose)


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A copy of the linear layer with the batch norm behind it folded in.

    Raises:
        AssertionError: their features do not agree.
    """
    if linear.out_features != bn.num_features and bn.num_features != 1:
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1"
        )
    return _fused(linear, bn, False)
