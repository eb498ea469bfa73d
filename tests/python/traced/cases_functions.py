"""Rows of one call each: statistics, sets, shapes, matrices, windows, transforms, special functions.

A row is an expression over the library L, `t`, which makes a tensor of an array, and the arrays
below. Its results are recorded, and the gradients of a weighted sum of them to all float arguments
where PyTorch has any.
"""

# ruff: noqa: E501 (one row of a table, one line)
from __future__ import annotations

import warnings
from typing import Any

import numpy as np

_R = np.random.RandomState(0)


def _f(*shape: int) -> Any:
    return _R.randn(*shape).astype("f")


x, y, v = _f(6, 7), _f(6, 7), _f(9)
c = _R.randint(-3, 4, (6, 7)).astype("f")
ci = _R.randint(0, 5, (12,))
nn = x.copy()
nn[1, 2] = nn[3] = np.nan
A, B, T = _R.randn(4, 4), _R.randn(4, 3), _R.randn(5, 4)
S = A @ A.T + np.eye(4)
a3, b3 = _R.randn(5, 3), _R.randn(5, 3)
srt = np.sort(_f(5, 6), 1)
cc = _R.randn(5, 5) + 1j * _R.randn(5, 5)
R0, R1, R2 = _R.randn(3, 4, 5), _R.randn(4, 5, 2), _R.randn(5, 2)
M2, M3, M4 = _R.randn(4, 2), _R.randn(3, 4, 5), _R.randn(3, 5, 2)
labels = np.array([0, 3, 2, 5, 1, 1])
many = np.tile(np.array([0, 3, -1, 6, 1, 1, 2]), (6, 1))
places = _R.randint(0, 6, (6, 7))
logits = _f(10, 2, 5)
words, flat_words = np.array([[1, 2, 2, 3], [2, 1, 3, 3]]), np.array([1, 2, 2, 3, 2, 1, 3])
lengths, sizes = np.array([10, 9]), np.array([4, 3])

