"""How tensors are printed."""

from __future__ import annotations

from typing import Any

import numpy as np


def numbers(L: Any, *shape: int, scale: float = 1.0, seed: int = 0) -> Any:
    values = np.random.default_rng(seed).standard_normal(shape) * scale
    return L.tensor(values.astype(np.float32))


def case_scalars(L: Any) -> Any:
    values = [
        0,
        1,
        -1,
        1.5,
        1e-5,
        123456.789,
        1e10,
        float("inf"),
        float("-inf"),
        float("nan"),
        3e-9,
    ]
    return [repr(L.tensor(v)) for v in values] + [
        repr(L.tensor(True)), repr(L.tensor(False)), repr(L.tensor(7, dtype=L.int8)),
    ]  # fmt: skip


def case_vectors(L: Any) -> Any:
    lists = [
        [1.0, 2.0, 3.0],
        [1.0, 2.5, -3.25],
        [1.0, float("inf"), 2.0],
        [1.0, float("nan"), -2.0],
        [float("nan")],
        [float("inf"), float("-inf")],
        [0.0, -0.0],
        [1e-8, 1.0],
        [1e8, 1.0],
        [1e9, 2e9],
        [1e-5],
        [0.0001, 0.1],
        [1000.5, 1.25],
        [1.0, 2000.0],
        [123456.0, 2.0],
        [1e20],
        [0.1] * 40,
        [],
        [100000000.0],
        [99999999.0, 1.0],
    ]
    return [repr(L.tensor(values)) for values in lists]


def case_integers(L: Any) -> Any:
    return [
        repr(L.arange(5)),
        repr(L.arange(-3, 30)),
        repr(L.tensor([1, -20, 300])),
        repr(L.tensor([[1, 2], [3, 4]], dtype=L.int32)),
        repr(L.tensor([0, 255], dtype=L.uint8)),
        repr(L.tensor([True, False])),
        repr(L.tensor([[True], [False]])),
        repr(L.tensor([2**40, 1])),
    ]


def case_matrices(L: Any) -> Any:
    return [
        repr(numbers(L, 3, 4)),
        repr(numbers(L, 2, 3, 4)),
        repr(numbers(L, 2, 2, 2, 2)),
        repr(numbers(L, 3, 20)),
        repr(numbers(L, 4, 4, scale=1e6)),
        repr(numbers(L, 4, 4, scale=1e-6)),
        repr(numbers(L, 1, 1)),
        repr(numbers(L, 30)),
    ]


def case_summaries(L: Any) -> Any:
    return [
        repr(L.arange(1000)),
        repr(L.arange(1001)),
        repr(numbers(L, 1001)),
        repr(numbers(L, 50, 50)),
        repr(numbers(L, 6, 500)),
        repr(numbers(L, 500, 3)),
        repr(numbers(L, 20, 20, 20)),
        repr(numbers(L, 2, 2000)),
        repr(L.zeros(10000)),
    ]


def case_dtypes(L: Any) -> Any:
    x = [1.0, 2.5, -3.0]
    return [repr(L.tensor(x, dtype=d)) for d in (L.float64, L.float16, L.bfloat16)] + [
        repr(L.tensor([1, 2], dtype=d)) for d in (L.int8, L.int16, L.int32, L.int64, L.uint8)
    ]


def case_complex(L: Any) -> Any:
    return [
        repr(L.tensor([1 + 2j, -3.5j])),
        repr(L.tensor([[1 + 0j, 2 - 1j]])),
        repr(L.tensor(1j)),
    ]


def case_empty(L: Any) -> Any:
    return [
        repr(L.tensor([])),
        repr(L.zeros(0, 3)),
        repr(L.zeros(2, 0, 4)),
        repr(L.zeros(0, dtype=L.int64)),
        repr(L.zeros(0, 2, dtype=L.float64)),
    ]


def case_gradients(L: Any) -> Any:
    x = L.tensor([1.0, 2.0], requires_grad=True)
    wide = L.zeros(12, requires_grad=True)
    return [
        repr(x),
        repr(x * 2),
        repr(x.sum()),
        repr(x.exp()),
        repr(wide + 1),
        repr(x.detach()),
        repr((x + 1).view(2, 1)),
        repr(L.nn.Parameter(L.zeros(2, 2))),
        repr(L.nn.Parameter(L.zeros(2), requires_grad=False)),
    ]


def case_options(L: Any) -> Any:
    x = numbers(L, 3, 3)
    texts = []
    for options in (
        {"precision": 2},
        {"precision": 8},
        {"linewidth": 40},
        {"sci_mode": True},
        {"sci_mode": False},
        {"threshold": 5},
        {"threshold": 5, "edgeitems": 1},
        {"profile": "short"},
        {"profile": "full"},
    ):
        L.set_printoptions(**options)
        texts.append([repr(x), repr(x * 1e7), repr(L.arange(40))])
        L.set_printoptions(profile="default")
    return texts


def case_layouts(L: Any) -> Any:
    x = numbers(L, 4, 6)
    return [repr(x.t()), repr(x[::2, 1::3]), repr(x[1]), repr(x[1, 2]), repr(x[0].expand(3, 6))]


def case_str_and_format(L: Any) -> Any:
    return [
        str(L.tensor([1.0, 2.0])),
        f"{L.tensor(2.5):.3f}",
        f"{L.tensor(3)}",
        f"{L.tensor([1, 2])}",
        repr(L.Size([2, 3])),
        repr(L.float32),
        str(L.device("cpu")),
        repr(L.device("cpu")),
    ]
