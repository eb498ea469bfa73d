"""PyTorch's checkpoint files: read, written, damaged and hostile."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import random
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import example, trained, trusted

import quicksilver as torch
from quicksilver import nn

FILES = Path(__file__).resolve().parents[1] / "traces" / "checkpoints"
SENTINEL = Path("/tmp/quicksilver-was-here")  # what evil.pt would make


def same(a: Any, b: Any, where: str = "") -> None:
    """Equal in types, values, dtypes and flags."""
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert (a.dtype, a.shape, a.stride(), a.requires_grad) == (
            b.dtype, b.shape, b.stride(), b.requires_grad,
        ), where  # fmt: skip
        assert a.tolist() == b.tolist(), where
    elif isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            same(a[key], b[key], f"{where}[{key!r}]")
    elif isinstance(a, (list, tuple)) and not isinstance(a, torch.Size):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            same(x, y, f"{where}[{i}]")
    else:
        assert a == b, where


def loaded(obj: Any, **how: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(obj, buffer, **how)
    buffer.seek(0)
    return torch.load(buffer)


@pytest.mark.parametrize("name", ["nested", "legacy", "protocol4"])
@pytest.mark.parametrize("how", [{}, {"mmap": True}, {"weights_only": False}])
def test_what_pytorch_wrote(name: str, how: dict[str, Any]) -> None:
    read = torch.load(FILES / f"{name}.pt", **how)
    same(example(torch), read)
    read["base"][3] = 99.0
    assert read["view"][1, 0].item() == 99.0, "views share their storage"
    assert read["again"] is read["base"]


@pytest.mark.parametrize(
    "how",
    [{}, {"pickle_protocol": 4}, {"pickle_protocol": 5}, {"_use_new_zipfile_serialization": False}],
)
def test_what_is_saved_is_loaded(how: dict[str, Any]) -> None:
    read = loaded(example(torch), **how)
    same(example(torch), read)
    read["base"][3] = 99.0
    assert read["view"][1, 0].item() == 99.0


def test_the_pickle_is_pytorchs_byte_for_byte(tmp_path: Path) -> None:
    model, optimizer = trained(torch)
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    torch.save(state, tmp_path / "training.pt")
    with (
        zipfile.ZipFile(tmp_path / "training.pt") as ours,
        zipfile.ZipFile(FILES / "training.pt") as theirs,
    ):
        assert ours.read("training/data.pkl") == theirs.read("training/data.pkl")
        ids = {"training/.data/serialization_id"}  # a hash that readers do not look at
        assert set(theirs.namelist()) - set(ours.namelist()) <= ids
        for info in ours.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            head = ours.fp.seek(info.header_offset) and ours.fp.read(30)  # type: ignore[union-attr]
            if head:
                lengths = np.frombuffer(head[26:30], "<u2").sum()
                assert (info.header_offset + 30 + lengths) % 64 == 0
    same(state, torch.load(tmp_path / "training.pt"))


def test_training_goes_on_where_pytorch_stopped() -> None:
    model, optimizer = trained(torch)
    state = torch.load(FILES / "training.pt")
    for key, value in model.state_dict().items():
        np.testing.assert_allclose(state["model"][key].numpy(), value.numpy(), rtol=2e-5)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    assert all(own["step"].item() == 2 for own in optimizer.state.values())
    optimizer.step()


def test_a_whole_model_of_our_layers(tmp_path: Path) -> None:
    for path in (FILES / "module.pt", tmp_path / "module.pt"):
        if not path.exists():
            torch.save(trained(torch)[0], path)
        with pytest.raises(pickle.UnpicklingError, match=r"container\.Sequential"):
            torch.load(path)
        model = torch.load(path, weights_only=False)
        x = torch.ones(1, 3)
        np.testing.assert_allclose(
            model(x).detach().numpy(), trained(torch)[0](x).detach().numpy(), rtol=1e-4
        )


def test_devices_are_kept_and_mapped(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    base = torch.arange(4.0, device="mps")
    torch.save({"a": base, "half": base[2:], "b": torch.zeros(1)}, path)
    default = torch.load(path)
    assert default["a"].is_mps and not default["b"].is_mps
    default["a"][2] = 7.0
    assert default["half"].tolist() == [7.0, 3.0], "views share their storage on mps, too"
    assert not any(t.is_mps for t in torch.load(path, "cpu").values())
    assert all(t.is_mps for t in torch.load(path, torch.device("mps")).values())
    assert not torch.load(path, map_location={"mps": "cpu"})["a"].is_mps
    assert torch.load(path, map_location={"cuda:0": "cpu"})["a"].is_mps
    seen = []
    torch.load(path, map_location=lambda storage, where: seen.append(where))
    assert seen == ["mps", "cpu"]
    assert not torch.load(path, map_location=lambda storage, where: storage)["a"].is_mps
    with pytest.raises(ValueError, match="mmap"):
        torch.load(io.BytesIO(path.read_bytes()), mmap=True)
    with pytest.raises(RuntimeError, match="explicit pickle_module"):
        torch.load(path, pickle_module=pickle, weights_only=True)


def test_a_cuda_checkpoint_needs_a_map(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "x.pt")
    content = (tmp_path / "x.pt").read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    parts["x/data.pkl"] = parts["x/data.pkl"].replace(
        b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"
    )
    file = archive(parts)
    with pytest.raises(RuntimeError, match="deserialize object on a CUDA device"):
        torch.load(io.BytesIO(file))
    assert torch.load(io.BytesIO(file), map_location="cpu")["a"].tolist() == [1, 1]


class Point:
    """A class of the user's."""

    def __init__(self, x: Any) -> None:
        self.x = x


