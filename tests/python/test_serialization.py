"""save and load: safetensors files, checked with the public package, and files that are broken."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import safetensors
import safetensors.numpy

import quicksilver as torch
from quicksilver import nn

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]


def example() -> dict[str, Any]:
    tensors: dict[str, Any] = {
        name: torch.tensor([[1, 0, 3]], dtype=getattr(torch, name)) for name in DTYPES
    }
    tensors["bf16"] = torch.tensor([1.5, -2.0], dtype=torch.bfloat16)
    tensors["scalar"] = torch.tensor(2.5)
    tensors["empty"] = torch.zeros(0, 3)
    tensors["strided"] = torch.arange(12.0).reshape(3, 4).t()[1:, ::2]
    return tensors


def same(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert list(a) == list(b)
    for key, value in a.items():
        assert b[key].dtype is value.dtype and b[key].shape == value.shape, key
        assert b[key].tolist() == value.tolist(), key


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    torch.save(example(), tmp_path / "x.safetensors")
    same(example(), torch.load(tmp_path / "x.safetensors"))
    assert os.listdir(tmp_path) == ["x.safetensors"]


def test_the_public_package_reads_it(tmp_path: Path) -> None:
    tensors = {k: v for k, v in example().items() if k != "bf16"}
    torch.save({**tensors, "note": "made here"}, tmp_path / "x.safetensors")
    theirs = safetensors.numpy.load_file(tmp_path / "x.safetensors")
    assert set(theirs) == set(tensors)
    for key, value in tensors.items():
        np.testing.assert_array_equal(theirs[key], value.numpy())
    with safetensors.safe_open(tmp_path / "x.safetensors", "numpy") as file:
        assert file.metadata() == {"note": "made here"}


def test_it_reads_what_the_public_package_writes(tmp_path: Path) -> None:
    arrays = {name: np.arange(6).reshape(2, 3).astype(name) for name in DTYPES}
    safetensors.numpy.save_file(arrays, tmp_path / "x.safetensors", metadata={"a": "b"})
    ours = torch.load(tmp_path / "x.safetensors")
    assert ours.pop("a") == "b"
    for key, value in arrays.items():
        np.testing.assert_array_equal(ours[key].numpy(), value)


def test_a_model_in_a_new_process(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).to("mps")
    torch.save(model.state_dict(), tmp_path / "m.safetensors")
    code = f"""
import quicksilver as torch
from quicksilver import nn
model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
state = torch.load({str(tmp_path / "m.safetensors")!r})
assert all(value.is_mps for value in state.values())
print(model.load_state_dict(state))
print(model(torch.ones(1, 2)).item())
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    lines = out.stdout.splitlines()
    assert lines[0] == "<All keys matched successfully>"
    np.testing.assert_allclose(
        float(lines[1]), model(torch.ones(1, 2, device="mps")).item(), rtol=1e-6
    )


def test_map_location(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    torch.save({"a": torch.ones(2, device="mps"), "b": torch.zeros(1)}, path)
    default = torch.load(path)
    assert default["a"].is_mps and not default["b"].is_mps
    assert not any(t.is_mps for t in torch.load(path, map_location="cpu").values())
    assert all(t.is_mps for t in torch.load(path, torch.device("mps")).values())
    assert not torch.load(path, map_location={"mps:0": "cpu"})["a"].is_mps
    saved = []
    torch.load(path, map_location=lambda t, where: saved.append(where) or t)
    assert saved == ["mps:0", "cpu"]
    with pytest.raises(TypeError, match="map_location"):
        torch.load(path, map_location=1.5)
    with pytest.raises(torch.mps.MPSDeviceError, match="nonexistent"):
        torch.load(path, map_location="nonexistent")


def test_without_mps_the_cure_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    torch.save({"a": torch.ones(2, device="mps")}, path)
    code = f"""
import quicksilver as torch
try:
    torch.load({str(path)!r})
except RuntimeError as error:
    print(error)
print(torch.load({str(path)!r}, map_location="cpu")["a"].tolist())
"""
    env = os.environ | {"QS_MPS_DRIVER": "none"}
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env
    )
    first, second = out.stdout.splitlines()
    assert "map_location='cpu'" in first and second == "[1.0, 1.0]"


def safetensors_of(state: Any) -> bytes:
    return b"".join(bytes(chunk) for chunk in torch.serialization._safetensors.encode(state))


