"""scaled_dot_product_attention against softmax attention in NumPy float64.

Values, gradients, masks, dropout, layouts, what it refuses, and that no matrix of scores is kept.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from oracle.layouts import LAYOUTS, arrange
from oracle.library import (
    DEVICES,
    FLOATING,
    IS_TORCH,
    Array,
    L,
    library_dtype,
    to_library,
    to_numpy,
)

F = L.nn.functional
ON_DEVICES = pytest.mark.parametrize("device", DEVICES)
OURS_ONLY = pytest.mark.skipif(IS_TORCH, reason="PyTorch does it otherwise")

# batch, heads, rows, keys, width, value width: one block and several, ragged, one row, one key.
SHAPES = [
    (2, 3, 5, 7, 8, 8),
    (1, 2, 130, 200, 32, 24),
    (2, 2, 64, 128, 16, 16),
    (1, 3, 1, 300, 64, 64),
    (1, 2, 70, 1, 5, 3),
    (3, 1, 129, 65, 33, 7),
]
MASKS = ("none", "causal", "boolean", "additive", "rows", "blind")
TOLERANCE = {"f16": 4e-3, "bf16": 3e-2, "f32": 3e-6, "f64": 2e-14}


def softmax(s: Array) -> Array:
    """Over the last axis; a row of -inf gives 0."""
    top = s.max(-1, keepdims=True, initial=-np.inf)
    e = np.exp(s - np.where(np.isneginf(top), 0, top))
    total = e.sum(-1, keepdims=True)
    return np.divide(e, total, out=np.zeros_like(e), where=total != 0)


def scores(q: Array, k: Array, mask: Array | None, causal: bool, scale: float | None) -> Array:
    s = q @ np.swapaxes(k, -1, -2) * (1 / np.sqrt(q.shape[-1]) if scale is None else scale)
    if causal:
        s = np.where(np.tril(np.ones(s.shape[-2:], bool)), s, -np.inf)
    if mask is not None:
        s = np.where(mask, s, -np.inf) if mask.dtype == bool else s + mask.astype(np.float64)
    return s


def reference(
    q: Array,
    k: Array,
    v: Array,
    g: Array,
    mask: Array | None = None,
    causal: bool = False,
    scale: float | None = None,
    kept: Array | None = None,
) -> tuple[Array, Array, Array, Array]:
    """Output and the gradients of q, k, v, in float64. `kept`: what dropout multiplies with."""
    q, k, v, g = (a.astype(np.float64) for a in (q, k, v, g))
    p = softmax(scores(q, k, mask, causal, scale))
    kept = np.ones(()) if kept is None else kept
    factor = 1 / np.sqrt(q.shape[-1]) if scale is None else scale
    dp = (g @ np.swapaxes(v, -1, -2)) * kept
    ds = p * (dp - (dp * p).sum(-1, keepdims=True)) * factor
    turned = np.swapaxes(ds, -1, -2)
    return (p * kept) @ v, ds @ k, turned @ q, np.swapaxes(p * kept, -1, -2) @ g


def make_mask(
    kind: str, rng: np.random.Generator, shape: tuple[int, ...], dtype: str
) -> tuple[Array | None, bool]:
    b, h, l, s = shape
    if kind == "boolean":
        return rng.random((b, 1, l, s)) < 0.6, False
    if kind == "additive":
        return rng.standard_normal((l, s)).astype("float64" if dtype == "f64" else "float32"), False
    if kind == "rows":  # padding: some keys hidden from all rows
        return rng.random((b, 1, 1, s)) < 0.7, False
    if kind == "blind":  # some rows see nothing
        mask = rng.random((b, h, l, s)) < 0.5
        mask[..., ::2, :] = False
        return mask, False
    return None, kind == "causal"


def inputs(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> list[Array]:
    """q, k, v and the output's gradient, rounded to dtype."""
    b, h, l, s, e, f = shape
    arrays = [
        rng.standard_normal(x) for x in ((b, h, l, e), (b, h, s, e), (b, h, s, f), (b, h, l, f))
    ]
    return [to_numpy(to_library(a, dtype, "cpu")).astype(np.float64) for a in arrays]


