"""Functions of matrices under their old names, and products over chosen dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from quicksilver import _C, linalg, return_types
from quicksilver._composed import with_out

Tensor = _C.Tensor

det = linalg.det
inverse = linalg.inv
matrix_power = linalg.matrix_power
matrix_exp = linalg.matrix_exp


def slogdet(input: Tensor) -> Any:
    """(sign, logabsdet) of determinants."""
    return return_types.slogdet(linalg.slogdet(input))


def logdet(input: Tensor) -> Tensor:
    """Logarithms of determinants; NaN of negative ones."""
    sign, log = linalg.slogdet(input)
    return _C.where(sign.real < 0 if sign.is_complex() else sign < 0, math.nan, log)


@with_out
def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """linalg.cholesky."""
    return linalg.cholesky(input, upper=upper)


@with_out
def cholesky_inverse(input: Tensor, upper: bool = False) -> Tensor:
    """The inverse of the matrix that input is the Cholesky factor of."""
    L = input.mH if upper else input
    return linalg.inv(L @ L.mH)


@with_out
def cholesky_solve(input: Tensor, other: Tensor, upper: bool = False) -> Tensor:
    """X with A X = input, other being A's Cholesky factor."""
    L = other.mH if upper else other
    return linalg.solve(L @ L.mH, input)


def qr(input: Tensor, some: bool = True, *, out: Any = None) -> Any:
    """linalg.qr."""
    pair = linalg.qr(input, "reduced" if some else "complete", out=out)
    return return_types.qr(pair) if out is None else pair


def svd(input: Tensor, some: bool = True, compute_uv: bool = True, *, out: Any = None) -> Any:
    """(U, S, V): linalg.svd with V instead of its conjugate transpose."""
    U, S, Vh = linalg.svd(input, not some)
    V = Vh.mH
    if not compute_uv:
        U = _C.zeros(*input.shape[:-1], input.size(-2), dtype=input.dtype, device=input.device)
        V = _C.zeros(
            *input.shape[:-2],
            input.size(-1),
            input.size(-1),
            dtype=input.dtype,
            device=input.device,
        )
    return return_types.svd((U, S, V))


def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """linalg.pinv."""
    return linalg.pinv(input, rcond=rcond)


def matrix_rank(input: Tensor, tol: Any = None, symmetric: bool = False) -> Tensor:
    """linalg.matrix_rank."""
    return linalg.matrix_rank(input, tol=tol, hermitian=symmetric)


def triangular_solve(
    b: Tensor,
    A: Tensor,
    upper: bool = True,
    transpose: bool = False,
    unitriangular: bool = False,
) -> Any:
    """(solution, cloned_coefficient) of a triangular system."""
    T = A.mT if transpose else A
    X = linalg.solve_triangular(T, b, upper=upper != transpose, unitriangular=unitriangular)
    return return_types.triangular_solve((X, A.clone()))


def chain_matmul(*matrices: Any) -> Tensor:
    """linalg.multi_dot."""
    items = (
        list(matrices[0])
        if len(matrices) == 1 and isinstance(matrices[0], Sequence)
        else list(matrices)
    )
    return items[0] if len(items) == 1 else linalg.multi_dot(items)


@with_out
def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Sums of products over dims: a count (a's last with b's first), or a pair of lists."""
    if isinstance(dims, Tensor):
        dims = dims.tolist() if dims.numel() > 1 else int(dims)
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        first, second = list(range(a.dim() - dims, a.dim())), list(range(dims))
    else:
        first, second = ([d] if isinstance(d, int) else list(d) for d in dims)
    if len(first) != len(second):
        raise RuntimeError("both dimension lists should have same length")
    shown = list(zip(first, second, strict=True))
    if isinstance(dims, int):  # as PyTorch says it: from the end
        shown = [(i - a.dim(), j) for i, j in shown]
    first, second = [d % a.dim() for d in first], [d % b.dim() for d in second]
    for i, j, given in zip(first, second, shown, strict=True):
        if a.size(i) != b.size(j) and 1 not in (a.size(i), b.size(j)):
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {a.size(i)} in dim"
                f" {given[0]} and second has size {b.size(j)} in dim {given[1]}"
            )
        if a.size(i) != b.size(j):
            a = a.sum(i, keepdim=True) if b.size(j) == 1 else a
            b = b.sum(j, keepdim=True) if a.size(i) == 1 and b.size(j) != 1 else b
    rest_a = [d for d in range(a.dim()) if d not in first]
    rest_b = [d for d in range(b.dim()) if d not in second]
    size = math.prod(a.size(d) for d in first)
    left = (
        a.permute(*rest_a, *first).reshape(-1, size)
        if size
        else a.new_zeros(math.prod(a.size(d) for d in rest_a), 0)
    )
    right = (
        b.permute(*second, *rest_b).reshape(size, -1)
        if size
        else b.new_zeros(0, math.prod(b.size(d) for d in rest_b))
    )
    shape = [a.size(d) for d in rest_a] + [b.size(d) for d in rest_b]
    return (left @ right).reshape(shape)


@with_out
def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product."""
    if not isinstance(other, Tensor):
        raise TypeError(
            f"kron(): argument 'other' (position 2) must be Tensor, not {type(other).__name__}"
        )
    rank = max(input.dim(), other.dim())
    a = [1] * (rank - input.dim()) + list(input.shape)
    b = [1] * (rank - other.dim()) + list(other.shape)
    if rank and b[-1] < 128 and input.numel() and other.numel():
        # Short rows are slow to walk: the last dimension of both, as long as the product's.
        size = a[-1] * b[-1]
        rows = input.reshape(a).unsqueeze(-1).expand(*a, b[-1]).reshape(*a[:-1], size)
        tiles = other.reshape(b).unsqueeze(-2).expand(*b[:-1], a[-1], b[-1])
        tiles = tiles.reshape(*b[:-1], size)
        left = rows.reshape([n for extent in a[:-1] for n in (extent, 1)] + [size])
        right = tiles.reshape([n for extent in b[:-1] for n in (1, extent)] + [size])
        return (left * right).reshape([m * n for m, n in zip(a, b, strict=True)])
    left = input.reshape([n for size in a for n in (size, 1)])
    right = other.reshape([n for size in b for n in (1, size)])
    return (left * right).reshape([m * n for m, n in zip(a, b, strict=True)])


