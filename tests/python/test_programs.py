"""Programs whose sizes, positions and numbers change from turn to turn: what they plan, exactly.

Each program is run in a process of its own on every driver, which prints what each turn made; on
cpu its values are compared with NumPy's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quicksilver as L

F = L.nn.functional
DEVICE = "mps"
Turn = Callable[[int], Iterator[tuple[Any, Any]]]  # pairs of a tensor and what it must be


def close(tensor: Any, want: Any) -> None:
    np.testing.assert_allclose(tensor.cpu().numpy(), want, rtol=2e-4, atol=2e-5)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# ---- the programs --------------------------------------------------------------------------------


def batches(rows: int, size: Callable[[int], tuple[int, int]], rate: Any = None) -> Turn:
    """Least squares by hand-written SGD over slices of a data set on the device."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(rows, 12)), rng.normal(size=(rows, 3))
    w = rng.normal(size=(12, 3)) * 0.1
    X, Y, W = (L.from_numpy(a.astype(np.float32)).to(DEVICE) for a in (x, y, w))
    state = {"w": w}

    def turn(i: int) -> Iterator[tuple[Any, Any]]:
        start, count = size(i)
        lr = rate(i) if rate else 0.05
        xb, yb = X[start : start + count], Y[start : start + count]
        error = xb @ W - yb
        loss = error.square().mean()
        W.sub_(lr * 2 / (count * 3) * (xb.t() @ error))
        nx, ny = x[start : start + count], y[start : start + count]
        difference = nx @ state["w"] - ny
        state["w"] = state["w"] - lr * 2 / (count * 3) * (nx.T @ difference)
        yield loss, (difference**2).mean()
        yield W, state["w"]

    return turn


def slices() -> Turn:
    return batches(1000, lambda i: (i * 7 % 900, 64))


def variable_lengths() -> Turn:
    return batches(1000, lambda i: (i * 3, 20 + i * 37 % 101))


def last_batch() -> Turn:
    return batches(200, lambda i: (i % 4 * 64, 64 if i % 4 < 3 else 8))


def schedule() -> Turn:
    return batches(64, lambda _: (0, 64), lambda i: 0.1 / (1 + i))


def cache() -> Turn:
    """Keys and values written at a moving position, read up to there."""
    rng = np.random.default_rng(2)
    k, v, q = (rng.normal(size=(96, 2, 8)) for _ in range(3))
    K, V = (L.zeros(96, 2, 8, device=DEVICE) for _ in range(2))
    Q, k_new, v_new = (L.from_numpy(a.astype(np.float32)).to(DEVICE) for a in (q, k, v))

    def turn(i: int) -> Iterator[tuple[Any, Any]]:
        K[i : i + 1] = k_new[i : i + 1]
        V[i : i + 1] = v_new[i : i + 1]
        keys, values = K[: i + 1].transpose(0, 1), V[: i + 1].transpose(0, 1)
        scores = (Q[i].unsqueeze(1) @ keys.transpose(1, 2)) * 8**-0.5
        out = (scores.softmax(-1) @ values).squeeze(1)
        weights = softmax(np.einsum("hd,thd->ht", q[i], k[: i + 1]) * 8**-0.5)
        yield out, np.einsum("ht,thd->hd", weights, v[: i + 1])

    return turn


def sampler() -> Turn:
    """A sequence that grows by one token each turn; the whole of it goes through the model."""
    rng = np.random.default_rng(3)
    table, head = rng.normal(size=(11, 16)), rng.normal(size=(16, 11))
    T, H = (L.from_numpy(a.astype(np.float32)).to(DEVICE) for a in (table, head))
    state = {"tokens": L.tensor([[3, 1]]).to(DEVICE), "list": [3, 1]}

    def turn(i: int) -> Iterator[tuple[Any, Any]]:
        x = F.embedding(state["tokens"], T)
        n = x.shape[1]
        scores = (x @ x.transpose(1, 2)) * 0.25
        mask = L.ones(n, n, device=DEVICE).tril() == 0
        x = scores.masked_fill(mask, float("-inf")).softmax(-1) @ x
        logits = (x @ H)[:, -1]
        chosen = logits.argmax(-1, keepdim=True)
        state["tokens"] = L.cat([state["tokens"], chosen], dim=1)
        e = table[state["list"]]
        s = np.where(np.tril(np.ones((n, n))) == 0, -np.inf, e @ e.T * 0.25)
        want = (softmax(s) @ e @ head)[-1]
        state["list"].append(int(want.argmax()))
        yield logits, want[None]
        yield state["tokens"], np.array([state["list"]])

    return turn


