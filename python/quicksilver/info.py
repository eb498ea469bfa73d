"""``python -m quicksilver.info``: what this machine and build have, and what is missing."""

from __future__ import annotations

import os
from typing import Any

SWITCHES = (
    "QS_MPS_DRIVER",
    "QS_SYNC",
    "QS_ISA",
    "QS_GEMM",
    "QS_NUM_THREADS",
    "QS_LOG",
)
# What is opened at run time: the names to try, and what happens without it.
LIBRARIES = (
    (
        "oneDNN",
        ("libdnnl.so.3", "libdnnl.so.2", "libdnnl.so"),
        "matrix products run on our own kernels",
    ),
    (
        "OpenBLAS/LAPACK",
        ("libopenblas.so.0", "libopenblas.so"),
        "linear algebra runs on our own, slower kernels",
    ),
    ("CUDA driver", ("libcuda.so.1",), "the cuda driver is not available"),
)


def _found(names: tuple[str, ...]) -> str:
    """The first library of these that opens here, or ""."""
    import ctypes

    for name in names:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return f"{name}, found"
    return ""


def collect() -> dict[str, str]:
    """All facts by name, in the order they are printed."""
    import platform
    import sys

    import numpy

    from quicksilver import _C, backends

    facts: dict[str, Any] = dict(_C._info())
    mps = backends.mps
    lines = {
        "quicksilver": f"{_C.__version__}, in {os.path.dirname(os.path.abspath(_C.__file__))}",
        "python": f"{sys.version.split()[0]}, NumPy {numpy.__version__}, {platform.platform()}",
        "processor": f"{facts.get('cpu', '?')}, {facts.get('cores', '?')} cores,"
        f" {facts.get('memory_bytes', 0) / 2**30:.1f} GiB",
        "kernels": f"{facts.get('isa', '?')} (the best here is {facts.get('isa_best', '?')}),"
        f" {facts.get('threads', '?')} threads",
    }
    if not mps.is_built():
        lines["mps"] = "not built (QS_MPS=OFF)"
    elif not mps.is_available():
        lines["mps"] = f"built, not available: {mps.why_unavailable()}"
    else:
        lines["mps"] = f"available: {mps.get_name()}"
        lines["caches"] = "plans and kernels are kept in memory for the life of the process"
    for name, names, lost in LIBRARIES:
        library = _found(names)
        lines[name] = library or f"not found: {lost}"
    for switch in SWITCHES:
        lines[switch] = os.environ.get(switch, "not set")
    return lines


def main() -> None:
    """Prints all facts, one a line."""
    lines = collect()
    width = max(len(name) for name in lines)
    for name, text in lines.items():
        print(f"{name:<{width}}  {text}")


if __name__ == "__main__":
    main()
