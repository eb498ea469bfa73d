"""The fused LSTM layer against NumPy in float64 and its gradients against the plain composition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import traced
from oracle.library import DEVICES, Array, L, to_library, to_numpy

ON_DEVICES = pytest.mark.parametrize("device", DEVICES)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def numpy_layer(
    x: Array, h: Array, c: Array, w: list[Array | None], reverse: bool
) -> tuple[Array, Array, Array]:
    w_ih, w_hh, b_ih, b_hh, w_hr = w
    out = np.zeros((x.shape[0], *h.shape))
    steps = range(x.shape[0])
    for t in reversed(steps) if reverse else steps:
        gates = x[t] @ w_ih.T + h @ w_hh.T
        if b_ih is not None:
            gates = gates + b_ih + b_hh
        i, f, g, o = np.split(gates, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        if w_hr is not None:
            h = h @ w_hr.T
        out[t] = h
    return out, h, c


def numbers(rng: np.random.Generator, steps: int, bias: bool, projection: int) -> list[Any]:
    batch, size, hidden = 3, 4, 5
    width = projection or hidden
    shapes: list[tuple[int, ...] | None] = [
        (steps, batch, size), (batch, width), (batch, hidden),
        (4 * hidden, size), (4 * hidden, width),
        (4 * hidden,) if bias else None, (4 * hidden,) if bias else None,
        (width, hidden) if projection else None,
    ]  # fmt: skip
    return [None if s is None else rng.standard_normal(s) * 0.7 for s in shapes]


OPTIONS = [
    (steps, bias, projection, reverse)
    for steps in (1, 2, 7)
    for bias, projection in ((True, 0), (False, 0), (True, 2))
    for reverse in (False, True)
]


@ON_DEVICES
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize(("steps", "bias", "projection", "reverse"), OPTIONS)
def test_a_layer(
    steps: int, bias: bool, projection: int, reverse: bool, dtype: str, device: str,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    given = numbers(rng, steps, bias, projection)
    tensors = [a if a is None else to_library(a, dtype, device) for a in given]
    got = L._C._lstm_layer(*tensors, reverse)
    expected = numpy_layer(*given[:3], given[3:], reverse)
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == "f32" else {"rtol": 1e-11, "atol": 1e-12}
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(to_numpy(one), other, **tolerance)


@ON_DEVICES
@pytest.mark.parametrize(("steps", "bias", "projection", "reverse"), OPTIONS)
def test_gradients_of_a_layer(
    steps: int, bias: bool, projection: int, reverse: bool, device: str, rng: np.random.Generator
) -> None:
    """Central differences in float64, along a random direction of every input at once."""
    given = numbers(rng, steps, bias, projection)
    weights = [rng.standard_normal(a.shape) for a in numpy_layer(*given[:3], given[3:], reverse)]
    tensors = [a if a is None else to_library(a, "f64", device).requires_grad_() for a in given]
    results = L._C._lstm_layer(*tensors, reverse)
    sum(
        (r * to_library(w, "f64", device)).sum() for r, w in zip(results, weights, strict=True)
    ).backward()
    for k, a in enumerate(given):
        if a is None:
            continue
        direction = rng.standard_normal(a.shape)

        def value(t: float, k: int = k, a: Any = a, d: Any = direction) -> float:
            moved = [*given[:k], a + t * d, *given[k + 1 :]]
            out = numpy_layer(*moved[:3], moved[3:], reverse)
            return float(sum((o * w).sum() for o, w in zip(out, weights, strict=True)))

        slope = (value(1e-5) - value(-1e-5)) / 2e-5
        np.testing.assert_allclose(
            (to_numpy(tensors[k].grad) * direction).sum(), slope, rtol=1e-6, atol=1e-7
        )


@ON_DEVICES
@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 1)])
def test_gradients_of_some_results(
    wanted: tuple[int, ...], device: str, rng: np.random.Generator
) -> None:
    """Results that nobody uses bring no gradient; the differentiable backward agrees."""
    given = numbers(rng, 4, True, 0)
    grads = []
    for create in (False, True):
        tensors = [a if a is None else to_library(a, "f64", device).requires_grad_() for a in given]
        results = L._C._lstm_layer(*tensors, False)
        loss = sum((results[i] ** 2).sum() for i in wanted)
        leaves = [t for t in tensors if t is not None]
        grads.append(L.autograd.grad(loss, leaves, create_graph=create))
    for one, other in zip(*grads, strict=True):
        assert other.requires_grad and not one.requires_grad
        np.testing.assert_allclose(to_numpy(one), to_numpy(other.detach()), rtol=1e-10, atol=1e-12)


def test_the_second_derivative(rng: np.random.Generator) -> None:
    given = numbers(rng, 3, True, 0)

    def slopes(x: Array) -> Any:
        tensors = [None if a is None else to_library(a, "f64", "cpu") for a in given]
        tensors[0] = to_library(x, "f64", "cpu").requires_grad_()
        out = L._C._lstm_layer(*tensors, False)[0]
        (g,) = L.autograd.grad((out**2).sum(), tensors[0], create_graph=True)
        return tensors[0], g

    x, g = slopes(given[0])
    direction = rng.standard_normal(given[0].shape)
    (second,) = L.autograd.grad((g * to_library(direction, "f64", "cpu")).sum(), x)
    step = 1e-5
    up, down = (to_numpy(slopes(given[0] + s * direction)[1].detach()) for s in (step, -step))
    np.testing.assert_allclose(to_numpy(second), (up - down) / (2 * step), rtol=1e-6, atol=1e-7)


def test_what_backward_reads_is_watched() -> None:
    tensors = [L.ones(*s).requires_grad_() for s in ((2, 1, 1), (1, 1), (1, 1), (4, 1), (4, 1))]
    out, _, c = L._C._lstm_layer(*tensors, None, None, None, False)
    with L.no_grad():
        c.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()
    out = L._C._lstm_layer(*tensors, None, None, None, False)[0]
    out.sum().backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        out.sum().backward()


# ---- the modules ---------------------------------------------------------------------------------
@ON_DEVICES
@pytest.mark.parametrize("case", traced.cases("rnn"))
def test_as_pytorch(case: str, device: str) -> None:
    L.set_default_device(device)
    try:
        traced.check("rnn", case, L, rtol=2e-5, atol=3e-6)
    finally:
        L.set_default_device(None)


def test_initial_weights_and_dropout() -> None:
    L.manual_seed(0)
    layer = L.nn.LSTM(8, 64, 2, dropout=0.5)
    for p in layer.parameters():
        assert p.abs().max().item() <= 1 / 8 and p.std().item() > 0.06
    x = L.ones(3, 2, 8)
    assert not L.equal(layer(x)[0], layer(x)[0]), "dropout draws anew"
    layer.eval()
    assert L.equal(layer(x)[0], layer(x)[0])
    with pytest.warns(UserWarning, match="num_layers greater than 1"):
        L.nn.GRU(2, 2, dropout=0.5)


def test_a_length_beyond_the_steps_is_refused() -> None:
    with pytest.raises(RuntimeError, match="more than the 3 steps"):
        L.nn.utils.rnn.pack_padded_sequence(L.ones(3, 2, 1), [4, 1])
