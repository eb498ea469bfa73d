#!/usr/bin/env python3
"""Writes python/quicksilver/_C.pyi from the extension itself: rows of functions, types, constants.

Usage: PYTHONPATH=build/python scripts/make_stubs.py [--check]

With --check nothing is written; the exit status is 1 when the committed stub is out of date. What
the extension cannot say about itself (types of attributes, functions that are not rows) is in the
tables below.
"""

from __future__ import annotations

import inspect
import keyword
import re
import subprocess
import sys
from pathlib import Path

STUB = Path(__file__).resolve().parent.parent / "python" / "quicksilver" / "_C.pyi"

HEADER = '''"""The extension under the package. Written by scripts/make_stubs.py: do not edit."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

import numpy as np
from typing_extensions import Self

Number = float | int | bool | complex
'''

TYPES = {
    "Tensor": "Tensor",
    "Tensor|Number": "Tensor | Number",
    "Number": "Number",
    "int": "_int",
    "float": "_float",
    "bool": "_bool",
    "str": "str",
    "dtype": "_dtype",
    "device": "_Device",
    "Tensor[]": "Sequence[Tensor]",
    "Generator": "Generator",
    "layout": "_layout",
    "memory_format": "memory_format",
    "object": "Any",
}

# What functions return that do not return a Tensor.
RETURNS = {
    **dict.fromkeys(
        ("split", "split_with_sizes", "chunk", "unbind", "tensor_split"), "tuple[Tensor, ...]"
    ),
    **dict.fromkeys(
        ("_broadcast_tensors", "_meshgrid", "var_mean", "std_mean"), "tuple[Tensor, ...]"
    ),
    **dict.fromkeys(("sort", "topk", "aminmax"), "tuple[Tensor, Tensor]"),
    **dict.fromkeys(
        ("equal", "allclose", "is_contiguous", "is_floating_point", "is_complex", "_is_view"),
        "_bool",
    ),
    **dict.fromkeys(
        ("is_signed", "is_same_size", "is_set_to", "is_nonzero", "is_pinned", "can_cast"), "_bool"
    ),
    **dict.fromkeys(
        ("numel", "nelement", "dim", "ndimension", "element_size", "get_device"), "_int"
    ),
    **dict.fromkeys(("storage_offset", "data_ptr"), "_int"),
    **dict.fromkeys(("backward", "_backward", "retain_grad"), "None"),
    "_grad": "tuple[Tensor | None, ...]",
    "_function_node": "_Node",
    "register_hook": "_HookHandle",
    "register_post_accumulate_grad_hook": "_HookHandle",
    "promote_types": "_dtype",
    "result_type": "_dtype",
    "item": "Any",
    "size": "Any",
    "stride": "Any",
    "type": "Any",
    "nonzero": "Any",
}

ATTRIBUTES = {
    "shape": "Size", "dtype": "_dtype", "device": "_device", "layout": "_layout", "ndim": "_int",
    "itemsize": "_int", "nbytes": "_int", "is_mps": "_Flag", "is_cpu": "_Flag", "is_cuda": "_bool",
    "is_xpu": "_bool", "is_meta": "_bool", "is_sparse": "_bool", "is_sparse_csr": "_bool",
    "is_mkldnn": "_bool", "is_quantized": "_bool", "is_nested": "_bool", "_version": "_int",
    "T": "Tensor", "mT": "Tensor", "H": "Tensor", "mH": "Tensor", "real": "Tensor",
    "imag": "Tensor", "requires_grad": "_bool", "is_leaf": "_bool", "grad": "Tensor | None",
    "grad_fn": "_Node | None",
    "data": "Tensor", "retains_grad": "_bool", "output_nr": "_int", "_base": "Tensor | None",
}  # fmt: skip

