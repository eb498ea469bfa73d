"""Losses over several classes or sequences: margins, multi-label ones, CTC."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from quicksilver import _C
from quicksilver.nn._losses import _reduced, _reduction, pairwise_distance

Tensor = _C.Tensor


def _rows(input: Tensor, name: str) -> Tensor:
    if input.dim() not in (1, 2) or input.size(-1) == 0:
        raise RuntimeError(
            "Expected non-empty vector or matrix with optional 0-dim batch size, but got:"
            f" {list(input.shape)}"
        )
    return input if input.dim() == 2 else input.unsqueeze(0)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """sum over j other than y of max(0, w_y (margin - x_y + x_j))^p / C; x is [N, C] or [C]."""
    reduction = _reduction(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.dim() != 1:
        raise ValueError("weight must be one-dimensional")
    x, y = _rows(input, "multi_margin_loss"), target.reshape(-1)
    if y.numel() != x.size(0):
        raise RuntimeError(
            "multi_margin_loss: target tensor should be 1-D with size equal to the number of input"
            f" samples (batch size). Expected target size [{x.size(0)}], but got"
            f" {list(target.shape)}. Input has shape {list(input.shape)}."
        )
    own = x.gather(1, y.unsqueeze(1))
    loss = (margin - own + x).clamp(min=0)
    if p == 2:
        loss = loss.square()
    if weight is not None:
        loss = loss * weight[y].unsqueeze(1)
    others = _C.arange(x.size(1), device=x.device) != y.unsqueeze(1)
    loss = _C.where(others, loss, 0.0).sum(1) / x.size(1)
    return _reduced(loss if input.dim() == 2 else loss.squeeze(0), reduction)


def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """sum over labels y and classes j that are none of max(0, 1 - (x_y - x_j)) / C.

    A row of target lists class indices up to the first -1.
    """
    reduction = _reduction(reduction, size_average, reduce)
    x = _rows(input, "multilabel_margin_loss")
    if target.shape != input.shape:
        raise RuntimeError(
            f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}"
        )
    y = target.reshape(x.shape)
    listed = (y < 0).cumsum(1) == 0
    index = _C.where(listed, y, 0)
    own = x.gather(1, index)  # [N, labels]
    marks = _C.zeros(x.shape, dtype=_C.int64, device=x.device).scatter_add(1, index, listed.long())
    margins = (1 - own.unsqueeze(2) + x.unsqueeze(1)).clamp(min=0)
    counts = listed.unsqueeze(2) & (marks == 0).unsqueeze(1)
    loss = _C.where(counts, margins, 0.0).sum((1, 2)) / x.size(1)
    return _reduced(loss if input.dim() == 2 else loss.squeeze(0), reduction)


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over classes of -(y log sigmoid(x) + (1 - y) log sigmoid(-x))."""
    reduction = _reduction(reduction, size_average, reduce)
    log = _C._nn.log_sigmoid
    loss = -(target * log(input) + (1 - target) * log(-input))
    if weight is not None:
        loss = loss * weight
    return _reduced(loss.sum(-1) / input.size(-1), reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(a, p) - d(a, n) + margin); with swap d(p, n) counts where it is smaller."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    if not anchor.dim() == positive.dim() == negative.dim():
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of"
            f" dimensions, but got: anchor {anchor.dim()}D, positive {positive.dim()}D, and"
            f" negative {negative.dim()}D inputs"
        )
    distance = distance_function or pairwise_distance
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = _C.minimum(far, distance(positive, negative))
    return _reduced((margin + near - far).clamp(min=0), reduction)


_NONE = -1e30  # a logarithm of probability 0 whose differences are numbers


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log of the probability of all alignments of a target (Graves et al. 2006).

    Args:
        log_probs: [T, N, C] or [T, C], logarithms of class probabilities.
        targets: [N, S], or all targets one behind the other; none is ``blank``.
        input_lengths, target_lengths: [N], how much of each counts.
        reduction: "mean" divides by target lengths first.
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    single = log_probs.dim() == 2
    x = log_probs.unsqueeze(1) if single else log_probs
    device, (steps, batch, classes) = x.device, x.shape
    if not 0 <= blank < classes:
        raise RuntimeError("blank must be in label range")
    heard = _C.as_tensor(input_lengths).reshape(-1).to(device)
    said = _C.as_tensor(target_lengths).reshape(-1).to(device)
    if heard.numel() != batch:
        raise RuntimeError("input_lengths must be of size batch_size")
    if said.numel() != batch:
        raise RuntimeError("target_lengths must be of size batch_size")
    if int(heard.max()) > steps:
        raise RuntimeError(
            f"Expected input_lengths to have value at most {steps}, but got value"
            f" {int(heard.max())} (while checking arguments for ctc_loss_allocate_outputs)"
        )
    longest = int(said.max()) if said.numel() else 0
    places = _C.arange(longest, device=device)
    labels = targets.to(device).long()
    if targets.dim() == 1 and not single:
        start = (said.cumsum(0) - said).unsqueeze(1)
        at = (start + places).clamp(max=max(labels.numel() - 1, 0))
        rows = labels[at] if labels.numel() else _C.zeros(batch, 0, dtype=_C.int64, device=device)
    else:
        rows = (labels.unsqueeze(0) if labels.dim() == 1 else labels)[:, :longest]
    rows = _C.where(places < said.unsqueeze(1), rows, blank)
    # Blanks between and around: position s of [0, 2 S + 1).
    between = _C.full((batch, longest), blank, dtype=_C.int64, device=device)
    first = _C.full((batch, 1), blank, dtype=_C.int64, device=device)
    path = _C.cat([first, _C.stack([rows, between], 2).reshape(batch, -1)], 1)
    size = path.size(1)
    never = _C.full((batch, 2), _NONE, dtype=x.dtype, device=device)
    skips = _C.zeros(batch, size, dtype=_C.bool, device=device)
    if size > 2:
        skips = _C.cat([skips[:, :2], (path[:, 2:] != blank) & (path[:, 2:] != path[:, :-2])], 1)
    seen = x.gather(2, path.expand(steps, batch, size)) if size else x[..., :0]
    alpha = _C.where(_C.arange(size, device=device) < 2, seen[0], _NONE)
    for t in range(1, steps):
        before = _C.cat([never[:, :1], alpha[:, :-1]], 1)
        skipped = _C.cat([never[:, : min(size, 2)], alpha[:, :-2]], 1)
        reached = _C.logaddexp(alpha, before)
        reached = _C.logaddexp(reached, _C.where(skips, skipped, _NONE))
        alpha = _C.where((t < heard).unsqueeze(1), (reached + seen[t]).clamp(min=_NONE), alpha)
    last = (2 * said).unsqueeze(1)
    end = alpha.gather(1, last).squeeze(1)
    other = alpha.gather(1, (last - 1).clamp(min=0)).squeeze(1)
    total = _C.logaddexp(end, _C.where(said > 0, other, _NONE))
    possible = total > _NONE / 2
    loss = _C.where(possible, -total, 0.0 if zero_infinity else math.inf)
    if reduction == "mean":
        return (loss / said.clamp(min=1)).mean()
    if reduction == "sum":
        return loss.sum()
    return loss.squeeze(0) if single else loss
