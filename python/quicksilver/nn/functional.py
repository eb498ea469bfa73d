"""nn.functional: the functions behind the modules.

Most are recorded ops of the library (``_C``); what is written here in Python composes them, and on
mps the pieces are fused again. ``inplace=True`` writes into the input. Losses are in `_losses.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from quicksilver import _C
from quicksilver._composed import in_place
from quicksilver.nn._attention import (  # noqa: F401 -- names of this module
    multi_head_attention_forward,
)
from quicksilver.nn._convolution import conv_tbc  # noqa: F401
from quicksilver.nn._embedding import embedding, embedding_bag  # noqa: F401
from quicksilver.nn._fractional_pooling import (  # noqa: F401
    fractional_max_pool2d,
    fractional_max_pool2d_with_indices,
    fractional_max_pool3d,
    fractional_max_pool3d_with_indices,
)
from quicksilver.nn._losses import (  # noqa: F401 -- names of this module
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cosine_embedding_loss,
    cosine_similarity,
    cross_entropy,
    gaussian_nll_loss,
    hinge_embedding_loss,
    huber_loss,
    kl_div,
    l1_loss,
    margin_ranking_loss,
    mse_loss,
    nll_loss,
    pairwise_distance,
    poisson_nll_loss,
    smooth_l1_loss,
    soft_margin_loss,
    triplet_margin_loss,
)
from quicksilver.nn._margin_losses import (  # noqa: F401 -- names of this module
    ctc_loss,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    triplet_margin_with_distance_loss,
)
from quicksilver.nn._normalisation import (  # noqa: F401
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    local_response_norm,
    rms_norm,
)
from quicksilver.nn._pooling import (  # noqa: F401
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool1d_with_indices,
    adaptive_max_pool2d,
    adaptive_max_pool2d_with_indices,
    adaptive_max_pool3d,
    adaptive_max_pool3d_with_indices,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool1d,
    max_pool1d_with_indices,
    max_pool2d,
    max_pool2d_with_indices,
    max_pool3d,
    max_pool3d_with_indices,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
)
from quicksilver.nn._resampling import (  # noqa: F401
    affine_grid,
    channel_shuffle,
    fold,
    grid_sample,
    interpolate,
    pad,
    pixel_shuffle,
    pixel_unshuffle,
    unfold,
    upsample,
    upsample_bilinear,
    upsample_nearest,
)

Tensor = _C.Tensor
_nn = _C._nn

relu = _nn.relu
silu = _nn.silu
relu6 = _nn.relu6
leaky_relu = _nn.leaky_relu
elu = _nn.elu
gelu = _nn.gelu
softplus = _nn.softplus
softmax = _nn.softmax
log_softmax = _nn.log_softmax
dropout = _nn.dropout
linear = _nn.linear
one_hot = _nn.one_hot
scaled_dot_product_attention = _nn.scaled_dot_product_attention
native_channel_shuffle = channel_shuffle
conv1d = _nn.conv1d
conv2d = _nn.conv2d
conv3d = _nn.conv3d
conv_transpose1d = _nn.conv_transpose1d
conv_transpose2d = _nn.conv_transpose2d
conv_transpose3d = _nn.conv_transpose3d
selu = _nn.selu
celu = _nn.celu
hardsigmoid = _nn.hardsigmoid
hardswish = _nn.hardswish
mish = _nn.mish
logsigmoid = _nn.log_sigmoid
threshold = _nn.threshold
hardshrink = _nn.hardshrink
softshrink = _nn.softshrink


# ---- activations ------------------------------------------------------------------------------


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """input kept within [min_val, max_val].

    Raises:
        ValueError: min_val is above max_val.
    """
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    return _nn.hardtanh(input, min_val, max_val, inplace)


def relu_(input: Tensor) -> Tensor:
    """relu written into its input."""
    return input.relu_()


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + e^-x)"""
    return input.sigmoid()


def tanh(input: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return input.tanh()


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a sigmoid(b) of the two halves of dimension dim (Dauphin et al. 2016, arXiv:1612.08083)."""
    if input.dim() == 0:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    size = input.size(dim)
    if size % 2:
        where = dim % input.dim()
        raise RuntimeError(f"Halving dimension must be even, but dimension {where} is size {size}")
    first, second = input.chunk(2, dim)
    return first * second.sigmoid()


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)"""
    return input / (input.abs() + 1)


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)"""
    return input - input.tanh()


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where positive, else weight * x; one weight, or one for each channel (dimension 1)."""
    if weight.numel() != 1:
        channels = input.size(1) if input.dim() > 1 else 1
        if weight.dim() != 1 or weight.numel() != channels:
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers ="
                f" {weight.numel()} and channel size = {channels}."
            )
        weight = weight.view(-1, *([1] * (input.dim() - 2)))
    return _nn._prelu_kernel(input, weight)


elu_, leaky_relu_, hardtanh_ = (
    in_place(f"{n}_", f)
    for f, n in ((elu, "elu"), (leaky_relu, "leaky_relu"), (hardtanh, "hardtanh"))
)
celu_, selu_, threshold_ = (
    in_place(f"{n}_", f) for f, n in ((celu, "celu"), (selu, "selu"), (threshold, "threshold"))
)


