"""einsum as permutations and batched matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quicksilver import _C

Tensor = _C.Tensor
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def einsum(*args: Any) -> Tensor:
    """See quicksilver.einsum."""
    if len(args) < 2:
        raise ValueError(
            "einsum(): must specify the equation string and at least one operand, or at least one"
            " operand and its subscripts list"
        )
    if isinstance(args[0], Tensor):
        equation, operands = _from_lists(args)
    else:
        equation, operands = args[0], list(args[1:])
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = list(operands[0])
    inputs, output = _parse(equation, operands)
    terms = [_diagonals(operand, labels) for operand, labels in zip(operands, inputs, strict=True)]
    result, labels = terms[0]
    for i, (operand, others) in enumerate(terms[1:], 1):
        needed = set(output).union(*(label for _, label in terms[i + 1 :]))
        result, labels = _contract(result, labels, operand, others, needed)
    summed = [i for i, label in enumerate(labels) if label not in output]
    if summed:
        result = result.sum(summed)
        labels = [label for label in labels if label in output]
    return result.permute([labels.index(label) for label in output])


def _from_lists(args: Sequence[Any]) -> tuple[str, list[Tensor]]:
    """The spelling einsum(x, [0, 1], y, [1, 2], [0, 2]) as an equation."""

    def text(labels: Any) -> str:
        return "".join("..." if label is Ellipsis else _LETTERS[label] for label in labels)

    pairs = len(args) // 2
    equation = ",".join(text(args[2 * i + 1]) for i in range(pairs))
    if len(args) % 2:
        equation += "->" + text(args[-1])
    return equation, [args[2 * i] for i in range(pairs)]


def _parse(equation: str, operands: list[Tensor]) -> tuple[list[list[str]], list[str]]:
    """The labels of each operand and of the output; "..." becomes the labels 0, 1, ... from the
    right."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        more = "fewer" if len(terms) > len(operands) else "more"
        raise ValueError(f"einsum(): {more} operands were provided than specified in the equation")
    inputs = []
    widest = 0
    for i, (term, operand) in enumerate(zip(terms, operands, strict=True)):
        named = len(term.replace("...", "", 1))
        rest = operand.dim() - named if "..." in term else 0
        if rest < 0 or named + rest != operand.dim():
            raise ValueError(
                f"einsum(): the number of subscripts in the equation ({named}) does not match the"
                f" number of dimensions ({operand.dim()}) for operand {i} and no ellipsis was given"
            )
        widest = max(widest, rest)
        inputs.append(_labels(term, rest))
    letters = [label for labels in inputs for label in labels if label.isalpha()]
    if arrow:
        output = _labels(right, widest)
        for label in output:
            if label.isalpha() and label not in letters:
                raise ValueError(
                    f"einsum(): output subscript {label} does not appear in the equation for any"
                    " input operand"
                )
            if output.count(label) > 1:
                raise ValueError(
                    f"einsum(): output subscript {label} appears more than once in the output"
                )
    else:
        once = sorted(label for label in set(letters) if letters.count(label) == 1)
        output = [str(k) for k in range(widest - 1, -1, -1)] + once
    return inputs, output


def _labels(term: str, rest: int) -> list[str]:
    before, dots, after = term.partition("...")
    middle = [str(k) for k in range(rest - 1, -1, -1)] if dots else []
    labels = [*before, *middle, *after]
    for label in (*before, *after):
        if not label.isalpha():
            raise ValueError(
                f"einsum(): invalid subscript given at index {term.index(label)} in the equation"
                " string, subscripts must be in [a-zA-Z]"
            )
    return labels


def _diagonals(operand: Tensor, labels: list[str]) -> tuple[Tensor, list[str]]:
    """The operand with each label once."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            if operand.size(first) != operand.size(second):
                raise RuntimeError(
                    f"einsum(): subscript {label} is repeated but its extents differ:"
                    f" {operand.size(first)} and {operand.size(second)}"
                )
            operand = operand.diagonal(0, first, second)  # the diagonal becomes the last dimension
            labels = [other for i, other in enumerate(labels) if i not in (first, second)] + [label]
    return operand, labels


def _contract(
    x: Tensor, x_labels: list[str], y: Tensor, y_labels: list[str], needed: set[str]
) -> tuple[Tensor, list[str]]:
    """The product of two operands, summed over labels that are needed no more."""
    size: dict[str, int] = {}
    for tensor, labels in ((x, x_labels), (y, y_labels)):
        for i, label in enumerate(labels):
            extent = tensor.size(i)
            if size.setdefault(label, extent) == 1:
                size[label] = extent
            elif extent not in (1, size[label]):
                raise RuntimeError(
                    f"einsum(): subscript {label} has size {extent} for an operand which does not"
                    f" broadcast with previously seen size {size[label]}"
                )
    both = [label for label in x_labels if label in y_labels]
    batch = [label for label in both if label in needed]
    inner = [label for label in both if label not in needed]
    x, rows = _without(x, x_labels, y_labels, needed)
    y, columns = _without(y, y_labels, x_labels, needed)
    x_order, y_order = batch + rows + inner, batch + inner + columns
    x = _arranged(x, [k for k in x_labels if k in x_order], x_order, size, both)
    y = _arranged(y, [k for k in y_labels if k in y_order], y_order, size, both)

    def product(labels: list[str]) -> int:
        count = 1
        for label in labels:
            count *= size[label]
        return count

    shape = [size[label] for label in batch]
    x = x.reshape([*shape, product(rows), product(inner)])
    y = y.reshape([*shape, product(inner), product(columns)])
    labels = batch + rows + columns
    return x.matmul(y).reshape([size[label] for label in labels]), labels


def _without(
    tensor: Tensor, labels: list[str], others: list[str], needed: set[str]
) -> tuple[Tensor, list[str]]:
    """The operand summed over what only it has and nobody needs; and what only it has then."""
    alone = [label for label in labels if label not in others]
    summed = [labels.index(label) for label in alone if label not in needed]
    if summed:
        tensor = tensor.sum(summed)
    return tensor, [label for label in alone if label in needed]


def _arranged(
    tensor: Tensor, labels: list[str], order: list[str], size: dict[str, int], both: list[str]
) -> Tensor:
    tensor = tensor.permute([labels.index(label) for label in order])
    return tensor.expand([size[label] for label in order])
