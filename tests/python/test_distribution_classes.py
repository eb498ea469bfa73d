"""quicksilver.distributions: as PyTorch's traces, and draws against SciPy's distributions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import traced
from oracle.library import DEVICES
from scipy import special, stats

import quicksilver as torch
from quicksilver import distributions as D

ON_DEVICES = pytest.mark.parametrize("device", DEVICES)
COUNT = 20_000


@pytest.mark.parametrize("case", traced.cases("distributions"))
def test_as_pytorch(case: str) -> None:
    traced.check("distributions", case, torch, rtol=2e-5, atol=2e-6)


def number(value: float, device: str) -> Any:
    return torch.tensor(value, device=device)


DRAWS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "normal": (lambda n: D.Normal(n(1.0), n(2.0)), stats.norm(1, 2)),
    "laplace": (lambda n: D.Laplace(n(1.0), n(2.0)), stats.laplace(1, 2)),
    "cauchy": (lambda n: D.Cauchy(n(1.0), n(2.0)), stats.cauchy(1, 2)),
    "gumbel": (lambda n: D.Gumbel(n(1.0), n(2.0)), stats.gumbel_r(1, 2)),
    "lognormal": (lambda n: D.LogNormal(n(0.5), n(0.7)), stats.lognorm(0.7, scale=np.exp(0.5))),
    "halfnormal": (lambda n: D.HalfNormal(n(2.0)), stats.halfnorm(scale=2)),
    "exponential": (lambda n: D.Exponential(n(2.0)), stats.expon(scale=0.5)),
    "uniform": (lambda n: D.Uniform(n(-1.0), n(3.0)), stats.uniform(-1, 4)),
    "gamma": (lambda n: D.Gamma(n(0.7), n(2.0)), stats.gamma(0.7, scale=0.5)),
    "chi2": (lambda n: D.Chi2(n(3.0)), stats.chi2(3)),
    "beta": (lambda n: D.Beta(n(0.7), n(2.0)), stats.beta(0.7, 2)),
    "studentt": (lambda n: D.StudentT(n(3.0), n(1.0), n(2.0)), stats.t(3, 1, 2)),
    "tanh": (
        lambda n: D.TransformedDistribution(D.Normal(n(0.0), n(1.0)), D.ExpTransform()),
        stats.lognorm(1),
    ),
}
COUNTS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "bernoulli": (lambda n: D.Bernoulli(n(0.3)), stats.bernoulli(0.3)),
    "geometric": (lambda n: D.Geometric(n(0.3)), stats.geom(0.3, loc=-1)),
    "binomial": (lambda n: D.Binomial(7, n(0.3)), stats.binom(7, 0.3)),
    "poisson": (lambda n: D.Poisson(n(3.5)), stats.poisson(3.5)),
    "categorical": (
        lambda n: D.Categorical(n([2.0, 5.0, 3.0])),
        stats.rv_discrete(values=([0, 1, 2], [0.2, 0.5, 0.3])),
    ),
}


@ON_DEVICES
@pytest.mark.parametrize("name", DRAWS)
def test_draws_follow_the_density(name: str, device: str) -> None:
    make, wanted = DRAWS[name]
    torch.manual_seed(3)
    got = make(lambda v: number(v, device)).sample((COUNT,))
    assert got.device.type == device and got.shape == (COUNT,)
    assert stats.kstest(got.cpu().double().numpy(), wanted.cdf).pvalue > 1e-3


@ON_DEVICES
@pytest.mark.parametrize("name", COUNTS)
def test_draws_of_counts(name: str, device: str) -> None:
    make, wanted = COUNTS[name]
    torch.manual_seed(4)
    got = make(lambda v: number(v, device)).sample((COUNT,)).cpu().double().numpy()
    values = np.arange(0, 8)
    seen = np.array([(got == v).mean() for v in values])
    chance = wanted.pmf(values)
    assert (abs(seen - chance) < 5 * np.sqrt(chance * (1 - chance) / COUNT) + 1e-9).all()


@ON_DEVICES
def test_draws_of_vectors(device: str) -> None:
    torch.manual_seed(5)
    cov = np.array([[2.0, 0.6], [0.6, 1.0]])
    loc = torch.tensor([1.0, -1.0], device=device)
    for d in (
        D.MultivariateNormal(loc, torch.tensor(cov, dtype=torch.float32, device=device)),
        D.MultivariateNormal(
            loc,
            precision_matrix=torch.tensor(np.linalg.inv(cov), dtype=torch.float32, device=device),
        ),
    ):
        x = d.sample((COUNT,)).cpu().numpy()
        np.testing.assert_allclose(x.mean(0), [1, -1], atol=0.05)
        np.testing.assert_allclose(np.cov(x.T), cov, atol=0.08)
    p = D.Dirichlet(torch.tensor([1.0, 2.0, 5.0], device=device)).sample((COUNT,)).cpu().numpy()
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(p.mean(0), [0.125, 0.25, 0.625], atol=0.01)
    counts = D.Multinomial(6, torch.tensor([0.2, 0.8], device=device)).sample((COUNT,))
    assert (counts.sum(-1) == 6).all()
    mixed = D.MixtureSameFamily(
        D.Categorical(torch.tensor([0.25, 0.75], device=device)),
        D.Normal(torch.tensor([-9.0, 9.0], device=device), 1.0),
    ).sample((COUNT,))
    assert abs((mixed > 0).float().mean().item() - 0.75) < 0.02


def test_draws_of_gamma_move_as_its_quantiles_do() -> None:
    a = np.array([0.05, 0.3, 0.9, 1.0, 2.5, 10.0, 80.0]).repeat(50)
    alpha = torch.tensor(a, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(6)
    x = D.Gamma(alpha, torch.ones((), dtype=torch.float64)).rsample()
    x.sum().backward()
    draws = x.detach().numpy()
    u, h = special.gammainc(a, draws), 1e-5 * a
    moved = (special.gammaincinv(a + h, u) - special.gammaincinv(a - h, u)) / (2 * h)
    inner = (u > 1e-6) & (u < 1 - 1e-6)  # where the quantile can be told from 0 and 1
    assert inner.mean() > 0.9
    np.testing.assert_allclose(alpha.grad.numpy()[inner], moved[inner], rtol=2e-4, atol=1e-12)


def test_a_gradient_passes_through_draws_and_their_density() -> None:
    """The step of soft actor critic: a squashed normal, its draw and its log_prob."""
    loc = torch.tensor([0.3, -0.2], requires_grad=True)
    log_scale = torch.tensor([-0.5, 0.1], requires_grad=True)
    torch.manual_seed(7)
    squashed = D.Independent(
        D.TransformedDistribution(D.Normal(loc, log_scale.exp()), [D.TanhTransform(cache_size=1)]),
        1,
    )
    action = squashed.rsample((64,))
    (squashed.log_prob(action).mean() - action.square().mean()).backward()
    assert action.abs().max() <= 1 and squashed.log_prob(action).shape == (64,)
    assert loc.grad.isfinite().all() and log_scale.grad.abs().min() > 0
