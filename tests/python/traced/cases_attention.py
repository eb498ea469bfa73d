"""MultiheadAttention and the transformer layers: values, gradients, masks, names and errors."""

from __future__ import annotations

from typing import Any

from . import outcome
from .cases_nn import fill, numbers


def _mask(L: Any, rows: int, keys: int) -> Any:
    return L.ones(rows, keys).triu(1).bool()


def _padding(L: Any, batch: int, keys: int) -> Any:
    return L.arange(keys).unsqueeze(0) >= L.tensor([[keys - i] for i in range(batch)])


def _show(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, tuple):
        return [_show(v) for v in value]
    return value.detach().tolist()


def case_multihead(L: Any) -> Any:
    out: dict[str, Any] = {}
    q, k, v = numbers(L, 5, 2, 8), numbers(L, 7, 2, 8, seed=1), numbers(L, 7, 2, 8, seed=2)
    x = numbers(L, 2, 5, 8, seed=3)
    plain = fill(L, L.nn.MultiheadAttention(8, 2))
    first = fill(L, L.nn.MultiheadAttention(8, 4, batch_first=True))
    out["cross"] = _show(plain(q, k, v))
    out["key is value"] = _show(plain(q, k, k, need_weights=False))
    out["self"] = _show(plain(q, q, q, need_weights=False))
    out["per head"] = _show(plain(q, k, v, average_attn_weights=False))
    out["batch first"] = _show(first(x, x, x))
    out["unbatched"] = _show(plain(q[:, 0], k[:, 0], v[:, 0]))
    for need in (True, False):
        more = {"need_weights": need}
        out[f"mask {need}"] = _show(plain(q, k, v, attn_mask=_mask(L, 5, 7), **more))
        out[f"padding {need}"] = _show(plain(q, k, v, key_padding_mask=_padding(L, 2, 7), **more))
        both = plain(q, k, v, key_padding_mask=_padding(L, 2, 7), attn_mask=_mask(L, 5, 7), **more)
        out[f"both {need}"] = _show(both)
        out[f"added {need}"] = _show(plain(q, k, v, attn_mask=numbers(L, 4, 5, 7), **more))
        causal = first(x, x, x, attn_mask=_mask(L, 5, 5), is_causal=True, **more)
        out[f"causal {need}"] = _show(causal)
    wide = fill(L, L.nn.MultiheadAttention(8, 2, kdim=3, vdim=6, add_bias_kv=True))
    out["widths"] = _show(wide(q, numbers(L, 7, 2, 3), numbers(L, 7, 2, 6)))
    zero = fill(L, L.nn.MultiheadAttention(8, 2, bias=False, add_zero_attn=True))
    out["zero"] = _show(zero(q, k, v, key_padding_mask=_padding(L, 2, 7), need_weights=False))
    out["names"] = [sorted(m.state_dict()) for m in (plain, wide, zero)]
    out["repr"] = repr(plain)
    plain.double()
    plain(q.double(), k.double(), v.double(), need_weights=False)[0].square().sum().backward()
    out["gradients"] = {n: _show(p.grad) for n, p in plain.named_parameters()}
    return out


def case_layers(L: Any) -> Any:
    out: dict[str, Any] = {}
    n = L.nn
    src, tgt = numbers(L, 6, 2, 8), numbers(L, 4, 2, 8, seed=1)
    causal, padding = _mask(L, 6, 6), _padding(L, 2, 6)
    for norm_first in (False, True):
        for activation in ("relu", "gelu"):
            more = {"dropout": 0.0, "activation": activation, "norm_first": norm_first}
            e = fill(L, n.TransformerEncoderLayer(8, 2, 12, **more))
            d = fill(L, n.TransformerDecoderLayer(8, 2, 12, **more))
            name = f"{norm_first} {activation}"
            out[f"encoder {name}"] = _show(e(src, causal, padding))
            out[f"decoder {name}"] = _show(
                d(tgt, src, _mask(L, 4, 4), memory_key_padding_mask=padding, tgt_is_causal=False)
            )
    layer = n.TransformerEncoderLayer(8, 2, 12, 0.0, batch_first=True)
    encoder = fill(L, n.TransformerEncoder(layer, 2, n.LayerNorm(8), enable_nested_tensor=False))
    out["encoder"] = _show(encoder(src.transpose(0, 1), mask=causal, is_causal=True))
    whole = fill(L, n.Transformer(8, 2, 1, 2, 12, 0.0))
    square = n.Transformer.generate_square_subsequent_mask(4)
    out["square"] = repr(square.cpu())
    out["whole"] = _show(whole(src, tgt, tgt_mask=square))
    whole.double()
    whole(src.double(), tgt.double(), tgt_mask=square.double()).square().mean().backward()
    out["gradients"] = {name: _show(p.grad.sum()) for name, p in whole.named_parameters()}
    out["names"] = sorted(whole.state_dict())
    out["repr"] = repr(n.TransformerDecoderLayer(8, 2, 12, bias=False))
    return out


def case_bad_attention(L: Any) -> Any:
    n = L.nn
    attention = n.MultiheadAttention(8, 2)
    q, k = numbers(L, 5, 2, 8), numbers(L, 7, 2, 8)
    whole = n.Transformer(8, 2, 1, 1, 12)
    calls: dict[str, Any] = {
        "heads": lambda: n.MultiheadAttention(8, 3),
        "none": lambda: n.MultiheadAttention(0, 3),
        "rank": lambda: attention(q[None], k, k),
        "other rank": lambda: attention(q, k[:, 0], k),
        "padding rank": lambda: attention(q, k, k, key_padding_mask=L.ones(7).bool()),
        "padding": lambda: attention(q, k, k, key_padding_mask=L.ones(2, 6).bool()),
        "padding dtype": lambda: attention(q, k, k, key_padding_mask=L.ones(2, 7).int()),
        "mask": lambda: attention(q, k, k, attn_mask=L.ones(7, 5).bool()),
        "mask per head": lambda: attention(q, k, k, attn_mask=L.ones(2, 5, 7).bool()),
        "mask rank": lambda: attention(q, k, k, attn_mask=L.ones(5).bool()),
        "width": lambda: attention(q[..., :6], k[..., :6], k[..., :6]),
        "shapes": lambda: attention(q, k, k[:6]),
        "hint": lambda: attention(q, k, k, is_causal=True),
        "activation": lambda: n.TransformerEncoderLayer(8, 2, activation="tanh"),
        "batches": lambda: whole(q, numbers(L, 5, 3, 8)),
        "features": lambda: whole(q, numbers(L, 5, 2, 6)),
    }
    return {name: outcome(call) for name, call in calls.items()}
