"""What users get: the wheel, and the installed CMake package."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import quicksilver

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, **env: str) -> str:
    """Runs a command, fails the test with its output if it fails, and returns its output."""
    tools = Path(sys.executable).parent  # cmake and ninja of .venv
    env = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"} | env
    result = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, env=env
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_imports(tmp_path: Path) -> None:
    # QS_WERROR as in the tested build: equal flags let ccache serve most of it.
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path,
        "--config-settings=cmake.define.QS_WERROR=ON", ROOT)  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"quicksilver"}
    assert sum(".so" in name or ".dylib" in name for name in names) == 2
    assert not [name for name in names if "test" in name or name.endswith((".h", ".cmake"))]

    site = tmp_path / "site"
    run(*pip, "install", "--no-deps", "--target", site, wheel)
    code = "import quicksilver; print(quicksilver.__file__)"
    assert str(site) in run(sys.executable, "-c", code, PYTHONPATH=str(site))


@pytest.mark.slow
def test_find_package_builds_a_users_program(tmp_path: Path) -> None:
    build = Path(quicksilver.__file__).absolute().parents[2]
    if not (build / "CMakeCache.txt").exists():
        pytest.fail("run this test against a build folder: PYTHONPATH=build/python")
    run("cmake", "--install", build, "--prefix", tmp_path / "prefix")
    run("cmake", "-G", "Ninja", "-S", ROOT / "tests" / "cmake_package", "-B", tmp_path / "user",
        f"-DCMAKE_PREFIX_PATH={tmp_path / 'prefix'}")  # fmt: skip
    run("cmake", "--build", tmp_path / "user")
    run(tmp_path / "user" / "user_program")
