"""What few scripts use, against PyTorch's committed results; and profiles of named stretches."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import pytest
import traced

import quicksilver as torch
from quicksilver import profiler


@pytest.mark.parametrize("case", traced.cases("rare_layers"))
def test_as_pytorch(case: str) -> None:
    traced.check("rare_layers", case, torch, rtol=2e-5, atol=2e-6)


def test_foreach_on_mps() -> None:
    tensors = [torch.full((n,), 2.0, device="mps") for n in (3, 5)]
    torch._foreach_mul_(tensors, [2.0, 3.0])
    assert [t.tolist() for t in tensors] == [[4.0] * 3, [6.0] * 5]
    with pytest.raises(AttributeError):
        torch._foreach_nothing  # noqa: B018


def test_a_profile_times_named_stretches(tmp_path: Path) -> None:
    with profiler.profile(activities=[profiler.ProfilerActivity.CPU]) as found:
        for _ in range(3):
            with profiler.record_function("wait"):
                time.sleep(0.002)
        with torch.autograd.profiler.record_function("once", "about it"):
            torch.ones(3).sum()
    with profiler.record_function("outside"):
        pass
    wait, once = found.key_averages()
    assert (wait.key, wait.count, once.key, once.count) == ("wait", 3, "once", 1)
    assert wait.cpu_time_total >= 6000 and wait.cpu_time == wait.cpu_time_total / 3
    table = found.key_averages().table(sort_by="cpu_time_total", row_limit=1)
    assert "wait" in table and "once" not in table
    for name in ("trace.json", "trace.json.gz"):
        path = str(tmp_path / name)
        found.export_chrome_trace(path)
        content = Path(path).read_bytes()
        text = gzip.decompress(content) if name.endswith("gz") else content
        events = json.loads(text)["traceEvents"]
        assert [e["name"] for e in events] == ["wait"] * 3 + ["once"]
        assert all(e["dur"] >= 0 for e in events) and events[3]["args"] == {"text": "about it"}


def test_a_schedule_of_steps(tmp_path: Path) -> None:
    seen = []

    def ready(found: profiler.profile) -> None:
        seen.append([one.key for one in found.key_averages()])

    plan = profiler.schedule(wait=1, warmup=1, active=2, repeat=2, skip_first=1)
    names = [plan(step).name for step in range(10)]
    cycle = ["NONE", "WARMUP", "RECORD", "RECORD_AND_SAVE"]
    assert names == ["NONE", *cycle, *cycle, "NONE"]
    with profiler.profile(schedule=plan, on_trace_ready=ready) as found:
        for _ in range(10):
            with profiler.record_function("work"):
                pass
            found.step()
    assert seen == [
        ["work", "ProfilerStep#3", "ProfilerStep#4"],
        ["work", "ProfilerStep#7", "ProfilerStep#8"],
    ]
    handler = profiler.tensorboard_trace_handler(str(tmp_path), "worker")
    with profiler.profile(on_trace_ready=handler):
        pass
    assert [p.name.split(".")[0] for p in tmp_path.iterdir()] == ["worker"]
    with pytest.raises(AssertionError):
        profiler.schedule(wait=0, warmup=0, active=0)
