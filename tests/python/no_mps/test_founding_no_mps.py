"""The founding script where the library was built without mps: the other of its two messages."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import quicksilver as torch
from quicksilver import mps, nn

NOT_BUILT = "MPS not available because the current build was not built with MPS enabled."
NOT_HERE = "MPS not available because no MPS driver can open a device on this machine."

SCRIPT = f"""
import quicksilver as torch
if not torch.backends.mps.is_available():
    if not torch.backends.mps.is_built():
        print({NOT_BUILT!r})
    else:
        print({NOT_HERE!r})
    print(torch.backends.mps.why_unavailable())
else:
    print(torch.ones(5, device="mps"))
"""


def test_the_script_says_that_it_was_not_built() -> None:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == NOT_BUILT and len(lines) == 2 and lines[1]


def test_everything_that_asks_for_mps_says_so() -> None:
    a = np.ones(3)
    for attempt in (
        lambda: mps.array([1, 2]),
        lambda: mps.from_numpy(a),
        lambda: torch.zeros(2).to("mps"),
        lambda: nn.Linear(2, 2).to("mps"),
    ):
        with pytest.raises(mps.MPSDeviceError, match="mps"):
            attempt()
    assert not mps.is_available() and mps.device_count() == 0
    assert torch.backends.mps.driver() == torch.backends.mps.get_name() == ""
    assert torch.accelerator.current_accelerator() is None
    torch.manual_seed(1)
    mps.manual_seed(1)


def test_info_says_so_too() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "quicksilver.info"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "not built (QS_MPS=OFF)" in result.stdout


def test_a_module_trains_on_cpu() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    x = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    y = torch.tensor([0, 1, 1, 0])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    assert not torch.from_numpy(np.ones(2)).is_mps()
