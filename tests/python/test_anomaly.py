"""Anomaly mode: the stack of the forward op whose gradient fails."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import quicksilver as torch

DEVICES = ["cpu", "mps"]


class Fails(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("Some error in backward")


class GivesNan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        return g * float("nan")


def root_of_a_difference(x: torch.Tensor) -> torch.Tensor:
    return (x - x).sqrt()  # infinity times 0


@pytest.fixture(autouse=True)
def off_again() -> Any:
    yield
    torch.autograd.set_detect_anomaly(False)


@pytest.mark.parametrize("device", DEVICES)
def test_a_nan_names_the_function_and_shows_its_forward_call(device: str) -> None:
    x = torch.zeros(3, device=device, requires_grad=True)
    with (
        torch.autograd.set_detect_anomaly(True),
        warnings.catch_warnings(record=True) as shown,
        pytest.raises(
            RuntimeError,
            match=r"^Function 'SqrtBackward0' returned nan values in its 0th output\.$",
        ),
    ):
        warnings.simplefilter("always")
        (root_of_a_difference(x) * 0).sum().backward()
    assert x.grad is None
    text = str(shown[0].message)
    assert text.startswith(
        "Error detected in SqrtBackward0. Traceback of forward call that caused the error:\n  File"
    )
    assert "root_of_a_difference" in text and "return (x - x).sqrt()" in text
    assert len(shown) == 1 and shown[0].category is UserWarning
    (root_of_a_difference(x) * 0).sum().backward()
    assert x.grad.isnan().any()  # off again: no check


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
@pytest.mark.parametrize("device", DEVICES)
def test_an_exception_in_a_backward_shows_its_forward_call(device: str) -> None:
    x = torch.ones(3, device=device, requires_grad=True)
    with (
        torch.autograd.detect_anomaly(check_nan=False),
        pytest.warns(UserWarning, match=r"Error detected in FailsBackward\. Traceback of forward"),
        pytest.raises(RuntimeError, match=r"^Some error in backward$"),
    ):
        assert torch.is_anomaly_enabled() and not torch.is_anomaly_check_nan_enabled()
        Fails.apply(x).sum().backward()
    assert not torch.is_anomaly_enabled() and torch.is_anomaly_check_nan_enabled()
    with torch.autograd.set_detect_anomaly(True, check_nan=False):
        GivesNan.apply(x).sum().backward()
    assert x.grad.isnan().all()


def test_a_changed_tensor_is_found_as_the_error_says() -> None:
    x = torch.ones(3, device="mps", requires_grad=True)
    with torch.autograd.set_detect_anomaly(True, check_nan=False):
        y = x.exp()
        y.add_(1)
        with (
            pytest.warns(UserWarning, match=r"Error detected in ExpBackward0[\s\S]*y = x\.exp"),
            pytest.raises(RuntimeError, match="modified by an inplace operation"),
        ):
            y.sum().backward()


def test_without_a_forward_call_in_the_mode_there_is_no_stack() -> None:
    x = torch.zeros(3, requires_grad=True)
    y = (root_of_a_difference(x) * 0).sum()
    with (
        torch.autograd.set_detect_anomaly(True),
        pytest.warns(UserWarning, match=r"No forward pass information available\. Enable detect"),
        pytest.raises(RuntimeError, match="returned nan values"),
    ):
        y.backward()


def test_a_gradient_of_a_gradient_names_what_induced_it() -> None:
    x = torch.zeros(3, requires_grad=True)
    with torch.autograd.set_detect_anomaly(True), warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        (g,) = torch.autograd.grad((x**1.6).sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match="returned nan values"):
            (g * 0).sum().backward()
    texts = [str(w.message) for w in shown]
    assert "Error detected in PowBackward0" in texts[0]
    assert "Previous calculation was induced by PowBackward0. Traceback of forward" in texts[1]


def test_finite_gradients_are_those_without_the_mode() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Tanh(), torch.nn.Linear(8, 2)
    ).to("mps")
    x = torch.randn(5, 4, device="mps")
    grads = []
    for mode in (False, True):
        torch.manual_seed(1)
        with torch.autograd.set_detect_anomaly(mode):
            model.zero_grad()
            model(x).logsumexp(1).sum().backward()
        grads.append([p.grad.cpu().numpy() for p in model.parameters()])
    assert all((a == b).all() for a, b in zip(*grads, strict=True))
