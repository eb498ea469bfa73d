"""torch.fft. The transforms are NumPy's, on the host; a tensor on mps is copied there and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from quicksilver import _C
from quicksilver._composed import with_out
from quicksilver.autograd import Function

Tensor = _C.Tensor


def _host(name: str, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    import numpy as np

    a = getattr(np.fft, name)(x.detach().cpu().numpy(), *args, **kwargs)
    wide = x.dtype in (_C.float64, _C.complex128)
    kind = (
        ("complex128" if wide else "complex64")
        if a.dtype.kind == "c"
        else ("float64" if wide else "float32")
    )
    return _C.from_numpy(np.ascontiguousarray(a, dtype=kind)).to(x.device)


class _C2C(Function):
    """The complex transform over dims, unscaled; its adjoint is the one the other way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dims: tuple[int, ...], inverse: bool) -> Tensor:
        ctx.dims, ctx.inverse = dims, inverse
        name, norm = ("ifftn", "forward") if inverse else ("fftn", "backward")
        return _host(name, x, axes=dims, norm=norm)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return _C2C.apply(g, ctx.dims, not ctx.inverse), None, None


def _complex(x: Tensor) -> Tensor:
    if x.is_complex():
        return x
    if not x.is_floating_point():
        x = x.to(_C.get_default_dtype())
    if x.dtype in (_C.float16, _C.bfloat16):
        raise RuntimeError(
            f"Unsupported dtype {x.type().rsplit('.', 1)[-1].removesuffix('Tensor')}"
        )
    return _C.complex(x, _C.zeros_like(x))


def _scale(norm: str | None, size: int, inverse: bool) -> float:
    if norm not in (None, "backward", "forward", "ortho"):
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    if norm == "ortho":
        return 1 / math.sqrt(size)
    return 1 / size if (norm == "forward") != inverse else 1.0


def _sized(x: Tensor, n: int, dim: int) -> Tensor:
    """Cut or filled with zeros to extent n."""
    if n < 1:
        raise RuntimeError(f"Invalid number of data points ({n}) specified")
    have = x.size(dim)
    if have == n:
        return x
    if have > n:
        return x.narrow(dim, 0, n)
    shape = list(x.shape)
    shape[dim] = n - have
    return _C.cat([x, _C.zeros(shape, dtype=x.dtype, device=x.device)], dim)


def _dims(x: Tensor, s: Any, dim: Any) -> tuple[list[int], list[int]]:
    if dim is None:
        dims = list(range(x.dim())) if s is None else list(range(x.dim() - len(s), x.dim()))
    else:
        dims = [d % x.dim() for d in ([dim] if isinstance(dim, int) else dim)]
    if len(set(dims)) != len(dims):
        raise RuntimeError("FFT dims must be unique")
    sizes = [x.size(d) for d in dims] if s is None else list(s)
    if len(sizes) != len(dims):
        raise RuntimeError("When given, dim and shape arguments must have the same length")
    return dims, [x.size(d) if n == -1 else n for n, d in zip(sizes, dims, strict=True)]


def _transform(x: Tensor, dims: list[int], sizes: list[int], norm: Any, inverse: bool) -> Tensor:
    x = _complex(x)
    for n, d in zip(sizes, dims, strict=True):
        x = _sized(x, n, d)
    if not dims:
        return x.clone()
    scale = _scale(norm, math.prod(sizes), inverse)
    out = _C2C.apply(x, tuple(dims), inverse)
    return out if scale == 1 else out * scale


@with_out
def fftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The discrete Fourier transform over several dimensions."""
    dims, sizes = _dims(input, s, dim)
    return _transform(input, dims, sizes, norm, False)


@with_out
def ifftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse transform over several dimensions."""
    dims, sizes = _dims(input, s, dim)
    return _transform(input, dims, sizes, norm, True)


def _real_only(input: Tensor, name: str) -> None:
    if input.is_complex():
        raise RuntimeError(f"{name} expects a real input tensor, but got {_kind(input)}")


def _kind(x: Tensor) -> str:
    return x.type().rsplit(".", 1)[-1].removesuffix("Tensor")