BINARY = [
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
]
TENSOR_BODY = [
    "__hash__: Callable[[], _int]  # type: ignore[assignment]",
    "__array_priority__: _int",
    "def __new__(cls, *args: Any, device: _Device | None = None) -> Self: ...",
    *(f"def __{op}__(self, other: Any, /) -> Tensor: ..." for op in BINARY),
    *(f"def __r{op}__(self, other: Any, /) -> Tensor: ..." for op in BINARY),
    *(f"def __i{op}__(self, other: Any, /) -> Self: ..." for op in BINARY if op != "matmul"),
    *(
        f"def __{op}__(self, other: Any, /) -> Tensor: ...  # type: ignore[override]"
        for op in ("eq", "ne")
    ),
    *(f"def __{op}__(self, other: Any, /) -> Tensor: ..." for op in ("lt", "le", "gt", "ge")),
    *(f"def __{op}__(self) -> Tensor: ..." for op in ("neg", "pos", "abs", "invert")),
    "def __bool__(self) -> _bool: ...",
    "def __int__(self) -> _int: ...",
    "def __float__(self) -> _float: ...",
    "def __index__(self) -> _int: ...",
    "def __len__(self) -> _int: ...",
    "def __iter__(self) -> Iterator[Tensor]: ...",
    "def __contains__(self, item: Any, /) -> _bool: ...",
    "def __getitem__(self, key: Any, /) -> Tensor: ...",
    "def __setitem__(self, key: Any, value: Tensor | Number, /) -> None: ...",
    "def __array__(self, dtype: Any = None, copy: _bool | None = None) -> np.ndarray: ...",
    "def __dlpack__(self, *, stream: _int | None = None, max_version: tuple[_int, _int] | None"
    " = None, dl_device: tuple[_int, _int] | None = None, copy: _bool | None = None) -> Any: ...",
    "def __dlpack_device__(self) -> tuple[_int, _int]: ...",
    "def numpy(self, *, force: _bool = False) -> np.ndarray: ...",
    "def tolist(self) -> Any: ...",
    "def as_subclass(self, cls: Any, /) -> Any: ...",
    "@staticmethod",
    "def _make_subclass(cls: Any, data: Tensor, require_grad: _bool = False) -> Any: ...",
]

SMALL_TYPES = """
class dtype:
    is_floating_point: _bool
    is_complex: _bool
    is_signed: _bool
    itemsize: _int
    def to_complex(self) -> dtype: ...
    def to_real(self) -> dtype: ...

class device:
    type: str
    index: _int | None
    def __init__(self, type: device | str | _int, index: _int | None = None) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *args: object) -> None: ...

class layout: ...
class memory_format: ...

class Size(tuple[_int, ...]):
    def numel(self) -> _int: ...

class _Flag(_int):
    def __call__(self) -> _bool: ...

class Generator:
    device: device
    def __init__(self, device: _Device | None = None) -> None: ...
    def manual_seed(self, seed: _int, /) -> Self: ...
    def seed(self) -> _int: ...
    def initial_seed(self) -> _int: ...
    def get_state(self) -> Tensor: ...
    def set_state(self, state: Tensor, /) -> Self: ...

class finfo:
    bits: _int
    eps: _float
    max: _float
    min: _float
    tiny: _float
    smallest_normal: _float
    resolution: _float
    dtype: str
    def __init__(self, dtype: Any = ..., /) -> None: ...

class iinfo:
    bits: _int
    max: _int
    min: _int
    dtype: str
    def __init__(self, dtype: Any, /) -> None: ...

class _Node:
    next_functions: tuple[tuple[_Node | None, _int], ...]
    def name(self) -> str: ...

class _SavedTensor:
    def __init__(self, tensor: Tensor, is_output: _bool = False, /) -> None: ...
    def unpack(self, node: Any, /) -> Tensor: ...

class _HookHandle:
    def remove(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *args: object) -> None: ...

class _ModuleBase:
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def __getattr__(self, name: str) -> Any: ...
"""
KNOWN_TYPES = set(re.findall(r"^class (\w+)", SMALL_TYPES, re.M)) | {"Tensor"}


def annotation(kind: str) -> str:
    """The Python type of a signature's type."""
    optional = kind.endswith("?")
    kind = kind.removesuffix("?")
    if kind.startswith("int["):
        text = "Sequence[_int]" if kind == "int[]" else "_int | Sequence[_int]"
    else:
        text = TYPES[kind]
    return text + " | None" if optional else text


