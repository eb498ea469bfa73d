"""torch.special: special functions under SciPy's names."""

from __future__ import annotations

import math
from typing import Any

from quicksilver import _C
from quicksilver._composed import with_out
from quicksilver._functions_math import mvlgamma

Tensor = _C.Tensor
_nn = _C._nn

digamma = psi = _C.digamma
entr = _nn.special_entr
erf = _C.erf
erfc = _C.erfc
erfcx = _nn.special_erfcx
erfinv = _C.erfinv
exp2 = _C.exp2
expit = _C.sigmoid
expm1 = _C.expm1
gammainc = _C.igamma
gammaincc = _C.igammac
gammaln = _C.lgamma
i0 = modified_bessel_i0 = _C.i0
i0e = _nn.special_i0e
i1 = modified_bessel_i1 = _nn.special_i1
i1e = _nn.special_i1e
log1p = _C.log1p
log_ndtr = _nn.special_log_ndtr
logit = _C.logit
logsumexp = _C.logsumexp
multigammaln = mvlgamma
ndtr = _nn.special_ndtr
ndtri = _nn.special_ndtri
polygamma = _C.polygamma
round = _C.round
sinc = _C.sinc
xlog1py = _nn.special_xlog1py
xlogy = _C.xlogy
zeta = _nn.special_zeta
bessel_j0 = _nn.special_bessel_j0
bessel_j1 = _nn.special_bessel_j1
bessel_y0 = _nn.special_bessel_y0
bessel_y1 = _nn.special_bessel_y1
modified_bessel_k0 = _nn.special_modified_bessel_k0
modified_bessel_k1 = _nn.special_modified_bessel_k1
scaled_modified_bessel_k0 = _nn.special_scaled_modified_bessel_k0
scaled_modified_bessel_k1 = _nn.special_scaled_modified_bessel_k1
spherical_bessel_j0 = _nn.special_spherical_bessel_j0


def softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """exp(x) / sum(exp(x)) along dim."""
    return _C.softmax(input, dim, dtype=dtype)


def log_softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """log(softmax(x)) along dim."""
    return _C.log_softmax(input, dim, dtype=dtype)


# ---- orthogonal polynomials, by their recurrences: p[k+1] = (a_k x + b_k) p[k] - c_k p[k-1]


def _recurrence(x: Any, n: Any, first: Any, step: Any) -> Tensor:
    """p[n](x); p[0] = 1, p[1] = first(x), p[k + 1] = step(k, x, p[k], p[k - 1])."""
    if not isinstance(x, Tensor):
        x = _C.tensor(x, dtype=_C.get_default_dtype(), device=n.device)
    if not (x.is_floating_point() or (isinstance(n, Tensor) and n.is_floating_point())):
        x = x.to(_C.get_default_dtype())
    if not isinstance(n, Tensor):
        degree, order = int(n), None
        result = _C.zeros_like(x) if degree < 0 else _C.ones_like(x)
    else:
        order = n.to(_C.int64)
        x = x.to(_C.result_type(x, n)) if n.is_floating_point() else x
        degree = int(order.max()) if order.numel() else 0
        x, order = _C._broadcast_tensors([x, order])
        result = _C.where(order < 0, 0.0, _C.ones_like(x))
    before, now = _C.ones_like(x), first(x)
    for k in range(1, degree + 1):
        result = now if order is None else _C.where(order == k, now, result)
        before, now = now, step(k, x, now, before)
    return result


def _chebyshev(name: str, doc: str, first: Any, shifted: bool) -> Any:
    def polynomial(input: Any, n: Any) -> Tensor:
        if shifted:
            input = input * 2 - 1 if isinstance(input, Tensor) else 2 * float(input) - 1
        return _recurrence(input, n, first, lambda k, x, p, q: x * 2 * p - q)

    polynomial.__name__ = polynomial.__qualname__ = name
    polynomial.__doc__ = doc
    return with_out(polynomial)


