"""The mps device: torch.mps, and arrays in the spelling of NumPy.

>>> from quicksilver import mps
>>> v = mps.array([1, 2, 3, 4, 5], dtype=mps.float32)
>>> v.is_mps()
True
"""

from __future__ import annotations

import builtins
from typing import Any

from quicksilver import _C
from quicksilver._C import (
    MPSDeviceError,
    OutOfMemoryError,
    bfloat16,
    bool,
    complex64,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from quicksilver._memory import owners as _owners
from quicksilver.mps import profiler
from quicksilver.mps.event import Event

Tensor = _C.Tensor


# ---- the device ----------------------------------------------------------------------------------
def is_available() -> bool:
    """Whether a driver can open mps here, now."""
    return _C._mps_is_available()


def device_count() -> int:
    """1 when mps is available, else 0."""
    return int(_C._mps_is_available())


def synchronize() -> None:
    """Runs everything recorded, waits for it, and raises errors that data caused."""
    _C._mps_synchronize()


# ---- memory, in bytes ----------------------------------------------------------------------------
def empty_cache() -> None:
    """Gives memory that no tensor uses back to the driver."""
    _C._mps_empty_cache()


def current_allocated_memory() -> int:
    """Bytes in live tensors. What is recorded runs first."""
    return _C._mps_current_allocated_memory()


def max_allocated_memory() -> int:
    """The most bytes that live tensors had since the start or reset_peak_memory_stats."""
    return _C._mps_max_allocated_memory()


def reset_peak_memory_stats() -> None:
    """Begins max_allocated_memory anew."""
    _C._mps_reset_peak_memory()


def driver_allocated_memory() -> int:
    """Bytes taken from the driver, memory kept for reuse included."""
    return _C._mps_driver_allocated_memory()


def recommended_max_memory() -> int:
    """Bytes that the device should hold at most."""
    return _C._mps_recommended_max_memory()


def set_per_process_memory_fraction(fraction: float) -> None:
    """Limits what is taken to a part of recommended_max_memory; 0 is no limit.

    Raises:
        TypeError: fraction is no float.
        ValueError: it is not within [0, 2].
    """
    if not isinstance(fraction, float):
        raise TypeError("Invalid type for fraction argument, must be `float`")
    if fraction < 0 or fraction > 2:
        raise ValueError(f"Invalid fraction value: {fraction}. Allowed range: 0~2")
    _C._mps_set_per_process_memory_fraction(fraction)


def memory_stats() -> dict[str, int]:
    """The figures of memory_summary by name; those in bytes end in ``_bytes``.

    What is recorded runs first.
    """
    return _C._mps_memory_stats()


def memory_summary(abbreviated: builtins.bool = False) -> str:
    """A table for people: what tensors hold, what is kept for reuse, scratch memory of plans, the
    caches, and (unless abbreviated) the largest tensors and the sizes of blocks. What is recorded
    runs first."""
    figures = _C._mps_memory_stats()
    rows = (
        ("tensors and scratch", "live_bytes", "in {live_blocks} blocks"),
        ("  of this, scratch of plans", "arena_bytes", "one block, shared by all plans"),
        ("  most so far", "peak_live_bytes", "since the start or reset_peak_memory_stats()"),
        ("kept for reuse", "cached_bytes", "empty_cache() gives it back"),
        ("taken from the driver", "driver_bytes", "in {driver_allocations} calls so far"),
        ("  most so far", "peak_driver_bytes", ""),
        ("memory of others", "external_bytes", "in {external_blocks} blocks, shared"),
        ("limit", "limit_bytes", "0: none; set_per_process_memory_fraction() sets one"),
        ("recommended at most", "recommended_bytes", ""),
    )
    lines = [f"memory of {_C._mps_get_name()}"]
    for name, key, note in rows:
        amount = f"{figures[key] / 2**20:.2f} MiB"
        lines.append(f"  {name:<28} {amount:>14}  {note.format(**figures)}".rstrip())
    lines.append(f"  {figures['plans']} plans and {figures['kernels']} kernels are kept")
    if not abbreviated:
        lines += ["who holds it", _owners(), _C._mps_memory_report()]
    return "\n".join(lines)


# ---- plans ---------------------------------------------------------------------------------------
def plan_stats(reset: builtins.bool = False) -> dict[str, int]:
    """How many plans and kernels were made, found again and launched since the last reset."""
    stats = _C.plan_stats("mps")
    if reset:
        _C.reset_plan_stats("mps")
    return stats


def describe_plan() -> str:
    """The last plan that ran, in words: its kernels and what each computes."""
    return _C.describe_plan("mps")


# ---- random numbers ------------------------------------------------------------------------------
def manual_seed(seed: int) -> None:
    """Seeds the generator of mps; does nothing where mps was not built."""
    if _C._mps_is_built():
        _C._mps_generator.manual_seed(seed)


def seed() -> None:
    """Seeds the generator of mps from the system."""
    _C._mps_generator.seed()


def get_rng_state(device: Any = "mps") -> Tensor:
    """The state of the generator of mps, a ByteTensor on the cpu."""
    return _C._mps_generator.get_state()


def set_rng_state(new_state: Tensor, device: Any = "mps") -> None:
    """Takes over what get_rng_state gave.

    Raises:
        RuntimeError: it is no such state.
    """
    _C._mps_generator.set_state(new_state)


# ---- arrays --------------------------------------------------------------------------------------
def array(data: Any, dtype: Any = None) -> Tensor:
    """A tensor in device memory from numbers, nested sequences, an array or a tensor; a copy.

    Raises:
        MPSDeviceError: mps is not available.
    """
    return _C.tensor(data, dtype=dtype, device="mps")


def from_numpy(a: Any, device: Any = "mps") -> Tensor:
    """A copy of a NumPy array in device memory; later changes of either are not seen by the other.

    Raises:
        MPSDeviceError: the device is unknown, with those that exist, or not available.
        TypeError: a is no array, or has a dtype that tensors lack.
    """
    return _C.from_numpy(a, device=device)
