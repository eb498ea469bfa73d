"""Optimizer steps against the same formulas in NumPy float64, several steps, every option."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracle.library import DEVICES, Array, L, to_library, to_numpy

ON_DEVICES = pytest.mark.parametrize("device", DEVICES)
SHAPES = [(7, 5), (1500,), (1,)]
STEPS = 5

SGD_OPTIONS: list[dict[str, Any]] = [
    {"lr": 0.1},
    {"lr": 0.1, "weight_decay": 0.01},
    {"lr": 0.05, "momentum": 0.9},
    {"lr": 0.05, "momentum": 0.9, "dampening": 0.3},
    {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
    {"lr": 0.1, "maximize": True},
    {"lr": 0.05, "momentum": 0.9, "maximize": True, "weight_decay": 0.1},
]
ADAM_OPTIONS: list[dict[str, Any]] = [
    {"lr": 0.01},
    {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-6},
    {"lr": 0.01, "weight_decay": 0.1},
    {"lr": 0.01, "maximize": True, "weight_decay": 0.1},
    {"lr": 0.1, "amsgrad": True, "betas": (0.5, 0.5)},
    {"lr": 0.1, "amsgrad": True, "maximize": True, "weight_decay": 0.1},
]


class NumpySGD:
    def __init__(
        self,
        lr: float,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        maximize: bool = False,
    ) -> None:
        self.o = (lr, momentum, dampening, weight_decay, nesterov, maximize)
        self.buffers: dict[int, Array] = {}

    def step(self, i: int, p: Array, g: Array) -> Array:
        lr, momentum, dampening, decay, nesterov, maximize = self.o
        g = (-g if maximize else g) + decay * p
        if momentum:
            old = self.buffers.get(i)
            self.buffers[i] = g if old is None else momentum * old + (1 - dampening) * g
            g = g + momentum * self.buffers[i] if nesterov else self.buffers[i]
        return p - lr * g


class NumpyAdam:
    def __init__(
        self,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        maximize: bool = False,
        decoupled: bool = False,
    ) -> None:
        self.o = (lr, *betas, eps, weight_decay, decoupled)
        self.amsgrad, self.maximize = amsgrad, maximize
        self.state: dict[int, tuple[Array, Array, Array, int]] = {}

    def step(self, i: int, p: Array, g: Array) -> Array:
        lr, b1, b2, eps, decay, decoupled = self.o
        m, v, largest, t = self.state.get(i, (0 * p, 0 * p, 0 * p, 0))
        g = -g if self.maximize else g
        if decoupled:
            p = p * (1 - lr * decay)
        else:
            g = g + decay * p
        m, v, t = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g, t + 1
        largest = np.maximum(largest, v)
        self.state[i] = (m, v, largest, t)
        v = largest if self.amsgrad else v
        return p - lr / (1 - b1**t) * m / (np.sqrt(v / (1 - b2**t)) + eps)


def compare(make: Any, reference: Any, device: str, rng: np.random.Generator) -> None:
    start = [rng.standard_normal(s).astype(np.float32) for s in SHAPES]
    slopes = [[rng.standard_normal(s).astype(np.float32) for s in SHAPES] for _ in range(STEPS)]
    params = [to_library(a, "f32", device).requires_grad_() for a in start]
    optimizer = make(params)
    expected = [a.astype(np.float64) for a in start]
    for step in range(STEPS):
        optimizer.zero_grad()
        total = sum(
            (p * to_library(g, "f32", device)).sum()
            for p, g in zip(params, slopes[step], strict=True)
        )
        total.backward()
        optimizer.step()
        expected = [
            reference.step(i, p, slopes[step][i].astype(np.float64)) for i, p in enumerate(expected)
        ]
        for p, e in zip(params, expected, strict=True):
            np.testing.assert_allclose(to_numpy(p), e, rtol=2e-5, atol=2e-6, err_msg=f"step {step}")


@ON_DEVICES
@pytest.mark.parametrize("options", SGD_OPTIONS, ids=lambda o: ",".join(o))
def test_sgd(options: dict[str, Any], device: str, rng: np.random.Generator) -> None:
    compare(lambda p: L.optim.SGD(p, **options), NumpySGD(**options), device, rng)


@ON_DEVICES
@pytest.mark.parametrize("options", ADAM_OPTIONS, ids=lambda o: ",".join(o))
def test_adam(options: dict[str, Any], device: str, rng: np.random.Generator) -> None:
    compare(lambda p: L.optim.Adam(p, **options), NumpyAdam(**options), device, rng)


@ON_DEVICES
@pytest.mark.parametrize("options", ADAM_OPTIONS, ids=lambda o: ",".join(o))
def test_adamw(options: dict[str, Any], device: str, rng: np.random.Generator) -> None:
    own = {"weight_decay": 1e-2, **options}
    compare(lambda p: L.optim.AdamW(p, **options), NumpyAdam(**own, decoupled=True), device, rng)


@ON_DEVICES
def test_parameters_without_gradients_stay(device: str) -> None:
    p = L.ones(3, device=device).requires_grad_()
    q = L.ones(3, device=device).requires_grad_()
    optimizer = L.optim.SGD([p, q], lr=0.5)
    p.sum().backward()
    optimizer.step()
    assert np.array_equal(to_numpy(p), [0.5] * 3)
    assert np.array_equal(to_numpy(q), [1.0] * 3)
