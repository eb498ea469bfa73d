"""Rows of bench/run for whole models: time of a step, and the most memory it takes."""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import workloads
from measure import Line

import quicksilver as qs

# name: (workload, how many times PyTorch eager's speed is asked with AVX-512)
MODELS: dict[str, tuple[Callable[[Any, str], Callable[[], Any]], float]] = {
    "lenet": (workloads.make_lenet, 1.5),
    "char_gpt": (workloads.make_char_gpt, 2.0),
    "resnet18": (workloads.make_resnet18, 1.1),
    "gpt2_forward": (workloads.make_gpt2_forward, 2.5),
    "lstm": (workloads.make_lstm, 1.0),
    "dcgan": (workloads.make_dcgan_generator, 1.0),
}


def row(name: str) -> Callable[[Any], list[Line]]:
    """A step of the model in every library, in turn; the ratio to PyTorch eager is what counts."""
    make, ratio = MODELS[name]

    def measure(bench: Any) -> list[Line]:
        subjects = bench.subjects(make)
        seconds: dict[str, list[float]] = {subject.name: [] for subject in subjects}
        for subject in subjects:
            for _ in range(4):  # plans, kernels, primitives and compiled code are made
                subject.synchronize([subject.step()])
        gc.collect()
        for _ in range(bench.rounds):
            for subject in subjects:
                time.sleep(0.005)
                for part in range(3):  # the first wakes the library's threads and caches
                    start = time.perf_counter()
                    subject.synchronize([subject.step()])
                    if part:
                        seconds[subject.name].append(time.perf_counter() - start)
        times = {key: statistics.median(values) for key, values in seconds.items()}
        ours = times.pop("ours")
        reached = f", {times['torch'] / ours:.2f}x reached" if "torch" in times else ""
        return [Line(name, ours, times, None, "ms", f"asked {ratio}x PyTorch eager{reached}")]

    return measure


_PEAK = """
import sys
sys.path.insert(0, sys.argv[3])
import importlib, workloads
name, device = sys.argv[1], "mps" if sys.argv[1] == "quicksilver" else "cpu"
L = importlib.import_module(name)
L.set_num_threads(int(sys.argv[4]))

def figure(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(key))

import models
step = models.MODELS[sys.argv[2]][0](L, device)
if device == "mps":
    L.mps.synchronize()
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak counts from here
before = figure("VmRSS:")
for _ in range(5):
    value = step()
    value.sum().item()
print(figure("VmHWM:") - before)
"""


def memory(bench: Any) -> list[Line]:
    """The most memory that five steps take above the model and its data, in new processes."""
    lines = []
    here = Path(__file__).resolve().parent
    for name in MODELS:
        figures = {}
        for library in ("quicksilver", *(["torch"] if bench.torch else [])):
            command = [sys.executable, "-c", _PEAK, library, name, str(here)]
            done = subprocess.run(
                [*command, str(qs.get_num_threads())],
                capture_output=True, text=True, env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
            )  # fmt: skip
            if done.returncode:
                raise RuntimeError(f"{name} with {library} failed:\n{done.stderr}")
            figures[library] = float(done.stdout)
        ours = figures.pop("quicksilver")
        lines.append(Line(f"memory: {name}", ours, figures, figures.get("torch"), "MB"))
    return lines
