"""Every op of the op table, by dtype, layout and device, against NumPy and SciPy in float64.

The rows are in oracle/cases_*.py; the dtypes and strides to expect were read off PyTorch
(tests/traces). Fast: five dtypes; the 16-bit floats and small integers are marked slow.
"""

from __future__ import annotations

import pytest
from oracle import optable, tables
from oracle.blanks import EXTRAS, KNOWN, PROMOTION_EXTRAS, ROW_MAJOR, UNCOVERED
from oracle.case import Case
from oracle.library import DEVICES, FAST_DTYPES, IS_TORCH, SLOW_DTYPES, L
from oracle.run import check_strides, check_values, trace

CASES = pytest.mark.parametrize("case", tables.ALL_CASES, ids=lambda c: c.name)
ON_DEVICES = pytest.mark.parametrize("device", DEVICES)
DTYPES = pytest.mark.parametrize(
    "dtype", [*FAST_DTYPES, *(pytest.param(d, marks=pytest.mark.slow) for d in SLOW_DTYPES)]
)


def report(case: Case, problems: list[str]) -> None:
    assert not problems, "\n".join([f"{case.name}: {len(problems)} failures", *problems[:12]])


def expect(case: Case, dtype: str, problems: list[str]) -> None:
    """A blank with a reason may fail; when it no longer does, its entry must go."""
    reason = (KNOWN.get(case.name) or {}).get(dtype)
    if reason is None or IS_TORCH:
        report(case, problems)
    elif problems:
        pytest.xfail(reason)
    else:
        pytest.fail(f"{case.name} on {dtype} works now: take it off the list ({reason})")


# Outside the slow set float32 alone meets all arrangements.
QUICK = ("contiguous", "sliced", "mixed", "broadcast", "zero_dim", "empty")


def takes(case: Case, dtype: str) -> bool:
    """Whether the case takes the dtype, or both libraries refuse it."""
    if case.dtypes is not None and dtype not in case.dtypes:
        return False
    refused = isinstance(trace("dtypes")[case.name][dtype], str)
    return not (refused and dtype in EXTRAS.get(case.name, ((), ""))[0])


@ON_DEVICES
@DTYPES
@CASES
def test_values(case: Case, dtype: str, device: str) -> None:
    if takes(case, dtype):
        only = None if dtype == "f32" or dtype in SLOW_DTYPES else QUICK
        expect(case, dtype, check_values(case, dtype, device, only))


@pytest.mark.slow
@ON_DEVICES
@pytest.mark.parametrize("dtype", [d for d in FAST_DTYPES if d != "f32"])
@CASES
def test_values_in_all_arrangements(case: Case, dtype: str, device: str) -> None:
    if takes(case, dtype):
        expect(case, dtype, check_values(case, dtype, device))


@ON_DEVICES
@CASES
def test_strides(case: Case, device: str) -> None:
    served = [d for d, r in trace("dtypes")[case.name].items() if isinstance(r, list)]
    row_major = case.name in ROW_MAJOR and not IS_TORCH
    report(case, check_strides(case, served[0], device, row_major))


@pytest.mark.parametrize("verb", tables.PROMOTIONS.verbs)
def test_promotion(verb: str) -> None:
    """The dtype of verb(a, b) for tensors, 0-dim tensors and numbers is PyTorch's."""
    table = tables.PROMOTIONS
    promote = table.rows(L)[verb]
    extra = PROMOTION_EXTRAS.get(verb, ((), ""))[0]
    wrong = []
    for a, line in zip(table.dtypes, trace("promotion")[verb], strict=True):
        for b, wanted in zip(table.operands, line.split(), strict=True):
            got = promote(a, b)
            if got != wanted and not (wanted == "-" and b in extra):
                wrong.append(f"{verb}({a}, {b}) -> {got}, PyTorch gives {wanted}")
    assert not wrong, "\n".join([f"{len(wrong)} differ", *wrong[:20]])


def test_every_op_is_covered() -> None:
    covered = {op for case in tables.ALL_CASES for op in case.ops}
    table = set(optable.op_names())
    assert not covered - table, "cases name ops that the table lacks"
    assert not set(UNCOVERED) & covered, "covered after all: take it off the list"
    missing = [op for op in optable.op_names() if op not in covered and op not in UNCOVERED]
    assert not missing, "ops without a parity case or a reason in oracle/blanks.py"


def test_every_case_has_a_trace() -> None:
    names = {case.name for case in tables.ALL_CASES}
    assert names == set(trace("dtypes")) == set(trace("strides")), "run scripts/make_traces"
