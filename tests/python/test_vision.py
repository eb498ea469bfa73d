"""Pooling, norms, resizing, padding and bags against PyTorch's committed results."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize("case", traced.cases("vision_errors"))
def test_errors_as_pytorch(case: str) -> None:
    traced.check("vision_errors", case, torch)


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


# ---- how many launches ---------------------------------------------------------------------------
def _batch_norm_step(shape: tuple[int, ...]) -> tuple[object, ...]:
    channels = shape[1]
    x = torch.randn(*shape).to("mps").requires_grad_()
    g = torch.randn(*shape).to("mps")
    layer = (
        nn.BatchNorm2d(channels).to("mps")
        if len(shape) == 4
        else nn.BatchNorm1d(channels).to("mps")
    )
    torch.mps.synchronize()
    return x, g, layer


@pytest.mark.parametrize("shape", [(8, 16, 12, 12), (64, 32)])
def test_training_batch_norm_and_relu_are_one_launch(shape: tuple[int, ...]) -> None:
    x, _, layer = _batch_norm_step(shape)
    seen = torch.explain(
        lambda: F.relu(F.batch_norm(x, None, None, layer.weight, layer.bias, True))
    )
    assert seen.launches == 1
    # With running statistics: they are moved in the same launch; the count of batches is one more.
    seen = torch.explain(lambda: F.relu(layer(x)))
    assert seen.launches == 2


@pytest.mark.parametrize("shape", [(8, 16, 12, 12), (64, 32)])
def test_the_gradients_of_batch_norm_and_relu_are_one_launch(shape: tuple[int, ...]) -> None:
    x, g, layer = _batch_norm_step(shape)
    y = F.relu(F.batch_norm(x, None, None, layer.weight, layer.bias, True))
    torch.mps.synchronize()
    seen = torch.explain(lambda: torch.autograd.grad(y, (x, layer.weight, layer.bias), g))
    assert seen.launches == 1


# ---- numbers ------------------------------------------------------------------------------------
@DEVICES
def test_batch_norm_far_from_zero(device: str) -> None:
    """Two passes: the variance of numbers around 4096 is that of float64 to float32's digits."""
    a = (4096 + np.random.default_rng(3).standard_normal((64, 3, 30, 31))).astype(np.float32)
    mean, var = torch.zeros(3, device=device), torch.zeros(3, device=device)
    y = F.batch_norm(torch.tensor(a, device=device), mean, var, training=True, momentum=1.0)
    wide = a.astype(np.float64)
    centred = wide - wide.mean((0, 2, 3), keepdims=True)
    wanted = centred / np.sqrt(wide.var((0, 2, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(var.cpu().numpy(), wide.var((0, 2, 3), ddof=1), rtol=2e-6)
    np.testing.assert_allclose(y.cpu().numpy(), wanted, atol=1.5e-3)  # the mean's own rounding


def _everything(device: str) -> list[np.ndarray]:  # type: ignore[type-arg]
    """Results and gradients of what runs over windows and groups."""
    rng = np.random.default_rng(11)
    results = []
    a = rng.standard_normal((5, 6, 37, 41)).astype(np.float32)
    w = rng.standard_normal(6).astype(np.float32)
    for f in (
        lambda x, s: F.max_pool2d(x, 3, 2, 1),
        lambda x, s: F.max_pool2d(x, 2),
        lambda x, s: F.avg_pool2d(x, 3, 1, 1),
        lambda x, s: F.avg_pool2d(x.relu(), 2),
        lambda x, s: F.adaptive_avg_pool2d(x, (7, 5)),
        lambda x, s: F.interpolate(x, scale_factor=1.7, mode="bilinear") * 2,
        lambda x, s: F.interpolate(x, (20, 60), mode="bicubic"),
        lambda x, s: F.pad(x, (3, 4, 5, 6), mode="reflect"),
        lambda x, s: F.unfold(x, 3, stride=2),
        lambda x, s: F.relu(F.batch_norm(x, None, None, s, s, True)),
        lambda x, s: F.group_norm(x, 3, s, s),
        lambda x, s: F.instance_norm(x, weight=s) + x,
    ):
        x = torch.tensor(a, device=device).requires_grad_()
        s = torch.tensor(w, device=device).requires_grad_()
        y = f(x, s)
        g = torch.tensor(np.cos(np.arange(y.numel(), dtype=np.float32)), device=device)
        y.backward(g.reshape(y.shape))
        results += [y.detach().cpu().numpy(), x.grad.cpu().numpy()]
        if s.grad is not None:
            results.append(s.grad.cpu().numpy())
    return results


_OTHER_WAYS = [{"QS_SYNC": "1"}, {"QS_NUM_THREADS": "1"}, {"QS_NUM_THREADS": "5"}]


@pytest.mark.parametrize("ways", _OTHER_WAYS, ids=lambda w: "=".join(*w.items()))
def test_the_same_bits_at_once_and_with_any_threads(ways: dict[str, str], tmp_path: Path) -> None:
    script = (
        "import sys, numpy as np; sys.path.insert(0, sys.argv[1]); import test_vision\n"
        "np.savez(sys.argv[2], *test_vision._everything('mps'))"
    )
    path = tmp_path / "results.npz"
    command = [sys.executable, "-c", script, str(Path(__file__).parent), str(path)]
    subprocess.run(command, check=True, env={**os.environ, **ways})
    with np.load(path) as other:
        mine = _everything("mps")
        assert len(other.files) == len(mine)
        for name, value in zip(other.files, mine, strict=True):
            assert np.array_equal(other[name], value), name


def test_avx2_agrees() -> None:
    """Windows take the same bits from every instruction set; norms differ by the order of sums."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_vision as t\n"
        "import numpy as np; np.savez(sys.stdout.buffer, *t._everything('cpu'))"
    )
    command = [sys.executable, "-c", script, str(Path(__file__).parent)]
    env = {**os.environ, "QS_ISA": "avx2"}
    output = subprocess.run(command, check=True, env=env, capture_output=True).stdout
    with np.load(io.BytesIO(output)) as other:
        for name, value in zip(other.files, _everything("cpu"), strict=True):
            np.testing.assert_allclose(other[name], value, rtol=2e-4, atol=2e-5)


@DEVICES
def test_alpha_dropout_keeps_mean_and_variance(device: str) -> None:
    torch.manual_seed(5)
    x = torch.randn(200, 500, device=device)
    y = F.alpha_dropout(x, 0.3, training=True).cpu().numpy()
    assert abs(y.mean()) < 0.02 and abs(y.std() - 1) < 0.02
    planes = F.feature_alpha_dropout(torch.zeros(50, 40, 3, 3, device=device), 0.5, training=True)
    flat = planes.cpu().numpy().reshape(2000, 9)
    assert (flat == flat[:, :1]).all() and len(np.unique(flat)) == 2


@DEVICES
def test_pools_of_channels_last_and_of_nothing(device: str) -> None:
    x = torch.randn(2, 6, 5, 7).to(device).permute(0, 3, 1, 2)  # memory in another order
    dense = x.contiguous()
    for f in (lambda t: F.max_pool2d(t, 2), lambda t: F.avg_pool2d(t, 3, 1, 1)):
        assert (f(x) == f(dense)).all().item()
    empty = torch.zeros(0, 3, 8, 8, device=device, requires_grad=True)
    for f in (
        lambda t: F.max_pool2d(t, 2),
        lambda t: F.adaptive_avg_pool2d(t, 3),
        lambda t: F.batch_norm(t, None, None, training=True),
        lambda t: F.group_norm(t, 3),
        lambda t: F.interpolate(t, scale_factor=2.0),
        lambda t: F.pad(t, (1, 1), "constant"),
    ):
        y = f(empty)
        assert y.shape[0] == 0
        y.sum().backward()
        assert empty.grad.shape == empty.shape
