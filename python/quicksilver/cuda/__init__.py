"""torch.cuda for scripts that ask: it is never available; what would do nothing does nothing.

NVIDIA GPUs are reached through the mps device.
"""

from __future__ import annotations

import importlib
from typing import Any

from quicksilver._C import OutOfMemoryError as OutOfMemoryError


def is_available() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0"""
    return 0


def is_initialized() -> bool:
    """False."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """False."""
    return False


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Does nothing: there is no CUDA device."""


init = manual_seed = manual_seed_all = seed = seed_all = _nothing
empty_cache = ipc_collect = reset_peak_memory_stats = reset_max_memory_allocated = _nothing


def _zero(*args: Any, **kwargs: Any) -> int:
    """0: there is no CUDA device."""
    return 0


memory_allocated = max_memory_allocated = memory_reserved = max_memory_reserved = _zero
memory_cached = max_memory_cached = _zero


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """An empty table: there is no CUDA device."""
    return ""


def memory_stats(device: Any = None) -> dict[str, Any]:
    """Empty: there is no CUDA device."""
    return {}


def _absent(name: str) -> Any:
    def function(*args: Any, **kwargs: Any) -> Any:
        from quicksilver.mps import MPSDeviceError

        raise MPSDeviceError(
            f"torch.cuda.{name}: there is no cuda device; NVIDIA GPUs are reached through the"
            " device 'mps'"
        )

    function.__name__ = name
    function.__doc__ = "Raises MPSDeviceError: there is no CUDA device."
    return function


synchronize = _absent("synchronize")
set_device = _absent("set_device")
current_device = _absent("current_device")
get_device_name = _absent("get_device_name")
get_device_properties = _absent("get_device_properties")
get_device_capability = _absent("get_device_capability")
get_rng_state = _absent("get_rng_state")
set_rng_state = _absent("set_rng_state")
mem_get_info = _absent("mem_get_info")
current_stream = _absent("current_stream")
default_stream = _absent("default_stream")
set_stream = _absent("set_stream")
Stream = _absent("Stream")
Event = _absent("Event")
CUDAGraph = _absent("CUDAGraph")


class stream:
    """A context; without a stream (None) it does nothing, and there is no other."""

    def __init__(self, stream: Any) -> None:
        if stream is not None:
            _absent("stream")()

    def __enter__(self) -> None:
        """Nothing changes."""

    def __exit__(self, *args: object) -> None:
        """Nothing changed."""


class device:
    """A context; -1 and None choose no device, and there is no other."""

    def __init__(self, device: Any) -> None:
        if device is not None and device != -1:
            _absent("device")()

    def __enter__(self) -> None:
        """Nothing changes."""

    def __exit__(self, *args: object) -> None:
        """Nothing changed."""


def __getattr__(name: str) -> Any:
    if name == "amp":
        return importlib.import_module(f"{__name__}.amp")
    if name.endswith("Tensor"):
        from quicksilver import _legacy_types

        return _legacy_types.cuda_type(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