def check(got: Any, expected: Array, dtype: str, what: str) -> None:
    value = to_numpy(got).astype(np.float64)
    assert value.shape == expected.shape, what
    allowed = TOLERANCE[dtype] * max(1.0, float(np.abs(expected).max(initial=0)))
    worst = np.abs(value - expected).max(initial=0)
    assert worst <= allowed, f"{what}: off by {worst}, allowed {allowed}"


def run(
    arrays: list[Array], dtype: str, device: str, mask: Array | None, causal: bool, **more: Any
) -> tuple[Any, ...]:
    """Output and gradients."""
    q, k, v, g = (to_library(a, dtype, device) for a in arrays)
    leaves = [t.requires_grad_() for t in (q, k, v)]
    m = None if mask is None else L.tensor(mask).to(device)
    out = F.scaled_dot_product_attention(*leaves, attn_mask=m, is_causal=causal, **more)
    return (out, *L.autograd.grad(out, leaves, g))


@ON_DEVICES
@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients(
    shape: tuple[int, ...], kind: str, dtype: str, device: str, rng: np.random.Generator
) -> None:
    arrays = inputs(rng, shape, dtype)
    mask, causal = make_mask(kind, rng, (*shape[:2], shape[2], shape[3]), dtype)
    results = run(arrays, dtype, device, mask, causal)
    assert results[0].dtype == library_dtype(dtype)
    for got, expected, name in zip(
        results, reference(*arrays, mask, causal), ("out", "dq", "dk", "dv"), strict=True
    ):
        check(got, expected, dtype, name)


@ON_DEVICES
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(2, 3, 5, 7, 8, 8), (2, 2, 70, 140, 16, 24)], ids=str)
def test_layouts(
    shape: tuple[int, ...], layout: str, device: str, rng: np.random.Generator
) -> None:
    """Any strides are read as they are, of the mask too."""
    arrays = inputs(rng, shape, "f32")
    if layout == "expanded":
        arrays = [np.broadcast_to(a[:1], a.shape).copy() for a in arrays]
    mask = rng.random((shape[0], shape[1], shape[2], shape[3])) < 0.7
    if layout == "expanded":
        mask[:] = mask[:1]
    q, k, v, g = (arrange(a, layout, "f32", device) for a in arrays)
    m = arrange(mask, layout, "bool", device)
    for t in (q, k, v):
        t.requires_grad_()
    out = F.scaled_dot_product_attention(q, k, v, m)
    results = (out, *L.autograd.grad(out, (q, k, v), g))
    for got, expected in zip(results, reference(*arrays, mask), strict=True):
        check(got, expected, "f32", layout)


@ON_DEVICES
@pytest.mark.parametrize("heads_inside", [False, True])
def test_output_has_the_memory_order_of_the_query(heads_inside: bool, device: str) -> None:
    """So that transpose(1, 2).reshape(b, t, -1) behind it is a view, as in PyTorch."""
    if heads_inside:
        q, k, v = (
            u.view(2, 5, 3, 4).transpose(1, 2)
            for u in L.randn(2, 5, 36, device=device).chunk(3, -1)
        )
        assert F.scaled_dot_product_attention(q, k, v).stride() == (60, 4, 12, 1)
    else:
        q, k, v = (L.randn(2, 3, 5, 4, device=device) for _ in range(3))
        assert F.scaled_dot_product_attention(q, k, v).stride() == (60, 20, 4, 1)


@ON_DEVICES
def test_ranks_and_broadcasting(device: str, rng: np.random.Generator) -> None:
    q, k, v, g = inputs(rng, (2, 3, 5, 7, 8, 6), "f32")
    t = [to_library(a, "f32", device) for a in (q, k, v)]
    plain = reference(q, k, v, g)[0]
    sdpa = F.scaled_dot_product_attention
    check(sdpa(*(x[0] for x in t)), plain[0], "f32", "3 dimensions")
    check(sdpa(*(x[0, 0] for x in t)), plain[0, 0], "f32", "2 dimensions")
    check(sdpa(*(x[None, :, None] for x in t)), plain[None, :, None], "f32", "6 dimensions")
    mask = rng.random((2, 1, 5, 7)) < 0.6
    got = sdpa(*(x[None] for x in t), L.tensor(mask).to(device))
    check(got, reference(q, k, v, g, mask)[0][None], "f32", "5 dimensions and a mask")
    check(sdpa(t[0], t[1][:1], t[2][:1]), reference(q, k[:1], v[:1], g)[0], "f32", "one batch")
    check(sdpa(t[0], t[1][0], t[2][0]), reference(q, k[0], v[0], g)[0], "f32", "no batch")
    check(sdpa(t[0][:1], t[1], t[2]), reference(q[:1], k, v, g)[0], "f32", "one query")
    leaf = t[1][:1].detach().requires_grad_()
    (dk,) = L.autograd.grad(sdpa(t[0], leaf, t[2]), leaf, to_library(g, "f32", device))
    full = np.broadcast_to(k[:1], k.shape)
    check(dk, reference(q, full, v, g)[2].sum(0, keepdims=True), "f32", "broadcast gradient")


