"""torch.linalg. Factorisations, and what they solve, are in `_linalg_factors.py` (LAPACK's, through
NumPy on the host); what follows from them, norms and products are here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from quicksilver import _C, return_types
from quicksilver._composed import with_out
from quicksilver._linalg_factors import (  # noqa: F401
    LinAlgError,
    _check,
    _eye,
    _mH,
    _on_host,
    _type_name,
    _unpacked,
    cholesky,
    cholesky_ex,
    det,
    eig,
    eigh,
    eigvals,
    eigvalsh,
    inv,
    inv_ex,
    lu,
    lu_factor,
    lu_factor_ex,
    lu_solve,
    qr,
    slogdet,
    solve,
    solve_ex,
    solve_triangular,
    svd,
    svdvals,
    tensorinv,
    tensorsolve,
)
from quicksilver.autograd import Function

Tensor = _C.Tensor
INF = math.inf


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
