"""Elementwise functions made of others, and integrals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from quicksilver import _C
from quicksilver._composed import with_out

Tensor = _C.Tensor


def _double(x: Any) -> Any:
    if not isinstance(x, Tensor):
        return x
    return x.to(_C.complex128 if x.is_complex() else _C.float64)


@with_out
def float_power(input: Any, exponent: Any) -> Tensor:
    """input ** exponent in float64 (complex128 for complex numbers)."""
    return _C.pow(_double(input), _double(exponent))


@with_out
def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """input * 2 ** other"""
    if input.is_complex() or other.is_complex():
        return input * _C.pow(2.0, other)
    dtype = _C.result_type(input, other)
    if not dtype.is_floating_point:
        dtype = _C.get_default_dtype()
    if other.is_floating_point():
        return input.to(dtype) * _C.pow(2.0, other.to(dtype))
    # In two steps: 2 ** other alone may not be finite where the product is.
    half = other.div(2, rounding_mode="floor")
    x = input.to(dtype)
    return x * _C.pow(2.0, half.to(dtype)) * _C.pow(2.0, (other - half).to(dtype))


def frexp(input: Tensor, *, out: Any = None) -> Any:
    """(mantissa, exponent) with input = mantissa * 2 ** exponent and 0.5 <= |mantissa| < 1."""
    if not input.is_floating_point():
        raise RuntimeError("torch.frexp() only supports floating-point dtypes")
    wide = input.dtype == _C.float64
    x = input if wide else input.float()
    whole, shift, mask, bias = (_C.int64, 52, 0x7FF, 1022) if wide else (_C.int32, 23, 0xFF, 126)
    tiny = x.abs() < _C.finfo(x.dtype).tiny
    scaled = _C.where(tiny, x * 2.0**64, x)
    bits = scaled.detach().contiguous().view(whole)
    field = bits.bitwise_right_shift(shift).bitwise_and(mask)
    plain = (field != mask) & (x != 0)
    exponent = _C.where(plain, field - bias - _C.where(tiny, 64, 0), 0).to(_C.int32)
    # Two steps: 2 ** -exponent alone may overflow.
    half = exponent.div(2, rounding_mode="trunc")
    factor = _C.pow(_C.tensor(2.0, dtype=x.dtype, device=x.device), -half)
    rest = _C.pow(_C.tensor(2.0, dtype=x.dtype, device=x.device), half - exponent)
    mantissa = (x * factor * rest).to(input.dtype)
    if out is not None:
        from quicksilver._composed import write_out

        return write_out("frexp", (mantissa, exponent), out)
    from quicksilver import return_types

    return return_types.frexp((mantissa, exponent))


def positive(input: Tensor) -> Tensor:
    """The tensor itself."""
    if input.dtype == _C.bool:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


def isreal(input: Tensor) -> Tensor:
    """Whether the imaginary part is 0."""
    if input.is_complex():
        return input.imag == 0
    return _C.ones(input.shape, dtype=_C.bool, device=input.device)


@with_out
def mvlgamma(input: Tensor, p: int) -> Tensor:
    """The multivariate log-gamma function of dimension p."""
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    x = input if input.is_floating_point() else input.to(_C.get_default_dtype())
    steps = _C.arange(0, p, device=x.device).to(x.dtype) * -0.5
    return (x.unsqueeze(-1) + steps).lgamma().sum(-1) + p * (p - 1) / 4 * math.log(math.pi)


def sum_to_size(self: Tensor, *size: Any) -> Tensor:
    """Summed down to a shape that broadcasts to the tensor's."""
    shape = list(size[0]) if len(size) == 1 and isinstance(size[0], Sequence) else list(size)
    lead = self.dim() - len(shape)
    fits = lead >= 0 and all(n in (1, self.size(lead + i)) for i, n in enumerate(shape))
    if not fits:
        raise RuntimeError(
            f"size {{{list(shape)}}} is not expandable to size {{{list(self.shape)}}}."
        )
    dims = [*range(lead), *(lead + i for i, n in enumerate(shape) if n == 1 != self.size(lead + i))]
    return self.sum(dims, keepdim=True).reshape(shape) if dims else self


