"""Mistakes in calls of composed and special functions raise what PyTorch raises, in its words."""

from __future__ import annotations

import json

import pytest
import traced
from traced import cases_bad_functions as rows

import quicksilver as torch

# Where ours differs on purpose or says it in other words: only the type of the error counts.
OTHER_WORDS = {
    "L.isin(1, 2)": "PyTorch lists its overloads",
    "L.take_along_dim(x, i, 0)": "gather's text",
    "L.hann_window(3, dtype=L.int64)": "PyTorch prints its own options",
}


@pytest.mark.parametrize("device", ["cpu", "mps"])
@pytest.mark.parametrize("row", rows.ROWS)
def test_mistake(row: str, device: str) -> None:
    want = traced.load("bad_functions")[row]
    got = json.loads(json.dumps(rows.attempt(row, torch, device)))
    if row in OTHER_WORDS:
        assert got["error"] == want["error"]
        return
    if device == "mps" and isinstance(want, dict) and isinstance(got, dict):
        want["text"] = want["text"].replace("_cpu", "").replace("cpu", "mps:0")
        got["text"] = got["text"].replace("_cpu", "").replace("_mps", "")
    fault = traced.difference(want, got, 0, 0)
    assert not fault, fault
