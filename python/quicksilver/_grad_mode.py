"""no_grad and its kin: switches of the gradient tape, as context managers and as decorators."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from quicksilver import _C

F = TypeVar("F", bound=Callable[..., Any])

_CO_GENERATOR = 0x20  # inspect.CO_GENERATOR; importing inspect would cost a few milliseconds
_get = _C.is_grad_enabled
_set = _C._set_grad_enabled


class _Switch:
    """A context manager that is also a decorator; generators keep the mode while they run."""

    def clone(self) -> _Switch:
        return type(self)()

    def __enter__(self) -> Any:
        raise NotImplementedError

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        raise NotImplementedError

    def __call__(self, function: F) -> F:
        if isinstance(function, type):
            raise TypeError(
                "Decorating classes is not supported: decorate the methods that should run in this"
                " mode"
            )
        if getattr(getattr(function, "__code__", None), "co_flags", 0) & _CO_GENERATOR:
            return self._around_generator(function)  # type: ignore[return-value]

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]

    def _around_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Each run up to the next yield is in the mode; between them the caller's own holds."""

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            generator = function(*args, **kwargs)
            resume: Callable[..., Any] = generator.__next__
            sent: tuple[Any, ...] = ()
            while True:
                try:
                    with self.clone():
                        value = resume(*sent)
                except StopIteration as stop:
                    return stop.value
                try:
                    received = yield value
                except GeneratorExit:
                    with self.clone():
                        generator.close()
                    raise
                except BaseException as error:
                    resume, sent = generator.throw, (error,)
                else:
                    resume, sent = generator.send, (received,)

        return wrapper


class no_grad(_Switch):
    """Ops inside are not recorded for gradients; their results have requires_grad=False.

    >>> with torch.no_grad():
    ...     y = model(x)
    """

    def __new__(cls, orig_func: Any = None) -> Any:
        made = super().__new__(cls)
        return made if orig_func is None else made(orig_func)  # used as @no_grad

    def __enter__(self) -> None:
        self.before = _get()
        _set(False)

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        _set(self.before)


class enable_grad(_Switch):
    """Ops inside are recorded for gradients, in no_grad too."""

    def __new__(cls, orig_func: Any = None) -> Any:
        made = super().__new__(cls)
        return made if orig_func is None else made(orig_func)

    def __enter__(self) -> None:
        self.before = _get()
        _set(True)

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        _set(self.before)


class set_grad_enabled(_Switch):
    """Switches recording for gradients on or off at once; as a context manager until its end."""

    def __init__(self, mode: bool) -> None:
        self.before = _get()
        self.mode = mode
        _set(mode)

    def clone(self) -> set_grad_enabled:
        return type(self)(self.mode)

    def __call__(self, function: F) -> F:
        _set(self.before)  # as a decorator it switches in calls only
        return super().__call__(function)

    def __enter__(self) -> None:
        _set(self.mode)

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        _set(self.before)

    def __repr__(self) -> str:
        return f"set_grad_enabled(mode={self.mode})"


class inference_mode(_Switch):
    """no_grad, and results can never take part in gradients; ``mode=False`` leaves things be."""

    def __new__(cls, mode: Any = True) -> Any:
        made = super().__new__(cls)
        if isinstance(mode, bool):
            return made
        made.mode = True
        return made(mode)  # used as @inference_mode

    def __init__(self, mode: bool = True) -> None:
        self.mode = mode

    def clone(self) -> inference_mode:
        return type(self)(self.mode)

    def __enter__(self) -> None:
        self.before = (_C.is_inference_mode_enabled(), _get())
        _C._set_inference_mode(self.mode)
        if self.mode:
            _set(False)

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        _C._set_inference_mode(self.before[0])
        _set(self.before[1])
