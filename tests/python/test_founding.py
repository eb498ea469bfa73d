"""The scripts this project was founded on, call for call, and an mps that is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import quicksilver as torch
from quicksilver import mps, nn

NOT_BUILT = "MPS not available because the current build was not built with MPS enabled."
NOT_HERE = "MPS not available because no MPS driver can open a device on this machine."

SCRIPT = f"""
import quicksilver as torch
from quicksilver import nn

if not torch.backends.mps.is_available():
    if not torch.backends.mps.is_built():
        print({NOT_BUILT!r})
    else:
        print({NOT_HERE!r})
    print(torch.backends.mps.why_unavailable())
else:
    mps_device = torch.device("mps")
    x = torch.ones(5, device=mps_device)
    x = torch.ones(5, device="mps")
    y = x * 2
    model = nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2))
    model.to(mps_device)
    pred = model(x)
    print(y)
    print(tuple(pred.shape), pred.device, torch.backends.mps.get_name())
"""


def run_script(**env: str) -> list[str]:
    """The lines that the founding script prints in a process of its own."""
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | env,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


# ---- the tensor spelling -------------------------------------------------------------------------
def test_the_script_runs_where_mps_is_available() -> None:
    lines = run_script()
    assert lines[0] == "tensor([2., 2., 2., 2., 2.], device='mps:0')"
    assert lines[1].startswith("(2,) mps:0 ")


def test_the_script_says_that_no_driver_is_there() -> None:
    lines = run_script(QS_MPS_DRIVER="none")
    assert lines[0] == NOT_HERE
    assert len(lines) == 2 and lines[1]


def test_call_for_call() -> None:
    assert torch.backends.mps.is_built()
    assert torch.backends.mps.is_available()
    mps_device = torch.device("mps")
    for x in (torch.ones(5, device=mps_device), torch.ones(5, device="mps")):
        y = x * 2
        assert y.device == torch.device("mps:0")
        assert y.is_mps and y.is_mps() and repr(y.is_mps) == "True"
        np.testing.assert_array_equal(y.cpu().numpy(), np.full(5, 2, np.float32))
    model = nn.Linear(5, 2)
    before = [parameter.detach().numpy().copy() for parameter in model.parameters()]
    assert model.to(mps_device) is model
    assert all(parameter.is_mps for parameter in model.parameters())
    pred = model(x)
    assert pred.is_mps and pred.shape == (2,)
    np.testing.assert_allclose(
        pred.detach().cpu().numpy(), np.ones(5, np.float32) @ before[0].T + before[1], rtol=1e-5
    )


# ---- the array spelling --------------------------------------------------------------------------
def test_an_array_of_a_list() -> None:
    vec = mps.array([1, 2, 3, 4, 5], dtype=mps.float32)
    assert vec.is_mps() and vec.is_mps
    assert vec.dtype is mps.float32 and vec.shape == (5,)
    assert vec.tolist() == [1, 2, 3, 4, 5]


def test_from_numpy_copies_to_device_memory() -> None:
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    t = mps.from_numpy(a)
    assert t.is_mps() is True
    a[0, 0] = 100
    t += 1
    assert t.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert a.tolist() == [[100, 1, 2], [3, 4, 5]]
    assert mps.from_numpy(a, device="mps").is_mps()


def test_from_numpy_shares_host_memory() -> None:
    a = np.arange(4, dtype=np.float32)
    t = torch.from_numpy(a)
    assert not t.is_mps and t.is_mps() is False and repr(t.is_mps) == "False"
    t[0] = 7
    a[1] = 8
    assert a.tolist() == [7, 8, 2, 3] == t.tolist()
    assert t.numpy().ctypes.data == a.ctypes.data


def test_an_unknown_device_is_explained() -> None:
    a = np.zeros(3)
    with pytest.raises(mps.MPSDeviceError) as caught:
        mps.from_numpy(a, device="nonexistent_gpu")
    text = str(caught.value)
    assert "nonexistent_gpu" in text and "mps" in text and "cpu" in text
    assert isinstance(caught.value, RuntimeError)


def test_the_array_is_never_changed() -> None:
    a = np.linspace(-1, 1, 24).reshape(4, 6)[::2, 1::2]
    before = a.copy()
    t = mps.from_numpy(a)
    (t * 2 + 1).exp().cpu()
    t.mul_(3)
    mps.array(a).zero_()
    with pytest.raises(mps.MPSDeviceError):
        mps.from_numpy(a, device="nonexistent_gpu")
    mps.synchronize()
    np.testing.assert_array_equal(a, before)
    assert t.tolist() == (before * 3).tolist()


@pytest.mark.parametrize("name", ["float32", "float16", "int64", "int32", "uint8", "bool", "int8"])
def test_dtypes_have_the_names_of_numpy(name: str) -> None:
    assert mps.array([0, 1], dtype=getattr(mps, name)).cpu().numpy().dtype == np.dtype(name)


# ---- an mps that is not there --------------------------------------------------------------------
def test_memory_on_an_absent_mps_raises() -> None:
    code = """
import quicksilver as torch
from quicksilver import mps
for attempt in (lambda: torch.ones(2, device="mps"), lambda: mps.array([1]),
                lambda: torch.zeros(1).to("mps"), lambda: torch.nn.Linear(1, 1).to("mps")):
    try:
        attempt()
    except mps.MPSDeviceError as error:
        print(error)
print(torch.device("mps"), torch.ones(2) * 2)
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"QS_MPS_DRIVER": "none"},
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 5 and all("mps" in line for line in lines[:4])
    assert lines[4] == "mps tensor([2., 2.])"


def test_the_page_that_explains_is_mps_exists() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "why-is-mps-false.md"
    assert "from_numpy" in page.read_text(encoding="utf-8")
