"""How a GPT block is planned: heads are not copied, nothing is computed twice."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

_BLOCK = """
import quicksilver as L
from quicksilver import nn
F = nn.functional

class Block(nn.Module):
    def __init__(self, width=32, heads=4):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, t, _ = x.shape
        parts = self.qkv(self.norm1(x)).chunk(3, -1)
        q, k, v = (u.view(b, t, self.heads, -1).transpose(1, 2) for u in parts)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(a.transpose(1, 2).reshape(b, t, -1))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))

block, x = Block().to("mps"), L.randn(2, 16, 32, device="mps")
L.mps.synchronize()
with L.no_grad():
    print(L.explain(block, x))
"""


@pytest.mark.parametrize("driver", ["null", "cpu"])
def test_forward_launches(driver: str) -> None:
    """Four products, one attention, and one kernel for each chain between them; no copies."""
    run = subprocess.run(
        [sys.executable, "-c", _BLOCK],
        env=os.environ | {"QS_MPS_DRIVER": driver},
        capture_output=True,
        text=True,
        check=True,
    )
    launches = re.findall(r"^  launch \d+: (.*)$", run.stdout, re.MULTILINE)
    names = [launch.rsplit(": ", 1)[1].split(", ") for launch in launches]
    ops = [op for group in names for op in group]
    assert sorted(ops) == sorted(
        ["layer_norm", "matmul", "attention", "matmul", "add", "layer_norm", "matmul", "gelu_tanh",
         "matmul", "add"]
    )  # fmt: skip
    # One launch a group; the maps may also run as the epilogue of the product in front of them.
    assert 6 <= len(launches) <= 9
    assert ["attention"] in names
    assert any({"add", "layer_norm"} <= set(group) for group in names)
