"""torch.func: derivatives as functions of functions, maps over batches, modules as functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quicksilver import _C, autograd
from quicksilver._vmap import vmap as vmap
from quicksilver.autograd import functional
from quicksilver.nn.utils.stateless import functional_call as functional_call
from quicksilver.utils import _pytree as pytree

Tensor = _C.Tensor


def grad_and_value(
    func: Callable[..., Any], argnums: Any = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that gives (gradient, value) of func, which gives one number.

    Args:
        argnums: with respect to which arguments: an index or a tuple of them. An argument may be a
            tensor, or lists and dicts of tensors.
        has_aux: func gives (number, more); the value is (number, more) then.
    """

    def function(*args: Any, **kwargs: Any) -> Any:
        chosen = argnums if isinstance(argnums, tuple) else (argnums,)
        with autograd.enable_grad():
            new, leaves, specs = list(args), [], []
            for i in chosen:
                flat, spec = pytree.tree_flatten(args[i])
                flat = [
                    x.view_as(x) if x.requires_grad else x.detach().requires_grad_() for x in flat
                ]
                new[i] = pytree.tree_unflatten(flat, spec)
                leaves += flat
                specs.append((len(flat), spec))
            result = func(*new, **kwargs)
            value, aux = result if has_aux else (result, None)
            if not isinstance(value, Tensor):
                raise RuntimeError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a tensor, got"
                    f" {type(value)}"
                )
            if value.dim() != 0:
                raise RuntimeError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got"
                    f" tensor with {value.dim()} dims. Maybe you wanted to use the vjp or jacrev"
                    " APIs instead?"
                )
            outer = any(isinstance(x, Tensor) and x.requires_grad for x in _leaves(args))
            gradients = list(
                autograd.grad(value, leaves, create_graph=True, materialize_grads=True)
            )
        if not outer:
            gradients = [g.detach() for g in gradients]
            value = value.detach()
            aux = pytree.tree_map(lambda x: x.detach() if isinstance(x, Tensor) else x, aux)
        parts = []
        for count, spec in specs:
            parts.append(pytree.tree_unflatten(gradients[:count], spec))
            del gradients[:count]
        slope = tuple(parts) if isinstance(argnums, tuple) else parts[0]
        return (slope, (value, aux)) if has_aux else (slope, value)

    return function


def _leaves(value: Any) -> list[Any]:
    return pytree.tree_flatten(value)[0]


def grad(func: Callable[..., Any], argnums: Any = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives the gradient of func; see grad_and_value. With has_aux (gradient,
    more)."""

    def function(*args: Any, **kwargs: Any) -> Any:
        slope, value = grad_and_value(func, argnums, has_aux)(*args, **kwargs)
        return (slope, value[1]) if has_aux else slope

    return function


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """(func(*primals), f) where f(v) is v^T J for each primal; with has_aux the third is what func
    gave beside."""
    leaves = tuple(
        x.view_as(x) if x.requires_grad else x.detach().requires_grad_() for x in primals
    )
    with autograd.enable_grad():
        result = func(*leaves)
    outputs, aux = result if has_aux else (result, None)
    several = isinstance(outputs, (tuple, list))

    def product(*cotangents: Any) -> tuple[Tensor, ...]:
        vs = cotangents[0] if several and len(cotangents) == 1 else cotangents
        ys = tuple(outputs) if several else (outputs,)
        return autograd.grad(ys, leaves, tuple(vs), retain_graph=True, materialize_grads=True)

    if not any(x.requires_grad for x in primals):
        shown = pytree.tree_map(lambda y: y.detach(), outputs)
        return (shown, product, aux) if has_aux else (shown, product)
    return (outputs, product, aux) if has_aux else (outputs, product)


def jacrev(func: Callable[..., Any], argnums: Any = 0, **options: Any) -> Callable[..., Any]:
    """A function that gives the Jacobian of func with respect to some arguments."""

    def function(*args: Any) -> Any:
        chosen = argnums if isinstance(argnums, tuple) else (argnums,)

        def of_chosen(*values: Any) -> Any:
            new = list(args)
            for i, value in zip(chosen, values, strict=True):
                new[i] = value
            return func(*new)

        inputs = tuple(args[i] for i in chosen)
        whole = isinstance(argnums, tuple)
        graph = any(x.requires_grad for x in inputs)
        return functional.jacobian(of_chosen, inputs if whole else inputs[0], create_graph=graph)

    return function


jacfwd = jacrev  # the same numbers


def jvp(
    func: Callable[..., Any],
    primals: Any,
    tangents: Any,
    *,
    strict: bool = False,
    has_aux: bool = False,
) -> Any:
    """(func(*primals), J tangents), J the Jacobian; with has_aux the third is what func gave
    beside.

    Args:
        primals, tangents: tuples of tensors, of the same shapes.

    Raises:
        RuntimeError: they are not.
    """
    for name, values in (("primals", primals), ("tangents", tangents)):
        if not isinstance(values, tuple):
            raise RuntimeError(
                f"jvp(f, primals, tangents): Expected {name} to be a tuple. E.g. it should be"
                " valid to call f(*primals)."
            )
    more: list[Any] = []

    def outputs_alone(*values: Any) -> Any:
        result = func(*values)
        if has_aux:
            more.append(result[1])
        return result[0] if has_aux else result

    graph = any(x.requires_grad for x in (*primals, *tangents))
    outputs, product = functional.jvp(outputs_alone, primals, tangents, create_graph=graph)
    return (outputs, product, more[0]) if has_aux else (outputs, product)


def stack_module_state(models: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and the buffers of models of one class, each stacked along a new first
    dimension, for vmap over functional_call.

    Raises:
        RuntimeError: there are no models, or they differ in class or mode.
    """
    models = list(models)
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({m.training for m in models}) > 1:
        raise RuntimeError(
            "stack_module_state: Expected all models to have the same training/eval mode."
        )
    if len({type(m) for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")

    def stacked(tensors: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            name: _C.stack([t[name].detach() for t in tensors]).requires_grad_(first.requires_grad)
            for name, first in tensors[0].items()
        }

    parameters = stacked([dict(m.named_parameters()) for m in models])
    return parameters, stacked([dict(m.named_buffers()) for m in models])


def hessian(func: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """A function that gives the second derivatives of func with respect to one argument."""

    def function(*args: Any) -> Any:
        def of_one(value: Any) -> Any:
            return func(*args[:argnums], value, *args[argnums + 1 :])

        return functional.hessian(of_one, args[argnums])

    return function
