"""DLPack both ways: protocol, lifetime, and what a pinned storage promises."""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
import textwrap
import weakref
from typing import Any

import numpy as np
import pytest

import quicksilver as torch

DEVICES = ["cpu", "mps"]
HOST = (1, 0)


class DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Managed(ctypes.Structure):
    _fields_ = [("tensor", DLTensor), ("context", ctypes.c_void_p), ("deleter", DELETER)]


class ManagedVersioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", DELETER),
        ("flags", ctypes.c_uint64),
        ("tensor", DLTensor),
    ]


def capsule_pointer(capsule: Any, name: bytes) -> int:
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return get(capsule, name)


def capsule_name(capsule: Any) -> bytes:
    get = ctypes.pythonapi.PyCapsule_GetName
    get.restype, get.argtypes = ctypes.c_char_p, [ctypes.py_object]
    return get(capsule)


def rename(capsule: Any, name: bytes) -> None:
    put = ctypes.pythonapi.PyCapsule_SetName
    put.restype, put.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]
    put(capsule, name)


class Consumer:
    """Takes a capsule over as another library does, through the C structs alone."""

    def __init__(self, capsule: Any) -> None:
        name = capsule_name(capsule)
        self.versioned = name == b"dltensor_versioned"
        kind = ManagedVersioned if self.versioned else Managed
        self.managed = kind.from_address(capsule_pointer(capsule, name))
        self.used = b"used_" + name  # kept: the capsule keeps the pointer
        rename(capsule, self.used)
        self.tensor = self.managed.tensor

    def floats(self, count: int) -> list[float]:
        address = self.tensor.data + self.tensor.byte_offset
        return list((ctypes.c_float * count).from_address(address))

    def write(self, index: int, value: float) -> None:
        (ctypes.c_float * (index + 1)).from_address(self.tensor.data)[index] = value

    def release(self) -> None:
        self.managed.deleter(ctypes.addressof(self.managed))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("version", [None, (0, 8), (1, 0), (1, 9), (2, 0)])
def test_what_a_capsule_says(device: str, version: tuple[int, int] | None) -> None:
    x = torch.arange(12, device=device, dtype=torch.float32).reshape(3, 4)[1:].t()
    assert x.__dlpack_device__() == HOST
    c = Consumer(x.__dlpack__(max_version=version))
    assert c.versioned == (version is not None and version[0] >= 1)
    if c.versioned:
        assert (c.managed.major, c.managed.flags) == (1, 0)
    d = c.tensor
    assert (d.device_type, d.device_id, d.ndim, d.code, d.bits, d.lanes) == (1, 0, 2, 2, 32, 1)
    assert list(d.shape[:2]) == [4, 2] and list(d.strides[:2]) == [1, 4]
    assert d.data + d.byte_offset == x.data_ptr()
    assert c.floats(8) == [4, 5, 6, 7, 8, 9, 10, 11]
    c.write(0, 40)
    assert x[0, 0].item() == 40
    c.release()


