"""All parity rows together, and the table of operand promotions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from oracle import cases_folds, cases_maps, cases_shape, cases_special, cases_windows
from oracle.case import Case
from oracle.library import DTYPES, REFUSALS, library_dtype, short_dtype

GROUPS = {
    "maps": cases_maps.MAPS,
    "folds": cases_folds.CASES,
    "shape": cases_shape.CASES,
    "special": cases_special.CASES,
    "windows": cases_windows.CASES,
}
ALL_CASES: list[Case] = [case for group in GROUPS.values() for case in group]
assert len({c.name for c in ALL_CASES}) == len(ALL_CASES)


class Promotions:
    """Which dtype `verb(a, b)` gives, a a tensor, b a tensor, a 0-dim tensor or a Python number."""

    dtypes = DTYPES
    numbers: tuple[tuple[str, Any], ...] = (("True", True), ("2", 2), ("2.5", 2.5))
    operands = (*DTYPES, *(f"0-dim {d}" for d in DTYPES), *(n for n, _ in numbers))
    verbs = (
        "add", "sub", "mul", "div", "floor_divide", "remainder", "pow", "maximum", "atan2",
        "eq", "lt", "logical_and", "bitwise_and", "bitwise_left_shift", "where", "copysign", "fmod",
    )  # fmt: skip

    def operand(self, L: Any, name: str) -> Any:
        for text, number in self.numbers:
            if name == text:
                return number
        if name.startswith("0-dim "):
            return L.ones((), dtype=library_dtype(name[6:]))
        return L.ones((2,), dtype=library_dtype(name))

    def rows(self, L: Any) -> dict[str, Callable[[str, str], str]]:
        def row(verb: str) -> Callable[[str, str], str]:
            def promote(a: str, b: str) -> str:
                x, y = self.operand(L, a), self.operand(L, b)
                try:
                    if verb == "where":
                        return short_dtype(L.where(L.ones((2,), dtype=L.bool), x, y))
                    return short_dtype(getattr(L, verb)(x, y))
                except REFUSALS:
                    return "-"

            return promote

        return {verb: row(verb) for verb in self.verbs}


PROMOTIONS = Promotions()
