"""Trading time for memory: what a part of a model keeps for backward is computed again instead.

The second computation has a region of its own on the mps tape, so that it is not merged with the
first one, whose values would then have to be kept after all.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from quicksilver import _C, mps
from quicksilver._grad_mode import enable_grad, no_grad
from quicksilver.autograd import backward as run_backward
from quicksilver.autograd.function import Function
from quicksilver.autograd.graph import saved_tensors_hooks
from quicksilver.random import fork_rng, get_rng_state, set_rng_state

Tensor = _C.Tensor
_regions = itertools.count(1)
_DEFAULT_DETERMINISM_MODE = "default"


class CheckpointError(RuntimeError):
    """The second computation did not keep what the first one did."""


class _Stop(Exception):
    pass


def noop_context_fn() -> tuple[Any, Any]:
    """Two contexts that do nothing."""
    return contextlib.nullcontext(), contextlib.nullcontext()


class _RandomState:
    """The generators' states, to draw the same numbers again."""

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        if wanted:
            self.host = get_rng_state()
            self.device = mps.get_rng_state() if mps.is_available() else None

    @contextlib.contextmanager
    def again(self) -> Iterator[None]:
        if not self.wanted:
            yield
            return
        with fork_rng():
            set_rng_state(self.host)
            if self.device is not None:
                mps.set_rng_state(self.device)
            yield


@contextlib.contextmanager
def _own_region() -> Iterator[None]:
    _C._set_region(next(_regions))
    try:
        yield
    finally:
        _C._set_region(0)


