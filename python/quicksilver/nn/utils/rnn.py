"""Sequences of different lengths: padded to one tensor, or packed without padding, and back."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

from quicksilver import _C

Tensor = _C.Tensor


class _Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Packed):
    """The steps of several sequences, step by step, the longest sequence first.

    Attributes:
        data: [sum of lengths, *], all first steps, then all second steps, ...
        batch_sizes: how many sequences have each step; an int64 tensor on cpu.
        sorted_indices: the order that puts the longest first; None when it was so.
        unsorted_indices: the way back.
    """

    def __new__(
        cls,
        data: Tensor,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if batch_sizes is None:
            raise ValueError("batch_sizes is missing")
        if batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be"
                " created manually. They should be instantiated by functions like"
                " pack_sequence and pack_padded_sequences in nn.utils.rnn."
            )
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """Moves or casts the data, as Tensor.to; the indices follow to its device."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        order, back = (
            i if i is None else i.to(data.device)
            for i in (self.sorted_indices, self.unsorted_indices)
        )
        return type(self)(data, self.batch_sizes, order, back)

    def cpu(self) -> PackedSequence:
        return self.to("cpu")

    def mps(self) -> PackedSequence:
        return self.to("mps")

    def double(self) -> PackedSequence:
        return self.to(_C.float64)

    def float(self) -> PackedSequence:
        return self.to(_C.float32)

    def half(self) -> PackedSequence:
        return self.to(_C.float16)

    def long(self) -> PackedSequence:
        return self.to(_C.int64)

    def int(self) -> PackedSequence:
        return self.to(_C.int32)

    @property
    def is_cuda(self) -> bool:
        return False

    def is_pinned(self) -> bool:
        return False


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes one."""
    return None if permutation is None else _C.argsort(permutation)


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Packs [T, B, *] (or [B, T, *]) of padded sequences.

    Args:
        input: the padded sequences.
        lengths: of each; a list, or an int64 tensor on cpu.
        enforce_sorted: the longest must come first; otherwise they are sorted here.

    Raises:
        RuntimeError: a length is not positive or too large, their number is not B, or they are not
            sorted.
    """
    lengths = _C.as_tensor(lengths, dtype=_C.int64, device="cpu")
    if lengths.dim() != 1:
        raise RuntimeError(
            f"'lengths' argument should be a 1D CPU int64 tensor, but got {lengths.dim()}D cpu"
            " Long tensor"
        )
    if input.numel() == 0:
        raise RuntimeError("Cannot pack empty tensors.")
    x = input.transpose(0, 1) if batch_first else input
    order: Tensor | None = None
    if not enforce_sorted:
        lengths, order = _C.sort(lengths, descending=True)
        x = x.index_select(1, order.to(x.device))
    sizes: list[Any] = lengths.tolist()
    if len(sizes) != x.size(1):
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(sizes)}"
            f" (batch_size={x.size(1)})"
        )
    if any(a < b for a, b in pairwise(sizes)):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You"
            " can pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to"
            " sidestep this requirement if you do not need ONNX exportability."
        )
    if sizes[-1] <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths'"
            " that is <= 0"
        )
    if sizes[0] > x.size(0):
        raise RuntimeError(f"a length of {sizes[0]} is more than the {x.size(0)} steps there are")
    parts, batch_sizes, start = [], [], 0
    for count in range(len(sizes), 0, -1):  # rows are dropped from the end, as sequences end
        end = sizes[count - 1]
        if end > start:
            parts.append(x[start:end, :count].reshape(-1, *x.shape[2:]))
            batch_sizes += [count] * (end - start)
            start = end
    if order is not None:
        order = order.to(input.device)
    return PackedSequence(_C.cat(parts), _C.tensor(batch_sizes, device="cpu"), order)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """(padded [T, B, *], or [B, T, *]; the lengths), in the order before packing.

    Raises:
        ValueError: total_length is less than the longest length.
    """
    sizes: list[Any] = sequence.batch_sizes.tolist()
    longest = len(sizes)
    if total_length is not None and total_length < longest:
        raise ValueError(
            "Expected total_length to be at least the length of the longest sequence in input, but"
            f" got total_length={total_length} and max sequence length being {longest}"
        )
    data, batch = sequence.data, sizes[0]
    steps, start, lengths = [], 0, [0] * batch
    for t, size in enumerate(sizes):
        rows = data[start : start + size]
        start += size
        if size < batch:
            shape = (batch - size, *data.shape[1:])
            fill = _C.full(shape, padding_value, dtype=data.dtype, device=data.device)
            rows = _C.cat([rows, fill])
        steps.append(rows)
        lengths[:size] = [t + 1] * size
    if total_length is not None and total_length > longest:
        shape = (batch, *data.shape[1:])
        fill = _C.full(shape, padding_value, dtype=data.dtype, device=data.device)
        steps += [fill] * (total_length - longest)
    padded, counts = _C.stack(steps), _C.tensor(lengths, device="cpu")
    if batch_first:
        padded = padded.transpose(0, 1)
    back = sequence.unsorted_indices
    if back is not None:
        padded = padded.index_select(0 if batch_first else 1, back)
        counts = counts.index_select(0, back.cpu())
    return padded, counts


def pack_sequence(sequences: Any, enforce_sorted: bool = True) -> PackedSequence:
    """Packs a list of tensors [L_i, *]."""
    lengths = [sequence.size(0) for sequence in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The list that pack_sequence packed."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)


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
    count, rest = len(sequences), first.shape[1:]
    shape = (count, longest, *rest) if batch_first else (longest, count, *rest)
    out = _C.full(shape, padding_value, dtype=first.dtype, device=first.device)
    for i, sequence in enumerate(sequences):
        length = sequence.size(0)
        start = 0 if padding_side == "right" else longest - length
        part = slice(start, start + length)
        out[(i, part) if batch_first else (part, i)] = sequence
    return out


def unpad_sequence(
    padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False
) -> list[Tensor]:
    """The sequences that pad_sequence stacked, from their lengths."""
    padded = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [padded[i, : int(length)] for i, length in enumerate(lengths.tolist())]
