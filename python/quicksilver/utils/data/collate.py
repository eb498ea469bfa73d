"""Making a batch of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quicksilver import _C

Tensor = _C.Tensor


def default_collate(batch: list[Any]) -> Any:
    """Stacks the samples of a batch: tensors, arrays and numbers become tensors with a batch
    dimension in front; dicts, tuples and lists are gone through; strings stay a list.

    Raises:
        TypeError: a sample is of another type.
        RuntimeError: sequences of the batch differ in length.
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return _C.stack(list(batch), 0)
    kind = type(first)
    if kind.__module__ == "numpy":
        return _collate_numpy(batch, first)
    if isinstance(first, float):
        return _C.tensor(batch, dtype=_C.float64)
    if isinstance(first, int):
        return _C.tensor(batch)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        collated = {key: default_collate([sample[key] for sample in batch]) for key in first}
        return _as_type(kind, collated)
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return kind(*(default_collate(list(part)) for part in zip(*batch, strict=True)))
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        parts = [default_collate(list(part)) for part in zip(*batch, strict=True)]
        return parts if isinstance(first, tuple) else _as_type(kind, parts)
    raise TypeError(
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists;"
        f" found {kind}"
    )


def _collate_numpy(batch: list[Any], first: Any) -> Any:
    import numpy as np

    if isinstance(first, np.ndarray):
        if first.dtype.kind in "SUO":
            raise TypeError(
                "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or"
                f" lists; found {first.dtype}"
            )
        return _C.stack([_C.as_tensor(sample) for sample in batch], 0)
    return _C.as_tensor(np.array(batch))


def _as_type(kind: type, value: Any) -> Any:
    """The value as the sample's own type, where that can be made of it."""
    try:
        return kind(value)
    except TypeError:
        return value


def default_convert(data: Any) -> Any:
    """Arrays to tensors, in any nesting; the rest stays. Used when there are no batches."""
    if isinstance(data, Tensor):
        return data
    if type(data).__module__ == "numpy":
        import numpy as np

        if isinstance(data, np.ndarray) and data.dtype.kind in "SUO":
            return data
        return _C.as_tensor(data)
    if isinstance(data, (str, bytes)):
        return data
    if isinstance(data, Mapping):
        converted = {key: default_convert(value) for key, value in data.items()}
        return _as_type(type(data), converted)
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(default_convert(value) for value in data))
    if isinstance(data, (tuple, list)):
        # A tuple becomes a list, as in PyTorch.
        parts = [default_convert(value) for value in data]
        return parts if isinstance(data, tuple) else _as_type(type(data), parts)
    return data