ROWS = """
L.float_power(t(x), 2)
L.ldexp(t(x), t(c))
tuple(L.frexp(t(x*1000)))
L.mvlgamma(t(abs(x)+3), 3)
L.trapezoid(t(x))
L.trapezoid(t(x), dx=.5, dim=0)
L.trapezoid(t(x), t(srt[0][:1].repeat(7).cumsum().astype('f')))
L.cumulative_trapezoid(t(x))
L.gradient(t(v))
L.gradient(t(x), spacing=2.0, edge_order=2)
L.gradient(t(v), spacing=(t(v.cumsum()), ))
L.gradient(t(v), spacing=(t(v.cumsum()), ), edge_order=2)
t(nn).nanmean()
t(nn).nanmean(1)
t(x).median()
t(x).median(1)
t(x).median(0, keepdim=True)
t(nn).median(1)
t(nn).nanmedian()
t(c).mode(1)
t(c).mode(0)
t(x).quantile(.3)
t(x).quantile(t(np.array([.1, .5, .9], 'f')), 1)
t(x).quantile(t(np.array([.1, .5, .9], 'f')), 1, keepdim=True)
t(x).quantile(.3, 0, interpolation='nearest')
t(x).quantile(.3, 0, interpolation='midpoint')
t(x).quantile(.3, 0, interpolation='lower')
t(nn).nanquantile(.3, 1)
t(nn).quantile(.3, 1)
t(x).diff()
t(x).diff(n=2, dim=0, prepend=t(y[:1]))
t(x).histc()
t(x).histc(10, -1, 1)
tuple(L.histogram(t(x.ravel()), 5))
tuple(L.histogram(t(x.ravel()), 5, range=(-1., 1.), density=True, weight=t(abs(y.ravel()))))
L.bincount(t(ci))
L.bincount(t(ci), t(ci*1.5), minlength=9)
L.cov(t(x))
L.corrcoef(t(x))
L.cov(t(v))
L.renorm(t(x), 2, 0, 1.5)
L.trace(t(A))
t(c).unique()
L.unique(t(c), return_inverse=True, return_counts=True)
L.unique(t(c[:, :2]), dim=0, return_inverse=True, return_counts=True)
L.unique(t(np.sign(c[:3])), dim=1)
L.unique_consecutive(t(np.sort(c.ravel())), return_inverse=True, return_counts=True)
L.unique_consecutive(t(np.sort(c, 0)), dim=0)
L.isin(t(c), t(np.array([1., 2.], 'f')))
L.isin(t(ci), t(np.arange(20)), invert=True)
L.isin(t(ci), 3)
t(x).msort()
L.searchsorted(t(srt), t(x[:5]))
L.searchsorted(t(srt[0]), t(x), right=True)
L.searchsorted(t(srt[0]), 0.3)
L.bucketize(t(x), t(srt[0]), out_int32=True)
L.unravel_index(t(ci), (3, 4))
L.diag_embed(t(x))
L.diag_embed(t(x), 1, 0, 2)
L.diagflat(t(v), -1)
L.rot90(t(x))
L.rot90(t(x), 2)
L.rot90(t(x), 3, (1, 0))
t(x[:, :6]).hsplit(2)
t(x).vsplit(3)
L.dsplit(t(x.reshape(2, 3, 7)), (2, 4))
L.select_scatter(t(x), t(y[0]), 0, 2)
L.slice_scatter(t(x), t(y[:2]), 0, 1, 5, 2)
L.diagonal_scatter(t(x), t(v[:6]))
L.as_strided_scatter(t(x).detach().contiguous(), t(y[:2, :2]), (2, 2), (7, 2), 3)
L.masked_scatter(t(x), t(c)>0, t(y))
t(x).narrow_copy(1, 2, 3)
L.put(t(x), t(ci), t(ci*1.0).float())
L.nonzero_static(t(c), size=5)
L.atleast_1d(t(x), t(x[0, 0]))
L.atleast_2d(t(v))
L.atleast_3d(t(v), t(x))
L.block_diag(t(x), t(v), t(A[:2].astype('f')))
L.cartesian_prod(t(v[:3]), t(v[3:5]))
L.combinations(t(v[:4]), 2)
L.combinations(t(v[:4]), 3, with_replacement=True)
L.column_stack((t(v), t(v)))
L.row_stack((t(v), t(v)))
L.dstack((t(v), t(v)))
L.vander(t(v))
L.vander(t(v), 3, increasing=True)
L.tril_indices(3, 4, -1)
L.triu_indices(4, 3, 1)
L.kron(t(x), t(v[:2]))
L.cross(t(a3), t(b3))
L.vdot(t(v), t(v))
L.det(t(A))
L.logdet(t(S))
L.slogdet(t(A))
L.inverse(t(A))
L.linalg.cholesky(t(S))
L.cholesky_inverse(L.linalg.cholesky(t(S)))
L.cholesky_solve(t(B), L.linalg.cholesky(t(S)))
L.matrix_power(t(A), 5)
L.matrix_power(t(A), -2)
L.matrix_exp(t(A))
L.pinverse(t(T))
L.tensordot(t(A), t(B), 1)
L.tensordot(t(R0), t(R1), ([1, 2], [0, 1]))
L.cdist(t(x), t(y))
L.cdist(t(x), t(y), 1)
L.cdist(t(np.repeat(x, 6, 0)), t(np.repeat(y, 6, 0)))
L.cdist(t(x), t(y), float('inf'))
L.pdist(t(x))
L.chain_matmul(t(A), t(A), t(B))
L.linalg.solve(t(A), t(B))
L.linalg.solve(t(A), t(B[:, 0]))
L.linalg.solve_triangular(t(A), t(B), upper=True)
L.linalg.eigvalsh(t(S))
L.linalg.svdvals(t(T))
L.linalg.lstsq(t(T), t(R2)).solution
L.linalg.matrix_rank(t(T))
L.linalg.cond(t(A))
L.linalg.cond(t(A), 1)
L.linalg.norm(t(A))
L.linalg.norm(t(A), 1)
L.linalg.matrix_norm(t(A), 'nuc')
L.linalg.matrix_norm(t(A), -2, keepdim=True)
L.linalg.vector_norm(t(A), 3, 0)
L.linalg.multi_dot((t(A), t(A), t(B)))
L.linalg.vecdot(t(A), t(A))
L.linalg.vander(t(v))
L.hann_window(10)
L.hann_window(10, False)
L.hamming_window(7)
L.blackman_window(9)
L.bartlett_window(8)
L.kaiser_window(8)
L.fft.fft(t(v))
L.fft.ifft(t(cc))
L.fft.rfft(t(x))
L.fft.irfft(t(cc))
L.fft.irfft(t(cc), 7)
L.fft.fft2(t(cc), norm='ortho')
L.fft.rfft2(t(x))
L.fft.irfft2(t(cc))
L.fft.irfftn(t(cc), s=(4, 6))
L.fft.hfft(t(cc))
L.fft.ihfft(t(v))
L.fft.fftfreq(7, .5)
L.fft.rfftfreq(8)
L.fft.fftshift(t(x))
L.fft.ifftshift(t(x), 1)
L.fft.fftn(t(x), s=(4, 9))
L.special.chebyshev_polynomial_t(t(x), 4)
L.special.shifted_chebyshev_polynomial_u(t(x), t(abs(c)))
L.special.hermite_polynomial_h(t(x), 5)
L.special.hermite_polynomial_he(t(x), 3)
L.special.laguerre_polynomial_l(t(x), 4)
L.special.legendre_polynomial_p(t(x), 4)
L.special.multigammaln(t(abs(x)+3), 2)
t(x).sum_to_size(1, 7)
L.isreal(t(cc))
L.float_power(2, t(x))
t(x).logit(0.2)
t(x).clone().cumprod_(1)
t(x).clone().deg2rad_()
t(x).clone().renorm_(1, 1, .5)
t(np.zeros((7, 3))).fill_diagonal_(5, wrap=True)
L.alias_copy(t(x))
L.permute_copy(t(x), (1, 0))
L.split_copy(t(x), 2)
L.view_copy(t(x).contiguous(), (7, 6))
L.take(t(x), t(ci))
L.take_along_dim(t(x), t(ci[:6].reshape(6, 1)), 1)
t(x).index_fill(0, t(ci[:3]), 2.5)
L.logspace(0, 2, 5)
L.roll(t(x), 2, 1)
L.meshgrid(t(v), t(v))
L.dist(t(x), t(y))
t(x).flip(0, 1)
L.std_mean(t(x), 1)
L.aminmax(t(x))
L.count_nonzero(t(c), 0)
t(x).masked_select(t(c)>0)
L.linalg.tensorinv(t(np.eye(4)+A*.1).reshape(2, 2, 4), 2)
L.linalg.diagonal(t(x))
L.argsort(t(x), dim=0, descending=True)
t(c).type(L.uint8).nonzero()
t(nn[:3]).nanmedian(1)[0]
L.addbmm(t(M2), t(M3), t(M4), beta=0.5, alpha=2)
L.nn.functional.multi_margin_loss(t(x), t(labels))
L.nn.functional.multi_margin_loss(t(x), t(labels), p=2, margin=0.5, weight=t(abs(v[:7])), reduction="sum")
L.nn.functional.multilabel_soft_margin_loss(t(x), t((c > 0).astype("f")))
L.nn.functional.multilabel_soft_margin_loss(t(x), t((c > 0).astype("f")), t(abs(v[:7])), reduction="none")
L.nn.functional.multilabel_margin_loss(t(x), t(many))
L.nn.functional.multilabel_margin_loss(t(x), t(many), reduction="none")
L.nn.functional.triplet_margin_with_distance_loss(t(x), t(y), t(c))
L.nn.functional.triplet_margin_with_distance_loss(t(x), t(y), t(c), swap=True, margin=2.0, reduction="none")
L.nn.functional.ctc_loss(L.log_softmax(t(logits), 2), t(words), t(lengths), t(sizes))
L.nn.functional.ctc_loss(L.log_softmax(t(logits), 2), t(words), t(lengths), t(sizes), blank=4, reduction="none", zero_infinity=True)
L.nn.functional.ctc_loss(L.log_softmax(t(logits), 2), t(flat_words), t(lengths), t(sizes), reduction="sum")
L.repeat_interleave(t(x), t(ci[:6]), 0)
L.repeat_interleave(t(ci[:4]))
t(x).repeat_interleave(3, 1)
t(S).clone().fill_diagonal_(7)
L.heaviside(t(c), t(v[:1]))
L.logaddexp(t(x), t(y))
L.logaddexp2(t(x), t(y))
L.xlogy(t(x), t(abs(y)))
L.special.xlog1py(t(x), t(abs(y)))
L.nan_to_num(t(nn), 1.0)
L.polygamma(2, t(abs(x) + 0.5))
L.digamma(t(abs(x) + 0.5))
L.igamma(t(abs(x.astype("d")) + 0.5).detach(), t(abs(y) + 0.5).double())
L.special.zeta(t(abs(x) + 1.5).detach(), t(abs(y) + 0.5))
L.i0(t(x))
L.sinc(t(x))
L.special.i0e(t(x))
L.special.i1(t(x))
L.special.i1e(t(x))
L.special.ndtri(L.sigmoid(t(x)))
L.special.ndtr(t(x))
L.special.log_ndtr(t(x))
L.special.erfcx(t(x.astype("d")))
L.special.entr(t(abs(x) + 0.1))
L.cummax(t(x), 1)
L.cummin(t(c), 0)
L.logcumsumexp(t(x), 0)
L.kthvalue(t(x), 3, 1, keepdim=True)
L.topk(t(x), 2, 0)
L.scatter_reduce(t(x), 0, t(places), t(y), "prod")
L.scatter_reduce(t(x), 0, t(places), t(y), "amax", include_self=False)
L.scatter_reduce(t(x), 0, t(places), t(y), "mean")
L.index_reduce(t(x), 0, t(labels), t(y), "amin")
L.index_reduce(t(x), 0, t(labels), t(y), "mean", include_self=False)
L.index_reduce(t(x), 0, t(labels), t(y), "prod")
L.nn.functional.prelu(t(x), t(v[:7]))
L.nn.functional.prelu(t(x), t(v[:1]))
L.nn.functional.celu(t(x), 0.7)
L.nn.functional.selu(t(x))
L.nn.functional.mish(t(x))
L.nn.functional.hardswish(t(x))
L.nn.functional.hardsigmoid(t(x))
L.nn.functional.logsigmoid(t(x))
L.nn.functional.softshrink(t(x), 0.3)
L.nn.functional.hardshrink(t(x), 0.3)
L.nn.functional.threshold(t(x), 0.1, 5.0)
L.nn.functional.rrelu(t(x))
L.nn.functional.glu(t(x[:, :6]))
L.nn.functional.pdist(t(x))
L.flip(t(x), [0, 1])
L.prod(t(x), 1)
L.linalg.qr(t(T[:, :3]))[1].abs()
L.linalg.eigh(t(S))[1].abs()
L.linalg.svd(t(T), full_matrices=False)[0].abs()
L.linalg.pinv(t(T))
L.linalg.lu(t(A))
L.linalg.lu_factor(t(T))[0].detach()
L.lu_solve(t(B), *L.linalg.lu_factor(t(A)))
L.lu_unpack(*L.linalg.lu_factor(t(A)))
L.cosine_similarity(t(x), t(y))
t(x).where(t(c) > 0, t(y))
L.linalg.inv_ex(t(A))[0]
L.frexp(t(x * 1e-39))[0]
t(x).lerp(t(y), 0.25)
L.linalg.tensorsolve(t(A.reshape(2, 2, 4)), t(T[:1, :4].reshape(2, 2)))
L.ldexp(t(x), t(ci[:7]))
t(x).float_power(2.0)
t(x).put_(t(ci[:3]), t(v[:3]), accumulate=True) if not t.grads else t(x)
L.gcd(t(ci), t(ci + 2))
L.lcm(t(ci), t(ci + 2))
t(x).baddbmm_ and L.baddbmm(t(M3[:, :2, :2]), t(M3[:, :2]), t(M4[:, :, :2]))
""".strip().splitlines()


