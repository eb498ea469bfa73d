"""Builds random programs, statement by statement, running the NumPy twin as it goes.

A statement is kept only when its results stay finite and small, when float32 and float64 agree (so
that the comparison means something) and when no value lies near a jump of a comparison or a floor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from oracle.library import Array
from oracle.programs import Program, Statement, numpy_environment

Pair = tuple[str, str]
MARGIN = 2e-3
MOST = 6000  # elements of a variable


class Unfit(Exception):
    """No variable has the shape or kind that the statement wants."""


class Builder:
    def __init__(self, seed: int, length: int, draws: bool, differentiated: bool) -> None:
        self.rng = rng = np.random.default_rng(seed)
        luck = rng.random()
        small = luck < 0.8
        sizes = [1, 2, 3, 4, 5, 7, 8, 16] if small else [33, 64, 70]
        m, n, k = (int(rng.choice(sizes)) for _ in range(3))
        if luck > 0.95:  # rows longer than a tile
            m, n, k = int(rng.choice([1, 2])), int(rng.choice([1025, 1600, 2500])), 1
        inputs: dict[str, tuple[str, tuple[int, ...]]] = {
            "a0": ("f", (m, n)), "a1": ("f", (n,)), "a2": ("f", (m, 1)), "a3": ("f", (n, k)),
            "a4": ("f", (2, m, n) if small else (m, n)), "i0": ("i", (m, n)), "b0": ("b", (m, n)),
        }  # fmt: skip
        dtype = "f64" if rng.random() < 0.15 else "f32"
        self.program = Program(seed, dtype, inputs, (), draws, differentiated)
        self.kept: list[Statement] = []
        self.count = 0
        self.envs = self._fresh()
        if differentiated:
            for name in ("a0", "a1", "a2", "a3", "a4"):
                self._append(Statement(f"v{name[1:]} = {name} * 1", f"v{name[1:]} = A({name} * 1)"))
            self.count = 5
        attempts = 0
        while len(self.kept) < length and attempts < length * 12:
            attempts += 1
            self._try()

    def result(self) -> Program:
        return replace(self.program, statements=tuple(self.kept))

    # ---- the twins, in float64 and float32

    def _fresh(self) -> list[dict[str, Any]]:
        envs = [numpy_environment(self.program, 0, f) for f in (np.float64, np.float32)]
        for s in self.kept:
            for env in envs:
                exec(s.twin, env)
        return envs

    def _append(self, s: Statement) -> None:
        for env in self.envs:
            exec(s.twin, env)
        self.kept.append(s)

    def _healthy(self) -> bool:
        wide, narrow = self.envs
        for name, a in wide.items():
            if not isinstance(a, np.ndarray):
                continue
            b = narrow[name]
            if a.shape != b.shape or a.size > MOST or a.ndim > 4:
                return False
            if a.dtype.kind == "f":
                if not np.all(np.isfinite(a)) or np.abs(a).max(initial=0) > 1e3:
                    return False
                if np.abs(a - b).max(initial=0) > 1e-4 * (1 + np.abs(a).max(initial=0)):
                    return False
            elif not np.array_equal(a, b) or (
                a.dtype.kind == "i" and np.abs(a).max(initial=0) > 10**6
            ):
                return False
        return True

    def _try(self) -> None:
        from oracle.statements import TABLE, WEIGHTS

        make = TABLE[int(self.rng.choice(len(TABLE), p=WEIGHTS))]
        try:
            line, twin = make(self)
        except Unfit:
            return
        try:
            with np.errstate(all="ignore"):
                self._append(Statement(line, twin))
            if self._healthy():
                return
            self.kept.pop()
        except (ValueError, IndexError, TypeError) as error:
            if "assignment destination is read-only" not in str(error) and not self._expected(
                error
            ):
                raise AssertionError(f"{line!r} / {twin!r}: {error}") from error
        with np.errstate(all="ignore"):
            self.envs = self._fresh()

    @staticmethod
    def _expected(error: Exception) -> bool:
        return any(t in str(error) for t in ("broadcast", "shape mismatch"))

    # ---- what statements ask for

    def pick(self, kinds: str = "f", want: Callable[[Array], bool] = lambda a: True) -> str:
        """The name of a variable of the kinds; newer ones more often."""
        start = "v" if self.program.differentiated else "avib"
        names = [
            n for n, a in self.envs[0].items()
            if n[0] in start and isinstance(a, np.ndarray) and a.dtype.kind in kinds and want(a)
        ]  # fmt: skip
        if not names:
            raise Unfit
        weights = np.arange(1, len(names) + 1, dtype=float)
        return str(self.rng.choice(names, p=weights / weights.sum()))

    def array(self, name: str) -> Array:
        return self.envs[0][name]

    def partner(self, name: str, kinds: str = "f") -> str:
        """A variable that broadcasts with another."""
        shape = self.array(name).shape

        def fits(a: Array) -> bool:
            try:
                return int(np.prod(np.broadcast_shapes(shape, a.shape))) <= MOST
            except ValueError:
                return False

        return self.pick(kinds, fits)

    def target(self) -> str:
        """A new name, or now and then one that is taken."""
        taken = [n for n in self.envs[0] if n[0] == "v"]
        if len(taken) > 3 and self.rng.random() < 0.2:
            return str(self.rng.choice(taken))
        self.count += 1
        return f"v{self.count - 1}"

    def assign(self, line: str, twin: str) -> Pair:
        name = self.target()
        return f"{name} = {line}", f"{name} = A({twin})"

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high))

    def one_of(self, *choices: Any) -> Any:
        return choices[self.integer(0, len(choices))]

    def number(self) -> float:
        return float(
            self.one_of(0.5, -1.0, 2, 0.3, 1.25, -0.75, round(float(self.rng.uniform(-2, 2)), 3))
        )

    def axis(self, name: str) -> int:
        rank = self.array(name).ndim
        if rank == 0:
            raise Unfit
        return self.integer(0, rank)

    def clear_of(self, values: Array) -> None:
        """No value is near zero: a jump there stays where it is in every precision."""
        if values.size and np.abs(values).min() < MARGIN:
            raise Unfit
