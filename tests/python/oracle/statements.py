"""The statements of random programs: a row makes the tensor line and its NumPy twin."""

# ruff: noqa: E501 (one row of a table, one line)
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from oracle.generator import MOST, Builder, Pair, Unfit
from oracle.library import Array

Maker = Callable[[Builder], Pair]
ROWS: list[tuple[float, Maker]] = []


def often(weight: float) -> Callable[[Maker], Maker]:
    def add(make: Maker) -> Maker:
        ROWS.append((weight, make))
        return make

    return add


UNARY = [
    ("L.tanh({x})", "np.tanh({x})"),
    ("L.sigmoid({x})", "1 / (1 + np.exp(-{x}))"),
    ("L.sin({x})", "np.sin({x})"),
    ("L.cos({x} * 0.5)", "np.cos({x} * F(0.5))"),
    ("L.exp(-L.abs({x}))", "np.exp(-np.abs({x}))"),
    ("L.sqrt(L.abs({x}) + 0.5)", "np.sqrt(np.abs({x}) + F(0.5))"),
    ("L.log({x}.abs() + 1)", "np.log(np.abs({x}) + 1)"),
    ("L.log1p(L.square({x}))", "np.log1p(np.square({x}))"),
    ("L.rsqrt({x} * {x} + 1)", "1 / np.sqrt({x} * {x} + 1)"),
    ("L.relu({x})", "np.maximum({x}, 0)"),
    ("L.nn.functional.silu({x})", "{x} / (1 + np.exp(-{x}))"),
    ("L.nn.functional.leaky_relu({x}, 0.1)", "np.where({x} > 0, {x}, {x} * F(0.1))"),
    ("L.nn.functional.elu({x})", "np.where({x} > 0, {x}, np.expm1(np.minimum({x}, 0)))"),
    ("L.nn.functional.softplus({x})", "np.where({x} > 20, {x}, np.log1p(np.exp(np.minimum({x}, 20))))"),
    ("L.nn.functional.gelu({x}, approximate='tanh')", "0.5 * {x} * (1 + np.tanh(F(0.7978845608028654) * ({x} + F(0.044715) * {x} ** 3)))"),
    ("L.atan({x})", "np.arctan({x})"),
    ("-{x}", "-{x}"),
    ("{x} ** 2 * 0.1", "{x} ** 2 * F(0.1)"),
    ("L.clamp({x}, -1, 1.5)", "np.clip({x}, -1, F(1.5))"),
    ("{x}.clone()", "{x}.copy()"),
    ("{x}.contiguous() * 1", "{x} * 1"),
    ("L.expm1({x} * 0.25)", "np.expm1({x} * F(0.25))"),
    ("L.reciprocal({x} * {x} + 0.5)", "1 / ({x} * {x} + F(0.5))"),
    ("L.asinh({x})", "np.arcsinh({x})"),
    ("L.sinc({x})", "np.sinc({x})"),
    ("L.nn.functional.hardswish({x})", "{x} * np.clip({x} + 3, 0, 6) / 6"),
    ("L.nn.functional.logsigmoid({x})", "-np.logaddexp(F(0), -{x})"),
    ("L.nn.functional.softshrink({x}, 0.25)", "np.sign({x}) * np.maximum(np.abs({x}) - F(0.25), 0)"),
    ("L.nan_to_num({x})", "{x} * 1"),
    ("L.complex({x}, {x} * 0.5).abs()", "np.hypot({x}, {x} * F(0.5))"),
    ("(L.complex({x}, {x} + 1) * L.complex({x}, {x} - 1)).imag", "{x} * ({x} - 1) + ({x} + 1) * {x}"),
    ("L.zeros_like({x}) + 0.5", "np.zeros_like({x}) + F(0.5)"),
]  # fmt: skip
BINARY = [
    ("{x} + {y}", "{x} + {y}"),
    ("{x} - {y}", "{x} - {y}"),
    ("{x} * {y}", "{x} * {y}"),
    ("{x} / (L.abs({y}) + 1)", "{x} / (np.abs({y}) + 1)"),
    ("L.maximum({x}, {y})", "np.maximum({x}, {y})"),
    ("L.minimum({x}, {y})", "np.minimum({x}, {y})"),
    ("L.add({x}, {y}, alpha={c})", "{x} + F({c}) * {y}"),
    ("L.lerp({x}, {y} + {x} * 0, 0.3)", "{x} + F(0.3) * ({y} + {x} * 0 - {x})"),
    ("L.hypot({x}, {y})", "np.hypot({x}, {y})"),
    ("L.logaddexp({x}, {y})", "np.logaddexp({x}, {y})"),
    ("L.xlogy({x}, L.abs({y}) + 1)", "{x} * np.log(np.abs({y}) + 1)"),
    ("(L.complex({x}, {y}) / (2 + 1j)).real", "(2 * {x} + {y}) / 5"),
    ("L.addcmul({x}, {y}, {y}, value={c})", "{x} + F({c}) * {y} * {y}"),
    ("{x} * {c} + {y} * {d}", "{x} * F({c}) + {y} * F({d})"),
]


