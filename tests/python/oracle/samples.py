"""Sample values by domain, always from a seeded generator."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

from oracle.library import Array, numpy_dtype, round_to_bf16

_FLOAT_DOMAINS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "real": lambda r, s: r.standard_normal(s) * 3,
    "unit": lambda r, s: r.uniform(-1, 1, s),
    "probability": lambda r, s: r.uniform(0.02, 0.98, s),
    "positive": lambda r, s: np.exp(r.standard_normal(s) * 2),
    "nonzero": lambda r, s: (r.uniform(0.2, 5, s)) * r.choice([-1.0, 1.0], s),
    "above_one": lambda r, s: 1 + np.exp(r.standard_normal(s) * 2),
    "above_minus_one": lambda r, s: -1 + np.exp(r.standard_normal(s) * 2),
    "near_one": lambda r, s: np.exp(r.standard_normal(s) * 0.2) * r.choice([-1.0, 1.0], s),
    "angle": lambda r, s: r.uniform(-20, 20, s),
    "exponent": lambda r, s: r.uniform(-3, 3, s),
    "moderate": lambda r, s: r.uniform(-8, 8, s),
    "counts": lambda r, s: r.integers(-3, 4, s).astype(np.float64),
    "wide": lambda r, s: np.exp2(r.uniform(-12, 12, s)) * r.choice([-1.0, 1.0], s),
    "distinct": lambda r, s: (r.permutation(int(np.prod(s))).reshape(s) - np.prod(s) / 2) / 8,
}


def _integers(rng: np.random.Generator, shape: tuple[int, ...], domain: str, dtype: str) -> Array:
    info = np.iinfo(numpy_dtype(dtype))
    low, high = max(-9, info.min), 10
    if domain in ("positive", "above_one", "probability"):
        low, high = (2, 12) if domain == "above_one" else (1, 10)
    elif domain == "exponent":
        low, high = 0, 5
    elif domain == "near_one":
        low, high = max(-1, info.min), 3
    elif domain == "shift":
        low, high = 0, info.bits
    elif domain == "unit":
        low, high = max(-1, info.min), 2
    elif domain == "any":
        return rng.integers(info.min, info.max, shape, dtype=numpy_dtype(dtype), endpoint=True)
    elif domain == "distinct":
        size = int(np.prod(shape))
        if size <= info.max - info.min:
            return (rng.permutation(size) + max(info.min, -size // 2)).reshape(shape)
    a = rng.integers(low, high, shape)
    if domain == "nonzero":
        a = np.where(a == 0, 3, a)
    return a


def edges(dtype: str) -> Array:
    """Values at which kernels go wrong: zeros, infinities, NaN, denormals, the largest."""
    if dtype == "bool":
        return np.array([False, True])
    kind = numpy_dtype(dtype)
    if kind.kind != "f":
        info = np.iinfo(kind)
        return np.array([0, 1, 2, info.max, info.min, info.max - 1, info.min + 1], kind)
    info = np.finfo(kind)
    tiny, least, top = float(info.tiny), float(info.smallest_subnormal), float(info.max)
    if dtype == "bf16":
        tiny, least, top = 2.0**-126, 2.0**-133, 2.0**127 * 1.9921875
    ends = [
        0.0,
        1.0,
        0.5,
        np.inf,
        top,
        tiny,
        least,
        tiny / 4,
        2.5,
        1.5,
        3.0,
        88.5,
        1e4,
        1 + 2.0**-7,
    ]
    both = [v for e in ends for v in (e, -e)]
    values = np.array([*both, np.nan], np.float64).astype(kind)
    return round_to_bf16(values) if dtype == "bf16" else values


def draw(seed: str, shape: tuple[int, ...], domain: str, dtype: str) -> Array:
    """Values of `dtype` (bfloat16 in float32). `index:n` gives integers in [0, n)."""
    rng = np.random.default_rng(zlib.crc32(seed.encode()))
    if domain.startswith("index:"):
        return rng.integers(0, int(domain[6:]), shape).astype(numpy_dtype(dtype))
    if domain.startswith("permutation:"):
        return rng.permutation(int(domain[12:]))[: shape[0]].astype(numpy_dtype(dtype))
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    kind = numpy_dtype(dtype)
    if kind.kind != "f":
        return _integers(rng, shape, domain, dtype).astype(kind)
    a = _FLOAT_DOMAINS.get(domain, _FLOAT_DOMAINS["real"])(rng, shape).astype(kind)
    return round_to_bf16(a) if dtype == "bf16" else a


def put_edges(arrays: list[Array], dtype: str) -> None:
    """Writes edge values over the beginning of the arrays: of two arrays, all pairs."""
    e = edges(dtype)
    size = min(a.size for a in arrays)
    if len(arrays) == 1:
        grid = [e]
    else:
        first, second = np.meshgrid(e, e, indexing="ij")
        grid = [first.reshape(-1), second.reshape(-1)] + [np.roll(second.reshape(-1), 1)] * (
            len(arrays) - 2
        )
    for a, values in zip(arrays, grid, strict=True):
        n = min(size, values.size)
        a.reshape(-1)[:n] = values[:n]
