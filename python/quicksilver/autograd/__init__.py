"""Gradients: of given tensors, by hand, and functions with a backward of one's own."""

from __future__ import annotations

import importlib
from typing import Any

from quicksilver import _C
from quicksilver._grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled
from quicksilver.autograd import graph
from quicksilver.autograd.anomaly_mode import detect_anomaly, set_detect_anomaly
from quicksilver.autograd.function import Function, FunctionCtx, once_differentiable

Tensor = _C.Tensor
is_grad_enabled = _C.is_grad_enabled


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Accumulates into the leaves' ``grad`` the gradient of the sum of tensors.

    Args:
        tensors: one or several; those that are no scalars need a gradient in grad_tensors.
        retain_graph: keeps what was saved, for another backward; create_graph unless given.
        create_graph: makes gradients differentiable themselves.
        inputs: accumulates into these only.
    """
    if grad_variables is not None:
        grad_tensors = grad_variables
    if inputs is not None and not isinstance(inputs, Tensor) and len(inputs) == 0:
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    _C._backward(tensors, grad_tensors, retain_graph, create_graph, inputs)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of the sum of outputs with respect to each input.

    Args:
        allow_unused: gives None for an input that outputs do not depend on, instead of raising.
        materialize_grads: gives zeros for such an input.
        is_grads_batched: grad_outputs have a leading dimension of several gradients each, and so
            have the results; a loop over them.

    Raises:
        RuntimeError: an input was not used, or needs no gradient.
        ValueError: materialize_grads with allow_unused=False.
    """
    if is_grads_batched:
        return _batched_grad(
            outputs,
            inputs,
            grad_outputs,
            retain_graph,
            create_graph,
            allow_unused,
            materialize_grads,
        )
    if materialize_grads:
        if allow_unused is False:
            raise ValueError(
                "Expected allow_unused to be True or not passed when materialize_grads=True, but"
                " got: allow_unused=False."
            )
        allow_unused = True
    if isinstance(inputs, Tensor):
        inputs = (inputs,)
    inputs = tuple(inputs)
    if not inputs:
        raise ValueError("grad requires non-empty inputs.")
    result = _C._grad(outputs, inputs, grad_outputs, retain_graph, create_graph, bool(allow_unused))
    if materialize_grads:
        result = tuple(
            _C.zeros_like(x) if g is None else g for g, x in zip(result, inputs, strict=True)
        )
    return result


def _batched_grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any,
    retain_graph: bool | None,
    create_graph: bool,
    allow_unused: bool | None,
    materialize_grads: bool,
) -> tuple[Any, ...]:
    given = (grad_outputs,) if isinstance(grad_outputs, Tensor) else tuple(grad_outputs or ())
    if not given or any(g is None for g in given):
        raise RuntimeError("grad: is_grads_batched=True needs a batch of gradients for each output")
    count = given[0].size(0)
    keep = create_graph if retain_graph is None else retain_graph
    rows = [
        grad(
            outputs,
            inputs,
            tuple(g[i] for g in given),
            keep or i + 1 < count,
            create_graph,
            allow_unused=allow_unused or materialize_grads,
        )
        for i in range(count)
    ]
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    absent = [_C.zeros_like(x) if materialize_grads else None for x in inputs]
    return tuple(
        other if parts[0] is None else _C.stack(parts)
        for parts, other in zip(zip(*rows, strict=True), absent, strict=True)
    )


def __getattr__(name: str) -> Any:
    if name in ("functional", "profiler"):
        return importlib.import_module(f"{__name__}.{name}")
    if name in ("gradcheck", "gradgradcheck"):
        return getattr(importlib.import_module(f"{__name__}._gradcheck"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def Variable(data: Tensor, requires_grad: bool = False, volatile: bool = False) -> Tensor:
    """The tensor itself, as it has been since variables and tensors became one."""
    return data.detach().requires_grad_() if requires_grad else data
