"""MultiheadAttention and the transformer layers against PyTorch's committed results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import traced

import quicksilver as torch
from quicksilver import nn


@pytest.mark.parametrize("device", ["cpu", "mps"])
@pytest.mark.parametrize("case", traced.cases("attention"))
def test_as_pytorch(case: str, device: str) -> None:
    before = torch.get_default_device()
    torch.set_default_device(device)
    try:
        traced.check("attention", case, torch, rtol=3e-5, atol=3e-6)
    finally:
        torch.set_default_device(before)


def test_dropout_in_training_only() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.5).to("mps")
    x = torch.randn(5, 3, 16, device="mps")
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


def test_no_scores_without_weights() -> None:
    """need_weights=False records the one attention op; a padding mask does not change that."""
    attention = nn.MultiheadAttention(16, 2, batch_first=True).to("mps")
    x = torch.randn(2, 300, 16, device="mps")
    hidden = torch.zeros(2, 300, dtype=torch.bool, device="mps")
    out, weights = attention(x, x, x, key_padding_mask=hidden, need_weights=False)
    assert weights is None
    names = set()

    def walk(node: Any) -> None:
        if node is not None and node not in names:
            names.add(node)
            for parent, _ in node.next_functions:
                walk(parent)

    walk(out.grad_fn)
    assert "ScaledDotProductFlashAttentionForCpuBackward0" in {n.name() for n in names}


def test_it_trains() -> None:
    """A tiny encoder learns to copy the first of three tokens to all places."""
    torch.manual_seed(1)
    embed, head = nn.Embedding(4, 16).to("mps"), nn.Linear(16, 4).to("mps")
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    place = nn.Parameter(torch.randn(3, 16, device="mps"))
    encoder = nn.TransformerEncoder(layer, 1).to("mps")
    parameters = [*embed.parameters(), *head.parameters(), *encoder.parameters(), place]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2)
    losses = []
    for _ in range(80):
        ids = torch.randint(0, 4, (32, 3), device="mps")
        optimizer.zero_grad()
        out = head(encoder(embed(ids) + place))
        target = ids[:, :1].expand(-1, 3).reshape(-1)
        loss = nn.functional.cross_entropy(out.view(-1, 4), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.3 < losses[0]
