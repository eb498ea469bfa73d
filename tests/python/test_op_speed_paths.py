"""Paths that exist for speed give what the plain ones do: values, bits and strides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracle.library import DEVICES, L

ON_DEVICES = pytest.mark.parametrize("device", DEVICES)


@ON_DEVICES
def test_like_functions_keep_the_order_of_memory(device: str) -> None:
    x = L.randn(2, 3, 4, 5, device=device)
    makers = [
        L.zeros_like, L.ones_like, L.empty_like, L.rand_like, L.randn_like,
        lambda t, **k: L.full_like(t, 2.0, **k), lambda t, **k: L.randint_like(t, 5, **k),
        lambda t, **k: L.randint_like(t, 1, 5, **k),
    ]  # fmt: skip
    for make in makers:
        turned = x.permute(2, 0, 3, 1)
        made = make(turned)
        assert made.shape == turned.shape and made.stride() == turned.stride()
        assert make(x[:, ::2]).is_contiguous()  # gaps are not kept
        assert make(x[:1].expand(4, 3, 4, 5)).is_contiguous()
        assert make(turned, memory_format=L.contiguous_format).is_contiguous()
        assert make(x, memory_format=L.channels_last).stride() == (60, 1, 15, 3)
        assert make(turned, requires_grad=True).is_leaf
    assert (L.ones_like(x.permute(3, 1, 0, 2)).cpu().numpy() == 1).all()
    with pytest.raises(RuntimeError, match="rank 4"):
        L.zeros_like(x[0], memory_format=L.channels_last)


@ON_DEVICES
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_moving_halves_changes_no_bit(device: str, dtype: str) -> None:
    bits = np.arange(65536, dtype=np.uint16).astype(np.int16).reshape(256, 256)
    x = L.from_numpy(bits).view(getattr(L, dtype)).to(device)

    def same(t: Any, wanted: np.ndarray[Any, Any]) -> bool:
        return bool((t.cpu().contiguous().view(L.int16).numpy() == wanted).all())

    assert same(x.clone(), bits)
    assert same(x.t().contiguous(), bits.T)
    assert same(L.cat([x, x.flip(1)], 1), np.concatenate([bits, bits[:, ::-1]], 1))
    assert same(x[:, 1:].clone(), bits[:, 1:])
    y = L.zeros(256, 512, dtype=x.dtype, device=device)
    y[:, ::2] = x
    assert same(y[:, ::2], bits)


@ON_DEVICES
@pytest.mark.parametrize(
    "shape", [(1, 1_050_000), (1, 70000), (5, 3000), (3, 1024), (7, 1000), (2, 600)]
)
def test_rows_of_any_length_fold_and_spread(device: str, shape: tuple[int, int]) -> None:
    a = np.random.default_rng(3).standard_normal(shape)
    x = L.from_numpy(a.astype(np.float32)).to(device)
    a = a.astype(np.float32).astype(np.float64)
    e = np.exp(a - a.max(1, keepdims=True))
    for got, wanted in [
        (x.sum(1), a.sum(1)), (x.amax(1), a.max(1)), (x.argmin(1), a.argmin(1)),
        (x.var(1), a.var(1, ddof=1)), (L.softmax(x, 1), e / e.sum(1, keepdims=True)),
        (L.stack(L.aminmax(x, dim=1)), np.stack([a.min(1), a.max(1)])),
        (x - x.mean(1, keepdim=True), a - a.mean(1, keepdims=True)),
        (x.sum(0), a.sum(0)), (x.var(0, correction=0), a.var(0)),
    ]:  # fmt: skip
        np.testing.assert_allclose(got.cpu().numpy(), wanted, rtol=2e-5, atol=2e-5)


@ON_DEVICES
def test_long_dot_is_a_sum(device: str) -> None:
    rng = np.random.default_rng(4)
    for n in (1, 1000, 70000):
        a, b = (rng.standard_normal(n).astype(np.float32) for _ in range(2))
        x, y = (L.from_numpy(v).to(device).requires_grad_() for v in (a, b))
        out = L.dot(x, y)
        wanted = a.astype(np.float64) @ b.astype(np.float64)
        np.testing.assert_allclose(out.item(), wanted, rtol=1e-5, atol=1e-3)
        out.backward()
        assert (x.grad.cpu().numpy() == b).all() and (y.grad.cpu().numpy() == a).all()
    x, y = (L.from_numpy(rng.standard_normal((50, 300))).to(device) for _ in range(2))
    got = L.einsum("ij,ij->i", x, y).cpu().numpy()
    np.testing.assert_allclose(got, (x.cpu().numpy() * y.cpu().numpy()).sum(1), rtol=1e-12)


@ON_DEVICES
@pytest.mark.parametrize(
    "dtype", ["int8", "int16", "int32", "uint8", "bool", "float16", "bfloat16"]
)
def test_running_sums_know_their_dtypes(device: str, dtype: str) -> None:
    a = np.random.default_rng(5).integers(0, 2, (37, 300))
    x = L.from_numpy(a).to(getattr(L, dtype)).to(device)
    for dim in (0, 1):
        for t, v in ((x, a), (x.t(), a.T)):
            got = t.cumsum(dim)
            assert got.dtype == (x.dtype if x.is_floating_point() else L.int64)
            wanted = np.cumsum(v, dim)
            if dtype == "bfloat16":  # eight digits: running sums are kept longer, then rounded
                wanted = L.from_numpy(wanted).to(L.bfloat16).float().numpy()
            assert (got.float().cpu().numpy() == wanted).all()
            assert (t.cumprod(dim).float().cpu().numpy() == np.cumprod(v, dim)).all()


@ON_DEVICES
@pytest.mark.parametrize("largest", [True, False])
def test_topk_of_a_long_row(device: str, largest: bool) -> None:
    a = np.random.default_rng(6).integers(0, 3000, 20000).astype(np.float32)
    for k in (33, 100, 300):
        values, at = L.topk(L.from_numpy(a).to(device), k, largest=largest)
        order = np.argsort(-a if largest else a, kind="stable")[:k]
        assert (values.cpu().numpy() == a[order]).all()
        assert (at.cpu().numpy() == order).all()
    rising = L.arange(20000, device=device)
    assert rising.topk(100).values.tolist() == list(range(19999, 19899, -1))


@ON_DEVICES
def test_whole_division_of_small_and_large_numbers(device: str) -> None:
    rng = np.random.default_rng(7)
    large = rng.integers(-(2**63), 2**63, 500)
    near = (2**52 + rng.integers(-3, 4, 500)) // rng.integers(1, 9, 500)
    x = np.concatenate([large, near, rng.integers(0, 2**33, 500), np.arange(500)])
    for y in (3, 7, 2**31, 2**52 - 1, -5, x[::-1].copy()):
        y = np.where(np.asarray(y) == 0, 1, y)
        tx, ty = L.from_numpy(x).to(device), L.tensor(y, device=device)
        assert (L.floor_divide(tx, ty).cpu().numpy() == x // y).all()
        assert (L.remainder(tx, ty).cpu().numpy() == x % y).all()
        assert (L.fmod(tx, ty).cpu().numpy() == np.fmod(x, y)).all()


@ON_DEVICES
def test_cubes_are_products(device: str) -> None:
    x = L.randn(1000, device=device)
    cubes = (x * x * x).cpu().numpy()
    assert ((x**3).cpu().numpy() == cubes).all()
    assert (L.pow(x, L.full_like(x, 3.0)).cpu().numpy() == cubes).all()
    mixed = L.pow(x.abs(), L.tensor([3.0, 0.5] * 500, device=device)).cpu().numpy()
    assert (mixed[::2] == abs(cubes)[::2]).all()
    np.testing.assert_allclose(mixed[1::2] ** 2, abs(x.cpu().numpy())[1::2], rtol=1e-6)


@ON_DEVICES
def test_sums_that_skip_nan_read_any_layout(device: str) -> None:
    a = np.random.default_rng(8).standard_normal((30, 40))
    a[::3, ::2] = np.nan
    x = L.from_numpy(a).to(device)
    for t, v in ((x, a), (x.t(), a.T)):
        np.testing.assert_allclose(t.nansum().item(), np.nansum(v), rtol=1e-12)
        np.testing.assert_allclose(t.nansum(0).cpu().numpy(), np.nansum(v, 0), rtol=1e-12)


@ON_DEVICES
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64", "complex64"])
@pytest.mark.parametrize("shape", [(37, 53), (64, 64), (100, 17), (3, 3000)])
def test_turned_and_shifted_copies(device: str, dtype: str, shape: tuple[int, int]) -> None:
    a = np.random.default_rng(9).integers(0, 200, shape).astype(dtype)
    x = L.from_numpy(a).to(device)
    for got, wanted in [
        (x.t().contiguous(), a.T), (x.flip(0).t().contiguous(), a[::-1].T),
        (x.flip(1).t().contiguous(), a[:, ::-1].T),
        (x.flip((0, 1)).t().contiguous(), a[::-1, ::-1].T),
        (x.rot90(1), np.rot90(a, 1)), (x.rot90(3), np.rot90(a, 3)), (x.flip(1), a[:, ::-1]),
    ]:  # fmt: skip
        assert (got.cpu().numpy() == wanted).all()
    for k in (1, 3, 17, 300, 1100):  # destinations a little ahead of their sources
        assert (x.roll(k, 1).cpu().numpy() == np.roll(a, k, 1)).all()
        assert (x.roll(-k, 0).cpu().numpy() == np.roll(a, -k, 0)).all()


@ON_DEVICES
def test_indices_out_of_range_are_found_anywhere(device: str) -> None:
    x = L.zeros(50, 40, device=device)
    for dtype in (L.int64, L.int32, L.int16, L.int8):
        good = L.full((50, 40), 39, dtype=dtype, device=device)
        if dtype == L.int64:
            assert x.scatter(1, good, 1.0).sum().item() == 50
        assert x.clone().index_put_((good[0],), L.ones(40, device=device)).sum().item() == 40
    for bad in (40, -1, -41, 2**63 - 1, -(2**63)):
        for at in ((0, 0), (49, 39), (20, 7)):
            i = L.zeros(50, 40, dtype=L.int64)
            i[at] = bad
            for index in (i.to(device), i.t().contiguous().t().to(device)):
                with pytest.raises((IndexError, RuntimeError), match=str(bad)):
                    x.scatter_add(1, index, L.ones(50, 40, device=device)).sum().item()


@ON_DEVICES
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64"])
def test_folds_read_memory_where_it_lies(device: str, dtype: str) -> None:
    a = np.random.default_rng(10).integers(-9, 9, (1300, 700)).astype(dtype)
    x = L.from_numpy(a).to(device)
    wide = a.astype(np.float64)
    views = [
        (x, wide), (x[::3], wide[::3]), (x[:, 5:], wide[:, 5:]), (x[:, ::2], wide[:, ::2]),
        (x.t(), wide.T), (x[:1].expand(600, 700), np.broadcast_to(wide[:1], (600, 700))),
        (x.reshape(13, 100, 700), wide.reshape(13, 100, 700)),
        (x.reshape(1, -1), wide.reshape(1, -1)),
        (x.reshape(2, -1)[:, 3:], wide.reshape(2, -1)[:, 3:]),
    ]  # fmt: skip
    for t, v in views:
        for dim in range(t.dim()):
            if dtype != "float16":  # rounds sums
                assert (t.sum(dim).cpu().numpy() == v.sum(dim)).all()
            assert (t.amax(dim).cpu().numpy() == v.max(dim)).all()
            assert (t.argmin(dim).cpu().numpy() == v.argmin(dim)).all()
        assert t.amin().item() == v.min()


@ON_DEVICES
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_choices_by_comparison(device: str, dtype: str) -> None:
    special = [0.0, -0.0, 1.0, -1.0, float("nan"), float("inf"), -float("inf"), 2.5]
    kind = getattr(L, dtype)
    x = L.tensor([p for p in special for _ in special], dtype=kind, device=device)
    y = L.tensor([q for _ in special for q in special], dtype=kind, device=device)
    z = L.full_like(x, 7.0)
    for compare in (L.eq, L.ne, L.lt, L.le, L.gt, L.ge):
        held = compare(x, y).cpu().numpy()  # on its own, not joined
        for first, second in ((x, z), (z, x), (y, z), (z, y), (x, y)):
            got = L.where(compare(x, y), first, second).float().cpu().numpy()
            wanted = np.where(held, first.float().cpu().numpy(), second.float().cpu().numpy())
            np.testing.assert_array_equal(got, wanted)
            assert (np.signbit(got) == np.signbit(wanted)).all()
    got = L.where(L.isnan(x), z, x).float().cpu().numpy()
    np.testing.assert_array_equal(got, np.where(np.isnan(x.float().cpu()), 7, x.float().cpu()))


@ON_DEVICES
def test_several_indices_write_and_add_in_order(device: str) -> None:
    rng = np.random.default_rng(11)
    i, j, k = (rng.integers(-5, 5, 4000) for _ in range(3))
    v = rng.integers(0, 100, 4000).astype(np.float32)
    at = tuple(L.from_numpy(n).to(device) for n in (i, j, k))
    wanted = np.zeros((5, 5, 5), np.float32)
    np.add.at(wanted, (i, j, k), v)
    got = L.zeros(5, 5, 5, device=device).index_put(at, L.from_numpy(v).to(device), accumulate=True)
    assert (got.cpu().numpy() == wanted).all()
    wanted[i, j, k] = v  # the last one stays
    got[at] = L.from_numpy(v).to(device)
    assert (got.cpu().numpy() == wanted).all()
    source = rng.standard_normal((70, 90)).astype(np.float32)
    index = rng.integers(0, 40, (70, 90))
    for dim in (0, 1):
        wanted = np.zeros((90, 90), np.float64)
        for r in range(70):
            for c in range(90):
                wanted[(index[r, c], c) if dim == 0 else (r, index[r, c])] += source[r, c]
        got = L.zeros(90, 90, dtype=L.float64, device=device).scatter_add(
            dim, L.from_numpy(index).to(device), L.from_numpy(source.astype(np.float64)).to(device)
        )
        assert (got.cpu().numpy() == wanted).all()


@ON_DEVICES
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("accumulate", [False, True])
def test_many_points_by_several_indices_are_written_in_order(
    device: str, accumulate: bool, turned: bool
) -> None:
    rng = np.random.default_rng(8)
    shape, size = (150, 170), (40, 60)
    i, j = (rng.integers(-n, n, shape) for n in size)  # they meet some ten times each
    v = rng.standard_normal(shape).astype(np.float32)
    want = np.zeros(size, np.float32)
    for a, b, x in zip(i.ravel(), j.ravel(), v.ravel(), strict=True):
        want[a, b] = want[a, b] + x if accumulate else x

    def on(array: np.ndarray[Any, Any]) -> Any:
        if not turned:
            return L.from_numpy(array).to(device)
        return L.from_numpy(np.ascontiguousarray(array.T)).to(device).t()

    got = on(np.zeros(size, np.float32)).index_put((on(i), on(j)), on(v), accumulate=accumulate)
    assert (got.cpu().numpy() == want).all()
    # And by one index: a histogram with weights.
    want = np.zeros(40, np.float32)
    for a, x in zip(i.ravel() % 40, v.ravel(), strict=True):
        want[a] += x
    got = L.zeros(40, device=device).scatter_add(0, on(i % 40).reshape(-1), on(v).reshape(-1))
    assert (got.cpu().numpy() == want).all()


@ON_DEVICES
@pytest.mark.parametrize("bad", [40, -41])
def test_one_bad_index_among_many_is_found(device: str, bad: int) -> None:
    index = L.zeros(20000, dtype=L.int64)
    index[17000] = bad
    x, index = L.zeros(40, device=device), index.to(device)
    with pytest.raises(IndexError):
        x.index_put_((index,), L.ones(20000, device=device), accumulate=True)
        x.sum().item()
    assert x.sum().item() == 0


@ON_DEVICES
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rows_of_halves_are_summed_in_float(device: str, dtype: str) -> None:
    rng = np.random.default_rng(9)
    x = L.from_numpy(rng.standard_normal((7, 37)).astype(np.float32)).to(getattr(L, dtype))
    y = L.from_numpy(rng.standard_normal((300, 37)).astype(np.float32)).to(x.dtype)
    i = rng.integers(0, 7, 300)
    sums = x.float().numpy().copy()
    for row, at in enumerate(i):
        sums[at] += y[row].float().numpy()
    want = L.from_numpy(sums).to(x.dtype)
    got = x.to(device).index_add(0, L.from_numpy(i).to(device), y.to(device))
    assert bool((got.cpu() == want).all())
    got = x.to(device).t().index_add(1, L.from_numpy(i).to(device), y.to(device).t())
    assert bool((got.cpu() == want.t()).all())


@ON_DEVICES
@pytest.mark.parametrize("span", [1 << 32, (1 << 32) + 1, 1 << 62])
def test_long_integers_near_and_far_are_sorted(device: str, span: int) -> None:
    rng = np.random.default_rng(10)
    a = rng.integers(-5, span - 5, (3, 2000))
    a[:, 7], a[:, 9] = span - 5, -5  # the whole span
    a[:, 500:700] = a[:, :200]
    x = L.from_numpy(a).to(device)
    for descending in (False, True):
        values, places = L.sort(x, dim=1, descending=descending, stable=True)
        order = np.argsort(-a if descending else a, 1, kind="stable")
        assert (places.cpu().numpy() == order).all()
        assert (values.cpu().numpy() == np.take_along_axis(a, order, 1)).all()
    doubles = L.from_numpy(a.astype(np.float64)).to(device)
    assert (L.sort(doubles, 1).values.cpu().numpy() == np.sort(a.astype(np.float64), 1)).all()


@ON_DEVICES
def test_large_identities_are_zeros_with_a_diagonal(device: str) -> None:
    for shape in ((300, 400), (400, 300), (256, 256)):
        for dtype in (L.float32, L.bool, L.int64, L.bfloat16):
            got = L.eye(*shape, dtype=dtype, device=device)
            assert got.dtype == dtype and got.is_contiguous()
            assert (got.float().cpu().numpy() == np.eye(*shape)).all()
    assert L.eye(300, device=device, requires_grad=True).is_leaf


@ON_DEVICES
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_nan_to_num_at_the_ends(device: str, dtype: str) -> None:
    kind = getattr(L, dtype)
    x = L.tensor([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5], dtype=kind, device=device)
    most = L.finfo(kind).max
    assert L.nan_to_num(x).tolist() == [0, most, -most, 0, 0, 1.5]
    assert L.nan_to_num(x, 3.0, neginf=-2.0).tolist() == [3, most, -2, 0, 0, 1.5]
    assert L.nan_to_num(x, np.inf, -np.inf, np.inf).tolist() == [np.inf, -np.inf, np.inf, 0, 0, 1.5]


@ON_DEVICES
@pytest.mark.parametrize("shape", [(3, 5), (500, 2), (40, 700), (700, 40), (3, 20000)])
def test_folds_that_convert_or_multiply_change_no_bit(device: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(8)
    made = [rng.standard_normal(shape).astype(np.float32) for _ in range(2)]
    a, b = (L.from_numpy(m).to(device) for m in made)

    def same(x: Any, y: Any) -> bool:
        return bool((x.cpu().float().numpy() == y.cpu().float().numpy()).all())

    for turn in (lambda t: t, lambda t: t.t(), lambda t: t[:, ::2], lambda t: t[:1].expand(shape)):
        x, y = turn(a), turn(b)
        for dim in ((0,), (1,), (0, 1)):
            product, square = x * y, x * x
            L.mps.synchronize()  # these are in memory, not made by the sums
            assert same((x * y).sum(dim), product.sum(dim))
            assert same((x * x).sum(dim), square.sum(dim))
            for dtype in (L.float16, L.bfloat16):
                half = turn(a.to(dtype))
                wide = half.float()
                L.mps.synchronize()
                assert same(half.sum(dim), wide.sum(dim).to(dtype))
                assert same(half.amax(dim), wide.amax(dim))
                assert same(half.amin(dim), wide.amin(dim))


@ON_DEVICES
@pytest.mark.parametrize("shape", [(600, 5), (5, 600), (2, 1000), (1000, 2), (300, 70)])
def test_products_leave_the_range_of_floats_and_come_back(
    device: str, shape: tuple[int, int]
) -> None:
    i, j = np.indices(shape)
    a = np.where((i // 16 + j // 16) % 2, 1e-3, 1e3)
    a = (a * np.random.default_rng(1).uniform(0.9, 1.1, shape)).astype(np.float32)
    x = L.from_numpy(a).to(device)
    wide = a.astype(np.float64)
    for dim in (0, 1):
        for y, w, d in ((x, wide, dim), (x.t().contiguous().t(), wide, dim)):
            with np.errstate(over="ignore", under="ignore"):
                want = w.prod(d).astype(np.float32)
            got = y.prod(d).cpu().numpy()
            inside = np.isfinite(want) & (want > 1e-30) & (want < 1e30)
            assert np.allclose(got[inside], want[inside], rtol=2e-5)
    tiny = L.tensor([1e-20, 1e-20, 1.0], device=device)
    assert tiny.prod().item() == pytest.approx(1e-40, rel=1e-4)


@ON_DEVICES
@pytest.mark.parametrize("shape", [(2, 3, 9, 40), (1, 2, 7, 5), (2, 1, 64, 67)])
def test_largest_of_windows_takes_the_first_and_the_last_nan(
    device: str, shape: tuple[int, ...]
) -> None:
    """Adaptive windows and pairs beside a plain search, with ties, NaN and rows of the lowest."""
    rng = np.random.default_rng(4)
    a = rng.integers(0, 4, shape).astype(np.float32)
    a[rng.random(shape) < 0.02] = np.nan
    a[:, :, :3, :4] = -np.inf
    x = L.from_numpy(a).to(device)

    def search(window: np.ndarray[Any, Any]) -> int:
        flat = window.reshape(-1)
        nan = np.flatnonzero(np.isnan(flat))
        return int(nan[-1]) if nan.size else int(flat.argmax())

    height, width = shape[2:]
    for out in ((3, 4), (1, 1), (5, 3)):
        values, places = L.nn.functional.adaptive_max_pool2d(x, out, return_indices=True)
        values, places = values.cpu().numpy(), places.cpu().numpy()
        for i, j in np.ndindex(*out):
            top, left = i * height // out[0], j * width // out[1]
            bottom, right = -(-(i + 1) * height // out[0]), -(-(j + 1) * width // out[1])
            for n, c in np.ndindex(*shape[:2]):
                at = search(a[n, c, top:bottom, left:right])
                row, column = divmod(at, right - left)
                assert places[n, c, i, j] == (top + row) * width + left + column
                np.testing.assert_equal(values[n, c, i, j], a[n, c, top + row, left + column])
    values, places = L.nn.functional.max_pool1d(x[:, 0], 2, return_indices=True)
    places = places.cpu().numpy()
    for n, h, j in np.ndindex(*places.shape):
        assert places[n, h, j] == 2 * j + search(a[n, 0, h, 2 * j : 2 * j + 2])


@ON_DEVICES
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int64"])
@pytest.mark.parametrize("shape", [(40, 70), (300, 257), (1, 33)])
def test_vectors_and_matrices_lie_any_way(device: str, dtype: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    a, v, w = (rng.integers(-8, 8, s) for s in (shape, (shape[0], 3), (shape[1], 3)))
    made = [L.from_numpy(m).to(getattr(L, dtype)).to(device) for m in (a, v, w)]
    x, left, right = made
    for matrix in (x, x.t().contiguous().t()):
        for vector in (left[:, 1], left[:, 1].contiguous()):
            got = (vector @ matrix).double().cpu().numpy()
            np.testing.assert_allclose(got, v[:, 1] @ a, rtol=0.01)
        for vector in (right[:, 1], right[:, 1].contiguous()):
            got = (matrix @ vector).double().cpu().numpy()
            np.testing.assert_allclose(got, a @ w[:, 1], rtol=0.01)