@with_out
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross product along dim, by default the first of extent 3."""
    if dim is None:
        dim = next((d for d in range(input.dim()) if input.size(d) == 3), None)
        if dim is None:
            raise RuntimeError("no dimension of size 3 in input")
    return linalg.cross(input, other, dim=dim)


@with_out
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """The sum of conj(input) other of two vectors."""
    return _C.dot(input.conj(), other)


@with_out
def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    """beta * input + alpha * sum of batch1 @ batch2 over the batch."""
    product = _C.bmm(batch1, batch2).sum(0) * alpha
    input = input.expand(product.shape)
    if beta == 0:  # not even its NaNs are read
        return product
    return product + (input if beta == 1 else input * beta)


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: Any = None) -> Tensor:
    """p-norm distances between the rows of x1 [..., P, M] and x2 [..., R, M]: [..., P, R]."""
    for name, x in (("X1", x1), ("X2", x2)):
        if x.dim() < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {name} got: {x.dim()}D")
        if not x.is_floating_point():
            raise RuntimeError(
                f"cdist only supports floating-point dtypes, {name} got: {linalg._type_name(x)}"
            )
    if x1.size(-1) != x2.size(-1):
        raise RuntimeError(
            f"X1 and X2 must have the same number of columns. X1: {x1.size(-1)} X2: {x2.size(-1)}"
        )
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    large = x1.size(-2) > 25 or x2.size(-2) > 25
    by_product = compute_mode in (1, "use_mm_for_euclid_dist") or (
        large and compute_mode in (None, 0, "use_mm_for_euclid_dist_if_necessary")
    )
    if p == 2 and by_product:
        squares = (
            x1.square().sum(-1, keepdim=True)
            + x2.square().sum(-1).unsqueeze(-2)
            - 2 * x1.matmul(x2.transpose(-2, -1))
        ).clamp(min=0)
        none = squares == 0
        return _C.where(none, 0.0, _C.where(none, 1.0, squares).sqrt())
    if x1.size(-1) == 0:
        return (x1.sum(-1, keepdim=True) + x2.sum(-1).unsqueeze(-2)) * 0
    return (x1.unsqueeze(-2) - x2.unsqueeze(-3)).norm(p, -1)


def pdist(input: Tensor, p: float = 2) -> Tensor:
    """p-norm distances between all pairs of rows, upper triangle row by row."""
    if input.dim() != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.dim()}D")
    n = input.size(0)
    upper = _C.ones(n, n, dtype=_C.bool, device=input.device).triu(1)
    pairs = upper.nonzero()
    return (input[pairs[:, 0]] - input[pairs[:, 1]]).norm(p, -1)


def frobenius_norm(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The square root of the sum of squares."""
    return input.norm(2, dim, keepdim)


def nuclear_norm(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The sum of singular values."""
    return linalg.matrix_norm(input, "nuc", dim or (-2, -1), keepdim)


def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """The norm over all dimensions but one."""
    if dim == -1:
        return v.norm(pow)
    dims = [d for d in range(v.dim()) if d != dim % v.dim()]
    return v.norm(pow, dims, keepdim=True) if dims else v.abs()


def lu(A: Tensor, pivot: bool = True, get_infos: bool = False) -> Any:
    """(LU, pivots[, infos]): linalg.lu_factor_ex."""
    LU, pivots, info = linalg.lu_factor_ex(A, pivot=pivot)
    return (LU, pivots, info) if get_infos else (LU, pivots)


def lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """linalg.lu_solve."""
    return linalg.lu_solve(LU_data, LU_pivots, b)


def lu_unpack(
    LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True
) -> Any:
    """(P, L, U) of linalg.lu_factor's results."""
    return return_types.lu_unpack(linalg._unpacked(LU_data, LU_pivots))
