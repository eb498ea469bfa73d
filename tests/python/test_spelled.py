"""Composites as users spell them: as many launches as the function of that name, with its values
and its errors; joined tensors in one launch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oracle.library import IS_TORCH, L

pytestmark = pytest.mark.skipif(
    IS_TORCH or not L.backends.mps.is_available(), reason="about the planner of the mps device"
)
F = L.nn.functional
N, C = 24, 40  # where it pays on a driver of this process


def launches(fn: Callable[..., Any], *args: Any) -> int:
    L.mps.synchronize()
    return int(L.explain(fn, *args).launches)


def with_gradient(loss: Callable[..., Any]) -> Callable[..., Any]:
    """loss(x, t) and the gradient of x."""

    def run(x: Any, t: Any) -> tuple[Any, Any]:
        x = x.detach().requires_grad_()
        value = loss(x, t)
        value.backward()
        return value.detach(), x.grad

    return run


def softmax_rows(x: Any) -> Any:
    e = L.exp(x - x.amax(-1, keepdim=True))
    return e / e.sum(-1, keepdim=True)


LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "gather": lambda x, t: -F.log_softmax(x, -1).gather(1, t[:, None]).mean(),
    "squeezed": lambda x, t: -F.log_softmax(x, 1).gather(1, t.unsqueeze(1)).squeeze(1).mean(),
    "indexed": lambda x, t: -F.log_softmax(x, -1)[L.arange(len(x), device=x.device), t].mean(),
    "one-hot": lambda x, t: -(F.one_hot(t, C).float() * F.log_softmax(x, -1)).sum(-1).mean(),
    "nll_loss": lambda x, t: F.nll_loss(F.log_softmax(x, -1), t),
    "logsumexp": lambda x, t: (x.logsumexp(-1) - x.gather(1, t[:, None])[:, 0]).mean(),
    "log of softmax": lambda x, t: -L.log(softmax_rows(x)).gather(1, t[:, None]).mean(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_cross_entropy(name: str, rng: np.random.Generator) -> None:
    logits, classes = rng.standard_normal((N, C)), rng.integers(0, C, N)
    x = L.from_numpy(logits.astype("f")).to("mps")
    t = L.from_numpy(classes).to("mps")
    loss = LOSSES[name]
    with L.no_grad():
        assert launches(loss, x, t) == launches(F.cross_entropy, x, t) == 2
    for _ in range(3):
        value, grad = with_gradient(loss)(x, t)
        soft = np.exp(logits - logits.max(1, keepdims=True))
        soft /= soft.sum(1, keepdims=True)
        hit = np.eye(C)[classes]
        np.testing.assert_allclose(value.item(), -np.log((soft * hit).sum(1)).mean(), rtol=1e-5)
        np.testing.assert_allclose(grad.cpu().numpy(), (soft - hit) / N, atol=1e-6)


@pytest.mark.parametrize("name", ["gather", "indexed", "nll_loss"])
def test_its_gradient_is_made_with_it(name: str) -> None:
    x, t = L.randn(N, C, device="mps"), L.arange(N, device="mps")
    assert launches(with_gradient(LOSSES[name]), x, t) <= launches(
        with_gradient(F.cross_entropy), x, t
    )


@pytest.mark.parametrize("name", ["gather", "indexed", "nll_loss"])
@pytest.mark.parametrize("bad", [C, -C - 1])
def test_a_bad_class_leaves_the_weights_alone(name: str, bad: int) -> None:
    model = L.nn.Linear(16, C).to("mps")
    optimizer = L.optim.SGD(model.parameters(), lr=0.1)
    x, t = L.randn(N, 16, device="mps"), L.zeros(N, dtype=L.int64, device="mps")
    for wrong in (False, True, False):
        t[5] = bad if wrong else 3
        before = model.weight.detach().cpu().numpy().copy()
        optimizer.zero_grad()
        LOSSES[name](model(x), t).backward()
        optimizer.step()
        if wrong:
            with pytest.raises(IndexError, match=str(bad)):
                L.mps.synchronize()
            assert np.array_equal(model.weight.detach().cpu().numpy(), before)
        else:
            assert not np.array_equal(model.weight.detach().cpu().numpy(), before)


def test_joined_tensors_are_written_by_their_makers(rng: np.random.Generator) -> None:
    a = L.from_numpy(rng.standard_normal((40, 20)).astype("f")).to("mps")
    b = L.from_numpy(rng.standard_normal((40, 30)).astype("f")).to("mps")
    assert launches(lambda: L.cat([a, b, a, b], 1)) == 1
    assert launches(lambda: L.stack([a, a, a], 0)) == 1
    assert launches(lambda: L.stack([a.relu(), a.exp(), a * 2], -1)) == 3
    made = L.explain(lambda: L.cat([a.relu(), b * 2, L.tanh(a)], 1))
    assert made.launches == 3 and made.plans[0]["arena_bytes"] == 0
    x, y = a.cpu().numpy(), b.cpu().numpy()
    np.testing.assert_allclose(
        made.result.cpu().numpy(),
        np.concatenate([np.maximum(x, 0), y * 2, np.tanh(x)], 1),
        rtol=1e-6,
    )


def test_gradients_of_joined_tensors_are_read_where_they_lie() -> None:
    a = L.randn(40, 20, device="mps", requires_grad=True)
    b = L.randn(40, 30, device="mps", requires_grad=True)
    w = L.randn(40, 50, device="mps")

    def step() -> tuple[Any, Any]:
        (L.cat([a.exp(), b * 3], 1) * w).sum().backward()
        grads = a.grad, b.grad
        a.grad = b.grad = None
        return grads

    # Nobody looks at the loss: one kernel for each gradient, straight from w.
    made = L.explain(step)
    assert made.launches == 2 and made.plans[0]["arena_bytes"] == 0
    da, db = made.result
    wn = w.cpu().numpy()
    np.testing.assert_allclose(
        da.cpu().numpy(), wn[:, :20] * np.exp(a.detach().cpu().numpy()), rtol=1e-5
    )
    np.testing.assert_allclose(db.cpu().numpy(), wn[:, 20:] * 3, rtol=1e-6)


def test_many_tensors_are_joined_in_steps() -> None:
    parts = [L.full((2, 3), float(i), device="mps") for i in range(300)]
    joined = L.cat(parts, 0)
    assert joined.shape == (600, 3)
    assert np.array_equal(joined.cpu().numpy()[::2, 0], np.arange(300.0))
    assert np.array_equal(L.stack(parts, 1).cpu().numpy()[1, :, 2], np.arange(300.0))
