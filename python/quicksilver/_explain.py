"""``quicksilver.explain(fn, *args)``: which ops became which kernels, and what crossed memory."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Callable
from typing import Any

from quicksilver import _C


def _size(count: int) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 10_000:
            return f"{count:.4g} {unit}"
        count /= 1000
    return f"{count:.4g} GB"


def _counted(names: list[str]) -> list[str]:
    """Equal neighbours once: ["mul", "mul", "add"] becomes ["2 mul", "add"]."""
    runs: list[tuple[str, int]] = []
    for name in names:
        if runs and runs[-1][0] == name:
            runs[-1] = (name, runs[-1][1] + 1)
        else:
            runs.append((name, 1))
    return [name if count == 1 else f"{count} {name}" for name, count in runs]


class Explanation:
    """What the planner made of one call; printing it gives the text, a notebook shows the picture.

    Attributes:
        result: what the function returned.
        plans: one dict a plan that ran, in order: ``device``, ``recorded`` ops, ``dropped`` of
            them, ``commands`` of the driver, ``arena_bytes`` and ``launches``. A launch has its
            ``kind`` (map, row, column: generated kernels; matmul and kernel: library calls and
            hand-written ones), ``loops``, ``ops`` (name and the line that called it) and
            ``crossings``: the tensors that it reads from memory or writes there, with ``bytes``
            and ``why``.
    """

    def __init__(self, result: Any, plans: list[dict[str, Any]]) -> None:
        self.result = result
        self.plans = plans

    @property
    def launches(self) -> int:
        """Kernels that were started."""
        return sum(plan["commands"] for plan in self.plans)

    @property
    def ops(self) -> int:
        """Ops that were recorded."""
        return sum(plan["recorded"] for plan in self.plans)

    @property
    def bytes(self) -> int:
        """Bytes that the kernels read and wrote."""
        return sum(
            crossing["bytes"]
            for plan in self.plans
            for launch in plan["launches"]
            for crossing in launch["crossings"]
        )

    def __str__(self) -> str:
        if not self.plans:
            return "nothing ran on a device: no op was recorded, or nobody needs its result"
        lines: list[str] = []
        for number, plan in enumerate(self.plans):
            lines.append(
                f"plan {number} on {plan['device']}: {plan['recorded']} ops recorded"
                f" ({plan['dropped']} dropped or merged with an equal one),"
                f" {plan['commands']} launches, scratch memory {_size(plan['arena_bytes'])}"
            )
            for place, launch in enumerate(plan["launches"]):
                lines += self._launch_lines(place, launch)
        lines.append(f"in all {self.ops} ops, {self.launches} launches, {_size(self.bytes)} moved")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Explanation: {self.ops} ops, {self.launches} launches, {_size(self.bytes)} moved>"

    @staticmethod
    def _launch_lines(place: int, launch: dict[str, Any]) -> list[str]:
        names = ", ".join(_counted([op["name"] for op in launch["ops"]]))
        lines = [f"  launch {place}: {launch['kind']} {launch['loops']}".rstrip() + f": {names}"]
        called = sorted({op["line"] for op in launch["ops"] if op["line"]})
        if called:
            lines.append(f"    called at {', '.join(called)}")
        for crossing in launch["crossings"]:
            verb = "writes" if crossing["write"] else "reads "
            lines.append(
                f"    {verb} {crossing['tensor']:<22} {_size(crossing['bytes']):>9}"
                f"  {crossing['why']}"
            )
        return lines

    def svg(self) -> str:
        """The picture: a box for each launch, downwards in order; left what it reads from older
        memory, right what it writes and why, arcs from each launch to those that read from it."""
        return _Picture(self.plans).draw()

    def _repr_svg_(self) -> str:
        return self.svg()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the picture (``.svg``), the facts (``.json``) or the text (any other name)."""
        name = os.fspath(path)
        if name.endswith(".svg"):
            content = self.svg()
        elif name.endswith(".json"):
            content = json.dumps(self.plans, indent=1)
        else:
            content = str(self) + "\n"
        with open(name, "w", encoding="utf-8") as file:
            file.write(content)


_LEFT, _BOX, _GUTTER, _RIGHT, _LINE = 220, 340, 74, 520, 15  # columns and line height, pixels
_COLOURS = {"map": "#dbeafe", "row": "#dcfce7", "column": "#dcfce7", "matmul": "#fde68a"}
_MOST_NAMES = 46  # characters a line of op names


