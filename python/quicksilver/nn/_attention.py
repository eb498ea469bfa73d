"""multi_head_attention_forward and what it checks."""

from __future__ import annotations

import math
import warnings
from typing import Any

from quicksilver import _C

Tensor = _C.Tensor
_nn = _C._nn


def _canonical_mask(
    mask: Tensor | None,
    mask_name: str,
    other_type: Any,
    other_name: str,
    target_type: Any,
    check_other: bool = True,
) -> Tensor | None:
    """A mask as numbers to add: -inf where a boolean one is True."""
    if mask is None:
        return None
    if mask.dtype != _C.bool and not mask.is_floating_point():
        raise AssertionError(f"only bool and floating types of {mask_name} are supported")
    if check_other and other_type is not None and mask.dtype != other_type:
        warnings.warn(
            f"Support for mismatched {mask_name} and {other_name} "
            "is deprecated. Use same type for both instead.",
            stacklevel=2,
        )
    if mask.is_floating_point():
        return mask
    zero = _C.zeros((), dtype=target_type, device=mask.device)
    return _C.where(mask, -math.inf, zero)


def _none_or_dtype(mask: Tensor | None) -> Any:
    return None if mask is None else mask.dtype


def _check_dims(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None,
    attn_mask: Tensor | None,
    num_heads: int,
) -> bool:
    """Whether the input is batched; AssertionError for ranks that do not go together."""
    rank = query.dim()
    if rank not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {rank}-D query tensor"
        )
    kind = "batched (3-D)" if rank == 3 else "unbatched (2-D)"
    if key.dim() != rank or value.dim() != rank:
        raise AssertionError(
            f"For {kind} `query`, expected `key` and `value` to be {rank}-D"
            f" but found {key.dim()}-D and {value.dim()}-D tensors respectively"
        )
    if key_padding_mask is not None and key_padding_mask.dim() != rank - 1:
        raise AssertionError(
            f"For {kind} `query`, expected `key_padding_mask` to be `None` or {rank - 1}-D"
            f" but found {key_padding_mask.dim()}-D tensor instead"
        )
    if attn_mask is not None:
        if attn_mask.dim() not in (2, 3):
            raise AssertionError(
                f"For {kind} `query`, expected `attn_mask` to be `None`, 2-D or 3-D"
                f" but found {attn_mask.dim()}-D tensor instead"
            )
        if rank == 2 and attn_mask.dim() == 3:
            expected = (num_heads, query.shape[0], key.shape[0])
            if tuple(attn_mask.shape) != expected:
                raise AssertionError(
                    f"Expected `attn_mask` shape to be {expected} but got {attn_mask.shape}"
                )
    return rank == 3


