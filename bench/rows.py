"""The rows of bench/run. Each gives lines of the table."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kernels
import models
import ops
import sizes
import workloads
from measure import Line, Subject, compare, show, small

import quicksilver as qs

DEVICE = "mps"


class Bench:
    """The libraries that take part, and how many rounds."""

    only = ""  # of the row `ops`: a regular expression that names cases
    above = 1.5  # and the ratio from which they are shown
    part = (0, 1)  # this many-th of so many parts of them

    def __init__(self, rounds: int, compiled: bool, peers: bool) -> None:
        self.rounds = rounds
        self.compiled = compiled
        self.torch: Any = None
        self.jax: Any = None
        if peers and importlib.util.find_spec("torch"):
            import torch

            torch.set_num_threads(qs.get_num_threads())
            self.torch = torch
        if peers and importlib.util.find_spec("jax"):
            import jax

            self.jax = jax

    def subjects(
        self, make: Callable[[Any, str], Callable[[], Any]], jax: Callable[..., Any] | None = None
    ) -> list[Subject]:
        """A workload in every library."""
        result = [Subject("ours", make(qs, DEVICE), lambda _: qs.mps.synchronize())]
        if self.torch:
            result.append(Subject("torch", make(self.torch, "cpu"), lambda _: None))
            if self.compiled:
                step = self.torch.compile(make(self.torch, "cpu"))
                result.append(Subject("compiled", step, lambda _: None))
        if self.jax and jax:
            result.append(Subject("jax", jax(), self.jax.block_until_ready))
        return result

    def line(
        self, row: str, subjects: list[Subject], asked: float | None, unit: str = "us"
    ) -> Line:
        times = compare(subjects, self.rounds)
        return Line(row, times.pop("ours"), times, asked, unit)


# ---- host cost -----------------------------------------------------------------------------------
def host(bench: Bench) -> list[Line]:
    """One op on one element: recorded by us, run by PyTorch's cpu."""

    def adder(L: Any, device: str, grad: bool, sync: Callable[[], Any]) -> Any:
        x, y = L.ones(1, device=device, requires_grad=grad), L.ones(1, device=device)

        def do(count: int) -> Any:
            return [x + y for _ in range(count)]

        return do, sync

    lines = []
    eager = 1e-6  # what PyTorch takes for x + y; the figures are shares of it
    for name, grad, asked in (("record x + y", False, 0.4), ("needing grad", True, 0.6)):
        work = {"ours": adder(qs, DEVICE, grad, qs.mps.synchronize)}
        if bench.torch:
            work["torch"] = adder(bench.torch, "cpu", grad, lambda: None)
        times = small(work, bench.rounds)
        if not grad:
            eager = times.get("torch", eager)
        lines.append(Line(f"host: {name}, Python", times.pop("ours"), times, asked * eager))
    program = Path(qs.__file__).absolute().parents[2] / "qs_host_cost"
    if program.exists():
        asked_of = {
            "record_add": 0.15 * eager, "record_add_needing_grad": None, "cut_100_nodes": 15e-6,
        }  # fmt: skip
        output = subprocess.run([program], capture_output=True, text=True, check=True).stdout
        for text in output.splitlines():
            name, value, _ = text.split()
            lines.append(Line(f"host: {name}, C++", float(value) * 1e-6, {}, asked_of.get(name)))
    return lines


