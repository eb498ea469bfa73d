"""Of torch.linalg what is computed by LAPACK: inverses, systems, determinants and factorisations.

LAPACK is NumPy's, on the host: a matrix that lives on mps is copied there and its factors back.
Gradients are formulas over recorded ops, so that most have gradients of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from quicksilver import _C, return_types
from quicksilver._composed import with_out
from quicksilver.autograd import Function

Tensor = _C.Tensor


class _LinAlgError(RuntimeError):
    """A matrix that cannot be factored or inverted."""


LinAlgError = _LinAlgError


def _type_name(tensor: Tensor) -> str:
    return tensor.type().rsplit(".", 1)[-1].removesuffix("Tensor")


def _check(name: str, A: Tensor, square: bool = False) -> None:
    if A.dim() < 2:
        raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions.")
    if not (A.is_floating_point() or A.is_complex()):
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {_type_name(A)}"
        )
    if A.dtype in (_C.float16, _C.bfloat16):
        raise RuntimeError(f"{name}: Low precision dtypes not supported. Got {_type_name(A)}")
    if square and A.size(-1) != A.size(-2):
        raise RuntimeError(
            f"{name}: A must be batches of square matrices, but they are {A.size(-2)} by"
            f" {A.size(-1)} matrices"
        )


def _on_host(function: Callable[..., Any], *tensors: Tensor) -> Any:
    """Results of a NumPy function, on the tensors' device."""
    import numpy as np

    device = tensors[0].device
    results = function(*(t.detach().cpu().resolve_conj().numpy() for t in tensors))

    def back(a: Any) -> Tensor:
        a = np.asarray(a)
        t = _C.from_numpy(a.copy(order="C") if a.ndim else a.reshape(1).copy())
        return (t if a.ndim else t.reshape(())).to(device)

    return tuple(back(a) for a in results) if isinstance(results, tuple) else back(results)


def _mH(A: Tensor) -> Tensor:
    return A.mH if A.is_complex() else A.mT


def _eye(A: Tensor) -> Tensor:
    return _C.eye(A.size(-1), dtype=A.dtype, device=A.device)


# ---- inverse and systems
class _Inverse(Function):
    @staticmethod
    def forward(ctx: Any, A: Tensor) -> Tensor:
        import numpy as np

        try:
            out = _on_host(np.linalg.inv, A)
        except np.linalg.LinAlgError:
            raise LinAlgError(
                "linalg.inv: The diagonal element 1 is zero, the inversion could not be completed"
                " because the input matrix is singular."
            ) from None
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (out,) = ctx.saved_tensors
        h = _mH(out)
        return -(h @ g @ h)


@with_out
def inv(A: Tensor) -> Tensor:
    """The inverse of square matrices."""
    _check("linalg.inv", A, True)
    return _Inverse.apply(A)


class _Solve(Function):
    @staticmethod
    def forward(ctx: Any, A: Tensor, B: Tensor) -> Tensor:
        import numpy as np

        try:
            X = _on_host(np.linalg.solve, A, B)
        except np.linalg.LinAlgError:
            raise LinAlgError(
                "torch.linalg.solve: The solver failed because the input matrix is singular."
            ) from None
        ctx.save_for_backward(A, X)
        return X

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        A, X = ctx.saved_tensors
        gB = _Solve.apply(_mH(A), g)
        return _summed(-(gB @ _mH(X)), A), gB


def _summed(g: Tensor, like: Tensor) -> Tensor:
    return g if g.shape == like.shape else g.sum_to_size(like.shape)


