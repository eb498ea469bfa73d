"""Layers and helpers that few scripts use, found missing or different beside PyTorch."""

from __future__ import annotations

import warnings
from typing import Any

from . import outcome
from .cases_nn import fill, numbers


def refused(attempt: Any) -> Any:
    """Its error, or that there was none."""
    return outcome(lambda: (attempt(), "fine")[1])


def flow(L: Any, module: Any, *inputs: Any) -> Any:
    """What it gives, and its gradients."""
    fill(L, module)
    x = inputs[0].requires_grad_()
    out = module(x, *inputs[1:])
    first = out[0] if isinstance(out, tuple) else out
    (first * numbers(L, *first.shape, seed=8)).sum().backward()
    gradients = [x.grad.tolist(), *(p.grad.tolist() for p in module.parameters())]
    rest = [r.tolist() for r in out[1:]] if isinstance(out, tuple) else []
    return [repr(module), list(module.state_dict()), first.tolist(), rest, gradients]


def case_softmax2d(L: Any) -> Any:
    layer = L.nn.Softmax2d()
    return [
        flow(L, layer, numbers(L, 2, 3, 2, 2)),
        flow(L, layer, numbers(L, 3, 2, 2)),
        refused(lambda: layer(numbers(L, 3, 2))),
    ]


def case_fractional_pools(L: Any) -> Any:
    n, F = L.nn, L.nn.functional
    results = []
    for d, make in ((2, n.FractionalMaxPool2d), (3, n.FractionalMaxPool3d)):
        samples = numbers(L, 2, 3, d, seed=4).sigmoid()
        x = numbers(L, 2, 3, *(7, 6, 8)[:d])
        for options in (
            {"output_size": 3},
            {"output_size": (3, 2, 4)[:d], "return_indices": True},
            {"output_ratio": 0.5},
            {"output_size": 1},
        ):
            layer = make(2, _random_samples=samples, **options)
            results.append(flow(L, layer, x.clone()))
        results.append(list(make((2, 3, 2)[:d], output_ratio=(0.5, 0.6, 0.5)[:d])(x).shape))
        results.append(list(make(2, output_size=3)(x[0]).shape))
        results += [
            refused(lambda m=make: m(2)),
            refused(lambda m=make: m(2, output_size=2, output_ratio=0.5)),
            refused(lambda m=make: m(2, output_ratio=1.5)),
        ]
    results.append(refused(lambda: F.fractional_max_pool2d(numbers(L, 1, 1, 4, 4), 2)))
    results.append(refused(lambda: F.fractional_max_pool2d(numbers(L, 1, 1, 4, 4), 3, 4))["error"])
    return results


def case_adaptive_log_softmax(L: Any) -> Any:
    make = L.nn.AdaptiveLogSoftmaxWithLoss
    layer, target = make(8, 10, [3, 6], div_value=2.0), L.tensor([1, 5, 8, 3, 0])
    x = numbers(L, 5, 8)
    results = [flow(L, layer, x, target), layer.log_prob(x).tolist(), layer.predict(x).tolist()]
    one = fill(L, make(8, 10, [3, 6], head_bias=True))
    single = one(numbers(L, 8), L.tensor(7))
    return [
        *results, list(one.state_dict()), single.output.tolist(), single.loss.tolist(),
        refused(lambda: make(8, 10, [6, 3])), refused(lambda: make(8, 10, [3, 10])),
        refused(lambda: make(8, 10, [])),
        refused(lambda: layer(x, L.tensor([1, 2]))),
        refused(lambda: layer(x, L.tensor([1, 2, 3, 4, 10]))),
        refused(lambda: layer(x, L.tensor(1))), refused(lambda: layer(x[0], L.tensor([1]))),
    ]  # fmt: skip


def case_old_arguments(L: Any) -> Any:
    F = L.nn.functional
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = L.nn.Hardtanh(min_value=-2.0, max_value=0.5)
    x, w = numbers(L, 5, 2, 3), numbers(L, 2, 3, 4, seed=1)
    return [
        repr(layer),
        F.conv_tbc(x, w, numbers(L, 4), 1).tolist(),
        F.native_channel_shuffle(numbers(L, 1, 4, 2, 2), 2).tolist(),
    ]


