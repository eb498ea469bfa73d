"""The row `ops` of bench/run: every op at a million elements beside PyTorch, the worst first.

The cases are in op_cases.py. A case is run some times in one library, then in the other, after a
pause in which the other one's threads fall asleep; medians of single runs are compared. An op that
one of the libraries lacks is listed, not measured.
"""

from __future__ import annotations

import gc
import re
import statistics
import time
from collections.abc import Callable
from typing import Any

from op_cases import Case, cases, inputs

import quicksilver as qs

ROUND_SECONDS = 0.004  # of one library's runs in a row
MOST_RUNS = 12  # in a row
# PyTorch's threads keep their cores busy for some ten milliseconds after an op, ours for a tenth of
# one.
PAUSE_SECONDS, PAUSE_BEHIND_OURS = 0.016, 0.001


def _program(L: Any, case: Case, operands: list[Any]) -> Callable[[], Any]:
    """The call, or the call and the gradients of its floating operands."""
    if not case.grad:
        return lambda: case.op(L, *operands)
    leaves = [x.detach() if x.is_floating_point() else x for x in operands]
    wanted = [x.requires_grad_() for x in leaves if x.is_floating_point()]
    ones = L.ones_like(case.op(L, *leaves).detach())

    def both() -> Any:
        result = case.op(L, *leaves)
        for x in wanted:
            x.grad = None
        result.backward(ones)
        return result, [x.grad for x in wanted]

    return both


def ops(bench: Any) -> list[Any]:
    """Prints its own table: microseconds of both, and how many times PyTorch's time ours takes."""
    if not bench.torch:
        print("ops: needs PyTorch to compare with")
        return []
    table: list[tuple[float, str, float, float]] = []
    lacking = []
    gc.collect()
    gc.disable()
    part, parts = bench.part
    for name, case in list(cases().items())[part::parts]:
        for layout in ("contiguous", "transposed") if case.both else ("contiguous",):
            if bench.only and not re.search(bench.only, f"{name}, {layout}"):
                continue
            try:
                transposed = layout == "transposed"
                ours = _program(qs, case, inputs(qs, "mps", case, transposed))
                theirs = _program(bench.torch, case, inputs(bench.torch, "cpu", case, transposed))
                ours()
                qs.mps.synchronize()
                theirs()
            except Exception as error:  # whatever an op that is not served raises
                lacking.append(f"{name}: {type(error).__name__}: {str(error).splitlines()[0][:80]}")
                break
            a, b = _times(bench.rounds, ours, theirs)
            table.append((a / b, f"{name}, {layout}", a, b))
            if bench.above == 0:  # everything is wanted: show it as it comes
                print(_line(table[-1]), flush=True)
        gc.collect()
    gc.enable()
    _show(table, lacking, bench.above)
    return []


def _line(row: tuple[float, str, float, float]) -> str:
    ratio, name, a, b = row
    return f"  {ratio:6.2f}  {name:<44} {a * 1e6:9.0f} us  PyTorch {b * 1e6:9.0f} us"


def _show(table: list[tuple[float, str, float, float]], lacking: list[str], above: float) -> None:
    table.sort(reverse=True)
    slow = sum(ratio > above for ratio, *_ in table)
    print(f"ops: {len(table)} cases, {slow} take more than {above:g} times PyTorch's time")
    for row in table[:slow] if above else []:
        print(_line(row))
    if not table and not lacking:
        raise SystemExit("ops: no case has a name that --only matches")
    if table:
        print(f"  median ratio {statistics.median(r for r, *_ in table):.2f}")
    for line in lacking:
        print(f"  not measured: {line}")


def _times(rounds: int, ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[float, float]:
    """Median seconds of a run of each."""

    def run_ours() -> Any:
        held = ours()
        qs.mps.synchronize()
        return held

    pairs = [
        (_some(run_ours, PAUSE_SECONDS), _some(theirs, PAUSE_BEHIND_OURS))
        for _ in range(max(3, rounds // 2))
    ]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def _some(run: Callable[[], Any], pause: float) -> float:
    """Median seconds of some runs in a row, behind one that wakes the threads."""
    time.sleep(pause)
    held = run()
    times: list[float] = []
    while not times or (sum(times) < ROUND_SECONDS and len(times) < MOST_RUNS):
        del held
        start = time.perf_counter()
        held = run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
