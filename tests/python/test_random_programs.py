"""Random programs, run recorded (fused), with QS_SYNC=1 and in NumPy.

Recorded equals QS_SYNC=1 on one thread bit for bit; NumPy within tolerance. A failure prints the
smallest program that still fails. QS_TEST_SEED starts the seeds elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from oracle.generator import Builder
from oracle.library import IS_TORCH
from oracle.programs import Program, Runner, Statement, check_all, run_on_numpy, shrink

BATCH = 40
SORTS = {"plain": 0, "with draws": 1, "differentiated": 2}


def programs(sort: str, batch: int, seed: int) -> Iterator[Program]:
    for i in range(BATCH):
        number = seed * 1000003 + (batch * BATCH + i) * 4 + SORTS[sort]
        length = 100 if i == 0 else int(np.random.default_rng(number).integers(3, 40))
        yield Builder(number, length, sort == "with draws", sort == "differentiated").result()


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    made = Runner()
    yield made
    made.close()


def batches(fast: int, slow: int) -> list[object]:
    return [*range(fast), *(pytest.param(i, marks=pytest.mark.slow) for i in range(fast, slow))]


@pytest.mark.parametrize("batch", batches(5, 80))
def test_programs(batch: int, runner: Runner, seed: int) -> None:
    failures = check_all(programs("plain", batch, seed), runner)
    assert not failures, "\n\n".join(failures)


@pytest.mark.parametrize("batch", batches(1, 10))
def test_programs_with_draws(batch: int, runner: Runner, seed: int) -> None:
    failures = check_all(programs("with draws", batch, seed), runner)
    assert not failures, "\n\n".join(failures)


@pytest.mark.parametrize("batch", batches(2, 20))
def test_differentiated_programs(batch: int, runner: Runner, seed: int) -> None:
    failures = check_all(programs("differentiated", batch, seed), runner)
    assert not failures, "\n\n".join(failures)


def test_programs_are_worth_running(seed: int) -> None:
    """They are long enough, and most statements of the table occur."""
    made = list(programs("plain", 0, seed)) + list(programs("plain", 1, seed))
    assert np.mean([len(p.statements) for p in made]) > 15
    text = "\n".join(p.script() for p in made)
    for word in (
        "softmax",
        " @ ",
        "+=",
        "copy_",
        "cumsum",
        "where",
        "out=",
        "item()",
        "del ",
        "for k",
    ):
        assert word in text, word
    assert Builder(5, 20, False, False).result() == Builder(5, 20, False, False).result()


def test_a_failing_program_shrinks(seed: int) -> None:
    """A planted fault: programs that call tanh fail. What is left is one statement or two."""
    found = next(p for p in programs("plain", 0, seed) if "tanh" in p.body())

    def verdict(p: Program) -> str | None:
        run_on_numpy(p, np.float64)
        return "recorded differs: planted" if "tanh" in p.body() else None

    small = shrink(found, verdict)
    assert "tanh" in small.body()
    assert len(small.statements) < max(4, len(found.statements) / 2)
    compile(small.script(), "script", "exec")


RUNS = "reads.append(sum(L._C.plan_stats('mps')[k] for k in ('submits', 'replays')))"


@pytest.mark.skipif(IS_TORCH, reason="about this library's switch")
def test_the_plain_runs_are_plain(runner: Runner) -> None:
    """Between two looks at the counters two ops run with QS_SYNC=1 and none without."""
    lines = (RUNS, "v0 = a0 + 1; v1 = v0 * 2", RUNS)
    program = Program(1, "f32", {"a0": ("f", (3,))}, tuple(Statement(s, "pass") for s in lines))
    for worker, wanted in ((runner.synchronous, 2), (runner.recorded, 0)):
        worker.send(program)
        for outputs in worker.receive():
            first, second = outputs["reads"]
            assert second - first == wanted


@pytest.mark.skipif(IS_TORCH, reason="about this library's switch")
def test_differences_are_seen(runner: Runner) -> None:
    """A wrong twin, and a program that is one bit off only when recorded."""

    def program(line: str, twin: str) -> Program:
        return Program(1, "f32", {"a0": ("f", (3,))}, (Statement(line, twin),))

    plain = program("v0 = a0 + 1", "v0 = A(a0 + 1)")
    assert runner.verdict(plain) is None
    assert "NumPy" in (runner.verdict(program("v0 = a0 + 1", "v0 = A(a0 + 1.01)")) or "")
    factor = "(1 if __import__('os').environ.get('QS_SYNC') else 1 + 2.0**-23)"
    one_bit = program(f"v0 = a0 * {factor}", "v0 = A(a0 * 1)")
    assert "recorded differs from QS_SYNC" in (runner.verdict(one_bit) or "")
    crash = program("__import__('os')._exit(3)", "v0 = A(a0 * 1)")
    assert "died" in (runner.verdict(crash) or "")
    assert runner.verdict(plain) is None, "a new worker takes the place of a dead one"
