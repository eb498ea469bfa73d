"""Printing tensors, character for character as PyTorch does.

All numbers of a tensor get one width. Floats are printed as integers with a point when all are
integral, in scientific notation when they span too much, else with a fixed number of decimals.
Tensors of more than ``threshold`` elements are summarised: only ``edgeitems`` at both ends of each
dimension are shown, and only those decide on the format. Content is read from the device once.
"""

from __future__ import annotations

import math
from typing import Any

from quicksilver import _C

Tensor = _C.Tensor


class _Options:
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


PRINT_OPTS = _Options()

_PROFILES = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Sets how tensors are printed.

    Args:
        precision: digits after the point (4).
        threshold: more elements than these are summarised (1000).
        edgeitems: how many are shown at each end of a summarised dimension (3).
        linewidth: characters a line (80).
        profile: "default", "short" or "full"; the other arguments change it.
        sci_mode: scientific notation always or never; None decides by the numbers.
    """
    if profile is not None:
        for name, value in _PROFILES[profile].items():
            setattr(PRINT_OPTS, name, value)
    for name, value in (
        ("precision", precision),
        ("threshold", threshold),
        ("edgeitems", edgeitems),
        ("linewidth", linewidth),
    ):
        if value is not None:
            setattr(PRINT_OPTS, name, value)
    PRINT_OPTS.sci_mode = sci_mode


def get_printoptions() -> dict[str, Any]:
    """The options that set_printoptions sets, by name."""
    names = ("precision", "threshold", "edgeitems", "linewidth", "sci_mode")
    return {name: getattr(PRINT_OPTS, name) for name in names}


class _Formatter:
    """The common format of the shown numbers of a tensor.

    Args:
        values: the shown elements as Python numbers.
        floating: whether the dtype is floating-point.
    """

    def __init__(self, values: list[Any], floating: bool) -> None:
        self.floating = floating
        self.integral = True
        self.scientific = False
        self.width = 1
        if not floating:
            self.width = max((len(str(value)) for value in values), default=1)
            return
        numbers = [value for value in values if math.isfinite(value) and value != 0]
        if not numbers:
            return
        precision = PRINT_OPTS.precision
        sizes = [abs(value) for value in numbers]
        largest, smallest = max(sizes), min(sizes)
        self.integral = all(value == math.ceil(value) for value in numbers)
        if PRINT_OPTS.sci_mode is None:
            self.scientific = largest / smallest > 1000.0 or largest > 1.0e8 or smallest < 1.0e-4
        else:
            self.scientific = PRINT_OPTS.sci_mode
        if self.scientific:
            widths = [len(f"{value:.{precision}e}") for value in numbers]
        elif self.integral:
            widths = [len(f"{value:.0f}") + 1 for value in numbers]
        else:
            widths = [len(f"{value:.{precision}f}") for value in numbers]
        self.width = max(self.width, *widths)

    def format(self, value: Any) -> str:
        if not self.floating:
            text = str(value)
        elif self.scientific:
            text = f"{value:{self.width}.{PRINT_OPTS.precision}e}"
        elif self.integral:
            text = f"{value:.0f}"
            if math.isfinite(value):
                text += "."
        else:
            text = f"{value:.{PRINT_OPTS.precision}f}"
        return " " * (self.width - len(text)) + text


class _ComplexFormatter:
    def __init__(self, values: list[complex]) -> None:
        self.real = _Formatter([value.real for value in values], True)
        self.imag = _Formatter([value.imag for value in values], True)
        self.width = self.real.width + self.imag.width + 1

    def format(self, value: complex) -> str:
        imag = self.imag.format(value.imag).lstrip()
        sign = "" if imag[0] in "+-" else "+"
        return self.real.format(value.real) + sign + imag + "j"


def _shown(size: int, summarise: bool) -> tuple[list[int], bool]:
    """The indices of a dimension that are shown, and whether some are left out."""
    edge = PRINT_OPTS.edgeitems
    if summarise and size > 2 * edge:
        return [*range(edge), *range(size - edge, size)], True
    return list(range(size)), False


class _Content:
    """The elements that are shown, as nested lists over the shown indices."""

    def __init__(self, tensor: Tensor) -> None:
        self.shape = tuple(tensor.shape)
        self.summarise = tensor.numel() > PRINT_OPTS.threshold
        if self.summarise:
            # Only the corners leave the device.
            for dim, size in enumerate(self.shape):
                _, cut = _shown(size, True)
                if cut:
                    edge = PRINT_OPTS.edgeitems
                    ends = (
                        tensor.narrow(dim, 0, edge),
                        tensor.narrow(dim, size - edge, edge),
                    )
                    tensor = _C.cat(ends, dim)
        self.nested = tensor.tolist()
        self.flat = _flattened(self.nested)


def _flattened(nested: Any) -> list[Any]:
    if not isinstance(nested, list):
        return [nested]
    flat: list[Any] = []
    for item in nested:
        if isinstance(item, list):
            flat.extend(_flattened(item))
        else:
            flat.append(item)
    return flat


def _vector(content: _Content, nested: list[Any], indent: int, formatter: Any) -> str:
    per_line = max(1, (PRINT_OPTS.linewidth - indent) // (formatter.width + 2))
    words = [formatter.format(value) for value in nested]
    edge = PRINT_OPTS.edgeitems
    size = content.shape[-1]
    if content.summarise and size > 2 * edge:
        words = [*words[:edge], " ...", *words[edge:]]
    lines = [words[i : i + per_line] for i in range(0, len(words), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(", ".join(line) for line in lines) + "]"


def _nested(content: _Content, nested: Any, dim: int, indent: int, formatter: Any) -> str:
    rank = len(content.shape)
    if dim == rank:
        return formatter.format(nested)
    if dim == rank - 1:
        return _vector(content, nested, indent, formatter)
    parts = [_nested(content, item, dim + 1, indent + 1, formatter) for item in nested]
    edge = PRINT_OPTS.edgeitems
    if content.summarise and content.shape[dim] > 2 * edge:
        parts = [*parts[:edge], "...", *parts[edge:]]
    between = "," + "\n" * (rank - dim - 1) + " " * (indent + 1)
    return "[" + between.join(parts) + "]"


def _tensor_str(tensor: Tensor, indent: int) -> str:
    if tensor.numel() == 0:
        return "[]"
    content = _Content(tensor)
    if tensor.is_complex():
        formatter: Any = _ComplexFormatter(content.flat)
    else:
        formatter = _Formatter(content.flat, tensor.is_floating_point())
    return _nested(content, content.nested, 0, indent, formatter)


def _with_suffixes(text: str, suffixes: list[str], indent: int) -> str:
    """Appends ", suffix" for each, on a new line where the line would be too long."""
    line = len(text) - text.rfind("\n") + 1
    pieces = [text]
    for suffix in suffixes:
        if line + len(suffix) + 2 > PRINT_OPTS.linewidth:
            pieces.append(",\n" + " " * indent + suffix)
            line = indent + len(suffix)
        else:
            pieces.append(", " + suffix)
            line += len(suffix) + 2
    pieces.append(")")
    return "".join(pieces)


def _plain_classes() -> tuple[type, ...]:
    import sys

    module = sys.modules.get("quicksilver.nn.parameter")
    return (module.Parameter,) if module else ()


def tensor_repr(self: Tensor) -> str:
    """The text of a tensor: its content, then what is not default about it."""
    plain_class = type(self) is Tensor or isinstance(self, _plain_classes())
    prefix = "tensor(" if plain_class else f"{type(self).__name__}("
    indent = len(prefix)
    dtype = self.dtype
    suffixes = []
    if self.device.type != "cpu":
        suffixes.append(f"device='{self.device}'")
    defaults = (_C.get_default_dtype(), _C.int64, _C.bool)
    complex_default = _C.complex128 if defaults[0] is _C.float64 else _C.complex64
    has_default = dtype in defaults or dtype is complex_default
    if self.numel() == 0:
        if self.dim() != 1:
            suffixes.append(f"size={tuple(self.shape)}")
        if dtype is not _C.get_default_dtype():  # an empty list would say the default
            suffixes.append(f"dtype={dtype}")
        text = "[]"
    else:
        if not has_default:
            suffixes.append(f"dtype={dtype}")
        plain = self.detach() if self.requires_grad else self
        text = _tensor_str(plain, indent)
    function = self.grad_fn if self.requires_grad else None
    if function is not None:
        suffixes.append(f"grad_fn=<{function.name()}>")
    elif self.requires_grad:
        suffixes.append("requires_grad=True")
    return _with_suffixes(prefix + text, suffixes, indent)