def _project(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weights: tuple[Tensor, Tensor, Tensor] | Tensor,
    bias: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values; inputs that are the same tensor share one product."""
    if isinstance(weights, tuple):
        biases = (None, None, None) if bias is None else bias.chunk(3)
        return tuple(  # type: ignore[return-value]
            _nn.linear(x, w, b)
            for x, w, b in zip((query, key, value), weights, biases, strict=True)
        )
    width = query.size(-1)
    if key is value:
        if query is key:
            return _nn.linear(query, weights, bias).chunk(3, -1)
        w_q, w_kv = weights.split([width, width * 2])
        b_q, b_kv = (None, None) if bias is None else bias.split([width, width * 2])
        return (_nn.linear(query, w_q, b_q), *_nn.linear(key, w_kv, b_kv).chunk(2, -1))
    return _project(query, key, value, tuple(weights.chunk(3)), bias)


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Projections, attention in heads, projection (Vaswani et al. 2017, arXiv:1706.03762).

    Args:
        query: [L, N, E] or [L, E]; key: [S, N, Ek]; value: [S, N, Ev].
        key_padding_mask: [N, S], True (or -inf) where a key is left out.
        attn_mask: [L, S] or [N * num_heads, L, S], True where a position may not be seen, or
            numbers that are added to the scores.
        static_k, static_v: [N * num_heads, S, head width], used in place of projected ones.
        is_causal: a hint that attn_mask is the causal mask.

    Returns:
        The output [L, N, E] and, with need_weights, the weights [N, L, S] (a mean over the heads,
        or [N, num_heads, L, S]). Without need_weights no matrix of scores is kept.
    """
    batched = _check_dims(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        same = query is key, key is value
        query = query.unsqueeze(1)
        key = query if same[0] else key.unsqueeze(1)
        value = key if same[1] else value.unsqueeze(1)
        if key_padding_mask is not None:
            key_padding_mask = key_padding_mask.unsqueeze(0)
    rows, batch, width = query.shape
    keys = key.shape[0]
    key_padding_mask = _canonical_mask(
        key_padding_mask, "key_padding_mask", _none_or_dtype(attn_mask), "attn_mask", query.dtype
    )
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. "
            "You may use the Transformer module method "
            "`generate_square_subsequent_mask` to create this mask."
        )
    if is_causal and key_padding_mask is None and not need_weights:
        attn_mask = None  # attention has a causal form of its own
    else:
        attn_mask = _canonical_mask(attn_mask, "attn_mask", None, "", query.dtype, False)
        is_causal = False
    if width != embed_dim_to_check:
        raise AssertionError(
            f"was expecting embedding dimension of {embed_dim_to_check}, but got {width}"
        )
    head = width // num_heads
    if head * num_heads != width:
        raise AssertionError(f"embed_dim {width} not divisible by num_heads {num_heads}")
    if use_separate_proj_weight:
        if key.shape[:2] != value.shape[:2]:
            raise AssertionError(
                f"key's sequence and batch dims {key.shape[:2]} do not match value's"
                f" {value.shape[:2]}"
            )
        for name, weight in zip("qkv", (q_proj_weight, k_proj_weight, v_proj_weight), strict=True):
            if weight is None:
                raise AssertionError(
                    f"use_separate_proj_weight is True but {name}_proj_weight is None"
                )
        weights: Any = (q_proj_weight, k_proj_weight, v_proj_weight)
    else:
        if key.shape != value.shape:
            raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")
        if in_proj_weight is None:
            raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
        weights = in_proj_weight
    q, k, v = _project(query, key, value, weights, in_proj_bias)

    if attn_mask is not None:
        if attn_mask.dim() == 2:
            if tuple(attn_mask.shape) != (rows, keys):
                raise RuntimeError(
                    f"The shape of the 2D attn_mask is {attn_mask.shape}, but should be"
                    f" {(rows, keys)}."
                )
            attn_mask = attn_mask.unsqueeze(0).unsqueeze(0)
        else:
            if tuple(attn_mask.shape) != (batch * num_heads, rows, keys):
                raise RuntimeError(
                    f"The shape of the 3D attn_mask is {attn_mask.shape}, but should be"
                    f" {(batch * num_heads, rows, keys)}."
                )
            attn_mask = attn_mask.view(batch, num_heads, rows, keys)
    if (bias_k is None) != (bias_v is None):
        raise AssertionError(
            "bias_v is set but bias_k is None"
            if bias_k is None
            else "bias_k is set but bias_v is None"
        )
    more = 0  # keys that every row sees
    if bias_k is not None and bias_v is not None:
        if static_k is not None:
            raise AssertionError("bias cannot be added to static key.")
        if static_v is not None:
            raise AssertionError("bias cannot be added to static value.")
        k = _C.cat([k, bias_k.repeat(1, batch, 1)])
        v = _C.cat([v, bias_v.repeat(1, batch, 1)])
        more = 1

    q = q.view(rows, batch, num_heads, head).permute(1, 2, 0, 3)
    k = _heads(k, static_k, "k", batch, num_heads, head)
    v = _heads(v, static_v, "v", batch, num_heads, head)
    if add_zero_attn:
        nothing = _C.zeros((batch, num_heads, 1, head), dtype=k.dtype, device=k.device)
        k, v = _C.cat([k, nothing], 2), _C.cat([v, nothing], 2)
        more += 1
    keys = k.size(2)
    if key_padding_mask is not None:
        if key_padding_mask.shape[0] != batch:
            raise AssertionError(
                f"Expected key_padded_mask.shape[0] to be {batch}, but got"
                f" {key_padding_mask.shape[0]}"
            )
        if key_padding_mask.shape[1] + more != keys:
            raise AssertionError(
                f"Expected key_padded_mask.shape[1] to be {keys}, but got"
                f" {key_padding_mask.shape[1] + more}"
            )
        padding = key_padding_mask.view(batch, 1, 1, keys - more)
        attn_mask = padding if attn_mask is None else attn_mask + padding
    if attn_mask is not None and more:
        attn_mask = _widened(attn_mask, more)
    if not training:
        dropout_p = 0.0

    found = None
    if need_weights:
        scores = (q * math.sqrt(1.0 / head)).matmul(k.transpose(-2, -1))
        found = (scores if attn_mask is None else scores + attn_mask).softmax(-1)
        if dropout_p > 0.0:
            found = _nn.dropout(found, dropout_p)
        out = found.matmul(v)
        if average_attn_weights:
            found = found.mean(1)
    else:
        out = _nn.scaled_dot_product_attention(q, k, v, attn_mask, dropout_p, is_causal)
    out = out.permute(2, 0, 1, 3).reshape(rows, batch, width)
    out = _nn.linear(out, out_proj_weight, out_proj_bias)
    if not batched:
        out = out.squeeze(1)
        found = None if found is None else found.squeeze(0)
    return out, found


def _heads(
    x: Tensor, static: Tensor | None, name: str, batch: int, heads: int, head: int
) -> Tensor:
    """[N, heads, S, head width] of projected keys or values, or of the given ones."""
    if static is None:
        return x.view(x.shape[0], batch, heads, head).permute(1, 2, 0, 3)
    if static.size(0) != batch * heads:
        raise AssertionError(
            f"expecting static_{name}.size(0) of {batch * heads}, but got {static.size(0)}"
        )
    if static.size(2) != head:
        raise AssertionError(f"expecting static_{name}.size(2) of {head}, but got {static.size(2)}")
    return static.view(batch, heads, static.size(1), head)


def _widened(mask: Tensor, more: int) -> Tensor:
    """Columns of 0 behind a mask."""
    zeros = _C.zeros((*mask.shape[:-1], more), dtype=mask.dtype, device=mask.device)
    return _C.cat([mask, zeros], -1)
