"""torch.accelerator: the device to use when there is one, which is mps."""

from __future__ import annotations

from typing import Any

from quicksilver import _C, mps
from quicksilver.mps import empty_cache, reset_peak_memory_stats

__all__ = [
    "current_accelerator",
    "current_device_idx",
    "current_device_index",
    "device_count",
    "device_index",
    "empty_cache",
    "is_available",
    "max_memory_allocated",
    "memory_allocated",
    "memory_stats",
    "reset_peak_memory_stats",
    "set_device_idx",
    "set_device_index",
    "synchronize",
]


def synchronize(device: Any = None) -> None:
    """Runs everything recorded, waits for it, and raises errors that data caused."""
    mps.synchronize()


def memory_allocated(device: Any = None) -> int:
    """Bytes in live tensors. What is recorded runs first."""
    return mps.current_allocated_memory()


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that live tensors had since the start or reset_peak_memory_stats."""
    return mps.max_allocated_memory()


def memory_stats(device: Any = None) -> dict[str, int]:
    """torch.mps.memory_stats()."""
    return mps.memory_stats()


def is_available() -> bool:
    """Whether a driver can open mps here, now."""
    return mps.is_available()


def device_count() -> int:
    """1 when mps is available, else 0."""
    return mps.device_count()


def current_accelerator(check_available: bool = False) -> Any:
    """device("mps"), or None when the library was built without it (or it is not available)."""
    from quicksilver.backends.mps import is_built

    if not is_built() or (check_available and not mps.is_available()):
        return None
    return _C.device("mps")


def current_device_index() -> int:
    """0, the only index."""
    return 0


def set_device_index(device: Any) -> None:
    """Accepts device 0; raises MPSDeviceError for another."""
    index = device if isinstance(device, int) else _C.device(device).index
    if index not in (0, None):
        raise mps.MPSDeviceError(f"there is one mps device, index 0 (got {index})")


current_device_idx = current_device_index
set_device_idx = set_device_index


class device_index:
    """A context in which device 0 is current, as it always is."""

    def __init__(self, device: int | None) -> None:
        if device is not None:
            set_device_index(device)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *args: object) -> None:
        pass