def module(bench: Bench) -> list[Line]:
    """What nn and optim add to the ops: a call, a lookup, step and zero_grad."""

    def caller(L: Any) -> Any:
        class Same(L.nn.Module):
            def forward(self, x: Any) -> Any:
                return x

        same, x = Same(), L.ones(1)
        return lambda n: [same(x) for _ in range(n)], lambda: None

    def looker(L: Any) -> Any:
        layer = L.nn.Linear(1, 1)

        def do(n: int) -> None:
            for _ in range(n):
                layer.weight  # noqa: B018

        return do, lambda: None

    def stepper(L: Any, device: str, name: str) -> Any:
        net = L.nn.Sequential(L.nn.Linear(2, 2), L.nn.ReLU(), L.nn.Linear(2, 2)).to(device)
        optimizer = getattr(L.optim, name)(net.parameters(), lr=0.1)

        def do(n: int) -> None:
            for _ in range(n):
                optimizer.zero_grad()
                optimizer.step()  # no gradients: nothing is recorded

        return do, lambda: None

    def empty(n: int) -> None:
        for _ in range(n):
            pass

    lines = []
    cases: list[tuple[str, Callable[[Any, str], Any], float]] = [
        ("call", lambda L, d: caller(L), 0.2e-6),
        ("parameter lookup", lambda L, d: looker(L), 0.05e-6),
        ("SGD step + zero_grad", lambda L, d: stepper(L, d, "SGD"), 3e-6),
        ("AdamW step + zero_grad", lambda L, d: stepper(L, d, "AdamW"), 3e-6),
    ]
    for name, make, asked in cases:
        work = {"ours": make(qs, DEVICE), "loop": (empty, lambda: None)}
        if bench.torch:
            work["torch"] = make(bench.torch, "cpu")
        times = small(work, bench.rounds, 1000)
        loop = times.pop("loop")
        times = {key: value - loop for key, value in times.items()}
        lines.append(Line(f"module: {name}", times.pop("ours"), times, asked))
    return lines


# ---- whole programs ------------------------------------------------------------------------------
def chain(bench: Bench) -> list[Line]:
    """A dozen elementwise ops on two inputs."""
    lines = []
    for n, asked in ((1_000, 6e-6), (100_000, 45e-6), (10_000_000, 8e-3)):

        def make(L: Any, device: str, n: int = n) -> Any:
            return workloads.make_chain(L, device, n)

        def jax(n: int = n) -> Any:
            import jax_workloads

            return jax_workloads.make_chain(n)

        lines.append(bench.line(f"chain {n:.0e}", bench.subjects(make, jax), asked))
    return lines


def hand(bench: Bench) -> list[Line]:
    """Fused chains against hand-written loops, one thread, from C++."""
    lines = []
    program = Path(qs.__file__).absolute().parents[2] / "qs_hand_loops"
    if program.exists():
        output = subprocess.run([program], capture_output=True, text=True, check=True).stdout
        for text in output.splitlines():
            name, ours, by_hand = text.split()
            most = 1.3 if "1e+05" in name else 1.6
            asked = float(by_hand) * most
            lines.append(Line(f"hand: {name}", float(ours), {"by hand": float(by_hand)}, asked))
    return lines


def mlp(bench: Bench) -> list[Line]:
    """A training step of an MLP 784-256-10, batch 64."""
    lines = []
    for name, opt, asked in (("SGD", workloads.sgd, 0.2e-3), ("AdamW", workloads.adamw, 0.28e-3)):

        def make(L: Any, device: str, opt: Any = opt) -> Any:
            return workloads.make_mlp(L, device, opt=opt)

        def jax(name: str = name) -> Any:
            import jax_workloads

            return jax_workloads.make_mlp(name)

        lines.append(bench.line(f"mlp {name}", bench.subjects(make, jax), asked, "ms"))
    return lines


# ---- starting, staying ---------------------------------------------------------------------------
_IMPORT = """
import resource, sys, time

def peak():
    try:  # getrusage would count what the parent had before the fork
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

if sys.argv[1] != "numpy":
    import numpy
before, start = peak(), time.perf_counter()
__import__(sys.argv[1])
print(time.perf_counter() - start, peak() - before)
"""