@with_out
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B (X A = B with left=False); B may be a vector, or one a matrix."""
    _check("linalg.solve", A, True)
    if A.dtype != B.dtype:
        raise RuntimeError(
            "linalg.solve: Expected A and B to have the same dtype, but found A of type"
            f" {_type_name(A)} and B of type {_type_name(B)} instead"
        )
    vector = B.dim() == 1 or (A.dim() - 1 == B.dim() and B.shape == A.shape[:-1])
    if vector:
        B = B.unsqueeze(-1) if left else B.unsqueeze(-2)
    if not left:
        return _mT(solve(A.mT, B.mT)).squeeze(-2) if vector else _mT(solve(A.mT, B.mT))
    if A.size(-1) != B.size(-2):
        raise RuntimeError(
            f"linalg.solve: Incompatible shapes of A and B for the equation AX = B"
            f" ({A.size(-2)}x{A.size(-1)} and {B.size(-2)}x{B.size(-1)})"
        )
    from quicksilver.functional import broadcast_shapes

    batch = tuple(broadcast_shapes(A.shape[:-2], B.shape[:-2]))
    X = _Solve.apply(
        A.expand(*batch, *A.shape[-2:]) if batch else A,
        B.expand(*batch, *B.shape[-2:]) if batch else B,
    )
    return X.squeeze(-1) if vector else X


def _mT(A: Tensor) -> Tensor:
    return A.transpose(-2, -1)


@with_out
def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """X with A X = B (X A = B with left=False) for triangular A."""
    _check("linalg.solve_triangular", A, True)
    T = A.triu() if upper else A.tril()
    if unitriangular:
        T = (A.triu(1) if upper else A.tril(-1)) + _eye(A)
    return solve(T, B, left=left)


def inv_ex(A: Tensor, *, check_errors: bool = False, out: Any = None) -> Any:
    """(inverse, info): info is not 0 where a matrix is singular."""
    _check("linalg.inv", A, True)
    info = _C.zeros(A.shape[:-2], dtype=_C.int32, device=A.device)
    try:
        return return_types.linalg_inv_ex((_Inverse.apply(A), info))
    except LinAlgError:
        if check_errors:
            raise
        return return_types.linalg_inv_ex((_C.full_like(A, math.nan), info + 1))


def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """(result, info): info is not 0 where a matrix is singular."""
    info = _C.zeros(A.shape[:-2], dtype=_C.int32, device=A.device)
    try:
        return return_types.linalg_solve_ex((solve(A, B, left=left), info))
    except LinAlgError:
        if check_errors:
            raise
        return return_types.linalg_solve_ex((_C.full_like(B, math.nan), info + 1))


def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse with respect to tensordot over ind dimensions."""
    head, tail = A.shape[:ind], A.shape[ind:]
    return inv(A.reshape(math.prod(head), math.prod(tail))).reshape(*tail, *head)


def tensorsolve(A: Tensor, B: Tensor, dims: Any = None) -> Tensor:
    """X with tensordot(A, X, X.dim()) = B."""
    if dims is not None:
        rest = [d for d in range(A.dim()) if d not in dims]
        A = A.permute(*rest, *dims)
    shape = A.shape[B.dim() :]
    return solve(A.reshape(B.numel(), -1), B.reshape(-1)).reshape(shape)


# ---- determinants
class _Det(Function):
    @staticmethod
    def forward(ctx: Any, A: Tensor) -> Tensor:
        import numpy as np

        out = _on_host(np.linalg.det, A)
        ctx.save_for_backward(A, out)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        A, out = ctx.saved_tensors
        if bool((out == 0).any()):
            return g[..., None, None] * _cofactors(A)
        scale = (g * out.conj())[..., None, None]
        return scale * _mH(inv(A))


def _cofactors(A: Tensor) -> Tensor:
    """The conjugate of the derivative of det, by singular values: right for singular matrices."""
    U, S, Vh = svd(A.detach())
    n = S.size(-1)
    others = _C.stack(
        [_C.cat([S[..., :i], S[..., i + 1 :]], -1).prod(-1) for i in range(n)],
        -1,
    )
    sign = (_Det.apply(U) * _Det.apply(Vh))[..., None, None]
    return sign * ((U * others.unsqueeze(-2).to(U.dtype)) @ Vh)


@with_out
def det(A: Tensor) -> Tensor:
    """Determinants."""
    _check("linalg.det", A, True)
    return _Det.apply(A)


class _LogDet(Function):
    @staticmethod
    def forward(ctx: Any, A: Tensor) -> Any:
        import numpy as np

        sign, log = _on_host(lambda a: tuple(np.linalg.slogdet(a)), A)
        ctx.save_for_backward(A)
        ctx.mark_non_differentiable(sign)
        return sign, log

    @staticmethod
    def backward(ctx: Any, g_sign: Tensor, g: Tensor) -> Any:
        (A,) = ctx.saved_tensors
        return g[..., None, None] * _mH(inv(A))