_FIRST = {
    "t": lambda x: x,
    "u": lambda x: x * 2,
    "v": lambda x: x * 2 - 1,
    "w": lambda x: x * 2 + 1,
}
for _kind, _first in _FIRST.items():
    for _prefix, _shifted in (("", False), ("shifted_", True)):
        _name = f"{_prefix}chebyshev_polynomial_{_kind}"
        _doc = f"The {_prefix.replace('_', ' ')}Chebyshev polynomial {_kind.upper()} of degree n."
        globals()[_name] = _chebyshev(_name, _doc, _first, _shifted)


@with_out
def hermite_polynomial_h(input: Any, n: Any) -> Tensor:
    """The physicist's Hermite polynomial of degree n."""
    return _recurrence(input, n, lambda x: x * 2, lambda k, x, p, q: x * 2 * p - q * (2 * k))


@with_out
def hermite_polynomial_he(input: Any, n: Any) -> Tensor:
    """The probabilist's Hermite polynomial of degree n."""
    return _recurrence(input, n, lambda x: x, lambda k, x, p, q: x * p - q * k)


@with_out
def laguerre_polynomial_l(input: Any, n: Any) -> Tensor:
    """The Laguerre polynomial of degree n."""
    return _recurrence(
        input, n, lambda x: 1 - x, lambda k, x, p, q: ((2 * k + 1 - x) * p - q * k) / (k + 1)
    )


@with_out
def legendre_polynomial_p(input: Any, n: Any) -> Tensor:
    """The Legendre polynomial of degree n."""
    return _recurrence(
        input, n, lambda x: x, lambda k, x, p, q: (x * p * (2 * k + 1) - q * k) / (k + 1)
    )


@with_out
def airy_ai(input: Tensor) -> Tensor:
    """The Airy function Ai.

    Power series near 0; above 1 the integral of the Bessel function K of order 1/3, by the
    trapezoidal rule, which converges fast there; below -7 the asymptotic series.
    """
    x = (input if input.is_floating_point() else input.to(_C.get_default_dtype())).double()
    # Near 0: Ai = c1 f - c2 g, with f and g the power series in x^3.
    c1, c2 = 0.355028053887817239, 0.258819403792806798
    near = x.clamp(-7.0, 1.0)
    cube = near**3
    f = term = _C.ones_like(near)
    g = other = near
    for k in range(1, 45):
        term = term * cube / ((3 * k - 1) * (3 * k))
        other = other * cube / ((3 * k) * (3 * k + 1))
        f, g = f + term, g + other
    series = f * c1 - g * c2
    # Far: in powers of 1 / zeta, zeta = 2/3 |x|^(3/2).
    far = x.abs().clamp(min=4.0)
    zeta = far**1.5 * (2.0 / 3.0)
    coefficient, terms = 1.0, []
    for k in range(12):
        terms.append(coefficient)
        coefficient *= (6 * k + 5) * (6 * k + 1) / (72 * (k + 1))
    even = sum(c * (-1) ** (k // 2) / zeta**k for k, c in enumerate(terms) if k % 2 == 0)
    odd = sum(c * (-1) ** (k // 2) / zeta**k for k, c in enumerate(terms) if k % 2)
    angle = zeta - math.pi / 4
    left = (angle.cos() * even + angle.sin() * odd) / (math.sqrt(math.pi) * far**0.25)
    # Ai(x) = sqrt(x / 3) / pi * integral of exp(-zeta cosh t) cosh(t / 3) over t > 0.
    above = x.clamp(min=1.0)
    size, integral = above**1.5 * (2.0 / 3.0), 0.5 * _C.ones_like(above)
    for k in range(1, 64):
        t = k * 0.1
        integral = integral + (size * (1 - math.cosh(t))).exp() * math.cosh(t / 3)
    right = (-size).exp() * (above / 3).sqrt() * integral * (0.1 / math.pi)
    result = _C.where(x > 1.0, right, _C.where(x < -7.0, left, series))
    return result.to(input.dtype if input.is_floating_point() else _C.get_default_dtype())
