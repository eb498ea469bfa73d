"""Derivatives of functions, against PyTorch's committed results."""

from __future__ import annotations

import pytest
import traced

import quicksilver as torch
from quicksilver import nn


@pytest.mark.parametrize("case", traced.cases("derivatives"))
def test_as_pytorch(case: str) -> None:
    traced.check("derivatives", case, torch, rtol=2e-5, atol=2e-6)


def test_a_module_keeps_its_parameters_when_a_call_raises() -> None:
    layer = nn.Linear(2, 2)
    weight = layer.weight
    with pytest.raises(RuntimeError):
        torch.func.functional_call(layer, {"weight": torch.ones(2, 3)}, torch.ones(1, 2))
    assert layer.weight is weight


def test_gradients_of_each_sample_of_a_model_on_mps() -> None:
    """A loop over the samples."""
    model = nn.Linear(3, 1).to("mps")
    parameters = {k: v.detach() for k, v in model.named_parameters()}
    x, y = torch.randn(4, 3, device="mps"), torch.randn(4, 1, device="mps")

    def loss(parameters: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (torch.func.functional_call(model, parameters, (x,)) - y).square().mean()

    each = [torch.func.grad(loss)(parameters, a, b) for a, b in zip(x, y, strict=True)]
    whole = torch.func.grad(loss)(parameters, x, y)
    for name in parameters:
        mean = torch.stack([g[name] for g in each]).mean(0)
        assert torch.allclose(mean, whole[name], atol=1e-6)
