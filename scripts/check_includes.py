#!/usr/bin/env python3
"""Checks that includes in src/quicksilver follow the arrows between the rooms.

Usage: scripts/check_includes.py [ROOT]    ROOT is the repository (default: this one)

Prints one line for each violation and exits with 1 if there is any. The tables below are the only
place that states the rules; docs/map.md draws them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

# Room -> rooms whose headers it may include. Arrows are direct: what a lower room may include does
# not pass upwards. Every room may include itself and core.
ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "graph": set(),
    "driver": set(),
    "runtime": {"driver"},
    "codegen": {"graph"},
    "kernels": {"graph"},
    "plan": {"graph", "codegen", "kernels", "runtime"},
    "tensor": {"graph", "plan", "runtime"},
    "autograd": {"graph", "tensor"},
    "io": {"autograd", "tensor"},
    "nn": {"autograd", "tensor", "io"},
    "optim": {"autograd", "tensor"},
    "python": {"graph", "plan", "runtime", "tensor", "autograd", "nn", "optim"},
}

# Room -> single headers of another room that it may include as well.
ALLOWED_HEADERS: dict[str, set[str]] = {
    "codegen": {"driver/source.h"},
    "kernels": {"driver/source.h"},
    "plan": {"driver/source.h", "driver/driver.h"},
}

# The folders that know a device, and the one file outside that may name them.
DEVICES = {"cpu", "cuda", "fault", "late", "metal", "null", "record"}
KNOWS_ALL_DEVICES = "driver/all.cpp"

# Preprocessor conditions on a device belong into its folder. core picks instructions that every
# room profits from (half conversion, a spin's pause); one prelude adapts kernel text to compilers.
DEVICE_MACRO = re.compile(
    r"\b(__APPLE__|TARGET_OS_\w+|__OBJC__|__METAL\w*|__CUDA\w*|__NVCC__|QS_HAS_CUDA|QS_HAS_METAL)\b"
)
ISA_MACRO = re.compile(
    r"\b(__AVX\w*|__SSE\w*|__F16C__|__FMA__|__BMI2?__|__ARM\w*|__aarch64__|__x86_64__)\b"
)
MAY_TEST_DEVICE_MACROS = {KNOWS_ALL_DEVICES, "kernels/prelude.h"}
MAY_TEST_ISA_MACROS = ("core/", "kernels/pool_rows", "kernels/half_rows", "kernels/scan_rows")

# What users include must not need fmt: it is compiled into the library, hidden, and not installed.
UMBRELLA = "quicksilver.h"
NOT_FOR_USERS = "fmt/"

INCLUDE = re.compile(r'^\s*#\s*(?:include|import)\s*([<"])([^>"]+)[>"]')
CONDITION = re.compile(r"^\s*#\s*(?:if|ifdef|ifndef|elif)\b(.*)")
SUFFIXES = {".h", ".hpp", ".cpp", ".mm", ".cu", ".def", ".metal"}


def device_of(path: str) -> str | None:
    """The device whose folder holds path (relative to src/quicksilver), or None."""
    parts = path.split("/")
    return parts[1] if len(parts) > 2 and parts[0] == "driver" and parts[1] in DEVICES else None


def include_fault(path: str, target: str) -> str | None:
    """Says why the file path may not include the header target, or None if it may."""
    if "/" not in path:  # the umbrella header quicksilver.h collects the public rooms
        return None if device_of(target) is None else "only its own folder may name a device"
    if "/" not in target:
        return f"{target} is for users; include the room's own headers"
    room, other = path.split("/")[0], target.split("/")[0]
    if room not in ALLOWED:
        return f"'{room}' is no room: add it to ALLOWED in scripts/check_includes.py"
    if other not in ALLOWED:
        return f"'{other}' is no room"
    device = device_of(target)
    if device is not None and path != KNOWS_ALL_DEVICES and device_of(path) != device:
        return f"only driver/{device}/ and {KNOWS_ALL_DEVICES} may include driver/{device}/"
    if other in {room, "core"} or other in ALLOWED[room]:
        return None
    if target in ALLOWED_HEADERS.get(room, set()):
        return None
    may = sorted(ALLOWED[room] | ALLOWED_HEADERS.get(room, set()) | {"core"})
    return f"{room} may include only {', '.join(may)}"


def condition_fault(path: str, condition: str) -> str | None:
    """Says why the file path may not test this preprocessor condition, or None if it may."""
    if device_of(path) is not None or path in MAY_TEST_DEVICE_MACROS:
        return None
    found = DEVICE_MACRO.search(condition)
    if found is None and not path.startswith(MAY_TEST_ISA_MACROS):
        found = ISA_MACRO.search(condition)
    if found is None:
        return None
    return f"{found[0]} may be tested only in a device's folder and {KNOWS_ALL_DEVICES}"


def faults_of(source: Path, path: str) -> Iterator[str]:
    """Yields 'line: fault' for the file at source, whose name in src/quicksilver is path."""
    for number, line in enumerate(source.read_text(encoding="utf-8").splitlines(), 1):
        fault = None
        if include := INCLUDE.match(line):
            bracket, target = include.groups()
            if target.startswith("quicksilver/"):
                fault = include_fault(path, target.removeprefix("quicksilver/"))
            elif bracket == '"':
                fault = f'write "quicksilver/<room>/{Path(target).name}" in full'
        elif condition := CONDITION.match(line):
            fault = condition_fault(path, condition[1])
        if fault:
            yield f"{number}: {fault}"


def umbrella_faults(base: Path) -> Iterator[str]:
    """Yields a fault for each header that a user's include of the umbrella drags fmt in by."""
    waiting, seen = [UMBRELLA], set()
    while waiting:
        path = waiting.pop()
        if path in seen or not (base / path).is_file():
            continue
        seen.add(path)
        for number, line in enumerate((base / path).read_text(encoding="utf-8").splitlines(), 1):
            target = include[2] if (include := INCLUDE.match(line)) else ""
            if target.startswith(NOT_FOR_USERS):
                yield f"{path}:{number}: {UMBRELLA} reaches this, and users have no <{target}>"
            elif target.startswith("quicksilver/"):
                waiting.append(target.removeprefix("quicksilver/"))


def violations(root: Path) -> list[str]:
    """All violations below root/src/quicksilver, as 'file:line: what is wrong'."""
    base = root / "src" / "quicksilver"
    found = []
    for source in sorted(base.rglob("*")):
        if source.suffix in SUFFIXES and source.is_file():
            path = source.relative_to(base).as_posix()
            found += [f"src/quicksilver/{path}:{fault}" for fault in faults_of(source, path)]
    return found + [f"src/quicksilver/{fault}" for fault in umbrella_faults(base)]


def main() -> int:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    found = violations(root)
    for line in found:
        print(line)
    if found:
        print(f"check_includes: {len(found)} violation(s)", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
