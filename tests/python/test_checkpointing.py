"""utils.checkpoint and the hooks on what is saved: gradients as without, less kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracle.library import DEVICES, Array, L, to_library, to_numpy

ON_DEVICES = pytest.mark.parametrize("device", DEVICES)
BOTH_FORMS = pytest.mark.parametrize("reentrant", [False, True])
checkpoint = L.utils.checkpoint.checkpoint


def network(device: str, dropout: float = 0.0) -> Any:
    L.manual_seed(0)
    n = L.nn
    return n.Sequential(
        n.Linear(6, 16), n.GELU(), n.Dropout(dropout), n.LayerNorm(16), n.Linear(16, 3)
    ).to(device)


def gradients(model: Any, run: Any, start: Array, device: str) -> list[Array]:
    x = to_library(start, "f32", device).requires_grad_()
    for p in model.parameters():
        p.grad = None
    L.manual_seed(5)
    (run(x * 2) ** 2).sum().backward()
    return [to_numpy(x.grad), *(to_numpy(p.grad) for p in model.parameters())]


@ON_DEVICES
@BOTH_FORMS
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_gradients_are_those_of_a_plain_call(
    dropout: float, reentrant: bool, device: str, rng: np.random.Generator
) -> None:
    model, start = network(device, dropout), rng.standard_normal((5, 6))
    plain = gradients(model, model, start, device)
    kept = gradients(model, lambda x: checkpoint(model, x, use_reentrant=reentrant), start, device)
    for one, other in zip(plain, kept, strict=True):
        np.testing.assert_array_equal(one, other)
    segments = gradients(
        model,
        lambda x: L.utils.checkpoint.checkpoint_sequential(model, 2, x, use_reentrant=reentrant),
        start,
        device,
    )
    for one, other in zip(plain, segments, strict=True):
        np.testing.assert_array_equal(one, other)


@ON_DEVICES
def test_calls_are_made_again_and_nested(device: str, rng: np.random.Generator) -> None:
    calls = []
    model, start = network(device), rng.standard_normal((5, 6))

    def inner(x: Any) -> Any:
        calls.append("inner")
        return model[0](x)

    def outer(x: Any, *, factor: float) -> Any:
        calls.append("outer")
        return model[1:](checkpoint(inner, x, use_reentrant=False)) * factor

    plain = gradients(model, lambda x: model(x) * 3.0, start, device)
    kept = gradients(
        model, lambda x: checkpoint(outer, x, factor=3.0, use_reentrant=False), start, device
    )
    assert calls[:2] == ["outer", "inner"] and calls.count("outer") == 2
    for one, other in zip(plain, kept, strict=True):
        np.testing.assert_array_equal(one, other)


def test_inputs_without_a_gradient() -> None:
    model = network("cpu")
    x = L.ones(2, 6)
    checkpoint(model, x, use_reentrant=False).sum().backward()
    assert model[0].weight.grad is not None
    with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
        checkpoint(model, x, use_reentrant=True)
    with pytest.warns(UserWarning, match="use_reentrant parameter should be passed"):
        checkpoint(model, x.requires_grad_())
    with L.no_grad():
        assert not checkpoint(model, x, use_reentrant=False).requires_grad


def test_another_second_call_is_an_error() -> None:
    shapes = iter([3, 4])

    def changing(x: Any) -> Any:
        y = x[: next(shapes)]
        return (y * y).sum()

    out = checkpoint(changing, L.ones(5, requires_grad=True) * 1, use_reentrant=False)
    with pytest.raises(L.utils.checkpoint.CheckpointError, match="different metadata"):
        out.backward()


def test_second_derivatives_pass_through() -> None:
    x = L.tensor([0.5, 1.5], dtype=L.float64, requires_grad=True)
    out = checkpoint(lambda t: (t**4).sum(), x, use_reentrant=False)
    (first,) = L.autograd.grad(out, x, create_graph=True)
    (second,) = L.autograd.grad(first.sum(), x)
    np.testing.assert_allclose(second.numpy(), 12 * np.array([0.25, 2.25]))


@pytest.mark.skipif(not L.backends.mps.is_available(), reason="about the mps device")
def test_less_memory_is_held_on_mps() -> None:
    """A stack of wide layers holds its activations only when it is not checkpointed."""
    held = []
    for with_checkpoint in (False, True):
        layers = [L.nn.Linear(256, 256).to("mps") for _ in range(8)]
        x = L.ones(2048, 256, device="mps", requires_grad=True)
        L.mps.synchronize()
        before = L.mps.current_allocated_memory()

        def block(t: Any, layers: Any = layers) -> Any:
            for layer in layers:
                t = L.tanh(layer(t))
            return t

        out = checkpoint(block, x, use_reentrant=False) if with_checkpoint else block(x)
        L.mps.synchronize()
        held.append(L.mps.current_allocated_memory() - before)
        out.sum().backward()
        assert x.grad is not None
    plain, kept = held
    assert kept < plain / 4, held


@pytest.mark.skipif(not L.backends.mps.is_available(), reason="about the mps device")
def test_a_checkpointed_step_has_one_plan_and_a_smaller_one() -> None:
    """Each step finds the plan of the first ones, and its scratch memory holds the blocks' inputs
    and what one block works with, where the plain step holds what all of them made."""
    n = L.nn
    scratch = []
    for with_checkpoint in (False, True):
        L.manual_seed(0)
        blocks = n.ModuleList(
            n.Sequential(n.Linear(64, 256), n.GELU(), n.Linear(256, 64)) for _ in range(8)
        ).to("mps")
        optimizer = L.optim.SGD(blocks.parameters(), lr=0.01)
        x = L.randn(512, 64, device="mps")

        def step(
            blocks: Any = blocks,
            x: Any = x,
            optimizer: Any = optimizer,
            again: Any = with_checkpoint,
        ) -> Any:
            optimizer.zero_grad()
            for block in blocks:
                x = x + (checkpoint(block, x, use_reentrant=False) if again else block(x))
            (x**2).mean().backward()
            optimizer.step()

        for _ in range(3):
            step()
        built = L._C.plan_stats("mps")["plans_built"]
        for _ in range(4):
            step()
        L.mps.synchronize()
        assert L._C.plan_stats("mps")["plans_built"] == built
        scratch.append(L.explain(step).plans[0]["arena_bytes"])
    stream, inner = 512 * 64 * 4, 512 * 256 * 4
    plain, kept = scratch
    assert plain >= 16 * inner, scratch
    assert kept <= 10 * stream + 3 * inner, scratch


def test_hooks_see_what_is_saved() -> None:
    packed, unpacked = [], []

    def pack(t: Any) -> Any:
        packed.append(t.tolist())
        return t * 1

    def unpack(t: Any) -> Any:
        unpacked.append(t.tolist())
        return t

    x = L.tensor([2.0, 3.0], requires_grad=True)
    with L.autograd.graph.saved_tensors_hooks(pack, unpack):
        y = (x * x).exp()
    assert packed[-1] == y.tolist()
    z = y * y  # outside: kept as it is
    count = len(packed)
    z.sum().backward()
    assert len(packed) == count and len(unpacked) >= 2
    values = np.array([2.0, 3.0])
    np.testing.assert_allclose(x.grad.numpy(), 4 * values * np.exp(2 * values**2), rtol=1e-5)


def test_a_failing_hook_raises_and_leaves_the_rest() -> None:
    x = L.ones(2, requires_grad=True)

    def fail(t: Any) -> Any:
        raise KeyError("no")

    with pytest.raises(KeyError), L.autograd.graph.saved_tensors_hooks(fail, fail):
        x.exp()
    x.exp().sum().backward()
    with L.autograd.graph.saved_tensors_hooks(lambda t: 3, lambda v: v):
        y = x.exp()
    with pytest.raises(TypeError, match="unpack_hook expected to be a Tensor"):
        y.sum().backward()


def test_save_on_cpu() -> None:
    x = L.ones(3, device="mps", requires_grad=True)
    with L.autograd.graph.save_on_cpu():
        y = (x * 2).tanh()
    y.sum().backward()
    np.testing.assert_allclose(x.grad.cpu().numpy(), 2 * (1 - np.tanh(2.0) ** 2), rtol=1e-5)
