"""Random programs: what one is, how it is run in three ways, compared, and made small.

A statement is two lines of Python, one over tensors and one over arrays; a program is its inputs
and its statements. Text, so that a failing program is printed as something that runs by itself.
"""

from __future__ import annotations

import math
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from oracle.library import Array

Outputs = dict[str, Array | str]  # a name that could not be computed holds the error
ROUNDS = 3  # the first builds a plan, the second records its replay, the third replays


@dataclass(frozen=True)
class Statement:
    line: str
    twin: str


@dataclass(frozen=True)
class Program:
    seed: int
    dtype: str  # of its floats: "f32" or "f64"
    inputs: dict[str, tuple[str, tuple[int, ...]]]  # name -> kind ("f", "i", "b"), shape
    statements: tuple[Statement, ...]
    draws: bool = False  # has random numbers of its own: nothing to compare with NumPy
    differentiated: bool = False
    rounds: int = ROUNDS

    def arrays(self, which: int) -> dict[str, Array]:
        """Fresh input data for each round."""
        rng = np.random.default_rng([self.seed, which])
        made: dict[str, Array] = {}
        for name, (kind, shape) in self.inputs.items():
            if kind == "f":
                made[name] = (rng.standard_normal(shape) * 1.5).astype(np.float32)
            elif kind == "i":
                made[name] = rng.integers(-3, 5, shape)
            else:
                made[name] = rng.integers(0, 2, shape).astype(bool)
        return made

    def body(self) -> str:
        """The statements over tensors; leaves are named a0, a1, ..."""
        lines = ["L.manual_seed(7)"] if self.draws else []
        leaves = [n for n, (kind, _) in self.inputs.items() if kind == "f"]
        if self.differentiated:
            lines += [f"{n}.requires_grad_()" for n in leaves]
        lines += [s.line for s in self.statements]
        if self.differentiated:
            names = ", ".join(leaves)
            lines.append(f"grads = gradients(L, dict(locals()), [{names}])")
        return "\n".join(lines)

    def script(self) -> str:
        """The program as a file that runs."""
        dtype = "float32" if self.dtype == "f32" else "float64"
        head = [
            "import numpy as np",
            "import quicksilver as L",
            f"dev = 'mps'  # seed {self.seed}; QS_SYNC=1 runs each op at once",
            "reads = []",
        ]
        if self.differentiated:
            head.append("from oracle.programs import gradients  # PYTHONPATH=tests/python")
        head.append(f"for which in range({self.rounds}):")
        body = [f"rng = np.random.default_rng([{self.seed}, which])"]
        for name, (kind, shape) in self.inputs.items():
            made = {
                "f": f"(rng.standard_normal({shape}) * 1.5).astype(np.float32)",
                "i": f"rng.integers(-3, 5, {shape})",
                "b": f"rng.integers(0, 2, {shape}).astype(bool)",
            }[kind]
            cast = f".to(L.{dtype})" if kind == "f" else ""
            body.append(f"{name} = L.from_numpy({made}){cast}.to(dev)")
        body += self.body().split("\n")
        return "\n".join(head + ["    " + line for line in body])


def gradients(L: Any, env: dict[str, Any], leaves: list[Any]) -> list[Any]:
    """Gradients of the sum of every floating variable with a history."""
    total: Any = None
    for name in sorted(env):
        t = env[name]
        if (
            name[0] == "v"
            and hasattr(t, "requires_grad")
            and t.requires_grad
            and t.is_floating_point()
        ):
            total = t.sum() if total is None else total + t.sum()
    if total is None:
        return []
    return [g for g in L.autograd.grad(total, leaves, allow_unused=True) if g is not None]