def slogdet(A: Tensor, *, out: Any = None) -> Any:
    """(sign, logabsdet) of determinants."""
    _check("linalg.slogdet", A, True)
    from quicksilver._composed import write_out

    pair = _LogDet.apply(A)
    return return_types.linalg_slogdet(pair) if out is None else write_out("slogdet", pair, out)


# ---- factorisations
def _first_bad_minor(A: Tensor) -> int:
    """The order of the first leading minor that is not positive definite."""
    import numpy as np

    for a in A.detach().cpu().numpy().reshape(-1, *A.shape[-2:]):
        for k in range(1, len(a) + 1):
            try:
                np.linalg.cholesky(a[:k, :k])
            except np.linalg.LinAlgError:
                return k
    return A.size(-1)


class _Cholesky(Function):
    @staticmethod
    def forward(ctx: Any, A: Tensor) -> Tensor:
        import numpy as np

        try:
            L = _on_host(np.linalg.cholesky, A)
        except np.linalg.LinAlgError:
            order = _first_bad_minor(A)
            raise LinAlgError(
                "linalg.cholesky: The factorization could not be completed because the input is not"
                f" positive-definite (the leading minor of order {order} is not positive-definite)."
            ) from None
        ctx.save_for_backward(L)
        return L

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (L,) = ctx.saved_tensors
        inner = (_mH(L) @ g).tril()
        diagonal = inner.diagonal(0, -2, -1) * 0.5
        inner = inner.tril(-1) + diagonal.diag_embed()
        inverse = inv(L)
        out = _mH(inverse) @ inner @ inverse
        return (out + _mH(out)) / 2


@with_out
def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """L with A = L L^H (U with U^H U = A when upper) of positive definite matrices."""
    _check("linalg.cholesky", A, True)
    L = _Cholesky.apply(A)
    return _mH(L) if upper else L


def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    """(L, info): info is not 0 where a matrix is not positive definite."""
    info = _C.zeros(A.shape[:-2], dtype=_C.int32, device=A.device)
    try:
        return return_types.linalg_cholesky_ex((cholesky(A, upper=upper), info))
    except LinAlgError:
        if check_errors:
            raise
        return return_types.linalg_cholesky_ex((_C.full_like(A, math.nan), info + 1))


class _QR(Function):
    @staticmethod
    def forward(ctx: Any, A: Tensor, mode: str) -> Any:
        import numpy as np

        Q, R = _on_host(lambda a: tuple(np.linalg.qr(a, mode)), A)
        ctx.save_for_backward(Q, R)
        ctx.mode = mode
        return Q, R

    @staticmethod
    def backward(ctx: Any, gQ: Tensor, gR: Tensor) -> Any:
        Q, R = ctx.saved_tensors
        if R.size(-2) != R.size(-1) or Q.size(-1) != R.size(-1):
            raise RuntimeError(
                "linalg.qr: the gradient needs mode 'reduced' and no more columns than rows"
            )
        M = R @ _mH(gR) - _mH(gQ) @ Q
        M = M.tril() + _mH(M.tril(-1))
        return _mH(solve(R, _mH(gQ + Q @ M))), None


def qr(A: Tensor, mode: str = "reduced", *, out: Any = None) -> Any:
    """(Q, R) with A = Q R; mode is "reduced", "complete" or "r" (Q is empty)."""
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default),"
            " 'r', or 'complete'"
        )
    _check("linalg.qr", A)
    Q, R = _QR.apply(A, "complete" if mode == "complete" else "reduced")
    if mode == "r":
        Q = _C.empty(0, dtype=A.dtype, device=A.device)
    from quicksilver._composed import write_out

    return return_types.linalg_qr((Q, R)) if out is None else write_out("qr", (Q, R), out)


class _Eigh(Function):
    @staticmethod
    def forward(ctx: Any, A: Tensor, UPLO: str) -> Any:
        import numpy as np

        values, vectors = _on_host(lambda a: tuple(np.linalg.eigh(a, UPLO)), A)
        ctx.save_for_backward(values, vectors)
        return values, vectors

    @staticmethod
    def backward(ctx: Any, g_values: Tensor, g_vectors: Tensor) -> Any:
        values, V = ctx.saved_tensors
        gap = values.unsqueeze(-2) - values.unsqueeze(-1)
        same = gap == 0
        inner = _C.where(same, 0.0, (_mH(V) @ g_vectors) / _C.where(same, 1.0, gap))
        inner = inner + g_values.to(V.dtype).diag_embed()
        out = V @ inner @ _mH(V)
        return (out + _mH(out)) / 2, None


