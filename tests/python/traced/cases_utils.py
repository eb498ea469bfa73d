"""Comparing results, parametrized tensors, and trees."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from . import outcome


def case_assert_close(L: Any) -> Any:
    close = import_module(f"{L.__name__}.testing").assert_close
    t = L.tensor
    pairs = [
        (t([1.0, 2.0]), t([1.0, 2.0 + 1e-7]), {}),
        (t([1.0, 2.0, 4.0]), t([1.0, 2.5, 4.0]), {}),
        (t([[1.0, 2.0], [3.0, 4.0]]), t([[1.0, 2.0], [4.0, 5.0]]), {"rtol": 0.0, "atol": 0.5}),
        (t([1, 2]), t([1, 4]), {}),
        (t(1.0), t(2.0), {}),
        (1.0, 2.0, {}),
        (1, 2, {}),
        (True, False, {}),
        (1, 1.0, {}),
        (t([float("nan")]), t([float("nan")]), {}),
        (t([float("nan")]), t([float("nan")]), {"equal_nan": True}),
        (t([float("inf")]), t([float("inf")]), {}),
        (t([1.0]), t([1.0, 2.0]), {}),
        (t([1.0]), t([1.0], dtype=L.float64), {}),
        (t([1.0]), t([1.0], dtype=L.float64), {"check_dtype": False}),
        (t([True, False]), t([True, True]), {}),
        ([t([1.0]), t([2.0])], [t([1.0]), t([3.0])], {}),
        ({"a": t([1.0]), "b": [1.0]}, {"a": t([1.0]), "b": [2.0]}, {}),
        ({"a": 1}, {"b": 1}, {}),
        ([1], [1, 2], {}),
        (t([1.0]), t([2.0]), {"msg": "own text"}),
        (t([1.0]), t([1.0]), {"rtol": 1.0}),
        (t([1.0]), t([1.1]), {"rtol": 0.0, "atol": 0.2}),
        (None, None, {}),
        (t([1.0], dtype=L.float16), t([1.001], dtype=L.float16), {}),
        (t([1.0], dtype=L.bfloat16), t([1.1], dtype=L.bfloat16), {}),
        (np.array([1.0, 2.0]), np.array([1.0, 2.5]), {}),
    ]
    return [outcome(lambda p=p: close(p[0], p[1], **p[2])) for p in pairs]


def fill(L: Any, tensor: Any) -> None:
    with L.no_grad():
        values = np.random.default_rng(3).standard_normal(tuple(tensor.shape))
        tensor.copy_(L.tensor(values))


def case_parametrize(L: Any) -> Any:
    parametrize = import_module(f"{L.__name__}.nn.utils.parametrize")

    class Symmetric(L.nn.Module):
        def forward(self, x: Any) -> Any:
            return x.triu() + x.triu(1).transpose(-1, -2)

        def right_inverse(self, x: Any) -> Any:
            return x.triu()

    class Double(L.nn.Module):
        def forward(self, x: Any) -> Any:
            return x * 2

    class Wider(L.nn.Module):
        def forward(self, x: Any) -> Any:
            return L.cat([x, x])

    layer = L.nn.Linear(3, 3)
    fill(L, layer.weight)
    before = layer.weight.tolist()
    parametrize.register_parametrization(layer, "weight", Symmetric())
    steps = [layer.weight.tolist(), sorted(layer.state_dict()), type(layer).__name__]
    parametrize.register_parametrization(layer, "weight", Double(), unsafe=True)
    steps += [layer.weight.tolist(), parametrize.is_parametrized(layer)]
    layer(L.ones(2, 3)).sum().backward()
    steps.append(layer.parametrizations.weight.original.grad.tolist())
    with parametrize.cached():
        steps.append(layer.weight is layer.weight)
    steps.append(parametrize.type_before_parametrizations(layer).__name__)
    parametrize.remove_parametrizations(layer, "weight")
    steps += [layer.weight.tolist(), sorted(layer.state_dict()), type(layer).__name__]
    steps.append([name for name, _ in layer.named_parameters()])
    other = L.nn.Linear(3, 3)
    fill(L, other.weight)
    parametrize.register_parametrization(other, "weight", Symmetric())
    other.weight = L.ones(3, 3)
    steps.append(other.weight.tolist())
    parametrize.remove_parametrizations(other, "weight", leave_parametrized=False)
    steps.append(other.weight.tolist())
    return [
        before,
        *steps,
        outcome(lambda: parametrize.register_parametrization(other, "weight", Wider())),
        outcome(lambda: parametrize.remove_parametrizations(other, "bias"))["error"],
        outcome(lambda: parametrize.register_parametrization(other, "none", Double()))["error"],
    ]


def case_weight_norm(L: Any) -> Any:
    norms = import_module(f"{L.__name__}.nn.utils.parametrizations")
    results = []
    for dim in (0, 1, None):
        layer = L.nn.Linear(3, 2)
        fill(L, layer.weight)
        with L.no_grad():
            layer.bias.zero_()
        norms.weight_norm(layer, dim=dim)
        layer(L.ones(1, 3)).pow(2).sum().backward()
        own = layer.parametrizations.weight
        results.append(
            [
                layer.weight.tolist(),
                {name: list(p.shape) for name, p in layer.named_parameters()},
                own.original0.grad.tolist(),
                own.original1.grad.tolist(),
            ]
        )
    layer.load_state_dict(
        {"bias": L.zeros(2), "weight_g": L.ones(()), "weight_v": L.ones(2, 3)}, strict=False
    )
    return [results, layer.weight.tolist()]


def case_spectral_norm(L: Any) -> Any:
    norms = import_module(f"{L.__name__}.nn.utils.parametrizations")
    layer = L.nn.Linear(4, 3)
    fill(L, layer.weight)
    largest = float(np.linalg.svd(layer.weight.detach().numpy(), compute_uv=False)[0])
    norms.spectral_norm(layer, n_power_iterations=60)
    for _ in range(3):
        weight = layer.weight
    weight.sum().backward()
    again = float(np.linalg.svd(weight.detach().numpy(), compute_uv=False)[0])
    layer.eval()
    return [
        round(largest, 4),
        round(again, 3),
        [round(v, 3) for v in weight.flatten().tolist()],
        sorted(layer.state_dict()),
        L.equal(layer.weight, layer.weight),
        outcome(lambda: norms.spectral_norm(L.nn.Linear(2, 2), n_power_iterations=0)),
    ]


def case_trees(L: Any) -> Any:
    tree = import_module(f"{L.__name__}.utils._pytree")
    value = {"a": [1, (2, 3)], "b": {"c": 4}, "d": ()}
    leaves, spec = tree.tree_flatten(value)
    return [
        leaves,
        spec.num_leaves,
        tree.tree_unflatten([v * 10 for v in leaves], spec),
        tree.tree_map(lambda x: x + 1, value),
        tree.tree_map_only(int, lambda x: -x, ["x", 1]),
        tree.tree_leaves(value, is_leaf=lambda x: isinstance(x, tuple)).__repr__(),
        tree.tree_all(lambda x: x > 0, value),
        tree.tree_any(lambda x: x > 3, value),
    ]
