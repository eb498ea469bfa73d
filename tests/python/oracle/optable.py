"""The rows of graph/ops.def, verbs.h and gradients.def, read as text."""

from __future__ import annotations

import re
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[3] / "src" / "quicksilver"


def _without_comments(path: Path) -> str:
    return re.sub(r"//[^\n]*", "", path.read_text())


def op_names() -> list[str]:
    """The ops in table order."""
    text = _without_comments(SOURCES / "graph" / "ops.def")
    return re.findall(r"^(?:OP|MAP[123])\((\w+),", text, re.MULTILINE)


def gradient_rows() -> dict[str, list[str]]:
    """op -> its rows' kinds: GRAD, NO_GRAD or UNKNOWN."""
    text = _without_comments(SOURCES / "autograd" / "gradients.def")
    rows: dict[str, list[str]] = {}
    for kind, op in re.findall(r"^(GRAD|NO_GRAD|UNKNOWN)\((\w+)", text, re.MULTILINE):
        rows.setdefault(op, []).append(kind)
    return rows


def verb_names() -> list[str]:
    """The public verbs, in-place forms left out."""
    text = _without_comments(SOURCES / "autograd" / "verbs.h")
    lists = re.findall(r"#define QS_\w+_VERBS\(V\)((?:.*\\\n)*.*)\n", text)
    names = [n for body in lists for n in re.findall(r"V\((\w+)\)", body)]
    names += re.findall(r"^QS_API [^\n(]*?(\w+)\(", text, re.MULTILINE)
    return sorted({n for n in names if not n.endswith("_") or n == "std_"} - {"name"})