def eigh(A: Tensor, UPLO: str = "L", *, out: Any = None) -> Any:
    """(eigenvalues, eigenvectors) of Hermitian matrices, ascending; UPLO: the triangle read."""
    _check("linalg.eigh", A, True)
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    from quicksilver._composed import write_out

    pair = _Eigh.apply(A, UPLO.upper())
    return return_types.linalg_eigh(pair) if out is None else write_out("eigh", pair, out)


@with_out
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """Eigenvalues of Hermitian matrices, ascending."""
    return eigh(A, UPLO)[0]


def eig(A: Tensor, *, out: Any = None) -> Any:
    """(eigenvalues, eigenvectors), complex. Without a gradient."""
    import numpy as np

    _check("linalg.eig", A, True)
    if A.requires_grad:
        raise NotImplementedError("derivative for linalg_eig is not implemented")
    kind = _C.complex128 if A.dtype in (_C.float64, _C.complex128) else _C.complex64
    values, vectors = _on_host(lambda a: tuple(np.linalg.eig(a)), A)
    return return_types.linalg_eig((values.to(kind), vectors.to(kind)))


@with_out
def eigvals(A: Tensor) -> Tensor:
    """Eigenvalues, complex. Without a gradient."""
    return eig(A)[0]


class _SVD(Function):
    @staticmethod
    def forward(ctx: Any, A: Tensor, full: bool) -> Any:
        import numpy as np

        U, S, Vh = _on_host(lambda a: tuple(np.linalg.svd(a, full)), A)
        ctx.save_for_backward(U, S, Vh)
        return U, S, Vh

    @staticmethod
    def backward(ctx: Any, gU: Tensor, gS: Tensor, gVh: Tensor) -> Any:
        U, S, Vh = ctx.saved_tensors
        k = S.size(-1)
        U, Vh, gU, gVh = U[..., :k], Vh[..., :k, :], gU[..., :k], gVh[..., :k, :]
        V, gV = _mH(Vh), _mH(gVh)
        s = S.to(U.dtype)
        gap = (S.unsqueeze(-2) - S.unsqueeze(-1)) * (S.unsqueeze(-2) + S.unsqueeze(-1))
        same = gap == 0
        gap = _C.where(same, 1.0, gap)

        def skew(a: Tensor) -> Tensor:
            return _C.where(same, 0.0, (a - _mH(a)) / gap)

        uu, vv = _mH(U) @ gU, _mH(V) @ gV
        inner = skew(uu) * s.unsqueeze(-2) + s.unsqueeze(-1) * skew(vv)
        inner = inner + gS.to(U.dtype).diag_embed()
        if U.is_complex():
            turn = (uu - _mH(uu)).diagonal(0, -2, -1) / (2 * s)
            inner = inner + turn.diag_embed()
        out = U @ inner @ Vh
        if U.size(-2) > k:
            out = out + (gU - U @ uu) / s.unsqueeze(-2) @ Vh
        if Vh.size(-1) > k:
            out = out + U / s.unsqueeze(-2) @ _mH(gV - V @ vv)
        return out, None


def svd(A: Tensor, full_matrices: bool = True, *, driver: Any = None, out: Any = None) -> Any:
    """(U, S, Vh) with A = U diag(S) Vh; S descending."""
    _check("linalg.svd", A)
    from quicksilver._composed import write_out

    parts = _SVD.apply(A, full_matrices)
    return return_types.linalg_svd(parts) if out is None else write_out("svd", parts, out)


@with_out
def svdvals(A: Tensor, *, driver: Any = None) -> Tensor:
    """Singular values, descending."""
    _check("linalg.svdvals", A)
    return _SVD.apply(A, False)[1]