@with_out
def rfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The non-negative frequencies (of the last dimension) of a real signal."""
    _real_only(input, "rfft" if dim is not None and len(dim) == 1 else "rfftn")
    dims, sizes = _dims(input, s, dim)
    if not dims:
        raise RuntimeError("rfftn must transform at least one axis")
    out = _transform(input, dims, sizes, norm, False)
    return out.narrow(dims[-1], 0, sizes[-1] // 2 + 1).contiguous()


def _mirrored(x: Tensor, n: int, dims: list[int]) -> Tensor:
    """All n frequencies of the last of dims, from the first half, as of a real signal."""
    dim = dims[-1]
    half = _sized(x, n // 2 + 1, dim)
    rest = n - (n // 2 + 1)
    if rest <= 0:
        return half
    tail = half.narrow(dim, 1, rest).conj().flip(dims)
    for d in dims[:-1]:  # index -k of the other dimensions: 0 stays in front
        if tail.size(d) > 1:
            tail = tail.roll(1, d)
    return _C.cat([half, tail], dim)


@with_out
def irfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The real signal whose non-negative frequencies (of the last dimension) are given."""
    x = _complex(input)
    dims, sizes = _dims(x, s, dim)
    if not dims:
        raise RuntimeError("irfftn must transform at least one axis")
    last = 2 * (x.size(dims[-1]) - 1) if s is None or list(s)[-1] == -1 else sizes[-1]
    if last < 1:
        raise RuntimeError(f"Invalid number of data points ({last}) specified")
    sizes[-1] = last
    for n, d in zip(sizes[:-1], dims[:-1], strict=True):
        x = _sized(x, n, d)
    # First the other dimensions, whose result has conjugate symmetry in the last one alone.
    if len(dims) > 1:
        x = _C2C.apply(x, tuple(dims[:-1]), True)
    x = _mirrored(_hermitian_ends(x, last, dims[-1]), last, dims[-1:])
    out = _C2C.apply(x, (dims[-1],), True).real
    return out * _scale(norm, math.prod(sizes), True)


def _hermitian_ends(x: Tensor, n: int, dim: int) -> Tensor:
    """Frequencies 0 and n / 2 of a real signal are real: what else is there does not count."""
    half = _sized(x, n // 2 + 1, dim)
    keep = _C.ones(half.size(dim), dtype=half.real.dtype, device=x.device)
    keep[0] = 0
    if n % 2 == 0:
        keep[-1] = 0
    shape = [1] * half.dim()
    shape[dim] = -1
    return _C.complex(half.real.contiguous(), half.imag * keep.view(shape))


def _one(function: Any, name: str, doc: str) -> Any:
    def transform(
        input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None
    ) -> Tensor:
        return function(input, None if n is None else [n], [dim], norm)

    transform.__name__ = transform.__qualname__ = name
    transform.__doc__ = doc
    return with_out(transform)


def _two(function: Any, name: str, doc: str) -> Any:
    def transform(
        input: Tensor, s: Any = None, dim: Sequence[int] = (-2, -1), norm: str | None = None
    ) -> Tensor:
        return function(input, s, dim, norm)

    transform.__name__ = transform.__qualname__ = name
    transform.__doc__ = doc
    return with_out(transform)


fft = _one(fftn, "fft", "The discrete Fourier transform.")
ifft = _one(ifftn, "ifft", "The inverse of fft.")
rfft = _one(rfftn, "rfft", "The non-negative frequencies of a real signal.")
irfft = _one(irfftn, "irfft", "The real signal whose non-negative frequencies are given.")
fft2 = _two(fftn, "fft2", "fftn over two dimensions.")
ifft2 = _two(ifftn, "ifft2", "ifftn over two dimensions.")
rfft2 = _two(rfftn, "rfft2", "rfftn over two dimensions.")
irfft2 = _two(irfftn, "irfft2", "irfftn over two dimensions.")

_OTHER = {None: "forward", "backward": "forward", "forward": "backward", "ortho": "ortho"}


@with_out
def hfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The real spectrum of a signal with conjugate symmetry, given by its first half."""
    return irfftn(_complex(input).conj(), s, dim, _OTHER[norm])


@with_out
def ihfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of hfftn."""
    _real_only(input, "ihfft" if dim is not None and len(dim) == 1 else "ihfftn")
    return rfftn(input, s, dim, _OTHER[norm]).conj()


hfft = _one(hfftn, "hfft", "hfftn over one dimension.")
ihfft = _one(ihfftn, "ihfft", "ihfftn over one dimension.")
hfft2 = _two(hfftn, "hfft2", "hfftn over two dimensions.")
ihfft2 = _two(ihfftn, "ihfft2", "ihfftn over two dimensions.")


def fftfreq(
    n: int, d: float = 1.0, *, dtype: Any = None, device: Any = None, **more: Any
) -> Tensor:
    """The frequencies of fft's results for samples d apart."""
    dtype = dtype or _C.get_default_dtype()
    k = _C.arange(n, device=device)
    return (_C.where(k < (n + 1) // 2, k, k - n).to(dtype) * (1.0 / (n * d))).to(dtype)


def rfftfreq(
    n: int, d: float = 1.0, *, dtype: Any = None, device: Any = None, **more: Any
) -> Tensor:
    """The frequencies of rfft's results for samples d apart."""
    dtype = dtype or _C.get_default_dtype()
    return (_C.arange(n // 2 + 1, device=device).to(dtype) * (1.0 / (n * d))).to(dtype)


def _shifts(input: Tensor, dim: Any) -> list[int]:
    dims = list(range(input.dim())) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    return [d % input.dim() for d in dims]


def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """Frequency 0 moved to the middle."""
    dims = _shifts(input, dim)
    return input.roll([input.size(d) // 2 for d in dims], dims)


def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The inverse of fftshift."""
    dims = _shifts(input, dim)
    return input.roll([(input.size(d) + 1) // 2 for d in dims], dims)
