"""Anomaly mode: which forward op a bad gradient comes from."""

from __future__ import annotations

import warnings
from typing import Any

from quicksilver import _C


class set_detect_anomaly:
    """Switches anomaly detection on or off at once; as a context manager until its end.

    While it is on, every op notes the stack it is called from. When its gradient raises, or has a
    NaN (unless check_nan=False), that stack is shown as a UserWarning and backward raises a
    RuntimeError. Values are read after each op of backward: this is slow, and for debugging.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.prev = _C.is_anomaly_enabled()
        self.prev_check_nan = _C.is_anomaly_check_nan_enabled()
        _C._set_anomaly_enabled(mode, check_nan)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: Any) -> None:
        _C._set_anomaly_enabled(self.prev, self.prev_check_nan)


class detect_anomaly:
    """A context manager: anomaly detection is on inside, see set_detect_anomaly."""

    def __init__(self, check_nan: bool = True) -> None:
        self.prev = _C.is_anomaly_enabled()
        self.prev_check_nan = _C.is_anomaly_check_nan_enabled()
        self.check_nan = check_nan
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should"
            " only be enabled for debugging.",
            stacklevel=2,
        )

    def __enter__(self) -> None:
        self.prev = _C.is_anomaly_enabled()
        self.prev_check_nan = _C.is_anomaly_check_nan_enabled()
        _C._set_anomaly_enabled(True, self.check_nan)

    def __exit__(self, *exception: Any) -> None:
        _C._set_anomaly_enabled(self.prev, self.prev_check_nan)
