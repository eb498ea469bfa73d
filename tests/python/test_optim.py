"""Optimizers against PyTorch's committed results, on both devices, and what is our own."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import traced

import quicksilver as torch
from quicksilver import nn


@pytest.mark.parametrize("case", traced.cases("optim"))
def test_as_pytorch(case: str) -> None:
    traced.check("optim", case, torch)


@pytest.fixture
def on_mps() -> object:
    torch.set_default_device("mps")
    yield
    torch.set_default_device(None)


@pytest.mark.parametrize("case", ["sgd", "adam", "adamw", "groups", "resume", "closure"])
def test_as_pytorch_on_mps(case: str, on_mps: object) -> None:
    traced.check("optim", case, torch)


def test_a_step_is_a_cut_and_the_tape_stays_short() -> None:
    w = nn.Parameter(torch.ones(4, device="mps"))
    optimizer = torch.optim.SGD([w], lr=0.1, momentum=0.9)
    for _ in range(5):
        optimizer.zero_grad()
        (w * w).sum().backward()
        optimizer.step()
    before = torch.mps.plan_stats()
    for _ in range(20):
        optimizer.zero_grad()
        (w * w).sum().backward()
        optimizer.step()
    torch.mps.synchronize()
    after = torch.mps.plan_stats()
    assert after["plans_built"] == before["plans_built"]
    assert after["kernels_built"] == before["kernels_built"]
    assert after["hits"] >= before["hits"] + 19


def test_a_new_rate_makes_no_new_plan() -> None:
    w = nn.Parameter(torch.ones(4, device="mps"))
    optimizer = torch.optim.AdamW([w], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    for i in range(12):
        if i == 4:
            torch.mps.synchronize()
            before = torch.mps.plan_stats()["plans_built"]
        optimizer.zero_grad()
        (w * w).sum().backward()
        optimizer.step()
        scheduler.step()
    torch.mps.synchronize()
    assert torch.mps.plan_stats()["plans_built"] == before


def test_an_own_optimizer() -> None:
    class Descent(torch.optim.Optimizer):
        def __init__(self, params: object, lr: float) -> None:
            super().__init__(params, {"lr": lr})

        def step(self, closure: object = None) -> None:
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        p.data.add_(p.grad, alpha=-group["lr"])

    w = nn.Parameter(torch.ones(3, device="mps"))
    optimizer = Descent([w], 0.5)
    (w * 2).sum().backward()
    optimizer.step()
    np.testing.assert_allclose(w.detach().cpu().numpy(), 0.0)


def test_the_order_of_scheduler_and_optimizer_is_warned_about() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    with pytest.warns(UserWarning, match=r"before `optimizer.step\(\)`"):
        scheduler.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step()
        scheduler.step()


def test_a_failing_step_leaves_the_parameters() -> None:
    w = nn.Parameter(torch.ones(3))
    with pytest.raises(RuntimeError):
        w.grad = torch.ones(4)
    assert w.grad is None and w.tolist() == [1, 1, 1]
