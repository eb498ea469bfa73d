"""Pooling, norms, resizing, padding and bags against PyTorch's committed results."""

from __future__ import annotations

import numpy as np
import pytest
import traced

import quicksilver as torch
from quicksilver import nn
from quicksilver.nn import functional as F

DEVICES = pytest.mark.parametrize("device", ["cpu", "mps"])


@pytest.mark.parametrize("case", traced.cases("vision"))
def test_as_pytorch(case: str) -> None:
    traced.check("vision", case, torch, rtol=2e-5, atol=4e-6)


@DEVICES
@pytest.mark.parametrize("place", [16, -1])
def test_unpooling_outside_of_the_planes_raises(place: int, device: str) -> None:
    """An IndexError, as of every op here; PyTorch says RuntimeError."""
    x = torch.ones(1, 2, 2, 2, device=device)
    at = torch.full((1, 2, 2, 2), place, device=device)
    with pytest.raises(IndexError):
        F.max_unpool2d(x, at, 2).cpu()


@DEVICES
def test_gradients_of_bags_by_frequency(device: str) -> None:
    """A row's gradient is divided by how often it is named (PyTorch's CPU divides by another's)."""
    weight = torch.zeros(4, 2, device=device, requires_grad=True)
    picked = torch.tensor([0, 1, 1, 3, 1, 3], device=device)
    offsets = torch.tensor([0, 2], device=device)
    out = F.embedding_bag(picked, weight, offsets, mode="sum", scale_grad_by_freq=True)
    factors = np.array([[1.0, 2.0], [10.0, 20.0]], np.float32)
    out.backward(torch.tensor(factors, device=device))
    each = factors[[0, 0, 1, 1, 1, 1]] / np.array([1, 3, 3, 2, 3, 2], np.float32)[:, None]
    wanted = np.zeros((4, 2), np.float32)
    np.add.at(wanted, picked.cpu().numpy(), each)
    np.testing.assert_allclose(weight.grad.cpu().numpy(), wanted, rtol=1e-6)


def test_a_mixin_may_come_before_module() -> None:
    class Mixin:
        def twice(self) -> int:
            return 2 * self.number

    class Net(Mixin, nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.number = 4
            self.layer = nn.Linear(2, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x)

    nets = [Net() for _ in range(50)]
    assert all(net.twice() == 8 and net(torch.ones(1, 2)).shape == (1, 3) for net in nets)
    assert [name for name, _ in nets[0].named_parameters()] == ["layer.weight", "layer.bias"]