class _Picture:
    def __init__(self, plans: list[dict[str, Any]]) -> None:
        self.plans = plans
        self.parts: list[str] = []
        self.y = 12

    def draw(self) -> str:
        for number, plan in enumerate(self.plans):
            self._text(8, self.y + 12, f"plan {number} on {plan['device']}", weight="bold")
            self.y += 24
            self._plan(plan)
        width = _LEFT + _BOX + _GUTTER + _RIGHT
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{self.y + 8}"'
            ' font-family="sans-serif" font-size="11">'
            '<rect width="100%" height="100%" fill="white"/>' + "".join(self.parts) + "</svg>"
        )

    def _text(self, x: float, y: float, text: str, anchor: str = "start", weight: str = "") -> None:
        bold = f' font-weight="{weight}"' if weight else ""
        self.parts.append(
            f'<text x="{x}" y="{y}" text-anchor="{anchor}"{bold}>{html.escape(text)}</text>'
        )

    def _arrow(self, path: str) -> None:
        self.parts.append(f'<path d="{path}" fill="none" stroke="#64748b"/>')

    @staticmethod
    def _wrapped(launch: dict[str, Any]) -> list[str]:
        lines = [""]
        for name in _counted([op["name"] for op in launch["ops"]]):
            if lines[-1] and len(lines[-1]) + len(name) > _MOST_NAMES:
                lines.append("")
            lines[-1] += (" " if lines[-1] else "") + name
        return lines

    def _plan(self, plan: dict[str, Any]) -> None:
        middle: list[float] = []  # of each box
        for place, launch in enumerate(plan["launches"]):
            names = self._wrapped(launch)
            reads = [c for c in launch["crossings"] if not c["write"] and c["from"] < 0]
            kept = [c for c in launch["crossings"] if c["write"]]
            rows = max(len(names) + 1, len(reads), len(kept))
            height = rows * _LINE + 10
            colour = _COLOURS.get(launch["kind"], "#fecaca")
            self.parts.append(
                f'<rect x="{_LEFT}" y="{self.y}" width="{_BOX}" height="{height}" rx="6"'
                f' fill="{colour}" stroke="#475569"/>'
            )
            title = f"{place}: {launch['kind']} {launch['loops']}".rstrip()
            for row, line in enumerate([title, *names]):
                weight = "bold" if row == 0 else ""
                self._text(_LEFT + 8, self.y + 14 + row * _LINE, line, weight=weight)
            for row, crossing in enumerate(reads):
                y = self.y + 14 + row * _LINE
                label = f"{crossing['tensor']} {_size(crossing['bytes'])}"
                self._text(_LEFT - 26, y, label, anchor="end")
                self._arrow(f"M{_LEFT - 22} {y - 4} h18 m-5 -3 l5 3 l-5 3")
            for row, crossing in enumerate(kept):
                y = self.y + 14 + row * _LINE
                label = f"{crossing['tensor']} {_size(crossing['bytes'])}: {crossing['why']}"
                self._text(_LEFT + _BOX + _GUTTER, y, label)
            middle.append(self.y + height / 2)
            for maker in sorted({c["from"] for c in launch["crossings"] if not c["write"]}):
                if 0 <= maker < place:
                    self._arc(middle[maker], middle[place])
            self.y += height + 14

    def _arc(self, above: float, below: float) -> None:
        bend = 12 + min(_GUTTER - 14.0, (below - above) / 5)
        x = _LEFT + _BOX
        self._arrow(f"M{x} {above} C{x + bend} {above} {x + bend} {below} {x} {below}")


def explain(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Explanation:
    """Calls ``fn(*args, **kwargs)`` and tells what the planner made of it.

    What was recorded before runs first, what the function records runs before this returns, and its
    result is kept, so that its tensors count as needed. Plans are built for this one call and not
    kept; the values computed are the ordinary ones. Ops on the ``cpu`` device run one by one and
    show as plans of one op.

    Example:
        >>> x = quicksilver.randn(64, 256, device="mps")
        >>> print(quicksilver.explain(lambda: (x * 2 + 1).softmax(-1)))

    Raises:
        TypeError: fn cannot be called.
        RuntimeError: another explain() is running in this thread.
    """
    if not callable(fn):
        raise TypeError(f"explain(): fn must be callable, not {type(fn).__name__}")
    result, plans = _C._explain(lambda: fn(*args, **kwargs))
    return Explanation(result, plans)
