"""Mistakes in calls of composed and special functions: the error's type and text."""

from __future__ import annotations

from typing import Any

from . import outcome

ROWS = """
L.median(x, 5)
L.quantile(x, 1.5)
L.quantile(x, t)
L.quantile(i, 0.5)
L.quantile(x, 0.5, interpolation="cubic")
L.quantile(e, 0.5)
L.kthvalue(x, 9)
L.mode(x, 4)
L.histc(x, bins=0)
L.histc(x, min=2, max=1)
L.bincount(x)
L.bincount(-i)
L.bincount(i, minlength=-1)
L.bincount(i, weights=x)
L.diff(L.tensor(1.0))
L.diff(x, n=-1)
L.renorm(x, -1, 0, 1.0)
L.renorm(x[0], 2, 0, 1.0)
L.renorm(x, 2, 0, -1.0)
L.trace(x[0])
L.cov(L.ones(2, 2, 2))
L.searchsorted(x, L.ones(4, 2))
L.searchsorted(x[0], i)
L.searchsorted(x[0], x, side="up")
L.searchsorted(x[0], x, side="left", right=True)
L.bucketize(x, x)
L.isin(1, 2)
L.diag_embed(x, 0, 1, 1)
L.rot90(x, 1, (0, 0))
L.rot90(x, 1, (0,))
L.rot90(x[0])
x[0].fill_diagonal_(1)
L.ones(2, 3, 4).fill_diagonal_(1)
L.select_scatter(x, x, 0, 0)
L.block_diag(L.ones(1, 1, 1))
L.cartesian_prod(x)
L.combinations(x)
L.combinations(x[0], -1)
L.vander(x)
L.hsplit(x, 2)
L.vsplit(x[0], 2)
L.dsplit(x, 2)
L.put(x, i, x)
L.put(x, x, x)
L.masked_select(x, x)
L.take_along_dim(x, i, 0)
L.tensordot(x, x, -1)
L.tensordot(x, x, 1)
L.kron(x, 2)
L.cross(x, x)
L.cdist(x[0], x)
L.cdist(x, x[:, :1])
L.cdist(x, x, p=-1)
L.linalg.inv(x)
L.linalg.inv(x[0])
L.linalg.inv(i.reshape(2, 2))
L.linalg.det(x)
L.linalg.cholesky(x)
L.linalg.cholesky(-L.eye(2))
L.linalg.solve(x, x)
L.linalg.solve(L.eye(2), L.ones(3, 1))
L.linalg.matrix_power(x, 2)
L.linalg.qr(x, "x")
L.linalg.eigh(L.eye(2), "X")
L.linalg.cross(x, x)
L.linalg.norm(L.ones(2, 2, 2), 2)
L.linalg.vector_norm(i)
L.linalg.multi_dot([x])
L.scatter_reduce(x, 0, i.reshape(2, 2), x, "median")
L.scatter_reduce(x, 0, i.reshape(2, 2), x.double(), "sum")
L.index_reduce(x, 0, i[:2], x, "sum")
L.cummax(x, 3)
L.logcumsumexp(i, 0)
L.frexp(i)
L.gcd(x, x)
L.heaviside(x, i[0])
L.polygamma(-1, x)
L.mvlgamma(x, 0)
L.complex(x, x.double())
L.polar(i, i)
L.view_as_real(x)
L.view_as_complex(x)
L.imag(x)
L.hann_window(-1)
L.hann_window(3, dtype=L.int64)
L.fft.fft(x, 0)
L.fft.fft(x, norm="loud")
L.fft.rfft(L.ones(2, dtype=L.complex64))
L.poisson(i)
x.exponential_(-1)
x.geometric_(2)
x.cauchy_(0, 0)
x.log_normal_(0, -1)
L.nn.functional.softshrink(x, -1)
L.nn.functional.glu(x)
L.nn.functional.ctc_loss(L.ones(3, 1, 2), i[:1].reshape(1, 1), L.tensor([9]), L.tensor([1]))
L.nn.functional.multi_margin_loss(x, i[:1])
L.nn.functional.multi_margin_loss(x, i[:2], p=3)
L.nn.functional.triplet_margin_with_distance_loss(x, x, x, margin=-1)
L.repeat_interleave(x, L.tensor([1, 2, 3]), 0)
L.repeat_interleave(L.tensor([1.0]))
L.add(x, x, out=x.long())
""".strip().splitlines()


def attempt(row: str, L: Any, device: str = "cpu") -> Any:
    """The type and text of the error that the row raises, or "fine"."""
    scope = {
        "L": L,
        "x": L.arange(6.0, device=device).reshape(2, 3),
        "i": L.tensor([1, 2, 0, 1], device=device),
        "t": L.tensor([0.5], dtype=L.float64, device=device),
        "e": L.empty(0, device=device),
    }
    result = outcome(lambda: (eval(row, scope), "fine")[1])
    if isinstance(result, dict):
        result["text"] = result["text"].split("\nException raised from")[0]
    return result


def _case(row: str) -> Any:
    return lambda L: attempt(row, L)


for _row in ROWS:
    globals()[f"case_{_row}"] = _case(_row)
