"""nn.functional's resizing, padding, blocks and grids."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from quicksilver import _C

Tensor = _C.Tensor
_nn = _C._nn

pixel_shuffle = _nn.pixel_shuffle
pixel_unshuffle = _nn.pixel_unshuffle
channel_shuffle = _nn.channel_shuffle


# ---- resizing ------------------------------------------------------------------------------------
_INTERPOLATING = ("linear", "bilinear", "bicubic", "trilinear")
_MODES = "nearest | linear | bilinear | bicubic | trilinear | lanczos | area | nearest-exact"
_RANKS = {"linear": 3, "bilinear": 4, "bicubic": 4, "lanczos": 4, "trilinear": 5}


def _output_sizes(
    input: Tensor, size: Any, scale_factor: Any, recompute: bool | None
) -> tuple[list[int], list[float] | None]:
    """The sizes, and the scale factors when positions follow them rather than the sizes."""
    spatial = list(input.shape[2:])
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is not None:
        if recompute:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        if isinstance(size, (list, tuple)):
            if len(size) != len(spatial):
                raise ValueError(
                    "Input and output must have the same number of spatial dimensions, but got"
                    f" input with spatial dimensions of {spatial} and output size of {size}."
                    " Please provide input tensor in (N, C, d1, d2, ...,dK) format and output size"
                    " in (o1, o2, ...,oK) format."
                )
            return [int(n) for n in size], None
        return [int(size)] * len(spatial), None
    if scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    if isinstance(scale_factor, (list, tuple)):
        if len(scale_factor) != len(spatial):
            raise ValueError(
                "Input and scale_factor must have the same number of spatial dimensions, but got"
                f" input with spatial dimensions of {spatial} and scale_factor of shape"
                f" {scale_factor}. Please provide input tensor in (N, C, d1, d2, ...,dK) format and"
                " scale_factor in (s1, s2, ...,sK) format."
            )
        factors = [float(f) for f in scale_factor]
    else:
        factors = [float(scale_factor)] * len(spatial)
    sizes = [math.floor(float(n) * f) for n, f in zip(spatial, factors, strict=True)]
    return sizes, None if recompute else factors


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resizes the dimensions after the second of [N, C, ...] to size, or by scale_factor.

    Args:
        mode: "nearest", "nearest-exact", "linear" (3-D input), "bilinear", "bicubic", "lanczos"
            (4-D; lanczos with antialias), "trilinear" (5-D), "area" (means of windows).
        align_corners: whether the centres of the corner elements keep their values.
        recompute_scale_factor: positions follow from the sizes, not from scale_factor itself.
        antialias: widens the filter when shrinking (4-D bilinear, bicubic, lanczos).
    """
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes:"
                " linear | bilinear | bicubic | trilinear"
            )
    elif align_corners is None:
        align_corners = False
    sizes, factors = _output_sizes(input, size, scale_factor, recompute_scale_factor)
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and input.ndim == 4):
        raise ValueError(
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a"
            " 4-D tensor as input"
        )
    if mode == "lanczos" and not antialias:
        raise ValueError("lanczos mode requires antialias=True")
    rank = input.dim()
    if rank in (3, 4, 5):
        if mode == "area":
            pool = {
                3: _nn.adaptive_avg_pool1d,
                4: _nn.adaptive_avg_pool2d,
                5: _nn.adaptive_avg_pool3d,
            }[rank]
            return pool(input, sizes)
        if mode in ("nearest", "nearest-exact") or _RANKS.get(mode) == rank:
            return _nn.interpolate(input, sizes, mode, bool(align_corners), antialias, factors)
        if mode in _RANKS:
            raise NotImplementedError(
                f"Got {rank}D input, but {mode} mode needs {_RANKS[mode]}D input"
            )
    raise NotImplementedError(
        "Input Error: Only 3D, 4D and 5D input Tensors supported"
        f" (got {rank}D) for the modes: {_MODES} (got {mode})"
    )


def upsample(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """The older name of interpolate."""
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """interpolate with mode "nearest"."""
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """interpolate with mode "bilinear" and aligned corners."""
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)


# ---- padding -------------------------------------------------------------------------------------
def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Pads the last dimensions: pad is (left, right) of the last, then of the one before, ...;
    negative numbers cut off.

    Args:
        mode: "constant" (with value, default 0), "reflect", "replicate" (the edge) or "circular".

    Raises:
        RuntimeError: pad has an odd length, is longer than the dimensions allow, or cuts too much.
        NotImplementedError: another mode, or a rank that the mode does not serve.
    """
    return _nn.pad(input, pad, mode, value)


# ---- blocks --------------------------------------------------------------------------------------
def unfold(
    input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Sliding blocks of [N, C, H, W] as columns [N, C * kh * kw, blocks]."""
    if input.dim() < 3:
        input.size(2)  # raises as PyTorch does
    return _nn.im2col(input, kernel_size, dilation, padding, stride)