@often(10)
def unary(b: Builder) -> Pair:
    x = b.pick()
    line, twin = b.one_of(*UNARY)
    return b.assign(line.format(x=x), twin.format(x=x))


@often(10)
def binary(b: Builder) -> Pair:
    x = b.pick()
    names = {"x": x, "y": b.partner(x), "c": b.number(), "d": b.number()}
    line, twin = b.one_of(*BINARY)
    return b.assign(line.format(**names), twin.format(**names))


@often(5)
def with_number(b: Builder) -> Pair:
    x, c = b.pick(), b.number()
    line = b.one_of("{x} * {c}", "{x} + {c}", "{c} - {x}", "{x} / 3")
    twin = line.replace("{c}", "F({c})")
    return b.assign(line.format(x=x, c=c), twin.format(x=x, c=c))


@often(3)
def integers(b: Builder) -> Pair:
    x = b.pick("i")
    y = b.partner(x, "i")
    line = b.one_of(
        "{x} + {y}",
        "{x} * 3 - {y}",
        "{x} // 3",
        "{x} % 4",
        "-{x}",
        "{x} & 3",
        "{x} | {y}",
        "{x} ^ {y}",
        "{x} << 1",
        "{x} >> 1",
    )
    return b.assign(line.format(x=x, y=y), line.format(x=x, y=y))


@often(3)
def compared(b: Builder) -> Pair:
    x = b.pick("fi")
    y = b.partner(x, "fi")
    if "f" in (b.array(x).dtype.kind, b.array(y).dtype.kind):
        b.clear_of(b.array(x) - b.array(y))
    line = f"{x} {b.one_of('<', '<=', '>', '>=', '==', '!=')} {y}"
    return b.assign(line, line)


@often(2)
def booleans(b: Builder) -> Pair:
    x = b.pick("b")
    y = b.partner(x, "b")
    line = b.one_of("{x} & {y}", "{x} | {y}", "{x} ^ {y}", "~{x}").format(x=x, y=y)
    return b.assign(line, line)


@often(3)
def casts(b: Builder) -> Pair:
    x = b.pick("ib")
    floats = "float64" if b.program.dtype == "f64" else "float32"
    if b.rng.random() < 0.6:
        return b.assign(f"{x}.to(L.{floats}) * 0.5", f"{x}.astype(F) * F(0.5)")
    y = b.pick("f")
    b.clear_of(b.array(y) - np.rint(b.array(y)))
    return b.assign(f"{y}.to(L.int64)", f"np.trunc({y}).astype(np.int64)")


@often(2)
def rounded(b: Builder) -> Pair:
    x = b.pick()
    a = b.array(x)
    b.clear_of(a - np.rint(a))
    b.clear_of(a + 0.5 - np.rint(a + 0.5))
    f = b.one_of("floor", "ceil", "trunc", "round", "sign")
    return b.assign(f"L.{f}({x})", f"np.{ {'round': 'rint'}.get(f, f) }({x})")


@often(3)
def chosen(b: Builder) -> Pair:
    m = b.pick("b")
    x = b.partner(m)
    y = b.partner(x)
    if b.rng.random() < 0.3:
        return b.assign(f"{x}.masked_fill({m}, 0.5)", f"np.where({m}, F(0.5), {x})")
    return b.assign(f"L.where({m}, {x}, {y})", f"np.where({m}, {x}, {y})")


