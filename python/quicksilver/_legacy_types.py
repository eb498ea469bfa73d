"""torch.FloatTensor and its kin: old names for tensors of one dtype on the cpu."""

from __future__ import annotations

from typing import Any

from quicksilver import _C


class _LegacyType(type):
    """Calls make tensors; isinstance looks at dtype and device."""

    dtype: Any

    def __instancecheck__(cls, value: Any) -> bool:
        return (
            isinstance(value, _C.Tensor) and value.dtype is cls.dtype and value.device.type == "cpu"
        )

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return _C._legacy_tensor(cls.dtype, args, **kwargs)

    def __repr__(cls) -> str:
        return f"<class 'torch.{cls.__name__}'>"

    def __str__(cls) -> str:
        return f"torch.{cls.__name__}"  # what Tensor.type() takes


def _make(name: str, dtype: Any) -> Any:
    doc = f"{name}(*sizes), {name}(data): a cpu tensor of {dtype}; sizes give undefined content."
    return _LegacyType(name, (), {"dtype": dtype, "__doc__": doc, "__module__": "quicksilver"})


FloatTensor = _make("FloatTensor", _C.float32)
DoubleTensor = _make("DoubleTensor", _C.float64)
HalfTensor = _make("HalfTensor", _C.float16)
BFloat16Tensor = _make("BFloat16Tensor", _C.bfloat16)
ByteTensor = _make("ByteTensor", _C.uint8)
CharTensor = _make("CharTensor", _C.int8)
ShortTensor = _make("ShortTensor", _C.int16)
IntTensor = _make("IntTensor", _C.int32)
LongTensor = _make("LongTensor", _C.int64)
BoolTensor = _make("BoolTensor", _C.bool)


def cuda_type(name: str) -> Any:
    """torch.cuda.FloatTensor and its kin: no tensor is one, and none can be made."""
    if not isinstance(globals().get(name), _LegacyType):
        raise AttributeError(f"module 'quicksilver.cuda' has no attribute {name!r}")

    class Absent(_LegacyType):
        def __instancecheck__(cls, value: Any) -> bool:
            return False

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            from quicksilver.mps import MPSDeviceError

            raise MPSDeviceError(
                f"torch.cuda.{name}: there is no cuda device; NVIDIA GPUs are reached through the"
                " device 'mps'"
            )

        def __str__(cls) -> str:
            return f"torch.cuda.{name}"

    doc = f"A type that no tensor has: there is no CUDA device to hold a {name}."
    return Absent(name, (), {"__doc__": doc, "__module__": "quicksilver.cuda"})
