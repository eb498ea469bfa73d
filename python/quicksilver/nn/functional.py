"""nn.functional: the functions behind the modules.

Most are recorded ops of the library (``_C``); what is written here in Python composes them, and on
mps the pieces are fused again. ``inplace=True`` writes into the input. Losses are in `_losses.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quicksilver import _C
from quicksilver._grad_mode import no_grad
from quicksilver.nn._attention import (  # noqa: F401 -- names of this module
    multi_head_attention_forward,
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
layer_norm = _nn.layer_norm
one_hot = _nn.one_hot
scaled_dot_product_attention = _nn.scaled_dot_product_attention
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


def _in_place(function: Any, name: str) -> Any:
    """The form of an activation that writes into its input."""

    def written(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return input.copy_(function(input, *args, **kwargs))

    written.__name__ = written.__qualname__ = name
    written.__doc__ = f"{name.removesuffix('_')} written into its input."
    return written


elu_, leaky_relu_, hardtanh_ = (
    _in_place(f, f"{n}_")
    for f, n in ((elu, "elu"), (leaky_relu, "leaky_relu"), (hardtanh, "hardtanh"))
)
celu_, selu_, threshold_ = (
    _in_place(f, f"{n}_") for f, n in ((celu, "celu"), (selu, "selu"), (threshold, "threshold"))
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

    result = _functions_random.rrelu(input, lower, upper, training)
    return input.copy_(result) if inplace else result


rrelu_ = _in_place(rrelu, "rrelu_")


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


# ---- normalisation -------------------------------------------------------------------------------


def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the trailing dimensions normalized_shape.

    Zhang and Sennrich 2019, arXiv:1910.07467. eps defaults to the dtype's machine epsilon.
    """
    shape = tuple(normalized_shape)
    if tuple(input.shape[input.dim() - len(shape) :]) != shape or not shape:
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape"
            f" [*{', '.join(str(n) for n in shape)}], but got input of size{list(input.shape)}"
        )
    if eps is None:
        eps = _C.finfo(input.dtype).eps
    dims = tuple(range(-len(shape), 0))
    wide = input.float() if input.dtype in (_C.float16, _C.bfloat16) else input
    result = (wide * (wide.square().mean(dims, keepdim=True) + eps).rsqrt()).to(input.dtype)
    return result if weight is None else result * weight


def normalize(
    input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Tensor:
    """x / max(norm_p(x), eps) along dim."""
    length = input.norm(p, dim, keepdim=True).clamp_min(eps)
    result = input / length.expand_as(input)
    return result if out is None else out.copy_(result)


# ---- padding -------------------------------------------------------------------------------------
def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Adds value (0) around the last dimensions: pad is (left, right) of the last, then of the one
    before, and so on; negative numbers cut off. mode "constant" is the only one.

    Raises:
        RuntimeError: pad has an odd length, is longer than the dimensions allow, or cuts too much.
        NotImplementedError: another mode.
    """
    if mode != "constant":
        raise NotImplementedError(f"pad: mode {mode!r} is not supported")
    pad = list(pad)
    if len(pad) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(pad) > 2 * input.dim():
        raise RuntimeError("Padding length too large")
    shape, places = list(input.shape), [slice(None)] * input.dim()
    cut = input
    for k in range(len(pad) // 2):
        dim, before, after = input.dim() - 1 - k, pad[2 * k], pad[2 * k + 1]
        shape[dim] += before + after
        if shape[dim] < 0:
            raise RuntimeError(
                f"The input size {input.size(dim)}, plus negative padding {before} and {after},"
                f" resulted in a negative output size, which is invalid. Check dimension {dim} of"
                " your input."
            )
        start = max(-before, 0)
        cut = cut.narrow(dim, start, max(input.size(dim) - start - max(-after, 0), 0))
        places[dim] = slice(max(before, 0), max(before, 0) + cut.size(dim))
    filled = 0.0 if value is None else value
    out = _C.full(shape, filled, dtype=input.dtype, device=input.device)
    out[tuple(places)] = cut
    return out


# ---- embedding -----------------------------------------------------------------------------------
def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of weight [V, D] picked by integers of any shape: input.shape + [D].

    The row padding_idx gets no gradient. ``sparse`` is accepted and the gradient is dense.

    Raises:
        IndexError: an index is outside of [0, V); on mps at the next read.
        AssertionError: padding_idx is outside of [-V, V).
    """
    if max_norm is not None:
        _renormalise_rows(weight, input, max_norm, norm_type)
    if scale_grad_by_freq:
        raise NotImplementedError("embedding: scale_grad_by_freq=True is not supported")
    return _nn.embedding(input, weight, padding_idx)


def _renormalise_rows(weight: Tensor, rows: Tensor, max_norm: float, norm_type: float) -> None:
    """Scales the named rows of weight down to max_norm, in place."""
    with no_grad():
        chosen = rows.reshape(-1).long()
        picked = weight.detach().index_select(0, chosen)
        length = picked.norm(norm_type, 1, keepdim=True)
        scale = _C.where(length > max_norm, max_norm / (length + 1e-7), 1.0)
        weight.detach()[chosen] = picked * scale


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
