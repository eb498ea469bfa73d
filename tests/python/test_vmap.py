"""vmap, against the batched op or a loop in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import quicksilver as torch
from quicksilver import nn
from quicksilver.func import functional_call, grad, jvp, stack_module_state, vmap

DEVICES = ["cpu", "mps"]


def numbers(rng: np.random.Generator, device: str, *shape: int) -> torch.Tensor:
    return torch.tensor(rng.standard_normal(shape).astype(np.float32), device=device)


@pytest.mark.parametrize("device", DEVICES)
def test_dimensions_in_and_out(rng: np.random.Generator, device: str) -> None:
    a, b = numbers(rng, device, 3, 4, 5), numbers(rng, device, 5, 4)
    want = np.einsum("ijk,kj->kij", a.cpu().numpy(), b.cpu().numpy())
    for out in (0, 1, 2, -1):
        got = vmap(lambda x, y: x * y, in_dims=(2, 0), out_dims=out)(a, b)
        np.testing.assert_array_equal(got.cpu().numpy(), np.moveaxis(want, 0, out))
    got = torch.vmap(torch.dot, in_dims=(-1, None))(a[:, 0], a[:, 1, 2])
    np.testing.assert_allclose(
        got.cpu().numpy(), a[:, 0].cpu().numpy().T @ a[:, 1, 2].cpu().numpy(), rtol=1e-6
    )


@pytest.mark.parametrize("device", DEVICES)
def test_structures(rng: np.random.Generator, device: str) -> None:
    data = {"x": numbers(rng, device, 4, 3), "y": [numbers(rng, device, 3, 4), 2.0]}

    def f(d: dict[str, Any], bias: torch.Tensor) -> dict[str, Any]:
        return {"sum": d["x"] + d["y"][0] * d["y"][1] + bias, "pair": (d["x"].sum(), bias)}

    bias = numbers(rng, device, 3)
    got = vmap(f, in_dims=({"x": 0, "y": [1, None]}, None), out_dims={"sum": 1, "pair": (0, None)})(
        data, bias
    )
    x, y = data["x"].cpu().numpy(), data["y"][0].cpu().numpy()
    np.testing.assert_allclose(got["sum"].cpu().numpy(), (x + 2 * y.T + bias.cpu().numpy()).T)
    np.testing.assert_allclose(got["pair"][0].cpu().numpy(), x.sum(1), rtol=1e-6)
    assert torch.equal(got["pair"][1], bias)


@pytest.mark.parametrize("device", DEVICES)
def test_gradients_of_each_sample(rng: np.random.Generator, device: str) -> None:
    w = numbers(rng, device, 3).requires_grad_()
    x, y = numbers(rng, device, 6, 3), numbers(rng, device, 6)

    def loss(weight: torch.Tensor, row: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return (row @ weight - wanted) ** 2

    got = vmap(grad(loss), in_dims=(None, 0, 0))(w.detach(), x, y)
    rows, wanted = x.cpu().numpy().astype(np.float64), y.cpu().numpy().astype(np.float64)
    want = 2 * (rows @ w.detach().cpu().numpy() - wanted)[:, None] * rows
    np.testing.assert_allclose(got.cpu().numpy(), want, rtol=1e-4, atol=1e-5)
    vmap(loss, in_dims=(None, 0, 0))(w, x, y).sum().backward()  # and through the map itself
    np.testing.assert_allclose(w.grad.cpu().numpy(), want.sum(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_an_ensemble(rng: np.random.Generator, device: str) -> None:
    models = [nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).to(device) for _ in "abc"]
    parameters, buffers = stack_module_state(models)
    assert parameters["0.weight"].shape == (3, 4, 3) and parameters["0.weight"].requires_grad
    x = numbers(rng, device, 5, 3)
    got = vmap(lambda p, b, x: functional_call(models[0], (p, b), (x,)), in_dims=(0, 0, None))(
        parameters, buffers, x
    )
    want = torch.stack([m(x) for m in models])
    np.testing.assert_allclose(
        got.detach().cpu().numpy(), want.detach().cpu().numpy(), rtol=1e-6, atol=1e-7
    )


def test_maps_nest(rng: np.random.Generator) -> None:
    a, b = numbers(rng, "mps", 3, 5), numbers(rng, "mps", 4, 5)
    got = vmap(vmap(torch.dot, in_dims=(None, 0)), in_dims=(0, None))(a, b)
    np.testing.assert_allclose(
        got.cpu().numpy(), a.cpu().numpy() @ b.cpu().numpy().T, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("device", DEVICES)
def test_randomness(device: str) -> None:
    x = torch.zeros(4, 50, device=device)
    same = vmap(lambda row: row + torch.rand_like(row), randomness="same")(x)
    assert (same == same[0]).all() and same[0].std() > 0.1
    other = vmap(lambda row: row + torch.rand_like(row), randomness="different")(x)
    assert not (other[0] == other[1]).any()
    with pytest.raises(RuntimeError, match="called random operation while in randomness error"):
        vmap(lambda row: row + torch.rand_like(row))(x)


def test_an_empty_batch_has_the_shapes_of_the_results() -> None:
    got = vmap(lambda x: (x.sum(), x[:, None] > 0), out_dims=(0, 1))(torch.ones(0, 3))
    assert got[0].shape == (0,) and got[1].shape == (3, 0, 1) and got[1].dtype == torch.bool


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: vmap(torch.sin)(), ValueError, "got no inputs"),
        (lambda x: vmap(torch.add)(x, x[:2]), ValueError, r"got sizes \[3, 2\] for the mapped"),
        (lambda x: vmap(torch.add)(x, 2), ValueError, "cannot vmap over non-Tensor arguments"),
        (lambda x: vmap(torch.sin, in_dims=2)(x), ValueError, "satisfy -2 <= in_dim < 2"),
        (lambda x: vmap(torch.add, in_dims=(0,))(x, x), ValueError, "in_dims is not compatible"),
        (lambda x: vmap(torch.sin, in_dims="a")(x), ValueError, "expected `in_dims` to be int"),
        (lambda x: vmap(torch.add, in_dims=(None, None))(x, x), ValueError, "at least one Tensor"),
        (lambda x: vmap(lambda y: 1)(x), ValueError, "must only return Tensors, got type"),
        (lambda x: vmap(torch.sin, out_dims=(0, 0))(x), ValueError, "out_dims is not compatible"),
        (lambda x: vmap(torch.sin, out_dims=5)(x), IndexError, "Dimension out of range"),
        (lambda x: vmap(torch.sin, randomness="no")(x), RuntimeError, "Only allowed values for"),
        (lambda x: vmap(torch.sin, chunk_size=0)(x), ValueError, "chunk_size should be None or"),
        (lambda x: jvp(torch.sin, x, x), RuntimeError, "Expected primals to be a tuple"),
        (lambda x: stack_module_state([]), RuntimeError, "at least one model, got 0"),
    ],
)
def test_mistakes(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(torch.ones(3, 4))


@pytest.mark.parametrize("device", DEVICES)
def test_jvp(rng: np.random.Generator, device: str) -> None:
    x, v = numbers(rng, device, 4), numbers(rng, device, 4)
    value, slope = jvp(lambda a, b: a.sin() * b, (x, v), (v, x))
    a, b = x.cpu().numpy().astype(np.float64), v.cpu().numpy().astype(np.float64)
    np.testing.assert_allclose(value.cpu().numpy(), np.sin(a) * b, rtol=1e-5)
    np.testing.assert_allclose(
        slope.cpu().numpy(), np.cos(a) * b * b + np.sin(a) * a, rtol=1e-5, atol=1e-6
    )
    _, _, aux = jvp(lambda a: (a * 2, a.sum()), (x,), (v,), has_aux=True)
    np.testing.assert_allclose(aux.detach().cpu().numpy(), a.sum(), rtol=1e-5)
