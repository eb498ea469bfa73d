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
