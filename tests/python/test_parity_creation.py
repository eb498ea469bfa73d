"""Creation ops against NumPy: full, arange, linspace, eye and their kin, by dtype and device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracle.compare import mismatch
from oracle.library import (
    DEVICES,
    DTYPES,
    FAST_DTYPES,
    FLOATING,
    SLOW_DTYPES,
    Array,
    L,
    library_dtype,
    numpy_dtype,
    round_to_bf16,
    short_dtype,
    to_numpy,
)

ON_DEVICES = pytest.mark.parametrize("device", DEVICES)
BY_DTYPE = pytest.mark.parametrize(
    "dtype", [*FAST_DTYPES, *(pytest.param(d, marks=pytest.mark.slow) for d in SLOW_DTYPES)]
)


def check(t: Any, expected: Any, dtype: str, device: str, **tolerance: Any) -> None:
    assert short_dtype(t) == dtype
    assert t.device.type == device
    expected = np.asarray(expected)
    if dtype in FLOATING:
        expected = expected.astype(np.float64)
    text = mismatch(to_numpy(t), expected, dtype, **tolerance)
    assert text is None, text


@ON_DEVICES
@BY_DTYPE
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5), (2, 0, 3), (5000,)])
def test_full(shape: tuple[int, ...], dtype: str, device: str) -> None:
    options = {"dtype": library_dtype(dtype), "device": device}
    value: Any = True if dtype == "bool" else 3
    check(L.full(shape, value, **options), np.full(shape, value), dtype, device)
    check(L.zeros(shape, **options), np.zeros(shape), dtype, device)
    check(L.ones(shape, **options), np.ones(shape), dtype, device)
    like = L.zeros(shape, **options)
    check(L.full_like(like, value), np.full(shape, value), dtype, device)
    check(like.new_full(shape, value), np.full(shape, value), dtype, device)
    assert tuple(L.empty(shape, **options).shape) == shape


@ON_DEVICES
def test_full_takes_the_kind_of_its_number(device: str) -> None:
    kinds = [(True, "bool"), (2, "i64"), (2.5, "f32")]
    for value, dtype in kinds:
        assert short_dtype(L.full((2,), value, device=device)) == dtype


ARANGES: list[tuple[float, float, float]] = [
    (0, 10, 1),
    (0, 10, 3),
    (5, -5, -2),
    (0, 0, 1),
    (2, 3000, 1),
    (1, 100, 7),
]


@ON_DEVICES
@pytest.mark.parametrize("dtype", [d for d in DTYPES if d not in ("bool", "u8", "i8")])
@pytest.mark.parametrize("bounds", ARANGES)
def test_arange(bounds: tuple[float, float, float], dtype: str, device: str) -> None:
    made = L.arange(*bounds, dtype=library_dtype(dtype), device=device)
    expected = np.arange(*bounds, dtype=np.float64)
    check(made, expected, dtype, device, **({} if dtype != "bf16" else {"ulps": 0.51}))


@ON_DEVICES
@pytest.mark.parametrize(
    "bounds", [(0.0, 1.0, 0.1), (-2.5, 7.0, 0.75), (1.0, 0.0, -0.3), (0.0, 2.0, 0.0009)]
)
def test_arange_of_fractions(bounds: tuple[float, float, float], device: str) -> None:
    start, end, step = bounds
    count = int(np.ceil((end - start) / step))
    for dtype in ("f32", "f64"):
        made = L.arange(*bounds, dtype=library_dtype(dtype), device=device)
        eps = 2.0 ** (-23 if dtype == "f32" else -52)
        slack = eps * max(abs(start), abs(end))
        check(made, start + np.arange(count) * step, dtype, device, ulps=2, slack=slack)


@ON_DEVICES
def test_arange_default_dtypes(device: str) -> None:
    assert short_dtype(L.arange(5, device=device)) == "i64"
    assert short_dtype(L.arange(5.0, device=device)) == "f32"
    assert short_dtype(L.arange(0, 5, 0.5, device=device)) == "f32"


@ON_DEVICES
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize(
    "bounds",
    [(0, 1, 11), (-3, 7, 1000), (5, 5, 4), (2, 9, 1), (0, 1, 0), (10, -10, 7), (1, 1e6, 2501)],
)
def test_linspace(bounds: tuple[float, float, int], dtype: str, device: str) -> None:
    made = L.linspace(*bounds, dtype=library_dtype(dtype), device=device)
    scale = max(abs(bounds[0]), abs(bounds[1]))
    eps = 2.0 ** (-23 if dtype == "f32" else -52)
    check(made, np.linspace(*bounds), dtype, device, ulps=1, slack=2 * eps * scale)
    values = to_numpy(made)
    if bounds[2] > 1:
        assert values[0] == bounds[0]
        assert values[-1] == bounds[1]


@ON_DEVICES
@BY_DTYPE
@pytest.mark.parametrize("size", [(4, 4), (3, 7), (7, 3), (1, 1), (0, 3), (70, 65)])
def test_eye(size: tuple[int, int], dtype: str, device: str) -> None:
    made = L.eye(*size, dtype=library_dtype(dtype), device=device)
    check(made, np.eye(*size), dtype, device)


@ON_DEVICES
@BY_DTYPE
def test_in_place_fills(dtype: str, device: str) -> None:
    base: Array = np.arange(40).reshape(5, 8).astype(numpy_dtype(dtype))
    if dtype == "bf16":
        base = round_to_bf16(base)
    t = L.from_numpy(base.copy()).to(library_dtype(dtype)).to(device)
    expected = base.copy()
    t[1:4, ::3].fill_(1)
    expected[1:4, ::3] = 1
    t[:, 1].zero_()
    expected[:, 1] = 0
    t[4] = 2
    expected[4] = 2
    check(t, expected, dtype, device, ulps=0.5 if dtype == "bf16" else 0)


@ON_DEVICES
def test_numbers_that_do_not_fit_are_refused(device: str) -> None:
    with pytest.raises((RuntimeError, OverflowError)):
        L.full((2,), 300, dtype=L.uint8, device=device)
