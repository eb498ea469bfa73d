"""Functions that the package composes of recorded ops."""

from __future__ import annotations

from typing import Any

from . import outcome


def case_pad(L: Any) -> Any:
    pad = L.nn.functional.pad
    x = L.arange(6.0).reshape(1, 2, 3)
    w = L.ones(2, 3, requires_grad=True)
    (pad(w, (1, 2, -1, 1), value=3.0) * L.arange(12.0).reshape(2, 6)).sum().backward()
    return [
        *(pad(x, p).tolist() for p in [(1, 2), (0, 1, 2, 0), (-1, 0), (1, 1, 1, 1, 1, 1), ()]),
        pad(x, (1, 1), "constant", -1.0).tolist(),
        pad(L.arange(3), (2, 0), value=7).tolist(),
        w.grad.tolist(),
        outcome(lambda: pad(x, (1,)) and None)["error"],
        outcome(lambda: pad(x, (1,) * 8) and None)["error"],
        outcome(lambda: pad(x, (-2, -2)) and None)["error"],
    ]


def case_diag(L: Any) -> Any:
    v, m = L.arange(3.0), L.arange(6.0).reshape(2, 3)
    return [
        L.diag(v).tolist(), L.diag(v, 1).tolist(), L.diag(v, -2).tolist(), m.diag().tolist(),
        L.diag(m, 1).tolist(), outcome(lambda: L.diag(L.ones(1, 1, 1)) and None)["error"],
        L.ones(3, 3).triu_(1).tolist(), L.ones(3, 3).tril_().tolist(),
    ]  # fmt: skip


def case_multinomial(L: Any) -> Any:
    L.manual_seed(0)
    p = L.tensor([[0.0, 1.0, 3.0, 0.0], [1.0, 0.0, 0.0, 1.0]])
    many = L.multinomial(p, 4000, replacement=True)
    return [
        sorted(set(many[0].tolist())), sorted(set(many[1].tolist())), list(many.shape),
        abs((many[0] == 2).float().mean().item() - 0.75) < 0.03,
        sorted(L.multinomial(p[0], 2).tolist()), str(many.dtype),
        sorted(L.multinomial(L.ones(5), 5).tolist()),
        *(
            outcome(a)["error"]
            for a in (
                lambda: L.multinomial(p, 5) and None,
                lambda: L.multinomial(L.tensor([-1.0, 1.0]), 1) and None,
                lambda: L.multinomial(L.zeros(2), 1) and None,
                lambda: L.multinomial(L.tensor([float("nan")]), 1) and None,
                lambda: L.multinomial(L.ones(1, 1, 1), 1) and None,
                lambda: L.multinomial(L.ones(2, dtype=L.int64), 1) and None,
                lambda: L.multinomial(L.ones(2), 0) and None,
            )
        ),
    ]  # fmt: skip


def case_legacy_types(L: Any) -> Any:
    return [
        L.FloatTensor([1, 2]).tolist(), L.LongTensor([[1], [2]]).tolist(),
        list(L.FloatTensor(2, 3).shape), str(L.DoubleTensor([1]).dtype),
        isinstance(L.ones(1), L.FloatTensor), isinstance(L.ones(1), L.LongTensor),
        L.ones(1).type(), L.zeros(1).type(L.LongTensor).type(), L.version.cuda,
    ]  # fmt: skip
