"""Optimizers and schedules: parameters and rates after some steps, and the argument checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import outcome


def train(L: Any, make: Callable[[Any], Any], steps: int = 6) -> Any:
    """Parameters after each of some steps on a small least-squares problem."""
    rng = np.random.default_rng(0)
    x = L.tensor(rng.standard_normal((8, 3)).astype(np.float32))
    y = L.tensor(rng.standard_normal((8, 2)).astype(np.float32))
    w = L.nn.Parameter(L.tensor(rng.standard_normal((3, 2)).astype(np.float32)))
    b = L.nn.Parameter(L.zeros(2))
    optimizer = make([w, b])
    path = []
    for _ in range(steps):
        optimizer.zero_grad()
        ((x @ w + b - y) ** 2).mean().backward()
        optimizer.step()
        path.append([w.detach().tolist(), b.detach().tolist()])
    return path


def case_sgd(L: Any) -> Any:
    SGD = L.optim.SGD
    options = [
        {"lr": 0.1},
        {"lr": 0.1, "weight_decay": 0.1},
        {"lr": 0.1, "momentum": 0.9},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.5},
        {"lr": 0.1, "momentum": 0.9, "nesterov": True},
        {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.01, "nesterov": True},
        {"lr": 0.01, "maximize": True},
        {"lr": 0.01, "maximize": True, "momentum": 0.9},
    ]
    return [train(L, lambda p, o=o: SGD(p, **o)) for o in options]


def case_adam(L: Any) -> Any:
    options = [
        {"lr": 0.1},
        {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3},
        {"lr": 0.1, "weight_decay": 0.1},
        {"lr": 0.1, "amsgrad": True},
        {"lr": 0.1, "maximize": True},
        {"lr": 0.1, "amsgrad": True, "weight_decay": 0.1},
        {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True},
    ]
    return [train(L, lambda p, o=o: L.optim.Adam(p, **o)) for o in options]


def case_adamw(L: Any) -> Any:
    options = [{"lr": 0.1}, {"lr": 0.1, "weight_decay": 0.5}, {"lr": 0.1, "amsgrad": True}]
    return [train(L, lambda p, o=o: L.optim.AdamW(p, **o)) for o in options]


def case_groups(L: Any) -> Any:
    return train(
        L,
        lambda p: L.optim.SGD(
            [{"params": [p[0]]}, {"params": p[1], "lr": 0.5, "weight_decay": 0.1}], lr=0.1
        ),
    )


def case_closure(L: Any) -> Any:
    w = L.nn.Parameter(L.tensor([1.0, -2.0]))
    optimizer = L.optim.SGD([w], lr=0.1)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    return [optimizer.step(closure).item() for _ in range(3)] + w.tolist()


def case_repr(L: Any) -> Any:
    w = L.nn.Parameter(L.zeros(2))
    return [repr(L.optim.SGD([w], lr=0.1)).replace("\n", "|")]


def case_state_dict_keys(L: Any) -> Any:
    w, b = L.nn.Parameter(L.ones(2)), L.nn.Parameter(L.ones(1))
    optimizer = L.optim.Adam([{"params": [w]}, {"params": [b], "lr": 1.0}])
    (w.sum() + b.sum()).backward()
    optimizer.step()
    state = optimizer.state_dict()
    return {
        "state": sorted(state["state"]),
        "names": sorted(state["state"][0]),
        "params": [group["params"] for group in state["param_groups"]],
        "lr": [group["lr"] for group in state["param_groups"]],
    }


def case_resume(L: Any) -> Any:
    """Saving after 3 steps and loading into a new optimizer goes on as if nothing had happened."""
    results = []
    for kind, options in (("SGD", {"momentum": 0.9}), ("Adam", {}), ("AdamW", {})):
        w = L.nn.Parameter(L.tensor([1.0, -2.0, 3.0]))
        optimizer = getattr(L.optim, kind)([w], lr=0.1, **options)
        for i in range(6):
            if i == 3:
                saved = optimizer.state_dict()
                optimizer = getattr(L.optim, kind)([w], lr=77.0, **options)
                optimizer.load_state_dict(saved)
            optimizer.zero_grad()
            (w**2).sum().backward()
            optimizer.step()
        results.append(w.tolist())
    return results


def case_zero_grad(L: Any) -> Any:
    w = L.nn.Parameter(L.ones(2))
    optimizer = L.optim.SGD([w], lr=0.1)
    w.sum().backward()
    optimizer.zero_grad(set_to_none=False)
    zero = w.grad.tolist()
    optimizer.zero_grad()
    return [zero, w.grad is None]


def case_bad_arguments(L: Any) -> Any:
    w = L.nn.Parameter(L.ones(2))
    twice = L.ones(2, requires_grad=True) * 2
    o = L.optim
    attempts = [
        lambda: o.SGD([w], lr=-1.0),
        lambda: o.SGD([w], lr=0.1, momentum=-1),
        lambda: o.SGD([w], lr=0.1, weight_decay=-1),
        lambda: o.SGD([w], lr=0.1, nesterov=True),
        lambda: o.SGD([w], lr=0.1, nesterov=True, momentum=0.9, dampening=0.1),
        lambda: o.SGD([], lr=0.1),
        lambda: o.SGD([twice], lr=0.1),
        lambda: o.SGD([1.0], lr=0.1),
        lambda: o.SGD([w, {"params": []}], lr=0.1),
        lambda: o.SGD([{"params": [w]}, {"params": [w]}], lr=0.1),
        lambda: o.SGD([{"params": {w}}], lr=0.1),
        lambda: o.Adam([w], lr=-1.0),
        lambda: o.Adam([w], eps=-1.0),
        lambda: o.Adam([w], betas=(1.0, 0.9)),
        lambda: o.Adam([w], betas=(0.9, -0.1)),
        lambda: o.Adam([w], weight_decay=-0.1),
        lambda: o.AdamW([w], lr=-0.1),
        lambda: o.SGD([("w", w), w], lr=0.1),
    ]
    return [outcome(lambda a=a: (a(), "fine")[1]) for a in attempts]


def case_bad_state_dicts(L: Any) -> Any:
    w, b = L.nn.Parameter(L.ones(2)), L.nn.Parameter(L.ones(1))
    one = L.optim.SGD([w], lr=0.1)
    two = L.optim.SGD([w, b], lr=0.1)
    split = L.optim.SGD([{"params": [w]}, {"params": [b]}], lr=0.1)
    return [
        outcome(lambda: one.load_state_dict(two.state_dict())),
        outcome(lambda: two.load_state_dict(split.state_dict())),
    ]


def case_hooks(L: Any) -> Any:
    w = L.nn.Parameter(L.ones(2))
    optimizer = L.optim.SGD([w], lr=0.1)
    seen = []
    before = optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    optimizer.register_state_dict_post_hook(lambda o, d: {**d, "extra": 1})
    w.sum().backward()
    optimizer.step()
    before.remove()
    optimizer.step()
    return [seen, sorted(optimizer.state_dict())]


def rates(L: Any, make: Callable[[Any], Any], steps: int = 14, **options: Any) -> Any:
    ws = [L.nn.Parameter(L.ones(1)) for _ in range(2)]
    options = options or {"momentum": 0.9}
    optimizer = L.optim.SGD(
        [{"params": [ws[0]]}, {"params": [ws[1]], "lr": 0.5}], lr=1.0, **options
    )
    scheduler = make(optimizer)
    path = []
    for _ in range(steps):
        path.append(
            [[g["lr"] for g in optimizer.param_groups]]
            + [[g["momentum"] for g in optimizer.param_groups]]
            + [list(scheduler.get_last_lr())]
        )
        optimizer.step()
        scheduler.step()
    return path


def case_schedulers(L: Any) -> Any:
    s = L.optim.lr_scheduler
    return {
        "lambda": rates(L, lambda o: s.LambdaLR(o, lambda e: 0.95**e)),
        "lambdas": rates(L, lambda o: s.LambdaLR(o, [lambda e: 1 / (e + 1), lambda e: e + 1.0])),
        "multiplicative": rates(L, lambda o: s.MultiplicativeLR(o, lambda e: 0.9)),
        "step": rates(L, lambda o: s.StepLR(o, 3, 0.5)),
        "multistep": rates(L, lambda o: s.MultiStepLR(o, [2, 5, 5, 9], 0.5)),
        "constant": rates(L, lambda o: s.ConstantLR(o, 0.25, 4)),
        "linear": rates(L, lambda o: s.LinearLR(o, 0.1, 0.8, 5)),
        "exponential": rates(L, lambda o: s.ExponentialLR(o, 0.7)),
        "polynomial": rates(L, lambda o: s.PolynomialLR(o, 8, 2.0)),
        "cosine": rates(L, lambda o: s.CosineAnnealingLR(o, 5, 0.01)),
        "restarts": rates(L, lambda o: s.CosineAnnealingWarmRestarts(o, 3, 2, 0.01)),
        "onecycle": rates(L, lambda o: s.OneCycleLR(o, 2.0, 14), steps=13),
        "onecycle3": rates(
            L,
            lambda o: s.OneCycleLR(
                o,
                [2.0, 3.0],
                epochs=2,
                steps_per_epoch=7,
                three_phase=True,
                anneal_strategy="linear",
            ),
            steps=13,
        ),
        "cyclic": rates(L, lambda o: s.CyclicLR(o, 0.1, 1.0, 3, 2)),
        "cyclic2": rates(L, lambda o: s.CyclicLR(o, 0.1, 1.0, 3, mode="triangular2")),
        "cyclic3": rates(L, lambda o: s.CyclicLR(o, 0.1, 1.0, 3, mode="exp_range", gamma=0.9)),
        "chained": rates(
            L, lambda o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 3), s.ExponentialLR(o, 0.9)])
        ),
        "sequential": rates(
            L,
            lambda o: s.SequentialLR(
                o, [s.ConstantLR(o, 0.1, 2), s.ExponentialLR(o, 0.9)], milestones=[4]
            ),
        ),
        "warmup": rates(
            L,
            lambda o: s.SequentialLR(
                o, [s.LinearLR(o, 0.1, 1.0, 4), s.CosineAnnealingLR(o, 8)], milestones=[4]
            ),
        ),
    }


def case_plateau(L: Any) -> Any:
    s = L.optim.lr_scheduler
    results = []
    for options in (
        {"patience": 1},
        {"patience": 0, "cooldown": 2, "factor": 0.5},
        {"mode": "max", "patience": 1, "threshold_mode": "abs", "threshold": 0.1},
        {"patience": 0, "min_lr": 0.3, "factor": 0.5},
    ):
        optimizer = L.optim.SGD([L.nn.Parameter(L.ones(1))], lr=1.0)
        scheduler = s.ReduceLROnPlateau(optimizer, **options)
        path = []
        for value in (5, 4, 4, 4, 3.9999, 4, 4, 4, 1, 1, 1, 1, 1):
            scheduler.step(value)
            path.append([optimizer.param_groups[0]["lr"], scheduler.num_bad_epochs])
        results.append(path)
    return results


def case_bad_schedulers(L: Any) -> Any:
    s = L.optim.lr_scheduler
    optimizer = L.optim.SGD([L.nn.Parameter(L.ones(1))], lr=1.0)
    attempts = [
        lambda: s.StepLR(1, 2),
        lambda: s.LambdaLR(optimizer, [lambda e: 1, lambda e: 2]),
        lambda: s.ConstantLR(optimizer, 2.0),
        lambda: s.LinearLR(optimizer, 0.0),
        lambda: s.LinearLR(optimizer, 0.5, 2.0),
        lambda: s.CosineAnnealingWarmRestarts(optimizer, 0),
        lambda: s.OneCycleLR(optimizer, 1.0),
        lambda: s.OneCycleLR(optimizer, 1.0, -1),
        lambda: s.OneCycleLR(optimizer, 1.0, 10, pct_start=2.0),
        lambda: s.ReduceLROnPlateau(optimizer, factor=1.0),
        lambda: s.ReduceLROnPlateau(optimizer, mode="up"),
        lambda: s.CyclicLR(optimizer, 0.1, 1.0, mode="x"),
        lambda: s.SequentialLR(optimizer, [], []),
    ]
    return [outcome(lambda a=a: (a(), "fine")[1]) for a in attempts]


def case_scheduler_state(L: Any) -> Any:
    optimizer = L.optim.SGD([L.nn.Parameter(L.ones(1))], lr=1.0)
    scheduler = L.optim.lr_scheduler.StepLR(optimizer, 2)
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    state = scheduler.state_dict()
    other = L.optim.lr_scheduler.StepLR(optimizer, 5)
    other.load_state_dict(state)
    return [state["last_epoch"], state["step_size"], other.step_size, other.get_last_lr()]


def case_adaptive(L: Any) -> Any:
    o = L.optim
    options: list[tuple[Any, list[dict[str, Any]]]] = [
        (o.RMSprop, [{}, {"momentum": 0.9, "centered": True}, {"weight_decay": 0.1, "lr": 0.1}]),
        (o.RMSprop, [{"maximize": True, "alpha": 0.5}]),
        (o.Adagrad, [{}, {"lr": 0.5, "lr_decay": 0.1}, {"initial_accumulator_value": 0.3}]),
        (o.Adadelta, [{}, {"rho": 0.5, "weight_decay": 0.1}, {"maximize": True}]),
        (o.Adamax, [{}, {"lr": 0.1, "betas": (0.5, 0.8), "weight_decay": 0.01}]),
        (o.NAdam, [{}, {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}]),
        (o.NAdam, [{"weight_decay": 0.1, "momentum_decay": 0.1}]),
        (o.RAdam, [{"lr": 0.1}, {"lr": 0.1, "weight_decay": 0.1}, {"betas": (0.9, 0.5)}]),
        (o.RAdam, [{"weight_decay": 0.1, "decoupled_weight_decay": True}]),
        (o.ASGD, [{}, {"lr": 0.1, "t0": 2, "weight_decay": 0.1}, {"lambd": 0.1, "alpha": 0.5}]),
        (o.Rprop, [{}, {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (1e-3, 0.2)}]),
    ]
    return [train(L, lambda p, k=k, a=a: k(p, **a), 8) for k, each in options for a in each]


def case_lbfgs(L: Any) -> Any:
    """Rosenbrock's valley: the path and how often the function was computed."""
    results = []
    for options in (
        {"lr": 0.1, "max_iter": 4},
        {"line_search_fn": "strong_wolfe", "max_iter": 5},
        {"line_search_fn": "strong_wolfe", "history_size": 3, "lr": 0.5},
    ):
        x = L.nn.Parameter(L.tensor([-1.2, 1.0], dtype=L.float64))
        optimizer = L.optim.LBFGS([x], **options)

        def closure(x: Any = x, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
            loss.backward()
            return loss

        path = [[optimizer.step(closure).item(), *x.tolist()] for _ in range(4)]
        results.append([path, optimizer.state_dict()["state"][0]["func_evals"]])
    return results


def case_differentiable(L: Any) -> Any:
    """The gradient of what a step makes of the parameter, to the rate's factor and the start."""
    results = []
    kinds = [
        ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
        ("Adam", {"lr": 0.1}),
        ("Adam", {"lr": 0.1, "amsgrad": True, "weight_decay": 0.1}),
        ("AdamW", {"lr": 0.1}),
        ("RMSprop", {"lr": 0.1}),
        ("Adamax", {"lr": 0.1}),
    ]
    for kind, options in kinds:
        start = L.tensor([1.0, -2.0, 3.0], dtype=L.float64, requires_grad=True)
        p = start.clone()
        optimizer = getattr(L.optim, kind)([p], differentiable=True, **options)
        p.grad = start * start
        optimizer.step()
        (p**2).sum().backward()
        results.append([p.tolist(), start.grad.tolist()])
    return results


def case_counts(L: Any) -> Any:
    """What the state dict says after three steps, names and kinds."""
    results = []
    for kind in ("Adam", "AdamW", "RMSprop", "Adagrad", "NAdam", "ASGD", "Rprop", "SGD"):
        w = L.nn.Parameter(L.ones(2))
        optimizer = getattr(L.optim, kind)([w], lr=0.1)
        for _ in range(3):
            w.grad = L.ones(2)
            optimizer.step()
        state = optimizer.state_dict()["state"]
        results.append(
            {
                key: [str(value.dtype), list(value.shape)] if hasattr(value, "dtype") else value
                for key, value in sorted(state.get(0, {}).items())
            }
        )
        if "step" in state.get(0, {}):
            results.append(state[0]["step"].item())
    return results


def case_averages(L: Any) -> Any:
    from importlib import import_module

    swa = import_module(f"{L.__name__}.optim.swa_utils")
    results = []
    for options in (
        {},
        {"multi_avg_fn": swa.get_ema_multi_avg_fn(0.9)},
        {"avg_fn": swa.get_ema_avg_fn(0.5)},
        {"avg_fn": swa.get_swa_avg_fn()},
        {"multi_avg_fn": swa.get_swa_multi_avg_fn(), "use_buffers": True},
    ):
        model = L.nn.Linear(2, 1)
        model.register_buffer("seen", L.zeros(2))
        averaged = swa.AveragedModel(model, **options)
        for i in range(4):
            with L.no_grad():
                model.weight.copy_(L.tensor([[1.0 + i, 2.0 * i]]))
                model.bias.fill_(i**2)
                model.seen.fill_(i + 1.0)
            averaged.update_parameters(model)
        results.append({k: v.tolist() for k, v in averaged.state_dict().items()})
    results.append(outcome(lambda: swa.get_ema_avg_fn(2.0)))
    results.append(rates(L, lambda o: swa.SWALR(o, 0.05, 5), 8))
    results.append(rates(L, lambda o: swa.SWALR(o, [0.05, 0.1], 3, "linear"), 8))
    return results


def case_more_bad_arguments(L: Any) -> Any:
    w = L.nn.Parameter(L.ones(2))
    o = L.optim
    attempts = [
        lambda: o.RMSprop([w], alpha=-1.0),
        lambda: o.RMSprop([w], momentum=-1.0),
        lambda: o.Adagrad([w], lr_decay=-1.0),
        lambda: o.Adagrad([w], initial_accumulator_value=-1.0),
        lambda: o.Adadelta([w], rho=2.0),
        lambda: o.Adamax([w], betas=(0.9, 1.0)),
        lambda: o.NAdam([w], momentum_decay=-1.0),
        lambda: o.RAdam([w], eps=-1.0),
        lambda: o.ASGD([w], lr=-1.0),
        lambda: o.Rprop([w], etas=(1.5, 1.2)),
        lambda: o.LBFGS([w], lr=-1.0),
        lambda: o.LBFGS([{"params": [w]}, {"params": [L.nn.Parameter(L.ones(1))]}]),
        lambda: o.LBFGS([w], line_search_fn="x").step(lambda: (w * w).sum()),
        lambda: o.Adam([w], fused=True, foreach=True),
        lambda: o.Adagrad([w], fused=True, foreach=True),
        lambda: o.Adam([w], fused=True, differentiable=True),
        lambda: o.SGD([w], fused=True, differentiable=True),
        lambda: o.Adam([w], lr=L.tensor(0.1), foreach=True),
        lambda: o.Adam([w], lr=L.tensor([0.1, 0.2])),
    ]
    return [outcome(lambda a=a: (a(), "fine")[1]) for a in attempts]