def run_on_library(L: Any, program: Program, device: str) -> list[Outputs]:
    """What each round leaves in its variables."""
    from oracle.library import library_dtype, to_numpy

    code = compile(program.body(), f"program {program.seed}", "exec")
    rounds = []
    for which in range(program.rounds):
        env: dict[str, Any] = {"L": L, "dev": device, "reads": [], "gradients": gradients}
        for name, a in program.arrays(which).items():
            t = L.from_numpy(a)
            if program.inputs[name][0] == "f":
                t = t.to(library_dtype(program.dtype))
            env[name] = t.to(device) if device != "cpu" else t.clone()
        out: Outputs = {}
        try:
            exec(code, env)
            for name, value in sorted(env.items()):
                if name[0] in "avib" and hasattr(value, "dtype"):
                    out[name] = to_numpy(value)
            for i, g in enumerate(env.get("grads", [])):
                out[f"grad {i}"] = to_numpy(g)
            out["reads"] = np.array(env["reads"], np.float64)
        except Exception as error:
            out["error"] = f"{type(error).__name__}: {error}"
        rounds.append(out)
    return rounds


def numpy_environment(program: Program, which: int, floats: Any) -> dict[str, Any]:
    env: dict[str, Any] = {"np": np, "F": floats, "A": as_array, "reads": []}
    for name, a in program.arrays(which).items():
        env[name] = a.astype(floats) if a.dtype.kind == "f" else a.copy()
    return env


def as_array(a: Any) -> Array:
    """NumPy turns 0-dim results into scalars; a tensor stays one."""
    return np.asarray(a)


def run_on_numpy(program: Program, floats: Any) -> Outputs:
    """The first round in NumPy."""
    env = numpy_environment(program, 0, floats)
    with np.errstate(all="ignore"):
        exec("\n".join(s.twin for s in program.statements), env)
    out: Outputs = {n: v for n, v in env.items() if n[0] in "avib" and isinstance(v, np.ndarray)}
    out["reads"] = np.array(env["reads"], np.float64)
    return out