def fold(
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """The sums of overlapping blocks: [N, C * kh * kw, blocks] to [N, C, *output_size]."""
    return _nn.col2im(input, output_size, kernel_size, dilation, padding, stride)


# ---- grids ---------------------------------------------------------------------------------------
def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """Sampling positions [N, *spatial, d] in [-1, 1] of affine maps theta [N, d, d + 1]."""
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    spatial = len(size) - 2
    if spatial not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms,"
            f" respectively. Got size {size}."
        )
    if theta.dim() != 3 or theta.shape[-2] != spatial or theta.shape[-1] != spatial + 1:
        raise ValueError(
            f"Expected a batch of {spatial}D affine matrices of shape"
            f" Nx{spatial}x{spatial + 1} for size {size}. Got {theta.shape}."
        )
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {size}")
    kind = {"dtype": theta.dtype, "device": theta.device}
    extents = list(size[2:])
    axes = []
    for d, n in enumerate(extents):
        line = _C.linspace(-1, 1, n, **kind) if n > 1 else _C.zeros(1, **kind)
        if not align_corners and n > 1:
            line = line * ((n - 1) / n)
        view = [1] * spatial
        view[d] = n
        axes.append(line.reshape(view).expand(*extents))
    base = _C.stack([*reversed(axes), _C.ones(extents, **kind)], -1)
    grid = base.reshape(1, -1, spatial + 1).matmul(theta.transpose(1, 2))
    return grid.reshape(size[0], *extents, spatial)


def _reflect(x: Tensor, low: float, high: float) -> Tensor:
    """x mirrored at low and high until it lies between them."""
    span = high - low
    if span <= 0:
        return _C.zeros_like(x)
    x = (x - low).abs()
    turns = (x / span).floor()
    rest = x - turns * span
    return _C.where(turns.remainder(2) == 0, rest + low, high - rest)


def _position(x: Tensor, n: int, align_corners: bool) -> Tensor:
    return (x + 1) * ((n - 1) / 2) if align_corners else ((x + 1) * n - 1) / 2


def _padded(x: Tensor, n: int, padding_mode: str, align_corners: bool) -> Tensor:
    if padding_mode == "reflection":
        x = _reflect(x, 0, n - 1) if align_corners else _reflect(x, -0.5, n - 0.5)
    return x if padding_mode == "zeros" else x.clamp(0, n - 1)


def _cubic_weights(t: Tensor) -> list[Tensor]:
    """Of the four neighbours of a point t beyond the second (Keys 1981, a = -0.75)."""
    a = -0.75

    def near(x: Tensor) -> Tensor:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Tensor) -> Tensor:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def _check_grid(input: Tensor, grid: Tensor, mode: str, padding_mode: str) -> None:
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            "nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic',"
            f" but got: '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or"
            f" 'reflection', but got: '{padding_mode}'"
        )
    if input.dim() not in (4, 5) or input.dim() != grid.dim():
        raise RuntimeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but"
            f" got input with sizes {list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if input.size(0) != grid.size(0):
        raise RuntimeError(
            "grid_sampler(): expected grid and input to have same batch size, but got input with"
            f" sizes {list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if grid.size(-1) != input.dim() - 2:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {input.dim() - 2} in last dimension, but"
            f" got grid with sizes {list(grid.shape)}"
        )
    for d, n in enumerate(input.shape[2:], 2):
        if n <= 0:
            raise RuntimeError(
                "grid_sampler(): expected input to have non-empty spatial dimensions, but input"
                f" has sizes {list(input.shape)} with dimension {d} being empty"
            )
    if mode == "bicubic" and input.dim() == 5:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Values of input [N, C, *spatial] at the positions grid [N, *out, d] in [-1, 1] (x first).

    Outside of the input there is zero, its edge ("border") or its mirror image ("reflection").
    Jaderberg et al. 2015, arXiv:1506.02025.
    """
    _check_grid(input, grid, mode, padding_mode)
    corners = bool(align_corners)
    extents = list(input.shape[2:])
    batch, channels, out = input.size(0), input.size(1), list(grid.shape[1:-1])
    flat = input.reshape(batch, channels, -1)
    # For each dimension, outermost first: candidates (position, weight or None).
    candidates = []
    for d, n in enumerate(extents):
        x = _position(grid.select(-1, len(extents) - 1 - d), n, corners)
        if mode == "bicubic":
            first = x.floor()
            candidates.append(
                [
                    (_padded(first + (k - 1), n, padding_mode, corners), w)
                    for k, w in enumerate(_cubic_weights(x - first))
                ]
            )
            continue
        x = _padded(x, n, padding_mode, corners)
        if mode == "nearest":
            candidates.append([(x.round(), None)])
        else:
            first = x.floor()
            candidates.append([(first, first + 1 - x), (first + 1, x - first)])
    total = None
    for choice in itertools.product(*candidates):
        inside = weight = where = None
        for (at, w), n in zip(choice, extents, strict=True):
            good = (at >= 0).logical_and(at < n)
            index = _C.where(good, at, 0).to(_C.int64)
            inside = good if inside is None else inside.logical_and(good)
            where = index if where is None else where * n + index
            if w is not None:
                weight = w if weight is None else weight * w
        rows = where.reshape(batch, 1, -1).expand(batch, channels, -1)
        value = flat.gather(2, rows).reshape(batch, channels, *out)
        scale = inside.to(input.dtype) if weight is None else _C.where(inside, weight, 0.0)
        part = value * scale.unsqueeze(1)
        total = part if total is None else total + part
    if mode == "nearest" and grid.requires_grad:  # a gradient of zeros, as PyTorch gives
        x = grid.select(-1, 0)
        total = total + _C.where(_C.zeros_like(x, dtype=_C.bool), x, 0.0).unsqueeze(1)
    return total
