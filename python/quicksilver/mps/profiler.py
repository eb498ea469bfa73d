"""torch.mps.profiler: how often plans and kernels ran between start and stop."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from quicksilver import _C

_before: dict[str, int] | None = None


def start(mode: str = "interval", wait_until_completed: bool = False) -> None:
    """Begins counting. mode is "interval", "event" or both, as in PyTorch."""
    global _before
    if not set(mode.split(",")) <= {"interval", "event"}:
        raise ValueError(f"mode must be 'interval', 'event' or both, not {mode!r}")
    _C._mps_synchronize()
    _before = _C.plan_stats("mps")


def stop() -> dict[str, int]:
    """Ends counting; prints what was counted on stderr and returns it."""
    global _before
    _C._mps_synchronize()
    before, _before = _before or {}, None
    counts = {name: count - before.get(name, 0) for name, count in _C.plan_stats("mps").items()}
    print("mps:", ", ".join(f"{count} {name}" for name, count in counts.items()), file=sys.stderr)
    return counts


@contextmanager
def profile(mode: str = "interval", wait_until_completed: bool = False) -> Iterator[None]:
    """start and stop around a block."""
    start(mode, wait_until_completed)
    try:
        yield
    finally:
        stop()


def is_metal_capture_enabled() -> bool:
    """False: captures are a tool of macOS."""
    return False


def is_capturing_metal() -> bool:
    """False."""
    return False
