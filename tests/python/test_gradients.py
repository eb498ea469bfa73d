"""Gradients against finite differences in float64, their gradients, and PyTorch's edge cases."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oracle import (
    gradient_edges,
    gradients_windows,  # noqa: F401 (adds its rows)
    optable,
)
from oracle.gradients import NOT_HERE, ROWS, Row, draw
from oracle.library import DEVICES, IS_TORCH, Array, L, serves, to_library, to_numpy
from oracle.run import trace

ON_DEVICES = pytest.mark.parametrize("device", DEVICES)
DIRECTIONS = 3
STEP = 2e-3


def slope_along(f: Callable[[list[Array]], float], at: list[Array], along: list[Array]) -> float:
    """The directional derivative of f by the central difference of fourth order."""

    def value(k: float) -> float:
        return f([a + k * STEP * d for a, d in zip(at, along, strict=True)])

    return (8 * (value(1) - value(-1)) - (value(2) - value(-2))) / (12 * STEP)


class Differentiated:
    """sum(weights * call(inputs)) of a row as a function of arrays, and its gradients."""

    def __init__(self, row: Row, device: str, rng: np.random.Generator) -> None:
        self.row, self.device = row, device
        self.at = [draw(rng, s, d) for s, d in zip(row.shapes, row.domains, strict=True)]
        self.rng = rng
        shape = self.call(self.tensors(self.at)).shape
        self.weights = rng.standard_normal(tuple(shape))
        self.second = [rng.standard_normal(a.shape) for a in self.at]

    def tensors(self, arrays: list[Array], wants: bool = False) -> list[Any]:
        made = [to_library(a, "f64", self.device) for a in arrays]
        return [t.requires_grad_() for t in made] if wants else made

    def call(self, tensors: list[Any]) -> Any:
        return self.row.call(L, *tensors)

    def total(self, tensors: list[Any]) -> Any:
        return (self.call(tensors) * to_library(self.weights, "f64", self.device)).sum()

    def value(self, arrays: list[Array]) -> float:
        return float(self.total(self.tensors(arrays)).item())

    def gradients(self, arrays: list[Array]) -> list[Array]:
        x = self.tensors(arrays, wants=True)
        found = L.autograd.grad(self.total(x), x, allow_unused=True)
        return [
            np.zeros(a.shape) if g is None else to_numpy(g)
            for a, g in zip(arrays, found, strict=True)
        ]

    def _weighted(self, found: Any) -> Any:
        parts = [
            (g * to_library(w, "f64", self.device)).sum()
            for g, w in zip(found, self.second, strict=True)
            if g is not None
        ]
        return sum(parts[1:], parts[0])

    def second_value(self, arrays: list[Array]) -> float:
        return float(
            sum(np.sum(g * w) for g, w in zip(self.gradients(arrays), self.second, strict=True))
        )

    def second_gradients(self, arrays: list[Array]) -> list[Array]:
        x = self.tensors(arrays, wants=True)
        total = self._weighted(
            L.autograd.grad(self.total(x), x, create_graph=True, allow_unused=True)
        )
        if not total.requires_grad:
            return [np.zeros(a.shape) for a in arrays]
        found = L.autograd.grad(total, x, allow_unused=True)
        return [
            np.zeros(a.shape) if g is None else to_numpy(g)
            for a, g in zip(arrays, found, strict=True)
        ]

    def check(self, f: Callable[[list[Array]], float], gradients: list[Array]) -> None:
        for a, g in zip(self.at, gradients, strict=True):
            assert g.shape == a.shape, "a gradient has the shape of its input"
        for i in range(len(self.at)):
            for _ in range(DIRECTIONS):
                along = [np.zeros(a.shape) for a in self.at]
                along[i] = self.rng.uniform(-1, 1, self.at[i].shape)
                wanted = slope_along(f, self.at, along)
                got = float(np.sum(gradients[i] * along[i]))
                scale = max(1.0, float(np.abs(gradients[i]).max(initial=0)))
                assert abs(got - wanted) <= 2e-7 * scale, (
                    f"input {i}: {got!r}, differences give {wanted!r}"
                )


@ON_DEVICES
@pytest.mark.parametrize("row", ROWS, ids=Row.name)
def test_against_differences(row: Row, device: str) -> None:
    if not serves(device, "f64"):
        return
    it = Differentiated(row, device, np.random.default_rng(zlib.crc32(row.name().encode())))
    it.check(it.value, it.gradients(it.at))
    if row.order > 1:
        it.check(it.second_value, it.second_gradients(it.at))


@pytest.mark.skipif(IS_TORCH, reason="some rows are left out for PyTorch")
def test_every_verb_is_differentiated() -> None:
    covered = {row.verb for row in ROWS}
    missing = [v for v in optable.verb_names() if v not in covered and v not in NOT_HERE]
    assert not missing
    assert not covered & set(NOT_HERE)


def test_every_gradient_row_is_known() -> None:
    """What the table calls unknown is what this file leaves out for that reason."""
    unknown = {op for op, kinds in optable.gradient_rows().items() if "UNKNOWN" in kinds}
    # Their rows go through verbs.
    halves = {
        "layer_norm_backward",
        "cross_entropy_backward",
        "rms_norm_backward",
        "batch_norm",
        "batch_norm_backward",
        "attention",
        "attention_backward",
    }
    assert unknown - halves == {v for v, why in NOT_HERE.items() if "UNKNOWN" in why}


@ON_DEVICES
@pytest.mark.parametrize("name", gradient_edges.EDGES)
def test_edges_as_pytorch(name: str, device: str) -> None:
    wanted = trace("gradient_edges")[name]
    got = gradient_edges.run(name, L, device)
    assert len(got) == len(wanted)
    for g, w in zip(got, wanted, strict=True):
        np.testing.assert_allclose(np.array(g, float), np.array(w, float), rtol=2e-6, atol=1e-12)


@ON_DEVICES
def test_detach_cuts(device: str) -> None:
    x = to_library(np.ones(3), "f64", device).requires_grad_()
    y = x.detach()
    assert not y.requires_grad
    ((x * y).sum() + (y * 5).sum()).backward()
    assert np.array_equal(to_numpy(x.grad), [1.0] * 3)


@ON_DEVICES
def test_gradients_add_up(device: str) -> None:
    x = to_library(np.arange(3.0), "f64", device).requires_grad_()
    for _ in range(3):
        (x * x).sum().backward()
    assert np.allclose(to_numpy(x.grad), 6 * np.arange(3.0))


@ON_DEVICES
def test_without_grad_nothing_is_kept(device: str) -> None:
    x = to_library(np.ones(3), "f64", device).requires_grad_()
    with L.no_grad():
        assert not (x * 2).requires_grad
    with pytest.raises(RuntimeError):
        (x.detach() * 2).sum().backward()


@ON_DEVICES
def test_a_second_backward_needs_the_graph(device: str) -> None:
    x = to_library(np.ones(3), "f64", device).requires_grad_()
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert np.allclose(to_numpy(x.grad), 4)
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


@ON_DEVICES
@pytest.mark.parametrize(
    "dtype",
    [
        "f32",
        pytest.param("f16", marks=pytest.mark.slow),
        pytest.param("bf16", marks=pytest.mark.slow),
    ],
)
def test_gradients_have_their_inputs_dtype(dtype: str, device: str) -> None:
    a = to_library(np.ones((3, 4)), dtype, device).requires_grad_()
    b = to_library(np.ones((4,)), "f32", device).requires_grad_()
    ((a * b) @ b.reshape(4, 1).expand(4, 2)).float().sum().backward()
    assert a.grad.dtype == a.dtype
    assert b.grad.dtype == b.dtype
    assert tuple(a.grad.shape) == (3, 4)
