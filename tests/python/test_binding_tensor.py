"""The Tensor object: identity, attributes, data in and out, pickles, subclasses, small types."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import warnings
import weakref

import numpy as np
import pytest

import quicksilver as torch
from quicksilver import _C


def test_one_object_for_each_tensor() -> None:
    w = torch.ones(2, requires_grad=True)
    (w * 2).sum().backward()
    assert w.grad is w.grad
    x = torch.ones(2)
    assert x.add_(1) is x
    assert x.contiguous() is x
    assert x.to("cpu") is x
    assert hash(x) == hash(x) and {x: 1}[x] == 1


def test_attributes_and_cycles() -> None:
    x = torch.ones(2)
    x.note = "here"
    assert x.note == "here" and x.__dict__ == {"note": "here"}
    x.self = x
    seen = weakref.ref(x)
    del x
    gc.collect()
    assert seen() is None


def test_dead_objects_are_used_again_cleanly() -> None:
    for i in range(1000):
        x = torch.ones(1)
        assert x.__dict__ == {}
        if i % 3 == 0:
            x.note = i
    refs = [weakref.ref(torch.ones(1)) for _ in range(3)]
    assert [r() for r in refs] == [None] * 3


def test_facts() -> None:
    x = torch.zeros(2, 3)
    assert x.shape == (2, 3) and x.size() == x.shape and x.size(1) == 3 and x.ndim == x.dim() == 2
    assert repr(x.shape) == "torch.Size([2, 3])" and x.shape.numel() == 6
    assert type(x.shape[:1]) is type(x.shape + (1,)) is torch.Size
    assert x.stride() == (3, 1) and x.T.stride() == (1, 3) and not x.T.is_contiguous()
    assert x.dtype is torch.float32 and x.itemsize == 4 and x.nbytes == 24
    assert x.layout is torch.strided and x.is_leaf and x.grad is None and x.grad_fn is None
    assert x.numel() == x.nelement() == 6 and x.element_size() == 4 and x.storage_offset() == 0
    assert x.type() == "torch.FloatTensor" and x.long().type() == "torch.LongTensor"
    version = x._version
    x.add_(1)
    assert x._version == version + 1


def test_the_mps_flag() -> None:
    x = torch.zeros(1)
    assert not x.is_mps and not x.is_mps() and x.is_mps == False and str(x.is_mps) == "False"  # noqa: E712
    assert x.is_cpu and x.is_cpu() and repr(x.is_cpu) == "True"
    assert x.is_cuda is False


def test_dtypes() -> None:
    assert repr(torch.float32) == "torch.float32" and torch.float is torch.float32
    assert torch.long is torch.int64 and torch.half is torch.float16 and torch.short is torch.int16
    assert torch.bfloat16.itemsize == 2 and torch.complex64.is_complex
    assert torch.float64.is_floating_point and not torch.int8.is_floating_point
    assert torch.float32.to_complex() is torch.complex64
    assert pickle.loads(pickle.dumps(torch.float16)) is torch.float16
    assert torch.zeros(1, dtype=float).dtype is torch.float64
    assert torch.promote_types(torch.int32, torch.float16) is torch.float16
    assert str(torch.finfo(torch.float32)).startswith("finfo(resolution=1e-06, min=-3.40282e+38")
    assert torch.finfo(torch.float16).max == 65504 and torch.iinfo(torch.int8).min == -128
    assert torch.iinfo(torch.uint64).max == 2**64 - 1
    with pytest.raises(TypeError):
        torch.finfo(torch.int8)


def test_devices() -> None:
    d = torch.device("mps", 0)
    assert (
        repr(d) == "device(type='mps', index=0)"
        and str(d) == "mps:0"
        and d == torch.device("mps:0")
    )
    assert repr(torch.device("cpu")) == "device(type='cpu')" and torch.device("mps").index is None
    assert torch.device("mps") != d and hash(torch.device("cpu")) == hash(torch.device("cpu"))
    assert torch.device(d) == d and pickle.loads(pickle.dumps(d)) == d
    assert torch.device("mps") != "mps"
    with pytest.raises(torch.MPSDeviceError) as raised:
        torch.device("cuda:3")
    assert isinstance(raised.value, RuntimeError)
    with pytest.raises(torch.MPSDeviceError):
        torch.ones(2, device="tpu")
    with torch.device("cpu"):
        assert torch.ones(1).device == torch.device("cpu")


@pytest.mark.parametrize(
    ("data", "dtype", "values"),
    [
        ([1, 2], "int64", [1, 2]),
        ([1, 2.5, True], "float32", [1.0, 2.5, 1.0]),
        ([True, 2], "int64", [1, 2]),
        ([True, False], "bool", [True, False]),
        ([1j], "complex64", [1j]),
        (3, "int64", 3),
        (2.5, "float32", 2.5),
        ([], "float32", []),
        ([[], []], "float32", [[], []]),
        ([np.float64(1.5)], "float64", [1.5]),
        ([np.int32(1)], "int32", [1]),
        (np.array([1.5], dtype=np.float16), "float16", [1.5]),
        ((range(3)), "int64", [0, 1, 2]),
        ([np.ones(2), np.zeros(2)], "float64", [[1, 1], [0, 0]]),
        ([2**40], "int64", [2**40]),
    ],
)
def test_tensor_of_data(data: object, dtype: str, values: object) -> None:
    x = torch.tensor(data)
    assert x.dtype is getattr(torch, dtype)
    assert x.tolist() == values


def test_tensor_of_tensors() -> None:
    one = torch.tensor(1.5)
    assert torch.tensor([one, 2]).tolist() == [1.5, 2.0]
    row = torch.ones(2)
    with pytest.raises(ValueError, match="only one element tensors can be converted"):
        torch.tensor([row, row])
    again = torch.tensor(row)
    again.fill_(3)
    assert row.tolist() == [1, 1]


def test_tensor_refuses() -> None:
    for data, error, text in [
        ([[1, 2, 3], [1, 2]], ValueError, "expected sequence of length 3 at dim 1 (got 2)"),
        ([1, [2]], TypeError, "cannot be interpreted as an integer"),
        ([[1], 2], TypeError, "not a sequence"),
        ("a", TypeError, "new(): invalid data type 'str'"),
        (["a"], ValueError, "too many dimensions 'str'"),
        ([None], TypeError, ""),
        ([2**70], OverflowError, ""),
    ]:
        with pytest.raises(error) as raised:
            torch.tensor(data)
        assert text in str(raised.value)
    with pytest.raises(RuntimeError, match="without overflow"):
        torch.tensor([300], dtype=torch.uint8)


def test_numpy_shares_memory() -> None:
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    x = torch.from_numpy(a)
    a[0, 0] = 9
    assert x[0, 0].item() == 9
    x[1, 1] = -1
    assert a[1, 1] == -1
    view = torch.from_numpy(a[:, ::2])
    assert view.stride() == (3, 2) and view.tolist() == a[:, ::2].tolist()
    b = x.numpy()
    b[0, 1] = 77
    assert x[0, 1].item() == 77
    assert x.T.numpy().strides == (4, 12)
    np.testing.assert_array_equal(np.array(x), a)
    np.testing.assert_array_equal(np.asarray(x, dtype=np.float64), a.astype(np.float64))
    assert torch.zeros(0, 3).numpy().shape == (0, 3)
    assert torch.tensor(2.0).numpy().shape == ()


def test_memory_lives_as_long_as_somebody_uses_it() -> None:
    a = np.ones(1000)
    count = sys.getrefcount(a)
    x = torch.from_numpy(a)
    seen = weakref.ref(a)
    del a
    assert seen() is not None and x.sum().item() == 1000
    del x
    assert seen() is None
    b = torch.ones(1000).numpy()
    gc.collect()
    assert b.sum() == 1000
    assert count > 0


EXCHANGED = (
    *("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)


@pytest.mark.parametrize("name", EXCHANGED)
def test_every_dtype_round_trips(name: str) -> None:
    a = np.array([0, 1, 1, 0, 1]).astype(name)
    x = torch.from_numpy(a)
    assert x.dtype is getattr(torch, name)
    assert x.numpy().dtype == a.dtype
    np.testing.assert_array_equal(x.numpy(), a)
    assert x.tolist() == a.tolist()
    assert torch.tensor(a.tolist(), dtype=x.dtype).tolist() == a.tolist()
    assert pickle.loads(pickle.dumps(x)).tolist() == a.tolist()


def test_from_numpy_refuses() -> None:
    for make, error, text in [
        (
            lambda: torch.from_numpy(np.arange(3)[::-1]),
            ValueError,
            "At least one stride in the given",
        ),
        (
            lambda: torch.from_numpy(np.array(["a"])),
            TypeError,
            "can't convert np.ndarray of type numpy.str_",
        ),
        (
            lambda: torch.from_numpy(np.array([None])),
            TypeError,
            "can't convert np.ndarray of type numpy.object_",
        ),
        (lambda: torch.from_numpy(3), TypeError, "expected np.ndarray (got int)"),
        (lambda: torch.from_numpy(np.arange(3, dtype=">i4")), ValueError, "byte order"),
        (
            lambda: torch.ones(1, requires_grad=True).numpy(),
            RuntimeError,
            "Can't call numpy() on Tensor that",
        ),
        (
            lambda: torch.ones(1, dtype=torch.bfloat16).numpy(),
            TypeError,
            "Got unsupported ScalarType BFloat16",
        ),
    ]:
        with pytest.raises(error) as raised:
            make()
        assert text in str(raised.value)
    fixed = np.arange(3)
    fixed.flags.writeable = False
    with pytest.warns(UserWarning, match="not writable"):
        torch.from_numpy(fixed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.tensor(fixed)


def test_buffers() -> None:
    raw = bytearray(np.arange(4, dtype=np.int32).tobytes())
    x = torch.frombuffer(raw, dtype=torch.int32)
    assert x.tolist() == [0, 1, 2, 3]
    x[0] = 5
    assert raw[0] == 5
    assert torch.frombuffer(raw, dtype=torch.int32, count=2, offset=4).tolist() == [1, 2]
    with pytest.raises(ValueError):
        torch.frombuffer(raw, dtype=torch.int32, offset=3)
    data = _C._to_bytes(torch.tensor([1.5], dtype=torch.bfloat16))
    assert _C._from_bytes(data, torch.bfloat16, (1,)).tolist() == [1.5]


def test_dlpack() -> None:
    a = np.arange(6.0).reshape(2, 3)
    x = torch.from_dlpack(a)
    a[0, 0] = 4
    assert x[0, 0].item() == 4
    b = np.from_dlpack(torch.arange(3.0))
    assert b.tolist() == [0, 1, 2]
    t = torch.arange(4)
    assert torch.from_dlpack(t[1:3]).tolist() == [1, 2]


def test_copies_and_pickles() -> None:
    w = torch.ones(2, requires_grad=True)
    w.note = "kept"
    c = copy.deepcopy(w)
    assert c is not w and c.requires_grad and c.note == "kept" and c.tolist() == [1, 1]
    p = pickle.loads(pickle.dumps(w))
    assert p.requires_grad and p.note == "kept" and p.tolist() == [1, 1]
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(w * 2)
    pair = [w, w]
    first, second = copy.deepcopy(pair)
    assert first is second


def test_formats() -> None:
    x = torch.tensor(2.5)
    assert f"{x:.2f}" == "2.50" and float(x) == 2.5 and int(x) == 2
    assert f"{torch.tensor([1, 2])}" == str(torch.tensor([1, 2]))
    assert range(5)[torch.tensor(3)] == 3


def test_subclasses() -> None:
    class Mine(torch.Tensor):
        def twice(self) -> object:
            return self * 2

    m = torch.ones(2).as_subclass(Mine)
    assert isinstance(m, Mine) and m.twice().tolist() == [2, 2]
    p = torch.nn.Parameter(torch.ones(2))
    (p * 3).sum().backward()
    assert (
        isinstance(p, torch.nn.Parameter)
        and p.requires_grad
        and p.is_leaf
        and p.grad.tolist() == [3, 3]
    )
    assert type(torch.Tensor(2, 3)) is torch.Tensor and torch.Tensor([1, 2]).tolist() == [1, 2]
    assert torch.Tensor(2, 3).shape == (2, 3) and torch.Tensor().shape == (0,)
    assert issubclass(torch.nn.Parameter, torch.Tensor)
    assert not isinstance(p.detach(), torch.nn.Parameter)


def test_in_place_views_are_refused_deletion_and_data_swaps() -> None:
    w = torch.ones(2, requires_grad=True)
    w.data.add_(1)
    assert w.tolist() == [2, 2] and w.requires_grad
    w.data = torch.zeros(3)
    assert w.shape == (3,)
    w.grad = torch.ones(3)
    assert w.grad.tolist() == [1, 1, 1]
    w.grad = None
    assert w.grad is None
    with pytest.raises(RuntimeError, match="size"):
        w.grad = torch.ones(4)
    with pytest.raises(TypeError):
        w.grad = 3
