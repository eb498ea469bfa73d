"""Tensors print as PyTorch prints them, on both devices."""

from __future__ import annotations

import pytest
import traced

import quicksilver as torch


@pytest.mark.parametrize("case", traced.cases("printing"))
def test_as_pytorch(case: str) -> None:
    traced.check("printing", case, torch)


def test_mps_tensors_say_so() -> None:
    x = torch.tensor([1.0, 2.5], device="mps", requires_grad=True)
    assert repr(x) == "tensor([1.0000, 2.5000], device='mps:0', requires_grad=True)"
    assert repr(x * 2) == "tensor([2., 5.], device='mps:0', grad_fn=<MulBackward0>)"
    assert repr(torch.arange(3, device="mps")) == "tensor([0, 1, 2], device='mps:0')"
    assert repr(torch.zeros(0, 2, device="mps")) == "tensor([], device='mps:0', size=(0, 2))"
    wide = torch.ones(2000, device="mps", dtype=torch.float16)
    assert repr(wide) == (
        "tensor([1., 1., 1.,  ..., 1., 1., 1.], device='mps:0', dtype=torch.float16)"
    )


def test_long_suffixes_go_on_a_new_line() -> None:
    x = torch.full((10,), 0.12345, device="mps", requires_grad=True)
    assert repr(x) == (
        "tensor([0.1235, 0.1235, 0.1235, 0.1235, 0.1235, 0.1235, 0.1235, 0.1235, 0.1235,\n"
        "        0.1235], device='mps:0', requires_grad=True)"
    )


def test_printing_leaves_no_trace() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x * 2
    repr(y)
    y.sum().backward()
    assert x.grad.tolist() == [2, 2, 2]
    assert torch.is_grad_enabled()


def test_subclasses_have_their_name() -> None:
    class Special(torch.Tensor):
        pass

    assert repr(torch.ones(2).as_subclass(Special)) == "Special([1., 1.])"
