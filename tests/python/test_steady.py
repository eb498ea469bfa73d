"""Loops in the steady state: no plan, no kernel and no memory is made after the first few steps,
and the numbers are those of the same loop on cpu and of PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oracle import training
from oracle.library import DEVICES, IS_TORCH, L, to_library, to_numpy
from oracle.run import trace

ON_DEVICES = pytest.mark.parametrize("device", DEVICES)
ONLY_HERE = pytest.mark.skipif(IS_TORCH, reason="about this library's counters")
Step = Callable[[int], Any]


def plans() -> dict[str, int]:
    """Plans and kernels made so far. Looking cuts nothing."""
    stats = L._C.plan_stats("mps")
    return {name: stats[name] for name in ("plans", "plans_built", "kernels_built")}


def memory() -> dict[str, int]:
    """Bytes taken and bytes in use. Looking cuts the tape."""
    return {
        "driver bytes": L.mps.driver_allocated_memory(),
        "live bytes": L.mps.current_allocated_memory(),
    }


def grown(before: dict[str, int], after: dict[str, int]) -> dict[str, tuple[int, int]]:
    return {name: (before[name], after[name]) for name in before if after[name] > before[name]}


def assert_steady(step: Step, warm: int = 3, steps: int = 12) -> None:
    """`step(i)` makes no plan and no kernel from step `warm` on, and memory does not grow."""
    for i in range(warm):
        step(i)
    before = plans()
    for i in range(warm, warm + steps):
        step(i)
    made = grown(before, plans())
    assert not made, f"grew in {steps} steps: {made}"
    taken = memory()
    for i in range(warm + steps, warm + 2 * steps):
        step(i)
    more = grown(taken, memory())
    assert not more, f"grew in {steps} steps: {more}"


@pytest.fixture(autouse=True)
def sizes_of_its_own() -> None:
    """Each test's network has another width, so that no plan was made by an earlier test."""
    Trainer.sizes = (20, Trainer.sizes[1] + 1, 10)


class Trainer:
    """The MLP of the benches, smaller; step(i) trains on the whole data or a batch of it."""

    sizes = (20, 32, 10)

    def __init__(
        self, device: str, optimizer: str = "sgd", dropout: float = 0.0, rows: int = 64
    ) -> None:
        self.model = training.make_mlp(L, device, dropout, self.sizes)
        self.optimizer = training.OPTIMIZERS[optimizer](L, self.model.parameters())
        self.x, self.y = training.data(L, device, rows, self.sizes)
        self.losses: list[float] = []

    def loss(self, rows: slice = slice(None)) -> Any:
        return L.nn.functional.cross_entropy(self.model(self.x[rows]), self.y[rows])

    def step(self, rows: slice = slice(None)) -> Any:
        self.optimizer.zero_grad()
        loss = self.loss(rows)
        loss.backward()
        self.optimizer.step()
        return loss

    def weights(self) -> list[np.ndarray[Any, Any]]:
        return [to_numpy(p) for p in self.model.parameters()]


def compare(make: Callable[[str], tuple[Trainer, Step]], steps: int = 15) -> None:
    """The loop gives on mps what it gives on cpu."""
    if IS_TORCH:
        return
    results = []
    for device in DEVICES:
        trainer, step = make(device)
        for i in range(steps):
            step(i)
        results.append([*trainer.weights(), np.array(trainer.losses)])
    for on_cpu, on_mps in zip(*results, strict=True):
        np.testing.assert_allclose(on_mps, on_cpu, rtol=1e-5, atol=1e-6)


def plain(optimizer: str) -> Callable[[str], tuple[Trainer, Step]]:
    def make(device: str) -> tuple[Trainer, Step]:
        t = Trainer(device, optimizer)
        return t, lambda i: t.step()

    return make


def scheduled(device: str) -> tuple[Trainer, Step]:
    t = Trainer(device, "momentum")

    def step(i: int) -> None:
        for group in t.optimizer.param_groups:
            group["lr"] = 0.1 / (1 + i)
        t.step()

    return t, step


def with_scheduler(device: str) -> tuple[Trainer, Step]:
    t = Trainer(device, "adamw")
    scheduler = L.optim.lr_scheduler.StepLR(t.optimizer, step_size=2, gamma=0.9)

    def step(i: int) -> None:
        t.step()
        scheduler.step()

    return t, step


def item_each_step(device: str) -> tuple[Trainer, Step]:
    t = Trainer(device)
    return t, lambda i: t.losses.append(t.step().item())


def item_before_backward(device: str) -> tuple[Trainer, Step]:
    t = Trainer(device)

    def step(i: int) -> None:
        t.optimizer.zero_grad()
        loss = t.loss()
        t.losses.append(loss.item())
        loss.backward()
        t.optimizer.step()

    return t, step


def running_loss(device: str) -> tuple[Trainer, Step]:
    t = Trainer(device)
    total = L.zeros((), device=device)

    def step(i: int) -> None:
        nonlocal total
        total += t.step().detach()

    return t, step


def clipped(device: str) -> tuple[Trainer, Step]:
    t = Trainer(device, "adamw")

    def step(i: int) -> None:
        t.optimizer.zero_grad()
        t.loss().backward()
        L.nn.utils.clip_grad_norm_(t.model.parameters(), 0.1 + i * 0.01)
        t.optimizer.step()

    return t, step


def kept_gradients(device: str) -> tuple[Trainer, Step]:
    t = Trainer(device)

    def step(i: int) -> None:
        t.optimizer.zero_grad(set_to_none=False)
        t.loss().backward()
        t.optimizer.step()

    return t, step


