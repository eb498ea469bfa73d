"""The benches' workloads from weights that NumPy drew: the loss of each training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np

from oracle.training import workloads

STEPS = 20
# Whole, but smaller batches where a step would take long.
TRAININGS: dict[str, Callable[[Any, str], Any]] = {
    "mlp sgd": lambda L, device: workloads.make_mlp(L, device),
    "mlp adamw": lambda L, device: workloads.make_mlp(L, device, opt=workloads.adamw),
    "lenet": lambda L, device: workloads.make_lenet(L, device, batch=16),
    "lstm": lambda L, device: workloads.make_lstm(L, device),
    "dcgan generator": lambda L, device: workloads.make_dcgan_generator(L, device, batch=4),
    "resnet18": lambda L, device: workloads.make_resnet18(L, device, batch=4),
    "char_gpt": lambda L, device: workloads.make_char_gpt(L, device),
}


def fill(L: Any, model: Any) -> Any:
    """Matrices and kernels uniform within 1 / sqrt(fan in), biases within 0.05; norms stay."""
    rng = np.random.default_rng(11)
    with L.no_grad():
        for name, p in model.named_parameters():
            if p.dim() >= 2:
                bound = 1 / np.sqrt(np.prod(p.shape[1:]))
            elif "bias" in name:
                bound = 0.05
            else:
                continue
            values = rng.random(tuple(p.shape), np.float32) * np.float32(2 * bound)
            p.copy_(L.from_numpy(values - np.float32(bound)))
    return model


def losses(L: Any, device: str, name: str) -> list[float]:
    """Of twenty steps; then the sum of squares of all parameters."""

    def trainer(L: Any, device: str, net: Any, data: Any, loss: Any, opt: Any) -> list[float]:
        model = fill(L, net(L)).to(device)
        optimizer = opt(L, model.parameters())
        x, y = data(L, device)
        seen = []
        for _ in range(STEPS):
            optimizer.zero_grad()
            value = loss(L, model(x), y)
            value.backward()
            optimizer.step()
            seen.append(value.detach())
        with L.no_grad():
            seen.append(sum((p * p).sum() for p in model.parameters()))
        return [float(value.item()) for value in seen]

    with mock.patch.object(workloads, "trainer", trainer):
        return TRAININGS[name](L, device)


def gpt2_token(L: Any, device: str) -> list[int]:
    """The token that GPT-2 124M finds likeliest after 64 others."""
    gpt = workloads.gpt
    with mock.patch.object(workloads, "gpt", lambda *a: fill(L, gpt(*a))):
        return workloads.make_gpt2_forward(L, device)().tolist()
