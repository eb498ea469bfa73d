"""Runs a parity case and gathers what went wrong, one line a failure."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oracle.case import Case, as_reference, as_tuple
from oracle.compare import EPS, mismatch
from oracle.layouts import arrange
from oracle.library import (
    FLOATING,
    HALVES,
    REFUSALS,
    Array,
    L,
    Tensor,
    serves,
    short_dtype,
    to_numpy,
)

TRACES = Path(__file__).resolve().parents[2] / "traces"


@functools.cache
def trace(name: str) -> dict[str, Any]:
    """A committed trace of PyTorch's behaviour; tests/traces/make_*.py write them."""
    return json.loads((TRACES / f"{name}.json").read_text())


def build(case: Case, arrays: Sequence[Array], placed: Sequence[Any], dtype: str, device: str):
    return [
        arrange(a, layout, arg.dtype or dtype, device)
        for a, arg, (_, layout) in zip(arrays, case.args, placed, strict=True)
    ]


def strides_that_matter(shape: Sequence[int], strides: Sequence[int]) -> list[int]:
    """Strides of dimensions with extent one (and of empty tensors) say nothing."""
    if 0 in shape:
        return []
    return [s if n > 1 else 0 for n, s in zip(shape, strides, strict=True)]


def describe(t: Tensor) -> list[list[int]]:
    shape = [int(n) for n in t.shape]
    return [shape, strides_that_matter(shape, [int(s) for s in t.stride()])]


def expected_of(case: Case, arrays: list[Array]) -> tuple[Array, ...]:
    given = arrays if case.native else [as_reference(a) for a in arrays]
    with np.errstate(all="ignore"):
        return tuple(np.asarray(r) for r in as_tuple(case.reference(*given)))


@functools.lru_cache(maxsize=16)
def prepared(
    case: Case, dtype: str, name: str
) -> tuple[list[Array], tuple[Array, ...], Array | float]:
    """Arguments, expected results and error scale of an arrangement, once for all devices."""
    placed = dict(case.arrangements())[name]
    arrays = case.values(dtype, name, placed)
    expected = expected_of(case, [a.copy() for a in arrays])
    scale: Array | float = 0.0
    if case.magnitude is not None:
        with np.errstate(all="ignore"):
            scale = np.asarray(case.magnitude(*(as_reference(a) for a in arrays)), np.float64)
        scale = np.nan_to_num(scale, nan=0.0, posinf=0.0)
    return arrays, expected, scale


def check_values(
    case: Case, dtype: str, device: str, only: Sequence[str] | None = None
) -> list[str]:
    """Values, result dtypes and shapes of a case in all its arrangements."""
    if not serves(device, dtype):
        return []
    wanted: list[str] | str = trace("dtypes")[case.name][dtype]
    problems = []
    for name, placed in case.arrangements():
        if only and name not in only:
            continue
        try:
            if isinstance(wanted, str):
                arrays = case.values(dtype, name, placed)
            else:
                arrays, expected, scale = prepared(case, dtype, name)
            tensors = build(case, arrays, placed, dtype, device)
            results = as_tuple(case.call(L, *tensors))
            got = [to_numpy(r) for r in results]
        except Exception as error:
            if isinstance(wanted, str) and isinstance(error, REFUSALS):
                return []
            problems.append(f"{name}: {type(error).__name__}: {str(error)[:300]}")
            continue
        if isinstance(wanted, str):
            return [f"PyTorch refuses {dtype} ({wanted}); here it gave {short_dtype(results[0])}"]
        given = [short_dtype(r) for r in results]
        if given != wanted:
            problems.append(f"{name}: dtypes {given}, PyTorch gives {wanted}")
            continue
        for g, e, r in zip(got, expected, given, strict=True):
            half = r in HALVES
            ulps = case.ulps
            if half:
                ulps = case.half_ulps if case.half_ulps is not None else (1.0 if ulps else 0.0)
            text = mismatch(
                g,
                e,
                r,
                ulps=ulps,
                slack=scale * EPS["f32" if half and not case.saves_results else r]
                if r in FLOATING
                else 0.0,
                signed_zero=case.signed_zero,
            )
            if text:
                problems.append(f"{name}: {text}")
    return problems


def row_major(shape: Sequence[int]) -> list[int]:
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return strides_that_matter(shape, strides[::-1])


def check_strides(case: Case, dtype: str, device: str, may_be_row_major: bool) -> list[str]:
    """Shapes and strides of the results are those in the trace, or row-major where said."""
    problems = []
    for name, placed in case.arrangements():
        wanted = trace("strides")[case.name][name]
        tensors = build(case, case.values(dtype, name, placed), placed, dtype, device)
        got = [describe(r) for r in as_tuple(case.call(L, *tensors))]
        plain = [[shape, row_major(shape)] for shape, _ in wanted]
        if got != wanted and not (
            may_be_row_major and (got == plain or case.name == "where[indices]")
        ):
            problems.append(f"{name}: shapes and strides {got}, PyTorch gives {wanted}")
    return problems
