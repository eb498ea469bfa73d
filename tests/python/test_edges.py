"""What a hostile user does to tensors, on both devices, against PyTorch's committed results."""

from __future__ import annotations

import functools
import json
import re
import sys
from typing import Any

import numpy as np
import pytest
import traced
from traced import cases_edges as rows

import quicksilver as torch


@functools.cache
def wanted() -> dict[str, Any]:
    return traced.load("edges")


@pytest.mark.parametrize("device", ["cpu", "mps"])
@pytest.mark.parametrize("row", rows.ROWS)
def test_row(row: str, device: str) -> None:
    got = json.loads(json.dumps(rows.evaluate(row, torch, device)))
    want = wanted()[row]
    if isinstance(got, dict):  # the texts name the device
        got["text"] = re.sub(r"torch\.mps\.", "torch.", got["text"])
    fault = traced.difference(want, got, 1e-5, 1e-6)
    assert not fault, fault


def test_every_row_has_a_trace() -> None:
    assert list(wanted()) == rows.ROWS, "run scripts/make_traces edges"


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_sizes_that_no_memory_holds(device: str) -> None:
    """Refused with an exception, however the size came about."""
    largest = torch.tensor([2**62] * 3, device=device)
    for make in (
        lambda: torch.zeros(2**62, device=device),
        lambda: torch.empty(2**62, device=device),
        lambda: torch.zeros(2**40, 2**40, device=device),
        lambda: torch.empty_strided((2,), (2**62,), device=device),
        lambda: torch.empty_strided((2,), (-1,), device=device),
        lambda: torch.ones(1, device=device).expand(2**62).clone(),
        lambda: largest.bincount(),
        lambda: torch.vander(torch.ones(3, device=device), 2**62),
        lambda: torch.zeros([1] * 70, device=device).squeeze(69),
        lambda: torch.ones(3, 4, device=device).expand(2**62, -1, -1),
        lambda: torch.ones(1, 4, device=device).expand(-2, 4),
        lambda: torch.ones(12, device=device).repeat_interleave(2**62),
        lambda: torch.ones(12, device=device).as_strided((2,), (2**62,)),
        lambda: torch.ones(12, device=device).as_strided((2,), (1,), 2**62),
        lambda: torch.ones(12, device=device).as_strided((2, 2), (2**62, 2**62)),
    ):
        with pytest.raises(RuntimeError):
            make()


def test_many_decimals_end() -> None:
    assert torch.ones(1).round(decimals=2**40).isnan().all()  # 1 * inf / inf


def test_numpy_functions_give_tensors() -> None:
    x = torch.ones(2)
    for made in (np.sin(x), np.maximum(x, 0), x * np.array([1.0, 2.0]), x - np.array([1.0, 2.0])):
        assert isinstance(made, torch.Tensor)
    assert (x * np.array([1.0, 2.0])).tolist() == [1, 2]


def test_equal_keeps_the_count_of_true() -> None:
    x, y = torch.ones(2), torch.zeros(2)
    before = sys.getrefcount(True)
    for _ in range(3000):
        assert torch.equal(x, x) is True and torch.equal(x, y) is False
    assert abs(sys.getrefcount(True) - before) < 1000
