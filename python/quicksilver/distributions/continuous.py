"""Distributions of a real number: by location and scale, by a rate, on an interval."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from quicksilver import _C
from quicksilver.distributions import constraints
from quicksilver.distributions.distribution import Distribution, ExponentialFamily
from quicksilver.distributions.utils import EULER, broadcast_all

Tensor = _C.Tensor

_LOG_2PI = math.log(2 * math.pi)
_LOCATED = {"loc": constraints.real, "scale": constraints.positive}


def _unit(like: Tensor, shape: Any, low: float = 0.0) -> Tensor:
    """Uniform numbers in [low, 1) of like's dtype and device."""
    return _C.empty(shape, dtype=like.dtype, device=like.device).uniform_(low, 1.0)


def _open_unit(like: Tensor, shape: Any) -> Tensor:
    """Uniform numbers in (0, 1): their logarithms are finite."""
    info = _C.finfo(like.dtype)
    return _unit(like, shape).clamp(min=info.tiny, max=1 - info.eps / 2)


class _Located(Distribution):
    """A standard variable times scale, plus loc."""

    arg_constraints: ClassVar[dict[str, Any]] = _LOCATED
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def _standard(self, shape: Any) -> Tensor:
        raise NotImplementedError

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.loc + self.scale * self._standard(self._extended_shape(sample_shape))

    def _scaled(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return (value - self.loc) / self.scale

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc


class Normal(_Located, ExponentialFamily):
    """exp(-(x - loc)^2 / (2 scale^2)) / (scale sqrt(2 pi))"""

    def _standard(self, shape: Any) -> Tensor:
        return _C.randn(shape, dtype=self.loc.dtype, device=self.loc.device)

    @property
    def stddev(self) -> Tensor:
        return self.scale

    @property
    def variance(self) -> Tensor:
        return self.scale.square()

    def log_prob(self, value: Tensor) -> Tensor:
        z = self._scaled(value)
        return -0.5 * z.square() - self.scale.log() - 0.5 * _LOG_2PI

    def cdf(self, value: Tensor) -> Tensor:
        return 0.5 * (1 + (self._scaled(value) / math.sqrt(2)).erf())

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc + self.scale * (2 * value - 1).erfinv() * math.sqrt(2)

    def entropy(self) -> Tensor:
        return 0.5 + 0.5 * _LOG_2PI + self.scale.log()


class Laplace(_Located):
    """exp(-|x - loc| / scale) / (2 scale)"""

    def _standard(self, shape: Any) -> Tensor:
        u = _open_unit(self.loc, shape) * 2 - 1
        return -u.sign() * (-u.abs()).log1p()

    @property
    def variance(self) -> Tensor:
        return 2 * self.scale.square()

    @property
    def stddev(self) -> Tensor:
        return math.sqrt(2) * self.scale

    def log_prob(self, value: Tensor) -> Tensor:
        return -(2 * self.scale).log() - self._scaled(value).abs()

    def cdf(self, value: Tensor) -> Tensor:
        z = self._scaled(value)
        return 0.5 - 0.5 * z.sign() * (-z.abs()).expm1()

    def icdf(self, value: Tensor) -> Tensor:
        term = value - 0.5
        return self.loc - self.scale * term.sign() * (-2 * term.abs()).log1p()

    def entropy(self) -> Tensor:
        return 1 + (2 * self.scale).log()


class Cauchy(_Located):
    """1 / (pi scale (1 + ((x - loc) / scale)^2)); it has no mean."""

    def _standard(self, shape: Any) -> Tensor:
        return (math.pi * (_open_unit(self.loc, shape) - 0.5)).tan()

    @property
    def mean(self) -> Tensor:
        return _C.full_like(self.loc, math.nan)

    @property
    def variance(self) -> Tensor:
        return _C.full_like(self.loc, math.inf)

    def log_prob(self, value: Tensor) -> Tensor:
        return -math.log(math.pi) - self.scale.log() - self._scaled(value).square().log1p()

    def cdf(self, value: Tensor) -> Tensor:
        return self._scaled(value).atan() / math.pi + 0.5

    def icdf(self, value: Tensor) -> Tensor:
        return (math.pi * (value - 0.5)).tan() * self.scale + self.loc

    def entropy(self) -> Tensor:
        return math.log(4 * math.pi) + self.scale.log()


class Gumbel(_Located):
    """The largest of many: cdf exp(-exp(-(x - loc) / scale))."""

    def _standard(self, shape: Any) -> Tensor:
        return -(-_open_unit(self.loc, shape).log()).log()

    @property
    def mean(self) -> Tensor:
        return self.loc + self.scale * EULER

    @property
    def variance(self) -> Tensor:
        return (math.pi**2 / 6) * self.scale.square()

    def log_prob(self, value: Tensor) -> Tensor:
        y = -self._scaled(value)
        return y - y.exp() - self.scale.log()

    def cdf(self, value: Tensor) -> Tensor:
        return (-(-self._scaled(value)).exp()).exp()

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc - self.scale * (-value.log()).log()

    def entropy(self) -> Tensor:
        return self.scale.log() + (1 + EULER)


class LogNormal(_Located):
    """exp of a Normal(loc, scale)."""

    support = constraints.positive

    def _base(self) -> Normal:
        return Normal(self.loc, self.scale, validate_args=False)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self._base().rsample(sample_shape).exp()

    @property
    def mean(self) -> Tensor:
        return (self.loc + self.scale.square() / 2).exp()

    @property
    def mode(self) -> Tensor:
        return (self.loc - self.scale.square()).exp()

    @property
    def variance(self) -> Tensor:
        square = self.scale.square()
        return square.expm1() * (2 * self.loc + square).exp()

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        log = value.log()
        return self._base().log_prob(log) - log

    def cdf(self, value: Tensor) -> Tensor:
        return self._base().cdf(value.log())

    def icdf(self, value: Tensor) -> Tensor:
        return self._base().icdf(value).exp()

    def entropy(self) -> Tensor:
        return self._base().entropy() + self.loc

    def __repr__(self) -> str:
        return "LogNormal()"  # as PyTorch's, which is a transformed Normal


class HalfNormal(Distribution):
    """|x| of a Normal(0, scale)."""

    arg_constraints: ClassVar[dict[str, Any]] = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        (self.scale,) = broadcast_all(scale)
        super().__init__(self.scale.shape, validate_args=validate_args)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return self.scale * _C.randn(shape, dtype=self.scale.dtype, device=self.scale.device).abs()

    @property
    def mean(self) -> Tensor:
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def mode(self) -> Tensor:
        return _C.zeros_like(self.scale)

    @property
    def variance(self) -> Tensor:
        return self.scale.square() * (1 - 2 / math.pi)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        zero = Normal(0.0, self.scale, validate_args=False)
        return _C.where(value >= 0, zero.log_prob(value) + math.log(2), -math.inf)

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return 2 * Normal(0.0, self.scale, validate_args=False).cdf(value) - 1

    def icdf(self, value: Tensor) -> Tensor:
        return Normal(0.0, self.scale, validate_args=False).icdf((value + 1) / 2)

    def entropy(self) -> Tensor:
        return 0.5 * math.log(math.pi / 2) + 0.5 + self.scale.log()

    def __repr__(self) -> str:
        return "HalfNormal()"  # as PyTorch's, which is a transformed Normal


class Exponential(ExponentialFamily):
    """rate exp(-rate x) for x >= 0"""

    arg_constraints: ClassVar[dict[str, Any]] = {"rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        draws = _C.empty(shape, dtype=self.rate.dtype, device=self.rate.device)
        return draws.exponential_() / self.rate

    @property
    def mean(self) -> Tensor:
        return self.rate.reciprocal()

    @property
    def mode(self) -> Tensor:
        return _C.zeros_like(self.rate)

    @property
    def stddev(self) -> Tensor:
        return self.rate.reciprocal()

    @property
    def variance(self) -> Tensor:
        return self.rate.pow(-2)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self.rate.log() - self.rate * value

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return 1 - (-self.rate * value).exp()

    def icdf(self, value: Tensor) -> Tensor:
        return -(-value).log1p() / self.rate

    def entropy(self) -> Tensor:
        return 1.0 - self.rate.log()


class Uniform(Distribution):
    """1 / (high - low) in [low, high)."""

    arg_constraints: ClassVar[dict[str, Any]] = {
        "low": constraints.dependent,
        "high": constraints.dependent,
    }
    has_rsample = True

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None) -> None:
        self.low, self.high = broadcast_all(low, high)
        super().__init__(self.low.shape, validate_args=validate_args)
        if self._validate_args:
            self._check_parameter("low", constraints.less_than(self.high))

    @property
    def support(self) -> Any:
        return constraints.interval(self.low, self.high)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        u = _unit(self.low, self._extended_shape(sample_shape))
        return self.low + u * (self.high - self.low)

    @property
    def mean(self) -> Tensor:
        return (self.high + self.low) / 2

    @property
    def mode(self) -> Tensor:
        return _C.full_like(self.high, math.nan)

    @property
    def stddev(self) -> Tensor:
        return (self.high - self.low) / math.sqrt(12)

    @property
    def variance(self) -> Tensor:
        return (self.high - self.low).square() / 12

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        inside = (self.low <= value) & (self.high > value)
        return inside.to(self.low.dtype).log() - (self.high - self.low).log()

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return ((value - self.low) / (self.high - self.low)).clamp(0, 1)

    def icdf(self, value: Tensor) -> Tensor:
        return value * (self.high - self.low) + self.low

    def entropy(self) -> Tensor:
        return (self.high - self.low).log()
