"""autograd.Function: forward and backward written in Python.

apply() runs forward without gradients and then makes its outputs the results of one node of the
gradient tape, whose backward calls the class's. Tensors kept by save_for_backward are kept as the
tape keeps its own: checked for in-place changes, and without a cycle through outputs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from quicksilver import _C
from quicksilver._grad_mode import no_grad

Tensor = _C.Tensor


class FunctionCtx:
    """What forward hands to backward. Any attribute may be set; tensors go by save_for_backward.

    Attributes:
        needs_input_grad: for each argument of forward, whether a gradient of it is wanted.
        saved_tensors: what save_for_backward kept; in backward only.
    """

    needs_input_grad: tuple[bool, ...] = ()
    _to_save: tuple[Any, ...] = ()
    _saved: tuple[Any, ...] = ()
    _dirty: tuple[Any, ...] = ()
    _non_differentiable: tuple[Any, ...] = ()
    _materialize: bool = True
    _node: Any = None

    def save_for_backward(self, *tensors: Any) -> None:
        """Keeps tensors (or None) for backward; called once, in forward."""
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, Tensor):
                raise TypeError(
                    "save_for_backward can only save variables, but argument"
                    f" {tensors.index(tensor)} is of type {type(tensor).__name__}"
                )
        self._to_save = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """Accepted; there is no forward mode."""

    def mark_dirty(self, *args: Tensor) -> None:
        """Says which inputs forward changed in place; they must be among its outputs."""
        self._dirty = args

    def mark_non_differentiable(self, *args: Tensor) -> None:
        """Says which outputs have no gradient."""
        self._non_differentiable = args

    def set_materialize_grads(self, value: bool) -> None:
        """With False, backward sees None for a gradient that did not come, instead of zeros."""
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        if self._node is None:
            return self._to_save
        return tuple(None if saved is None else saved.unpack(self._node) for saved in self._saved)

    saved_variables = saved_tensors

    def name(self) -> str:
        return type(self).__name__


class Function:
    """Base class: write the static methods forward and backward, and call apply.

    forward(ctx, *args) computes; or forward(*args) does and setup_context(ctx, inputs, output)
    notes what backward needs. backward(ctx, *grad_outputs) returns one gradient (or None) for each
    argument of forward.
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function"
            " to use it with backward mode AD."
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Runs forward and notes backward on the gradient tape."""
        ctx = FunctionCtx()
        ctx.needs_input_grad = tuple(isinstance(arg, Tensor) and arg.requires_grad for arg in args)
        with no_grad():
            if cls.setup_context is Function.setup_context:
                output = cls.forward(ctx, *args, **kwargs)
            else:
                output = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, output)
        if not (_C.is_grad_enabled() and any(ctx.needs_input_grad)):
            return output
        single = not isinstance(output, tuple)
        outputs = _own_outputs((output,) if single else output, args, ctx)
        _make_node(cls, ctx, args, outputs)
        return outputs[0] if single else tuple(outputs)


def _among(tensor: Any, group: tuple[Any, ...]) -> bool:
    return any(tensor is member for member in group)


def _place(tensor: Any, group: list[Any]) -> int:
    """Where the tensor stands in the group, or -1."""
    return next((i for i, member in enumerate(group) if tensor is member), -1)


def _own_outputs(outputs: tuple[Any, ...], args: tuple[Any, ...], ctx: FunctionCtx) -> list[Any]:
    """The outputs, with an input that is handed on unchanged replaced by a view of it."""
    result = []
    for output in outputs:
        if isinstance(output, Tensor) and _among(output, args) and not _among(output, ctx._dirty):
            with no_grad():
                view = output.view_as(output)
            ctx._non_differentiable = tuple(
                view if tensor is output else tensor for tensor in ctx._non_differentiable
            )
            output = view
        result.append(output)
    return result


def _make_node(
    cls: type[Function], ctx: FunctionCtx, args: tuple[Any, ...], outputs: list[Any]
) -> None:
    tensor_places = [i for i, arg in enumerate(args) if isinstance(arg, Tensor)]
    differentiable = [
        i
        for i, output in enumerate(outputs)
        if isinstance(output, Tensor)
        and (output.is_floating_point() or output.is_complex())
        and not _among(output, ctx._non_differentiable)
    ]
    if not differentiable:
        return
    name = cls.__name__ + "Backward"
    results = [outputs[i] for i in differentiable]
    # backward must not hold outputs: that would be a cycle through the node.
    others = {
        i: (tuple(output.shape), output.dtype, output.device)
        for i, output in enumerate(outputs)
        if isinstance(output, Tensor) and i not in differentiable
    }
    count = len(outputs)

    def run(node: Any, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        full: list[Any] = [None] * count
        for i, gradient in zip(differentiable, gradients, strict=True):
            full[i] = gradient
        if ctx._materialize:
            for i, (shape, dtype, device) in others.items():
                full[i] = _C.zeros(shape, dtype=dtype, device=device)
        ctx._node = node
        try:
            returned = cls.backward(ctx, *full)
        finally:
            ctx._node = None
        if not isinstance(returned, tuple):
            returned = (returned,)
        given = len(returned)
        if given > len(args) and all(r is None for r in returned[len(args) :]):
            returned = returned[: len(args)]
        if len(returned) != len(args):
            raise RuntimeError(
                f"function {name} returned an incorrect number of gradients (expected {len(args)},"
                f" got {given})"
            )
        for i, gradient in enumerate(returned):
            if gradient is not None and i not in tensor_places:
                raise RuntimeError(
                    f"function {name} returned a gradient different from None at position {i + 1},"
                    " but the corresponding forward input was not a Variable"
                )
        return tuple(returned[i] for i in tensor_places)

    ctx._saved = tuple(
        None if tensor is None else _C._SavedTensor(tensor, _place(tensor, results))
        for tensor in ctx._to_save
    )
    ctx._to_save = ctx._dirty = ctx._non_differentiable = ()
    _C._function_node(
        run,
        name,
        [args[i] for i in tensor_places],
        results,
        [saved for saved in ctx._saved if saved is not None],
        ctx._materialize,
    )


def once_differentiable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Marks a backward whose results have no gradients themselves."""

    @functools.wraps(function)
    def wrapper(ctx: Any, *args: Any) -> Any:
        with no_grad():
            return function(ctx, *args)

    return wrapper
