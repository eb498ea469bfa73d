"""Gradients where the derivative is a convention: PyTorch's choice is committed in tests/traces."""

# ruff: noqa: E501 (one row of a table, one line)
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from oracle.library import to_numpy

INF, NAN = float("inf"), float("nan")
# name -> the values of each input, and what is differentiated (its sum)
Edge = tuple[tuple[list[Any], ...], Callable[..., Any]]

TIES = [[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]
ZEROS = [-1.0, 0.0, -0.0, 2.0]

EDGES: dict[str, Edge] = {
    "abs at 0": ((ZEROS,), lambda L, x: L.abs(x)),
    "relu at 0": ((ZEROS,), lambda L, x: L.relu(x)),
    "leaky_relu at 0": ((ZEROS,), lambda L, x: L.nn.functional.leaky_relu(x)),
    "elu at 0": ((ZEROS,), lambda L, x: L.nn.functional.elu(x)),
    "sign": ((ZEROS,), lambda L, x: L.sign(x) * x),
    "sqrt at 0": (([0.0, 4.0],), lambda L, x: L.sqrt(x)),
    "log at 0": (([0.0, -1.0, 1.0],), lambda L, x: L.log(x)),
    "clamp at bounds": (([-2.0, -1.0, 0.0, 1.0, 2.0],), lambda L, x: L.clamp(x, -1, 1)),
    "clamp min at bound": (([-2.0, -1.0, 0.0],), lambda L, x: L.clamp(x, min=-1)),
    "clamp crossed": (([-2.0, 0.5, 2.0],), lambda L, x: L.clamp(x, 1, -1)),
    "clamp tensors at bounds": (([-1.0, 0.0, 1.0], [-1.0, -1.0, -1.0], [1.0, 0.0, 1.0]), lambda L, x, a, b: L.clamp(x, a, b)),
    "clamp NaN": (([NAN, 0.5, INF],), lambda L, x: L.clamp(x, -1, 1)),
    "maximum ties": (([1.0, 2.0, 3.0], [1.0, 3.0, 2.0]), lambda L, x, y: L.maximum(x, y)),
    "minimum ties": (([1.0, 2.0, 3.0], [1.0, 3.0, 2.0]), lambda L, x, y: L.minimum(x, y)),
    "fmax ties": (([1.0, 2.0, NAN], [1.0, NAN, 2.0]), lambda L, x, y: L.fmax(x, y)),
    "fmin ties": (([1.0, 2.0, NAN], [1.0, NAN, 2.0]), lambda L, x, y: L.fmin(x, y)),
    "amax ties": ((TIES,), lambda L, x: L.amax(x, 1)),
    "amin ties": ((TIES,), lambda L, x: L.amin(x, 1)),
    "amax ties over all": ((TIES,), lambda L, x: L.amax(x)),
    "max over all ties": ((TIES,), lambda L, x: L.max(x)),
    "min over all ties": ((TIES,), lambda L, x: L.min(x)),
    "max along ties": ((TIES,), lambda L, x: L.max(x, 1)[0]),
    "min along ties": ((TIES,), lambda L, x: L.min(x, 1)[0]),
    "norm 2 at 0": (([0.0, 0.0],), lambda L, x: L.norm(x)),
    "norm 2 rows at 0": (([[0.0, 0.0], [3.0, 4.0]],), lambda L, x: L.norm(x, 2, 1)),
    "norm 1 at 0": ((ZEROS,), lambda L, x: L.norm(x, 1)),
    "norm inf ties": ((TIES,), lambda L, x: L.norm(x, INF, 1)),
    "norm 0": ((ZEROS,), lambda L, x: L.norm(x, 0) * x),
    "norm 3 at 0": (([[0.0, 0.0], [0.0, 1.0]],), lambda L, x: L.norm(x, 3, 1)),
    "prod one zero": (([[2.0, 0.0, 3.0], [1.0, 2.0, 3.0]],), lambda L, x: L.prod(x, 1)),
    "prod two zeros": (([[2.0, 0.0, 0.0], [1.0, 2.0, 3.0]],), lambda L, x: L.prod(x, 1)),
    "prod all one zero": (([2.0, 0.0, 3.0],), lambda L, x: L.prod(x)),
    "cumprod zeros": (([2.0, 0.0, 3.0, 0.0, 4.0],), lambda L, x: L.cumprod(x, 0)),
    "pow base 0": (([0.0, 0.0, 0.0, 0.0],), lambda L, x: x ** L.tensor([0.0, 1.0, 2.0, 0.5], dtype=x.dtype, device=x.device)),
    "pow exponent at base 0": (([0.0, 1.0, 2.0],), lambda L, y: L.pow(L.zeros_like(y), y)),
    "pow exponent 0 number": ((ZEROS,), lambda L, x: x**0),
    "pow 2 number": ((ZEROS,), lambda L, x: x**2),
    "pow half at 0": (([0.0, 4.0],), lambda L, x: x**0.5),
    "number pow": ((ZEROS,), lambda L, y: 0.0**y),
    "negative base": (([-2.0, -1.0],), lambda L, x: x**3),
    "atan2 at origin": (([0.0, 1.0], [0.0, 0.0]), lambda L, x, y: L.atan2(x, y)),
    "hypot at origin": (([0.0, 3.0], [0.0, 4.0]), lambda L, x, y: L.hypot(x, y)),
    "copysign at 0": (([0.0, 1.0, -2.0], [1.0, -0.0, 3.0]), lambda L, x, y: L.copysign(x, y)),
    "where hides NaN": (([0.0, 4.0],), lambda L, x: L.where(x > 0, L.sqrt(x), x)),
    "softplus beyond threshold": (([-30.0, 0.0, 19.0, 21.0],), lambda L, x: L.nn.functional.softplus(x)),
    "logsumexp of -inf": (([[-INF, -INF], [-INF, 0.0]],), lambda L, x: L.logsumexp(x, 1)),
    "softmax large": (([1000.0, 0.0, -1000.0],), lambda L, x: L.softmax(x, 0)[0]),
    "std of equal": (([2.0, 2.0, 2.0],), lambda L, x: L.std(x)),
    "var of one": (([[2.0], [3.0]],), lambda L, x: L.var(x, 1)),
    "remainder at multiples": (([4.0, -4.0, 5.0], [2.0, 2.0, -2.0]), lambda L, x, y: L.remainder(x, y)),
    "fmod": (([5.0, -5.0], [3.0, 3.0]), lambda L, x, y: L.fmod(x, y)),
    "floor": (([1.0, 1.5],), lambda L, x: L.floor(x) * x),
    "round": (([0.5, 1.5],), lambda L, x: L.round(x) * x),
    "frac": (([1.0, -1.5],), lambda L, x: L.frac(x)),
    "trunc divide": (([5.0, -5.0], [3.0, 3.0]), lambda L, x, y: L.div(x, y, rounding_mode="trunc") * x),
    "sort ties": (([2.0, 1.0, 2.0, 1.0],), lambda L, x: L.sort(x, stable=True)[0] * L.arange(4, device=x.device)),
    "topk ties": (([2.0, 1.0, 2.0],), lambda L, x: L.topk(x, 3)[0]),
    "masked_fill inf": (([1.0, INF],), lambda L, x: x.masked_fill(x == INF, 0.0)),
    "lerp number": (([0.0, 1.0], [2.0, INF]), lambda L, x, y: L.lerp(x, y, 0.5)),
    "div by 0": (([1.0, 0.0], [0.0, 0.0]), lambda L, x, y: x / y),
    "l1_loss at equal": (([1.0, 2.0], [1.0, 3.0]), lambda L, x, y: L.nn.functional.l1_loss(x, y)),
    "erfinv at 1": (([1.0, 0.0],), lambda L, x: L.erfinv(x)),
    "acos at 1": (([1.0, 0.0],), lambda L, x: L.acos(x)),
    "asin at -1": (([-1.0, 0.5],), lambda L, x: L.asin(x)),
    "layer_norm of equal": (([[1.0, 1.0], [0.0, 2.0]],), lambda L, x: L.nn.functional.layer_norm(x, (2,)) * x),
}  # fmt: skip


def run(name: str, L: Any, device: str) -> list[Any]:
    """The gradients of the sum with regard to each input, as nested lists."""
    values, f = EDGES[name]
    inputs = [L.tensor(v, dtype=L.float64, device=device).requires_grad_() for v in values]
    found = L.autograd.grad(f(L, *inputs).sum(), inputs, allow_unused=True)
    return [None if g is None else to_numpy(g).tolist() for g in found]
