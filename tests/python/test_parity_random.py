"""Random ops: bounds, distributions, and that equal seeds give equal numbers everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oracle.library import DEVICES, IS_TORCH, L, library_dtype, synchronize, to_numpy
from scipy import stats

ON_DEVICES = pytest.mark.parametrize("device", DEVICES)
N = 20000
LIMIT = 1e-4  # a right generator fails such a test once in ten thousand seeds; the seed is fixed


def drawn(make: Callable[[], Any], seed: int = 1234) -> np.ndarray[Any, Any]:
    L.manual_seed(seed)
    return to_numpy(make())


@ON_DEVICES
@pytest.mark.parametrize("dtype", ["f32", "f64", "f16"])
def test_uniform(dtype: str, device: str) -> None:
    a = drawn(lambda: L.rand(N, dtype=library_dtype(dtype), device=device)).astype(np.float64)
    assert a.min() >= 0
    assert a.max() < 1
    if dtype != "f16":
        assert stats.kstest(a, "uniform").pvalue > LIMIT
        assert len(np.unique(a)) > N * 0.99
    b = drawn(lambda: L.empty(N, device=device).uniform_(-3, 5))
    assert stats.kstest((b + 3) / 8, "uniform").pvalue > LIMIT


@ON_DEVICES
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_normal(dtype: str, device: str) -> None:
    a = drawn(lambda: L.randn(N, dtype=library_dtype(dtype), device=device))
    assert stats.kstest(a, "norm").pvalue > LIMIT
    assert abs(np.corrcoef(a[:-1], a[1:])[0, 1]) < 0.04
    b = drawn(lambda: L.empty(N, device=device).normal_(2, 3))
    assert stats.kstest((b - 2) / 3, "norm").pvalue > LIMIT
    c = drawn(lambda: L.normal(1.0, 0.5, (N,), device=device))
    assert stats.kstest((c - 1) * 2, "norm").pvalue > LIMIT


@ON_DEVICES
@pytest.mark.parametrize("dtype", ["f32", "i64", "bool"])
def test_bernoulli(dtype: str, device: str) -> None:
    a = drawn(lambda: L.empty(N, dtype=library_dtype(dtype), device=device).bernoulli_(0.3))
    assert set(np.unique(a.astype(np.int64))) == {0, 1}
    assert stats.binomtest(int(a.sum()), N, 0.3).pvalue > LIMIT
    p = L.linspace(0, 1, N, device=device)
    b = drawn(lambda: L.bernoulli(p))
    assert b[0] == 0
    assert b[-1] == 1
    assert abs(b.mean() - 0.5) < 0.02
    assert b[: N // 4].mean() < 0.2 < b[-N // 4 :].mean()


@ON_DEVICES
def test_random_integers(device: str) -> None:
    a = drawn(lambda: L.randint(-3, 7, (N,), device=device))
    assert a.dtype == np.int64
    values, counts = np.unique(a, return_counts=True)
    assert list(values) == list(range(-3, 7))
    assert stats.chisquare(counts).pvalue > LIMIT
    b = drawn(lambda: L.randint(2**40, (N,), device=device))
    assert b.max() > 2**39
    assert len(np.unique(b)) == N


@ON_DEVICES
def test_permutation(device: str) -> None:
    a = drawn(lambda: L.randperm(1000, device=device))
    assert sorted(a) == list(range(1000))
    assert list(a) != list(range(1000))


@ON_DEVICES
@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 1.0])
def test_dropout(p: float, device: str) -> None:
    x = L.ones(N, device=device).requires_grad_()
    L.manual_seed(3)
    y = L.nn.functional.dropout(x, p, training=True)
    y.sum().backward()
    out, slope = to_numpy(y), to_numpy(x.grad)
    assert np.array_equal(out, slope), "the gradient uses the same mask"
    kept = 0.0 if p == 1 else 1 / (1 - p)
    assert np.allclose(np.unique(out), np.unique([0.0, kept] if 0 < p < 1 else [kept]))
    if 0 < p < 1:
        assert stats.binomtest(int((out == 0).sum()), N, p).pvalue > LIMIT
    assert L.nn.functional.dropout(x, p, training=False) is x or np.array_equal(
        to_numpy(L.nn.functional.dropout(x, p, training=False)), to_numpy(x)
    )


@ON_DEVICES
def test_equal_seeds_equal_numbers(device: str) -> None:
    def make() -> Any:
        a = L.rand(100, device=device)
        synchronize(device)
        return L.cat([a, L.randn(50, device=device), L.rand(7, device=device)])

    assert np.array_equal(drawn(make, 5), drawn(make, 5))
    assert not np.array_equal(drawn(make, 5), drawn(make, 6))


@ON_DEVICES
def test_dead_draws_advance_the_generator(device: str) -> None:
    def with_dead_draw() -> Any:
        L.rand(64, device=device)
        return L.rand(10, device=device)

    def alone() -> Any:
        return L.rand(10, device=device)

    first = drawn(with_dead_draw)
    assert np.array_equal(first, drawn(with_dead_draw))
    assert not np.array_equal(first, drawn(alone))


@ON_DEVICES
def test_two_draws_in_one_kernel_differ(device: str) -> None:
    L.manual_seed(0)
    a, b = L.rand(1000, device=device), L.rand(1000, device=device)
    together = to_numpy(a - b)
    assert not np.any(together == 0)
    assert abs(np.corrcoef(to_numpy(a), to_numpy(b))[0, 1]) < 0.15


@pytest.mark.skipif(IS_TORCH, reason="a promise of this library")
@pytest.mark.parametrize("draw", ["rand", "randn", "randint"])
def test_devices_agree(draw: str) -> None:
    """The same stream on every driver: one seed, one sequence."""

    def make(device: str) -> Callable[[], Any]:
        if draw == "randint":
            return lambda: L.randint(0, 1000, (333,), device=device)
        return lambda: getattr(L, draw)(333, device=device)

    on_cpu, on_mps = drawn(make("cpu")), drawn(make("mps"))
    if draw == "randn":
        assert np.allclose(on_cpu, on_mps, rtol=1e-5, atol=1e-6)
    else:
        assert np.array_equal(on_cpu, on_mps)