LOOPS: dict[str, Callable[[str], tuple[Trainer, Step]]] = {
    "sgd": plain("sgd"),
    "momentum": plain("momentum"),
    "adamw": plain("adamw"),
    "schedule by hand": scheduled,
    "scheduler": with_scheduler,
    "item each step": item_each_step,
    "item before backward": item_before_backward,
    "running loss": running_loss,
    "clipped": clipped,
    "kept gradients": kept_gradients,
}


@ONLY_HERE
@pytest.mark.parametrize("name", LOOPS)
def test_nothing_grows(name: str) -> None:
    _, step = LOOPS[name]("mps")
    assert_steady(step)


@pytest.mark.parametrize("name", LOOPS)
def test_values_are_those_of_cpu(name: str) -> None:
    compare(LOOPS[name])


ROWS, SIZE = 300, 64  # four batches and a short one


def batches(device: str) -> tuple[Trainer, Step]:
    t = Trainer(device, rows=ROWS)
    starts = list(range(0, ROWS, SIZE))

    def step(i: int) -> None:
        start = starts[i % len(starts)]
        t.step(slice(start, start + SIZE))

    return t, step


def accumulated(device: str) -> tuple[Trainer, Step]:
    t = Trainer(device, rows=ROWS)

    def step(i: int) -> None:
        start = i % 4 * SIZE
        (t.loss(slice(start, start + SIZE)) / 2).backward()
        if i % 2:
            t.optimizer.step()
            t.optimizer.zero_grad()

    return t, step


def item_now_and_then(device: str) -> tuple[Trainer, Step]:
    t = Trainer(device)

    def step(i: int) -> None:
        loss = t.step()
        if i % 5 == 4:
            t.losses.append(loss.item())

    return t, step


@ONLY_HERE
def test_batches_with_a_short_last_one() -> None:
    """One plan more for the short batch, no kernel more; the second epoch makes nothing."""
    _, step = batches("mps")
    for i in range(4):
        step(i)
    kernels = plans()["kernels_built"]
    step(4)
    assert plans()["kernels_built"] == kernels, "kernels do not depend on the batch size"
    assert_steady(lambda i: step(i), warm=5, steps=15)


@ONLY_HERE
def test_accumulated_gradients() -> None:
    _, step = accumulated("mps")
    assert_steady(step, warm=6, steps=12)


@ONLY_HERE
def test_item_now_and_then() -> None:
    _, step = item_now_and_then("mps")
    assert_steady(step, warm=10, steps=20)


@pytest.mark.parametrize("make", [batches, accumulated, item_now_and_then])
def test_more_values_are_those_of_cpu(make: Callable[[str], tuple[Trainer, Step]]) -> None:
    compare(make)


@ONLY_HERE
def test_dropout_is_steady_and_goes_on() -> None:
    t = Trainer("mps", dropout=0.5)
    seen = [t.loss().item() for _ in range(4)]
    assert len(set(seen)) == 4, "each step draws anew"
    assert_steady(lambda i: t.step())


@ONLY_HERE
def test_a_moving_slice_is_one_plan() -> None:
    """The position of a write and of a read are launch arguments."""
    cache = L.zeros((40, 8), device="mps")
    source = to_library(np.arange(320.0).reshape(40, 8), "f32", "mps")

    def step(i: int) -> None:
        cache[i : i + 1] = source[i : i + 1] * 2 + i
        L.mps.synchronize()

    assert_steady(step, warm=3, steps=17)
    expected = np.zeros((40, 8))
    expected[:37] = np.arange(320.0).reshape(40, 8)[:37] * 2 + np.arange(37)[:, None]
    assert np.array_equal(to_numpy(cache), expected)


@ONLY_HERE
def test_new_sizes_make_no_kernels() -> None:
    def step(i: int) -> None:
        x = L.ones((i + 3, 16), device="mps")
        (L.softmax(x * 2, 1) + x.sum(1, keepdim=True)).sum().item()

    for i in range(3):
        step(i)
    before = plans()["kernels_built"]
    for i in range(3, 90):
        step(i)
    assert plans()["kernels_built"] == before


@ONLY_HERE
@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13, 21, 34, 55, 97])
def test_replays_of_all_lengths(count: int, rng: np.random.Generator) -> None:
    """A chain of `count` nodes, four times on fresh data: the first run builds, the rest replay."""
    other = rng.standard_normal(33).astype(np.float32)
    for _ in range(4):
        start = rng.standard_normal(33).astype(np.float32)
        x, y = to_library(start, "f32", "mps"), to_library(other, "f32", "mps")
        wanted = start.copy()
        for i in range(count):
            x = x * 0.5 if i % 3 == 2 else x + y
            wanted = wanted * np.float32(0.5) if i % 3 == 2 else wanted + other
        assert np.array_equal(to_numpy(x), wanted)


@ON_DEVICES
@pytest.mark.parametrize("optimizer", training.OPTIMIZERS)
def test_losses_are_those_of_pytorch(optimizer: str, device: str) -> None:
    """Twenty steps of 784-256-10, batch 64: the losses and what the weights have become."""
    wanted = trace("training")[optimizer]
    got = training.mlp_losses(L, device, optimizer, 20)
    np.testing.assert_allclose(got, wanted, rtol=2e-4, atol=2e-5)


@ONLY_HERE
def test_the_full_mlp_is_steady() -> None:
    sizes = (784, 255, 10)  # 256 has plans already
    model = training.make_mlp(L, "mps", sizes=sizes)
    optimizer = training.OPTIMIZERS["adamw"](L, model.parameters())
    x, y = training.data(L, "mps", sizes=sizes)

    def step(i: int) -> None:
        optimizer.zero_grad()
        L.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    assert_steady(step, steps=20)
