"""Derivatives of functions: products with vectors, whole Jacobians and Hessians.

Each function calls ``func`` once on inputs that are detached from what they came from (with
``create_graph`` they are not) and asks for gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quicksilver import _C, autograd

Tensor = _C.Tensor


def _tuple(values: Any, name: str, function: str) -> tuple[bool, tuple[Any, ...]]:
    """(was it a sequence, its tensors)."""
    several = isinstance(values, (tuple, list))
    together = tuple(values) if several else (values,)
    for i, one in enumerate(together):
        if not isinstance(one, Tensor):
            what = (
                f"The {name} given to {function} must be either a Tensor or a tuple of Tensors but"
                f" the value at index {i} has type {type(one)}."
                if several
                else f"The {name} given to {function} must be either a Tensor or a tuple of Tensors"
                f" but the given {name} has type {type(one)}."
            )
            raise TypeError(what)
    return several, together


def _packed(values: Any, several: bool) -> Any:
    return tuple(values) if several else values[0]


def _call(
    func: Callable[..., Any], inputs: Any, function: str, create_graph: bool
) -> tuple[bool, tuple[Any, ...], bool, tuple[Any, ...]]:
    several_in, given = _tuple(inputs, "inputs", function)
    leaves = tuple(
        x.view_as(x) if create_graph and x.requires_grad else x.detach().requires_grad_()
        for x in given
    )
    with autograd.enable_grad():
        several_out, outputs = _tuple(
            func(*leaves), "outputs of the user-provided function", function
        )
    return several_in, leaves, several_out, outputs


def _gradients(outputs: Any, inputs: Any, vectors: Any, create_graph: bool) -> tuple[Tensor, ...]:
    """Gradients with zeros where nothing depends."""
    used = [(y, v) for y, v in zip(outputs, vectors, strict=True) if y.requires_grad]
    if not used:
        return tuple(_C.zeros_like(x) for x in inputs)
    ys, vs = zip(*used, strict=True)
    return autograd.grad(
        ys, inputs, vs, create_graph=create_graph, retain_graph=True, materialize_grads=True
    )


def _vectors(v: Any, like: tuple[Any, ...]) -> tuple[Tensor, ...]:
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(
                "The vector v can only be None if the user-provided function returns a single"
                " Tensor with a single element."
            )
        return (_C.ones_like(like[0]),)
    _, vs = _tuple(v, "v", "vectors")
    if len(vs) != len(like):
        raise RuntimeError(
            f"v is a tuple of invalid length: should be {len(like)} but got {len(vs)}."
        )
    for i, (one, wanted) in enumerate(zip(vs, like, strict=True)):
        if one.shape != wanted.shape:
            entry = f"Entry {i} in v" if len(like) > 1 else "v"
            raise RuntimeError(
                f"{entry} has invalid size: should be {wanted.size()} but got {one.size()}."
            )
    return vs


def _done(values: Any, create_graph: bool) -> tuple[Any, ...]:
    return tuple(values) if create_graph else tuple(v.detach() for v in values)


def vjp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """(func(*inputs), v^T J), J the Jacobian; v has the outputs' shapes."""
    several_in, leaves, several_out, outputs = _call(func, inputs, "vjp", create_graph)
    vs = _vectors(v, outputs)
    product = _gradients(outputs, leaves, vs, create_graph)
    return (
        _packed(_done(outputs, create_graph), several_out),
        _packed(_done(product, create_graph), several_in),
    )


def jvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """(func(*inputs), J v), v of the inputs' shapes: v^T J is linear in v, and its derivative with
    respect to v is J."""
    _, leaves, several_out, outputs = _call(func, inputs, "jvp", create_graph)
    if v is None:
        if len(leaves) != 1 or leaves[0].numel() != 1:
            raise RuntimeError(
                "The vector v can only be None if the input to the user-provided function is a"
                " single Tensor with a single element."
            )
        vs: tuple[Tensor, ...] = (_C.ones_like(leaves[0]),)
    else:
        vs = _vectors(v, leaves)
    with autograd.enable_grad():
        dummies = tuple(_C.zeros_like(y).requires_grad_() for y in outputs)
        back = _gradients(outputs, leaves, dummies, True)
        product = _gradients(back, dummies, vs, create_graph)
    outputs, product = _done(outputs, create_graph), _done(product, create_graph)
    return _packed(outputs, several_out), _packed(product, several_out)


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """d outputs / d inputs, of shape output + input; tuples of them where there are several.

    ``vectorize`` and ``strategy`` choose how PyTorch computes it; the rows are taken one by one
    here.
    """
    several_in, leaves, several_out, outputs = _call(func, inputs, "jacobian", create_graph)
    table = []
    for y in outputs:
        rows: list[list[Tensor]] = [[] for _ in leaves]
        flat = y.reshape(-1)
        for i in range(flat.numel()):
            one = _gradients((flat[i],), leaves, (_C.ones_like(flat[i]),), create_graph)
            for row, g in zip(rows, one, strict=True):
                row.append(g)
        parts = [
            _C.stack(row).reshape((*y.shape, *x.shape))
            if row
            else _C.zeros((*y.shape, *x.shape), dtype=y.dtype, device=y.device)
            for row, x in zip(rows, leaves, strict=True)
        ]
        table.append(_packed(_done(parts, create_graph), several_in))
    return _packed(table, several_out)


def _scalar(func: Callable[..., Any], function: str) -> Callable[..., Tensor]:
    def checked(*inputs: Any) -> Tensor:
        y = func(*inputs)
        _, outputs = _tuple(y, "outputs of the user-provided function", function)
        if len(outputs) != 1 or outputs[0].numel() != 1:
            raise RuntimeError(
                f"The Tensor returned by the function given to {function} should contain a single"
                " element"
            )
        return outputs[0].reshape(())

    return checked


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of a function that gives one number: a Jacobian of its gradient."""
    several, _ = _tuple(inputs, "inputs", "hessian")
    one = _scalar(func, "hessian")

    def slope(*xs: Any) -> Any:
        g = _gradients(
            (one(*xs),), xs, (_C.ones((), dtype=xs[0].dtype, device=xs[0].device),), True
        )
        return _packed(g, several)

    return jacobian(slope, inputs, create_graph, strict)


def vhp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """(func(*inputs), v^T H), H the Hessian; v has the inputs' shapes."""
    several, leaves, _, outputs = _call(_scalar(func, "vhp"), inputs, "vhp", create_graph)
    vs = _vectors(v, leaves)
    with autograd.enable_grad():
        slope = _gradients(outputs, leaves, (_C.ones_like(outputs[0]),), True)
    product = _gradients(slope, leaves, vs, create_graph)
    return (
        _done(outputs, create_graph)[0],
        _packed(_done(product, create_graph), several),
    )


hvp = vhp  # H is symmetric
