"""Parametrizations that are used often: weight normalisation and spectral normalisation."""

from __future__ import annotations

from typing import Any

from quicksilver import _C
from quicksilver._grad_mode import no_grad
from quicksilver.nn.modules.module import Module
from quicksilver.nn.utils import parametrize

Tensor = _C.Tensor


def norm_except_dim(v: Tensor, pow: float = 2, dim: int = 0) -> Tensor:
    """The norm of each slice along dim, with extents of one elsewhere; of all for dim -1."""
    if dim == -1:
        return v.norm(pow)
    others = [d for d in range(v.dim()) if d != dim % v.dim()]
    return v.norm(pow, others, keepdim=True) if others else v.abs()


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / norm_except_dim(weight_v, 2, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except_dim(weight, 2, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """weight = g v / |v| (Salimans and Kingma 2016, arXiv:1602.07868): length and direction are
    trained apart, a length for each slice along dim, or one for all with None."""
    parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def compatible(state: Any, prefix: str, *rest: Any) -> None:
        """State dicts of the older weight_norm."""
        for i, letter in enumerate("gv"):
            old = f"{prefix}{name}_{letter}"
            if old in state:
                state[f"{prefix}parametrizations.{name}.original{i}"] = state.pop(old)

    module._register_load_state_dict_pre_hook(compatible)
    return module


class _SpectralNorm(Module):
    def __init__(
        self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        super().__init__()
        if dim >= weight.dim() or dim < -weight.dim():
            raise IndexError(
                "Dimension out of range (expected to be in range of"
                f" [-{weight.dim()}, {weight.dim() - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but got"
                f" n_power_iterations={n_power_iterations}"
            )
        self.dim = dim if dim >= 0 else dim + weight.dim()
        self.eps = eps
        if weight.dim() > 1:
            self.n_power_iterations = n_power_iterations
            matrix = self._as_matrix(weight)
            u, v = (_C.randn(n, dtype=weight.dtype, device=weight.device) for n in matrix.shape)
            self.register_buffer("_u", self._unit(u))
            self.register_buffer("_v", self._unit(v))
            self._iterate(matrix, 15)

    def _unit(self, x: Tensor) -> Tensor:
        return x / x.norm().clamp(min=self.eps)

    def _as_matrix(self, weight: Tensor) -> Tensor:
        if self.dim:
            order = [self.dim, *(d for d in range(weight.dim()) if d != self.dim)]
            weight = weight.permute(*order)
        return weight.flatten(1)

    def _iterate(self, matrix: Tensor, count: int) -> None:
        with no_grad():
            matrix = matrix.detach()
            for _ in range(count):
                self._u.copy_(self._unit(_C.mv(matrix, self._v)))
                self._v.copy_(self._unit(_C.mv(matrix.t(), self._u)))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.dim() == 1:
            return self._unit(weight)
        matrix = self._as_matrix(weight)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()
        return weight / _C.dot(u, _C.mv(matrix, v))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divides the weight by its largest singular value, found by power iteration, some steps of it
    a call in training (Miyato et al. 2018, arXiv:1802.05957).

    Raises:
        ValueError: the module has no such tensor.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    parametrize.register_parametrization(
        module, name, _SpectralNorm(weight, n_power_iterations, dim, eps)
    )
    return module
