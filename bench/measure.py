"""Timing: several libraries in turn, medians over rounds, outputs held until a synchronise."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple


class Subject(NamedTuple):
    """One library's version of a workload."""

    name: str
    step: Callable[[], Any]
    synchronize: Callable[[Any], None]  # of the outputs of the steps


class Line(NamedTuple):
    """One line of the table; times in seconds."""

    row: str
    ours: float
    peers: dict[str, float]
    asked: float | None  # what ours should be at most
    unit: str = "us"
    note: str = ""


UNITS = {"us": 1e6, "ms": 1e3, "s": 1.0, "MB": 1e-6}


def compare(subjects: list[Subject], rounds: int, target: float = 0.1) -> dict[str, float]:
    """Median seconds a step of each subject; one round of each in turn.

    A round is as many steps as take about `target` seconds, the same number in every round.
    """
    counts = {}
    for subject in subjects:
        for _ in range(6):  # plans, kernels and compiled code are made
            subject.synchronize([subject.step()])
        start = time.perf_counter()
        subject.synchronize([subject.step() for _ in range(3)])
        once = (time.perf_counter() - start) / 3
        counts[subject.name] = max(3, min(2000, int(target / max(once, 1e-7))))
    times: dict[str, list[float]] = {subject.name: [] for subject in subjects}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for subject in subjects:
                time.sleep(0.005)  # lets another library's threads fall asleep
                count = counts[subject.name]
                subject.synchronize([subject.step()])
                start = time.perf_counter()
                outputs = [subject.step() for _ in range(count)]
                subject.synchronize(outputs)
                times[subject.name].append((time.perf_counter() - start) / count)
                del outputs
    finally:
        gc.enable()
    return {name: statistics.median(values) for name, values in times.items()}


def small(
    work: dict[str, tuple[Callable[[int], Any], Callable[[], Any]]], rounds: int, count: int = 200
) -> dict[str, float]:
    """Median seconds of something tiny: {name: (do it n times, clean up outside the clock)}."""
    times: dict[str, list[float]] = {name: [] for name in work}
    gc.collect()
    gc.disable()
    try:
        for i in range(rounds * 4 + 3):
            for name, (do, clean) in work.items():
                start = time.perf_counter()
                held = do(count)
                seconds = time.perf_counter() - start
                del held
                clean()
                if i >= 3:
                    times[name].append(seconds / count)
    finally:
        gc.enable()
    return {name: statistics.median(values) for name, values in times.items()}


def show(lines: list[Line]) -> None:
    """Prints the table: ours, each peer with how many times as long it takes, what is asked."""
    peers = list(dict.fromkeys(name for line in lines for name in line.peers))
    head = ["row", "ours", *peers, "asked", ""]
    table = [head]
    for line in lines:
        factor = UNITS[line.unit]

        def text(seconds: float, factor: float = factor) -> str:
            return (
                f"{seconds * factor:.3g}" if seconds * factor < 1000 else f"{seconds * factor:.0f}"
            )

        cells = [line.row, f"{text(line.ours)} {line.unit}"]
        for name in peers:
            if name in line.peers:
                ratio = line.peers[name] / line.ours if line.ours else float("inf")
                cells.append(f"{text(line.peers[name])} ({ratio:.2f}x)")
            else:
                cells.append("")
        if line.asked is None:
            cells += ["", line.note]
        else:
            reached = (
                "reached" if line.ours <= line.asked else f"{line.ours / line.asked:.2f}x over"
            )
            cells += [text(line.asked), f"{reached}{'; ' if line.note else ''}{line.note}"]
        table.append(cells)
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    for row in table:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
