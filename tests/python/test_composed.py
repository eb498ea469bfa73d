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
