"""The convolution modules, and twenty steps of LeNet."""

from __future__ import annotations

from typing import Any

import numpy as np

from traced import outcome

DEVICE = "cpu"  # where LeNet is trained; the traces are PyTorch's on cpu


def _fill(L: Any, module: Any) -> Any:
    rng = np.random.default_rng(5)
    with L.no_grad():
        for p in module.parameters():
            bound = 1 / np.sqrt(max(1, int(np.prod(p.shape[1:]))))
            values = rng.uniform(-bound, bound, tuple(p.shape)).astype(np.float32)
            p.copy_(L.from_numpy(values))
    return module


def _data(L: Any, *shape: int) -> Any:
    return L.from_numpy(np.random.default_rng(6).standard_normal(shape).astype(np.float32))


def case_modules(L: Any) -> Any:
    n = L.nn
    made = {
        "1d": lambda: n.Conv1d(2, 4, 3, 2, 1),
        "2d": lambda: n.Conv2d(4, 6, (3, 5), padding=(1, 2), groups=2, bias=False),
        "dilated": lambda: n.Conv2d(4, 6, 3, dilation=(1, 2), padding="same"),
        "valid": lambda: n.Conv2d(4, 6, 3, padding="valid"),
        "3d": lambda: n.Conv3d(1, 2, 2),
        "transposed 1d": lambda: n.ConvTranspose1d(2, 4, 3, stride=2, output_padding=1),
        "transposed 2d": lambda: n.ConvTranspose2d(4, 6, 3, 2, 1, groups=2, dilation=2),
        "transposed 3d": lambda: n.ConvTranspose3d(1, 2, 2, bias=False),
        "no groups": lambda: n.Conv2d(4, 6, 3, groups=0),
        "in channels": lambda: n.Conv2d(3, 6, 3, groups=2),
        "out channels": lambda: n.Conv2d(4, 5, 3, groups=2),
        "same, strided": lambda: n.Conv2d(4, 6, 3, stride=2, padding="same"),
        "transposed mode": lambda: n.ConvTranspose2d(4, 6, 3, padding_mode="reflect"),
    }
    result = {}
    for name, make in made.items():
        module = outcome(make)
        if isinstance(module, dict):
            result[name] = module
            continue
        rank = len(module.kernel_size)
        x = _data(L, 2, module.in_channels, *(7, 6, 5)[:rank])
        y = _fill(L, module)(x)
        result[name] = {
            "repr": repr(module),
            "state": {key: list(v.shape) for key, v in module.state_dict().items()},
            "shape": list(y.shape),
            "sum": y.sum().item(),
            "squares": (y * y).sum().item(),
            "unbatched": (module(x[0]) - y[0]).abs().max().item() < 1e-5,
        }
    return result


def case_output_size(L: Any) -> Any:
    layer = _fill(L, L.nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1))
    x = _data(L, 1, 2, 4, 5)
    return {
        "sizes": [list(layer(x, output_size=s).shape) for s in ([7, 9], [8, 10], [1, 3, 8, 9])],
        "too small": outcome(lambda: list(layer(x, output_size=[6, 9]).shape)),
        "too many": outcome(lambda: list(layer(x, output_size=[1, 2, 3]).shape)),
    }


def case_padding_modes(L: Any) -> Any:
    x = _data(L, 2, 2, 6, 5)
    result = {}
    for mode in ("zeros", "reflect", "replicate", "circular"):
        y = _fill(L, L.nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode=mode))(x)
        result[mode] = [y.sum().item(), y[0, 0].tolist()]
    return result


def case_lenet(L: Any) -> Any:
    """The losses, and at the end the sum of squares of each parameter."""
    n = L.nn
    model = n.Sequential(
        n.Conv2d(1, 6, 5, padding=2), n.ReLU(), n.MaxPool2d(2), n.Conv2d(6, 16, 5), n.ReLU(),
        n.MaxPool2d(2), n.Flatten(), n.Linear(400, 120), n.ReLU(), n.Linear(120, 84), n.ReLU(),
        n.Linear(84, 10),
    )  # fmt: skip
    model = _fill(L, model)
    x, y = _data(L, 32, 1, 28, 28), L.from_numpy(np.arange(32) * 7 % 10)
    model, x, y = model.to(DEVICE), x.to(DEVICE), y.to(DEVICE)
    optimizer = L.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = n.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    squares = [(p.detach() * p.detach()).sum() for p in model.parameters()]
    return [v.item() for v in [*losses, *squares]]
