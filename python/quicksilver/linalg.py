"""torch.linalg. Factorisations are LAPACK's, through NumPy on the host; the rest composes products.

A matrix that lives on mps is copied to the host and its factors back. Gradients are formulas over
recorded ops, so that most have gradients of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from quicksilver import _C, return_types
from quicksilver._composed import with_out
from quicksilver.autograd import Function

Tensor = _C.Tensor
INF = math.inf


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


# ---- made of factorisations
class _Pinv(Function):
    @staticmethod
    def forward(ctx: Any, A: Tensor, rtol: Any, hermitian: bool) -> Tensor:
        import numpy as np

        P = _on_host(lambda a: np.linalg.pinv(a, rtol, hermitian), A)
        ctx.save_for_backward(A, P)
        return P

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        # Golub and Pereyra 1973.
        A, P = ctx.saved_tensors
        Ph, gh = _mH(P), _mH(g)
        out = -(Ph @ g @ Ph)
        left = gh @ P @ Ph
        right = Ph @ P @ gh
        out = out + (left - A @ (P @ left)) + (right - (right @ P) @ A)
        return out, None, None


@with_out
def pinv(
    A: Tensor, *, atol: Any = None, rtol: Any = None, rcond: Any = None, hermitian: bool = False
) -> Tensor:
    """The pseudo-inverse of Moore and Penrose; small singular values count as 0."""
    _check("linalg.pinv", A, hermitian)
    if rcond is not None:
        rtol = rcond
    if rtol is None:
        rtol = max(A.shape[-2:]) * _C.finfo(A.dtype).eps if atol is None else 0.0
    if atol is not None:
        largest = float(svdvals(A.detach()).max()) or 1.0
        rtol = max(float(rtol), float(atol) / largest)
    return _Pinv.apply(A, float(rtol), hermitian)


def lstsq(A: Tensor, B: Tensor, *, rcond: Any = None, driver: Any = None) -> Any:
    """(solution, residuals, rank, singular_values) of the least squares problem A X = B."""
    _check("linalg.lstsq", A)
    vector = A.dim() == B.dim() + 1
    right = B.unsqueeze(-1) if vector else B
    if A.size(-2) != right.size(-2):
        raise RuntimeError("torch.linalg.lstsq: input.size(-2) should match other.size(-2)")
    S = svdvals(A.detach())
    if rcond is None:
        rcond = _C.finfo(A.dtype).eps * max(A.shape[-2:])
    rank = (rcond * S[..., :1] < S).sum(-1)
    solution = pinv(A, rtol=rcond) @ right
    residuals = _C.empty(0, dtype=S.dtype, device=A.device)
    if A.size(-2) > A.size(-1) and bool((rank == A.size(-1)).all()):
        residuals = (A @ solution - right).abs().square().sum(-2)
    solution = solution.squeeze(-1) if vector else solution
    return return_types.linalg_lstsq((solution, residuals, rank, S))


@with_out
def matrix_rank(
    A: Tensor, *, atol: Any = None, rtol: Any = None, tol: Any = None, hermitian: bool = False
) -> Tensor:
    """How many singular values are not small."""
    _check("linalg.matrix_rank", A, hermitian)
    S = eigvalsh(A).abs() if hermitian else svdvals(A)
    if tol is not None:
        return (tol < S).sum(-1)
    if rtol is None:
        rtol = max(A.shape[-2:]) * _C.finfo(A.dtype).eps if atol is None else 0.0
    limit = S.amax(-1, keepdim=True) * rtol
    if atol is not None:
        limit = _C.maximum(limit, _C.as_tensor(atol, dtype=S.dtype, device=S.device))
    return (limit < S).sum(-1)


@with_out
def matrix_power(A: Tensor, n: int) -> Tensor:
    """The n-th power of square matrices; of the inverse when n is negative."""
    _check("linalg.matrix_power", A, True)
    if n < 0:
        A, n = inv(A), -n
    if n == 0:
        return _eye(A).expand(A.shape).clone()
    result = None
    while n:
        if n & 1:
            result = A if result is None else result @ A
        n >>= 1
        A = A @ A if n else A
    return result


@with_out
def matrix_exp(A: Tensor) -> Tensor:
    """e^A by scaling, a Taylor polynomial, and squaring."""
    _check("linalg.matrix_exp", A, True)
    if A.numel() == 0:
        return A.clone()
    size = float(A.detach().abs().sum(-2).max())
    times = max(0, math.ceil(math.log2(size)) + 2) if size > 0 and math.isfinite(size) else 0
    scaled = A / 2.0**times
    one = _eye(A)
    result = one + scaled / 18
    for k in range(17, 0, -1):
        result = one + scaled @ result / k
    for _ in range(times):
        result = result @ result
    return result


@with_out
def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of matrices (vectors at the ends) in the order that costs least."""
    if len(tensors) < 2:
        raise RuntimeError("multi_dot(): expected at least 2 tensors but got " + str(len(tensors)))
    items = list(tensors)
    first, last = items[0].dim() == 1, items[-1].dim() == 1
    if first:
        items[0] = items[0].unsqueeze(0)
    if last:
        items[-1] = items[-1].unsqueeze(-1)
    sizes = [items[0].size(0), *(t.size(1) for t in items)]
    n = len(items)
    cost = [[0] * n for _ in range(n)]
    cut = [[0] * n for _ in range(n)]
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i][j], cut[i][j] = min(
                (cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            )

    def product(i: int, j: int) -> Tensor:
        return items[i] if i == j else product(i, cut[i][j]) @ product(cut[i][j] + 1, j)

    result = product(0, n - 1)
    if first:
        result = result.squeeze(0)
    return result.squeeze(-1) if last else result


# ---- norms
@with_out
def vector_norm(
    x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """The ord-norm of vectors along dim (of the flat tensor without)."""
    if not (x.is_floating_point() or x.is_complex()):
        raise RuntimeError(
            "linalg.vector_norm: Expected a floating point or complex tensor as input. Got"
            f" {_type_name(x)}"
        )
    if dtype is not None:
        x = x.to(dtype)
    return x.norm(ord, dim, keepdim)


def _two(A: Tensor, dim: Sequence[int]) -> tuple[int, int]:
    first, second = (d % A.dim() for d in dim)
    if first == second:
        raise RuntimeError("linalg.matrix_norm: dims must be different. Got " + str(tuple(dim)))
    return first, second


@with_out
def matrix_norm(
    A: Tensor,
    ord: Any = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> Tensor:
    """A norm of matrices: "fro", "nuc", inf, -inf, 1, -1, 2 or -2."""
    _check("linalg.matrix_norm", A)
    A = A if dtype is None else A.to(dtype)
    first, second = _two(A, dim)
    if ord == "fro":
        return A.norm(2, [first, second], keepdim)
    if ord in ("nuc", 2, -2):
        S = svdvals(A.movedim((first, second), (-2, -1)))
        value = S.sum(-1) if ord == "nuc" else S.amax(-1) if ord == 2 else S.amin(-1)
        if keepdim:
            for d in sorted((first, second)):
                value = value.unsqueeze(d)
        return value
    if ord not in (1, -1, INF, -INF):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    along, over = (first, second) if abs(ord) == 1 else (second, first)
    sums = A.abs().sum(along, keepdim=True)
    value = sums.amax(over, True) if ord > 0 else sums.amin(over, True)
    return value if keepdim else value.squeeze([first, second])


@with_out
def norm(
    A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """vector_norm or matrix_norm, as ord and dim say."""
    if dim is None and ord is not None and A.dim() not in (1, 2):
        raise RuntimeError(
            "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got"
            f" {A.dim()}D."
        )
    dims = None if dim is None else [dim] if isinstance(dim, int) else list(dim)
    pair = len(dims) == 2 if dims is not None else A.dim() == 2
    if ord is not None and pair:
        return matrix_norm(A, ord, dims or (0, 1), keepdim, dtype=dtype)
    return vector_norm(A, 2 if ord is None else ord, dims, keepdim, dtype=dtype)


@with_out
def cond(A: Tensor, p: Any = None) -> Tensor:
    """The condition number in a norm (2 by default)."""
    if p in (None, 2, -2):
        S = svdvals(A)
        return S[..., 0] / S[..., -1] if p != -2 else S[..., -1] / S[..., 0]
    _check("linalg.cond", A, True)
    return matrix_norm(A, p) * matrix_norm(inv(A), p)


# ---- products and views
@with_out
def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross product along dim, whose extent is 3."""
    if input.dim() != other.dim():
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    if input.size(dim) != 3 or other.size(dim) != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {input.size(dim)} and"
            f" {other.size(dim)}"
        )
    a, b = input.unbind(dim), other.unbind(dim)
    parts = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    return _C.stack(parts, dim if dim < 0 else dim - input.dim())


@with_out
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The sum of conj(x) y along dim."""
    return (x.conj() * y).sum(dim)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Diagonals of matrices, a view."""
    return A.diagonal(offset, dim1, dim2)


@with_out
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """torch.matmul."""
    return _C.matmul(input, other)


def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """Powers 0 to N - 1 of the last dimension's elements."""
    count = x.size(-1) if N is None else N
    return x.unsqueeze(-1).pow(_C.arange(count, device=x.device))


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
