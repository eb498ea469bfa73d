"""What stands beside the layers, against PyTorch's committed results."""

from __future__ import annotations

import pytest
import traced

import quicksilver as torch
from quicksilver import nn


@pytest.mark.parametrize("case", traced.cases("utils"))
def test_as_pytorch(case: str) -> None:
    traced.check("utils", case, torch, rtol=2e-5, atol=2e-6)


def test_compile_gives_back_what_it_is_given() -> None:
    layer = nn.Linear(2, 2)
    assert torch.compile(layer, fullgraph=True, mode="max-autotune") is layer

    @torch.compile(dynamic=True)
    def double(x: int) -> int:
        return 2 * x

    assert double(3) == 6 and not torch.compiler.is_compiling()
    with pytest.raises(RuntimeError, match="Either mode or options"):
        torch.compile(layer, mode="default", options={})
