"""Where parameters and values of distributions may lie: each constraint checks a tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quicksilver import _C

Tensor = _C.Tensor


class Constraint:
    """A region. ``check`` gives a bool for each value, its last event_dim dimensions reduced."""

    is_discrete: bool = False
    event_dim: int = 0

    def __init__(
        self,
        name: str,
        test: Callable[[Tensor], Tensor],
        discrete: bool = False,
        event_dim: int = 0,
    ) -> None:
        self._name = name
        self._test = test
        self.is_discrete = discrete
        self.event_dim = event_dim

    def check(self, value: Tensor) -> Tensor:
        """Which values lie in the region; a NaN lies in none."""
        return self._test(value)

    def __repr__(self) -> str:
        return self._name


class _Dependent(Constraint):
    """A region that depends on other parameters: it is stated by the distribution's object."""

    def __init__(self) -> None:
        super().__init__("Dependent()", self._refuse)

    def _refuse(self, value: Tensor) -> Tensor:
        raise ValueError("Cannot determine validity of dependent constraint")


def _whole(x: Tensor) -> Tensor:
    return x % 1 == 0


def _positive_definite(x: Tensor) -> Tensor:
    from quicksilver import linalg

    symmetric = _C.isclose(x, x.mT, atol=1e-6).all(-2).all(-1)
    if not bool(symmetric.all()):
        return symmetric
    return linalg.cholesky_ex(x).info == 0


def _lower_cholesky(x: Tensor) -> Tensor:
    lower = (x.tril() == x).all(-1).all(-1)
    return lower & (x.diagonal(dim1=-2, dim2=-1) > 0).all(-1)


def _simplex(x: Tensor) -> Tensor:
    return (x >= 0).all(-1) & ((x.sum(-1) - 1).abs() < 1e-6)


def independent(base: Constraint, reinterpreted_batch_ndims: int) -> Constraint:
    """base, whose answers are joined over that many last dimensions."""

    def test(value: Tensor) -> Tensor:
        answer = base.check(value)
        return answer.reshape(*answer.shape[: answer.dim() - reinterpreted_batch_ndims], -1).all(-1)

    name = f"IndependentConstraint({base!r}, {reinterpreted_batch_ndims})"
    return Constraint(name, test, base.is_discrete, base.event_dim + reinterpreted_batch_ndims)


def greater_than(lower_bound: Any) -> Constraint:
    """Values above a bound."""
    return Constraint(f"GreaterThan(lower_bound={lower_bound})", lambda x: x > lower_bound)


def greater_than_eq(lower_bound: Any) -> Constraint:
    """Values not below a bound."""
    return Constraint(f"GreaterThanEq(lower_bound={lower_bound})", lambda x: x >= lower_bound)


def less_than(upper_bound: Any) -> Constraint:
    """Values below a bound."""
    return Constraint(f"LessThan(upper_bound={upper_bound})", lambda x: x < upper_bound)


def interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    """Values between two bounds, both included."""
    name = f"Interval(lower_bound={lower_bound}, upper_bound={upper_bound})"
    return Constraint(name, lambda x: (x >= lower_bound) & (x <= upper_bound))


def half_open_interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    """Values between two bounds, the upper one excluded."""
    name = f"HalfOpenInterval(lower_bound={lower_bound}, upper_bound={upper_bound})"
    return Constraint(name, lambda x: (x >= lower_bound) & (x < upper_bound))


def integer_interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    """Whole numbers between two bounds, both included."""
    name = f"IntegerInterval(lower_bound={lower_bound}, upper_bound={upper_bound})"
    return Constraint(name, lambda x: _whole(x) & (x >= lower_bound) & (x <= upper_bound), True)


def multinomial(upper_bound: int) -> Constraint:
    """Counts that add up to upper_bound."""
    return Constraint(
        "Multinomial()", lambda x: (x >= 0).all(-1) & (x.sum(-1) <= upper_bound), True, 1
    )


dependent = _Dependent()
boolean = Constraint("Boolean()", lambda x: (x == 0) | (x == 1), True)
nonnegative_integer = Constraint(
    "IntegerGreaterThan(lower_bound=0)", lambda x: _whole(x) & (x >= 0), True
)
positive_integer = Constraint(
    "IntegerGreaterThan(lower_bound=1)", lambda x: _whole(x) & (x >= 1), True
)
real = Constraint("Real()", lambda x: x == x)  # false for NaN alone
real_vector = independent(real, 1)
positive = greater_than(0.0)
nonnegative = greater_than_eq(0.0)
unit_interval = interval(0.0, 1.0)
simplex = Constraint("Simplex()", _simplex, event_dim=1)
one_hot = Constraint(
    "OneHot()",
    lambda x: ((x == 0) | (x == 1)).all(-1) & (x.sum(-1) == 1),
    discrete=True,
    event_dim=1,
)
lower_cholesky = Constraint("LowerCholesky()", _lower_cholesky, event_dim=2)
positive_definite = Constraint("PositiveDefinite()", _positive_definite, event_dim=2)
