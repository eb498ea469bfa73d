"""Full backward hooks: what a module's inputs and outputs pass through when it has some.

Two identity functions of the gradient tape are put around the module: one on its inputs, whose
backward sees the gradients of all inputs at once, and one on its outputs, whose backward sees the
gradients of all outputs. The outputs' backward runs first and keeps what the hooks will be shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quicksilver import _C
from quicksilver.autograd import Function


class _Passing(Function):
    """The identity on several tensors; its backward calls ``seen(gradients)`` and hands on."""

    @staticmethod
    def forward(ctx: Any, seen: Callable[..., Any], *tensors: Any) -> Any:
        ctx.seen = seen
        ctx.set_materialize_grads(False)
        return tuple(tensor.view_as(tensor) for tensor in tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return (None, *ctx.seen(gradients))


class BackwardHook:
    """Carries the hooks of one call of one module."""

    def __init__(self, module: Any, hooks: list[Any], pre_hooks: list[Any]) -> None:
        self.module = module
        self.hooks = hooks
        self.pre_hooks = pre_hooks
        self.input_places: list[int] | None = None  # which inputs are tensors
        self.input_count = 0
        self.grad_outputs: tuple[Any, ...] | None = None

    def watch_inputs(self, args: Any) -> Any:
        watched, places, count = self._watch(self._inputs_seen, args)
        self.input_places = places
        self.input_count = count
        return watched

    def watch_outputs(self, output: Any) -> Any:
        single = not isinstance(output, tuple)
        watched, places, count = self._watch(self._outputs_seen, (output,) if single else output)
        if places is not None:
            self.output_places, self.output_count = places, count
        return watched[0] if single else watched

    def _watch(self, seen: Callable[..., Any], values: tuple[Any, ...]) -> Any:
        places = [i for i, value in enumerate(values) if isinstance(value, _C.Tensor)]
        wanted = any(values[i].requires_grad for i in places)
        if not (wanted and _C.is_grad_enabled()):
            return values, None, len(values)
        passed = _Passing.apply(seen, *[values[i] for i in places])
        result = list(values)
        for i, tensor in zip(places, passed, strict=True):
            result[i] = tensor
        return tuple(result), places, len(values)

    def _outputs_seen(self, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        full = _spread(gradients, self.output_places, self.output_count)
        for hook in self.pre_hooks:
            result = hook(self.module, full)
            if result is not None:
                full = _replaced(result, full, "Backward pre hook", "grad_output")
        self.grad_outputs = full
        if self.input_places is None:  # no input needs a gradient: this is all there will be
            for hook in self.hooks:
                result = hook(self.module, (None,) * self.input_count, full)
                if result is not None and not (
                    isinstance(result, tuple) and all(r is None for r in result)
                ):
                    raise RuntimeError(
                        "Backward hook for Modules where no input requires gradient should "
                        "always return None or None for all gradients."
                    )
            self.grad_outputs = None
        return tuple(full[i] for i in self.output_places)

    def _inputs_seen(self, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        places = self.input_places or []
        full = _spread(gradients, places, self.input_count)
        if self.grad_outputs is None:
            raise RuntimeError(
                "Module backward hook for grad_input is called before the grad_output one. This"
                " happens because the gradient in your nn.Module flows to the Module's input"
                " without passing through the Module's output. Make sure that the output depends"
                " on the input and that the loss is computed based on the output."
            )
        for hook in self.hooks:
            result = hook(self.module, full, self.grad_outputs)
            if result is not None:
                full = _replaced(result, full, "Backward hook", "grad_input")
        self.grad_outputs = None
        return tuple(full[i] for i in places)


def _spread(values: tuple[Any, ...], places: list[int], count: int) -> tuple[Any, ...]:
    full: list[Any] = [None] * count
    for i, value in zip(places, values, strict=True):
        full[i] = value
    return tuple(full)


def _replaced(result: Any, before: tuple[Any, ...], who: str, what: str) -> tuple[Any, ...]:
    result = result if isinstance(result, tuple) else (result,)
    if len(result) != len(before):
        raise RuntimeError(
            f"{who} returned an invalid number of {what}, got {len(result)}, "
            f"but expected {len(before)}"
        )
    return result