DTYPES = {
    torch.bool: (6, 8), torch.uint8: (1, 8), torch.int8: (0, 8), torch.int16: (0, 16),
    torch.int32: (0, 32), torch.int64: (0, 64), torch.uint16: (1, 16), torch.uint32: (1, 32),
    torch.uint64: (1, 64), torch.float16: (2, 16), torch.bfloat16: (4, 16),
    torch.float32: (2, 32), torch.float64: (2, 64), torch.complex64: (5, 64),
    torch.complex128: (5, 128),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_each_dtype_both_ways(dtype: torch.dtype) -> None:
    x = torch.tensor([0, 1, 1, 0]).to(dtype)
    for versioned in (None, (1, 0)):
        c = Consumer(x.__dlpack__(max_version=versioned))
        assert (c.tensor.code, c.tensor.bits) == DTYPES[dtype]
        c.release()
        y = torch.from_dlpack(x.__dlpack__(max_version=versioned))
        assert y.dtype == dtype and y.data_ptr() == x.data_ptr()
        assert torch.equal(x, y)


@pytest.mark.parametrize("device", DEVICES)
def test_numpy_both_ways(device: str) -> None:
    x = torch.zeros(2, 3, device=device)
    view = np.from_dlpack(x)
    view[1, 2] = 7
    assert x.tolist() == [[0, 0, 0], [0, 0, 7]]
    x.add_(1)
    assert view.tolist() == [[1, 1, 1], [1, 1, 8]]
    a = np.arange(6.0).reshape(2, 3)
    t = torch.from_dlpack(a[:, 1:])
    assert t.device.type == "cpu" and t.stride() == (3, 1)
    t.mul_(2)
    a[0, 1] = 50
    assert t.tolist() == [[50, 4], [8, 10]] and a.tolist() == [[0, 50, 4], [3, 8, 10]]


def test_a_capsule_is_taken_once_and_lives_long_enough() -> None:
    before = torch._C._live_blocks("cpu")
    x = torch.ones(1000)
    capsule = x.__dlpack__()
    y = torch.from_dlpack(capsule)
    with pytest.raises(RuntimeError, match="consumed only once"):
        torch.from_dlpack(capsule)
    del x, capsule
    assert y.sum().item() == 1000
    unused = torch.ones(1000).__dlpack__(max_version=(1, 0))
    assert torch._C._live_blocks("cpu") > before
    del y, unused
    gc.collect()
    torch.ones(1).item()  # objects of other libraries are dropped at the next safe point
    assert torch._C._live_blocks("cpu") <= before + 1


def test_the_owner_lives_as_long_as_its_memory_is_used() -> None:
    class Array(np.ndarray):
        pass

    a = np.arange(4.0).view(Array)
    gone = weakref.ref(a)
    t = torch.from_dlpack(a)
    part = t[2:]
    del a, t
    gc.collect()
    assert gone() is not None and part.tolist() == [2, 3]
    del part
    gc.collect()
    torch.ones(1).item()
    assert gone() is None


def test_arguments_of_the_export() -> None:
    x = torch.ones(3, device="mps")
    assert Consumer(x.__dlpack__(stream=None, dl_device=HOST, copy=False)).floats(3) == [1] * 3
    assert Consumer(x.__dlpack__(stream=-1)).floats(3) == [1] * 3
    c = Consumer(x.__dlpack__(max_version=(1, 0), copy=True))
    assert c.managed.flags == 2 and c.tensor.data != x.data_ptr()
    c.write(0, 9)
    assert x.tolist() == [1, 1, 1]
    c.release()
    with pytest.raises(BufferError, match="require gradient"):
        torch.ones(2, requires_grad=True).__dlpack__()
    with pytest.raises(BufferError, match="host memory"):
        x.__dlpack__(dl_device=(2, 0))
    with pytest.raises(AssertionError):
        x.__dlpack__(stream=3)
    for bad in ({"stream": "x"}, {"max_version": 1}, {"max_version": (1,)}, {"dl_device": 1}):
        with pytest.raises(TypeError):
            x.__dlpack__(**bad)
    with pytest.raises(TypeError):
        x.__dlpack__(None)
    empty = Consumer(torch.ones(0, 3).__dlpack__())
    assert empty.tensor.data is None and list(empty.tensor.shape[:2]) == [0, 3]
    assert torch.from_dlpack(np.ones((0, 3))).shape == (0, 3)
    assert torch.from_dlpack(np.array(3.0)).item() == 3


def test_arguments_of_the_import() -> None:
    a = np.arange(4, dtype=np.float32)
    shared = torch.from_dlpack(a, device="cpu", copy=False)
    copied = torch.from_dlpack(a, copy=True)
    moved = torch.from_dlpack(a, device="mps")
    moved_too = torch.from_dlpack(a, device="mps", copy=True)
    a[0] = 5
    assert shared.tolist() == [5, 1, 2, 3]
    for t in (copied, moved, moved_too):
        assert t.tolist() == [0, 1, 2, 3]
    assert moved.is_mps and moved_too.is_mps and not shared.is_mps
    x = torch.arange(3, device="mps")
    own = torch.from_dlpack(x)
    assert own.is_mps and own.data_ptr() == x.data_ptr()
    assert torch.from_dlpack(x, copy=True).data_ptr() != x.data_ptr()
    assert not torch.from_dlpack(x, device="cpu").is_mps
    with pytest.raises(ValueError, match="without a copy"):
        torch.from_dlpack(x, device="cpu", copy=False)
    with pytest.raises(ValueError, match="negative strides"):
        torch.from_dlpack(a[::-1])
    with pytest.raises((TypeError, AttributeError)):
        torch.from_dlpack([1, 2])
    raw = np.zeros(9, np.uint8)[1:].view(np.float32)
    with pytest.raises(BufferError, match="aligned"):
        torch.from_dlpack(raw)

    class Old:  # knows no arguments
        def __dlpack__(self) -> Any:
            return a.__dlpack__()

        def __dlpack_device__(self) -> tuple[int, int]:
            return HOST

    assert torch.from_dlpack(Old()).data_ptr() == a.ctypes.data
    assert torch.from_dlpack(Old(), copy=True).data_ptr() != a.ctypes.data

    class Elsewhere(Old):
        def __dlpack__(self, **wanted: Any) -> Any:
            assert wanted["dl_device"] == HOST
            return a.copy().__dlpack__()

        def __dlpack_device__(self) -> tuple[int, int]:
            return (2, 0)

    assert torch.from_dlpack(Elsewhere(), device="cpu").tolist() == [5, 1, 2, 3]
    with pytest.raises(BufferError, match="device="):
        torch.from_dlpack(Elsewhere())


def test_memory_of_mps_can_be_that_of_numpy() -> None:
    a = np.arange(4, dtype=np.float32)
    t = torch.from_dlpack(a, device="mps", copy=False)
    assert t.is_mps and t.data_ptr() == a.ctypes.data
    t.mul_(2)
    assert a.tolist() == [0, 2, 4, 6]  # nothing had to be asked for
    a[1] = 9
    assert (t + 1).tolist() == [1, 10, 5, 7]
    with pytest.raises((IndexError, RuntimeError)):
        t.index_add_(0, torch.tensor([4], device="mps"), torch.ones(1, device="mps"))
        t.sum().item()
    assert a.tolist() == [0, 9, 4, 6]


def test_read_only_memory_is_not_written() -> None:
    a = np.arange(4, dtype=np.float32)
    a.flags.writeable = False
    for t in (torch.from_dlpack(a), torch.from_dlpack(a, device="mps", copy=False)):
        for write in (
            lambda t=t: t.add_(1),
            lambda t=t: t[1:].zero_(),
            lambda t=t: torch.add(t, 1, out=t),
            lambda t=t: t.__setitem__(0, 3.0),
        ):
            with pytest.raises(RuntimeError, match="read-only"):
                write()
        assert (t + 1).tolist() == [1, 2, 3, 4]
        c = Consumer(t.__dlpack__(max_version=(1, 0)))
        assert c.managed.flags == 1
        c.release()
        with pytest.raises(BufferError, match="read-only"):
            t.__dlpack__()
        assert np.from_dlpack(t).flags.writeable is False
        copy = t.clone()
        copy.add_(1)
        assert copy.tolist() == [1, 2, 3, 4]
    assert torch.from_dlpack(a).numpy().flags.writeable is False
    assert torch.from_dlpack(a, copy=True).add_(1).tolist() == [1, 2, 3, 4]
    assert a.tolist() == [0, 1, 2, 3]


def peek(address: int, count: int) -> list[float]:
    return list((ctypes.c_float * count).from_address(address))


def test_a_known_address_shows_every_write() -> None:
    x = torch.zeros(6, device="mps")
    at = x.data_ptr()
    x += 1
    assert peek(at, 6) == [1] * 6
    x[2:4].mul_(5)  # a view
    assert peek(at, 6) == [1, 1, 5, 5, 1, 1]
    x.view(2, 3).t()[0].zero_()
    assert peek(at, 6) == [0, 1, 5, 0, 1, 1]
    torch.add(torch.ones(6, device="mps"), 1, out=x)
    assert peek(at, 6) == [2] * 6
    x.fill_(3)
    assert peek(at, 6) == [3] * 6
    x.copy_(torch.arange(6))
    assert peek(at, 6) == [0, 1, 2, 3, 4, 5]
    x[torch.tensor([0, 5], device="mps")] = -1.0
    assert peek(at, 6) == [-1, 1, 2, 3, 4, -1]
    x.random_(0, 2)
    assert peek(at, 6) == x.tolist()
    x.data.zero_()
    assert peek(at, 6) == [0] * 6
    assert x.data_ptr() == at


def test_pending_work_is_there_when_the_address_is() -> None:
    x = torch.ones(4, device="mps")
    y = x * 2
    x.add_(1)
    z = y + x
    assert peek(y.data_ptr(), 4) == [2] * 4
    assert peek(x.data_ptr(), 4) == [2] * 4
    assert np.from_dlpack(z).tolist() == [4] * 4


@pytest.mark.parametrize("name", ["SGD", "AdamW", "Adagrad", "RMSprop"])
def test_steps_of_an_optimizer_are_seen_at_the_address(name: str) -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(5, 3).to("mps")
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.1)
    outside = [np.from_dlpack(p.detach()) for p in model.parameters()]
    addresses = [p.data_ptr() for p in model.parameters()]
    x = torch.randn(4, 5, device="mps")
    for _ in range(3):
        before = [a.copy() for a in outside]
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()
        for old, new, p in zip(before, outside, model.parameters(), strict=True):
            assert (old != new).all()
            np.testing.assert_array_equal(new, p.detach().cpu().numpy())
    assert addresses == [p.data_ptr() for p in model.parameters()]


