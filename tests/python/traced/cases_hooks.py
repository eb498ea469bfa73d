"""Hooks of all modules, and small things about sequences, losses and scalers found wanting."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import outcome
from .cases_nn import fill, net, numbers


def case_hooks_of_all_modules(L: Any) -> Any:
    M, log = L.nn.modules.module, []

    def kind(module: Any) -> str:
        return type(module).__name__

    handles = [
        M.register_module_forward_pre_hook(lambda m, a: log.append(["before", kind(m), len(a)])),
        M.register_module_forward_hook(lambda m, a, o: log.append(["after", kind(m)])),
        M.register_module_forward_hook(
            lambda m, a, k, o: log.append(["after", kind(m), len(k)]), with_kwargs=True
        ),
        M.register_module_full_backward_pre_hook(
            lambda m, g: log.append(["back", kind(m), list(g[0].shape)])
        ),
        M.register_module_full_backward_hook(
            lambda m, g, h: log.append(["gradient", kind(m), len(g), len(h)])
        ),
    ]
    model = fill(L, net(L))
    model(numbers(L, 2, 3).requires_grad_()).sum().backward()
    for handle in handles:
        handle.remove()
    count = len(log)
    model(numbers(L, 2, 3)).sum().backward()
    return [log, len(log) == count]


def case_padded_strides(L: Any) -> Any:
    rnn = L.nn.utils.rnn
    parts = [numbers(L, n, 2, seed=n) for n in (3, 5, 1)]
    packed = rnn.pack_sequence(parts, enforce_sorted=False)
    results = [
        *(
            rnn.pad_sequence(parts, b, -1.0, side)
            for b in (False, True)
            for side in ("left", "right")
        ),
        *(rnn.pad_packed_sequence(packed, batch_first=b)[0] for b in (False, True)),
    ]
    return [[list(r.shape), list(r.stride()), r.flatten().tolist()] for r in results]


def case_losses_of_odd_targets(L: Any) -> Any:
    F = L.nn.functional
    x, t = numbers(L, 3, 4), numbers(L, 3, 4, seed=1)
    kl = F.kl_div(x, t, reduction="none")
    return [
        kl.isnan().tolist(),
        outcome(lambda: F.gaussian_nll_loss(x, t, t)),
        outcome(lambda: F.gaussian_nll_loss(x, t, -1.0)),
        F.gaussian_nll_loss(x, t, t.abs(), reduction="none").tolist(),
    ]


def case_scaler_before_it_scales(L: Any) -> Any:
    scaler = L.amp.GradScaler("cpu")
    return [outcome(lambda: scaler.update(4.0)), outcome(lambda: scaler.update())]


def case_schedules_resumed(L: Any) -> Any:
    S = L.optim.lr_scheduler
    makers = {
        "chained": lambda o: S.ChainedScheduler([S.ConstantLR(o, 0.1, 2), S.ExponentialLR(o, 0.9)]),
        "in sequence": lambda o: S.SequentialLR(
            o, [S.LinearLR(o, 0.1, 1.0, 4), S.CosineAnnealingLR(o, 6)], [4]
        ),
    }
    result = {}
    for name, make in makers.items():
        weight = L.nn.Parameter(L.ones(2))
        rates, saved = [], None
        for part in range(2):
            optimizer = L.optim.SGD([weight], lr=0.5)
            schedule = make(optimizer)
            if saved:
                optimizer.load_state_dict(saved[0])
                schedule.load_state_dict(saved[1])
            for _ in range(4 + part):
                optimizer.step()
                schedule.step()
                rates.append(optimizer.param_groups[0]["lr"])
            saved = optimizer.state_dict(), schedule.state_dict()
        result[name] = rates
    return result


def case_rprop_in_double(L: Any) -> Any:
    """The factors of its steps are doubles too: 0.4 in float32 shows in the ninth digit."""
    w = L.nn.Parameter(L.tensor(np.random.default_rng(0).standard_normal(6)))
    optimizer = L.optim.Rprop([w], lr=0.1, etas=(0.4, 1.3))
    for _ in range(8):
        optimizer.zero_grad()
        (w**4).sum().backward()
        optimizer.step()
    own = optimizer.state[w]
    return [f"{x:.10f}" for t in (w, own["prev"], own["step_size"]) for x in t.detach().tolist()]


def _matrices(L: Any, make: Any) -> Any:
    model = fill(L, L.nn.Sequential(L.nn.Linear(3, 5, bias=False), L.nn.Linear(5, 2, bias=False)))
    optimizer = make(model.parameters())
    for _ in range(5):
        optimizer.zero_grad()
        model(numbers(L, 8, 3, seed=5)).square().mean().backward()
        optimizer.step()
    state = optimizer.state[model[0].weight]
    return [
        repr(optimizer),
        [p.detach().tolist() for p in model.parameters()],
        {k: [list(v.shape), str(v.dtype)] for k, v in state.items()},
    ]


def case_adafactor(L: Any) -> Any:
    A = L.optim.Adafactor
    bad = ({"lr": -1.0}, {"d": 0.5}, {"eps": (None, -1.0)}, {"beta2_decay": 1.0})
    return [
        _matrices(L, A),
        _matrices(L, lambda p: A(p, 0.1, -0.5, (1e-8, 1e-2), 1.5, weight_decay=0.1, maximize=True)),
        [outcome(lambda o=o: A([L.nn.Parameter(L.ones(2))], **o)) for o in bad],
    ]


def case_muon(L: Any) -> Any:
    """In bfloat16: compared with a tolerance of its own."""
    M = L.optim.Muon
    w = L.nn.Parameter(L.ones(2, 2))
    bad = (
        lambda: M([L.nn.Parameter(L.ones(2))]),
        lambda: M([w], lr=-1.0),
        lambda: M([w], weight_decay=-1.0),
        lambda: M([w], adjust_lr_fn="x"),
    )
    return [
        _matrices(L, lambda p: M(p, lr=0.1)),
        _matrices(L, lambda p: M(p, lr=0.1, nesterov=False, adjust_lr_fn="match_rms_adamw")),
        [outcome(f) for f in bad],
    ]