def laid_out(a: Any, layout: str) -> Any:
    """The array with the same values and other strides."""
    if layout == "transposed":
        return np.asfortranarray(a)
    if layout == "sliced" and a.ndim:
        wide = np.zeros([2 * n for n in a.shape], a.dtype)
        wide[tuple(slice(None, None, 2) for _ in a.shape)] = a
        return wide[tuple(slice(None, None, 2) for _ in a.shape)]
    return a


class Maker:
    """Makes tensors of arrays and remembers those that can have gradients."""

    def __init__(self, L: Any, layout: str, device: str, grads: bool) -> None:
        self.L, self.layout, self.device, self.grads = L, layout, device, grads
        self.leaves: list[Any] = []

    def __call__(self, a: Any) -> Any:
        a = np.array(a)
        strided = laid_out(a, self.layout)
        t = self.L.from_numpy(strided if strided.ndim else strided.reshape(1)).reshape(a.shape)
        t = t.to(self.device) if self.device != "cpu" else t
        if self.grads and a.dtype.kind in "fc":
            t = t.detach().requires_grad_()
            self.leaves.append(t)
        return t


def _flat(results: Any) -> list[Any]:
    if isinstance(results, (tuple, list)):
        return [t for r in results for t in _flat(r)]
    return [results]


def _shown(L: Any, t: Any) -> Any:
    if t is None:
        return None
    kind = str(t.dtype).rsplit(".", maxsplit=1)[-1]
    t = t.detach()
    if t.is_complex():
        t = L.view_as_real(t.resolve_conj())
    values = np.array(t.cpu().double().numpy()) if t.is_floating_point() else t.cpu().numpy()
    rounded = values.astype("f").astype("d") if kind in ("float32", "complex64") else values
    return [
        kind,
        list(t.shape),
        [
            float(f"{n:.9g}") if rounded.dtype.kind == "f" else n
            for n in rounded.reshape(-1).tolist()
        ],
    ]


def evaluate(row: str, L: Any, layout: str = "contiguous", device: str = "cpu") -> Any:
    """The row's results and, where it has a gradient, those of its leaves."""
    scope = {**{k: n for k, n in globals().items() if isinstance(n, np.ndarray)}, "np": np, "L": L}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make = Maker(L, layout, device, False)
        results = _flat(eval(row, {**scope, "t": make}))
        shown = {"results": [_shown(L, t) for t in results]}
        make = Maker(L, layout, device, True)
        try:
            results = _flat(eval(row, {**scope, "t": make}))
            loss = sum(
                (L.view_as_real(r) if r.is_complex() else r).mul(0.75).sin().sum()
                for r in results
                if r.requires_grad and (r.is_floating_point() or r.is_complex())
            )
            grads = L.autograd.grad(loss, make.leaves, allow_unused=True) if make.leaves else []
        except (RuntimeError, NotImplementedError, TypeError, AttributeError):
            return shown
        return {**shown, "grads": [_shown(L, g) for g in grads]}


def _case(row: str) -> Any:
    return lambda L: evaluate(row, L)


for _row in ROWS:
    globals()[f"case_{_row}"] = _case(_row)
