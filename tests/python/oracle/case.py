"""What one row of the parity tables says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from oracle import samples
from oracle.layouts import LAYOUTS, constant
from oracle.library import Array

GRID = (37, 67)  # more than two tiles of 1024, no power of two


@dataclass(frozen=True)
class Arg:
    """A tensor argument: its shape, where its values come from, its dtype if not the tested one."""

    shape: tuple[int, ...] = GRID
    domain: str = "real"
    dtype: str | None = None


@dataclass(frozen=True)
class Case:
    """How to call a verb, what NumPy says, and how near the two must be.

    `call(L, *tensors)` and `reference(*arrays)` return one result or a tuple. The reference sees
    float64, int64 (uint8 too) and bool arrays, or with `native` arrays of the tested dtype. The
    error allowed is `ulps` units in the last place (`half_ulps` for the 16-bit floats; 0: correctly
    rounded) plus eps * `magnitude(*arrays)`, eps that of the dtype the op computes in.
    """

    name: str
    ops: tuple[str, ...]
    call: Callable[..., Any]
    reference: Callable[..., Any]
    args: tuple[Arg, ...] = (Arg(),)
    ulps: float = 0.0
    half_ulps: float | None = None
    magnitude: Callable[..., Any] | None = None
    elementwise: bool = False
    broadcasts: bool = True
    edges: bool = False
    signed_zero: bool = False
    native: bool = False
    saves_results: bool = False  # a gradient read off results that were rounded to the dtype
    in_place: bool = False
    layouts: tuple[str, ...] = LAYOUTS
    dtypes: tuple[str, ...] | None = None

    def arrangements(self) -> Iterator[tuple[str, list[tuple[tuple[int, ...], str]]]]:
        """Names of arrangements and, for each argument, its shape and layout."""
        shapes = [a.shape for a in self.args]
        count = len(shapes)
        for layout in self.layouts:
            if layout == "expanded" and self.in_place:
                continue
            if (
                layout == "expanded" and count > 1
            ):  # the second of two, the second and third of three
                yield layout, [(s, "expanded" if i else "contiguous") for i, s in enumerate(shapes)]
            else:
                yield layout, [(s, layout) for s in shapes]
        if count > 1:
            turns = ("transposed", "sliced", "contiguous")
            yield "mixed", [(s, turns[i % 3]) for i, s in enumerate(shapes)]
        if not self.elementwise:
            return
        if count > 1 and self.broadcasts:
            small: list[tuple[int, ...]] = [(37, 1), (67,), (1, 67)]
            first = GRID if self.in_place else small[0]
            other = [(small[1 + i % 2], "contiguous") for i in range(count - 1)]
            yield "broadcast", [(first, "contiguous"), *other]
            yield "zero_dim_operand", [(GRID, "transposed")] + [((), "contiguous")] * (count - 1)
        yield "rank3", [((5, 7, 11), "permuted")] * count
        yield "zero_dim", [((), "offset")] * count
        yield "empty", [((0, 5), "contiguous")] * count
        yield "one", [((1, 1), "contiguous")] * count

    def values(
        self, dtype: str, name: str, placed: list[tuple[tuple[int, ...], str]]
    ) -> list[Array]:
        """The argument values of an arrangement, the same in every run."""
        arrays = []
        for i, (arg, (shape, layout)) in enumerate(zip(self.args, placed, strict=True)):
            seed = f"{self.name}/{dtype}/{name}/{i}"
            a = samples.draw(seed, shape, arg.domain, arg.dtype or dtype)
            arrays.append(constant(a) if layout == "expanded" else a)
        if self.edges and name == "contiguous":
            own = [a for a, arg in zip(arrays, self.args, strict=True) if arg.dtype is None]
            samples.put_edges(own, dtype)
        return arrays


def as_reference(a: Array) -> Array:
    if a.dtype.kind == "f":
        return a.astype(np.float64)
    return a if a.dtype.kind == "b" else a.astype(np.int64)


def as_float(a: Any) -> Any:
    """What an op that computes in floating point reads: integers pass through float32."""
    a = np.asarray(a)
    return a if a.dtype.kind == "f" else a.astype(np.float32).astype(np.float64)


def floating(f: Callable[..., Any]) -> Callable[..., Any]:
    """A reference whose integer inputs become floating first."""

    def wrapped(*arrays: Array) -> Any:
        with np.errstate(all="ignore"):
            return f(*(as_float(a) for a in arrays))

    return wrapped


def quiet(f: Callable[..., Any]) -> Callable[..., Any]:
    """A reference that overflows and divides by zero without a word."""

    def wrapped(*arrays: Array) -> Any:
        with np.errstate(all="ignore"):
            return f(*arrays)

    return wrapped


def as_tuple(result: Any) -> tuple[Any, ...]:
    return tuple(result) if isinstance(result, (tuple, list)) else (result,)
