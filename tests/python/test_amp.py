"""autocast and the gradient scaler."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import quicksilver as torch
from quicksilver import nn
from quicksilver.nn import functional as F

DEVICES = ("cpu", "mps")
ON_DEVICES = pytest.mark.parametrize("device", DEVICES)
DEFAULT = {"cpu": torch.bfloat16, "mps": torch.float16}


@ON_DEVICES
def test_products_run_in_lower_precision(device: str) -> None:
    a, b = torch.ones(3, 3, device=device), torch.ones(3, 3, device=device)
    layer = nn.Linear(3, 3).to(device)
    for dtype in (None, torch.bfloat16, torch.float16):
        wanted = dtype or DEFAULT[device]
        with torch.autocast(device, dtype):
            for out in (
                a @ b,
                torch.mm(a, b),
                a.matmul(b),
                layer(a),
                F.linear(a, b),
                torch.bmm(a[None], b[None]),
                nn.LSTM(3, 2).to(device)(a[None])[0],
            ):
                assert out.dtype is wanted
            assert (a + b).dtype is torch.float32, "other functions are left alone"
            assert (a.double() @ b.double()).dtype is torch.float64
            with torch.autocast(device, enabled=False):
                assert (a @ b).dtype is torch.float32
            assert torch.is_autocast_enabled(device)
            assert torch.get_autocast_dtype(device) is wanted
        assert (a @ b).dtype is torch.float32 and not torch.is_autocast_enabled(device)


def test_what_would_lose_much_runs_in_float32() -> None:
    half = torch.ones(4, 4, dtype=torch.bfloat16)
    with torch.autocast("mps"), torch.autocast("cpu"):
        on_mps = half.to("mps")
        assert F.softmax(on_mps, -1).dtype is torch.float32
        assert F.layer_norm(on_mps, (4,)).dtype is torch.float32
        assert on_mps.exp().dtype is torch.float32 and on_mps.sum().dtype is torch.float32
        assert F.softmax(half, -1).dtype is torch.bfloat16, "cpu's list is shorter"
        for x in (half, on_mps):
            assert F.mse_loss(x, x).dtype is torch.float32
            labels = torch.zeros(4, dtype=torch.int64, device=x.device)
            assert F.cross_entropy(x, labels).dtype is torch.float32


@ON_DEVICES
def test_gradients_come_in_the_parameters_dtype(device: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 2)).to(device)
    x = torch.randn(4, 8, device=device)
    model(x).square().sum().backward()
    plain = [p.grad.cpu().numpy() for p in model.parameters()]
    model.zero_grad()
    with torch.autocast(device, torch.bfloat16):
        loss = model(x).square().sum()
    loss.backward()
    for p, wanted in zip(model.parameters(), plain, strict=True):
        assert p.grad.dtype is torch.float32
        np.testing.assert_allclose(p.grad.cpu().numpy(), wanted, rtol=0.1, atol=0.05)


def test_as_a_decorator_and_bad_arguments() -> None:
    @torch.autocast("cpu")
    def product(a: Any, b: Any) -> Any:
        return a @ b

    assert product(torch.ones(2, 2), torch.ones(2, 2)).dtype is torch.bfloat16
    with pytest.raises(RuntimeError, match="unsupported autocast device_type 'xyz'"):
        torch.autocast("xyz")
    with pytest.raises(ValueError, match="of type `str`"):
        torch.autocast(torch.device("cpu"))
    with pytest.warns(UserWarning, match="target dtype is not supported"):
        disabled = torch.autocast("cpu", torch.float32)
    with disabled:
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.float32


def test_custom_functions() -> None:
    class Product(torch.autograd.Function):
        @staticmethod
        @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
        def forward(ctx: Any, a: Any, b: Any) -> Any:
            assert not torch.is_autocast_enabled("cpu") and a.dtype is torch.float32
            ctx.save_for_backward(a, b)
            return a @ b

        @staticmethod
        @torch.amp.custom_bwd(device_type="cpu")
        def backward(ctx: Any, g: Any) -> Any:
            a, b = ctx.saved_tensors
            return g @ b.t(), a.t() @ g

    a = torch.ones(2, 2, requires_grad=True)
    with torch.autocast("cpu"):
        out = Product.apply(a, torch.ones(2, 2))
    assert out.dtype is torch.float32
    out.sum().backward()
    assert a.grad.tolist() == [[2, 2], [2, 2]]


@ON_DEVICES
def test_the_scaler_leaves_bad_steps_out(device: str) -> None:
    w = nn.Parameter(torch.ones(2, device=device))
    optimizer = torch.optim.SGD([w], lr=0.5)
    scaler = torch.amp.GradScaler(device, init_scale=8.0, growth_interval=2)

    def step(factor: float) -> list[float]:
        optimizer.zero_grad()
        scaler.scale((w * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        return w.tolist()

    assert step(1.0) == [0.5, 0.5] and scaler.get_scale() == 8
    assert step(1.0) == [0.0, 0.0] and scaler.get_scale() == 16, "two good ones"
    assert step(float("inf")) == [0.0, 0.0] and scaler.get_scale() == 8, "left out"
    state = scaler.state_dict()
    other = torch.amp.GradScaler(device)
    other.load_state_dict(state)
    assert other.get_scale() == 8 and other.state_dict() == state
    w.grad = torch.ones(2, device=device) * 8
    scaler.unscale_(optimizer)
    assert w.grad.tolist() == [1, 1]
    with pytest.raises(RuntimeError, match="already been called on this optimizer"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match=r"step\(\) has already been called"):
        scaler.step(optimizer)
    off = torch.amp.GradScaler(enabled=False)
    assert off.scale(w) is w and off.state_dict() == {} and off.get_scale() == 1
