"""Indexing, counting and ordering where several threads share the work, beside NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import quicksilver as qs

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("width", [1, 3, 20, 100])
def test_rows_by_index(width: int) -> None:
    table = RNG.standard_normal((70, width)).astype(np.float32)
    index = RNG.integers(0, 70, (41, 100))
    rows = qs.nn.functional.embedding(
        qs.from_numpy(index).to("mps"), qs.from_numpy(table).to("mps")
    )
    assert np.array_equal(rows.cpu().numpy(), table[index])
    columns = (
        qs.from_numpy(table.T.copy()).to("mps").index_select(1, qs.from_numpy(index[0]).to("mps"))
    )
    assert np.array_equal(columns.cpu().numpy(), table.T[:, index[0]])


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_counts(dtype: type) -> None:
    index = RNG.integers(0, 200, 100_000)
    values = RNG.integers(0, 9, index.size).astype(dtype)
    counts = qs.ones(200, dtype=qs.from_numpy(values).dtype, device="mps")
    counts.scatter_add_(0, qs.from_numpy(index).to("mps"), qs.from_numpy(values).to("mps"))
    want = np.ones(200, dtype)
    np.add.at(want, index, values)
    assert np.array_equal(counts.cpu().numpy(), want)
    assert np.array_equal(
        qs.bincount(qs.from_numpy(index).to("mps")).cpu().numpy(), np.bincount(index)
    )
    with pytest.raises(IndexError):
        qs.zeros(199, device="mps").scatter_add_(
            0, qs.from_numpy(index).to("mps"), qs.ones(index.size, device="mps")
        ).cpu()


@pytest.mark.parametrize("reduce", ["amax", "amin", "prod", "sum"])
@pytest.mark.parametrize("transposed", [False, True])
def test_scatter_reduce(reduce: str, transposed: bool) -> None:
    index = RNG.integers(0, 90, (50, 90))
    x, y = (RNG.uniform(0.5, 1.5, (50, 90)) for _ in range(2))
    operands = [qs.from_numpy(a.T.copy()).to("mps").t() for a in (x, index, y)]
    if not transposed:
        operands = [a.contiguous() for a in operands]
    got = qs.scatter_reduce(operands[0], 1, operands[1], operands[2], reduce)
    want = x.copy()
    combine = {"amax": np.maximum, "amin": np.minimum, "prod": np.multiply, "sum": np.add}[reduce]
    for row in range(50):
        combine.at(want[row], index[row], y[row])
    assert np.allclose(got.cpu().numpy(), want, rtol=1e-14)


@pytest.mark.parametrize("transposed", [False, True])
def test_masks(transposed: bool) -> None:
    x, mask = RNG.standard_normal((300, 7, 40)), RNG.random((300, 7, 40)) > 0.5
    if transposed:
        x, mask = x.transpose(2, 1, 0), mask.transpose(2, 1, 0)
    a, m = qs.from_numpy(x.copy()).to("mps"), qs.from_numpy(mask.copy()).to("mps")
    if transposed:  # the same numbers, the other way round in memory
        a, m = (t.permute(2, 1, 0).contiguous().permute(2, 1, 0) for t in (a, m))
    assert np.array_equal(a[m].cpu().numpy(), x[mask])
    assert np.array_equal(m.nonzero().cpu().numpy(), np.argwhere(mask))
    a[m] = -a[m]
    want = np.where(mask, -x, x)
    assert np.array_equal(a.cpu().numpy(), want)
    b = qs.from_numpy(x[:, :, 0].copy()).to("mps")
    both = qs.from_numpy(mask[:, :, 0].copy()).to("mps")
    assert np.array_equal(b[both].cpu().numpy(), x[:, :, 0][mask[:, :, 0]])


def test_index_lies_as_its_indices_do() -> None:
    i, j = (qs.from_numpy(RNG.integers(0, 9, (30, 20))).to("mps").t() for _ in range(2))
    x = qs.arange(81, device="mps").reshape(9, 9)
    y = x[i, j]
    assert y.stride() == (1, 20)
    assert np.array_equal(y.cpu().numpy(), i.cpu().numpy() * 9 + j.cpu().numpy())


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (4, 4), (3, 7), (7, 3)])
@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_triangles(shape: tuple[int, int], device: str) -> None:
    for offset in range(-8, 9):
        for name in ("tril", "triu"):
            got = getattr(qs, f"{name}_indices")(*shape, offset, device=device)
            want = np.array(getattr(np, f"{name}_indices")(shape[0], offset, shape[1]))
            assert np.array_equal(got.cpu().numpy(), want)


def test_isin_and_multinomial() -> None:
    x = RNG.integers(0, 40, (30, 50))
    for count in (1, 16, 17):
        among = x.reshape(-1)[:count]
        got = qs.isin(qs.from_numpy(x).to("mps"), qs.from_numpy(among).to("mps"))
        assert np.array_equal(got.cpu().numpy(), np.isin(x, among))
    weights = qs.tensor([[0.0, 1.0, 0.0], [2.0, 0.0, 0.0]], device="mps")
    draws = qs.multinomial(weights, 5000, True).cpu().numpy()
    assert (draws == [[1], [0]]).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "int64"])
@pytest.mark.parametrize("dim", [0, 1])
def test_running_sums(dtype: str, dim: int) -> None:
    x = RNG.integers(-3, 4, (70, 611)).astype(np.float32)
    a = qs.from_numpy(x).to("mps").to(getattr(qs, dtype))
    turned = a.t().contiguous().t()
    want = x.astype(np.float64).cumsum(dim)
    for source in (a, turned):
        assert np.array_equal(source.cumsum(dim).double().cpu().numpy(), want)
    zeros = qs.full((3, 40), -0.0, device="mps")
    assert qs.signbit(zeros.cumsum(1)).all()