def test_gradients_and_saved_tensors_of_pinned_storages() -> None:
    x = torch.ones(3, device="mps", requires_grad=True)
    x.data_ptr()
    y = (x * x).sum()
    y.backward()
    assert x.grad.tolist() == [2, 2, 2]
    at = x.grad.data_ptr()
    (x * 3).sum().backward()
    assert peek(at, 3) == [5, 5, 5]


@pytest.mark.parametrize("driver", ["late:cpu", "record:cpu"])
def test_writes_are_seen_on_a_device_that_works_behind_our_back(driver: str) -> None:
    script = """
        import numpy as np
        import quicksilver as torch
        x = torch.zeros(1000, device="mps")
        a = np.from_dlpack(x)
        table = torch.ones(4, device="mps")
        for i in range(1, 50):
            x.add_(1)
            assert (a == i).all()
        x.zero_()
        x[:2].add_(table[x[:2].long()][:2])  # written before a check: through a copy
        assert a[:3].tolist() == [1, 1, 0]
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "QS_MPS_DRIVER": driver},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def test_the_driver_whose_memory_is_nobodys() -> None:
    script = """
        import quicksilver as torch
        x = torch.ones(2, device="mps")
        for export in (x.__dlpack__, x.__dlpack_device__):
            try:
                export()
            except BufferError as e:
                assert "null" in str(e), e
            else:
                raise AssertionError
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "QS_MPS_DRIVER": "null"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def test_capsules_that_lie() -> None:
    def forged(change: Any) -> Any:
        a = np.arange(4, dtype=np.float32)
        capsule = a.__dlpack__(max_version=(1, 0))
        managed = ManagedVersioned.from_address(capsule_pointer(capsule, b"dltensor_versioned"))
        change(managed)
        return capsule

    for change, error in (
        (lambda m: setattr(m, "major", 2), BufferError),
        (lambda m: setattr(m.tensor, "ndim", -1), BufferError),
        (lambda m: setattr(m.tensor, "data", None), BufferError),
        (lambda m: setattr(m.tensor, "bits", 7), RuntimeError),
        (lambda m: setattr(m.tensor, "lanes", 2), RuntimeError),
        (lambda m: m.tensor.shape.__setitem__(0, -1), BufferError),
        (lambda m: m.tensor.shape.__setitem__(0, 1 << 62), BufferError),
    ):
        with pytest.raises(error):
            torch.from_dlpack(forged(change))
    with pytest.raises(AttributeError):
        torch.from_dlpack(ctypes.py_object)


def test_the_module_of_pytorch() -> None:
    from quicksilver.utils import dlpack

    x = torch.ones(2)
    assert dlpack.from_dlpack(dlpack.to_dlpack(x)).data_ptr() == x.data_ptr()
