"""The base of all distributions: shapes, checks, and what follows from log_prob and rsample."""

from __future__ import annotations

from typing import Any, ClassVar

from quicksilver import _C
from quicksilver._grad_mode import no_grad
from quicksilver.distributions import constraints
from quicksilver.distributions.utils import lazy_property

Tensor = _C.Tensor


class Distribution:
    """batch_shape many independent distributions over values of shape event_shape.

    Args:
        validate_args: checks parameters here and values in log_prob, which reads them; by default
            set_default_validate_args's choice, which is True unless Python runs with -O.

    Raises:
        ValueError: a parameter, or later a value, is outside of what is allowed.
    """

    has_rsample: bool = False
    has_enumerate_support: bool = False
    arg_constraints: ClassVar[dict[str, Any]] = {}
    support: Any = constraints.real
    _validate_args: bool = __debug__

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions check their arguments when they are not told."""
        if value not in (True, False):
            raise ValueError
        Distribution._validate_args = value

    def __init__(
        self, batch_shape: Any = (), event_shape: Any = (), validate_args: bool | None = None
    ) -> None:
        self._batch_shape = _C.Size(batch_shape)
        self._event_shape = _C.Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            for name, constraint in self.arg_constraints.items():
                given = name in self.__dict__ or not isinstance(
                    getattr(type(self), name, None), lazy_property
                )
                if given and not isinstance(constraint, constraints._Dependent):
                    self._check_parameter(name, constraint)

    def _check_parameter(self, name: str, constraint: Any) -> None:
        value = getattr(self, name)
        with no_grad():
            if bool(constraint.check(value).all()):
                return
        raise ValueError(
            f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of"
            f" distribution {self!r} to satisfy the constraint {constraint!r}, but found invalid"
            f" values:\n{value}"
        )

    @property
    def batch_shape(self) -> Any:
        """The shape over which parameters are batched."""
        return self._batch_shape

    @property
    def event_shape(self) -> Any:
        """The shape of one value."""
        return self._event_shape

    @property
    def mean(self) -> Tensor:
        """The expectation."""
        raise NotImplementedError

    @property
    def mode(self) -> Tensor:
        """The most probable value."""
        raise NotImplementedError(f"{self.__class__} does not implement mode")

    @property
    def variance(self) -> Tensor:
        """The variance of each element."""
        raise NotImplementedError

    @property
    def stddev(self) -> Tensor:
        """The square root of the variance."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draws of shape sample_shape + batch_shape + event_shape, without a gradient."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draws through which gradients reach the parameters."""
        raise NotImplementedError

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density (or of the probability) at value."""
        raise NotImplementedError

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of a draw that is at most value."""
        raise NotImplementedError

    def icdf(self, value: Tensor) -> Tensor:
        """The inverse of cdf."""
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """The expectation of -log_prob."""
        raise NotImplementedError

    def perplexity(self) -> Tensor:
        """exp(entropy)"""
        return self.entropy().exp()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values of a discrete distribution along the first dimension."""
        raise NotImplementedError

    def expand(self, batch_shape: Any, _instance: Any = None) -> Distribution:
        """The same distribution for a larger batch_shape; memory is shared.

        Parameters that were given are views; what was derived from them is derived again.
        """
        new = type(self).__new__(type(self)) if _instance is None else _instance
        batch = _C.Size(batch_shape)
        for name, value in self.__dict__.items():
            if name in self.arg_constraints and isinstance(value, Tensor):
                rest = value.shape[len(self._batch_shape) :]
                value = value.expand(*batch, *rest)
            new.__dict__[name] = value
        new._batch_shape, new._event_shape = batch, self._event_shape
        new._validate_args = False
        new._expanded(self, batch)
        new._validate_args = self._validate_args
        return new

    def _expanded(self, old: Any, batch: Any) -> None:
        """What a class must do beside the parameters of arg_constraints."""

    def _extended_shape(self, sample_shape: Any = ()) -> Any:
        return _C.Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def _validate_sample(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        events = len(self._event_shape)
        if value.shape[value.dim() - events :] != self._event_shape:
            raise ValueError(
                "The right-most size of value must match event_shape:"
                f" {value.shape} vs {self._event_shape}."
            )
        expected = (*self._batch_shape, *self._event_shape)
        for i, j in zip(reversed(tuple(value.shape)), reversed(expected), strict=False):
            if i != 1 and j != 1 and i != j:
                raise ValueError(
                    "Value is not broadcastable with batch_shape+event_shape:"
                    f" {value.shape} vs {_C.Size(expected)}."
                )
        if isinstance(self.support, constraints._Dependent):
            return
        if not bool(self.support.check(value).all()):
            raise ValueError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to"
                f" be within the support ({self.support!r}) of the distribution {self!r}, but found"
                f" invalid values:\n{value}"
            )

    def _get_checked_instance(self, cls: Any, _instance: Any = None) -> Any:
        if _instance is None and type(self).__init__ != cls.__init__:
            raise NotImplementedError(
                f"Subclass {self.__class__.__name__} of {cls.__name__} that defines a custom"
                " __init__ method must also define a custom .expand() method."
            )
        return self.__new__(type(self)) if _instance is None else _instance

    def __repr__(self) -> str:
        names = [k for k in self.arg_constraints if k in self.__dict__]
        parts = []
        for name in names:
            value = self.__dict__[name]
            text = f"{value}" if value.numel() == 1 else f"{value.size()}"
            parts.append(f"{name}: {text}")
        return f"{type(self).__name__}({', '.join(parts)})"


class ExponentialFamily(Distribution):
    """Distributions whose density is an exponential of a scalar product; a name to test for."""