def where(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """The tensor where the condition holds, else other."""
    return _C.where(condition, self, other)


def _spans(y: Tensor, x: Any, dx: Any, dim: int, name: str) -> Any:
    """The widths of the intervals between the points along dim."""
    if x is None:
        return 1 if dx is None else dx
    if isinstance(x, Tensor):
        if x.dim() == 1:
            if x.size(0) != y.size(dim):
                raise RuntimeError(f"{name}: There must be one `x` value for each sample point")
            shape = [1] * y.dim()
            shape[dim] = -1
            x = x.view(shape)
        return x.narrow(dim, 1, x.size(dim) - 1) - x.narrow(dim, 0, x.size(dim) - 1)
    return x


def _strips(y: Tensor, x: Any, dx: Any, dim: int, name: str) -> Tensor:
    if y.dtype == _C.bool or (isinstance(x, Tensor) and x.dtype == _C.bool):
        raise RuntimeError(f"{name}: received a bool input for `y`, but bool is not supported")
    dim = dim % y.dim()
    n = y.size(dim)
    pairs = y.narrow(dim, 1, n - 1) + y.narrow(dim, 0, n - 1)
    return pairs * _spans(y, x, dx, dim, name) / 2


def trapezoid(y: Tensor, x: Any = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """The integral along dim by the trapezoidal rule."""
    if x is not None and dx is not None:
        raise TypeError("trapezoid(): received both x and dx")
    if y.size(dim) == 0:
        return y.sum(dim) * 0
    if x is None and y.is_floating_point():  # every inner point belongs to two strips
        ends = (y.select(dim, 0) + y.select(dim, -1)) * 0.5
        return (y.sum(dim) - ends) * (1.0 if dx is None else dx)
    return _strips(y, x, dx, dim, "trapezoid").sum(dim)


trapz = trapezoid


def cumulative_trapezoid(y: Tensor, x: Any = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """The running integral along dim by the trapezoidal rule."""
    return _strips(y, x, dx, dim, "cumulative_trapezoid").cumsum(dim)


def gradient(
    input: Tensor, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1
) -> tuple[Tensor, ...]:
    """Central differences inside, one-sided ones of edge_order at the ends; one tensor a dim."""
    dims = list(range(input.dim())) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    several = isinstance(spacing, (list, tuple))
    steps = list(spacing) if several else [spacing] * len(dims)
    if len(steps) != len(dims):
        raise RuntimeError(
            "torch.gradient expected spacing to be unspecified, a scalar, or a list of length"
            f" equal to 'self.dim() = {len(dims)}', since dim argument was not given, but got a"
            f" list of length {len(steps)}"
        )
    results = []
    for axis, step in zip(dims, steps, strict=True):
        axis = axis % input.dim()
        n = input.size(axis)
        if n < edge_order + 1:
            raise RuntimeError(
                "torch.gradient expected each dimension size to be at least edge_order+1"
            )

        def at(start: int, count: int, x: Tensor = input, axis: int = axis) -> Tensor:
            return x.narrow(axis, start, count)

        shape = [1] * input.dim()
        shape[axis] = -1
        if isinstance(step, Tensor):
            width = (step[1:] - step[:-1]).view(shape)
            a, b = width.narrow(axis, 0, n - 2), width.narrow(axis, 1, n - 2)
            first, last = width.narrow(axis, 0, 1), width.narrow(axis, n - 2, 1)
            inner = (
                at(0, n - 2) * (-b / (a * (a + b)))
                + at(1, n - 2) * ((b - a) / (a * b))
                + at(2, n - 2) * (a / (b * (a + b)))
            )
        else:
            first = last = step
            inner = (at(2, n - 2) - at(0, n - 2)) / (2 * step)
        if edge_order == 1:
            head = (at(1, 1) - at(0, 1)) / first
            tail = (at(n - 1, 1) - at(n - 2, 1)) / last
        elif isinstance(step, Tensor):
            a, b = width.narrow(axis, 0, 1), width.narrow(axis, 1, 1)
            head = (
                at(0, 1) * (-(2 * a + b) / (a * (a + b)))
                + at(1, 1) * ((a + b) / (a * b))
                + at(2, 1) * (-a / (b * (a + b)))
            )
            a, b = width.narrow(axis, n - 3, 1), width.narrow(axis, n - 2, 1)
            tail = (
                at(n - 3, 1) * (b / (a * (a + b)))
                + at(n - 2, 1) * (-(a + b) / (a * b))
                + at(n - 1, 1) * ((2 * b + a) / (b * (a + b)))
            )
        else:
            head = (at(1, 1) * 4 - at(0, 1) * 3 - at(2, 1)) / (2 * step)
            tail = (at(n - 1, 1) * 3 - at(n - 2, 1) * 4 + at(n - 3, 1)) / (2 * step)
        results.append(_C.cat([head, inner, tail], axis))
    return tuple(results)