def case_folding(L: Any) -> Any:
    n, u = L.nn, L.nn.utils
    bn2, bn1 = (fill(L, b(3)).eval() for b in (n.BatchNorm2d, n.BatchNorm1d))
    for bn in (bn1, bn2):
        bn.running_mean.copy_(numbers(L, 3, seed=5))
        bn.running_var.copy_(numbers(L, 3, seed=6).abs() + 0.5)
    conv, turned = n.Conv2d(2, 3, 2, bias=False), n.ConvTranspose2d(2, 3, 2)
    linear = n.Linear(2, 3)
    x = numbers(L, 1, 2, 4, 4)
    for layer in (conv, turned, linear):
        fill(L, layer).eval()
    return [
        u.fuse_conv_bn_eval(conv, bn2)(x).tolist(),
        u.fuse_conv_bn_eval(turned, bn2, transpose=True)(x).tolist(),
        u.fuse_linear_bn_eval(linear, bn1)(numbers(L, 4, 2)).tolist(),
        list(u.fuse_conv_bn_eval(conv, bn2).state_dict()),
        refused(lambda: u.fuse_conv_bn_eval(conv.train(), bn2)),
        list(u.skip_init(n.Linear, 2, 3, bias=False).state_dict()),
        refused(lambda: u.skip_init(n.ReLU)), refused(lambda: u.skip_init(3)),
    ]  # fmt: skip


def case_foreach(L: Any) -> Any:
    x, y = numbers(L, 2, 3), numbers(L, 4, seed=1)
    both, other = [x, y], [x + 2, y - 2]
    calls = {
        "add": lambda: L._foreach_add(both, 1.5),
        "add lists": lambda: L._foreach_add(both, other, alpha=2),
        "sub numbers": lambda: L._foreach_sub(both, [1.0, 2.0]),
        "mul": lambda: L._foreach_mul(both, other),
        "mul tensor": lambda: L._foreach_mul(both, L.tensor(2.0)),
        "div": lambda: L._foreach_div(both, 2.0),
        "maximum": lambda: L._foreach_maximum(both, other),
        "minimum": lambda: L._foreach_minimum(both, 0.1),
        "clamp_min": lambda: L._foreach_clamp_min(both, 0.1),
        "pow": lambda: L._foreach_pow(both, 2),
        "abs": lambda: L._foreach_abs(both),
        "neg": lambda: L._foreach_neg(both),
        "exp": lambda: L._foreach_exp(both),
        "norm": lambda: L._foreach_norm(both),
        "norm 1": lambda: L._foreach_norm(both, 1),
        "lerp": lambda: L._foreach_lerp(both, other, 0.3),
        "addcmul": lambda: L._foreach_addcmul(both, other, both, value=0.5),
        "addcdiv": lambda: L._foreach_addcdiv(both, both, other, [0.5, 2.0]),
    }
    results: dict[str, Any] = {
        k: [type(c()).__name__, *(t.tolist() for t in c())] for k, c in calls.items()
    }
    written = [t.clone() for t in both]
    L._foreach_mul_(written, 3.0)
    L._foreach_add_(written, other, alpha=0.5)
    L._foreach_sqrt_([t.abs_() for t in written])
    L._foreach_addcdiv_(written, other, [t.abs() + 1 for t in both], value=-0.1)
    results["written"] = [t.tolist() for t in written]
    results["zero"] = [t.sum().item() for t in L._foreach_zero_(written)]
    results["lengths"] = refused(lambda: L._foreach_add(both, [x]))["error"]
    results["empty"] = refused(lambda: L._foreach_add([], 1.0))["error"]
    return results


def case_storages(L: Any) -> Any:
    x = L.arange(6.0).reshape(2, 3)
    y, z = x[1:], x.clone()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        typed = y.storage()
        return [
            x.untyped_storage().nbytes(), typed.size(), len(typed), typed.tolist(),
            y.untyped_storage().data_ptr() == x.untyped_storage().data_ptr(),
            z.untyped_storage().data_ptr() == x.untyped_storage().data_ptr(),
            x.data_ptr() == x.storage().data_ptr(), L.is_storage(typed), L.is_storage(x),
            z.apply_(lambda v: 2 * v).tolist(), z.map_(x, lambda a, b: a - b).tolist(),
            refused(lambda: z.clone().requires_grad_().apply_(lambda v: v)),
            list(x.new(2, 3).shape), x.new([1, 2]).tolist(), list(x.new().shape),
            L.fill(x, 2.0).tolist(), L.spmm(x, x.T).tolist(),
        ]  # fmt: skip
