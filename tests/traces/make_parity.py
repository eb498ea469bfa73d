"""Writes dtypes.json and strides.json: what PyTorch's CPU gives for every parity row.

dtypes: case -> tested dtype -> the dtypes of the results, or the name of the error that is raised.
strides: case -> arrangement -> [shape, strides] of each result, at the case's first dtype.
Run by scripts/make_traces with an interpreter that has PyTorch.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
os.environ["QS_TEST_MODULE"] = "torch"
sys.path.insert(0, str(HERE.parent / "python"))

from oracle.case import Case, as_tuple  # noqa: E402
from oracle.library import DTYPES, L, short_dtype  # noqa: E402
from oracle.run import build, describe  # noqa: E402
from oracle.tables import ALL_CASES, PROMOTIONS  # noqa: E402

warnings.simplefilter("ignore")


def run(case: Case, dtype: str, name: str, placed: list[Any]) -> tuple[Any, ...]:
    tensors = build(case, case.values(dtype, name, placed), placed, dtype, "cpu")
    return as_tuple(case.call(L, *tensors))


def dtypes_of(case: Case) -> dict[str, Any]:
    table: dict[str, Any] = {}
    first = next(iter(case.arrangements()))
    for dtype in case.dtypes or DTYPES:
        try:
            table[dtype] = [short_dtype(r) for r in run(case, dtype, *first)]
        except Exception as error:
            table[dtype] = type(error).__name__
    return table


def strides_of(case: Case, dtype: str) -> dict[str, Any]:
    return {
        name: [describe(r) for r in run(case, dtype, name, placed)]
        for name, placed in case.arrangements()
    }


def promotion_rows() -> dict[str, list[str]]:
    """verb -> one line a first dtype: the result dtype for each second operand."""
    return {
        name: [" ".join(promote(a, b) for b in PROMOTIONS.operands) for a in PROMOTIONS.dtypes]
        for name, promote in PROMOTIONS.rows(L).items()
    }


def write(name: str, data: dict[str, Any]) -> None:
    lines = [f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in data.items()]
    (HERE / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main() -> None:
    dtypes = {case.name: dtypes_of(case) for case in ALL_CASES}
    write("dtypes", dtypes)
    strides = {}
    for case in ALL_CASES:
        served = [d for d, r in dtypes[case.name].items() if isinstance(r, list)]
        if not served:
            raise SystemExit(f"{case.name}: PyTorch takes no dtype: {dtypes[case.name]}")
        strides[case.name] = strides_of(case, served[0])
    write("strides", strides)
    write("promotion", promotion_rows())


main()
