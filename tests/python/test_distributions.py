"""Draws of distributions: moments and distribution functions, repeatability, bad arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oracle.library import DEVICES, L, to_numpy
from scipy import stats

ON_DEVICES = pytest.mark.parametrize("device", DEVICES)
COUNT = 60_000


def full(value: float, device: str) -> Any:
    return L.full((COUNT,), float(value), device=device)


CONTINUOUS: dict[str, tuple[Callable[[str], Any], Any]] = {
    "exponential": (lambda d: full(0, d).exponential_(2.0), stats.expon(scale=0.5)),
    "cauchy": (lambda d: full(0, d).cauchy_(1.0, 0.5), stats.cauchy(1.0, 0.5)),
    "log_normal": (
        lambda d: full(0, d).log_normal_(0.5, 0.75),
        stats.lognorm(0.75, scale=np.exp(0.5)),
    ),
    "gamma[0.3]": (lambda d: L._standard_gamma(full(0.3, d)), stats.gamma(0.3)),
    "gamma[2.5]": (lambda d: L._standard_gamma(full(2.5, d)), stats.gamma(2.5)),
    "gamma[40]": (lambda d: L._standard_gamma(full(40.0, d)), stats.gamma(40.0)),
}  # fmt: skip
DISCRETE: dict[str, tuple[Callable[[str], Any], Any]] = {
    "geometric": (lambda d: full(0, d).geometric_(0.3), stats.geom(0.3)),
    "poisson[0.7]": (lambda d: L.poisson(full(0.7, d)), stats.poisson(0.7)),
    "poisson[9.5]": (lambda d: L.poisson(full(9.5, d)), stats.poisson(9.5)),
    "poisson[60]": (lambda d: L.poisson(full(60.0, d)), stats.poisson(60.0)),
    "binomial[12 0.4]": (lambda d: L.binomial(full(12, d), full(0.4, d)), stats.binom(12, 0.4)),
    "binomial[90 0.8]": (lambda d: L.binomial(full(90, d), full(0.8, d)), stats.binom(90, 0.8)),
    "binomial[400 0.3]": (lambda d: L.binomial(full(400, d), full(0.3, d)), stats.binom(400, 0.3)),
}


@ON_DEVICES
@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous(name: str, device: str) -> None:
    draw, wanted = CONTINUOUS[name]
    L.manual_seed(7)
    got = to_numpy(draw(device)).astype(np.float64)
    assert stats.kstest(got, wanted.cdf).pvalue > 1e-3
    L.manual_seed(7)
    assert (to_numpy(draw(device)) == got).all()


@ON_DEVICES
@pytest.mark.parametrize("name", DISCRETE)
def test_discrete(name: str, device: str) -> None:
    draw, wanted = DISCRETE[name]
    L.manual_seed(11)
    got = to_numpy(draw(device)).astype(np.int64)
    low, high = int(wanted.ppf(0.002)), int(wanted.ppf(0.998))
    edges = np.arange(low, high + 1)
    seen = np.array(
        [(got <= low).sum(), *[(got == k).sum() for k in edges[1:-1]], (got >= high).sum()]
    )
    chance = np.array([wanted.cdf(low), *wanted.pmf(edges[1:-1]), wanted.sf(high - 1)])
    assert stats.chisquare(seen, chance / chance.sum() * COUNT).pvalue > 1e-3
    L.manual_seed(11)
    assert (to_numpy(draw(device)) == got).all()


def test_devices_draw_alike() -> None:
    results = []
    for device in DEVICES:
        L.manual_seed(3)
        results.append(to_numpy(L.poisson(full(12.0, device))))
    assert all((r == results[0]).all() for r in results)


def test_generators() -> None:
    g = L.Generator()
    g.manual_seed(5)
    first = L.empty(100).exponential_(generator=g)
    g.manual_seed(5)
    assert L.equal(first, L.empty(100).exponential_(generator=g))
    g.manual_seed(5)
    draws = L.poisson(L.full((100,), 4.0), generator=g)
    g.manual_seed(5)
    assert L.equal(draws, L.poisson(L.full((100,), 4.0), generator=g))


def test_dirichlet_sums_to_one() -> None:
    draws = to_numpy(L._sample_dirichlet(L.tensor([[0.5, 2.0, 4.0]] * 2000)))
    np.testing.assert_allclose(draws.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(draws.mean(0), np.array([0.5, 2, 4]) / 6.5, atol=0.02)


def test_rrelu() -> None:
    x = L.linspace(-2, 2, 101)
    f = L.nn.functional
    a = to_numpy(x)
    wanted = np.where(a > 0, a, a * (1 / 8 + 1 / 3) / 2)
    np.testing.assert_allclose(to_numpy(f.rrelu(x)), wanted, rtol=1e-6)
    slopes = to_numpy(f.rrelu(x, 0.2, 0.4, training=True) / x)[:50]
    assert (slopes >= 0.2 - 1e-6).all() and (slopes < 0.4 + 1e-6).all() and slopes.std() > 0.02


def test_refusals() -> None:
    with pytest.raises(RuntimeError, match=r"lambda > 0\.0"):
        L.empty(3).exponential_(0)
    with pytest.raises(RuntimeError, match=r"p to be in \(0, 1\)"):
        L.empty(3).geometric_(1.5)
    with pytest.raises(RuntimeError, match=r"sigma > 0\.0"):
        L.empty(3).cauchy_(0, -1)
    with pytest.raises(RuntimeError):
        L.empty(3, dtype=L.int64).exponential_()
    with pytest.raises(RuntimeError):
        L.poisson(L.ones(3, dtype=L.int64))
