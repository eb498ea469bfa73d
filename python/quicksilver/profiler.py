"""torch.profiler: named stretches of a program, in time and as a trace for Perfetto.

What is noted is what runs on the host: blocks under `record_function`, and the steps of a loop. On
mps a stretch ends when its ops are recorded, unless something in it waits; `torch.mps.profiler`
counts plans and kernels, and `torch.explain` shows them.
"""

from __future__ import annotations

import enum
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ContextDecorator
from typing import Any

_running: list[profile] = []


class ProfilerActivity(enum.Enum):
    """What to look at; the host alone can be."""

    CPU = 0
    XPU = 1
    MTIA = 2
    CUDA = 3
    HPU = 4
    PrivateUse1 = 5


class ProfilerAction(enum.Enum):
    """What a profiler does in a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def supported_activities() -> set[ProfilerActivity]:
    """{CPU}"""
    return {ProfilerActivity.CPU}


class record_function(ContextDecorator):
    """Names a block (or a function) for the profiles that run meanwhile.

    Args:
        name: what the stretch is called.
        args: more about it.
    """

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name
        self.args = args
        self._began: list[int] = []

    def __enter__(self) -> record_function:
        self._began.append(time.perf_counter_ns())
        return self

    def __exit__(self, *args: object) -> None:
        began, ended = self._began.pop(), time.perf_counter_ns()
        for one in _running:
            one._note(self.name, began, ended, self.args)


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0
) -> Callable[[int], ProfilerAction]:
    """What to do in step n: skip some, then in each cycle wait, warm up, and record.

    Args:
        repeat: how many cycles; 0 goes on.
    """
    if min(wait, warmup, active, repeat, skip_first) < 0 or active == 0:
        raise AssertionError("Invalid profiler schedule arguments")

    def action(step: int) -> ProfilerAction:
        if step < skip_first:
            return ProfilerAction.NONE
        cycle, at = divmod(step - skip_first, wait + warmup + active)
        if (repeat and cycle >= repeat) or at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        last = at == wait + warmup + active - 1
        return ProfilerAction.RECORD_AND_SAVE if last else ProfilerAction.RECORD

    return action


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False
) -> Callable[[profile], None]:
    """For on_trace_ready: writes each trace into a folder, by a name that TensorBoard finds."""
    worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"

    def handler(finished: profile) -> None:
        os.makedirs(dir_name, exist_ok=True)
        end = ".pt.trace.json.gz" if use_gzip else ".pt.trace.json"
        finished.export_chrome_trace(os.path.join(dir_name, f"{worker}.{time.time_ns()}{end}"))

    return handler


class Average:
    """All stretches of one name. Times are microseconds."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.count = 0
        self.cpu_time_total = 0.0

    @property
    def cpu_time(self) -> float:
        """The mean."""
        return self.cpu_time_total / max(self.count, 1)

    def __repr__(self) -> str:
        return f"<{self.key}: {self.count} times, {self.cpu_time_total:.1f} us>"


class Averages(list[Average]):
    """What key_averages gives."""

    def table(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        max_name_column_width: int = 55,
        **options: Any,
    ) -> str:
        """The names with the time they took, as text; by sort_by ("count" or a time), or in order
        of their first appearance."""
        rows: list[Average] = list(self)
        if sort_by:
            rows.sort(
                key=lambda r: r.count if sort_by == "count" else r.cpu_time_total, reverse=True
            )
        rows = rows[:row_limit] if row_limit >= 0 else rows
        width = max([len("Name"), *(len(r.key[:max_name_column_width]) for r in rows)])
        lines = [f"{'Name':<{width}}  {'CPU total':>12}  {'CPU time avg':>12}  {'# of Calls':>10}"]
        lines.insert(0, "-" * len(lines[0]))
        lines.append(lines[0])
        for r in rows:
            name = r.key[:max_name_column_width]
            lines.append(
                f"{name:<{width}}  {_text(r.cpu_time_total):>12}  {_text(r.cpu_time):>12}"
                f"  {r.count:>10}"
            )
        return "\n".join([*lines, lines[0]]) + "\n"


def _text(microseconds: float) -> str:
    for limit, unit in ((1e6, "s"), (1e3, "ms")):
        if microseconds >= limit:
            return f"{microseconds / limit:.3f}{unit}"
    return f"{microseconds:.3f}us"


class profile:
    """Notes named stretches while its block runs (or between start and stop).

    Args:
        activities: accepted; the host is looked at.
        schedule: what to do in each step (`schedule`); by default everything is noted.
        on_trace_ready: called with the profile when a cycle of the schedule ends, and at the end.
    """

    def __init__(
        self,
        *,
        activities: Iterable[ProfilerActivity] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[[profile], Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        with_modules: bool = False,
        **options: Any,
    ) -> None:
        self.activities = set(activities) if activities is not None else supported_activities()
        self.schedule = schedule or (lambda step: ProfilerAction.RECORD)
        self.on_trace_ready = on_trace_ready
        self.step_num = 0
        self.current_action = ProfilerAction.NONE
        self._stretches: list[tuple[str, int, int, int, str | None]] = []
        self._step_began = 0
        self._lock = threading.Lock()

    # ---- running
    def start(self) -> None:
        """Begins."""
        self.current_action = self.schedule(self.step_num)
        self._step_began = time.perf_counter_ns()
        _running.append(self)

    def stop(self) -> None:
        """Ends, and hands over what was noted."""
        if self in _running:
            _running.remove(self)
        if self._records() and self.on_trace_ready:
            self.on_trace_ready(self)
        self.current_action = ProfilerAction.NONE

    def step(self) -> None:
        """The next step of the loop begins."""
        now = time.perf_counter_ns()
        if self._records():
            self._note(f"ProfilerStep#{self.step_num}", self._step_began, now, None)
        if self.current_action is ProfilerAction.RECORD_AND_SAVE and self.on_trace_ready:
            self.on_trace_ready(self)
        before = self.current_action
        self.step_num += 1
        self.current_action = self.schedule(self.step_num)
        if before is not ProfilerAction.RECORD and self._records():
            self._stretches.clear()  # a new cycle
        self._step_began = time.perf_counter_ns()

    def _records(self) -> bool:
        return self.current_action in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)

    def _note(self, name: str, began: int, ended: int, args: str | None) -> None:
        if self._records():
            with self._lock:
                self._stretches.append((name, began, ended, threading.get_ident(), args))

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.stop()

    # ---- results
    def key_averages(self, *args: Any, **options: Any) -> Averages:
        """Count and time of each name."""
        by_name: dict[str, Average] = {}
        for name, began, ended, *_ in self._stretches:
            one = by_name.setdefault(name, Average(name))
            one.count += 1
            one.cpu_time_total += (ended - began) / 1e3
        return Averages(by_name.values())

    def export_chrome_trace(self, path: str) -> None:
        """Writes the stretches for Perfetto or chrome://tracing; packed if path ends in ".gz"."""
        events = [
            {
                "ph": "X", "cat": "user_annotation", "name": name, "pid": os.getpid(),
                "tid": thread, "ts": began / 1e3, "dur": (ended - began) / 1e3,
                "args": {"text": args} if args else {},
            }
            for name, began, ended, thread, args in self._stretches
        ]  # fmt: skip
        text = json.dumps({"schemaVersion": 1, "traceEvents": events})
        if path.endswith(".gz"):
            import gzip

            with gzip.open(path, "wt", encoding="utf-8") as packed:
                packed.write(text)
        else:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
