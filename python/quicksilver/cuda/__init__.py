"""torch.cuda for scripts that ask: it is never available; what would do nothing does nothing.

NVIDIA GPUs are reached through the mps device.
"""

from __future__ import annotations

from typing import Any


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
