"""Functions written into their input, with gradients: those of the same function out of place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from oracle.library import DEVICES, L

F = L.nn.functional
Function = Callable[[Any], Any]

# name: (in place, out of place)
PAIRS: dict[str, tuple[Function, Function]] = {
    name: (
        lambda h, f=f, a=a: f(h, *a, inplace=True),
        lambda h, f=f, a=a: f(h, *a),
    )
    for name, f, a in (
        ("leaky_relu", F.leaky_relu, (0.2,)),
        ("elu", F.elu, (1.5,)),
        ("celu", F.celu, (1.3,)),
        ("selu", F.selu, ()),
        ("relu", F.relu, ()),
        ("relu6", F.relu6, ()),
        ("silu", F.silu, ()),
        ("mish", F.mish, ()),
        ("hardtanh", F.hardtanh, (-0.5, 2.0)),
        ("hardswish", F.hardswish, ()),
        ("hardsigmoid", F.hardsigmoid, ()),
        ("threshold", F.threshold, (0.5, -1.0)),
        ("rrelu", F.rrelu, ()),
    )
} | {
    "leaky_relu_": (lambda h: F.leaky_relu_(h, 0.2), lambda h: F.leaky_relu(h, 0.2)),
    "elu_": (F.elu_, F.elu),
    "celu_": (F.celu_, F.celu),
    "threshold_": (lambda h: F.threshold_(h, 0.5, 2), lambda h: F.threshold(h, 0.5, 2)),
    "rrelu_": (F.rrelu_, F.rrelu),
    "nan_to_num_": (lambda h: h.nan_to_num_(), lambda h: h.nan_to_num()),
    "polygamma_": (lambda h: h.polygamma_(1), lambda h: L.polygamma(1, h)),
    "modules": (
        L.nn.Sequential(L.nn.LeakyReLU(0.2, inplace=True), L.nn.ELU(inplace=True)),
        L.nn.Sequential(L.nn.LeakyReLU(0.2), L.nn.ELU()),
    ),
    "product into places": (
        lambda h: h.scatter_(
            0, L.tensor([1, 1], device=h.device), L.tensor([2.0, 3.0], device=h.device),
            reduce="multiply",
        ),
        lambda h: L.cat([h[:1], h[1:2] * 6, h[2:]]),
    ),
    "scatter_reduce_": (
        lambda h: h.scatter_reduce_(
            0, L.tensor([1, 1], device=h.device), L.tensor([2.0, 3.0], device=h.device), "prod"
        ),
        lambda h: L.cat([h[:1], h[1:2] * 6, h[2:]]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", PAIRS)
def test_gradient_through_what_was_overwritten(name: str, device: str) -> None:
    seen = []
    for function in PAIRS[name]:
        x = L.tensor([-2.3, -0.7, 0.3, 0.9, 2.5, 7.0], device=device, requires_grad=True)
        h = x * 1.5
        y = function(h)
        (gradient,) = L.autograd.grad((y * y).sum(), x, create_graph=True)
        (second,) = L.autograd.grad((gradient * gradient).sum(), x, allow_unused=True)
        seen.append((y.detach().cpu(), gradient.detach().cpu(), second))
        if function is PAIRS[name][0]:
            assert y is h
    for a, b in zip(*seen, strict=True):
        if a is not None and b is not None:
            assert L.allclose(a.cpu(), b.cpu(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_normalised_channels_through_an_activation_in_place(device: str) -> None:
    """The discriminator's block: convolution, batch norm, leaky ReLU into its input."""
    block = L.nn.Sequential(
        L.nn.Conv2d(1, 4, 3), L.nn.BatchNorm2d(4), L.nn.LeakyReLU(0.2, inplace=True)
    ).to(device)
    block(L.randn(2, 1, 8, 8, device=device)).sum().backward()
    assert all(p.grad is not None for p in block.parameters())


@pytest.mark.parametrize("device", DEVICES)
def test_leaves_stay_closed(device: str) -> None:
    x = L.ones(3, device=device, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        F.leaky_relu(x, inplace=True)
    with L.no_grad():
        assert F.leaky_relu(x, inplace=True) is x