def kept() -> Turn:
    """Every fiftieth activation is kept; batches differ in size, too."""
    rng = np.random.default_rng(4)
    x, w = rng.normal(size=(400, 6)), rng.normal(size=(6, 5))
    X, W = (L.from_numpy(a.astype(np.float32)).to(DEVICE) for a in (x, w))
    held: list[Any] = []

    def turn(i: int) -> Iterator[tuple[Any, Any]]:
        n = 30 + i % 61
        h = L.tanh(X[i : i + n] @ W)
        out = h.sum(1)
        if i % 50 == 49:
            held.append(h)
        h = None
        want = np.tanh(x[i : i + n] @ w)
        yield out, want.sum(1)
        if i % 50 == 49:
            yield held[-1], want

    return turn


PROGRAMS = {
    f.__name__: f for f in (slices, variable_lengths, last_batch, schedule, cache, sampler, kept)
}

# What all turns make: structures, instances, kernels, launches a turn once warm, and after how many
# turns nothing but instances is new.
# A view whose start is not aligned to 16 bytes is of another class, so is an extent of 1.
EXPECTED: dict[str, tuple[int, int, int, int, int]] = {
    "slices": (2, 0, 3, 3, 2),
    "variable_lengths": (2, 88, 3, 3, 2),
    "last_batch": (1, 1, 3, 3, 1),
    "schedule": (1, 0, 3, 3, 1),
    "cache": (2, 88, 4, 4, 2),
    "sampler": (2, 88, 5, 7, 4),
    "kept": (3, 87, 3, 2, 50),
}

NAMES = ("structures_built", "instances_built", "kernels_built", "launches")
TURNS = 90


def stats() -> list[int]:
    figures = L.mps.plan_stats()
    return [figures[name] for name in NAMES] + [L.mps.memory_stats()["driver_allocations"]]


def run(name: str, check: bool) -> list[list[int]]:
    """What each turn made."""
    turn = PROGRAMS[name]()
    L.mps.synchronize()
    made = []
    for i in range(TURNS):
        before = stats()
        pairs = list(turn(i))
        L.mps.synchronize()
        made.append([b - a for a, b in zip(before, stats(), strict=True)])
        for tensor, want in pairs if check else ():
            close(tensor, want)
    return made


def run_apart(name: str, driver: str) -> list[list[int]]:
    check = "check" if driver.endswith("cpu") else "-"
    out = subprocess.run(
        [sys.executable, __file__, name, check],
        env=os.environ | {"QS_MPS_DRIVER": driver, "QS_VERIFY": "1"},
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        check=False,
    )
    assert out.returncode == 0, out.stderr
    return json.loads(out.stdout)


@pytest.mark.parametrize("driver", ["cpu", "null", "record:cpu"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_what_a_program_plans(name: str, driver: str) -> None:
    made = run_apart(name, driver)
    structures, instances, kernels, launches, warm = EXPECTED[name]
    totals = [sum(column) for column in zip(*made, strict=True)]
    assert totals[:3] == [structures, instances, kernels]
    for i, (new_structures, _, new_kernels, launched, allocations) in enumerate(made[warm:], warm):
        assert (new_structures, new_kernels, launched) == (0, 0, launches), f"turn {i}"
        assert allocations == 0, f"turn {i}"


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], sys.argv[2] == "check")))