def parameters(signature: str, method: bool, out: bool) -> tuple[str, str | None]:
    """The parameter list, and that of the variant with bare ints when there is one."""
    parts = [part.strip() for part in signature.split(",") if part.strip()]
    if method:
        parts = parts[1:]
    result, keyword_only, positional, bare = [], False, 0, None
    for part in parts:
        if part == "*":
            keyword_only = True
            result.append("*")
            continue
        kind, name = part.split(" ", 1)
        name, _, default = name.partition("=")
        hint = annotation(kind)
        if default == "None" and "None" not in hint and hint != "Any":
            hint += " | None"
        if keyword.iskeyword(name):
            name += "_"
        if not keyword_only:
            positional += 1
            bare = f"*{name}: _int" if kind == "int[]" else None
        result.append(f"{name}: {hint}" + (f" = {default}" if default else ""))
    if out:
        if not keyword_only:
            result.append("*")
        result.append("out: Any = None")
    variant = None
    if positional == 1 and bare:
        variant = ", ".join([bare, *(r for r in result[1:] if r != "*")])
    return ", ".join(result), variant


def definitions(rows: list[tuple[str, str, str]], method: bool) -> list[str]:
    """Stub lines of rows, overloads grouped by name."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, flags, text in rows:
        groups.setdefault(name, []).append((flags, text))
    lines = []
    for name, overloads in sorted(groups.items()):
        lists = []
        for flags, text in overloads:
            signature = text[len(name) + 1 : text.index(")\n")]
            for variant in parameters(signature, method, "o" in flags):
                if variant is not None and variant not in lists:
                    lists.append(variant)
        returns = RETURNS.get(name, "Self" if method and name.endswith("_") else "Tensor")
        if name in ("max", "min"):
            returns = "Any"
        for listed in lists:
            if len(lists) > 1:
                lines.append("@overload")
            inner = ", ".join(filter(None, ["self" if method else "", listed]))
            lines.append(f"def {name}({inner}) -> {returns}: ...")
    return lines


def generate() -> str:
    """The text of the stub, formatted."""
    from quicksilver import _C

    rows = _C._signatures()
    out = [HEADER]
    out += [
        "_int = int",
        "_float = float",
        "_bool = bool",
        SMALL_TYPES,
        "_dtype = dtype",
        "_device = device",
        "_layout = layout",
        "_Device = device | str | int",
        "",
        "class Tensor:",
    ]
    getset = {name for name, value in vars(_C.Tensor).items() if inspect.isgetsetdescriptor(value)}
    for name in sorted(getset - {"__dict__"}):
        out.append(f"    {name}: {ATTRIBUTES[name]}")
    out += ["    " + line for line in TENSOR_BODY]
    out += ["    " + line for line in definitions([r for r in rows if "m" in r[1]], True)]
    functions = [r for r in rows if "f" in r[1]]
    named = {name for name, _, _ in functions}
    errors, constants, others = [], [], []
    for name in sorted(set(dir(_C)) - named - KNOWN_TYPES):
        value = getattr(_C, name)
        if name.startswith("__") and name != "__version__":
            continue
        if inspect.isclass(value):
            errors.append(f"class {name}(RuntimeError): ...")
        elif callable(value):
            others.append(f"def {name}(*args: Any, **kwargs: Any) -> Any: ...")
        elif name != "_nn":
            constants.append(f"{name}: {'str' if isinstance(value, str) else type(value).__name__}")
    out += ["", *errors, *constants, *others, *definitions(functions, False)]
    out += ["class _nn:"]
    for line in definitions([r for r in rows if "n" in r[1]], False):
        out += [f"    {line}"] if line == "@overload" else ["    @staticmethod", f"    {line}"]
    text = "\n".join(out) + "\n"
    text = text.replace("Any, Generic, TypeVar, overload", "Any, overload")
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(STUB), "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def main() -> int:
    text = generate()
    if "--check" in sys.argv[1:]:
        current = STUB.exists() and STUB.read_text(encoding="utf-8") == text
        if not current:
            print(
                "python/quicksilver/_C.pyi is out of date: run scripts/make_stubs.py",
                file=sys.stderr,
            )
        return 0 if current else 1
    STUB.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
