"""Views, in-place writes, `out=` and aliasing, each against the same program on NumPy copies.

A program is text. A line is run as it is on tensors and on arrays, or says `tensors ## arrays`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracle.library import DEVICES, IS_TORCH, Array, L, library_dtype, to_library, to_numpy

ON_DEVICES = pytest.mark.parametrize("device", DEVICES)

PROGRAMS: dict[str, str] = {
    "slice": "x[1:3] += 2; x[:, ::3] *= -1; x[-1] = 7",
    "view of view": "v = x[1:5]; w = v[::2, 1:]; w += 1; v *= 2; w[0] = 0; r = x * 2",
    "transposed write": "v = x.T; v[0] = 5; v += y[:6]; r = v[2] * 1",
    "diagonal": "d = x.diagonal() ## d = np.einsum('ii->i', x[:, :6]); d += 10; r = x * 1",
    "reshape view": "v = x.reshape(4, 12); v[1, 3:9] = -1; x += 1; r = v * 1",
    "reshape copy": "v = x.T.reshape(-1); v += 100; r = x * 1",
    "select chain": "x[2][3] = 9; x[2][4:6] = 8; a = x[2]; a *= 2",
    "read, write, read": "a = x * 2; x += 1; b = x * 2; x *= 0; c = x + 0",
    "old value survives": "a = x + 0; v = x[2:4]; b = v * 3; v *= 0; r = a + x",
    "chained in place": "v = x[::2]; v += 1; v *= v; v -= y; x /= 2",
    "whole overwrite": "x[:] = 3; x += y; x[...] = x * 2",
    "copy_": "x.copy_(y) ## x[...] = y; x[1:4].copy_(x[0]) ## x[1:4] = x[0].copy()",
    "copy between views": "x[0:2] = x[4:6]; x[:, 0] = x[:, 7]; x[3] = x[3] * 2",
    "masks": "x[x > 20] = 0; x[x < 3] += 100; r = x[x > 50]",
    "mask rows": "m = x[:, 0] > 10; x[m] = y; r = x[m]",
    "index write": "x[[0, 3]] = y; x[:, [1, 1]] += 1; x[[1, 2], [3, 4]] *= 2",
    "index of view": "v = x[1:, ::2]; v[[0, 2]] = -1; r = v[[1, 3], [0, 2]]; r *= 5",
    "broadcast write": "x[:, 2:5] = y[0]; x[2:4] = y; x += x[:, :1] + 0",
    "scalars": "x[1, 2] = 4; s = x[1, 2] + 0; x[0, 0] = s * 2; x += s",
    "expanded read": "e = y.expand(6, 8) ## e = np.broadcast_to(y, (6, 8)); x += e; r = e * x; y *= 2; q = e + 0",  # noqa: E501
    "none and ellipsis": "v = x[..., None, 2:4]; v[3:, 0] = 1; r = v[0, :, 1] + 1",
    "unsqueeze": "v = x.unsqueeze(1) ## v = x[:, None]; v[:, 0, 0] += 3; r = v * 1",
    "split": "a, b = x.split(4, 1) ## a, b = np.split(x, 2, 1); a += 1; b *= a; r = a - b",
    "unfold": "v = y.unfold(0, 4, 2) ## v = np.lib.stride_tricks.sliding_window_view(y, 4)[::2]; y += 1; r = v * 1",  # noqa: E501
    "same tensor twice": "x += x; x *= x; v = x[1]; v -= v; r = x * 1",
    "zero and fill": "x[2:].zero_() ## x[2:] = 0; x[:, 1::2].fill_(4) ## x[:, 1::2] = 4",
    "clamp_": "x.clamp_(5, 20) ## np.clip(x, 5, 20, out=x); x[0].neg_() ## x[0] *= -1",
    "dtype in place": "i += 3; i *= 2; i //= 4; x += i[0]; i[1:] -= 1; r = i * x[0, 0]",
    "bool in place": "m = x > 10; m &= x < 30; m[0] = True; m ^= x > 15; r = x * m",
    "integer promotion": "i[:, :2] += m0; r = i + x",
    "where_": "x.masked_fill_(x > 12, 1) ## x[x > 12] = 1; r = x + y",
    "swap": "a = x[0] + 0; x[0] = x[1]; x[1] = a",
    "fibonacci": "for k in range(2, 6): x[k] = x[k - 1] + x[k - 2] * 0.5",
    "accumulate": "s = y * 0\nfor k in range(6):\n    s += x[k]\n    x[k] = s",
    "empty": "x[6:] += 1; x[:, 8:] = 3; r = x[2:2] * 2; x[0:0] = y",
    "steps": "x[1::2, ::3] += 1; x[::4] *= 3; v = x[::2][::2]; v += 1",
    "permute": "z = x.reshape(2, 3, 8); v = z.permute(2, 0, 1) ## v = z.transpose(2, 0, 1); v[1] = 9; v[:, 0] += 1; r = z + 0",  # noqa: E501
    "flatten": "v = x.flatten() ## v = x.reshape(-1); v[10:20] = 0; r = x * 1",
    "index_add_": "x.index_add_(0, k, x[:3] + 0) ## np.add.at(x, k, x[:3] + 0); r = x + 1",
    "scatter_": "x.scatter_(1, j, 50) ## np.put_along_axis(x, j, 50, 1); x[:, 0] += 1",
    "accumulating put": "x.index_put_((k,), y, accumulate=True) ## np.add.at(x, k, y)",
    "write, then update": "x[1] = 0; x[1] += y; v = x[3:5]; v.fill_(2) ## v[...] = 2; v *= 3",
    "copy, then update": "v = x[::2]; v.copy_(x[1]) ## v[...] = x[1]; v *= 2; v[0] -= y; r = x + 1",
    "update, then write": "x[1] += y; x[1] = 4; x[2:4] *= 2; x[2] = y; x[3] -= x[2]",
    "zero, then add": "x.T[2].zero_() ## x.T[2] = 0; x[:, 2] += y[:6]; x[:, 2:4] *= 0.5",
    "overlapping regions": "x[1:4] = 0; x[2:5] += 1; x[3:6] *= y; x[:2] = x[4:6]; r = x.sum(0)",
    "dead write": "v = x * 2; v += 1; v[0] = 5; v = x + 1; v[1] = 0",
    "view outlives": "v = (x * 2)[1:3]; x = x * 0; v += 1; r = v * 2",
}  # fmt: skip


def lines_for(program: str, arrays: bool) -> str:
    out = []
    for line in program.split("\n"):
        for part in line.split("; ") if "\n" not in program else [line]:
            both = part.split(" ## ")
            out.append(both[-1] if arrays else both[0])
    return "\n".join(out)


def inputs(dtype: str) -> dict[str, tuple[Array, str]]:
    rng = np.random.default_rng(5)
    return {
        "x": (np.arange(48).reshape(6, 8) * 0.75, dtype),
        "y": (np.arange(8) + 0.5, dtype),
        "i": (rng.integers(0, 9, (6, 8)), "i64"),
        "k": (np.array([4, 0, 4]), "i64"),
        "j": (rng.integers(0, 8, (6, 2)), "i64"),
        "m0": (np.arange(6)[:, None] % 2 == 0, "bool"),
    }


@ON_DEVICES
@pytest.mark.parametrize("start", ["material", "pending"])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name: str, dtype: str, start: str, device: str) -> None:
    """From inputs in memory, and from inputs that are themselves results not yet computed."""
    tensors: dict[str, Any] = {n: to_library(a, d, device) for n, (a, d) in inputs(dtype).items()}
    arrays: dict[str, Any] = {
        n: a.astype({"f32": np.float32, "f64": np.float64, "i64": np.int64, "bool": bool}[d])
        for n, (a, d) in inputs(dtype).items()
    }
    if start == "pending":
        tensors |= {n: tensors[n] + 0 for n in ("x", "y", "i")}
    exec(lines_for(PROGRAMS[name], False), {"L": L}, tensors)
    exec(lines_for(PROGRAMS[name], True), {"np": np}, arrays)
    for n, expected in arrays.items():
        if isinstance(expected, np.ndarray):
            np.testing.assert_allclose(
                to_numpy(tensors[n]), expected, rtol=1e-6, err_msg=f"{n} of {name}"
            )


# ---- out=

OUTS: dict[str, tuple[Any, Any]] = {
    "add": (lambda L, x, y, out: L.add(x, y, out=out), lambda x, y: x + y),
    "mul": (lambda L, x, y, out: L.mul(x, y, out=out), lambda x, y: x * y),
    "exp": (lambda L, x, y, out: L.exp(x, out=out), lambda x, y: np.exp(x)),
    "sum": (lambda L, x, y, out: L.sum(x.reshape(2, 3, 8), 0, out=out), None),
    "matmul": (lambda L, x, y, out: L.matmul(x, y.t(), out=out), None),
    "cat": (lambda L, x, y, out: L.cat([x, y], out=out), None),
    "clamp": (
        lambda L, x, y, out: L.clamp(x, 0.1, 0.8, out=out),
        lambda x, y: np.clip(x, 0.1, 0.8),
    ),
    "cumsum": (lambda L, x, y, out: L.cumsum(x, 1, out=out), lambda x, y: np.cumsum(x, 1)),
    "softmax": (lambda L, x, y, out: L.softmax(x, 1, out=out), None),
}


def out_reference(name: str, x: Array, y: Array) -> Array:
    special = {
        "sum": lambda: x.reshape(2, 3, 8).sum(0),
        "matmul": lambda: x @ y.T,
        "cat": lambda: np.concatenate([x, y]),
        "softmax": lambda: np.exp(x) / np.exp(x).sum(1, keepdims=True),
    }
    return special[name]() if name in special else OUTS[name][1](x, y)


@ON_DEVICES
@pytest.mark.parametrize("kind", ["fresh", "transposed", "sliced", "empty"])
@pytest.mark.parametrize("name", OUTS)
def test_out(name: str, kind: str, device: str, rng: np.random.Generator) -> None:
    x, y = rng.uniform(0, 1, (2, 6, 8)).astype(np.float32)
    expected = out_reference(name, x, y)
    rows, columns = expected.shape
    if kind == "fresh":
        base = out = L.full((rows, columns), 7.0, device=device)
    elif kind == "transposed":
        base = L.full((columns, rows), 7.0, device=device)
        out = base.t()
    elif kind == "sliced":
        base = L.full((2 * rows + 1, 3 * columns), 7.0, device=device)
        out = base[1::2, ::3]
    else:
        base = out = L.empty(0, device=device)
    call = OUTS[name][0]
    result = call(L, to_library(x, "f32", device), to_library(y, "f32", device), out)
    assert result is out
    np.testing.assert_allclose(to_numpy(out), expected, rtol=1e-5, atol=1e-6)
    if kind == "sliced":
        rest = to_numpy(base)
        rest[1::2, ::3] = 7
        assert np.all(rest == 7), "what lies between stays"


@ON_DEVICES
def test_out_aliases_an_input(device: str) -> None:
    x = to_library(np.arange(6.0), "f32", device)
    L.add(x, x, out=x)
    L.mul(x, 2, out=x)
    L.exp(x[:3], out=x[:3])
    expected = np.arange(6.0) * 4
    expected[:3] = np.exp(expected[:3])
    np.testing.assert_allclose(to_numpy(x), expected, rtol=1e-6)


@ON_DEVICES
def test_out_converts_upward_only(device: str) -> None:
    x = to_library(np.arange(3.0), "f32", device)
    wide = L.empty(3, dtype=L.float64, device=device)
    L.add(x, 1, out=wide)
    assert np.array_equal(to_numpy(wide), [1.0, 2.0, 3.0])
    with pytest.raises(RuntimeError, match="can't be cast"):
        L.add(x, 1, out=L.empty(3, dtype=L.int64, device=device))


@pytest.mark.skipif(
    IS_TORCH, reason="PyTorch refuses or leaves it undefined; here it is as if copied"
)
@ON_DEVICES
@pytest.mark.parametrize(
    "program",
    [
        "x[1:] = x[:-1]; r = x * 1",
        "x[:-1] += x[1:]",
        "s = x[:, :6]; s += s.T",
        "s = x[:, :6]; s[...] = s.T",
        "v = x[2:]; v *= x[:4]; v -= x[1:5]",
        "x[:, 1:] = x[:, :-1] * 2",
    ],
)
def test_overlapping_operands_are_read_first(program: str, device: str) -> None:
    start = np.arange(48, dtype=np.float32).reshape(6, 8)
    tensors, arrays = {"x": to_library(start, "f32", device)}, {"x": start.copy()}
    exec(program, {}, tensors)
    exec(program.replace("s.T", "s.T.copy()"), {}, arrays)
    for n, expected in arrays.items():
        assert np.array_equal(to_numpy(tensors[n]), expected), n


# ---- mistakes: the error's type and a piece of its text are PyTorch's

MISTAKES: dict[str, tuple[str, type[Exception], str]] = {
    "write to expanded": ("y.expand(6, 8).add_(1)", RuntimeError, "single memory location"),
    "copy to expanded": ("y.expand(6, 8).copy_(x)", RuntimeError, "single memory location"),
    "float into int": ("i += 1.5", RuntimeError, "can't be cast"),
    "float tensor into int": ("i.add_(x)", RuntimeError, "can't be cast"),
    "int into bool": ("m.add_(i[0, :3])", RuntimeError, "can't be cast"),
    "div int in place": ("i /= 2", RuntimeError, "can't be cast"),
    "in-place broadcast grows": ("y += x", RuntimeError, "doesn't match the broadcast shape"),
    "shapes": ("x + L.ones(5, device=x.device)", RuntimeError, "must match the size of tensor"),
    "matmul shapes": ("x @ x", RuntimeError, ""),
    "view of non-contiguous": ("x.t().view(-1)", RuntimeError, "view size is not compatible"),
    "view size": ("x.view(5, 5)", RuntimeError, "invalid for input of size"),
    "two -1": ("x.view(-1, -1)", RuntimeError, "only one dimension can be inferred"),
    "dim out of range": ("x.sum(2)", IndexError, "Dimension out of range"),
    "dim twice": ("x.sum((0, 0))", RuntimeError, "appears multiple times"),
    "index out of range": ("x[6]", IndexError, "out of bounds"),
    "too many indices": ("x[0, 0, 0]", IndexError, "too many indices"),
    "slice step": ("x[::-1]", ValueError, "step must be greater than zero"),
    "float index": ("x[1.5]", (IndexError, TypeError), ""),
    "assign shape": ("x[0] = x[:, 0]", RuntimeError, "expand"),
    "bool of many": ("bool(x)", RuntimeError, "ambiguous"),
    "item of many": ("x.item()", RuntimeError, "cannot be converted to Scalar"),
    "permute": ("x.permute(0, 0)", RuntimeError, ""),
    "squeeze dim": ("x.squeeze(3)", IndexError, "Dimension out of range"),
    "expand": ("x.expand(7, 8)", RuntimeError, "must match the existing size"),
    "cat shapes": ("L.cat([x, x[:, :3]])", RuntimeError, "Sizes of tensors must match"),
    "cat none": ("L.cat([])", (RuntimeError, ValueError), "non-empty"),
    "stack shapes": ("L.stack([x, x[:, :3]])", RuntimeError, "equal size"),
    "mask shape": ("x[m]", IndexError, "does not match"),
    "narrow": ("x.narrow(0, 4, 5)", RuntimeError, "exceeds dimension size"),
    "max of nothing": ("x[:0].amax(0)", (RuntimeError, IndexError), ""),
    "argmax of nothing": ("x[:0].argmax()", (RuntimeError, IndexError), ""),
    "as_strided beyond": ("L.as_strided(x, (10, 10), (8, 1))", RuntimeError, "out of bounds"),
    "neg bool": ("-m", RuntimeError, ""),
    "sub bool": ("m - m", RuntimeError, ""),
    "bitwise float": ("x & x", (RuntimeError, NotImplementedError), ""),
    "gather dtype": ("L.gather(x, 0, x)", RuntimeError, ""),
    "index dtype": ("L.index_select(x, 0, x[0])", (RuntimeError, IndexError), ""),
    "linear shapes": ("L.nn.functional.linear(x, x[:, :3])", RuntimeError, ""),
    "unflatten": ("x.unflatten(0, (4, 2))", RuntimeError, ""),
    "chunk": ("x.chunk(0)", RuntimeError, ""),
    "int requires grad": ("i.requires_grad_()", RuntimeError, "floating point"),
    "grad of many": ("(x.requires_grad_() * 2).backward()", RuntimeError, "scalar outputs"),
    "leaf in place": ("x.requires_grad_().add_(1)", RuntimeError, "leaf Variable"),
    "one of many in place": (
        "(x.requires_grad_() * 1).unbind(0)[1].add_(1)",
        RuntimeError,
        "Output 1 of Unbind is a view and is being modified inplace",
    ),
    "part of one of many in place": (
        "(x.requires_grad_() * 1).split(2)[0][0].mul_(2)",
        RuntimeError,
        "Output 0 of Split is a view",
    ),
    "view of leaf in place": ("x.requires_grad_()[0].add_(1)", RuntimeError, "view of a leaf"),
    "numpy of grad": ("x.cpu().requires_grad_().numpy()", RuntimeError, "detach"),
}


@ON_DEVICES
@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(name: str, device: str) -> None:
    program, kind, text = MISTAKES[name]
    arrays = inputs("f32")
    env: dict[str, Any] = {n: to_library(a, d, device) for n, (a, d) in arrays.items()}
    env["m"] = to_library(np.ones(3, bool), "bool", device)
    before = {n: to_numpy(t) for n, t in env.items()}
    with pytest.raises(kind, match=text):
        exec(program, {"L": L}, env)
    for n, a in before.items():
        assert np.array_equal(to_numpy(env[n]), a), f"{n} keeps its value"


GRADIENT_MISTAKES: dict[str, str] = {
    "result overwritten": "y = x.exp(); y += 1; y.sum().backward()",
    "input overwritten": "h = x * 1; y = h.sin(); h += 1; y.sum().backward()",
    "through a view": "h = x * 1; v = h[0]; y = h * h; v *= 2; y.sum().backward()",
    "factor overwritten": "c = x.detach() * 2; y = x * c; c += 1; y.sum().backward()",
    "matmul operand": "c = x.detach().t() * 1; y = x @ c; c[0] = 0; y.sum().backward()",
}


@ON_DEVICES
@pytest.mark.parametrize("name", GRADIENT_MISTAKES)
def test_saved_values_may_not_change(name: str, device: str) -> None:
    x = to_library(np.arange(6.0).reshape(2, 3), "f32", device).requires_grad_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        exec(GRADIENT_MISTAKES[name], {"L": L}, {"x": x})


@ON_DEVICES
def test_out_of_another_shape_is_resized(device: str) -> None:
    x = to_library(np.arange(6.0), "f32", device)
    out = to_library(np.zeros((2, 2)), "f32", device)
    with pytest.warns(UserWarning, match="An output with one or more elements was resized"):
        assert L.add(x, 1, out=out) is out
    assert np.array_equal(to_numpy(out), np.arange(6.0) + 1)
    none = L.empty(0, device=device)
    places = L.empty(0, dtype=L.int64, device=device)
    assert L.sort(x, descending=True, out=(none, places))[0] is none
    assert np.array_equal(to_numpy(none), np.arange(6.0)[::-1])


@ON_DEVICES
def test_view_as_another_dtype_shares_memory(device: str) -> None:
    x = to_library(np.arange(6.0), "f32", device)
    bits = x.view(L.int32)
    bits[0] = 0x3F800000
    x[1:] *= 2
    assert to_numpy(x)[0] == 1.0
    assert np.array_equal(to_numpy(bits), to_numpy(x).view(np.int32))
    assert tuple(x.view(L.int64).shape) == (3,)
    assert tuple(x.view(L.uint8).shape) == (24,)
    assert np.array_equal(to_numpy((x * 2).view(L.int16)), (to_numpy(x) * 2).view(np.int16))


# ---- data that fails: indices out of bounds, division by zero

BAD_INDEX: dict[str, str] = {
    "index": "r = x[k + 6]",
    "negative": "r = x[k - 50]",
    "index_select": "r = L.index_select(x, 0, k + 6)",
    "gather": "r = L.gather(x, 0, j + 6)",
    "embedding": "r = L.nn.functional.embedding(k + 6, x)",
    "index_put": "x[k + 6] = 1; r = x",
    "index_add": "x.index_add_(0, k + 6, x[:3] * 1); r = x",
    "scatter": "x.scatter_(1, j + 8, 1.0); r = x",
    "cross_entropy": "r = L.nn.functional.cross_entropy(x, i[:, 0] + 100)",
}


@ON_DEVICES
@pytest.mark.parametrize("name", BAD_INDEX)
def test_index_out_of_bounds(name: str, device: str) -> None:
    env: dict[str, Any] = {n: to_library(a, d, device) for n, (a, d) in inputs("f32").items()}
    kinds = (IndexError, RuntimeError) if IS_TORCH else IndexError
    with pytest.raises(kinds):
        exec(BAD_INDEX[name] + "\nr.cpu()", {"L": L}, env)
    fresh = to_library(np.ones(3), "f32", device)
    assert np.array_equal(to_numpy(fresh + 1), [2.0] * 3), "the device stays usable"


@pytest.mark.skipif(IS_TORCH, reason="a promise of this library")
@ON_DEVICES
def test_a_bad_label_does_not_touch_the_weights(device: str) -> None:
    w = to_library(np.ones((4, 3)), "f32", device).requires_grad_()
    optimizer = L.optim.SGD([w], lr=0.1)
    x = to_library(np.ones((2, 4)), "f32", device)
    with pytest.raises(IndexError):
        loss = L.nn.functional.cross_entropy(x @ w, L.tensor([0, 9], device=device))
        loss.backward()
        optimizer.step()
        loss.item()
    assert np.array_equal(to_numpy(w), np.ones((4, 3)))


@ON_DEVICES
@pytest.mark.parametrize("program", ["i // 0", "i % 0", "i // (i * 0)", "L.fmod(i, i * 0)"])
def test_integer_division_by_zero(program: str, device: str) -> None:
    i = to_library(np.arange(5), "i64", device)
    with pytest.raises((RuntimeError, ZeroDivisionError)):
        eval(program, {"L": L, "i": i}).cpu()


@ON_DEVICES
def test_memory_is_shared_with_numpy(device: str) -> None:
    a = np.arange(6.0, dtype=np.float32)
    t = L.from_numpy(a)
    t += 1
    assert np.array_equal(a, np.arange(6.0) + 1)
    a[0] = 50
    assert t[0].item() == 50
    back = t.numpy()
    back[1] = 60
    assert t[1].item() == 60
    moved = t.to(device)
    if device != "cpu":
        moved += 1
        assert a[0] == 50, "a copy on the other device is a copy"


@ON_DEVICES
@pytest.mark.parametrize("dtype", ["f32", "i64", "bool"])
def test_views_say_what_they_are(dtype: str, device: str) -> None:
    x = to_library(np.zeros((4, 6, 2)), dtype, device)
    v = x[1:3, ::2].transpose(0, 2)
    assert tuple(v.shape) == (2, 3, 2)
    assert tuple(v.stride()) == (1, 4, 12)
    assert v.storage_offset() == 12
    assert not v.is_contiguous()
    assert v.dtype == library_dtype(dtype)
    c = v.contiguous()
    assert c.is_contiguous()
    assert tuple(c.stride()) == (6, 2, 1)
    assert c.contiguous() is c or c.contiguous().data_ptr() == c.data_ptr()
    assert x.view(-1).data_ptr() == x.data_ptr()
