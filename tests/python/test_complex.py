"""Complex numbers against NumPy in complex128, and their gradients against differences.

PyTorch's convention: the gradient of a real loss L at z = x + iy is dL/dx + i dL/dy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oracle.library import DEVICES, IS_TORCH, L

ON_DEVICES = pytest.mark.parametrize("device", DEVICES)
DTYPES = pytest.mark.parametrize("dtype", ["complex64", "complex128"])
SHAPE = (5, 7)


def sample(seed: int, shape: tuple[int, ...] = SHAPE) -> Any:
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def tensor(a: Any, dtype: str, device: str, layout: str = "contiguous") -> Any:
    a = a.astype(dtype)
    if layout == "transposed":
        return L.from_numpy(np.ascontiguousarray(a.T)).to(device).t()
    if layout == "sliced":
        wide = np.zeros((a.shape[0] * 2, a.shape[1] + 3), dtype)
        wide[::2, 1:-2] = a
        return L.from_numpy(wide).to(device)[::2, 1:-2]
    return L.from_numpy(a).to(device)


def array(t: Any) -> Any:
    return t.detach().cpu().resolve_conj().numpy()


def near(got: Any, wanted: Any, dtype: str, scale: float = 1.0) -> None:
    eps = 1.2e-7 if dtype == "complex64" else 2.3e-16
    np.testing.assert_allclose(got, wanted, rtol=40 * eps * scale, atol=20 * eps * scale)


UNARY: dict[str, Callable[[Any], Any]] = {
    "neg": np.negative, "square": np.square, "reciprocal": np.reciprocal, "sqrt": np.sqrt,
    "rsqrt": lambda z: 1 / np.sqrt(z), "exp": np.exp, "expm1": np.expm1, "log": np.log,
    "log2": np.log2, "log10": np.log10, "log1p": np.log1p, "sin": np.sin, "cos": np.cos,
    "tan": np.tan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asin": np.arcsin,
    "acos": np.arccos, "atan": np.arctan, "asinh": np.arcsinh, "acosh": np.arccosh,
    "atanh": np.arctanh, "sigmoid": lambda z: 1 / (1 + np.exp(-z)), "abs": np.abs,
    "angle": np.angle, "conj": np.conj, "conj_physical": np.conj, "sgn": lambda z: z / np.abs(z),
    "real": np.real, "imag": np.imag, "isfinite": np.isfinite, "isnan": np.isnan,
    "isreal": np.isreal, "logical_not": np.logical_not,
}  # fmt: skip
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "pow": np.power,
    "eq": np.equal, "ne": np.not_equal, "matmul": lambda a, b: a @ b,
}  # fmt: skip


@ON_DEVICES
@DTYPES
@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str, dtype: str, device: str) -> None:
    for layout in ("contiguous", "transposed", "sliced"):
        a = sample(1).astype(dtype)
        x = tensor(a, dtype, device, layout)
        with np.errstate(all="ignore"):
            wanted = UNARY[name](a.astype(np.complex128))
        near(array(getattr(L, name)(x)), wanted, dtype)


@ON_DEVICES
@DTYPES
@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str, dtype: str, device: str) -> None:
    shape = (6, 6)
    a, b = (sample(s, shape).astype(dtype) for s in (2, 3))
    wide = BINARY[name](a.astype(np.complex128), b.astype(np.complex128))
    for layout in ("contiguous", "transposed", "sliced"):
        got = getattr(L, name)(tensor(a, dtype, device, layout), tensor(b, dtype, device))
        near(array(got), wide, dtype, 8)


@ON_DEVICES
def test_branch_cuts_keep_the_signs_of_zeros(device: str) -> None:
    z = np.array([complex(-2, 0.0), complex(-2, -0.0), complex(2, 0.0), complex(2, -0.0)])
    for name in ("sqrt", "log", "asin", "acos", "acosh", "atanh"):
        got = array(getattr(L, name)(L.from_numpy(z).to(device)))
        near(got, UNARY[name](z), "complex128")


@ON_DEVICES
def test_numbers_and_real_tensors_as_operands(device: str) -> None:
    z, r = sample(4).astype("complex64"), np.arange(7.0, dtype=np.float32)
    x, y = L.from_numpy(z).to(device), L.from_numpy(r).to(device)
    for got, wanted in (
        (x * 2j, z * 2j), (1 - x, 1 - z), (y * 1j, r * 1j), (x + y, z + r), (y - x, r - z),
        (x / 2, z / 2), ((1 + 1j) / x, (1 + 1j) / z), (x**2, z**2), (x**0.5, z**0.5),
    ):  # fmt: skip
        assert got.dtype == L.complex64
        near(array(got), wanted, "complex64")
    wanted = (z + 1j) * r
    x += 1j
    x *= y
    near(array(x), wanted, "complex64")


@ON_DEVICES
@DTYPES
def test_reductions_and_scans(dtype: str, device: str) -> None:
    z = sample(5, (6, 9)).astype(dtype)
    wide, x = z.astype(np.complex128), tensor(z, dtype, device, "transposed")
    near(x.sum().item(), wide.sum(), dtype)
    near(array(x.sum(0)), wide.sum(0), dtype)
    near(array(x.mean(1)), wide.mean(1), dtype)
    near(array(x.prod(1)), wide.prod(1), dtype, 4)
    near(array(x.cumsum(0)), wide.cumsum(0), dtype)
    near(array(L.lerp(x, x * 2, 0.25)), wide * 1.25, dtype)
    near(array(L.sinc(x)), np.sin(np.pi * wide) / (np.pi * wide), dtype, 40)
    places = L.tensor([0, 1, 0, 1, 1, 0], device=device)
    rows = np.stack([wide[[0, 2, 5]].prod(0), wide[[1, 3, 4]].prod(0)])
    got = L.ones_like(x[:2]).index_reduce(0, places, x, "prod")
    near(array(got), rows, dtype, 4)
    near(array(x.cumprod(1)), wide.cumprod(1), dtype, 4)
    near(array(x.var(0)), wide.var(0, ddof=1), dtype)
    near(array(x.std(0)), wide.std(0, ddof=1), dtype)
    near(x.norm().item(), np.linalg.norm(wide), dtype)
    assert bool((x != 0).all()) and bool(x.any())


@ON_DEVICES
def test_views_share_memory(device: str) -> None:
    z = sample(6)
    x = L.from_numpy(z.copy()).to(device)
    x.real.mul_(2)
    x.imag = 3.0
    z = z.real * 2 + 3j
    near(array(x), z, "complex128")
    pairs = L.view_as_real(x)
    assert tuple(pairs.shape) == (*SHAPE, 2)
    assert pairs.stride() == (14, 2, 1)
    pairs[..., 1] += 1
    near(array(x), z + 1j, "complex128")
    near(array(L.view_as_complex(pairs.contiguous()).t()), (z + 1j).T, "complex128")
    assert x.real.data_ptr() == x.data_ptr() if device == "cpu" else True
    near(array(x.t().real), (z + 1j).T.real, "complex128")
    near(array(x[1:4, ::2].imag), (z + 1j)[1:4, ::2].imag, "complex128")


@ON_DEVICES
def test_making(device: str) -> None:
    r, i = (np.random.default_rng(s).standard_normal(5) for s in (7, 8))
    x, y = L.from_numpy(r).to(device), L.from_numpy(i).to(device)
    near(array(L.complex(x, y)), r + 1j * i, "complex128")
    near(array(L.polar(x, y)), r * np.exp(1j * i), "complex128")
    assert L.complex(x.float(), y.float()).dtype == L.complex64
    near(array(L.zeros(3, dtype=L.complex64, device=device) + (1 + 2j)), [1 + 2j] * 3, "complex64")
    near(array(L.full((2,), 1j, device=device)), [1j, 1j], "complex64")
    near(array(L.eye(2, dtype=L.complex64, device=device)), np.eye(2), "complex64")
    with pytest.raises(RuntimeError):
        L.complex(x, y.float())
    with pytest.raises(RuntimeError):
        L.complex(x.long(), y.long())
    with pytest.raises(RuntimeError, match="non-complex"):
        _ = x.imag


@ON_DEVICES
def test_indexing(device: str) -> None:
    z = sample(9)
    x = L.from_numpy(z.copy()).to(device)
    rows = L.tensor([3, 0, 3], device=device)
    near(array(x[rows]), z[[3, 0, 3]], "complex128")
    near(array(x.index_select(1, rows)), z[:, [3, 0, 3]], "complex128")
    x[rows] = 1j
    z[[3, 0, 3]] = 1j
    x[:, 2] = 5
    z[:, 2] = 5
    near(array(x), z, "complex128")
    near(array(L.where(x.real > 0, x, 0)), np.where(z.real > 0, z, 0), "complex128")
    near(array(L.cat([x, x], 1)), np.concatenate([z, z], 1), "complex128")


# L of z, real; kept away from cuts and zeros.
LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "mul": lambda z, w: (z * w).real.sum(),
    "square_modulus": lambda z, w: (z * z.conj()).real.sum(),
    "abs": lambda z, w: z.abs().sum(),
    "angle": lambda z, w: (z + 4).angle().sum(),
    "div": lambda z, w: (w / (z + 3)).imag.sum(),
    "exp": lambda z, w: (z.exp() * w).real.sum(),
    "log": lambda z, w: ((z + 4).log() * w).imag.sum(),
    "sin": lambda z, w: (z.sin() * w).real.sum(),
    "tanh": lambda z, w: ((z * 0.3).tanh() * w).real.sum(),
    "sqrt": lambda z, w: ((z + 4).sqrt() * w).real.sum(),
    "pow": lambda z, w: (((z + 4) ** 3) * w).real.sum() + ((z + 4) ** (w * 0.1)).imag.sum(),
    "reciprocal": lambda z, w: ((z + 4).reciprocal() * w).real.sum(),
    "sgn": lambda z, w: ((z + 4).sgn() * w).real.sum(),
    "matmul": lambda z, w: (z.matmul(w.t()).abs() ** 2).sum(),
    "view_as_real": lambda z, w: (L.view_as_real(z) ** 3).sum(),
    "parts": lambda z, w: (z.real * z.imag).sum() + (z.real**2).sum(),
    "mean": lambda z, w: (z.mean(0) * w[0]).real.sum(),
    "cumsum": lambda z, w: (z.cumsum(1) * w).imag.sum(),
    "where": lambda z, w: L.where(w.real > 0, z * w, z).imag.sum(),
    "polar": lambda z, w: L.polar(z.real, z.imag).imag.sum(),
    "real_input": lambda z, w: (z.real * w).imag.sum(),
}


@ON_DEVICES
@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name: str, device: str) -> None:
    z, w = sample(10, (3, 4)), sample(11, (3, 4))
    weights = L.from_numpy(w).to(device)
    loss = LOSSES[name]

    def value(a: Any) -> float:
        return float(loss(L.from_numpy(a).to(device), weights).item())

    x = L.from_numpy(z.copy()).to(device).requires_grad_()
    loss(x, weights).backward()
    got, h = array(x.grad), 1e-6
    wanted = np.zeros_like(z)
    for place in np.ndindex(z.shape):
        for unit in (1, 1j):
            up, down = z.copy(), z.copy()
            up[place] += h * unit
            down[place] -= h * unit
            wanted[place] += unit * (value(up) - value(down)) / (2 * h)
    np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=2e-7)


@pytest.mark.skipif(IS_TORCH, reason="asks our mps device")
def test_recorded_equals_plain() -> None:
    """A fused chain gives the bits of the ops one by one."""
    z, w = (sample(s, (33, 65)).astype("complex64") for s in (12, 13))

    def chain(x: Any, y: Any) -> Any:
        a = (x * y + 1j).exp()
        return (a / (y + 2)).conj() * x.abs() - a.real

    plain = array(chain(L.from_numpy(z), L.from_numpy(w)))
    fused = array(chain(L.from_numpy(z).to("mps"), L.from_numpy(w).to("mps")))
    assert (plain.view(np.uint32) == fused.view(np.uint32)).all()


@ON_DEVICES
def test_what_has_no_meaning_raises(device: str) -> None:
    x = L.from_numpy(sample(14).astype("complex64")).to(device)
    for call in (
        lambda: x < x, lambda: x.floor(), lambda: x.relu(), lambda: L.maximum(x, x),
        lambda: x.sign(), lambda: x // x, lambda: x.sort(), lambda: x.argmax(),
    ):  # fmt: skip
        with pytest.raises((RuntimeError, NotImplementedError)):
            call()
    with pytest.raises(RuntimeError):
        _ = L.zeros(3, device=device).add_(1j)
