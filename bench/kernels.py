"""Rows of bench/run for single kernels: softmax, layer norm, transposed copy, attention, gemm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from measure import Line, Subject
from workloads import tensor


def _softmax(L: Any, device: str) -> Callable[[], Any]:
    x = tensor(L, device, 4096, 1024)
    return lambda: L.softmax(x, -1)


def _layer_norm(L: Any, device: str) -> Callable[[], Any]:
    x, w, b = (tensor(L, device, *s) for s in ((4096, 1024), (1024,), (1024,)))
    return lambda: L.nn.functional.layer_norm(x, (1024,), w, b)


def _transposed(L: Any, device: str) -> Callable[[], Any]:
    x = tensor(L, device, 4096, 4096)
    return lambda: x.t().contiguous()


def _depthwise(channels: int, size: int, stride: int, backward: bool) -> Any:
    def make(L: Any, device: str) -> Callable[[], Any]:
        x = tensor(L, device, 32, channels, size, size)
        w = tensor(L, device, channels, 1, 3, 3, seed=1)
        x.requires_grad_(backward)
        w.requires_grad_(backward)
        grad = tensor(L, device, 32, channels, size // stride, size // stride)

        def step() -> Any:
            y = L.nn.functional.conv2d(x, w, None, stride, 1, 1, channels)
            return L.autograd.grad(y, [x, w], grad) if backward else y

        return step

    return make


def _apart(subject: Subject) -> Subject:
    """Each step by itself: equal steps on one tape would be computed once."""

    def step() -> Any:
        out = subject.step()
        subject.synchronize([out])
        return out

    return subject._replace(step=step)


def _rows(named: dict[str, Callable[[Any, str], Callable[[], Any]]]) -> Callable[[Any], list[Line]]:
    def measure(bench: Any) -> list[Line]:
        lines = []
        for name, make in named.items():
            subjects = bench.subjects(make)
            if bench.torch and not bench.compiled and name in ("softmax", "layer_norm"):
                compiled = bench.torch.compile(make(bench.torch, "cpu"))
                subjects.append(Subject("compiled", compiled, lambda _: None))
            lines.append(bench.line(name, [_apart(s) for s in subjects], None, "us"))
        return lines

    return measure


def _attention(
    batch: int, heads: int, length: int, width: int, backward: bool
) -> Callable[[Any, str], Callable[[], Any]]:
    def make(L: Any, device: str) -> Callable[[], Any]:
        product = tensor(L, device, batch, length, 3 * heads * width)
        product.requires_grad_(backward)
        grad = tensor(L, device, batch, heads, length, width)

        def step() -> Any:
            q, k, v = (
                u.view(batch, length, heads, width).transpose(1, 2) for u in product.chunk(3, -1)
            )
            out = L.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            return L.autograd.grad(out, product, grad)[0] if backward else out

        return step

    return make


# name: m, n, k, A is stored transposed, B is, batch, dtype
PRODUCTS: dict[str, tuple[int, int, int, bool, bool, int, str]] = {
    "1024^3": (1024, 1024, 1024, False, False, 0, "float32"),
    "char-GPT up": (4096, 512, 128, False, True, 0, "float32"),
    "char-GPT up, to x": (4096, 128, 512, False, False, 0, "float32"),
    "char-GPT up, to W": (512, 128, 4096, True, False, 0, "float32"),
    "GPT-2 up, 64 rows": (64, 3072, 768, False, True, 0, "float32"),
    "GPT-2 head, 64 rows": (64, 50304, 768, False, True, 0, "float32"),
    "GPT-2 up, 1 row": (1, 3072, 768, False, True, 0, "float32"),
    "GPT-2 up, 4 rows": (4, 3072, 768, False, True, 0, "float32"),
    "GPT-2 up, 8 rows": (8, 3072, 768, False, True, 0, "float32"),
    "128 x (128,128,32)": (128, 128, 32, False, False, 128, "float32"),
    "bf16 1024^3": (1024, 1024, 1024, False, False, 0, "bfloat16"),
    "bf16 GPT-2 up, 64 rows": (64, 3072, 768, False, True, 0, "bfloat16"),
    "f16 GPT-2 up, 64 rows": (64, 3072, 768, False, True, 0, "float16"),
}


def gemm(bench: Any) -> list[Line]:
    """Matrix products, with the rate of ours."""
    lines = []
    for name, (m, n, k, ta, tb, batch, dtype) in PRODUCTS.items():

        def make(L: Any, device: str, args: Any = (m, n, k, ta, tb, batch, dtype)) -> Any:
            m, n, k, ta, tb, batch, dtype = args
            lead = (batch,) if batch else ()
            kind = getattr(L, dtype)
            a = tensor(L, device, *lead, *((k, m) if ta else (m, k))).to(kind)
            b = tensor(L, device, *lead, *((n, k) if tb else (k, n)), seed=1).to(kind)
            a, b = (x.transpose(-1, -2) if turned else x for x, turned in ((a, ta), (b, tb)))
            return lambda: L.matmul(a, b)

        subjects = [_apart(subject) for subject in bench.subjects(make)]
        line = bench.line(f"gemm {name}", subjects, None, "us")
        rate = 2 * m * n * k * max(batch, 1) / line.ours / 1e9
        lines.append(line._replace(note=f"{rate:.0f} GF/s"))
    return lines


ROWS = {
    "softmax": _rows({"softmax": _softmax}),
    "layer_norm": _rows({"layer_norm": _layer_norm}),
    "transpose": _rows({"transpose": _transposed}),
    "attention": _rows(
        {
            "attention 32x4x128x32": _attention(32, 4, 128, 32, False),
            "attention 32x4x128x32, gradient": _attention(32, 4, 128, 32, True),
            "attention 1x8x2048x64": _attention(1, 8, 2048, 64, False),
            "attention 1x8x2048x64, gradient": _attention(1, 8, 2048, 64, True),
        }
    ),
    "depthwise": _rows(
        {
            f"depthwise 3x3/{stride} {channels}x{size}x{size}{note}": _depthwise(
                channels, size, stride, bool(note)
            )
            for channels, size, stride in ((64, 56, 1), (128, 28, 2), (512, 14, 1), (512, 7, 1))
            for note in ("", ", gradient")
        }
    ),
    "gemm": gemm,
}