# ---- triangular factors
def _eliminate(a: Any) -> Any:
    """(LU, pivots from 0) of NumPy matrices, by rows of largest pivots."""
    import numpy as np

    lu = a.copy()
    rows, columns = lu.shape[-2:]
    flat = lu.reshape(-1, rows, columns)
    pivots = np.zeros((len(flat), min(rows, columns)), np.int32)
    every = np.arange(len(flat))
    with np.errstate(all="ignore"):
        for k in range(min(rows, columns)):
            best = k + np.abs(flat[:, k:, k]).argmax(1)
            pivots[:, k] = best
            upper, lower = flat[every, k].copy(), flat[every, best].copy()
            flat[every, k], flat[every, best] = lower, upper
            top = flat[:, k : k + 1, k]
            flat[:, k + 1 :, k] /= np.where(top == 0, 1, top)
            flat[:, k + 1 :, k + 1 :] -= flat[:, k + 1 :, k, None] * flat[:, None, k, k + 1 :]
    return flat.reshape(lu.shape), pivots.reshape(*lu.shape[:-2], -1)


def _permutation(pivots: Tensor, rows: int) -> Tensor:
    """Which row of A each row of L U is."""
    import numpy as np

    swaps = pivots.detach().cpu().numpy()
    flat = swaps.reshape(-1, swaps.shape[-1]) if swaps.size else swaps.reshape(-1, 0)
    order = np.tile(np.arange(rows), (len(flat), 1))
    every = np.arange(len(flat))
    for k in range(flat.shape[1]):
        one, two = order[every, k].copy(), order[every, flat[:, k]].copy()
        order[every, k], order[every, flat[:, k]] = two, one
    return _C.from_numpy(order.reshape(*swaps.shape[:-1], rows)).to(pivots.device)


class _LU(Function):
    @staticmethod
    def forward(ctx: Any, A: Tensor) -> Any:
        LU, pivots = _on_host(_eliminate, A)
        ctx.mark_non_differentiable(pivots)
        ctx.save_for_backward(LU, pivots)
        return LU, pivots

    @staticmethod
    def backward(ctx: Any, g: Tensor, _: Any) -> Any:
        LU, pivots = ctx.saved_tensors
        n = LU.size(-1)
        if LU.size(-2) != n:
            raise RuntimeError("linalg.lu: the gradient needs square matrices")
        L, U = LU.tril(-1) + _eye(LU), LU.triu()
        inner = (_mH(L) @ g.tril(-1)).tril(-1) + (g.triu() @ _mH(U)).triu()
        out = solve(_mH(L), inner)
        out = _mH(solve(U, _mH(out)))
        order = _permutation(pivots, n)
        return out.gather(-2, order.argsort(-1).unsqueeze(-1).expand(out.shape))


def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """(LU, pivots, info): both triangles in one matrix, rows exchanged (pivots count from 1)."""
    _check("linalg.lu_factor", A)
    if not pivot:
        raise RuntimeError("linalg.lu_factor: LU without pivoting is not implemented on the CPU")
    LU, pivots = _LU.apply(A)
    bad = (LU.detach().diagonal(0, -2, -1) == 0).any(-1)
    if check_errors and bool(bad.any()):
        raise LinAlgError("linalg.lu_factor_ex: U is singular")
    return return_types.linalg_lu_factor_ex((LU, pivots + 1, bad.to(_C.int32)))


def lu_factor(A: Tensor, *, pivot: bool = True) -> Any:
    """(LU, pivots) as lu_factor_ex has them."""
    return return_types.linalg_lu_factor(lu_factor_ex(A, pivot=pivot)[:2])


def _unpacked(LU: Tensor, pivots: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rows, columns = LU.shape[-2:]
    k = min(rows, columns)
    one = _C.eye(rows, k, dtype=LU.dtype, device=LU.device)
    L, U = LU[..., :, :k].tril(-1) + one, LU[..., :k, :].triu()
    order = _permutation(pivots - 1, rows)
    every = _C.eye(rows, dtype=LU.dtype, device=LU.device)
    return every[order].transpose(-2, -1), L, U


def lu(A: Tensor, *, pivot: bool = True) -> Any:
    """(P, L, U) with A = P L U."""
    return return_types.linalg_lu(_unpacked(*lu_factor(A, pivot=pivot)))


@with_out
def lu_solve(
    LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False
) -> Tensor:
    """X with A X = B for A factored by lu_factor."""
    P, L, U = _unpacked(LU, pivots)
    A = P @ L @ U
    return solve(_mH(A) if adjoint else A, B, left=left)
