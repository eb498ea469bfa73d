"""Mistakes raise PyTorch's exceptions at the line that made them, and nothing is lost by them."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import numpy as np
import pytest
import traced

import quicksilver as torch

# Where ours differs on purpose: (case, position): (PyTorch's, ours).
DIFFERENT = {
    # An index out of range is an IndexError in every op, here as on mps.
    ("indices", 17): ("RuntimeError", "IndexError"),  # gather
    ("indices", 20): ("RuntimeError", "IndexError"),  # scatter
    ("indices", 21): ("RuntimeError", "IndexError"),  # scatter_add
    ("indices", 22): ("RuntimeError", "IndexError"),  # index_add
    ("dimensions", 29): ("RuntimeError", "IndexError"),  # max of nothing
    # A value of the wrong Python type is a TypeError, a number that does not fit an OverflowError.
    ("dtypes", 22): ("RuntimeError", "TypeError"),  # tensor(None)
    ("dtypes", 23): ("ValueError", "OverflowError"),  # tensor([2**70])
    ("arguments", 40): ("ValueError", "TypeError"),  # manual_seed("a")
    # arange fills bool like any other dtype.
    ("dtypes", 24): ("NotImplementedError", "fine"),
    # MPSDeviceError is a RuntimeError.
    ("arguments", 41): ("RuntimeError", "MPSDeviceError"),
    ("arguments", 44): ("RuntimeError", "MPSDeviceError"),
    # A hook that cannot be called is refused at once.
    ("gradients", 10): ("fine", "TypeError"),
}


def check(case: str) -> None:
    want = traced.load("bad_input")[case]
    got = traced.run(traced.cases("bad_input")[case], torch)
    for (name, i), (theirs, ours) in DIFFERENT.items():
        if name == case:
            assert want[i] == theirs, "PyTorch has changed: look at DIFFERENT again"
            assert got[i] == ours
            got[i] = theirs
    fault = traced.difference(want, got, 0, 0)
    assert not fault, fault


@pytest.mark.parametrize("case", traced.cases("bad_input"))
def test_as_pytorch(case: str) -> None:
    check(case)


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_values_stay(device: str) -> None:
    """Stricter than PyTorch, which leaves index_add_ and scatter_ half done."""
    x = torch.arange(6.0, device=device).reshape(2, 3)
    i = torch.tensor([1, 2], device=device)

    def ones(*shape: int) -> torch.Tensor:
        return torch.ones(*shape, device=device)

    bad = torch.tensor([0, 9], device=device)
    for mistake in (
        lambda: x.add_(ones(4)),
        lambda: x.copy_(ones(4)),
        lambda: x.__setitem__(7, 1.0),
        lambda: x.__setitem__(bad, 1.0),
        lambda: x.scatter_(0, bad.reshape(2, 1), 5.0),
        lambda: x.index_add_(0, bad, ones(2, 3)),
        lambda: x.masked_fill_(ones(5) > 0, 0.0),
        lambda: i.add_(0.5),
        lambda: i.div_(2),
        lambda: x.mul_("a"),
    ):
        with pytest.raises((RuntimeError, IndexError, TypeError)):
            mistake()
            torch.mps.synchronize()
        assert x.tolist() == [[0, 1, 2], [3, 4, 5]] and i.tolist() == [1, 2]


@pytest.fixture
def on_mps() -> object:
    torch.set_default_device("mps")
    yield
    torch.set_default_device(None)


@pytest.mark.parametrize("case", ["shapes", "dimensions", "dtypes"])
def test_on_mps_shapes_and_dtypes_raise_at_once(case: str, on_mps: object) -> None:
    check(case)


def test_the_line_is_the_one_that_made_the_mistake() -> None:
    x = torch.ones(2, 3, device="mps")
    y = x * 2
    try:
        z = y + torch.ones(4, 5, device="mps")  # the mistake
        z.cpu()
    except RuntimeError as error:
        frames = traceback.extract_tb(error.__traceback__)
        assert "the mistake" in (frames[-1].line or "")
        text = str(error)
        assert "3" in text and "5" in text
    else:
        pytest.fail("nothing was raised")
    assert y.tolist() == [[2, 2, 2], [2, 2, 2]]


DEFERRED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "index": lambda x: x[torch.tensor([0, 7], device="mps")],
    "index_select": lambda x: x.index_select(0, torch.tensor([7], device="mps")),
    "gather": lambda x: x.gather(0, torch.tensor([[7]], device="mps")),
    "embedding": lambda x: torch.nn.functional.embedding(torch.tensor([7], device="mps"), x),
    "cross_entropy": lambda x: torch.nn.functional.cross_entropy(
        x, torch.tensor([0, 7], device="mps")
    ),
}


@pytest.mark.parametrize("name", DEFERRED)
def test_bad_indices_on_mps_raise_at_the_next_read(name: str) -> None:
    x = torch.arange(6.0, device="mps").reshape(2, 3)
    torch.mps.synchronize()  # what is computed together with the mistake is lost with it
    with pytest.raises(IndexError) as caught:
        DEFERRED[name](x).cpu()
        torch.mps.synchronize()
    text = str(caught.value)
    assert "7" in text and "test_bad_input.py:" in text, text
    torch.mps.synchronize()  # it was told once
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (x + 1).sum().item() == 21


def test_a_bad_write_on_mps_writes_nothing() -> None:
    x = torch.arange(6.0, device="mps").reshape(2, 3)
    torch.mps.synchronize()
    with pytest.raises(IndexError):
        x[torch.tensor([0, 9], device="mps")] = 5.0
        torch.mps.synchronize()
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_bad_label_does_not_harm_the_weights() -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 3).to("mps")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.ones(2, 4, device="mps")
    before = model.weight.detach().cpu().numpy().copy()
    torch.mps.synchronize()
    with pytest.raises(IndexError):
        loss = torch.nn.functional.cross_entropy(model(x), torch.tensor([1, 5], device="mps"))
        loss.backward()
        optimizer.step()
        torch.mps.synchronize()
    np.testing.assert_array_equal(model.weight.detach().cpu().numpy(), before)
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(x), torch.tensor([1, 2], device="mps")).backward()
    optimizer.step()
    after = model.weight.detach().cpu().numpy()
    assert np.isfinite(after).all() and not np.array_equal(after, before)


def test_devices_do_not_mix() -> None:
    x, y = torch.ones(2, 2), torch.ones(2, 2, device="mps")
    for mistake in (
        lambda: x + y,
        lambda: x @ y,
        lambda: torch.cat([x, y]),
        lambda: torch.nn.functional.linear(y, x),
        lambda: x.add_(y),
        lambda: torch.where(x > 0, y, y),
    ):
        with pytest.raises(RuntimeError, match=r"mps.*cpu|cpu.*mps"):
            mistake()
    assert (y + torch.tensor(1.0)).tolist() == [[2, 2], [2, 2]]  # 0-dim numbers may
    with pytest.raises(TypeError, match="cpu"):
        y.numpy()
    assert x.tolist() == y.tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("name", ["nowhere", "mps:3", "cuda:0", "", "mps:x", "cpu:7"])
def test_unknown_devices(name: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.ones(2, device=name)
    assert "mps" in str(caught.value)
