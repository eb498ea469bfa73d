"""Comparing results in tests."""

from __future__ import annotations

import cmath
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from quicksilver import _C

Tensor = _C.Tensor

_TOLERANCES = {
    _C.float16: (1e-3, 1e-5), _C.bfloat16: (1.6e-2, 1e-5), _C.float32: (1.3e-6, 1e-5),
    _C.float64: (1e-7, 1e-7), _C.complex64: (1.3e-6, 1e-5), _C.complex128: (1e-7, 1e-7),
}  # fmt: skip


class _Options:
    """What assert_close was asked for, and the path to what is compared now."""

    def __init__(self, **options: Any) -> None:
        self.__dict__.update(options)
        self.path: list[Any] = []

    def fail(self, text: str, kind: type[Exception] = AssertionError) -> None:
        if self.path:
            text += "\n\nThe failure occurred for item " + "".join(f"[{p!r}]" for p in self.path)
        if callable(self.msg):
            text = self.msg(text)
        elif self.msg is not None and kind is AssertionError:
            text = self.msg
        raise kind(text)

    def tolerances(self, *dtypes: Any) -> tuple[float, float]:
        if self.rtol is not None:
            return self.rtol, self.atol
        known = [_TOLERANCES.get(d, (0.0, 0.0)) for d in dtypes]
        return max(r for r, _ in known), max(a for _, a in known)


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Raises AssertionError unless |actual - expected| <= atol + rtol |expected| everywhere.

    Tensors, numbers, None, and any nesting of sequences and mappings of them. Without rtol and
    atol the dtype says how close is close: 1.3e-6 and 1e-5 for float32, equal for integers.

    Args:
        allow_subclasses: subclasses of Tensor are compared as tensors.
        equal_nan: NaN equals NaN.
        check_device, check_dtype, check_layout, check_stride: whether these must agree.
        msg: the error's text, or a function of the one that would be.

    Raises:
        ValueError: only one of rtol and atol is given.
    """
    if (rtol is None) != (atol is None):
        raise ValueError(
            "Both 'rtol' and 'atol' must be either specified or omitted, but got no"
            f" {'rtol' if rtol is None else 'atol'}."
        )
    _compare(actual, expected, _Options(
        rtol=rtol, atol=atol, equal_nan=equal_nan, check_device=check_device,
        check_dtype=check_dtype, check_stride=check_stride, msg=msg,
    ))  # fmt: skip


def _compare(actual: Any, expected: Any, o: _Options) -> None:
    number = (numbers.Number, np.bool_)
    if isinstance(expected, (Tensor, np.ndarray)) and isinstance(actual, (Tensor, np.ndarray)):
        _compare_tensors(_C.as_tensor(actual), _C.as_tensor(expected), o)
    elif isinstance(actual, number) and isinstance(expected, number):
        _compare_numbers(actual, expected, o)
    elif actual is None or expected is None:
        if actual is not expected:
            o.fail(f"None mismatch: {actual} is not {expected}")
    elif isinstance(actual, Mapping) and isinstance(expected, Mapping):
        _compare_mappings(actual, expected, o)
    elif _is_sequence(actual) and _is_sequence(expected):
        if len(actual) != len(expected):
            o.fail(f"The length of the sequences mismatch: {len(actual)} != {len(expected)}")
        for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
            _inside(i, a, e, o)
    else:
        o.fail(
            "No comparison pair was able to handle inputs of type"
            f" {type(actual)} and {type(expected)}.",
            TypeError,
        )


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _inside(key: Any, actual: Any, expected: Any, o: _Options) -> None:
    o.path.append(key)
    _compare(actual, expected, o)
    o.path.pop()


def _compare_mappings(actual: Mapping[Any, Any], expected: Mapping[Any, Any], o: _Options) -> None:
    missing = [key for key in expected if key not in actual]
    additional = [key for key in actual if key not in expected]
    if missing or additional:
        o.fail(
            "The keys of the mappings do not match:"
            f"\nMissing keys in the actual mapping: {sorted(missing)}"
            f"\nAdditional keys in the actual mapping: {sorted(additional)}"
        )
    for key in sorted(actual) if all(isinstance(k, str) for k in actual) else actual:
        _inside(key, actual[key], expected[key], o)


def _compare_numbers(actual: Any, expected: Any, o: _Options) -> None:
    if o.check_dtype and type(actual) is not type(expected):
        o.fail(f"The (d)types do not match: {type(actual)} != {type(expected)}.")
    kinds = {int: _C.int64, bool: _C.bool, complex: _C.complex128}
    rtol, atol = o.tolerances(*(kinds.get(type(v), _C.float64) for v in (actual, expected)))
    if isinstance(actual, bool) or isinstance(expected, bool):
        if actual != expected:
            o.fail(f"Booleans mismatch: {actual} is not {expected}")
        return
    difference = abs(actual - expected)
    if actual == expected or difference <= atol + rtol * abs(expected):
        return
    if o.equal_nan and cmath.isnan(actual) and cmath.isnan(expected):
        return
    equality = rtol == 0 and atol == 0
    relative = difference / abs(expected) if expected else float("inf")
    text = f"Expected {expected} but got {actual}."
    if equality:
        o.fail(f"Scalars are not equal!\n\n{text}\nAbsolute difference: {difference}"
               f"\nRelative difference: {relative}")  # fmt: skip
    o.fail(
        f"Scalars are not close!\n\n{text}"
        f"\nAbsolute difference: {difference} (up to {atol} allowed)"
        f"\nRelative difference: {relative} (up to {rtol} allowed)"
    )


def _compare_tensors(actual: Tensor, expected: Tensor, o: _Options) -> None:
    def attribute(name: str, a: Any, e: Any) -> None:
        if a != e:
            o.fail(f"The values for attribute '{name}' do not match: {a} != {e}.")

    attribute("shape", actual.shape, expected.shape)
    if o.check_device:
        attribute("device", actual.device, expected.device)
    if o.check_dtype:
        attribute("dtype", actual.dtype, expected.dtype)
    if o.check_stride:
        attribute("stride()", actual.stride(), expected.stride())
    rtol, atol = o.tolerances(actual.dtype, expected.dtype)
    a, e = _array(actual), _array(expected)
    with np.errstate(all="ignore"):
        close = a == e
        if rtol or atol:
            wide = np.complex128 if np.iscomplexobj(a) else np.float64
            x, y = a.astype(wide), e.astype(wide)
            close |= np.isfinite(x) & np.isfinite(y) & (np.abs(x - y) <= atol + rtol * np.abs(y))
        if o.equal_nan:
            close |= np.isnan(a) & np.isnan(e)
        if close.all():
            return
        if actual.dtype.is_floating_point and actual.dtype == expected.dtype:
            # The figures are those of the dtype's own arithmetic, as PyTorch's.
            gap = (actual - expected).detach().abs()
            share = gap / expected.detach().abs()
            difference, relative = (t.cpu().double().numpy() for t in (gap, share))
        else:
            difference = np.abs(a - e)
            relative = difference.astype(np.float64) / np.abs(e).astype(np.float64)
        o.fail(_mismatch(a, e, difference, relative, close, rtol, atol))


def _array(t: Tensor) -> np.ndarray[Any, Any]:
    t = t.detach().cpu()
    if t.dtype is _C.bfloat16:
        t = t.float()
    array = t.numpy()
    if t.dtype.is_floating_point or t.dtype.is_complex:
        return array
    return array.astype(object if t.dtype is _C.uint64 else np.int64)


def _mismatch(
    a: Any, e: Any, difference: Any, relative: Any, close: Any, rtol: float, atol: float
) -> str:
    count, total = int((~close).sum()), close.size
    difference = np.where(close, difference.dtype.type(0), difference)
    relative = np.where(close, 0.0, relative)
    equality = rtol == 0 and atol == 0
    if a.ndim == 0:
        word = "Scalars"
        head = f"Expected {e.item()} but got {a.item()}."
    else:
        word = "Tensor-likes"
        head = f"Mismatched elements: {count} / {total} ({count / total:.1%})"
    text = f"{word} are not {'equal' if equality else 'close'}!\n\n{head}\n"
    for name, values, bound in (("absolute", difference, atol), ("relative", relative, rtol)):
        at = np.unravel_index(int(np.argmax(values)), values.shape) if a.ndim else ()
        allowed = "" if equality else f" (up to {bound} allowed)"
        if a.ndim:
            place = tuple(int(i) for i in at)
            text += f"Greatest {name} difference: {values[at]} at index {place}{allowed}\n"
        else:
            text += f"{name.capitalize()} difference: {values.item()}{allowed}\n"
    return text.rstrip("\n")


def assert_allclose(
    actual: Any,
    expected: Any,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = True,
    msg: str = "",
) -> None:
    """assert_close as it once was: values alone are compared, NaNs are equal, and actual may be a
    number."""
    if not isinstance(actual, Tensor):
        actual = _C.tensor(actual)
    if not isinstance(expected, Tensor):
        expected = _C.tensor(expected, dtype=actual.dtype)
    if rtol is None and atol is None:
        rtol, atol = max(_TOLERANCES.get(t.dtype, (0.0, 0.0)) for t in (actual, expected))
    assert_close(
        actual,
        expected,
        rtol=rtol,
        atol=atol,
        equal_nan=equal_nan,
        check_device=True,
        check_dtype=False,
        check_stride=False,
        msg=msg or None,
    )
