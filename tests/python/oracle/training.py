"""Training loops that start from equal weights in every library."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "bench"))

import workloads

BATCH = 64
SIZES = (784, 256, 10)
OPTIMIZERS: dict[str, Callable[[Any, Any], Any]] = {
    "sgd": workloads.sgd,
    "momentum": workloads.momentum,
    "adamw": workloads.adamw,
}


def make_mlp(L: Any, device: str, dropout: float = 0.0, sizes: tuple[int, int, int] = SIZES) -> Any:
    """784-256-10 with weights drawn by NumPy, uniform within 1 / sqrt(inputs)."""
    n = L.nn
    rng = np.random.default_rng(7)
    middle = [n.ReLU(), n.Dropout(dropout)] if dropout else [n.ReLU()]
    model = n.Sequential(n.Linear(sizes[0], sizes[1]), *middle, n.Linear(sizes[1], sizes[2]))
    with L.no_grad():
        for p in model.parameters():
            bound = 1 / np.sqrt(p.shape[-1])
            p.copy_(L.from_numpy(rng.uniform(-bound, bound, tuple(p.shape)).astype(np.float32)))
    return model.to(device)


def data(
    L: Any, device: str, rows: int = BATCH, sizes: tuple[int, int, int] = SIZES
) -> tuple[Any, Any]:
    x = workloads.tensor(L, device, rows, sizes[0])
    return x, workloads.tensor(L, device, rows, ints=sizes[2])


def mlp_losses(L: Any, device: str, optimizer: str, steps: int) -> list[float]:
    """The loss of each step, and at the end the sum of squares of each parameter."""
    model = make_mlp(L, device)
    opt = OPTIMIZERS[optimizer](L, model.parameters())
    x, y = data(L, device)
    losses = []
    for _ in range(steps):
        opt.zero_grad()
        loss = workloads.cross_entropy(L, model(x), y)
        loss.backward()
        opt.step()
        losses.append(loss)
    squares = [(p.detach() * p.detach()).sum() for p in model.parameters()]
    return [float(v.item()) for v in [*losses, *squares]]
