"""Hooks of all modules, newer optimizers and schedules that go on, against PyTorch's results."""

from __future__ import annotations

import pytest
import traced

import quicksilver as torch
from quicksilver import nn

ATOL = {"muon": 2e-2}  # its matrices are bfloat16


@pytest.mark.parametrize("case", traced.cases("hooks"))
def test_as_pytorch(case: str) -> None:
    traced.check("hooks", case, torch, atol=ATOL.get(case, 1e-6))


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)])
def test_muon_makes_singular_values_alike(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    w = nn.Parameter(torch.zeros(*shape, device="mps"))
    optimizer = torch.optim.Muon([w], lr=1.0, weight_decay=0.0)
    w.grad = torch.randn(*shape, device="mps")
    optimizer.step()
    values = torch.linalg.svdvals(w.detach().float().cpu()) / max(1, shape[0] / shape[1]) ** 0.5
    assert values.min() > 0.5 and values.max() < 1.4


def test_adafactor_remembers_rows_and_columns_alone() -> None:
    w = nn.Parameter(torch.ones(64, 32, device="mps"))
    optimizer = torch.optim.Adafactor([w])
    before = None
    for _ in range(30):
        optimizer.zero_grad()
        loss = (w - 2).square().mean()
        loss.backward()
        optimizer.step()
        before = before or loss.item()
    assert sum(t.numel() for t in optimizer.state[w].values()) == 64 + 32 + 1
    assert loss.item() < before


def test_the_older_backward_hook_sees_the_modules_own_gradients() -> None:
    seen = []
    layer = nn.Linear(3, 2)
    layer.register_backward_hook(lambda m, given, out: seen.append((given[0].shape, out[0].shape)))
    layer(torch.ones(4, 3, requires_grad=True)).sum().backward()
    assert seen == [((4, 3), (4, 2))]


def test_names_of_cuda_say_that_there_is_none() -> None:
    cuda = torch.cuda
    assert not isinstance(torch.ones(1), cuda.FloatTensor)
    assert str(cuda.LongTensor) == "torch.cuda.LongTensor" and cuda.memory_stats() == {}
    assert cuda.OutOfMemoryError is torch.OutOfMemoryError
    with cuda.stream(None), cuda.device(-1), cuda.device(None):
        pass
    for call in (cuda.FloatTensor, cuda.Stream, cuda.Event, cuda.current_stream, cuda.device):
        with pytest.raises(torch.mps.MPSDeviceError, match="no cuda device"):
            call(0)
    with pytest.raises(AttributeError):
        cuda.NoTensor  # noqa: B018
