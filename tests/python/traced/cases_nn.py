"""Modules: their text, names, state dicts, hooks and errors. Layers are in cases_layers.py."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np

from . import outcome


def numbers(L: Any, *shape: int, seed: int = 0) -> Any:
    return L.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def fill(L: Any, module: Any) -> Any:
    """Gives every parameter the same numbers in both libraries."""
    for i, parameter in enumerate(module.parameters()):
        with L.no_grad():
            parameter.copy_(numbers(L, *parameter.shape, seed=i))
    return module


def net(L: Any) -> Any:
    n = L.nn
    return n.Sequential(
        OrderedDict(
            first=n.Linear(3, 4),
            act=n.ReLU(),
            body=n.Sequential(n.Linear(4, 4, bias=False), n.Tanh(), n.LayerNorm(4)),
            last=n.Linear(4, 2),
        )
    )


def case_reprs(L: Any) -> Any:
    n = L.nn
    modules = [
        n.Linear(3, 4), n.Linear(3, 4, bias=False), n.Bilinear(2, 3, 4), n.Identity(),
        n.ReLU(), n.ReLU(True), n.Sigmoid(), n.Tanh(), n.GELU(), n.GELU("tanh"), n.SiLU(),
        n.SiLU(True), n.LeakyReLU(0.1), n.LeakyReLU(0.1, True), n.ELU(), n.ELU(0.5, True),
        n.CELU(), n.SELU(), n.Softplus(), n.Softmax(1), n.LogSoftmax(-1), n.Dropout(),
        n.Dropout(0.2, True), n.Dropout2d(), n.Flatten(), n.Unflatten(1, (2, 3)), n.LayerNorm(4),
        n.LayerNorm((2, 3), elementwise_affine=False), n.LayerNorm(4, bias=False), n.RMSNorm(4),
        n.Embedding(5, 3), n.Embedding(5, 3, padding_idx=-1), n.Hardtanh(), n.ReLU6(), n.GLU(),
        n.PReLU(), n.Threshold(0.1, 2), n.Hardshrink(), n.Softshrink(), n.Mish(), n.Softsign(),
        n.CrossEntropyLoss(), n.MSELoss(), n.NLLLoss(), n.BCELoss(), n.BCEWithLogitsLoss(),
        n.L1Loss(), n.KLDivLoss(), n.SmoothL1Loss(), n.HuberLoss(), n.Sequential(),
        n.ModuleList(), n.ModuleList([n.Linear(1, 1) for _ in range(3)] + [n.ReLU()]),
        n.ModuleDict({"a": n.ReLU(), "b": n.Linear(1, 2)}), net(L),
        n.ParameterList([L.zeros(2), L.zeros(2, 3)]), n.ParameterDict({"w": L.zeros(2)}),
    ]  # fmt: skip
    return [repr(module) for module in modules]


def case_names(L: Any) -> Any:
    model = net(L)
    return {
        "parameters": [(k, list(v.shape)) for k, v in model.named_parameters()],
        "modules": [(k, type(v).__name__) for k, v in model.named_modules()],
        "children": [(k, type(v).__name__) for k, v in model.named_children()],
        "prefix": [k for k, _ in model.named_parameters(prefix="net", recurse=True)],
        "own": [k for k, _ in model.named_parameters(recurse=False)],
        "state": list(model.state_dict()),
        "sub": type(model.get_submodule("body.1")).__name__,
        "parameter": list(model.get_parameter("body.0.weight").shape),
        "dir": [k for k in dir(model) if k in ("first", "body", "forward", "_modules")],
    }


def case_shared(L: Any) -> Any:
    n = L.nn
    one = n.Linear(2, 2)
    model = n.ModuleDict({"a": one, "b": one, "c": n.Linear(2, 2)})
    model["c"].weight = one.weight
    return [
        [k for k, _ in model.named_parameters()],
        [k for k, _ in model.named_parameters(remove_duplicate=False)],
        [k for k, _ in model.named_modules()],
        [k for k, _ in model.named_modules(remove_duplicate=False)],
        list(model.state_dict()),
    ]


class _Parts:
    """Modules of a user's own, for one library."""

    def __init__(self, L: Any) -> None:
        class Net(L.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = L.nn.Linear(2, 3)
                self.scale = L.nn.Parameter(L.ones(3))
                self.register_buffer("mean", L.zeros(3))
                self.register_buffer("temporary", L.zeros(1), persistent=False)
                self.register_buffer("nothing", None)
                self.register_parameter("absent", None)
                self.note = "text"

            def forward(self, x: Any, shift: float = 0.0) -> Any:
                return self.layer(x) * self.scale + self.mean + shift

        self.Net = Net


def case_own_module(L: Any) -> Any:
    model = fill(L, _Parts(L).Net())
    x = numbers(L, 4, 2)
    return {
        "out": model(x).tolist(),
        "shifted": model(x, shift=1.0).tolist(),
        "state": list(model.state_dict()),
        "buffers": [k for k, _ in model.named_buffers()],
        "repr": repr(model),
        "training": [model.training, model.eval().layer.training, model.train().training],
        "frozen": [p.requires_grad for p in model.requires_grad_(False).parameters()],
        "missing": outcome(lambda: model.no_such),
    }


def case_attributes(L: Any) -> Any:
    n = L.nn
    model = _Parts(L).Net()
    results = [
        outcome(lambda: setattr(model, "scale", L.ones(3))),
        outcome(lambda: setattr(model, "scale", 3)),
        outcome(lambda: setattr(model, "layer", 3)),
        outcome(lambda: setattr(model, "mean", 3)),
        outcome(lambda: setattr(model, "mean", L.ones(3))),
        model.mean.tolist(),
        outcome(lambda: setattr(model, "layer", n.ReLU())),
        [k for k, _ in model.named_children()],
        outcome(lambda: setattr(model, "note", n.Parameter(L.ones(1)))),
        [k for k, _ in model.named_parameters()],
        "note" in model.__dict__,
        outcome(lambda: delattr(model, "note")),
        outcome(lambda: delattr(model, "mean")),
        list(model.state_dict()),
        outcome(lambda: delattr(model, "gone")),
        outcome(lambda: setattr(model, "scale", None)),
        [k for k, _ in model.named_parameters()],
    ]

    class Early(n.Module):
        def __init__(self, value: Any) -> None:
            self.value = value

    return results + [
        outcome(lambda: Early(n.Parameter(L.ones(1)))),
        outcome(lambda: Early(n.ReLU())),
        outcome(lambda: n.Module(1)),
        outcome(lambda: n.Module(a=1)),
        outcome(lambda: n.Module()(1)),
    ]


def case_registering(L: Any) -> Any:
    m = L.nn.Module()
    m.taken = 1
    p = L.nn.Parameter(L.ones(1))
    return [
        outcome(lambda a=a: (a(), "fine")[1])
        for a in (
            lambda: m.register_parameter("a.b", p),
            lambda: m.register_parameter("", p),
            lambda: m.register_parameter(1, p),
            lambda: m.register_parameter("taken", p),
            lambda: m.register_parameter("x", L.ones(1)),
            lambda: m.register_parameter("y", 1),
            lambda: m.register_buffer("a.b", L.ones(1)),
            lambda: m.register_buffer("", L.ones(1)),
            lambda: m.register_buffer("taken", L.ones(1)),
            lambda: m.register_buffer("b", 1),
            lambda: m.register_buffer(1, L.ones(1)),
            lambda: m.add_module("a.b", m),
            lambda: m.add_module("", m),
            lambda: m.add_module("taken", m),
            lambda: m.add_module("m", 1),
            lambda: m.add_module(1, L.nn.ReLU()),
            lambda: m.get_submodule("no"),
            lambda: m.get_submodule("taken"),
            lambda: m.get_parameter("taken"),
            lambda: m.get_parameter("no"),
            lambda: m.get_buffer("taken"),
            lambda: m.train("yes"),
            lambda: m.to(L.int64),
        )
    ]


def case_load_state_dict(L: Any) -> Any:
    n = L.nn
    model = net(L)
    good = fill(L, net(L)).state_dict()
    results: list[Any] = [str(model.load_state_dict(good))]
    results.append([v.tolist() for v in model.state_dict().values()])
    missing = OrderedDict(list(good.items())[1:])
    extra = OrderedDict(good, **{"more.weight": L.ones(1), "extra": L.ones(1)})
    wrong = OrderedDict(good)
    wrong["first.weight"] = L.ones(2, 2)
    wrong["last.bias"] = L.ones(5)
    no_tensor = OrderedDict(good)
    no_tensor["first.bias"] = 3
    for state in (missing, extra, wrong, no_tensor, OrderedDict(missing, other=L.ones(1)), 5):
        results.append(outcome(lambda s=state: str(model.load_state_dict(s))))
    loose = model.load_state_dict(missing, strict=False)
    results += [list(loose.missing_keys), list(loose.unexpected_keys), str(loose)]
    loose = model.load_state_dict(extra, strict=False)
    results += [list(loose.missing_keys), list(loose.unexpected_keys)]
    results.append(outcome(lambda: str(model.load_state_dict(wrong, strict=False))))
    results.append(outcome(lambda: n.ReLU().load_state_dict({"x": L.ones(1)})))
    other = net(L)
    other.load_state_dict(good, assign=True)
    results.append([v.tolist() for v in other.state_dict().values()])
    return results


def case_hooks(L: Any) -> Any:
    layer = fill(L, L.nn.Linear(2, 2))
    x = numbers(L, 3, 2)
    seen: list[Any] = []
    handles = [
        layer.register_forward_pre_hook(lambda m, a: seen.append(("pre", len(a)))),
        layer.register_forward_pre_hook(lambda m, a: (a[0] * 2,)),
        layer.register_forward_hook(lambda m, a, o: seen.append(("post", list(o.shape)))),
        layer.register_forward_hook(lambda m, a, o: o + 1),
        layer.register_forward_hook(lambda m, a, o: seen.append(("first", 0)), prepend=True),
        layer.register_forward_hook(
            lambda m, a, k, o: seen.append(("kwargs", sorted(k))), with_kwargs=True
        ),
    ]
    hooked = layer(x).tolist()
    for handle in handles:
        handle.remove()
    return [hooked, layer(x).tolist(), seen, layer(input=x).tolist()]


def case_always_called(L: Any) -> Any:
    class Failing(L.nn.Module):
        def forward(self, x: Any) -> Any:
            raise KeyError("inside")

    seen: list[Any] = []
    module = Failing()
    module.register_forward_hook(lambda m, a, o: seen.append(o is None), always_call=True)
    return [outcome(lambda: module(1)), seen]


def case_bad_hooks(L: Any) -> Any:
    layer = L.nn.Linear(2, 2)
    layer.register_forward_pre_hook(lambda m, a, k: 1, with_kwargs=True)
    return outcome(lambda: layer(L.ones(1, 2)))


def case_backward_hooks(L: Any) -> Any:
    model = fill(L, L.nn.Sequential(L.nn.Linear(2, 3), L.nn.Tanh(), L.nn.Linear(3, 1)))
    x = numbers(L, 4, 2).requires_grad_()
    seen: list[Any] = []

    def note(kind: str) -> Any:
        def hook(m: Any, *gradients: Any) -> None:
            seen.append(
                [kind, type(m).__name__]
                + [[None if g is None else g.tolist() for g in part] for part in gradients]
            )

        return hook

    model[1].register_full_backward_hook(note("full"))
    model[2].register_full_backward_pre_hook(note("pre"))
    model[0].register_full_backward_hook(lambda m, i, o: (i[0] * 2,))
    model(x).sum().backward()
    return [seen, x.grad.tolist(), [p.grad.tolist() for p in model.parameters()]]


def case_state_hooks(L: Any) -> Any:
    model = L.nn.Linear(1, 1, bias=False)
    seen: list[Any] = []
    model.register_state_dict_pre_hook(lambda m, prefix, keep: seen.append(["pre", prefix, keep]))
    model.register_state_dict_post_hook(lambda m, d, prefix, meta: d.update(note=L.ones(1)))
    model.register_load_state_dict_pre_hook(lambda m, d, *rest: d.pop("note"))
    model.register_load_state_dict_post_hook(lambda m, keys: seen.append(list(keys[0])))
    state = model.state_dict()
    return [list(state), str(model.load_state_dict(state)), seen]


def case_containers(L: Any) -> Any:
    n = L.nn
    s = n.Sequential(n.Linear(1, 2), n.ReLU(), n.Linear(2, 3))
    results: list[Any] = [len(s), repr(s[1]), repr(s[-1]), repr(s[0:2]), repr(list(s)[2])]
    s[1] = n.Tanh()
    s.append(n.Sigmoid())
    s.insert(0, n.Identity())
    s.extend([n.ELU()])
    results += [repr(s), repr(s.pop(0)), repr(s)]
    del s[0]
    results += [repr(s), repr(s + n.Sequential(n.ReLU())), repr(n.Sequential(n.ReLU()) * 2)]
    results += [
        outcome(lambda: s[10]),
        outcome(lambda: s + [1]),
        outcome(lambda: n.Sequential(1)),
        outcome(lambda: s * 0),
        outcome(lambda: s * "a"),
    ]
    m = n.ModuleList([n.Linear(1, 1), n.ReLU()])
    m.append(n.Tanh())
    m.extend([n.ELU()])
    m.insert(1, n.Identity())
    m += [n.GELU()]
    results += [repr(m), len(m), repr(m[1:3]), repr(m[-1]), repr(m.pop(0))]
    del m[0]
    results += [repr(m), outcome(lambda: m[9]), outcome(lambda: m.extend(1))]
    results += [outcome(lambda: m.append(1)), repr(m + [n.ReLU()])]
    d = n.ModuleDict([["a", n.ReLU()], ["b", n.Tanh()]])
    d.update({"c": n.ELU()})
    d["d"] = n.GELU()
    results += [list(d), len(d), "a" in d, list(d.keys()), repr(d.pop("a")), repr(d)]
    results += [
        outcome(lambda: d["zz"]),
        outcome(lambda: d.update([1])),
        outcome(lambda: d.update(1)),
    ]
    results += [outcome(lambda: d.update([[1, 2, 3]]))]
    return results


def case_parameter_containers(L: Any) -> Any:
    n = L.nn
    p = n.ParameterList([L.ones(1), n.Parameter(L.zeros(2))])
    p.append(L.ones(3))
    p.extend([L.ones(4)])
    p += [L.ones(5)]
    results: list[Any] = [len(p), [k for k, _ in p.named_parameters()], repr(p), repr(p[1:3])]
    p[0] = L.zeros(7)
    results += [list(p[0].shape), type(p[0]).__name__, list(p[-1].shape), outcome(lambda: p[9])]
    results += [outcome(lambda: p.extend(1)), outcome(lambda: p(1))]
    d = n.ParameterDict({"b": L.ones(1), "a": L.ones(2)})
    d["c"] = L.ones(3)
    results += [list(d), len(d), [k for k, _ in d.named_parameters()], repr(d), "a" in d]
    results += [list(d.pop("a").shape), d.get("no") is None, outcome(lambda: d["no"])]
    results += [list(d.popitem()[1].shape), list(d.setdefault("z", L.ones(4)).shape)]
    results += [list((d | n.ParameterDict({"q": L.ones(1)})).keys()), list(d.copy())]
    results += [outcome(lambda: d(1)), list(d.fromkeys(["x", "y"]))]
    return results


def case_apply_and_to(L: Any) -> Any:
    model = net(L)
    names: list[str] = []
    model.apply(lambda m: names.append(type(m).__name__))
    before = [id(p) for p in model.parameters()]
    model.double()
    kinds = [str(p.dtype) for p in model.parameters()]
    model.to(L.float16).float()
    same = before == [id(p) for p in model.parameters()]
    model.to("cpu", L.float64)
    model.to(L.ones(1))
    return [names, kinds[0], same, str(next(model.parameters()).dtype)]


def case_zero_grad(L: Any) -> Any:
    layer = L.nn.Linear(2, 1)
    layer(L.ones(1, 2)).sum().backward()
    layer.zero_grad(set_to_none=False)
    zero = layer.weight.grad.tolist()
    layer.zero_grad()
    return [zero, layer.weight.grad is None]


def case_copies(L: Any) -> Any:
    model = fill(L, net(L))
    x = numbers(L, 2, 3)
    twin = copy.deepcopy(model)
    again = pickle.loads(pickle.dumps(model))
    with L.no_grad():
        model.first.weight.zero_()
    return [
        twin(x).tolist(),
        again(x).tolist(),
        [type(p).__name__ for p in again.parameters()],
        [p.requires_grad for p in twin.parameters()],
        repr(again) == repr(model),
    ]


def case_extra_state(L: Any) -> Any:
    class Net(L.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.count = 3

        def get_extra_state(self) -> Any:
            return {"count": self.count}

        def set_extra_state(self, state: Any) -> None:
            self.count = state["count"]

    one, two = Net(), Net()
    one.count = 7
    two.load_state_dict(one.state_dict())
    return [list(one.state_dict()), two.count, outcome(lambda: two.load_state_dict({}))]
