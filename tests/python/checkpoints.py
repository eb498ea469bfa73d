"""What the committed checkpoint files hold, made with either library."""

from __future__ import annotations

from argparse import Namespace
from collections import OrderedDict, defaultdict
from pathlib import PurePosixPath
from typing import Any

import numpy as np

NUMBERS = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8")
OTHERS = ("bool", "complex64", "complex128", "uint16", "uint32", "uint64")


def example(L: Any) -> Any:
    """Every dtype, shared storages, and the plain values a checkpoint may have."""
    base = L.arange(12.0)
    numbers = {name: L.tensor([1, 0, 3], dtype=getattr(L, name)) for name in NUMBERS + OTHERS}
    return {
        "numbers": numbers,
        "base": base,
        "view": base[2:8].view(2, 3).t(),
        "again": base,
        "column": L.arange(6).reshape(2, 3)[:, 1],
        "empty": L.zeros(0, 3),
        "scalar": L.tensor(2.5),
        "parameter": L.nn.Parameter(L.ones(2, 2)),
        "frozen": L.nn.Parameter(L.ones(1), requires_grad=False),
        "leaf": L.zeros(2, requires_grad=True),
        "ordered": OrderedDict([("b", 1), ("a", [2.5, None, True, False, "text"])]),
        "tuple": (1, -2, 2**40, 10**30, b"bytes", L.Size([2, 3])),
        "kinds": [L.float32, L.device("cpu"), {1, 2}, 3 + 4j, float("inf")],
        3: {"nested": {"deeper": [(), [], {}]}},
    }


def trusted(L: Any) -> Any:
    """What scripts keep beside their weights, and tensors whose numbers PyTorch left to change."""
    z = L.tensor([1 + 2j, 3 - 4j])
    return {
        "args": Namespace(lr=0.1, layers=[1, 2], name="net"),
        "best": np.float64(0.75),
        "count": np.int32(7),
        "matrix": np.arange(6.0).reshape(2, 3),
        "turned": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
        "bytes": np.array([1, 2], dtype=">i4"),
        "names": np.array(["ab", "c"]),
        "scores": defaultdict(list, {"a": [1.0]}),
        "path": PurePosixPath("runs/1"),
        "frozen": frozenset({1, 2}),
        "conjugate": z.conj(),
        "negated": L.tensor([1 + 2j, 3 - 4j]).conj().imag,
        "part": z.conj()[1:],
    }


def trained(L: Any) -> Any:
    """(a small model, its optimizer after two steps)."""
    model = L.nn.Sequential(
        OrderedDict(first=L.nn.Linear(3, 4), act=L.nn.ReLU(), last=L.nn.Linear(4, 1))
    )
    with L.no_grad():
        for i, p in enumerate(model.parameters()):
            p.copy_((L.arange(p.numel()) * 0.1 - i * 0.2).view(p.shape))
    optimizer = L.optim.AdamW(
        [{"params": model.first.parameters()}, {"params": model.last.parameters(), "lr": 0.5}],
        lr=0.1,
    )
    for _ in range(2):
        optimizer.zero_grad()
        model(L.ones(2, 3)).sum().backward()
        optimizer.step()
    return model, optimizer