class Worker:
    """A child process that runs programs: recorded, or with QS_SYNC=1 and on one thread. A crash
    is an outcome."""

    def __init__(self, sync: bool) -> None:
        self.sync = sync
        self.process: subprocess.Popen[bytes] | None = None

    def _start(self) -> subprocess.Popen[bytes]:
        here = str(Path(__file__).resolve().parents[1])
        paths = [here, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p)}
        env.pop("QS_SYNC", None)
        if self.sync:
            env["QS_SYNC"] = "1"
            env["QS_NUM_THREADS"] = "1"  # nor do the bits depend on the number of threads
        return subprocess.Popen(
            [sys.executable, "-m", "oracle.worker"],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def send(self, program: Program) -> None:
        if self.process is None or self.process.poll() is not None:
            self.process = self._start()
        assert self.process.stdin is not None
        data = pickle.dumps(program)
        try:
            self.process.stdin.write(struct.pack("<Q", len(data)) + data)
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def receive(self) -> list[Outputs]:
        assert self.process is not None
        assert self.process.stdout is not None
        head = self.process.stdout.read(8)
        if len(head) < 8:
            code = self.process.wait()
            return [{"error": f"the process died with code {code}"}]
        return pickle.loads(self.process.stdout.read(struct.unpack("<Q", head)[0]))

    def close(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            self.process.wait()


def same_bits(a: Array | str, b: Array | str) -> bool:
    """Any NaN equals any other: which of its two NaNs a sum hands on, and so the sign, depends on
    the order in which the compiler names the operands."""
    if isinstance(a, str) or isinstance(b, str):
        return a == b

    def bits(x: Array) -> bytes:
        return (np.where(x != x, x.dtype.type(np.nan), x) if x.dtype.kind in "fc" else x).tobytes()

    return a.dtype == b.dtype and a.shape == b.shape and bits(a) == bits(b)


@dataclass
class Runner:
    """Runs programs in three ways and says in one line how they differ."""

    recorded: Worker = field(default_factory=lambda: Worker(sync=False))
    synchronous: Worker = field(default_factory=lambda: Worker(sync=True))

    def close(self) -> None:
        self.recorded.close()
        self.synchronous.close()

    def verdict(self, program: Program) -> str | None:
        """None when all is equal."""
        self.recorded.send(program)
        self.synchronous.send(program)
        fused, plain = self.recorded.receive(), self.synchronous.receive()
        for outputs in (fused, plain):
            for out in outputs:
                error = str(out.get("error", ""))
                if "died" in error or error.startswith(
                    ("NameError", "AttributeError", "InternalError")
                ):
                    return f"{'recorded' if outputs is fused else 'QS_SYNC'}: {error}"
        if not program.draws and not program.differentiated:
            for label, outputs in (("recorded", fused), ("QS_SYNC", plain)):
                text = self._against_numpy(program, outputs[0])
                if text:
                    return f"{label} differs from NumPy: {text}"
        for which, (f, p) in enumerate(zip(fused, plain, strict=True)):
            for name in sorted(f.keys() | p.keys()):
                if name not in f or name not in p or not same_bits(f[name], p[name]):
                    text = name + difference(f.get(name), p.get(name))
                    return f"recorded differs from QS_SYNC in round {which}: {text}"
        return None

    def _against_numpy(self, program: Program, got: Outputs) -> str | None:
        if "error" in got:
            return str(got["error"])
        wide, narrow = run_on_numpy(program, np.float64), run_on_numpy(program, np.float32)
        exact = 1e-4 if program.dtype == "f32" else 1e-8
        for name, expected in wide.items():
            value = got.get(name)
            if not isinstance(value, np.ndarray) or isinstance(expected, str):
                return f"{name} is missing"
            if value.shape != expected.shape:
                return f"{name} has shape {value.shape}, NumPy {expected.shape}"
            if expected.dtype.kind != "f":
                if not np.array_equal(value, expected):
                    return name + difference(value, expected)
                continue
            noise = (
                float(np.abs(expected - narrow[name]).max(initial=0))
                if program.dtype == "f32"
                else 0
            )
            allowed = exact * (1 + float(np.abs(expected).max(initial=0))) + 30 * noise
            if not np.all(np.abs(value - expected) <= allowed):
                return name + difference(value, expected)
        return None


def difference(a: Any, b: Any) -> str:
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return f": {a!r} and {b!r}"[:300]
    if a.shape != b.shape or a.dtype.kind != b.dtype.kind:
        return f": {a.dtype}{a.shape} and {b.dtype}{b.shape}"
    unequal = (a != b) & ~((a != a) & (b != b))
    if not unequal.any():
        return ": equal but for the sign of zero or the bits of NaN"
    where = np.unravel_index(int(np.argmax(unequal)), a.shape)
    at = [int(i) for i in where]
    return (
        f": {int(unequal.sum())} of {a.size} differ, first at {at}: {a[where]!r} and {b[where]!r}"
    )


def kind_of(verdict: str) -> str:
    """What must stay while a program shrinks: the sort of failure, not its numbers."""
    return verdict.split(" in round")[0].split(": ")[0]


def shrink(program: Program, verdict: Callable[[Program], str | None], tries: int = 300) -> Program:
    """Drops statements, then rounds, while the program still fails in the same way."""
    wanted = kind_of(verdict(program) or "")
    left = tries

    def still(candidate: Program) -> bool:
        nonlocal left
        left -= 1
        if not candidate.draws:
            try:
                run_on_numpy(candidate, np.float64)
            except Exception:
                return False
        found = verdict(candidate)
        return found is not None and kind_of(found) == wanted and "NameError" not in found

    size = math.ceil(len(program.statements) / 2)
    while size >= 1 and left > 0:
        at, dropped = 0, False
        while at < len(program.statements) and left > 0:
            rest = program.statements[:at] + program.statements[at + size :]
            candidate = replace(program, statements=rest)
            if still(candidate):
                program, dropped = candidate, True
            else:
                at += size
        if size == 1 and not dropped:
            break
        size = max(1, size // 2)
    for rounds in (1, 2):
        if rounds < program.rounds and left > 0 and still(replace(program, rounds=rounds)):
            return replace(program, rounds=rounds)
    return program


def check_all(programs: Iterable[Program], runner: Runner, most: int = 3) -> list[str]:
    """Failures as text, each with its small program; stops after `most`."""
    failures = []
    for program in programs:
        found = runner.verdict(program)
        if found is None:
            continue
        small = shrink(program, runner.verdict)
        failures.append(
            f"seed {program.seed}: {found}\nshrunk: {runner.verdict(small)}\n{small.script()}"
        )
        if len(failures) >= most:
            break
    return failures