@often(8)
def folded(b: Builder) -> Pair:
    x = b.pick("f", lambda a: a.ndim > 0 and a.size > 0)
    d = b.axis(x)
    keep = bool(b.integer(0, 2))
    f, g = b.one_of(
        ("sum", "sum"), ("mean", "mean"), ("amax", "max"), ("amin", "min"), ("prod", "prod")
    )
    if f == "prod" and b.array(x).shape[d] > 8:
        raise Unfit
    if b.rng.random() < 0.2 and f != "prod":
        return b.assign(f"{x}.{f}()", f"np.{g}({x})")
    return b.assign(f"{x}.{f}({d}, keepdim={keep})", f"np.{g}({x}, {d}, keepdims={keep})")


@often(2)
def folded_integers(b: Builder) -> Pair:
    x = b.pick("ib", lambda a: a.ndim > 0 and a.size > 0)
    d = b.axis(x)
    f = b.one_of("sum", "any", "all")
    return b.assign(f"{x}.{f}({d})", f"np.{f}({x}, {d})")


@often(2)
def argument(b: Builder) -> Pair:
    x = b.pick("f", lambda a: a.ndim > 0 and a.size > 0)
    d = b.axis(x)
    ordered = np.sort(b.array(x), d)
    b.clear_of(np.diff(ordered, axis=d))
    f = b.one_of("argmax", "argmin")
    return b.assign(f"{x}.{f}({d})", f"np.{f}({x}, {d})")


@often(4)
def normalised(b: Builder) -> Pair:
    x = b.pick("f", lambda a: a.ndim > 0 and a.size > 0)
    d = b.axis(x)
    m = f"({x} - np.max({x}, {d}, keepdims=True))"
    soft = f"(np.exp({m}) / np.sum(np.exp({m}), {d}, keepdims=True))"
    log = f"({m} - np.log(np.sum(np.exp({m}), {d}, keepdims=True)))"
    mean = f"np.mean({x}, -1, keepdims=True)"
    norm = f"(({x} - {mean}) / np.sqrt(np.var({x}, -1, keepdims=True) + F(1e-1)))"
    var = f"np.var({x}, {d}, ddof=0)"
    lse = f"(np.log(np.sum(np.exp({m}), {d})) + np.max({x}, {d}))"
    extent = b.array(x).shape[-1]
    return b.assign(*b.one_of(
        (f"L.softmax({x}, {d})", soft), (f"L.log_softmax({x}, {d})", log),
        (f"L.nn.functional.layer_norm({x}, ({extent},), eps=0.1)", norm),
        (f"L.var({x}, {d}, correction=0)", var), (f"L.logsumexp({x}, {d})", lse),
    ))  # fmt: skip


@often(3)
def scanned(b: Builder) -> Pair:
    x = b.pick("f", lambda a: a.ndim > 0 and a.size > 0)
    d = b.axis(x)
    return b.assign(*b.one_of(
        (f"L.cumsum({x}, {d}) * 0.1", f"np.cumsum({x}, {d}) * F(0.1)"),
        (f"L.sort({x}, dim={d})[0]", f"np.sort({x}, {d})"),
        (f"L.cummax({x}, {d})[0]", f"np.maximum.accumulate({x}, {d})"),
        (f"L.cummin({x}, {d})[0]", f"np.minimum.accumulate({x}, {d})"),
        (f"L.logcumsumexp({x}, {d})", f"np.logaddexp.accumulate({x}, {d})"),
        (f"L.flip({x}, ({d},)) * 0.5", f"np.flip({x}, {d}) * F(0.5)"),
    ))  # fmt: skip


@often(5)
def product(b: Builder) -> Pair:
    x = b.pick("f", lambda a: a.ndim == 2 and a.size > 0)
    k = b.array(x).shape[1]
    if b.rng.random() < 0.5:
        y = b.pick("f", lambda a: a.ndim in (1, 2) and a.shape[0] == k and a.size > 0)
        line = f"({x} @ {y}) * 0.25"
    else:
        y = b.pick("f", lambda a: a.ndim == 2 and a.shape[1] == k and a.size > 0)
        line = f"({x} @ {y}.T) * 0.25"
    twin = line.replace("0.25", "F(0.25)")
    if b.rng.random() < 0.4:
        line, twin = line[:-7], twin[:-10]
        if b.rng.random() < 0.5:
            line, twin = f"L.relu({line} + 0.5)", f"np.maximum({twin} + F(0.5), 0)"
    return b.assign(line, twin)


