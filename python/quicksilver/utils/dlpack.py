"""Tensors handed to and taken from other libraries without a copy."""

from __future__ import annotations

from typing import Any

from quicksilver import _C, Tensor, from_dlpack

__all__ = ["from_dlpack", "to_dlpack"]


def to_dlpack(tensor: Tensor) -> Any:
    """A DLPack capsule (unversioned) over the memory of `tensor`, for one consumer.

    Raises BufferError for a tensor that requires a gradient or is read-only.
    """
    return _C._to_dlpack(tensor)