def importing(bench: Bench) -> list[Line]:
    """Time and memory of the import after NumPy's own, each in processes of its own."""
    names = ["numpy", "quicksilver", *(n for n in ("torch", "jax") if getattr(bench, n))]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    memory: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(max(5, bench.rounds)):
        for name in names:
            out = subprocess.run(
                [sys.executable, "-c", _IMPORT, name], capture_output=True, text=True, check=True
            ).stdout.split()
            seconds[name].append(float(out[0]))
            memory[name].append(float(out[1]))
    times = {name: statistics.median(values) for name, values in seconds.items()}
    sizes = {name: statistics.median(values) for name, values in memory.items()}
    numpy_time, numpy_size = times.pop("numpy"), sizes.pop("numpy")
    return [
        Line("import, after NumPy's", times.pop("quicksilver"), times, 0.015, "ms",
             f"NumPy itself {numpy_time * 1e3:.0f} ms"),
        Line("its memory", sizes.pop("quicksilver"), sizes, 15e6, "MB",
             f"NumPy itself {numpy_size / 1e6:.0f} MB"),
    ]  # fmt: skip


def steady(bench: Bench) -> list[Line]:
    """After the third step nothing new may be made: prints what was."""
    step = workloads.make_mlp(qs, DEVICE, opt=workloads.adamw)
    for _ in range(3):
        step()
    qs.mps.synchronize()
    memory = qs.mps.driver_allocated_memory()
    before = qs.mps.plan_stats()
    for _ in range(100):
        step()
    qs.mps.synchronize()
    after = qs.mps.plan_stats()
    made = {name: after[name] - before[name] for name in after}
    grown = qs.mps.driver_allocated_memory() - memory
    print("steady: in 100 steps of mlp AdamW after the third:")
    print("  " + ", ".join(f"{count} {name}" for name, count in made.items() if name != "plans"))
    print(f"  memory taken from the driver: {grown} bytes more")
    fine = made["plans_built"] == 0 and made["kernels_built"] == 0 and grown == 0
    print("  " + ("as asked: no new plan, kernel or allocation" if fine else "NOT as asked"))
    return []


ROWS: dict[str, Callable[[Bench], list[Line]]] = {
    "host": host,
    "module": module,
    "import": importing,
    "chain": chain,
    "hand": hand,
    "mlp": mlp,
    "steady": steady,
    "unseen": sizes.unseen,
    "planning": sizes.planning,
    **{name: models.row(name) for name in models.MODELS},
    "memory": models.memory,
    "ops": ops.ops,
    **kernels.ROWS,
}


def about(bench: Bench) -> None:
    """The machine and the versions."""
    facts = qs._C._info()
    print(f"{facts['cpu']}, {facts['cores']} cores, {facts['isa']}; {platform.platform()}")
    versions = [f"Python {platform.python_version()}", f"quicksilver {qs.__version__}"]
    versions += [
        f"{n} {getattr(bench, n).__version__}" for n in ("torch", "jax") if getattr(bench, n)
    ]
    print(", ".join(versions) + f"; {qs.get_num_threads()} threads")
    print(f"mps is {qs.backends.mps.get_name()}; medians of {bench.rounds} rounds, interleaved;")
    load = os.getloadavg()[0]
    print(f"(3.0x) beside a peer: it takes three times as long as ours; load {load:.1f}\n")


def main(arguments: list[str], text: str | None) -> int:
    parser = argparse.ArgumentParser(
        "bench/run", description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--compiled", action="store_true", help="also torch.compile")
    parser.add_argument("--alone", action="store_true", help="no peers")
    parser.add_argument("--only", default="", help="ops: cases whose names match")
    parser.add_argument("--above", type=float, default=1.5, help="ops: show ratios above")
    parser.add_argument("--part", default="0/1", help="ops: the I-th of N parts of the cases, I/N")
    options = parser.parse_args(arguments)
    bench = Bench(options.rounds, options.compiled, not options.alone)
    bench.only, bench.above = options.only, options.above
    bench.part = tuple(int(number) for number in options.part.split("/"))
    about(bench)
    lines = [line for name in options.rows or ROWS for line in ROWS[name](bench)]
    if lines:
        show(lines)
    return 0
