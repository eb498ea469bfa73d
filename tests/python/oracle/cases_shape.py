"""Parity rows of products, indexing, joining and views."""

# ruff: noqa: E501 (one row of a table, one line)
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from oracle.case import Arg, Case
from oracle.library import Array

Reference = Callable[..., Any]
FLOATS = ("f32", "f64", "f16", "bf16")
WRITABLE = ("contiguous", "transposed", "sliced", "offset", "permuted")
BOX = (6, 7, 5)


def _product(
    name: str,
    call: Callable[..., Any],
    reference: Reference,
    *shapes: tuple[int, ...],
    magnitude: Reference | None = None,
    **more: Any,
) -> Case:
    """The error of a dot product of length k is about sqrt(k) eps |a||b|; allow a few of them."""

    def scale(*arrays: Array) -> Array:
        return 8 * (magnitude or reference)(*(np.abs(a * 1.0) for a in arrays))

    return Case(name, more.pop("ops", ("matmul",)), call, reference, tuple(Arg(s) for s in shapes),
                ulps=2, half_ulps=1, magnitude=scale, **more)  # fmt: skip


def _matmul(L: Any, a: Any, b: Any) -> Any:
    return L.matmul(a, b)


def _np_matmul(a: Array, b: Array) -> Array:
    if a.dtype.kind == "b":
        return np.matmul(a.astype(np.int64), b.astype(np.int64))
    return np.matmul(a, b)


MATMULS = [
    _product("matmul[2d]", _matmul, _np_matmul, (17, 33), (33, 20)),
    _product("matmul[tall]", _matmul, _np_matmul, (130, 3), (3, 2)),
    _product("matmul[wide]", _matmul, _np_matmul, (64, 100), (100, 130), dtypes=FLOATS),
    _product("matmul[batch]", _matmul, _np_matmul, (4, 5, 6), (4, 6, 3)),
    _product("matmul[batch broadcast]", _matmul, _np_matmul, (2, 1, 5, 6), (3, 6, 4)),
    _product("matmul[3d by 2d]", _matmul, _np_matmul, (4, 5, 6), (6, 3)),
    _product("matmul[vector]", _matmul, _np_matmul, (9,), (9,)),
    _product("matmul[matrix vector]", _matmul, _np_matmul, (8, 9), (9,)),
    _product("matmul[vector matrix]", _matmul, _np_matmul, (9,), (9, 4)),
    _product("matmul[batch vector]", _matmul, _np_matmul, (3, 8, 9), (9,)),
    _product("matmul[inner 0]", _matmul, _np_matmul, (3, 0), (0, 4), dtypes=FLOATS),
    _product("matmul[none]", _matmul, _np_matmul, (0, 3), (3, 4), dtypes=FLOATS),
    _product("mm", lambda L, a, b: L.mm(a, b), _np_matmul, (5, 6), (6, 7)),
    _product("bmm", lambda L, a, b: L.bmm(a, b), _np_matmul, (2, 5, 6), (2, 6, 7)),
    _product("mv", lambda L, a, b: L.mv(a, b), _np_matmul, (5, 6), (6,)),
    _product("dot", lambda L, a, b: L.dot(a, b), _np_matmul, (50,), (50,)),
    _product("outer", lambda L, a, b: L.outer(a, b), np.outer, (5,), (6,), ops=("mul",)),
    _product("matmul[transposed twice]", lambda L, a, b: L.matmul(a.t(), b.t()), lambda a, b: _np_matmul(a.T, b.T), (33, 17), (20, 33)),
    _product("addmm", lambda L, c, a, b: L.addmm(c, a, b), lambda c, a, b: c + a @ b, (5, 7), (5, 6), (6, 7)),
    _product("addmm[row]", lambda L, c, a, b: L.addmm(c, a, b, beta=2, alpha=3), lambda c, a, b: 2 * c + 3 * (a @ b), (7,), (5, 6), (6, 7)),
    _product("linear", lambda L, x, w, b: L.nn.functional.linear(x, w, b), lambda x, w, b: x @ w.T + b, (3, 4, 6), (5, 6), (5,), dtypes=FLOATS),
    _product("linear[no bias]", lambda L, x, w: L.nn.functional.linear(x, w), lambda x, w: x @ w.T, (9, 6), (5, 6), dtypes=FLOATS),
]  # fmt: skip


