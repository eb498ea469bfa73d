"""The stub of the extension is what the extension says, and every row of its tables is sound."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import quicksilver as torch
from quicksilver import _C

ROOT = Path(__file__).resolve().parents[2]


def test_the_stub_is_current() -> None:
    script = ROOT / "scripts" / "make_stubs.py"
    result = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_every_signature_can_be_parsed() -> None:
    x = torch.ones(2)
    seen = 0
    for name, flags, _ in _C._signatures():
        for flag, owner in (("f", _C), ("n", _C._nn), ("m", x)):
            if flag in flags:
                with pytest.raises(TypeError):
                    getattr(owner, name)(no_such_keyword=1)
                seen += 1
    assert seen > 400


def test_functions_are_documented() -> None:
    for name, flags, text in _C._signatures():
        owner = _C if "f" in flags else torch.Tensor if "m" in flags else _C._nn
        document = getattr(owner, name).__doc__
        assert document.startswith(name + "("), name
        assert not document.endswith("\n"), f"{name} has no documentation"
        assert text.startswith(name + "(")
