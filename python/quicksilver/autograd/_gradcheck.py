"""gradcheck: gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quicksilver import _C, autograd

Tensor = _C.Tensor


class GradcheckError(RuntimeError):
    """A gradient is not what finite differences say."""


def _numbers(outputs: Any) -> tuple[Tensor, ...]:
    together = tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)
    return tuple(y for y in together if isinstance(y, Tensor) and y.is_floating_point())


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Whether the gradients of func's real outputs with respect to those of inputs that need one
    are the central differences of step eps, within atol + rtol |difference|.

    Inputs should be double precision: differences of float32 are too rough. Options about
    forward-mode, batched and sparse gradients have nothing to check here.

    Raises:
        ValueError: no input needs a gradient.
        GradcheckError: they are not, unless raise_exception is False.
    """
    given = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    places = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]
    if not places:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them have"
            " requires_grad=True."
        )
    outputs = _numbers(func(*given))
    for o, y in enumerate(outputs):
        for i in places:
            analytic = _analytic(y, given[i])
            numeric = _differences(func, given, i, o, eps, y.numel())
            if not _C.allclose(analytic, numeric, rtol, atol):
                if not raise_exception:
                    return False
                raise GradcheckError(
                    f"Jacobian mismatch for output {o} with respect to input {i},\nnumerical:"
                    f"{numeric}\nanalytical:{analytic}\n"
                )
    return True


def _analytic(y: Tensor, x: Tensor) -> Tensor:
    """[x elements, y elements]"""
    columns = []
    for one in y.reshape(-1).unbind(0):
        if y.requires_grad:
            (g,) = autograd.grad(one, x, retain_graph=True, materialize_grads=True)
        else:
            g = _C.zeros_like(x)
        columns.append(g.reshape(-1))
    if not columns:
        return _C.zeros(x.numel(), 0, dtype=x.dtype, device=x.device)
    return _C.stack(columns, 1)


def _differences(
    func: Callable[..., Any], given: tuple[Any, ...], i: int, o: int, eps: float, count: int
) -> Tensor:
    x = given[i].detach()
    rows = []
    for at in range(x.numel()):
        ends = []
        for step in (eps, -eps):
            moved = x.clone(memory_format=_C.contiguous_format)
            moved.view(-1)[at] += step
            args = [v.detach() if isinstance(v, Tensor) else v for v in given]
            args[i] = moved.requires_grad_()
            ends.append(_numbers(func(*args))[o].detach().reshape(-1))
        rows.append((ends[0] - ends[1]) / (2 * eps))
    if not rows:
        return _C.zeros(0, count, dtype=x.dtype, device=x.device)
    return _C.stack(rows)


def gradgradcheck(
    func: Callable[..., Any], inputs: Any, grad_outputs: Any = None, **options: Any
) -> bool:
    """gradcheck of the gradients of func: their gradients against finite differences.

    Args:
        grad_outputs: what the outputs' gradients are; random by default.
        options: gradcheck's.
    """
    given = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    outputs = _numbers(func(*given))
    if grad_outputs is None:
        grad_outputs = tuple(_C.randn_like(y).requires_grad_() for y in outputs)
    elif isinstance(grad_outputs, Tensor):
        grad_outputs = (grad_outputs,)
    places = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]

    def slopes(*values: Any) -> Any:
        args, vs = values[: len(given)], values[len(given) :]
        args = tuple(
            x.requires_grad_() if i in places and not x.requires_grad else x
            for i, x in enumerate(args)
        )
        ys = _numbers(func(*args))
        wanted = [args[i] for i in places]
        return autograd.grad(ys, wanted, vs, create_graph=True, materialize_grads=True)

    for name in ("gen_non_contig_grad_outputs",):
        options.pop(name, None)
    return gradcheck(slopes, (*given, *grad_outputs), **options)
