"""Probability distributions over the public functions, with PyTorch's names.

Every class draws (``sample``, and ``rsample`` where gradients can pass), states its density
(``log_prob``) and its moments. A name that is not here is not supported yet.
"""

from quicksilver.distributions import constraints, kl, transforms
from quicksilver.distributions.continuous import (
    Cauchy,
    Exponential,
    Gumbel,
    HalfNormal,
    Laplace,
    LogNormal,
    Normal,
    Uniform,
)
from quicksilver.distributions.discrete import (
    Bernoulli,
    Binomial,
    Categorical,
    Geometric,
    Multinomial,
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
    Poisson,
    RelaxedBernoulli,
)
from quicksilver.distributions.distribution import Distribution, ExponentialFamily
from quicksilver.distributions.gamma import Beta, Chi2, Dirichlet, Gamma, StudentT
from quicksilver.distributions.kl import kl_divergence, register_kl
from quicksilver.distributions.mixture import MixtureSameFamily
from quicksilver.distributions.multivariate import Independent, MultivariateNormal
from quicksilver.distributions.transforms import (
    AffineTransform,
    ComposeTransform,
    ExpTransform,
    PowerTransform,
    SigmoidTransform,
    SoftplusTransform,
    TanhTransform,
    Transform,
    TransformedDistribution,
    identity_transform,
)
