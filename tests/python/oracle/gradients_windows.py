"""Rows of gradients.py for windows and convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from oracle.gradients import functional, row


# ---- windows: twice, so that the gradient of the gradient is not zero
def square(f: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda L, x: f(L, x) ** 2


def first(name: str, *args: Any) -> Callable[[Any, Any], Any]:
    return square(lambda L, x: getattr(L.nn.functional, name)(x, *args)[0])


LINE, IMAGE, VOLUME = (2, 3, 8), (2, 2, 5, 6), (1, 2, 3, 4, 5)
for _n, _shape in ((1, LINE), (2, IMAGE), (3, VOLUME)):
    row(
        f"max_pool{_n}d",
        square(functional(f"max_pool{_n}d", 3, 1, 1)),
        _shape,
        domain="distinct",
        order=2,
    )
    row(
        f"max_pool{_n}d_with_indices",
        first(f"max_pool{_n}d_with_indices", 2),
        _shape,
        domain="distinct",
        order=2,
    )
    row(f"avg_pool{_n}d", square(functional(f"avg_pool{_n}d", 3, 2, 1)), _shape, order=2)
    row(
        f"adaptive_avg_pool{_n}d", square(functional(f"adaptive_avg_pool{_n}d", 2)), _shape, order=2
    )
    row(
        f"adaptive_max_pool{_n}d",
        first(f"adaptive_max_pool{_n}d", 2, True),
        _shape,
        domain="distinct",
        order=2,
    )


def unpool(L: Any, x: Any) -> Any:
    y, at = L.nn.functional.max_pool2d(x, 2, 2, return_indices=True)
    return L.nn.functional.max_unpool2d(y, at, 2, 2) * x


row("max_unpool", unpool, (2, 2, 4, 6), domain="distinct", order=2)
row("lp_pool2d", functional("lp_pool2d", 3, 2), IMAGE, domain="positive", order=2)
for _mode, _shape in (
    ("nearest", LINE),
    ("linear", LINE),
    ("bilinear", IMAGE),
    ("bicubic", IMAGE),
    ("trilinear", VOLUME),
):
    row(
        "interpolate",
        square(functional("interpolate", scale_factor=1.6, mode=_mode)),
        _shape,
        order=2,
        label=_mode,
    )
for _mode in ("constant", "reflect", "replicate", "circular"):
    row("pad", square(functional("pad", [2, 1, -1, 3], _mode)), IMAGE, order=2, label=_mode)
row("im2col", square(functional("unfold", (2, 3), 1, 1, 2)), IMAGE, order=2)
row("col2im", square(functional("fold", (4, 5), (2, 2), 1, 1)), (2, 8, 30), order=2)
row("pixel_shuffle", functional("pixel_shuffle", 2), (2, 8, 3, 2))
row("pixel_unshuffle", functional("pixel_unshuffle", 2), (2, 2, 4, 6))
row("channel_shuffle", functional("channel_shuffle", 2), (2, 4, 3))
for _mode in ("bilinear", "bicubic"):
    row(
        "grid_sample",
        functional("grid_sample", mode=_mode, padding_mode="border"),
        IMAGE,
        (2, 3, 2, 2),
        domain=("real", "unit"),
        order=2,
        label=_mode,
    )
row("affine_grid", functional("affine_grid", [2, 1, 3, 4]), (2, 2, 3))


# ---- convolutions: each of the three ops, its gradients, and theirs
IMAGE, TAPS = (2, 4, 5, 4), (6, 2, 3, 2)
row("conv1d", functional("conv1d", None, 2, 1), (2, 3, 6), (4, 3, 3), order=2)
row("conv1d", functional("conv1d"), (3, 6), (4, 3, 3), (4,), order=2, label="unbatched")
row("conv2d", functional("conv2d", stride=2, padding=(1, 0), groups=2), IMAGE, TAPS, (6,), order=2)
row(
    "conv2d",
    functional("conv2d", dilation=2, padding=1),
    (1, 2, 5, 5),
    (2, 2, 2, 3),
    order=2,
    label="dilated",
)
row("conv3d", functional("conv3d", padding=1), (1, 2, 2, 3, 2), (2, 2, 2, 3, 1), (2,), order=2)
row("conv_named_padding", functional("conv2d", padding="same"), (1, 2, 4, 3), (3, 2, 2, 3), order=2)
row(
    "conv_transpose1d", functional("conv_transpose1d", None, 2, 1, 1), (2, 3, 4), (3, 2, 3), order=2
)
row(
    "conv_transpose2d",
    functional("conv_transpose2d", stride=2, padding=1, groups=2),
    (1, 4, 3, 2),
    (4, 2, 3, 2),
    (4,),
    order=2,
)
row(
    "conv_transpose2d",
    functional("conv_transpose2d"),
    (2, 3, 1, 1),
    (3, 2, 2, 2),
    (2,),
    order=2,
    label="single",
)
row(
    "conv_transpose3d",
    functional("conv_transpose3d"),
    (1, 2, 2, 2, 2),
    (2, 1, 2, 1, 2),
    (1,),
    order=2,
)
row(
    "convolution",
    lambda L, x, w: L.convolution(x, w, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1),
    (1, 2, 4, 4),
    (2, 2, 3, 3),
    order=2,
)