def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """x where positive, else x times a slope: drawn from [lower, upper) when training, else their
    mean (Xu et al. 2015, arXiv:1505.00853)."""
    from quicksilver import _functions_random

    if inplace:
        return rrelu_(input, lower, upper, training)
    return _functions_random.rrelu(input, lower, upper, training)


rrelu_ = in_place("rrelu_", rrelu)


def pdist(input: Tensor, p: float = 2) -> Tensor:
    """p-norm distances between all pairs of rows of a matrix."""
    from quicksilver import _functions_matrix

    return _functions_matrix.pdist(input, p)


# ---- softmax ------------------------------------------------------------------------------------


def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """softmax of -x."""
    return softmax(-input, dim, dtype=dtype)


def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """A sample from the Gumbel-Softmax distribution (Jang et al. 2016, arXiv:1611.01144).

    With ``hard`` the values are one-hot and the gradient is the soft sample's.
    """
    noise = -(-_C.rand_like(logits).log()).log()
    soft = ((logits + noise) / tau).softmax(dim)
    if not hard:
        return soft
    index = soft.argmax(dim, keepdim=True)
    one = _C.zeros_like(logits).scatter_(dim, index, 1.0)
    return one - soft.detach() + soft


# ---- dropout -------------------------------------------------------------------------------------


def _feature_dropout(input: Tensor, p: float, training: bool, inplace: bool) -> Tensor:
    """Dropout of whole channels: one draw for each (sample, channel)."""
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training:
        return input
    shape = (*input.shape[:2], *([1] * (input.dim() - 2)))
    mask = dropout(_C.ones(shape, dtype=input.dtype, device=input.device), p, True)
    return input.mul_(mask) if inplace else input * mask


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zeroes whole channels of [N, C, L] or [C, L]."""
    if input.dim() not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.dim()}D input. Note that"
            " dropout1d exists to provide channel-wise dropout on inputs with 1 spatial dimension,"
            " a channel dimension, and an optional batch dimension (i.e. 2D or 3D inputs)."
        )
    if input.dim() == 2:
        return _feature_dropout(input.unsqueeze(0), p, training, inplace).squeeze(0)
    return _feature_dropout(input, p, training, inplace)


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zeroes whole channels of [N, C, H, W]."""
    return _feature_dropout(input, p, training, inplace)


def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zeroes whole channels of [N, C, D, H, W]."""
    return _feature_dropout(input, p, training, inplace)


def _alpha_dropout(
    input: Tensor, noise_shape: Sequence[int], p: float, training: bool, inplace: bool
) -> Tensor:
    """Sets to selu's lower limit, not to zero; scaled and shifted to keep mean and variance."""
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0 or input.numel() == 0:
        return input
    if p == 1:
        result = input * 0.0
    else:
        limit = 1.7580993408473766
        scale = 1.0 / math.sqrt((limit * limit * p + 1) * (1 - p))
        kept = _C.empty(noise_shape, dtype=input.dtype, device=input.device).bernoulli_(1 - p)
        result = input * (kept * scale) + ((kept - 1) * (limit * scale) + limit * scale * p)
    return input.copy_(result) if inplace else result


def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Dropout that keeps selu's mean and variance (Klambauer et al. 2017, arXiv:1706.02515)."""
    return _alpha_dropout(input, input.shape, p, training, inplace)


def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """alpha_dropout of whole channels."""
    shape = (*input.shape[:2], *([1] * (input.dim() - 2)))
    return _alpha_dropout(input, shape, p, training, inplace)


# ---- normalisation -------------------------------------------------------------------------------


def normalize(
    input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Tensor:
    """x / max(norm_p(x), eps) along dim."""
    length = input.norm(p, dim, keepdim=True).clamp_min(eps)
    result = input / length.expand_as(input)
    return result if out is None else out.copy_(result)


# ---- products ----------------------------------------------------------------------------------
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y_o = x1^T W_o x2 + b_o: input1 [..., I1], input2 [..., I2], weight [O, I1, I2]."""
    if input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            "bilinear(): input batch dimensions do not match: got"
            f" {list(input1.shape)} and {list(input2.shape)}"
        )
    if input1.size(-1) != weight.size(1) or input2.size(-1) != weight.size(2):
        raise RuntimeError(
            f"bilinear(): inputs have {input1.size(-1)} and {input2.size(-1)} features, the weight"
            f" wants {weight.size(1)} and {weight.size(2)}"
        )
    first = input1.reshape(-1, 1, input1.size(-1))
    second = input2.reshape(-1, input2.size(-1), 1)
    outputs = weight.size(0)
    # [B, 1, I1] @ [I1, O * I2] -> [B, O, I2]; then with [B, I2, 1] -> [B, O]
    half = first.matmul(weight.permute(1, 0, 2).reshape(weight.size(1), -1))
    half = half.reshape(-1, outputs, weight.size(2))
    result = half.matmul(second).reshape(*input1.shape[:-1], outputs)
    return result if bias is None else result + bias
