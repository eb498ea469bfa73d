"""Padding sequences of different lengths to one tensor, and back."""

from __future__ import annotations

from typing import Any

from quicksilver import _C

Tensor = _C.Tensor


def pad_sequence(
    sequences: Any,
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Stacks tensors [L_i, *] to [T, B, *] (or [B, T, *]) with T the longest length.

    Raises:
        ValueError: padding_side is neither "left" nor "right".
    """
    if padding_side not in ("left", "right"):
        raise ValueError(f"padding_side should be 'left' or 'right', got {padding_side}")
    sequences = list(sequences)
    if not sequences:
        raise RuntimeError("received an empty list of sequences")
    longest = max(sequence.size(0) for sequence in sequences)
    first = sequences[0]
    shape = (len(sequences), longest, *first.shape[1:])
    out = _C.full(shape, padding_value, dtype=first.dtype, device=first.device)
    for i, sequence in enumerate(sequences):
        length = sequence.size(0)
        start = 0 if padding_side == "right" else longest - length
        out[i, start : start + length] = sequence
    return out if batch_first else out.transpose(0, 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False
) -> list[Tensor]:
    """The sequences that pad_sequence stacked, from their lengths."""
    padded = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [padded[i, : int(length)] for i, length in enumerate(lengths.tolist())]
