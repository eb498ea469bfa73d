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


def test_steps_of_a_group_are_recorded_one_node_a_parameter() -> None:
    """One call takes the whole group: nothing but the steps themselves is recorded."""
    for make in (
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: torch.optim.AdamW(p, lr=0.1, amsgrad=True, maximize=True),
    ):
        weights = [nn.Parameter(torch.ones(3, device="mps")) for _ in range(7)]
        optimizer = make(weights)
        for _ in range(3):
            for w in weights:
                w.grad = torch.ones(3, device="mps")
            optimizer.step()
        torch.mps.synchronize()
        gradients = [torch.ones(3, device="mps") for _ in weights]
        torch.mps.synchronize()
        before = torch.mps.plan_stats()["nodes"]
        for w, g in zip(weights, gradients, strict=True):
            w.grad = g
        optimizer.step()
        torch.mps.synchronize()
        assert torch.mps.plan_stats()["nodes"] - before == len(weights)


@pytest.mark.parametrize("device", ["cpu", "mps"])
@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_a_single_number_is_a_parameter(name: str, device: str) -> None:
    """Both against the same number in a vector: weight decay, momentum and all flags."""
    options = {"weight_decay": 0.1, "maximize": True}
    options |= {"momentum": 0.9, "nesterov": True} if name == "SGD" else {"amsgrad": True}
    alone = nn.Parameter(torch.tensor(2.0, device=device))
    among = nn.Parameter(torch.tensor([2.0, 3.0], device=device))
    optimizer = getattr(torch.optim, name)([alone, among], lr=0.1, **options)
    for _ in range(3):
        optimizer.zero_grad()
        (alone.square() + among.square().sum()).backward()
        optimizer.step()
    assert alone.shape == () and alone.item() == among[0].item() != 2.0


def test_state_goes_to_the_device_and_counts_stay_on_cpu() -> None:
    w = nn.Parameter(torch.ones(3, device="mps"))
    optimizer = torch.optim.Adam([w])
    w.grad = torch.ones(3, device="mps")
    optimizer.step()
    state = optimizer.state[w]
    assert state["step"].item() == 1 and state["step"].device.type == "cpu"
    assert state["exp_avg"].is_mps
    other = torch.optim.Adam([nn.Parameter(torch.ones(3))])
    saved = optimizer.state_dict()
    saved["state"][0]["step"] = 1  # as old versions counted
    other.load_state_dict(saved)
    loaded = next(iter(other.state.values()))
    assert loaded["exp_avg"].device.type == "cpu" and loaded["step"].item() == 1


def test_no_sparse_adam() -> None:
    with pytest.raises(NotImplementedError, match="use Adam"):
        torch.optim.SparseAdam([nn.Parameter(torch.ones(1))])


def test_update_bn_is_a_mean_over_batches() -> None:
    class Norm(nn.Module):
        """What update_bn looks for, without the rest of a BatchNorm layer."""

        def __init__(self) -> None:
            super().__init__()
            self.momentum: float | None = 0.1
            self.register_buffer("running_mean", torch.ones(1))
            self.count = 0

        def reset_running_stats(self) -> None:
            self.running_mean.zero_()
            self.count = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert self.training and self.momentum is None
            self.count += 1
            self.running_mean += (x.mean() - self.running_mean) / self.count
            return x

    BatchNorm = type("BatchNorm1d", (Norm,), {})
    model = nn.Sequential(BatchNorm()).eval()
    batches = [torch.full((2, 1), float(i)) for i in range(4)]
    torch.optim.swa_utils.update_bn([(b, "label") for b in batches], model)
    assert model[0].running_mean.item() == 1.5
    assert model[0].momentum == 0.1 and not model.training
