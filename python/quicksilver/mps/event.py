"""Events: marks in the work of mps that can be waited for and timed."""

from __future__ import annotations

import time

from quicksilver import _C


class Event:
    """A mark in the work of mps.

    The device has one queue, so an event is reached when all work recorded before it is done.
    record() runs what is recorded; times are the host's clock when that work was seen done.

    Args:
        enable_timing: whether elapsed_time may be asked.
    """

    def __init__(self, enable_timing: bool = False) -> None:
        self.enable_timing = enable_timing
        self._recorded = False
        self._time: float | None = None

    def record(self) -> None:
        """Puts the mark after everything recorded so far."""
        _C._mps_synchronize()
        self._recorded = True
        self._time = time.perf_counter()

    def wait(self) -> None:
        """Makes later work wait for the mark; in one queue it does anyway."""

    def query(self) -> bool:
        """Whether the mark has been reached; True before record."""
        return True

    def synchronize(self) -> None:
        """Waits until the mark is reached."""

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this mark to end_event's.

        Raises:
            RuntimeError: an event was made without enable_timing, or is not recorded yet.
        """
        if not (self.enable_timing and end_event.enable_timing):
            raise RuntimeError("Events were not created with argument enable_timing=True")
        if self._time is None or end_event._time is None:
            raise RuntimeError("Both events must be recorded before calculating elapsed time.")
        return (end_event._time - self._time) * 1e3