def test_files_already_open() -> None:
    buffer = io.BytesIO(safetensors_of({"a": torch.arange(3)}))
    assert torch.load(buffer)["a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "value",
    [3, [torch.ones(1)], {"a": 3}, {"a": {"b": torch.ones(1)}}, {1: torch.ones(1)}, torch.ones(1),
     {"__metadata__": torch.ones(1)}],
)  # fmt: skip
def test_what_cannot_be_saved_is_said(value: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"writes a dict of tensors by name"):
        torch.save(value, tmp_path / "x.safetensors")
    assert not os.listdir(tmp_path)


# ---- files and folders that will not do ----------------------------------------------------------
def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        torch.load(tmp_path / "no.safetensors")
    assert "there is no such file" in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="it is a directory"):
        torch.load(tmp_path)
    with pytest.raises(IsADirectoryError, match="it is a directory"):
        torch.save({"a": torch.ones(1)}, tmp_path)
    with pytest.raises(FileNotFoundError, match="its folder does not exist"):
        torch.save({"a": torch.ones(1)}, tmp_path / "no" / "x")
    assert not os.listdir(tmp_path)


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), args[0])

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(PermissionError, match=r"cannot load .*: permission denied"):
        torch.load(tmp_path / "x")
    with pytest.raises(PermissionError, match=r"cannot save to .*: permission denied"):
        torch.save({"a": torch.ones(1)}, tmp_path / "x")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a full device; others not")
def test_a_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.safetensors"
    torch.save({"a": torch.ones(2)}, path)
    before = path.read_bytes()
    real = open

    def full(name: Any, mode: str = "r", *rest: Any, **kwargs: Any) -> Any:
        if mode == "xb":
            real(name, mode).close()
            return real("/dev/full", "wb")
        return real(name, mode, *rest, **kwargs)

    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(OSError, match="the disk is full; the old file, if any, is unchanged"):
        torch.save({"a": torch.zeros(3)}, path)
    monkeypatch.undo()
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["x.safetensors"]


def broken(tmp_path: Path, content: bytes) -> str:
    """What load says about a file of this content."""
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(RuntimeError) as caught:
        torch.load(path)
    text = str(caught.value)
    assert text.startswith(f"cannot load '{path}': ") and "\n" not in text
    return text


def with_header(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def test_broken_files_are_explained(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    good = with_header({"a": entry}, bytes(8))
    assert "it has only 0 bytes" in broken(tmp_path, b"")
    assert "it has only 3 bytes" in broken(tmp_path, good[:3])
    assert "its header should have" in broken(tmp_path, good[:20])
    assert "cut short: 'a' ends at byte 8" in broken(tmp_path, good[:-1])
    assert "no sensible header length" in broken(tmp_path, b"\xff" * 40)
    assert "not JSON" in broken(tmp_path, with_header(b"{" * 20))
    assert "not JSON" in broken(tmp_path, with_header(b"\xff\xfe{}"))
    assert "not a JSON object" in broken(tmp_path, with_header([1]))
    assert "metadata" in broken(tmp_path, with_header({"__metadata__": {"a": 1}}))
    for change in (
        {"shape": [3]}, {"shape": [-2]}, {"shape": "x"}, {"shape": [True]}, {"shape": [2**70]},
        {"data_offsets": [8, 0]}, {"data_offsets": [0]}, {"data_offsets": 3},
        {"data_offsets": [0.0, 8.0]},
    ):  # fmt: skip
        text = broken(tmp_path, with_header({"a": {**entry, **change}}, bytes(8)))
        assert "damaged at 'a'" in text, change
    assert "dtype 'F7'" in broken(tmp_path, with_header({"a": {**entry, "dtype": "F7"}}, bytes(8)))
    assert "damaged at 'a'" in broken(tmp_path, with_header({"a": 1}))
    assert "damaged" in broken(tmp_path, with_header({"a": {}}))


@hypothesis.given(st.integers(0, 400), st.binary(min_size=1, max_size=8), st.integers(0, 400))
@hypothesis.settings(max_examples=300, deadline=None)
def test_no_file_does_harm(position: int, junk: bytes, end: int) -> None:
    state = {"first": torch.arange(6.0), "second": torch.ones(2, 2), "note": "x"}
    content = bytearray(safetensors_of(state))
    content[position : position + len(junk)] = junk
    for candidate in (bytes(content), bytes(content[:end])):
        try:
            result = torch.load(io.BytesIO(candidate))
        except RuntimeError as error:
            assert "cannot load" in str(error)
        else:
            assert all(isinstance(v, (torch.Tensor, str)) for v in result.values())
