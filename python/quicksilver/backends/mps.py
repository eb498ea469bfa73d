"""The mps device: whether it was built, whether it is there, and which driver serves it."""

from __future__ import annotations

from quicksilver import _C


def is_built() -> bool:
    """The library was compiled with the mps device."""
    return _C._mps_is_built()


def is_available() -> bool:
    """A driver can open the device here, now."""
    return _C._mps_is_available()


def driver() -> str:
    """Which driver serves mps: "metal", "cuda" or "cpu"; "" when none can."""
    return _C._mps_driver()


def get_name() -> str:
    """What mps is here, such as "cpu: AMD EPYC, 2 threads"; "" when it is not available."""
    return _C._mps_get_name()


def why_unavailable() -> str:
    """Why mps is not available, in one sentence; "" when it is."""
    return _C._mps_why_unavailable()


def get_core_count() -> int:
    """The number of GPU cores (Metal), multiprocessors (CUDA) or threads (cpu); 0 without mps."""
    if not is_available():
        return 0
    return _C.get_num_threads() if driver() == "cpu" else _C._info().get("mps_cores", 0)


def is_macos_or_newer(major: int, minor: int) -> bool:
    """This is macOS, and at least this version; False elsewhere."""
    import platform

    version = platform.mac_ver()[0]
    if not version:
        return False
    have = [int(part) for part in (*version.split("."), "0")[:2]]
    return have >= [major, minor]


def is_macos13_or_newer(minor: int = 0) -> bool:
    """is_macos_or_newer(13, minor)"""
    return is_macos_or_newer(13, minor)
