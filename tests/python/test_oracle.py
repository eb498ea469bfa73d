"""The judges judged: what the other tests compare with must see what it is there to see."""

from __future__ import annotations

import numpy as np
import pytest
from oracle.compare import mismatch, spacing
from oracle.layouts import LAYOUTS, arrange, constant
from oracle.library import DEVICES, DTYPES, numpy_dtype, round_to_bf16, short_dtype, to_numpy
from oracle.samples import draw, edges

INF, NAN = np.inf, np.nan


def f32(*values: float) -> np.ndarray:  # type: ignore[type-arg]
    return np.array(values, np.float32)


def f64(*values: float) -> np.ndarray:  # type: ignore[type-arg]
    return np.array(values, np.float64)


def test_equal_values_are_equal() -> None:
    assert mismatch(f32(1, -2, INF, NAN, 0), f64(1, -2, INF, NAN, 0), "f32") is None
    assert mismatch(np.array([3, 4]), np.array([3, 4]), "i64") is None
    assert mismatch(np.array([200], np.uint8), np.array([456]), "u8") is None, "wraps"


@pytest.mark.parametrize(
    ("got", "wanted"),
    [(1.0, 2.0), (NAN, 1.0), (1.0, NAN), (INF, 1.0), (1.0, INF), (INF, -INF), (0.0, 1e-30)],
)
def test_unequal_values_are_not(got: float, wanted: float) -> None:
    for ulps in (0, 4):
        assert mismatch(f32(got), f64(wanted), "f32", ulps=ulps) is not None


def test_one_unit_is_seen_and_allowed() -> None:
    one = f64(1.0)
    next_one = np.nextafter(f32(1.0), f32(2.0))
    assert mismatch(next_one, one, "f32") is not None
    assert mismatch(next_one, one, "f32", ulps=0.9) is not None
    assert mismatch(next_one, one, "f32", ulps=1) is None
    assert mismatch(f32(-0.0), f64(0.0), "f32") is None
    assert mismatch(f32(-0.0), f64(0.0), "f32", signed_zero=True) is not None
    assert mismatch(f32(1.0), f64(1.0).reshape(1, 1), "f32") is not None, "shapes count"


def test_spacing_is_that_of_the_format() -> None:
    values = np.array([1.0, 1.5, 3.0, 1e-30, 1e30, 0.0, 2.0**-149], np.float32)
    assert np.array_equal(spacing(values.astype(np.float64), "f32"), np.spacing(values))
    halves = np.array([1.0, 1000.0, 6e-8], np.float16)
    assert np.array_equal(spacing(halves.astype(np.float64), "f16"), np.spacing(halves))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 4), (6,), (), (0, 3)])
def test_layouts_keep_values(shape: tuple[int, ...], layout: str, dtype: str, device: str) -> None:
    a = draw("layouts", shape, "any", dtype)
    a = constant(a) if layout == "expanded" else a
    t = arrange(a, layout, dtype, device)
    assert short_dtype(t) == dtype
    assert np.array_equal(to_numpy(t), a)
    if layout in ("transposed", "sliced", "permuted") and min(shape, default=0) > 1:
        assert not t.is_contiguous()


def test_samples_are_the_same_each_time() -> None:
    assert np.array_equal(draw("a", (9,), "real", "f32"), draw("a", (9,), "real", "f32"))
    assert not np.array_equal(draw("a", (9,), "real", "f32"), draw("b", (9,), "real", "f32"))


def test_edges_are_values_of_their_dtype() -> None:
    for dtype in DTYPES:
        assert edges(dtype).dtype == numpy_dtype(dtype)
    bf16 = edges("bf16")
    assert np.array_equal(round_to_bf16(bf16), bf16, equal_nan=True)