def _slices(b: Builder, x: str) -> str:
    parts = []
    for n in b.array(x).shape:
        start = b.integer(0, max(1, n))
        end = b.integer(start, n + 1)
        parts.append(
            b.one_of(
                ":", f"{start}:", f"{start}:{max(end, min(n, start + 1))}", "::2", f":{max(1, end)}"
            )
        )
    return ", ".join(parts)


@often(8)
def viewed(b: Builder) -> Pair:
    x = b.pick("fib", lambda a: a.ndim > 0 and a.size > 0)
    rank = b.array(x).ndim
    d = b.axis(x)
    at = b.integer(0, max(1, b.array(x).shape[d]))
    colons = ":, " * d
    choices: list[Pair] = [
        (f"{x}[{_slices(b, x)}]",) * 2,
        (f"{x}[{colons}{at}]", f"{x}[{colons}{at}, ...]"),
        (f"{x}.unsqueeze({d})", f"np.expand_dims({x}, {d})"),
        (f"{x}[{colons}{at}:{at + 2}]",) * 2,
    ]
    if rank >= 2:
        other = (d + 1) % rank
        choices += [(f"{x}.transpose({d}, {other})", f"np.swapaxes({x}, {d}, {other})")] * 2
        if b.array(x).shape[d] == b.array(x).shape[other]:
            choices.append(
                (f"{x}.diagonal(0, {d}, {other})", f"np.einsum('{diagonal(rank, d, other)}', {x})")
            )
    if b.array(x).shape[d] == 1:
        choices.append((f"{x}.squeeze({d})", f"np.squeeze({x}, {d})"))
        if b.array(x).size * 3 <= MOST:
            shape = list(b.array(x).shape)
            shape[d] = 3
            choices.append((f"{x}.expand({shape})", f"np.broadcast_to({x}, {shape})"))
    return b.assign(*b.one_of(*choices))


def diagonal(rank: int, first: int, second: int) -> str:
    """einsum's spelling of a writable diagonal, its axis last. Both extents must be equal."""
    letters = list("pqrs"[:rank])
    letters[second] = letters[first]
    kept = [c for i, c in enumerate(letters) if i not in (first, second)]
    return "".join(letters) + "->" + "".join([*kept, letters[first]])


@often(2)
def reshaped(b: Builder) -> Pair:
    x = b.pick("f", lambda a: a.size > 0)
    size = b.array(x).size
    rows = int(b.rng.choice([n for n in range(1, size + 1) if size % n == 0]))
    if b.rng.random() < 0.5:
        return b.assign(
            f"({x}.contiguous() * 1).view({rows}, -1)", f"({x} * 1).reshape({rows}, -1)"
        )
    return b.assign(f"{x}.reshape({rows}, -1) + 0", f"{x}.reshape({rows}, -1) + 0")


@often(4)
def joined(b: Builder) -> Pair:
    x = b.pick("f", lambda a: a.ndim > 0 and a.size > 0)
    d = b.axis(x)
    shape = b.array(x).shape
    y = b.pick("f", lambda a: a.shape == shape)
    return b.assign(*b.one_of(
        (f"L.cat([{x}, {y}], {d})", f"np.concatenate([{x}, {y}], {d})"),
        (f"L.stack([{x}, {y}], {d})", f"np.stack([{x}, {y}], {d})"),
        (f"L.flip({x}, ({d},))", f"np.flip({x}, {d}).copy()"),
        (f"L.roll({x}, 1, {d})", f"np.roll({x}, 1, {d})"),
        (f"L.tril({x})" if len(shape) > 1 else f"{x}.repeat(2)", f"np.tril({x})" if len(shape) > 1 else f"np.tile({x}, 2)"),
        (f"L.repeat_interleave({x}, 2, {d})", f"np.repeat({x}, 2, {d})"),
    ))  # fmt: skip


