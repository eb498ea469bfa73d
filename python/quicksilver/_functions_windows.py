"""Window functions and the short-time Fourier transform."""

from __future__ import annotations

import math
from typing import Any

from quicksilver import _C

Tensor = _C.Tensor


def _window(name: str, length: int, periodic: bool, options: dict[str, Any], f: Any) -> Tensor:
    if length < 0:
        raise RuntimeError(
            f"{name} requires non-negative window_length, got window_length={length}"
        )
    dtype = options.pop("dtype", None) or _C.get_default_dtype()
    if not dtype.is_floating_point:
        raise RuntimeError(f"{name} expects floating point dtypes, got: {dtype}")
    options.pop("layout", None)
    options.pop("pin_memory", None)
    wants = options.pop("requires_grad", False)
    if length <= 1:
        made = _C.ones(length, dtype=dtype, **options)
    else:
        size = length + 1 if periodic else length
        made = f(_C.arange(size, dtype=_C.float64, **options), size)[:length].to(dtype)
    return made.requires_grad_() if wants else made


def hann_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    """1/2 - 1/2 cos(2 pi n / (N - 1)); N is one more when periodic."""
    return hamming_window(window_length, periodic, 0.5, 0.5, _name="hann_window", **options)


def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    *,
    _name: str = "hamming_window",
    **options: Any,
) -> Tensor:
    """alpha - beta cos(2 pi n / (N - 1))"""
    return _window(
        _name, window_length, periodic, options,
        lambda n, size: alpha - beta * (n * (2 * math.pi / (size - 1))).cos(),
    )  # fmt: skip


def blackman_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    """0.42 - 0.5 cos(2 pi n / (N - 1)) + 0.08 cos(4 pi n / (N - 1))"""

    def f(n: Tensor, size: int) -> Tensor:
        angle = n * (2 * math.pi / (size - 1))
        return 0.42 - 0.5 * angle.cos() + 0.08 * (angle * 2).cos()

    return _window("blackman_window", window_length, periodic, options, f)


def bartlett_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    """A triangle from 0 over 1 to 0."""
    return _window(
        "bartlett_window", window_length, periodic, options,
        lambda n, size: 1 - (n * (2 / (size - 1)) - 1).abs(),
    )  # fmt: skip


def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, **options: Any
) -> Tensor:
    """i0(beta sqrt(1 - (2 n / (N - 1) - 1)^2)) / i0(beta)"""

    def f(n: Tensor, size: int) -> Tensor:
        inside = (1 - (n * (2 / (size - 1)) - 1).square()).clamp(min=0)
        top = _C.full((), float(beta), dtype=n.dtype, device=n.device)
        return (inside.sqrt() * beta).i0() / top.i0()

    return _window("kaiser_window", window_length, periodic, options, f)


def stft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Tensor:
    """Fourier transforms of overlapping windows of [L] or [B, L]: [..., n_freq, frames]."""
    from quicksilver import fft
    from quicksilver.nn import functional

    if return_complex is None and not input.is_complex():
        raise RuntimeError(
            "stft requires the return_complex parameter be given for real inputs, and will further"
            " require that return_complex=True in a future PyTorch release."
        )
    hop = n_fft // 4 if hop_length is None else hop_length
    width = n_fft if win_length is None else win_length
    x = input if input.dim() == 2 else input.unsqueeze(0)
    if center:
        x = functional.pad(x.unsqueeze(1), (n_fft // 2, n_fft // 2), pad_mode).squeeze(1)
    if n_fft <= 0 or n_fft > x.size(-1):
        raise RuntimeError(f"stft: expected 0 < n_fft < {x.size(-1)}, but got n_fft={n_fft}")
    frames = x.unfold(-1, n_fft, hop)
    shape = (width,)
    weight = _C.ones(shape, dtype=x.dtype, device=x.device) if window is None else window
    if width < n_fft:
        left = (n_fft - width) // 2
        weight = functional.pad(weight, (left, n_fft - width - left))
    frames = frames * weight
    half = not input.is_complex() if onesided is None else onesided
    out = (fft.rfft if half else fft.fft)(frames, norm="ortho" if normalized else None)
    out = out.transpose(-2, -1)
    out = out if input.dim() == 2 else out.squeeze(0)
    return out if return_complex is not False else _C.view_as_real(out.contiguous())


def istft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """The signal whose stft is input [..., n_freq, frames], by overlapping sums."""
    from quicksilver import fft
    from quicksilver.nn import functional

    if not input.is_complex():
        raise RuntimeError(
            "istft requires a complex-valued input tensor matching the output from stft with"
            " return_complex=True."
        )
    hop = n_fft // 4 if hop_length is None else hop_length
    width = n_fft if win_length is None else win_length
    x = input if input.dim() == 3 else input.unsqueeze(0)
    half = x.size(-2) != n_fft if onesided is None else onesided
    kind = _C.float64 if x.dtype == _C.complex128 else _C.float32
    weight = _C.ones(width, dtype=kind, device=x.device) if window is None else window
    if width < n_fft:
        left = (n_fft - width) // 2
        weight = functional.pad(weight, (left, n_fft - width - left))
    norm = "ortho" if normalized else None
    spectra = x.transpose(-2, -1)
    frames = fft.irfft(spectra, n_fft, norm=norm) if half else fft.ifft(spectra, norm=norm)
    if not return_complex and frames.is_complex():
        frames = frames.real
    frames = frames * weight
    count = frames.size(-2)
    total = n_fft + hop * (count - 1)
    place = (
        _C.arange(count, device=x.device).unsqueeze(1) * hop + _C.arange(n_fft, device=x.device)
    ).reshape(-1)
    out = _C.zeros(frames.size(0), total, dtype=frames.dtype, device=x.device)
    out = out.index_add(1, place, frames.reshape(frames.size(0), -1))
    envelope = _C.zeros(total, dtype=kind, device=x.device)
    envelope = envelope.index_add(0, place, weight.square().expand(count, n_fft).reshape(-1))
    start = n_fft // 2 if center else 0
    end = start + length if length is not None else total - (n_fft // 2 if center else 0)
    size = min(end, total) - start
    out, envelope = out.narrow(1, start, size), envelope.narrow(0, start, size)
    if float(envelope.abs().min()) <= 1e-11:
        raise RuntimeError("window overlap add min: 1")
    out = out / envelope
    if length is not None and length > size:
        out = functional.pad(out, (0, length - size))
    return out if input.dim() == 3 else out.squeeze(0)
