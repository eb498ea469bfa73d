"""What users get: the wheel, and the installed CMake package."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

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
    parts = {part for name in names for part in name.split("/")}
    assert not [part for part in parts if part == "tests" or part.startswith("test_")]
    assert not [name for name in names if name.endswith((".h", ".cmake"))]

    site = tmp_path / "site"
    run(*pip, "install", "--no-deps", "--target", site, wheel)
    code = "import quicksilver; print(quicksilver.__file__)"
    assert str(site) in run(sys.executable, "-c", code, PYTHONPATH=str(site))


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the CMake package is installed."""
    build = Path(quicksilver.__file__).absolute().parents[2]
    if not (build / "CMakeCache.txt").exists():
        pytest.fail("run this test against a build folder: PYTHONPATH=build/python")
    folder = tmp_path_factory.mktemp("prefix")
    run("cmake", "--install", build, "--prefix", folder)
    return folder


def build_program(source: Path, prefix: Path, folder: Path) -> Path:
    run("cmake", "-G", "Ninja", "-S", source, "-B", folder, f"-DCMAKE_PREFIX_PATH={prefix}",
        "-DCMAKE_BUILD_TYPE=Release")  # fmt: skip
    run("cmake", "--build", folder)
    return folder


@pytest.mark.slow
def test_find_package_builds_a_users_program(prefix: Path, tmp_path: Path) -> None:
    program = build_program(ROOT / "tests" / "cmake_package", prefix, tmp_path / "user")
    run(program / "user_program")
    # Its readers and writers against NumPy's and safetensors' own.
    arrays = {
        "whole": np.arange(12).reshape(3, 4),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "half": np.array([0.5, -1.5], np.float16),
        "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "large": np.arange(300_000, dtype=np.int32),
    }
    np.savez(tmp_path / "in.npz", **arrays)
    assert "6 tensors" in run(
        program / "user_program", tmp_path / "in.npz", tmp_path / "out.safetensors"
    )
    doubled = safetensors.numpy.load_file(tmp_path / "out.safetensors")
    assert set(doubled) == set(arrays)
    for name, array in arrays.items():
        assert doubled[name].dtype == array.dtype, name
        np.testing.assert_array_equal(doubled[name], array * 2)
    np.savez_compressed(tmp_path / "small.npz", **arrays)
    refused = subprocess.run(
        [program / "user_program", tmp_path / "small.npz", tmp_path / "no"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.returncode == 1 and "numpy.savez" in refused.stderr


@pytest.mark.slow
def test_the_digits_are_trained_in_cpp(prefix: Path, tmp_path: Path) -> None:
    program = build_program(ROOT / "examples" / "cpp", prefix, tmp_path / "cpp")
    data, weights = tmp_path / "digits.npz", tmp_path / "digits.safetensors"
    run(sys.executable, ROOT / "examples" / "digits_data.py", data)
    out = run(program / "digits", data, weights)
    reached = float(out.split("held-out accuracy ")[1].split()[0])
    assert reached >= 0.98, out
    # Python reads the weights and finds the same.
    again = run(sys.executable, ROOT / "examples" / "digits.py", "--predict", weights)
    assert f"accuracy {reached:.4f} on 360" in again
    failed = subprocess.run(
        [program / "digits", weights, weights], capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1 and "no zip archive" in failed.stderr
