"""One call a row, on both devices and from several layouts, against PyTorch's committed results."""

from __future__ import annotations

import functools
import json
import math
from typing import Any

import pytest
import traced
from traced import cases_functions as rows

import quicksilver as torch

TOLERANCE = {"float32": (2e-5, 2e-6), "complex64": (2e-5, 2e-6)}


@functools.cache
def wanted() -> dict[str, Any]:
    return traced.load("functions")


def compare(want: Any, got: Any, gradient: bool) -> str:
    if want is None or got is None:
        # No gradient, or one of zeros: both say that nothing depends on the argument.
        return "" if want == got or not any((want or got)[2]) else f"{want} wanted, {got} got"
    if want[:2] != got[:2]:
        return f"{want[:2]} wanted, {got[:2]} got"
    rtol, atol = TOLERANCE.get(want[0], (1e-8, 1e-9))
    if gradient:  # that to an argument of NaN may be NaN or 0
        got[2] = [math.nan if w != w else g for w, g in zip(want[2], got[2], strict=True)]
    return traced.difference(want[2], got[2], rtol, atol)


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "sliced"])
@pytest.mark.parametrize("device", ["cpu", "mps"])
@pytest.mark.parametrize("row", rows.ROWS)
def test_row(row: str, device: str, layout: str) -> None:
    want = wanted()[row]
    got = json.loads(json.dumps(rows.evaluate(row, torch, layout, device)))
    assert len(want["results"]) == len(got["results"])
    if "grads" not in want:
        got.pop("grads", None)  # PyTorch has no derivative
    assert list(want) == list(got), "PyTorch has gradients, we have not"
    for key, pairs in want.items():
        for i, (w, g) in enumerate(zip(pairs, got[key], strict=True)):
            fault = compare(w, g, key == "grads")
            assert not fault, f"{key}[{i}]: {fault}"


def test_every_row_has_a_trace() -> None:
    assert list(wanted()) == rows.ROWS, "run scripts/make_traces functions"
