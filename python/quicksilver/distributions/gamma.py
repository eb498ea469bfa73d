"""Gamma and what is made of it: Chi2, Beta, Dirichlet, StudentT."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from quicksilver import _C, special
from quicksilver.autograd.function import Function
from quicksilver.distributions import constraints
from quicksilver.distributions.distribution import Distribution, ExponentialFamily
from quicksilver.distributions.utils import broadcast_all
from quicksilver.nn import functional as F

Tensor = _C.Tensor


class _StandardGamma(Function):
    """Draws of Gamma(a, 1). A draw x moves with a as its quantile does: dx/da = -(dP/da) / p(x),
    where P is the distribution function and p the density.

    dP/da is a central difference of P in double precision, whose error is near 1e-9.
    """

    @staticmethod
    def forward(ctx: Any, concentration: Tensor) -> Tensor:
        draws = _C._standard_gamma(concentration).clamp(min=_C.finfo(concentration.dtype).tiny)
        ctx.save_for_backward(concentration, draws)
        return draws

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        a, x = (t.detach().double() for t in ctx.saved_tensors)
        # Below 1 the density is not smooth in a; x^a carries what varies: P = x^a g(a, x).
        step = 1e-4 * a.clamp(min=1e-2)
        higher, lower = special.gammainc(a + step, x), special.gammainc(a - step, x)
        slope = (higher - lower) / (2 * step)
        log_density = (a - 1) * x.log() - x - a.lgamma()
        moved = -slope * (-log_density).exp()
        # Far below a, P ~ x^a / Gamma(a + 1) underflows before its ratio to the density does.
        small = x / a * (_C.digamma(a + 1) - x.log())
        return grad * _C.where(x < 1e-6 * a, small, moved).to(grad.dtype)


def standard_gamma(concentration: Tensor) -> Tensor:
    """Draws of Gamma(concentration, 1) with a gradient."""
    return _StandardGamma.apply(concentration)


class Gamma(ExponentialFamily):
    """rate^a x^(a - 1) exp(-rate x) / Gamma(a) for x > 0, a the concentration."""

    arg_constraints: ClassVar[dict[str, Any]] = {
        "concentration": constraints.positive,
        "rate": constraints.positive,
    }
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.concentration.shape, validate_args=validate_args)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        draws = standard_gamma(self.concentration.expand(shape)) / self.rate.expand(shape)
        return draws.clamp(min=_C.finfo(draws.dtype).tiny)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> Tensor:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Tensor:
        return self.concentration / self.rate.square()

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        a, b = self.concentration, self.rate
        return _C.xlogy(a, b) + _C.xlogy(a - 1, value) - b * value - a.lgamma()

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return special.gammainc(self.concentration, self.rate * value)

    def entropy(self) -> Tensor:
        a = self.concentration
        return a - self.rate.log() + a.lgamma() + (1.0 - a) * a.digamma()


class Chi2(Gamma):
    """The sum of df squared standard normal numbers: Gamma(df / 2, 1 / 2)."""

    arg_constraints: ClassVar[dict[str, Any]] = {"df": constraints.positive}

    def __init__(self, df: Any, validate_args: bool | None = None) -> None:
        (df,) = broadcast_all(df)
        self.df = df
        super().__init__(0.5 * df, 0.5, validate_args=validate_args)

    def _expanded(self, old: Any, batch: Any) -> None:
        self.concentration = old.concentration.expand(batch)
        self.rate = old.rate.expand(batch)

    def __repr__(self) -> str:
        return "Chi2()"  # as PyTorch's, whose df is no attribute of its own


class Dirichlet(ExponentialFamily):
    """Over probabilities of K outcomes: prod p_i^(c_i - 1) / B(c), c the concentration [..., K]."""

    arg_constraints: ClassVar[dict[str, Any]] = {
        "concentration": constraints.independent(constraints.positive, 1)
    }
    support = constraints.simplex
    has_rsample = True

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        if concentration.dim() < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        shape = concentration.shape
        super().__init__(shape[:-1], shape[-1:], validate_args=validate_args)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        draws = standard_gamma(self.concentration.expand(self._extended_shape(sample_shape)))
        return draws / draws.sum(-1, keepdim=True)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, keepdim=True)

    @property
    def mode(self) -> Tensor:
        above = (self.concentration - 1).clamp(min=0.0)
        mode = above / above.sum(-1, True)
        corner = (self.concentration < 1).all(-1, keepdim=True)
        largest = F.one_hot(mode.argmax(-1), self.concentration.size(-1))
        return _C.where(corner, largest.to(mode.dtype), mode)

    @property
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, True)
        return self.concentration * (total - self.concentration) / (total.square() * (total + 1))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        c = self.concentration
        return _C.xlogy(c - 1, value).sum(-1) + c.sum(-1).lgamma() - c.lgamma().sum(-1)

    def entropy(self) -> Tensor:
        c = self.concentration
        k, total = c.size(-1), c.sum(-1)
        return (
            c.lgamma().sum(-1)
            - total.lgamma()
            - (k - total) * total.digamma()
            - ((c - 1) * c.digamma()).sum(-1)
        )


class Beta(ExponentialFamily):
    """x^(a - 1) (1 - x)^(b - 1) / B(a, b) in (0, 1)."""

    arg_constraints: ClassVar[dict[str, Any]] = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval
    has_rsample = True

    def __init__(
        self, concentration1: Any, concentration0: Any, validate_args: bool | None = None
    ) -> None:
        both = broadcast_all(concentration1, concentration0)
        self._dirichlet = Dirichlet(_C.stack(both, -1), validate_args=validate_args)
        super().__init__(self._dirichlet._batch_shape, validate_args=validate_args)

    def _expanded(self, old: Any, batch: Any) -> None:
        self._dirichlet = old._dirichlet.expand(batch)

    @property
    def concentration1(self) -> Tensor:
        """a"""
        return self._dirichlet.concentration[..., 0]

    @property
    def concentration0(self) -> Tensor:
        """b"""
        return self._dirichlet.concentration[..., 1]

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self._dirichlet.rsample(sample_shape).select(-1, 0)

    @property
    def mean(self) -> Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self) -> Tensor:
        return self._dirichlet.mode[..., 0]

    @property
    def variance(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        return a * b / ((a + b).square() * (a + b + 1))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self._dirichlet.log_prob(_C.stack([value, 1.0 - value], -1))

    def entropy(self) -> Tensor:
        return self._dirichlet.entropy()

    def __repr__(self) -> str:
        return "Beta()"  # as PyTorch's, whose parameters are no attributes of their own


class StudentT(Distribution):
    """loc + scale t, where t has df degrees of freedom."""

    arg_constraints: ClassVar[dict[str, Any]] = {
        "df": constraints.positive,
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.real
    has_rsample = True

    def __init__(
        self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None
    ) -> None:
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        super().__init__(self.df.shape, validate_args=validate_args)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        normal = _C.randn(shape, dtype=self.df.dtype, device=self.df.device)
        df = self.df.expand(shape)
        squares = 2 * standard_gamma(0.5 * df)
        return self.loc + self.scale * normal * (squares / df).rsqrt()

    @property
    def mean(self) -> Tensor:
        return _C.where(self.df > 1, self.loc, math.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        spread = self.scale.square() * self.df / (self.df - 2)
        rest = _C.where(self.df > 1, _C.full_like(self.df, math.inf), math.nan)
        return _C.where(self.df > 2, spread, rest)

    def _log_norm(self) -> Tensor:
        return (
            0.5 * self.df.log()
            + 0.5 * math.log(math.pi)
            + (0.5 * self.df).lgamma()
            - (0.5 * (self.df + 1.0)).lgamma()
        )

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        y = (value - self.loc) / self.scale
        tail = -0.5 * (self.df + 1.0) * (y.square() / self.df).log1p()
        return tail - self.scale.log() - self._log_norm()

    def entropy(self) -> Tensor:
        half = 0.5 * (self.df + 1)
        return (
            self.scale.log()
            + half * (half.digamma() - (0.5 * self.df).digamma())
            + self._log_norm()
        )
