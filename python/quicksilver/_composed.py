"""Functions made of other functions, and where each is written.

They live in modules of their own (``_functions_*.py``) that are imported when one of their names is
first used, which keeps ``import quicksilver`` short. The tables below say which names each module
gives to the package, to Tensor, and to Tensor as an in-place form (``name_``).
"""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable
from typing import Any

from quicksilver import _C

Tensor = _C.Tensor

# module: (functions of the package that are methods too, functions only, methods only, names with
# an in-place form)
TABLES: dict[str, tuple[str, str, str, str]] = {
    "_functions_math": (
        "float_power ldexp frexp positive isreal mvlgamma trapezoid trapz",
        "cumulative_trapezoid gradient",
        "sum_to_size where",
        "float_power ldexp mvlgamma logit rad2deg deg2rad cumprod",
    ),
    "_functions_statistics": (
        "nanmean median nanmedian mode quantile nanquantile diff histc histogram bincount cov"
        " corrcoef renorm trace",
        "histogramdd",
        "",
        "renorm",
    ),
    "_functions_sets": (
        "unique_consecutive isin msort repeat_interleave",
        "searchsorted bucketize unravel_index",
        "unique",
        "",
    ),
    "_functions_shape": (
        "diag_embed diagflat rot90 hsplit vsplit dsplit select_scatter slice_scatter"
        " diagonal_scatter as_strided_scatter masked_scatter narrow_copy unsafe_chunk unsafe_split"
        " unsafe_split_with_sizes put resize_as_ nonzero_static",
        "atleast_1d atleast_2d atleast_3d block_diag cartesian_prod combinations column_stack"
        " row_stack dstack vander tril_indices triu_indices alias_copy as_strided_copy detach_copy"
        " diagonal_copy expand_copy permute_copy select_copy slice_copy split_copy"
        " split_with_sizes_copy squeeze_copy t_copy transpose_copy unbind_copy unfold_copy"
        " unsqueeze_copy view_copy view_as_real_copy view_as_complex_copy constant_pad_nd"
        " empty_permuted",
        "apply_ map_ map2_ fill_diagonal_ put_ swapaxes_ swapdims_ as_strided_ new_empty_strided"
        " dim_order",
        "",
    ),
    "_functions_tensor": (
        "",
        "fill spmm is_storage",
        "apply_ map_ new is_shared record_stream storage untyped_storage",
        "",
    ),
    "_functions_random": (
        "",
        "rrelu rrelu_ dropout_ _sample_dirichlet",
        "exponential_ geometric_ cauchy_ log_normal_",
        "",
    ),
    "_functions_matrix": (
        "kron cross addbmm vdot det logdet slogdet inverse cholesky cholesky_inverse"
        " cholesky_solve qr svd matrix_power matrix_exp pinverse triangular_solve lu"
        " lu_solve",
        "tensordot cdist pdist chain_matmul matrix_rank frobenius_norm nuclear_norm"
        " norm_except_dim lu_unpack",
        "",
        "addbmm baddbmm addmv addr",
    ),
    "nn.functional": (
        "prelu",
        "cosine_similarity pairwise_distance rms_norm threshold_",
        "",
        "",
    ),
    "_functions_windows": (
        "stft istft",
        "hann_window hamming_window blackman_window bartlett_window kaiser_window",
        "",
        "",
    ),
}


def write_out(name: str, value: Any, out: Any) -> Any:
    """Gives ``value`` to ``out=`` as PyTorch does: resized where it must be, cast where that is
    safe."""
    if isinstance(value, tuple):
        for one, to in zip(value, out, strict=True):
            write_out(name, one, to)
        return out
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if not _C.can_cast(value.dtype, out.dtype):
        raise RuntimeError(
            f"result type {_type_name(value)} can't be cast to the desired output type"
            f" {_type_name(out)}"
        )
    if out.shape != value.shape:
        if out.numel():
            warnings.warn(
                "An output with one or more elements was resized since it had shape"
                f" {list(out.shape)}, which does not match the required output shape"
                f" {list(value.shape)}. This behavior is deprecated, and in a future PyTorch"
                " release outputs will not be resized unless they have zero elements. You can"
                " explicitly reuse an out tensor t by resizing it, inplace, to zero elements with"
                " t.resize_(0).",
                stacklevel=3,
            )
        out.resize_(value.shape)
    return out.copy_(value)


def _type_name(tensor: Tensor) -> str:
    return tensor.type().rsplit(".", 1)[-1].removesuffix("Tensor")


def with_out(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the keyword ``out=``."""

    @functools.wraps(function)
    def wrapped(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        if out is None:
            return function(*args, **kwargs)
        return write_out(function.__name__, function(*args, **kwargs), out)

    return wrapped


def in_place(name: str, function: Callable[..., Any]) -> Callable[..., Tensor]:
    """The form of ``function`` that writes over its first argument."""

    @functools.wraps(function)
    def wrapped(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        # A gradient may read the value from before the write.
        before = self.clone() if self.requires_grad and _C.is_grad_enabled() else self
        value = function(before, *args, **kwargs)
        if not _C.can_cast(value.dtype, self.dtype):
            raise RuntimeError(
                f"result type {_type_name(value)} can't be cast to the desired output type"
                f" {_type_name(self)}"
            )
        return self.copy_(value)

    wrapped.__name__ = wrapped.__qualname__ = name
    wrapped.__doc__ = f"{name.removesuffix('_')} in place."
    return wrapped


def find(module: str, name: str) -> Any:
    """The function of that name in a module of TABLES, in-place forms included."""
    home = importlib.import_module(f"quicksilver.{module}")
    found = getattr(home, name, None)
    if found is None and name.endswith("_"):
        plain = name.removesuffix("_")
        found = in_place(name, getattr(home, plain, None) or getattr(_C, plain))
    if found is None:
        raise AttributeError(f"module 'quicksilver.{module}' has no function {name!r}")
    return found


class _Late:
    """A method that is imported when it is first looked up."""

    def __init__(self, module: str, name: str) -> None:
        self._where = module, name

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        function = find(*self._where)
        setattr(Tensor, self._where[1], function)
        return function if instance is None else function.__get__(instance, owner)


FUNCTIONS: dict[str, str] = {}
METHODS: dict[str, str] = {}
for _module, (_both, _functions, _methods, _in_place) in TABLES.items():
    _written = [f"{n}_" for n in _in_place.split()]
    for _name in (*_both.split(), *_functions.split(), *_written):
        FUNCTIONS[_name] = _module
    for _name in (*_both.split(), *_methods.split(), *_written):
        METHODS[_name] = _module
FUNCTIONS["unique"] = "_functions_sets"
for _name in ("baddbmm_", "addbmm_", "renorm_", "mvlgamma_", "cumprod_", "float_power_"):
    FUNCTIONS.pop(_name, None)  # methods only, as in PyTorch

for _name, _module in METHODS.items():
    setattr(Tensor, _name, _Late(_module, _name))
