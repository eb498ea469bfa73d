"""Equality up to a stated number of units in the last place."""

from __future__ import annotations

import numpy as np

from oracle.library import Array

EPS = {"f16": 2.0**-10, "bf16": 2.0**-7, "f32": 2.0**-23, "f64": 2.0**-52}
_TINY = {"f16": 2.0**-24, "bf16": 2.0**-133, "f32": 2.0**-149, "f64": 2.0**-1074}
_MAX = {
    "f16": 65504.0,
    "bf16": float(np.finfo(np.float32).max),
    "f32": float(np.finfo(np.float32).max),
    "f64": float(np.finfo(np.float64).max),
}


def spacing(expected: Array, dtype: str) -> Array:
    """The distance between neighbours of `dtype` around each value."""
    with np.errstate(all="ignore"):
        exponent = np.floor(np.log2(np.abs(expected)))
        gap = np.exp2(np.nan_to_num(exponent, nan=0.0, posinf=0.0, neginf=-1e4)) * EPS[dtype]
    return np.maximum(gap, _TINY[dtype])


def round_to(expected: Array, dtype: str) -> Array:
    """float64 values rounded once to `dtype`, as float64. bfloat16 is left as it is."""
    if dtype == "bf16":
        return expected
    kind = {"f16": np.float16, "f32": np.float32, "f64": np.float64}[dtype]
    with np.errstate(all="ignore"):
        return expected.astype(kind).astype(np.float64)


def mismatch(
    got: Array,
    expected: Array,
    dtype: str,
    *,
    ulps: float = 0.0,
    slack: Array | float = 0.0,
    signed_zero: bool = False,
) -> str | None:
    """None, or where and by how much `got` differs from `expected`.

    Floating dtypes: |got - expected| <= ulps * spacing + slack, NaN equals NaN, infinities equal;
    ulps=0 asks for the correctly rounded value. Others: equal after wrapping to the dtype.
    """
    if got.shape != expected.shape:
        return f"shape {got.shape}, expected {expected.shape}"
    if dtype not in EPS:
        wanted = expected.astype(got.dtype)
        bad = got != wanted
        allowed = np.zeros(got.shape)
    else:
        wanted = np.asarray(expected, dtype=np.float64)
        value = got.astype(np.float64)
        if ulps == 0 and np.all(np.asarray(slack) == 0) and dtype != "bf16":
            wanted = round_to(wanted, dtype)
            allowed = np.zeros(got.shape)
        else:
            allowed = max(ulps, 0.5) * spacing(wanted, dtype) + slack
        with np.errstate(all="ignore"):
            overflow = (np.abs(wanted) > _MAX[dtype] - allowed) & np.isinf(value)
            overflow &= np.sign(wanted) == np.sign(value)
            same = (np.abs(value - wanted) <= allowed) | (value == wanted) | overflow
        bad = ~(same | (np.isnan(value) & np.isnan(wanted)))
        if signed_zero:
            bad |= (value == 0) & (wanted == 0) & (np.signbit(value) != np.signbit(wanted))
    if not bad.any():
        return None
    where = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
    g, w = got[where], wanted[where]
    text = (
        f"{int(bad.sum())} of {bad.size} differ, first at {list(where)}: got {g!r}, expected {w!r}"
    )
    if dtype in EPS and np.isfinite(float(g)) and np.isfinite(float(w)):
        gap = float(np.broadcast_to(spacing(np.asarray(w), dtype), ()))
        off = abs(float(g) - float(w))
        text += f" (off by {off:.3g} = {off / gap:.3g} ulp, allowed {float(allowed[where]):.3g})"
    return text