def _written(write: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """A reference that writes into a copy of its first argument."""

    def reference(x: Array, *rest: Array) -> Array:
        out = x.copy()
        write(out, *rest)
        return out

    return reference


def _index(
    name: str, op: str, call: Callable[..., Any], reference: Reference, *args: Arg, **more: Any
) -> Case:
    return Case(name, (op,), call, reference, args, **more)


def _put(x: Array, index: Array, values: Array) -> None:
    x[index] = values


def _add_at(key: Callable[[Array], Any]) -> Callable[..., None]:
    def write(x: Array, index: Array, source: Array) -> None:
        np.add.at(x, key(index), source) if x.dtype.kind != "b" else np.logical_or.at(
            x, key(index), source
        )

    return write


def _scatter_key(axis: int, index: Array) -> tuple[Array, ...]:
    grid = list(np.indices(index.shape))
    grid[axis] = index
    return tuple(grid)


def _scatter(axis: int) -> Callable[..., None]:
    def write(x: Array, index: Array, source: Array) -> None:
        x[_scatter_key(axis, index)] = source

    return write


ANY = Arg(BOX, "any")
REAL = Arg(BOX)
ROWS = Arg((9,), "index:6", "i64")
WITHIN = Arg((4, 7, 5), "index:6", "i64")


def _set(L: Any, x: Any, i: Any, v: Any) -> Any:
    x[i] = v
    return x


def _set_column(L: Any, x: Any, i: Any, v: Any) -> Any:
    x[:, i] = v
    return x


def _set_mask(L: Any, x: Any, m: Any) -> Any:
    x[m] = 2
    return x


def _two(x: Array, m: Array) -> None:
    x[m] = 2


def _set_columns(x: Array, i: Array, v: Array) -> None:
    x[:, i] = v


def _add_columns(x: Array, i: Array, s: Array) -> None:
    _add_at(lambda k: (slice(None), k))(x, i, s)


INDEXING = [
    _index("index_select[0]", "index_select", lambda L, x, i: L.index_select(x, 0, i), lambda x, i: np.take(x, i, 0), ANY, ROWS),
    _index("index_select[2]", "index_select", lambda L, x, i: L.index_select(x, -1, i), lambda x, i: np.take(x, i, 2), ANY, Arg((9,), "index:5", "i64")),
    _index("index_select[i32]", "index_select", lambda L, x, i: L.index_select(x, 1, i), lambda x, i: np.take(x, i, 1), ANY, Arg((9,), "index:7", "i32")),
    _index("embedding", "index_select", lambda L, w, i: L.nn.functional.embedding(i, w), lambda w, i: w[i], Arg((10, 7)), Arg((3, 4), "index:10", "i64")),
    _index("gather[0]", "gather", lambda L, x, i: L.gather(x, 0, i), lambda x, i: np.take_along_axis(x[:, :7, :5], i, 0), ANY, WITHIN),
    _index("gather[-1]", "gather", lambda L, x, i: L.gather(x, -1, i), lambda x, i: np.take_along_axis(x, i, 2), ANY, Arg((6, 7, 9), "index:5", "i64")),
    _index("index[rows]", "index", lambda L, x, i: x[i], lambda x, i: x[i], ANY, ROWS),
    _index("index[negative]", "index", lambda L, x, i: x[i - 3], lambda x, i: x[i - 3], ANY, ROWS),
    _index("index[grid]", "index", lambda L, x, i, j: x[i, j], lambda x, i, j: x[i, j], ANY, Arg((3, 1), "index:6", "i64"), Arg((4,), "index:7", "i64")),
    _index("index[middle]", "index", lambda L, x, j: x[:, j], lambda x, j: x[:, j], ANY, Arg((2, 3), "index:7", "i64")),
    _index("index[apart]", "index", lambda L, x, i, k: x[i, :, k], lambda x, i, k: x[i, :, k], ANY, Arg((4,), "index:6", "i64"), Arg((4,), "index:5", "i64")),
    _index("index[mixed]", "index", lambda L, x, i: x[1:5:2, i, None, -1], lambda x, i: x[1:5:2, ..., -1][:, i, None], ANY, Arg((4,), "index:7", "i64")),
    _index("index[mask]", "index", lambda L, x, m: x[m], lambda x, m: x[m], ANY, Arg((6, 7), dtype="bool")),
    _index("index[full mask]", "index", lambda L, x, m: x[m], lambda x, m: x[m], ANY, Arg(BOX, dtype="bool")),
    _index("masked_select", "index", lambda L, x, m: L.masked_select(x, m), lambda x, m: x[np.broadcast_to(m, x.shape)], ANY, Arg((7, 5), dtype="bool")),
    _index("nonzero", "nonzero", lambda L, x: L.nonzero(x), lambda x: np.stack(np.nonzero(x), 1), Arg(BOX, "counts")),
    _index("where[indices]", "nonzero", lambda L, x: L.where(x), np.nonzero, Arg(BOX, "counts")),
    _index("one_hot", "scatter", lambda L, i: L.nn.functional.one_hot(i, 6), lambda i: np.eye(6, dtype=np.int64)[i], Arg((4, 3), "index:6", "i64"), dtypes=("f32",)),
    _index("index_put[rows]", "index_put", _set, _written(_put), ANY, Arg((4,), "permutation:6", "i64"), Arg((4, 7, 5), "any"), in_place=True),
    _index("index_put[broadcast]", "index_put", _set, _written(_put), ANY, Arg((4,), "permutation:6", "i64"), Arg((5,), "any"), in_place=True),
    _index("index_put[column]", "index_put", _set_column, _written(_set_columns), ANY, Arg((4,), "permutation:7", "i64"), Arg((6, 4, 5), "any"), in_place=True),
    _index("index_put[mask]", "index_put", _set_mask, _written(_two), ANY, Arg(BOX, dtype="bool"), in_place=True),
    _index("index_put[accumulate]", "index_put", lambda L, x, i, v: x.index_put_((i,), v, accumulate=True), _written(_add_at(lambda i: i)), REAL, ROWS, Arg((9, 7, 5)), in_place=True, ulps=4, magnitude=lambda x, i, v: 64.0, half_ulps=8),
    _index("index_add[0]", "index_add", lambda L, x, i, s: x.index_add_(0, i, s), _written(_add_at(lambda i: i)), REAL, ROWS, Arg((9, 7, 5)), in_place=True, ulps=4, magnitude=lambda x, i, s: 64.0, half_ulps=8),
    _index("index_add[1]", "index_add", lambda L, x, i, s: L.index_add(x, 1, i, s), _written(_add_columns), REAL, Arg((9,), "index:7", "i64"), Arg((6, 9, 5)), ulps=4, magnitude=lambda x, i, s: 64.0, half_ulps=8),
    _index("scatter[0]", "scatter", lambda L, x, i, s: L.scatter(x, 0, i[:, None, None].expand(4, 7, 5), s), _written(lambda x, i, s: _put(x, i, s)), ANY, Arg((4,), "permutation:6", "i64"), Arg((4, 7, 5), "any")),
    _index("scatter[number]", "scatter", lambda L, x, i: x.scatter_(1, i, 1), _written(lambda x, i: _scatter(1)(x, i, 1)), ANY, Arg((6, 3, 5), "index:7", "i64"), in_place=True),
    _index("scatter_add[0]", "scatter_add", lambda L, x, i, s: L.scatter_add(x, 0, i, s), _written(_add_at(lambda i: _scatter_key(0, i))), REAL, WITHIN, Arg((4, 7, 5)), ulps=4, magnitude=lambda x, i, s: 64.0, half_ulps=8),
    _index("scatter_add[2]", "scatter_add", lambda L, x, i, s: x.scatter_add_(2, i, s), _written(_add_at(lambda i: _scatter_key(2, i))), REAL, Arg((6, 7, 8), "index:5", "i64"), Arg((6, 7, 8)), in_place=True, ulps=4, magnitude=lambda x, i, s: 64.0, half_ulps=8),
]  # fmt: skip


def _shape(
    name: str, call: Callable[..., Any], reference: Reference, *shapes: tuple[int, ...], **more: Any
) -> Case:
    args = tuple(Arg(s, "any") for s in shapes or (BOX,))
    return Case(name, more.pop("ops", ("copy",)), call, reference, args, **more)


def _windows(x: Array) -> Array:
    return np.moveaxis(np.lib.stride_tricks.sliding_window_view(x, 3, 1)[:, ::2], -1, -1)


SHAPES = [
    _shape("view", lambda L, x: x.contiguous().view(-1, 10), lambda x: x.reshape(-1, 10)),
    _shape("reshape", lambda L, x: x.reshape(7, 30), lambda x: x.reshape(7, 30)),
    _shape("flatten", lambda L, x: L.flatten(x, 1), lambda x: x.reshape(6, 35)),
    _shape("unflatten", lambda L, x: x.unflatten(0, (2, 3)), lambda x: x.reshape(2, 3, 7, 5)),
    _shape("permute", lambda L, x: x.permute(2, 0, 1), lambda x: x.transpose(2, 0, 1)),
    _shape("transpose", lambda L, x: x.transpose(1, 2), lambda x: x.swapaxes(1, 2)),
    _shape("t", lambda L, x: x.t(), lambda x: x.T, (4, 9)),
    _shape("expand", lambda L, x: x.expand(3, -1, 5), lambda x: np.broadcast_to(x, (3, 4, 5)), (4, 1)),
    _shape("squeeze", lambda L, x: x.squeeze(), lambda x: x.squeeze(), (1, 4, 1, 3)),
    _shape("squeeze[dim]", lambda L, x: x.squeeze(2), lambda x: x.squeeze(2), (1, 4, 1, 3)),
    _shape("unsqueeze", lambda L, x: x.unsqueeze(-2), lambda x: x[:, :, None, :]),
    _shape("select", lambda L, x: x.select(1, -2), lambda x: x[:, -2]),
    _shape("slice", lambda L, x: x[1:, 2:-1:2, ..., -3:], lambda x: x[1:, 2:-1:2, ..., -3:]),
    _shape("narrow", lambda L, x: x.narrow(1, 2, 4), lambda x: x[:, 2:6]),
    _shape("diagonal", lambda L, x: L.diagonal(x, 1, 0, 2), lambda x: np.diagonal(x, 1, 0, 2)),
    _shape("unfold", lambda L, x: x.unfold(1, 3, 2), _windows),
    _shape("split", lambda L, x: L.split(x, 3, 1), lambda x: np.split(x, [3, 6], 1)),
    _shape("split[sizes]", lambda L, x: L.split(x, [1, 4, 2], 1), lambda x: np.split(x, [1, 5], 1)),
    _shape("chunk", lambda L, x: L.chunk(x, 2, -1), lambda x: np.split(x, [3], 2)),
    _shape("unbind", lambda L, x: L.unbind(x, 2), lambda x: tuple(np.moveaxis(x, 2, 0))),
    _shape("cat", lambda L, x, y: L.cat([x, y, x], 1), lambda x, y: np.concatenate([x, y, x], 1), BOX, (6, 3, 5), ops=("cat",)),
    _shape("cat[0 and empty]", lambda L, x, y: L.cat([x, y]), lambda x, y: np.concatenate([x, y]), (4, 5), (0, 5), ops=("cat",)),
    _shape("stack", lambda L, x, y: L.stack([x, y], 1), lambda x, y: np.stack([x, y], 1), BOX, BOX),
    _shape("flip", lambda L, x: L.flip(x, (0, 2)), lambda x: np.flip(x, (0, 2))),
    _shape("roll", lambda L, x: L.roll(x, (2, -1), (0, 1)), lambda x: np.roll(x, (2, -1), (0, 1))),
    _shape("repeat", lambda L, x: x.repeat(2, 1, 3), lambda x: np.tile(x, (2, 1, 3))),
    _shape("repeat_interleave", lambda L, x: L.repeat_interleave(x, 3, 1), lambda x: np.repeat(x, 3, 1)),
    _shape("repeat_interleave[flat]", lambda L, x: L.repeat_interleave(x, 2), lambda x: np.repeat(x, 2)),
    _shape("as_strided", lambda L, x: L.as_strided(x.contiguous(), (3, 4), (7, 2), 5), lambda x: np.lib.stride_tricks.as_strided(np.ascontiguousarray(x).reshape(-1)[5:], (3, 4), (7 * x.itemsize, 2 * x.itemsize)).copy(), layouts=("contiguous", "transposed", "sliced")),
    _shape("tril", lambda L, x: L.tril(x), lambda x: np.tril(x), ops=("tril",)),
    _shape("tril[-1]", lambda L, x: L.tril(x, -1), lambda x: np.tril(x, -1), (5, 8), ops=("tril",)),
    _shape("triu", lambda L, x: L.triu(x), lambda x: np.triu(x), ops=("triu",)),
    _shape("triu[2]", lambda L, x: L.triu(x, 2), lambda x: np.triu(x, 2), (8, 5), ops=("triu",)),
]  # fmt: skip

CASES = [*MATMULS, *INDEXING, *SHAPES]
