"""What the package composes of recorded ops, against PyTorch's committed results."""

from __future__ import annotations

import pytest
import traced

import quicksilver as torch


@pytest.mark.parametrize("case", traced.cases("composed"))
@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_as_pytorch(case: str, device: str) -> None:
    torch.set_default_device(None if case == "legacy_types" else device)
    try:
        traced.check("composed", case, torch)
    finally:
        torch.set_default_device(None)


def test_every_composed_name_is_there() -> None:
    from quicksilver import _composed

    for name in _composed.FUNCTIONS:
        assert callable(getattr(torch, name)), name
    for name in _composed.METHODS:
        assert callable(getattr(torch.Tensor, name)), name


def test_in_place_forms_of_composed_functions() -> None:
    x = torch.tensor([1, 2, 3])
    assert x.float_power(2).dtype == torch.float64
    with pytest.raises(RuntimeError, match="can't be cast to the desired output type Long"):
        x.float_power_(2)
    y = torch.tensor([2.0, 3.0])
    assert y.float_power_(2) is y
    assert y.tolist() == [4.0, 9.0]
    out = torch.empty(0)
    assert torch.trapezoid(torch.ones(3)).item() == 2
    assert torch.diff(torch.tensor([1.0, 4.0, 9.0]), out=out) is out
    assert out.tolist() == [3.0, 5.0]
    with pytest.raises(RuntimeError, match="can't be cast"):
        torch.float_power(torch.ones(2), 2, out=torch.empty(2, dtype=torch.int64))
