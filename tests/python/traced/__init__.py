"""Programs that are run on PyTorch, whose results are committed, and on Quicksilver in the tests.

A file ``cases_X.py`` holds functions ``case_Y(L)``: L is the library (PyTorch's names), the result
is made of dicts, lists, strings and numbers. ``scripts/make_traces`` runs them on PyTorch and
writes ``tests/python/traces/X.json``; ``check`` runs one on Quicksilver and compares.
"""

from __future__ import annotations

import importlib
import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

TRACES = Path(__file__).resolve().parents[1] / "traces"


def cases(name: str) -> dict[str, Callable[[Any], Any]]:
    """The case functions of cases_<name>.py, in order."""
    module = importlib.import_module(f"{__package__}.cases_{name}")
    return {
        key.removeprefix("case_"): value
        for key, value in vars(module).items()
        if key.startswith("case_")
    }


def names() -> list[str]:
    """All X for which there is a cases_X.py."""
    return sorted(
        path.stem.removeprefix("cases_") for path in Path(__file__).parent.glob("cases_*.py")
    )


def run(case: Callable[[Any], Any], L: Any) -> Any:
    """What a case gives, as JSON would hold it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return json.loads(json.dumps(case(L)))


def outcome(function: Callable[[], Any]) -> Any:
    """What a function returns; of an error its type and text."""
    try:
        return function()
    except Exception as error:
        return {"error": type(error).__name__, "text": str(error)}


def load(name: str) -> dict[str, Any]:
    """The committed results of PyTorch for one file of cases."""
    return json.loads((TRACES / f"{name}.json").read_text(encoding="utf-8"))["cases"]


def check(name: str, case: str, L: Any, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Runs a case on L and compares with the committed result; fails with the first difference."""
    got = run(cases(name)[case], L)
    fault = difference(load(name)[case], got, rtol, atol)
    assert not fault, f"{case}{fault}"


def difference(want: Any, got: Any, rtol: float, atol: float, where: str = "") -> str:
    """The first difference in words, or ""."""
    if isinstance(want, dict) and isinstance(got, dict):
        if list(want) != list(got):
            return f"{where}: keys {list(want)} wanted, {list(got)} got ({got})"
        parts = [(f"{where}[{key!r}]", want[key], got[key]) for key in want]
    elif isinstance(want, list) and isinstance(got, list):
        if len(want) != len(got):
            return f"{where}: {want} wanted, {got} got"
        parts = [(f"{where}[{i}]", w, g) for i, (w, g) in enumerate(zip(want, got, strict=True))]
    elif isinstance(want, float) and isinstance(got, (int, float)):
        same = math.isclose(want, got, rel_tol=rtol, abs_tol=atol) or (want != want and got != got)
        return "" if same else f"{where}: {want!r} wanted, {got!r} got"
    else:
        if isinstance(got, str):
            got = got.replace("quicksilver.", "torch.")  # the names of classes
        return "" if want == got else f"{where}:\n{want!r} wanted,\n{got!r} got"
    for path, w, g in parts:
        if fault := difference(w, g, rtol, atol, path):
            return fault
    return ""
