"""The house itself: the include check, the map, and what a build leaves behind."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def check_includes(root: Path) -> subprocess.CompletedProcess[str]:
    """Runs this tree's include check over the tree at root."""
    script = ROOT / "scripts" / "check_includes.py"
    return subprocess.run(
        [sys.executable, str(script), str(root)], capture_output=True, text=True, check=False
    )


def test_includes_follow_the_arrows() -> None:
    result = check_includes(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("core/planted.h", '#include "quicksilver/tensor/tensor.h"'),
        ("graph/planted.h", '#include "quicksilver/plan/plan.h"'),
        ("codegen/planted.cpp", '#include "quicksilver/driver/driver.h"'),
        ("kernels/planted.cpp", '#include "quicksilver/runtime/device.h"'),
        ("plan/planted.cpp", '#include "quicksilver/driver/null/null.h"'),
        ("plan/planted.cpp", "#include <quicksilver/driver/all.h>"),
        ("nn/planted.cpp", '#include "quicksilver/graph/node.h"'),
        ("driver/null/planted.cpp", '#include "quicksilver/driver/cpu/pool.h"'),
        ("driver/planted.cpp", '#include "quicksilver/graph/node.h"'),
        ("tensor/planted.cpp", "#if defined(__APPLE__)"),
        ("runtime/planted.cpp", "#ifdef __AVX2__"),
        ("tensor/planted.cpp", '#include "planted.h"'),
        ("extra/planted.cpp", '#include "quicksilver/core/dtype.h"'),
    ],
)
def test_a_planted_violation_fails(tmp_path: Path, path: str, line: str) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src")
    planted = tmp_path / "src" / "quicksilver" / path
    planted.parent.mkdir(parents=True, exist_ok=True)
    planted.write_text(f"// Planted.\n{line}\n")
    result = check_includes(tmp_path)
    assert result.returncode == 1
    assert f"{path}:2: " in result.stdout


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("codegen/allowed.cpp", '#include "quicksilver/driver/source.h"'),
        ("plan/allowed.cpp", '#include "quicksilver/driver/driver.h"'),
        ("driver/all.cpp", '#include "quicksilver/driver/cuda/cuda.h"'),
        ("driver/metal/allowed.cpp", "#if defined(__APPLE__)"),
        ("core/allowed.cpp", "#if defined(__x86_64__)"),
    ],
)
def test_what_the_table_allows_passes(tmp_path: Path, path: str, line: str) -> None:
    allowed = tmp_path / "src" / "quicksilver" / path
    allowed.parent.mkdir(parents=True)
    allowed.write_text(f"// Allowed.\n{line}\n")
    result = check_includes(tmp_path)
    assert result.returncode == 0, result.stdout


def test_users_headers_may_not_need_fmt(tmp_path: Path) -> None:
    base = tmp_path / "src" / "quicksilver"
    (base / "core").mkdir(parents=True)
    (base / "quicksilver.h").write_text('// All.\n#include "quicksilver/core/format.h"\n')
    (base / "core" / "format.h").write_text("// Text.\n#include <fmt/core.h>\n")
    result = check_includes(tmp_path)
    assert result.returncode == 1
    assert "core/format.h:2: " in result.stdout


def test_the_map_names_only_files_that_exist() -> None:
    text = (ROOT / "docs" / "map.md").read_text(encoding="utf-8")
    top = r"(?:src|python|tests|bench|examples|docs|scripts|cmake|\.ci)"
    named = set(re.findall(rf"`({top}/[\w./*-]*|[\w.-]+\.(?:md|toml|txt))`", text))
    assert len(named) > 20
    missing = [name for name in sorted(named) if not any(ROOT.glob(name.rstrip("/")))]
    assert not missing, f"docs/map.md names what does not exist: {missing}"


def test_no_binary_needs_libfmt() -> None:
    import quicksilver

    folder = Path(quicksilver.__file__).parent
    binaries = [*folder.glob("libquicksilver.*"), *folder.glob("_C.*so")]
    assert len(binaries) == 2
    for binary in binaries:
        assert b"libfmt.so" not in binary.read_bytes()
