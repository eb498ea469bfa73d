"""The examples as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import quicksilver as torch

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits.py"


def run(
    *arguments: object, cwd: Path, code: int = 0, **env: str
) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, str(DIGITS), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=os.environ | env,
    )
    assert result.returncode == code, result.stdout + result.stderr
    return result


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    """The one sentence that a failure prints, the progress display aside."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("digits: ")]
    assert len(lines) == 1 and "Traceback" not in result.stderr, result.stderr
    return lines[0]


@pytest.mark.slow
def test_digits_reaches_its_accuracy_from_five_seeds(tmp_path: Path) -> None:
    out = run(cwd=tmp_path).stdout
    for seed in range(5):
        assert f"seed {seed}: held-out accuracy 0.9" in out
    assert "device mps, driver " in out and "plans made" in out and "steps a second" in out
    worst = float(out.rsplit("worst held-out accuracy of 5 seeds: ", 1)[1].split()[0])
    assert worst >= 0.98
    assert "accuracy on the data set's own last 360 rows: 0.9" in out
    assert (tmp_path / "out" / "digits.png").stat().st_size > 5000
    assert len(torch.load(tmp_path / "out" / "digits.safetensors")) == 16
    again = run("--predict", "out/digits.safetensors", cwd=tmp_path).stdout
    assert again.splitlines()[0] in out


@pytest.mark.slow
def test_digits_fails_in_one_sentence(tmp_path: Path) -> None:
    assert "there is no such file" in one_line(
        run("--predict", "no.safetensors", cwd=tmp_path, code=1)
    )
    (tmp_path / "bad.safetensors").write_bytes(b"not a checkpoint at all")
    assert "cannot load" in one_line(run("--predict", "bad.safetensors", cwd=tmp_path, code=1))
    torch.save({"0.weight": torch.ones(2)}, tmp_path / "other.safetensors")
    assert "loading state_dict" in one_line(
        run("--predict", "other.safetensors", cwd=tmp_path, code=1)
    )
    (tmp_path / "file").write_text("x")
    fast = ("--epochs", 1, "--seeds", 1)
    assert "file" in one_line(run(*fast, "--out", "file", cwd=tmp_path, code=1))
    assert "mps is not available" in one_line(
        run(*fast, cwd=tmp_path, code=1, QS_MPS_DRIVER="none")
    )
    run("--epochs", 0, cwd=tmp_path, code=2)


CHARGPT = ROOT / "examples" / "chargpt.py"


def run_chargpt(*arguments: object, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, str(CHARGPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )
    assert result.returncode == code, result.stdout + result.stderr
    return result


@pytest.mark.slow
def test_chargpt_beats_pairs_of_characters(tmp_path: Path) -> None:
    """A text whose next character follows from the two before: pairs cannot know it."""
    text = "".join("abcabdacbadc"[i % 12] + ("\n" if i % 60 == 59 else "") for i in range(6000))
    (tmp_path / "pattern.txt").write_text(text)
    out = run_chargpt("--text", "pattern.txt", "--steps", 120, cwd=tmp_path).stdout
    losses = out.rsplit("held-out loss ", 1)[1].split()
    assert float(losses[0]) < 0.8 * float(losses[-1])
    assert "device mps, driver " in out and "steps a second" in out and "####" in out
    again = run_chargpt(
        "--text", "pattern.txt", "--sample", "out/chargpt.safetensors", "--count", 50,
        "--prompt", "abcabdacbadc", cwd=tmp_path,
    ).stdout  # fmt: skip
    assert len(again.rstrip("\n")) >= 40 and set(again) <= set(text)


@pytest.mark.slow
def test_chargpt_fails_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("too short")
    for arguments, says in (
        (("--text", "short.txt"), "characters; at least"),
        (("--text", "none.txt"), "No such file"),
        (("--steps", 1), "train for more steps"),
    ):
        err = run_chargpt(*arguments, cwd=tmp_path, code=1).stderr
        lines = [line for line in err.splitlines() if line.startswith("chargpt: ")]
        assert len(lines) == 1 and says in lines[0] and "Traceback" not in err, err


@pytest.mark.slow
def test_info_runs_with_and_without_mps() -> None:
    for env, says in (({}, "available: "), ({"QS_MPS_DRIVER": "none"}, "not available:")):
        result = subprocess.run(
            [sys.executable, "-m", "quicksilver.info"],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | env,
        )
        assert result.returncode == 0, result.stderr
        assert says in result.stdout and torch.__version__ in result.stdout
        assert "oneDNN" in result.stdout