@ON_DEVICES
@pytest.mark.parametrize("dtype", ["f32", "bf16"])
@pytest.mark.parametrize("heads", [(6, 2), (4, 1), (3, 3)])
def test_grouped_heads(
    heads: tuple[int, int], dtype: str, device: str, rng: np.random.Generator
) -> None:
    n, few = heads
    q, _, _, g = inputs(rng, (2, n, 70, 1, 8, 12), dtype)
    _, k, v, _ = inputs(rng, (2, few, 1, 150, 8, 12), dtype)
    wide = [np.repeat(a, n // few, 1) for a in (k, v)]
    expected = list(reference(q, *wide, g, causal=True))
    for i in (2, 3):
        a = expected[i]
        expected[i] = a.reshape(2, few, n // few, *a.shape[2:]).sum(2)
    results = run([q, k, v, g], dtype, device, None, True, enable_gqa=True)
    for got, wanted in zip(results, expected, strict=True):
        check(got, wanted, dtype, "grouped")


@ON_DEVICES
def test_empty(device: str) -> None:
    sdpa = F.scaled_dot_product_attention
    q = L.randn(2, 3, 4, 8, device=device, requires_grad=True)
    none = L.randn(2, 3, 0, 8, device=device, requires_grad=True)
    out = sdpa(q, none, none)
    assert out.tolist() == L.zeros(2, 3, 4, 8).tolist()
    out.sum().backward()
    assert q.grad.tolist() == L.zeros(2, 3, 4, 8).tolist()
    assert none.grad.shape == (2, 3, 0, 8)
    assert sdpa(none, q, q).shape == (2, 3, 0, 8)
    k = L.randn(2, 3, 4, 8, device=device, requires_grad=True)
    sdpa(none.detach(), k, k).sum().backward()
    assert k.grad.tolist() == L.zeros(2, 3, 4, 8).tolist()
    assert sdpa(q[:0], q[:0], q[:0]).shape == (0, 3, 4, 8)
    uniform = sdpa(q[..., :0], q[..., :0], q)  # no width: all scores are equal
    check(uniform, to_numpy(q).mean(2, keepdims=True).repeat(4, 2), "f32", "no width")


@ON_DEVICES
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_extreme_scores(dtype: str, device: str, rng: np.random.Generator) -> None:
    """Large scores do not overflow; a NaN stays in its row; a masked infinity does not matter."""
    q, k, v, g = inputs(rng, (1, 1, 70, 150, 4, 4), dtype)
    big = reference(q * 1e4, k * 30, v, g)[0]
    t = [to_library(a, dtype, device) for a in (q * 1e4, k * 30, v)]
    check(F.scaled_dot_product_attention(*t), big, dtype, "large")
    bad = q.copy()
    bad[0, 0, 3, 1] = np.nan
    out = to_numpy(F.scaled_dot_product_attention(to_library(bad, dtype, device), *(
        to_library(a, dtype, device) for a in (k, v))))  # fmt: skip
    assert np.isnan(out[0, 0, 3]).all()
    assert np.isfinite(np.delete(out, 3, axis=2)).all()


@ON_DEVICES
def test_causal_mask_equals_the_same_mask_spelled_out(device: str) -> None:
    q, k, v = (L.randn(1, 2, 150, 16, device=device) for _ in range(3))
    seen = L.ones(150, 150, dtype=L.bool, device=device).tril()
    a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    b = F.scaled_dot_product_attention(q, k, v, seen)
    assert L.allclose(a, b, atol=1e-6)


# ---- gradients ----------------------------------------------------------------------------------
@ON_DEVICES
@pytest.mark.parametrize("causal", [False, True])
def test_finite_differences(causal: bool, device: str, rng: np.random.Generator) -> None:
    """First and second order, in float64."""
    arrays = [rng.standard_normal((1, 2, n, 3)) for n in (4, 5, 5)]
    leaves = [to_library(a, "f64", device).requires_grad_() for a in arrays]

    def value(a: list[Array]) -> float:
        g = np.zeros((1, 2, 4, 3))
        return float(np.sin(reference(*a, g, causal=causal)[0]).sum())

    out = F.scaled_dot_product_attention(*leaves, is_causal=causal).sin().sum()
    grads = L.autograd.grad(out, leaves, create_graph=True)
    step = 1e-6
    for i, leaf in enumerate(arrays):
        for at in [(0, 0, 1, 2), (0, 1, 3, 0)]:
            moved = []
            for sign in (1, -1):
                other = [a.copy() for a in arrays]
                other[i][at] = leaf[at] + sign * step
                moved.append(value(other))
            slope = (moved[0] - moved[1]) / (2 * step)
            assert abs(float(grads[i][at]) - slope) < 1e-7
    # The derivative of sum(grad * weights) by finite differences of the first-order gradients.
    weights = [rng.standard_normal(a.shape) for a in arrays]

    def directional(a: list[Array]) -> float:
        ts = [to_library(x, "f64", device).requires_grad_() for x in a]
        o = F.scaled_dot_product_attention(*ts, is_causal=causal).sin().sum()
        gs = L.autograd.grad(o, ts)
        return sum(float((to_numpy(x) * w).sum()) for x, w in zip(gs, weights, strict=True))

    total = sum(
        (g * to_library(w, "f64", device)).sum() for g, w in zip(grads, weights, strict=True)
    )
    second = L.autograd.grad(total, leaves)
    for i, leaf in enumerate(arrays):
        at = (0, 1, 2, 1)
        moved = []
        for sign in (1, -1):
            other = [a.copy() for a in arrays]
            other[i][at] = leaf[at] + sign * step
            moved.append(directional(other))
        slope = (moved[0] - moved[1]) / (2 * step)
        assert abs(float(second[i][at]) - slope) < 1e-6


@ON_DEVICES
def test_gradient_of_a_mask(device: str, rng: np.random.Generator) -> None:
    q, k, v, g = inputs(rng, (2, 2, 5, 7, 8, 8), "f64")
    bias = rng.standard_normal((5, 7))
    leaf = to_library(bias, "f64", device).requires_grad_()
    t = [to_library(a, "f64", device) for a in (q, k, v)]
    out = F.scaled_dot_product_attention(*t, attn_mask=leaf)
    (got,) = L.autograd.grad(out, leaf, to_library(g, "f64", device))
    p = softmax(scores(q, k, bias, False, None))
    dp = g @ np.swapaxes(v, -1, -2)
    check(got, (p * (dp - (dp * p).sum(-1, keepdims=True))).sum((0, 1)), "f64", "mask")


# ---- dropout ------------------------------------------------------------------------------------
@OURS_ONLY
@ON_DEVICES
@pytest.mark.parametrize("dtype", ["f32", "f64", "bf16"])
@pytest.mark.parametrize("causal", [False, True])
def test_dropout_is_that_of_the_formula(
    causal: bool, dtype: str, device: str, rng: np.random.Generator
) -> None:
    """The draws are those F.dropout would take for the matrix of probabilities."""
    shape = (2, 2, 70, 130, 8, 8)
    arrays = inputs(rng, shape, dtype)
    L.manual_seed(7)
    ones = L.ones(*shape[:2], shape[2], shape[3], device=device, dtype=library_dtype(dtype))
    kept = to_numpy(F.dropout(ones, 0.3)).astype(np.float64)
    kept = np.where(kept > 0, 1 / 0.7, 0)
    L.manual_seed(7)
    results = run(arrays, dtype, device, None, causal, dropout_p=0.3)
    for got, expected in zip(results, reference(*arrays, None, causal, None, kept), strict=True):
        check(got, expected, dtype, "dropout")
    L.manual_seed(7)
    with L.nn.attention.sdpa_kernel(L.nn.attention.SDPBackend.MATH):
        again = run(arrays, dtype, device, None, causal, dropout_p=0.3)
    for a, b in zip(results, again, strict=True):
        check(b, to_numpy(a).astype(np.float64), dtype, "math")


@OURS_ONLY
@ON_DEVICES
def test_dropout_statistics(device: str) -> None:
    """With equal scores and values of 1 a row is the share of survivors times 1 / (1 - p)."""
    L.manual_seed(3)
    q, v = L.zeros(1, 8, 64, 4, device=device), L.ones(1, 8, 500, 1, device=device)
    k = L.zeros(1, 8, 500, 4, device=device)
    first = to_numpy(F.scaled_dot_product_attention(q, k, v, dropout_p=0.2))
    second = to_numpy(F.scaled_dot_product_attention(q, k, v, dropout_p=0.2))
    spread = np.sqrt(0.2 / 0.8 / 500)
    assert abs(first.mean() - 1) < 5 * spread / np.sqrt(first.size)
    assert 0.8 * spread < first.std() < 1.2 * spread
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.2
    gone = F.scaled_dot_product_attention(q, k, v, dropout_p=1.0)
    assert to_numpy(gone).max() == 0


# ---- what it refuses ----------------------------------------------------------------------------
def _bad_calls() -> list[tuple[str, Any, type[Exception], str]]:
    def shape(*dims: int, **more: Any) -> Any:
        return lambda device: L.zeros(*dims, device=device, **more)

    q, k = shape(2, 3, 4, 8), shape(2, 3, 5, 8)
    mask = shape(4, 5)

    def call(*makers: Any, **more: Any) -> Any:
        return lambda d: F.scaled_dot_product_attention(
            *(m(d) for m in makers), **{n: m(d) if callable(m) else m for n, m in more.items()}
        )

    return [
        ("dtypes", call(q, shape(2, 3, 5, 8, dtype=L.float64), k), RuntimeError,
         "Expected query, key, and value to have the same dtype, but got query.dtype: float "
         "key.dtype: double and value.dtype: float instead."),
        ("integers", call(*(shape(2, 4, 8, dtype=L.int32) for _ in range(3))), RuntimeError,
         "expected scalar type Float but found Int"),
        ("rank", call(shape(8), k, k), RuntimeError,
         "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: 1 "
         "key.dim: 4 and value.dim: 4 instead."),
        ("width", call(q, shape(2, 3, 5, 7), k), RuntimeError,
         "Expected size for first two dimensions of batch2 tensor to be: [6, 8] but got: [6, 7]."),
        ("heads", call(q, shape(2, 2, 5, 8), shape(2, 2, 5, 8)), RuntimeError,
         "The size of tensor a (3) must match the size of tensor b (2) at non-singleton dimension "
         "1"),
        ("groups", call(q, shape(2, 2, 5, 8), shape(2, 2, 5, 8), enable_gqa=True), RuntimeError,
         "Number of heads in key and value must divide the number of heads in "),
        ("both masks", call(q, k, k, attn_mask=mask, is_causal=True), RuntimeError,
         "_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True"),
        ("mask dtype", call(q, k, k, attn_mask=shape(4, 5, dtype=L.int32)), RuntimeError,
         "Expected attn_mask dtype to be bool or float or to match query dtype, but got "
         "attn_mask.dtype: int and  query.dtype: float instead."),
        ("mask rank", call(q, k, k, attn_mask=shape(5, dtype=L.bool)), IndexError,
         "Dimension out of range (expected to be in range of [-1, 0], but got -2)"),
        ("dropout", call(q, k, k, dropout_p=1.5), RuntimeError,
         "dropout probability has to be between 0 and 1, but got 1.5"),
    ]  # fmt: skip


@ON_DEVICES
@pytest.mark.parametrize("case", _bad_calls(), ids=lambda c: c[0])
def test_bad_calls(case: tuple[str, Any, type[Exception], str], device: str) -> None:
    _, call, kind, text = case
    with pytest.raises(kind) as caught:
        call(device)
    assert str(caught.value) == text or (IS_TORCH and str(caught.value).startswith(text[:40]))


@OURS_ONLY
@ON_DEVICES
def test_more_bad_calls(device: str) -> None:
    """Where PyTorch reads beyond its operands or says something else."""
    q, k = L.zeros(2, 3, 4, 8, device=device), L.zeros(2, 3, 5, 8, device=device)
    with pytest.raises(RuntimeError, match=r"to be: \[6, 5\] but got: \[6, 4\]"):
        F.scaled_dot_product_attention(q, k, q)
    with pytest.raises(RuntimeError, match="doesn't match the broadcast shape"):
        F.scaled_dot_product_attention(q, k, k, L.zeros(7, 2, 3, 4, 5, device=device))
    with pytest.raises(RuntimeError):
        F.scaled_dot_product_attention(q, k, k, L.zeros(4, 6, device=device))
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        F.scaled_dot_product_attention(q, k)


def test_backends() -> None:
    attention = L.nn.attention
    assert [int(b) for b in attention.SDPBackend.__members__.values()][:3] == [-1, 0, 1]
    q, k, v = (L.randn(1, 1, 5, 4, requires_grad=True) for _ in range(3))
    with attention.sdpa_kernel(attention.SDPBackend.FLASH_ATTENTION):
        fused = F.scaled_dot_product_attention(q, k, v)
        with attention.sdpa_kernel([attention.SDPBackend.MATH]):
            plain = F.scaled_dot_product_attention(q, k, v)
        assert F.scaled_dot_product_attention(q, k, v).grad_fn.name() == fused.grad_fn.name()
    assert fused.grad_fn.name() == "ScaledDotProductFlashAttentionForCpuBackward0"
    assert plain.grad_fn.name() != fused.grad_fn.name()
    assert L.allclose(fused, plain, atol=1e-6)
    with pytest.raises(AssertionError, match="Backend must be an instance of SDPBackend"):
        attention.sdpa_kernel(3).__enter__()


# ---- how it is computed -------------------------------------------------------------------------
_BITS = """
import hashlib, sys
import numpy as np
import quicksilver as L
rng = np.random.default_rng(0)
digest = hashlib.sha256()
for dtype in (L.float32, L.bfloat16):
    for b, h, few, l, s, e, causal in (
        (1, 2, 1, 300, 300, 16, True), (8, 2, 2, 70, 130, 32, False)):
        def make(heads, n):
            a = rng.standard_normal((b, heads, n, e)).astype("float32")
            return L.tensor(a).to("mps", dtype).requires_grad_()
        q, k, v = make(h, l), make(few, s), make(few, s)
        L.manual_seed(1)
        out = L.nn.functional.scaled_dot_product_attention(
            q, k, v, dropout_p=0.1, is_causal=causal, enable_gqa=True)
        for t in (out, *L.autograd.grad(out.float().square().sum(), (q, k, v))):
            digest.update(t.detach().float().cpu().numpy().tobytes())
print(digest.hexdigest())
"""


@OURS_ONLY
def test_bits_do_not_depend_on_threads() -> None:
    """One thread takes a key head at a time, many threads take blocks: the sums are the same."""
    found = set()
    for threads, sync in itertools.product(("1", "2", "9"), ("0", "1")):
        more = {"QS_NUM_THREADS": threads, "QS_SYNC": sync}
        run = subprocess.run(
            [sys.executable, "-c", _BITS],
            env={**os.environ, **more},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(run.stdout)
    assert len(found) == 1


@OURS_ONLY
def test_no_matrix_of_scores() -> None:
    """Forward and backward at 4096 rows take a small part of what the scores alone would."""
    n = 4096
    q, k, v = (L.randn(1, 1, n, 16, device="mps", requires_grad=True) for _ in range(3))
    L.mps.synchronize()
    L.mps.empty_cache()
    before = L.mps.driver_allocated_memory()
    F.scaled_dot_product_attention(q, k, v, is_causal=True).sum().backward()
    L.mps.synchronize()
    grown = L.mps.driver_allocated_memory() - before
    assert grown < n * n * 4 / 4
    assert np.isfinite(to_numpy(q.grad)).all()
