"""Mixtures of distributions of one family."""

from __future__ import annotations

from typing import Any, ClassVar

from quicksilver import _C
from quicksilver._grad_mode import no_grad
from quicksilver.distributions.discrete import Categorical
from quicksilver.distributions.distribution import Distribution

Tensor = _C.Tensor


class MixtureSameFamily(Distribution):
    """A component drawn from a Categorical, then a value from that component.

    Args:
        mixture_distribution: a Categorical over K components.
        component_distribution: batch_shape [..., K].
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        mixture_distribution: Categorical,
        component_distribution: Distribution,
        validate_args: bool | None = None,
    ) -> None:
        self._mixture_distribution = mixture_distribution
        self._component_distribution = component_distribution
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError(
                " The Mixture distribution needs to be an  instance of"
                " torch.distributions.Categorical"
            )
        if not isinstance(component_distribution, Distribution):
            raise ValueError(
                "The Component distribution need to be an instance of"
                " torch.distributions.Distribution"
            )
        count = component_distribution.batch_shape[-1]
        if count != mixture_distribution.logits.shape[-1]:
            raise ValueError(
                "`mixture_distribution component` does not equal"
                " `component_distribution.batch_shape[-1]`"
            )
        self._num_component = count
        events = component_distribution.event_shape
        self._event_ndims = len(events)
        super().__init__(
            component_distribution.batch_shape[:-1], events, validate_args=validate_args
        )

    def expand(self, batch_shape: Any, _instance: Any = None) -> MixtureSameFamily:
        parts = self._component_distribution.expand((*batch_shape, self._num_component))
        over = self._mixture_distribution.expand(tuple(batch_shape))
        return type(self)(over, parts, self._validate_args)

    @property
    def mixture_distribution(self) -> Categorical:
        """Over the components."""
        return self._mixture_distribution

    @property
    def component_distribution(self) -> Distribution:
        """All components, the last dimension of its batch."""
        return self._component_distribution

    @property
    def support(self) -> Any:
        return self._component_distribution.support

    def _weights(self) -> Tensor:
        probs = self._mixture_distribution.probs
        return probs.reshape(*probs.shape, *(1,) * self._event_ndims)

    @property
    def mean(self) -> Tensor:
        at = -1 - self._event_ndims
        return (self._weights() * self._component_distribution.mean).sum(at)

    @property
    def variance(self) -> Tensor:
        at = -1 - self._event_ndims
        parts = self._component_distribution
        within = (self._weights() * parts.variance).sum(at)
        between = (self._weights() * (parts.mean - self.mean.unsqueeze(at)).square()).sum(at)
        return within + between

    def _over_components(self, value: Tensor) -> Tensor:
        return value.unsqueeze(-1 - self._event_ndims)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        parts = self._component_distribution.log_prob(self._over_components(value))
        return (parts + self._mixture_distribution.logits.log_softmax(-1)).logsumexp(-1)

    def cdf(self, value: Tensor) -> Tensor:
        parts = self._component_distribution.cdf(self._over_components(value))
        return (parts * self._mixture_distribution.probs).sum(-1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with no_grad():
            at = len(tuple(sample_shape)) + len(self._batch_shape)
            which = self._mixture_distribution.sample(sample_shape)
            draws = self._component_distribution.sample(sample_shape)
            which = which.reshape(*which.shape, *(1,) * (self._event_ndims + 1))
            shape = (*draws.shape[:at], 1, *draws.shape[at + 1 :])
            return draws.gather(at, which.expand(shape)).squeeze(at)

    def __repr__(self) -> str:
        return f"MixtureSameFamily(\n  {self._mixture_distribution},\n  " + (
            f"{self._component_distribution})"
        )