def test_classes_that_the_user_allows() -> None:
    with pytest.raises(pickle.UnpicklingError, match="Point was not an allowed global"):
        loaded(Point(1))
    with torch.serialization.safe_globals([Point]):
        assert loaded(Point(torch.ones(2))).x.tolist() == [1, 1]
        assert torch.serialization.get_safe_globals() == [Point]
    with pytest.raises(pickle.UnpicklingError):
        loaded(Point(1))
    torch.serialization.add_safe_globals([(Point, f"{__name__}.Point")])
    assert loaded([Point(2)])[0].x == 2
    torch.serialization.clear_safe_globals()
    assert torch.serialization.get_safe_globals() == []


def test_attributes_of_tensors_are_kept() -> None:
    p = nn.Parameter(torch.ones(2))
    p.note = {"tied": True}
    read = loaded({"p": p})["p"]
    assert isinstance(read, nn.Parameter) and read.note == {"tied": True}


# ---- hostile -------------------------------------------------------------------------------------
def archive(parts: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as out:
        for name, content in parts.items():
            out.writestr(name, content)
    return buffer.getvalue()


def parts() -> dict[str, bytes]:
    buffer = io.BytesIO()
    torch.save({"a": torch.arange(6.0), "b": [torch.ones(2, 2), "text"]}, buffer)
    with zipfile.ZipFile(buffer) as file:
        return {name: file.read(name) for name in file.namelist()}


def refused(content: bytes, kind: Any = RuntimeError) -> str:
    with pytest.raises(kind) as caught:
        torch.load(io.BytesIO(content))
    return str(caught.value)


def with_pickle(text: bytes) -> bytes:
    return archive({**parts(), "archive/data.pkl": text})


def test_nothing_is_run() -> None:
    for how in ({}, {"weights_only": False}):
        with pytest.raises(pickle.UnpicklingError, match=r"posix\.system"):
            torch.load(FILES / "evil.pt", **how)
    for text in (
        b"cos\nsystem\n(X\x04\x00\x00\x00trueQtR.",
        b"cbuiltins\neval\n(X\x05\x00\x00\x001 + 1tR.",
        b"c__builtin__\ngetattr\n(tR.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
        b"cquicksilver.utils.data\nDataLoader\n)\x81.",
    ):
        assert "Unsupported global" in refused(with_pickle(text), pickle.UnpicklingError)
    assert not SENTINEL.exists()


def test_broken_archives_are_explained() -> None:
    whole = archive(parts())
    assert "failed finding central directory" in refused(whole[:-30])
    assert "failed finding central directory" in refused(b"PK\x03\x04" + bytes(60))
    assert "no data.pkl" in refused(archive({"a/b": b""}))
    assert "TorchScript" in refused(archive({**parts(), "archive/constants.pkl": b""}))
    assert "'data/0' is missing" in refused(
        archive({k: v for k, v in parts().items() if k != "archive/data/0"})
    )
    assert "should have 24 bytes and has 23" in refused(
        archive({**parts(), "archive/data/0": bytes(23)})
    )
    assert "byte order" in refused(archive({**parts(), "archive/byteorder": b"middle"}))
    assert "larger than the file" in refused(
        archive({**parts(), "archive/data/9": bytes(10**7)}, zipfile.ZIP_DEFLATED)
    ), "a zip bomb"
    assert "compressed" in refused(
        archive({"archive/data.pkl": b"}.", "x": os.urandom(4000)}, zipfile.ZIP_DEFLATED)
    )
    damaged = bytearray(whole)
    damaged[whole.index(b"archive/data/0") + 20] ^= 1
    assert "'data/0' is damaged" in refused(bytes(damaged))
    twice = io.BytesIO()
    with zipfile.ZipFile(twice, "w") as out, pytest.warns(UserWarning, match="Duplicate"):
        for _ in range(2):
            out.writestr("archive/data.pkl", b"}.")
    assert "two entries" in refused(twice.getvalue())


def test_archives_without_checksums_are_read() -> None:
    """PyTorch's set_crc32_options(False) leaves them 0."""
    content = bytearray(archive(parts()))
    at = -1
    while (at := content.find(b"PK\x01\x02", at + 1)) >= 0:
        content[at + 16 : at + 20] = bytes(4)
    assert torch.load(io.BytesIO(content))["a"].tolist() == list(range(6))


def test_names_that_climb_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = archive({**parts(), "../../evil": b"x", "/etc/evil": b"x"})
    assert torch.load(io.BytesIO(content))["a"].numel() == 6
    assert not os.listdir(tmp_path)


TENSOR = (
    b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage"
    b"ctorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQ"
)


@pytest.mark.parametrize(
    "rest",
    [
        b"K\x01K\x06\x85K\x01\x85\x89NtR.",  # offset 1 of 6 elements
        b"K\x00K\x07\x85K\x01\x85\x89NtR.",  # seven of six
        b"K\x00K\x02\x85J\xff\xff\xff\xff\x85\x89NtR.",  # a negative stride
        b"J\xff\xff\xff\xffK\x02\x85K\x01\x85\x89NtR.",  # a negative offset
        b"K\x00K\x02K\x02\x86K\x01\x85\x89NtR.",  # more sizes than strides
        b"K\x00\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x85K\x00\x85\x89NtR.",
        b"K\x00NN\x89NtR.",
        b"K\x00K\x02\x85K\x01\x85",  # no end
    ],
)
def test_tensors_stay_within_their_storage(rest: bytes) -> None:
    refused(with_pickle(TENSOR + rest), pickle.UnpicklingError)


def test_pickles_that_would_exhaust_something() -> None:
    deep = b"(" * 200_000 + b"t" * 200_000
    refused(with_pickle(b"}" + deep + b"K\x01s."), pickle.UnpicklingError)  # hashing would recurse
    wide = b"(" + b"K\x01" * 900 + b"tq\x00" + (b"0(" + b"h\x00" * 900 + b"tq\x00") * 6
    refused(with_pickle(b"}" + wide + b"K\x01s."), pickle.UnpicklingError)  # or take for ever
    refused(with_pickle(b"X\xff\xff\xff\xffabc."), pickle.UnpicklingError)
    refused(with_pickle(b"c__builtin__\nbytearray\n\x8a\x05\x00\x00\x00\x00\x40\x85R."),
            pickle.UnpicklingError)  # fmt: skip
    assert loaded({"x": 1}) == {"x": 1}
    assert torch.load(io.BytesIO(with_pickle(b"Nr\xff\xff\xff\xff."))) is None  # a far memo entry


@pytest.mark.parametrize("name", ["nested", "legacy", "training"])
def test_no_mutation_does_harm(name: str, seed: int) -> None:
    """Thousands of damaged files: an error, or a value; never anything else."""
    rng = random.Random(seed)
    whole = (FILES / f"{name}.pt").read_bytes()
    for _ in range(800):
        content = bytearray(whole)
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.randrange(len(content))
            content[at : at + rng.choice((0, 1, 1, 4))] = rng.randbytes(rng.choice((0, 1, 1, 4)))
        if rng.random() < 0.1:
            del content[rng.randrange(len(content)) :]
        with contextlib.suppress(RuntimeError, pickle.UnpicklingError):
            torch.load(io.BytesIO(content))
    assert not SENTINEL.exists()


def test_no_mutation_of_the_pickle_does_harm(seed: int) -> None:
    """The same within a sound archive, where no checksum stands before the pickle."""
    rng = random.Random(seed)
    with zipfile.ZipFile(FILES / "nested.pt") as file:
        inside = {n: file.read(n) for n in file.namelist()}
    whole = inside["nested/data.pkl"]
    for _ in range(1000):
        content = bytearray(whole)
        for _ in range(rng.choice((1, 1, 2))):
            at = rng.randrange(len(content))
            content[at : at + rng.choice((0, 1, 1, 2))] = rng.randbytes(rng.choice((0, 1, 1, 2)))
        inside["nested/data.pkl"] = bytes(content)
        with contextlib.suppress(RuntimeError, pickle.UnpicklingError):
            torch.load(io.BytesIO(archive(inside)))


def test_a_state_dict_keeps_its_metadata() -> None:
    state = nn.Sequential(nn.Linear(1, 1)).state_dict()
    read = loaded(state)
    assert type(read) is OrderedDict and read._metadata == state._metadata


@pytest.mark.parametrize("name", ["trusted", "trusted4"])
def test_what_scripts_keep_beside_their_weights(name: str) -> None:
    read, wanted = torch.load(FILES / f"{name}.pt", weights_only=False), trusted(torch)
    assert list(read) == list(wanted)
    for key, value in wanted.items():
        got = read[key]
        if isinstance(value, torch.Tensor):
            assert got.dtype is value.dtype and got.tolist() == value.tolist(), key
        elif isinstance(value, np.ndarray):
            assert got.dtype == value.dtype.newbyteorder("="), key
            assert (got == value).all() and got.strides == value.strides, key
        else:
            assert type(got) is type(value) and got == value, key
    assert read["scores"]["new"] == []
    with pytest.raises(pickle.UnpicklingError, match=r"argparse\.Namespace was not"):
        torch.load(FILES / f"{name}.pt")


@pytest.mark.parametrize(
    "state",
    [
        np.array([print], dtype=object),
        np.zeros(2, dtype=[("a", "f4")]),
        defaultdict(print),
    ],
)
def test_what_is_not_plain_is_refused_even_then(state: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"x": state}, path)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=False)


def test_conjugates_that_pytorch_left_to_the_reader() -> None:
    """Its files hold the numbers before conj() and a mark that says so."""
    read = torch.load(FILES / "trusted.pt", weights_only=False)
    assert read["conjugate"].tolist() == [1 - 2j, 3 + 4j]
    assert read["negated"].tolist() == [-2.0, 4.0]
