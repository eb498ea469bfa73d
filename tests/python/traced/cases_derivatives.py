"""torch.autograd.functional, torch.func and gradcheck."""

from __future__ import annotations

from typing import Any

from . import outcome
from .cases_nn import fill, net, numbers


def plain(value: Any) -> Any:
    """Tensors as lists of shape and numbers, tuples marked."""
    if isinstance(value, tuple):
        return ["tuple", *map(plain, value)]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if hasattr(value, "tolist"):
        return [list(value.shape), value.requires_grad, value.detach().flatten().tolist()]
    return value


def one(x: Any) -> Any:
    return (x**3).sum() + (x[0] * x[-1]).sum()


def two(x: Any, y: Any) -> Any:
    return x @ y, (x * 2).sum(0)


def case_functional(L: Any) -> Any:
    f, x, y = L.autograd.functional, numbers(L, 2, 3), numbers(L, 3, 2, seed=1)
    v = numbers(L, 2, 2, seed=2), numbers(L, 3, seed=3)
    calls = {
        "jacobian": lambda: f.jacobian(lambda x: x.exp(), x[0]),
        "jacobian of two": lambda: f.jacobian(two, (x, y)),
        "jacobian graph": lambda: f.jacobian(one, x.clone().requires_grad_(), create_graph=True),
        "jacobian unused": lambda: f.jacobian(lambda x, y: x * 2, (x[0], y[0])),
        "jacobian vectorize": lambda: f.jacobian(two, (x, y), vectorize=True),
        "hessian": lambda: f.hessian(one, x),
        "hessian of two": lambda: f.hessian(lambda x, y: (x @ y).square().sum(), (x, y)),
        "vjp": lambda: f.vjp(two, (x, y), v),
        "vjp one": lambda: f.vjp(one, x),
        "jvp": lambda: f.jvp(two, (x, y), (x + 1, y - 1)),
        "jvp one": lambda: f.jvp(lambda x: x.exp(), x, x),
        "vhp": lambda: f.vhp(one, x, x + 1),
        "hvp": lambda: f.hvp(one, x, x + 1),
        "constant": lambda: f.vjp(lambda x: L.ones(2), x, L.ones(2)),
    }
    return {name: plain(call()) for name, call in calls.items()}


def case_functional_errors(L: Any) -> Any:
    f, x = L.autograd.functional, numbers(L, 2, 3)
    return [
        outcome(call)
        for call in (
            lambda: f.jacobian(one, 3),
            lambda: f.jacobian(one, (x, 3)),
            lambda: f.vjp(two, (x, x.T)),
            lambda: f.vjp(two, (x, x.T), (x,)),
            lambda: f.vjp(lambda x: x, x, L.ones(2)),
            lambda: f.jvp(one, x),
            lambda: f.hessian(lambda x: x, x),
        )
    ]


def case_func(L: Any) -> Any:
    F, x, y = L.func, numbers(L, 3), numbers(L, 3, seed=1)
    calls = {
        "grad": lambda: F.grad(one)(x),
        "grad of grad": lambda: F.grad(lambda x: F.grad(lambda z: (z**3).sum())(x).sum())(x),
        "two": lambda: F.grad(lambda x, y: (x * y * y).sum(), argnums=(0, 1))(x, y),
        "second": lambda: F.grad(lambda x, y: (x * y * y).sum(), argnums=1)(x, y),
        "aux": lambda: F.grad(lambda x: (x.sum(), x * 2), has_aux=True)(x),
        "value": lambda: F.grad_and_value(one)(x),
        "dict": lambda: F.grad(lambda d: (d["a"] * d["b"]).sum())({"a": x, "b": y}),
        "jacrev": lambda: F.jacrev(lambda x: x.exp())(x),
        "jacfwd": lambda: F.jacfwd(lambda x, y: x * y, argnums=1)(x, y),
        "hessian": lambda: F.hessian(one)(x),
        "vjp": lambda: (lambda out, f: (out, f(y)))(*F.vjp(lambda x: x.sin(), x)),
    }
    results = {name: plain(call()) for name, call in calls.items()}
    results["vector"] = outcome(lambda: F.grad(lambda x: x)(x))
    return results


def case_functional_call(L: Any) -> Any:
    call, model, x = L.func.functional_call, fill(L, net(L)), numbers(L, 2, 3)
    weight = (model.first.weight.detach() * 2).requires_grad_()
    out = call(model, {"first.weight": weight}, (x,))
    out.sum().backward()
    tied = L.nn.ModuleList([L.nn.Linear(3, 3), L.nn.Linear(3, 3)])
    tied[1].weight = tied[0].weight
    both = L.nn.Sequential(*fill(L, tied))
    new = {"0.weight": L.eye(3)}
    return [
        plain(out),
        plain(weight.grad),
        model.first.weight.grad is None,
        plain(model(x)),
        plain(call(both, new, x)),
        plain(call(both, new, x, tie_weights=False)),
        plain(call(model, ({"first.weight": weight}, {"last.bias": L.zeros(2)}), x)),
        isinstance(outcome(lambda: call(model, {"nope": weight}, x)), dict),
        outcome(lambda: call(model, {"first.weight": weight}, x, strict=True))["error"],
    ]


def case_gradcheck(L: Any) -> Any:
    A = L.autograd
    x = numbers(L, 3).double().requires_grad_()
    y = numbers(L, 3, seed=1).double().requires_grad_()

    class Wrong(A.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 3

    return [
        A.gradcheck(lambda x, y: (x * y).exp(), (x, y)),
        A.gradcheck(L.sin, x),
        A.gradgradcheck(lambda x, y: x * x * y, (x, y)),
        A.gradcheck(Wrong.apply, x, raise_exception=False),
        outcome(lambda: A.gradcheck(Wrong.apply, x))["error"],
        outcome(lambda: A.gradcheck(L.sin, x.detach())),
    ]