def check_backward_validity(inputs: Any) -> None:
    """Warns when no input wants a gradient, so that none will come out."""
    if not any(isinstance(i, Tensor) and i.requires_grad for i in inputs):
        warnings.warn(
            "None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2
        )


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[Any, Any]] = noop_context_fn,
    determinism_check: str = _DEFAULT_DETERMINISM_MODE,
    debug: bool = False,
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """function(*args, **kwargs), keeping only the arguments for backward; backward calls it again.

    Args:
        use_reentrant: True is PyTorch's older form: tensors of args only, and backward() only.
            False takes anything that a plain call takes.
        context_fn: gives two contexts, for the first and for the second call.
        determinism_check: "default" compares shapes, dtypes and devices of what is kept; "none"
            does not.
        early_stop: ends the second call when everything that backward needs is there.
        preserve_rng_state: the second call draws the same random numbers.

    Raises:
        CheckpointError: the second call kept something else than the first.
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly."
            " Starting in PyTorch 2.9, calling checkpoint without use_reentrant will raise an"
            " exception. use_reentrant=False is recommended, but if you need to preserve the"
            " current default behavior, you can pass use_reentrant=True.",
            stacklevel=2,
        )
        use_reentrant = True
    if use_reentrant:
        if kwargs:
            raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
        if context_fn is not noop_context_fn or debug:
            raise ValueError(
                "Passing `context_fn` or `debug` is only supported when use_reentrant=False."
            )
        return _Reentrant.apply(function, preserve_rng_state, *args)
    if not _C.is_grad_enabled():
        return function(*args, **kwargs)
    first, second = context_fn()
    frame = _Frame(function, args, kwargs, second, preserve_rng_state, early_stop)
    frame.check = determinism_check != "none"
    with saved_tensors_hooks(frame.pack, frame.unpack), first:
        return function(*args, **kwargs)


class _Kept:
    """Stands for a tensor that is kept for backward; when backward is through with it, what was
    computed again for it goes."""

    def __init__(self, frame: _Frame, number: int) -> None:
        self.frame, self.number = frame, number

    def __del__(self) -> None:
        self.frame.again.pop(self.number, None)


class _Frame:
    """One checkpointed call: what it kept, by number, and how to get it back."""

    check = True

    def __init__(
        self,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
        context: Any,
        preserve_rng_state: bool,
        early_stop: bool,
    ) -> None:
        self.function, self.args, self.kwargs, self.context = function, args, kwargs, context
        self.random = _RandomState(preserve_rng_state)
        self.early_stop = early_stop
        self.kinds: list[Any] = []  # shape, dtype and device of what was kept
        self.again: dict[int, Tensor] = {}

    def pack(self, tensor: Tensor) -> _Kept:
        self.kinds.append((tensor.shape, tensor.dtype, tensor.device))
        return _Kept(self, len(self.kinds) - 1)

    def unpack(self, kept: _Kept) -> Tensor:
        number = kept.number
        if number not in self.again:
            self._recompute()
        if number not in self.again:
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the"
                f" original forward and recomputation. Number of tensors saved during forward:"
                f" {len(self.kinds)}. Number of tensors saved during recomputation:"
                f" {len(self.again)}."
            )
        return self.again[number]

    def _recompute(self) -> None:
        self.again = {}
        count = 0

        def keep(tensor: Tensor) -> Tensor:
            nonlocal count
            if count < len(self.kinds):
                kind = (tensor.shape, tensor.dtype, tensor.device)
                if self.check and kind != self.kinds[count]:
                    raise CheckpointError(
                        "torch.utils.checkpoint: Recomputed values for the following tensors have"
                        " different metadata than during the forward pass.\ntensor at position"
                        f" {count}:\nsaved metadata: {self.kinds[count]}\nrecomputed metadata:"
                        f" {kind}"
                    )
                self.again[count] = tensor.detach()
            count += 1
            if self.early_stop and count == len(self.kinds):
                raise _Stop
            return tensor

        args = [a.detach().requires_grad_(a.requires_grad) if isinstance(a, Tensor) else a
                for a in self.args]  # fmt: skip
        with (
            _own_region(),
            self.random.again(),
            enable_grad(),
            saved_tensors_hooks(keep, lambda tensor: tensor),
            self.context,
            contextlib.suppress(_Stop),
        ):
            self.function(*args, **self.kwargs)


class _Reentrant(Function):
    """The older form: one node whose backward runs a backward of its own."""

    @staticmethod
    def forward(ctx: Any, function: Any, preserve_rng_state: bool, *args: Any) -> Any:
        check_backward_validity(args)
        ctx.function = function
        ctx.random = _RandomState(preserve_rng_state)
        ctx.places = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        ctx.args = [None if isinstance(a, Tensor) else a for a in args]
        ctx.save_for_backward(*(args[i] for i in ctx.places))
        with no_grad():
            return function(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        args = list(ctx.args)
        for i, saved in zip(ctx.places, ctx.saved_tensors, strict=True):
            args[i] = saved.detach().requires_grad_(saved.requires_grad)
        with _own_region(), ctx.random.again(), enable_grad():
            outputs = ctx.function(*args)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        wanted = [
            (out, grad)
            for out, grad in zip(outputs, grads, strict=True)
            if isinstance(out, Tensor) and out.requires_grad
        ]
        if not wanted:
            raise RuntimeError(
                "none of output has requires_grad=True, this checkpoint() is not necessary"
            )
        run_backward([out for out, _ in wanted], [grad for _, grad in wanted])
        return (None, None, *(a.grad if isinstance(a, Tensor) else None for a in args))


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """Runs a Sequential (or a list of modules) in segments, each but the last checkpointed."""
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    modules = list(functions.children()) if hasattr(functions, "children") else list(functions)

    def run(start: int, end: int) -> Callable[[Any], Any]:
        def forward(x: Any) -> Any:
            for module in modules[start:end]:
                x = module(x)
            return x

        return forward

    size = len(modules) // segments
    end = 0
    for start in range(0, size * (segments - 1), size or 1):
        end = start + size
        input = checkpoint(
            run(start, end), input, use_reentrant=use_reentrant, preserve_rng_state=preserve
        )
    return run(end, len(modules))(input)
