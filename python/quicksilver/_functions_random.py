"""Distributions made of uniform draws."""

from __future__ import annotations

import math
from typing import Any

from quicksilver import _C
from quicksilver._composed import in_place

Tensor = _C.Tensor


def _check(name: str, self: Tensor) -> None:
    if not self.is_floating_point():
        kind = self.type().rsplit(".", 1)[-1].removesuffix("Tensor")
        raise NotImplementedError(f"\"{name}\" not implemented for '{kind}'")


def _open_unit(self: Tensor, generator: Any) -> Tensor:
    """Uniform draws of (0, 1) in the tensor's shape, at least float32."""
    dtype = _C.float64 if self.dtype == _C.float64 else _C.float32
    draws = _C.empty(self.shape, dtype=dtype, device=self.device)
    tiny = 2.0**-33 if dtype == _C.float64 else 2.0**-25
    return draws.uniform_(generator=generator) + tiny


def exponential_(self: Tensor, lambd: float = 1, *, generator: Any = None) -> Tensor:
    """Draws with density lambd exp(-lambd x)."""
    _check("exponential_cpu", self)
    if lambd <= 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    self.detach().copy_(_open_unit(self, generator).log() / -lambd)
    return self


def geometric_(self: Tensor, p: float, *, generator: Any = None) -> Tensor:
    """How many trials of probability p until the first success."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    draws = (_open_unit(self, generator).log() / math.log1p(-p)).ceil()
    self.detach().copy_(draws)
    return self


def cauchy_(self: Tensor, median: float = 0, sigma: float = 1, *, generator: Any = None) -> Tensor:
    """Draws of a Cauchy distribution."""
    _check("cauchy_cpu", self)
    if sigma <= 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    draws = median + sigma * ((_open_unit(self, generator) - 0.5) * math.pi).tan()
    self.detach().copy_(draws)
    return self


def log_normal_(self: Tensor, mean: float = 1, std: float = 2, *, generator: Any = None) -> Tensor:
    """exp of normal draws."""
    _check("log_normal_cpu", self)
    if std <= 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std}")
    dtype = _C.float64 if self.dtype == _C.float64 else _C.float32
    draws = _C.empty(self.shape, dtype=dtype, device=self.device)
    self.detach().copy_(draws.normal_(mean, std, generator=generator).exp())
    return self


def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    generator: Any = None,
) -> Tensor:
    """x where positive, else x times a slope: drawn from [lower, upper) when training, else their
    mean."""
    if lower > upper:
        raise RuntimeError("Lower bound should be less than or equal to the upper bound")
    if not training:
        return _C._nn.leaky_relu(input, (lower + upper) / 2)
    slope = _C.empty(input.shape, dtype=input.dtype, device=input.device)
    slope.uniform_(lower, upper, generator=generator)
    return _C.where(input > 0, input, input * slope)


rrelu_ = in_place("rrelu_", rrelu)


def dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """dropout in place."""
    return _C.dropout(input, p, train, True)


def _sample_dirichlet(concentration: Tensor, generator: Any = None) -> Tensor:
    """Draws of Dirichlet distributions along the last dimension."""
    draws = _C._standard_gamma(concentration, generator)
    return draws / draws.sum(-1, keepdim=True)