@often(4)
def indexed(b: Builder) -> Pair:
    x = b.pick("f", lambda a: a.ndim > 0 and a.size > 0)
    d = b.axis(x)
    n = b.array(x).shape[d]
    where = [b.integer(-n, n) for _ in range(b.integer(1, 4))]
    plain = [w % n for w in where]
    tensor = f"L.tensor({plain}, device=dev)"
    colons = ":, " * d
    return b.assign(*b.one_of(
        (f"{x}[{colons}{where}]",) * 2,
        (f"L.index_select({x}, {d}, {tensor})", f"np.take({x}, {plain}, {d})"),
        (f"L.zeros_like({x}).index_add_({d}, {tensor}, L.index_select({x}, {d}, {tensor}))", f"add_at(np.zeros_like({x}), {d}, {plain}, np.take({x}, {plain}, {d}))".replace("add_at", "__import__('oracle.statements', fromlist=['_']).add_at")),
    ))  # fmt: skip


def add_at(x: np.ndarray, axis: int, index: list[int], source: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """NumPy's index_add."""
    np.add.at(np.moveaxis(x, axis, 0), index, np.moveaxis(source, axis, 0))
    return x


@often(2)
def gathered(b: Builder) -> Pair:
    """An index tensor that was computed: positions within the dimension, from integers."""
    x = b.pick("f", lambda a: a.ndim == 2 and a.size > 0)
    rows, columns = b.array(x).shape
    i = b.pick("i", lambda a: a.ndim == 2 and a.shape[0] <= rows and a.size > 0)
    j, count = f"(abs({i}) % {columns})", b.array(i).shape[0]
    line, twin = f"L.gather({x}, 1, {j})", f"np.take_along_axis({x}[:{count}], {j}, 1)"
    if b.rng.random() < 0.4 and b.array(i).shape[1] <= columns:
        add = "__import__('oracle.statements', fromlist=['_']).scatter_add"
        source = f"{x}[:{count}, :{b.array(i).shape[1]}]"
        line = f"L.scatter_add({x}, 1, {j}, {source} * 0.5)"
        twin = f"{add}({x}, {j}, {source} * F(0.5))"
    return b.assign(line, twin)


def scatter_add(x: Array, index: Array, source: Array) -> Array:
    """NumPy's scatter_add along dimension 1."""
    out = x.copy()
    np.add.at(out, (np.arange(len(index))[:, None], index), source)
    return out


@often(3)
def lost(b: Builder) -> Pair:
    x = b.pick("f", lambda a: a.ndim == 2 and a.size > 0)
    rows, columns = b.array(x).shape
    if b.rng.random() < 0.5:
        y = b.pick("f", lambda a: a.shape == (rows, columns))
        return b.assign(f"L.nn.functional.mse_loss({x}, {y})", f"np.mean(np.square({x} - {y}))")
    i = b.pick("i", lambda a: a.ndim > 0 and a.shape[0] == rows)
    first = ", 0" * (b.array(i).ndim - 1)
    if any(n == 0 for n in b.array(i).shape):
        raise Unfit
    j = f"(abs({i}[:{first}]) % {columns})"
    how = b.one_of("mean", "sum", "none")
    log = f"({x} - np.max({x}, 1, keepdims=True))"
    log = f"({log} - np.log(np.sum(np.exp({log}), 1, keepdims=True)))"
    picked = f"-np.take_along_axis({log}, {j}[:, None], 1)[:, 0]"
    twin = picked if how == "none" else f"np.{how}({picked})"
    return b.assign(f"L.nn.functional.cross_entropy({x}, {j}, reduction='{how}')", twin)


@often(2)
def more_folds(b: Builder) -> Pair:
    x = b.pick("f", lambda a: a.ndim > 0 and a.size > 0)
    d = b.axis(x)
    ordered = np.sort(b.array(x), d)
    b.clear_of(np.diff(ordered, axis=d))
    k = max(1, b.array(x).shape[d] // 2)
    return b.assign(*b.one_of(
        (f"L.max({x}, {d})[0] + L.max({x}, {d})[1].to({x}.dtype) * 0.1", f"np.max({x}, {d}) + np.argmax({x}, {d}).astype(F) * F(0.1)"),
        (f"L.topk({x}, {k}, dim={d})[0]", f"np.flip(np.sort({x}, {d}), {d}).take(range({k}), {d})"),
        (f"L.norm({x}, 2, {d})", f"np.sqrt(np.sum({x} * {x}, {d}))"),
        (f"L.argsort({x}, dim={d})", f"np.argsort({x}, {d})"),
    ))  # fmt: skip


@often(1)
def masked(b: Builder) -> Pair:
    x = b.pick("f", lambda a: a.size > 0)
    shape = b.array(x).shape
    m = b.pick("b", lambda a: a.shape == shape)
    return b.assign(f"{x}[{m}].sum()", f"np.sum({x}[{m}])")


def _writable(b: Builder, want: Callable[[Array], bool] = lambda a: True) -> str:
    """A variable to write into. With a history it is the newest, which nothing has saved yet; now and
    then another, so that the error comes in the same place in both ways of running."""
    newest = ""
    if b.program.differentiated and b.rng.random() < 0.5:
        raise Unfit
    if b.program.differentiated and b.rng.random() < 0.97:
        newest = b.kept[-1].line.split(" = ")[0]
        if newest not in b.envs[0]:
            raise Unfit

    def fits(a: Array) -> bool:
        mine = not newest or a is b.envs[0][newest]
        return mine and a.flags.writeable and 0 not in a.strides and want(a)

    return b.pick("f", fits)


def _has_rows(a: Array) -> bool:
    return a.ndim > 0 and a.size > 0


def _fits_into(b: Builder, shape: tuple[int, ...]) -> str:
    def fits(a: np.ndarray) -> bool:  # type: ignore[type-arg]
        try:
            return np.broadcast_shapes(shape, a.shape) == shape
        except ValueError:
            return False

    return b.pick("f", fits)


@often(9)
def in_place(b: Builder) -> Pair:
    x = _writable(b)
    c = b.number()
    y = _fits_into(b, b.array(x).shape)
    apart = not np.may_share_memory(b.array(x), b.array(y))
    read = f"{y}" if apart or x == y else f"({y} + 0)"
    return b.one_of(
        (f"{x} += {read}", f"{x} += {y} + 0"),
        (f"{x} *= {c}", f"{x} *= F({c})"),
        (f"{x} -= {read} * {c}", f"{x} -= {y} * F({c})"),
        (f"{x}.copy_({read})", f"{x}[...] = {y} + 0"),
        (f"{x}.clamp_(-1, 1)", f"np.clip({x}, -1, 1, out={x})"),
        (f"{x}.tanh_()", f"np.tanh({x}, out={x})"),
        (f"{x}.add_({read}, alpha={c})", f"{x} += F({c}) * ({y} + 0)"),
        (f"{x}.fill_({c})", f"{x}[...] = {c}"),
        (f"{x}.zero_()", f"{x}[...] = 0"),
    )


@often(8)
def slice_written(b: Builder) -> Pair:
    x = _writable(b, _has_rows)
    key = _slices(b, x)
    c = b.number()
    part = eval(f"x[{key}]", {"x": b.array(x)})
    y = _fits_into(b, part.shape)
    apart = not np.may_share_memory(b.array(x), b.array(y))
    read = y if apart else f"({y} + 0)"
    return b.one_of(
        (f"{x}[{key}] = {read}", f"{x}[{key}] = {y} + 0"),
        (f"{x}[{key}] = {c}", f"{x}[{key}] = {c}"),
        (f"{x}[{key}] += {read}", f"{x}[{key}] += {y} + 0"),
        (f"{x}[{key}] *= {c}", f"{x}[{key}] *= F({c})"),
    )


@often(4)
def written_again(b: Builder) -> Pair:
    """Two writes into one region, the first of which may not read it."""
    x = _writable(b, _has_rows)
    key = _slices(b, x)
    part = eval(f"x[{key}]", {"x": b.array(x)})
    y = _fits_into(b, part.shape)
    apart = not np.may_share_memory(b.array(x), b.array(y))
    read = y if apart else f"({y} + 0)"
    c = b.number()
    first = b.one_of(
        (f"{x}[{key}] = {c}",) * 2,
        (f"{x}[{key}] = {read}", f"{x}[{key}] = {y} + 0"),
        (f"{x}[{key}] *= {c}", f"{x}[{key}] *= F({c})"),
    )
    again = f"{x}[{_slices(b, x)}]" if b.rng.random() < 0.3 else f"{x}[{key}]"
    second = b.one_of(
        (f"{again} += {c}", f"{again} += F({c})"),
        (f"{again} *= 0.5", f"{again} *= F(0.5)"),
        (f"{again} = {c}",) * 2,
    )
    return "; ".join((first[0], second[0])), "; ".join((first[1], second[1]))


@often(3)
def mask_written(b: Builder) -> Pair:
    x = _writable(b)
    shape = b.array(x).shape
    m = b.pick("b", lambda a: a.shape == shape)
    line = f"{x}[{m}] = {b.number()}"
    return line, line


@often(2)
def index_written(b: Builder) -> Pair:
    x = _writable(b, _has_rows)
    n = b.array(x).shape[0]
    where = [int(i) for i in b.rng.permutation(n)[: b.integer(1, 3)]]
    line = f"{x}[{where}] = {b.number()}"
    return line, line


@often(3)
def into_out(b: Builder) -> Pair:
    x = b.pick()
    y = b.partner(x)
    shape = np.broadcast_shapes(b.array(x).shape, b.array(y).shape)
    out = b.pick("f", lambda a: a.shape == shape and a.flags.writeable and 0 not in a.strides)
    for n in (x, y):
        if n != out and np.may_share_memory(b.array(n), b.array(out)):
            raise Unfit
    if b.program.differentiated:
        raise Unfit  # out= takes no history
    f, g = b.one_of(("add", "add"), ("mul", "multiply"), ("maximum", "maximum"))
    return f"L.{f}({x}, {y}, out={out})", f"{out}[...] = np.{g}({x}, {y})"


@often(2)
def moving_slice(b: Builder) -> Pair:
    """The same work at a start that moves: one plan, other launch arguments."""
    x = b.pick("f", lambda a: a.ndim > 0 and a.shape[0] >= 3)
    y = _writable(b, lambda a: a.shape == b.array(x).shape)
    if x != y and np.may_share_memory(b.array(x), b.array(y)):
        raise Unfit
    cut = b.one_of("", "; L.mps.synchronize() if dev == 'mps' else None")
    loop = f"for k in range({b.array(x).shape[0] - 1}): {y}[k:k + 1] += {x}[k + 1:k + 2] * "
    return loop + f"(k * 0.1){cut}", loop + "F(k * 0.1)"


@often(3)
def dropped(b: Builder) -> Pair:
    names = [n for n in b.envs[0] if n[0] == "v"]
    if len(names) < 4:
        raise Unfit
    line = f"del {b.rng.choice(names)}"
    return line, line


@often(4)
def cut(b: Builder) -> Pair:
    x = b.pick("f", lambda a: a.size > 0)
    return b.one_of(
        (f"reads.append({x}.sum().item())", f"reads.append(float(np.sum({x})))"),
        ("L.mps.synchronize() if dev == 'mps' else None", "pass"),
        (f"reads.append({x}.amax().item())", f"reads.append(float(np.max({x})))"),
    )


@often(4)
def drawn(b: Builder) -> Pair:
    if not b.program.draws:
        raise Unfit
    x = b.pick()
    shape = list(b.array(x).shape)
    dtype = f"dtype={x}.dtype, device=dev"
    return b.assign(*b.one_of(
        (f"L.rand({shape}, {dtype})", f"np.full({shape}, F(0.4))"),
        (f"L.randn({shape}, {dtype})", f"np.full({shape}, F(0.3))"),
        (f"L.nn.functional.dropout({x}, 0.3)", f"{x} * 1"),
        (f"L.empty({shape}, {dtype}).uniform_(-1, 1) * {x}", f"{x} * F(0.7)"),
        (f"L.bernoulli(L.full({shape}, 0.5, {dtype}))", f"np.full({shape}, F(1))"),
    ))  # fmt: skip


TABLE = [make for _, make in ROWS]
WEIGHTS = np.array([w for w, _ in ROWS]) / sum(w for w, _ in ROWS)
