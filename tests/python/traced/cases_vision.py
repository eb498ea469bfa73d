"""Pooling, norms, resizing, padding, bags: modules and functions, gradients and errors."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from . import outcome
from .cases_nn import fill, numbers


def flow(L: Any, module: Any, *shape: int) -> Any:
    """What a module gives in training and in evaluation, its gradients and its buffers after."""
    fill(L, module)
    x = numbers(L, *shape, seed=7).requires_grad_()
    out = module(x)
    first, *rest = out if isinstance(out, tuple) else (out,)
    (first * numbers(L, *first.shape, seed=8)).sum().backward()
    state = {k: v.tolist() for k, v in module.named_buffers()}
    module.eval()
    later = module(x)
    return [
        first.tolist(), [r.tolist() for r in rest], x.grad.tolist(),
        [p.grad.tolist() for p in module.parameters()], state,
        (later[0] if isinstance(later, tuple) else later).tolist(),
    ]  # fmt: skip


def case_pools(L: Any) -> Any:
    n = L.nn
    image, line, volume = (2, 2, 7, 6), (2, 3, 9), (2, 4, 5, 6)
    return {
        "max1": flow(L, n.MaxPool1d(3, 2, 1), *line),
        "max1 indices": flow(L, n.MaxPool1d(2, return_indices=True), *line),
        "max2": flow(L, n.MaxPool2d(2), *image),
        "max2 ceil": flow(L, n.MaxPool2d((3, 2), (2, 1), (1, 1), ceil_mode=True), *image),
        "max2 dilated": flow(L, n.MaxPool2d(2, 1, dilation=2, return_indices=True), *image),
        "max3": flow(L, n.MaxPool3d(2), *volume),
        "avg1": flow(L, n.AvgPool1d(3, 2, 1), *line),
        "avg2": flow(L, n.AvgPool2d(3, 2, 1, True, False), *image),
        "avg2 divisor": flow(L, n.AvgPool2d(2, divisor_override=3), *image),
        "avg3": flow(L, n.AvgPool3d(2), *volume),
        "lp1": flow(L, n.LPPool1d(2, 3), *line),
        "lp2": flow(L, n.LPPool2d(3, 2, stride=1), *image),
        "adaptive avg1": flow(L, n.AdaptiveAvgPool1d(4), *line),
        "adaptive avg2": flow(L, n.AdaptiveAvgPool2d((None, 3)), *image),
        "adaptive avg2 one": flow(L, n.AdaptiveAvgPool2d(1), *image),
        "adaptive avg3": flow(L, n.AdaptiveAvgPool3d((2, 3, 4)), *volume),
        "adaptive max1": flow(L, n.AdaptiveMaxPool1d(4), *line),
        "adaptive max2": flow(L, n.AdaptiveMaxPool2d((3, 4), True), *image),
        "adaptive max3": flow(L, n.AdaptiveMaxPool3d((2, 3, 4)), *volume),
    }


def case_unpool(L: Any) -> Any:
    n = L.nn
    results = {}
    for name, pool, unpool, shape, size in (
        ("1", n.MaxPool1d(2, return_indices=True), n.MaxUnpool1d(2), (2, 3, 8), None),
        ("2", n.MaxPool2d(2, return_indices=True), n.MaxUnpool2d(2), (2, 2, 5, 6), (5, 6)),
        ("3", n.MaxPool3d(2, return_indices=True), n.MaxUnpool3d(2), (1, 2, 4, 4, 6), None),
    ):
        x = numbers(L, *shape).requires_grad_()
        values, indices = pool(x)
        out = unpool(values, indices, size)
        (out * numbers(L, *out.shape, seed=1)).sum().backward()
        results[name] = [out.tolist(), x.grad.tolist()]
    return results


def case_norms(L: Any) -> Any:
    n = L.nn
    return {
        "batch1": flow(L, n.BatchNorm1d(3), 5, 3),
        "batch1 line": flow(L, n.BatchNorm1d(3, momentum=None), 2, 3, 4),
        "batch2": flow(L, n.BatchNorm2d(3, eps=0.1, momentum=0.3), 2, 3, 4, 2),
        "batch2 plain": flow(L, n.BatchNorm2d(3, affine=False), 2, 3, 4, 2),
        "batch2 untracked": flow(L, n.BatchNorm2d(3, track_running_stats=False), 2, 3, 4, 2),
        "batch3": flow(L, n.BatchNorm3d(2), 2, 2, 3, 2, 2),
        "instance1": flow(L, n.InstanceNorm1d(3), 2, 3, 4),
        "instance2": flow(
            L, n.InstanceNorm2d(3, affine=True, track_running_stats=True), 2, 3, 4, 2
        ),
        "instance2 one": flow(L, n.InstanceNorm2d(3), 3, 4, 2),
        "instance3": flow(L, n.InstanceNorm3d(2, affine=True), 2, 2, 3, 2, 2),
        "group": flow(L, n.GroupNorm(2, 4), 2, 4, 3, 2),
        "group plain": flow(L, n.GroupNorm(4, 4, affine=False), 2, 4, 5),
        "layer no bias": flow(L, n.LayerNorm(4, bias=False), 2, 3, 4),
        "rms": flow(L, n.RMSNorm((3, 4), eps=0.1), 2, 3, 4),
        "response": flow(L, n.LocalResponseNorm(3, 0.2, 0.6, 1.5), 2, 4, 3, 2),
        "response 3d": flow(L, n.LocalResponseNorm(2), 2, 4, 3),
        "response 5d": flow(L, n.LocalResponseNorm(2), 2, 4, 3, 2, 2),
    }


def case_half_norms(L: Any) -> Any:
    """Half-precision inputs, with parameters of their own dtype and with float32 ones."""
    results = []
    for dtype in (L.float16, L.bfloat16):
        for narrow in (False, True):
            bn = fill(L, L.nn.BatchNorm2d(3))
            ln, gn = fill(L, L.nn.LayerNorm(4)), fill(L, L.nn.GroupNorm(1, 3))
            if narrow:
                bn, ln, gn = bn.to(dtype), ln.to(dtype), gn.to(dtype)
            x = numbers(L, 2, 3, 5, 4).to(dtype)
            outs = [bn(x), ln(x), gn(x)]
            results.append([[str(o.dtype), str(bn.running_mean.dtype)] for o in outs])
            results.append([round(float(o.float().abs().sum()) / 10) for o in outs])
    return results


def case_resizes(L: Any) -> Any:
    n = L.nn
    image, line, volume = (1, 2, 5, 6), (2, 2, 7), (1, 1, 3, 4, 5)
    return {
        "nearest": flow(L, n.Upsample(scale_factor=2), *image),
        "nearest size": flow(L, n.Upsample((3, 9)), *image),
        "exact": flow(L, n.Upsample(scale_factor=0.7, mode="nearest-exact"), *line),
        "linear": flow(L, n.Upsample(scale_factor=(1.7,), mode="linear"), *line),
        "recomputed": flow(
            L, n.Upsample(scale_factor=1.3, mode="bilinear", recompute_scale_factor=True), *image
        ),
        "bilinear": flow(L, n.UpsamplingBilinear2d(scale_factor=1.5), *image),
        "nearest2d": flow(L, n.UpsamplingNearest2d((10, 3)), *image),
        "bicubic": flow(L, n.Upsample((8, 4), mode="bicubic"), *image),
        "trilinear": flow(L, n.Upsample((2, 6, 9), mode="trilinear", align_corners=True), *volume),
        "area": L.nn.functional.interpolate(numbers(L, *image), (3, 4), mode="area").tolist(),
        "antialias": L.nn.functional.interpolate(
            numbers(L, *image), (3, 4), mode="bicubic", antialias=True
        ).tolist(),
    }


def case_pads(L: Any) -> Any:
    n = L.nn
    image, line, volume = (1, 2, 4, 5), (2, 2, 5), (1, 2, 3, 4)
    return {
        "reflection1": flow(L, n.ReflectionPad1d((2, 1)), *line),
        "reflection2": flow(L, n.ReflectionPad2d(2), *image),
        "reflection3": flow(L, n.ReflectionPad3d(1), *volume),
        "replication1": flow(L, n.ReplicationPad1d(2), *line),
        "replication2": flow(L, n.ReplicationPad2d((1, 0, 2, 3)), *image),
        "replication3": flow(L, n.ReplicationPad3d(1), *volume),
        "zero1": flow(L, n.ZeroPad1d(1), *line),
        "zero2": flow(L, n.ZeroPad2d((1, -1, 0, 2)), *image),
        "zero3": flow(L, n.ZeroPad3d(1), *volume),
        "constant1": flow(L, n.ConstantPad1d(1, 2.5), *line),
        "constant2": flow(L, n.ConstantPad2d((1, 0, 0, 1), -1.0), *image),
        "constant3": flow(L, n.ConstantPad3d(1, 0.5), *volume),
        "circular1": flow(L, n.CircularPad1d(2), *line),
        "circular2": flow(L, n.CircularPad2d((1, 2, 3, 0)), *image),
        "circular3": flow(L, n.CircularPad3d(1), *volume),
    }


def case_blocks(L: Any) -> Any:
    n = L.nn
    return {
        "unfold": flow(L, n.Unfold((2, 3), padding=1, stride=2), 1, 2, 5, 4),
        "unfold one": flow(L, n.Unfold(2), 2, 5, 4),
        "fold": flow(L, n.Fold((4, 5), (2, 2), padding=1), 1, 8, 30),
        "pixels": flow(L, n.PixelShuffle(2), 1, 8, 2, 3),
        "unpixels": flow(L, n.PixelUnshuffle(2), 1, 2, 4, 6),
        "channels": flow(L, n.ChannelShuffle(2), 1, 4, 2, 2),
    }


def case_grids(L: Any) -> Any:
    F = L.nn.functional
    results = {}
    for shape, grid_shape in (((2, 2, 4, 5), (2, 3, 3, 2)), ((1, 2, 3, 4, 5), (1, 2, 2, 3, 3))):
        for mode in ("bilinear", "nearest", "bicubic"):
            if mode == "bicubic" and len(shape) == 5:
                continue
            for padding in ("zeros", "border", "reflection"):
                for corners in (False, True):
                    x = numbers(L, *shape).requires_grad_()
                    grid = (numbers(L, *grid_shape, seed=3) * 0.9).requires_grad_()
                    out = F.grid_sample(x, grid, mode, padding, corners)
                    (out * numbers(L, *out.shape, seed=4)).sum().backward()
                    key = f"{len(shape)}d {mode} {padding} {corners}"
                    results[key] = [out.tolist(), x.grad.tolist(), grid.grad.tolist()]
    theta = numbers(L, 2, 2, 3).requires_grad_()
    for corners in (False, True):
        grid = F.affine_grid(theta, [2, 1, 3, 4], corners)
        (grid * numbers(L, *grid.shape, seed=5)).sum().backward()
        results[f"affine {corners}"] = [grid.tolist(), theta.grad.tolist()]
    theta3 = numbers(L, 1, 3, 4)
    results["affine 3d"] = F.affine_grid(theta3, [1, 1, 2, 3, 1], False).tolist()
    return results


def case_bags(L: Any) -> Any:
    F = L.nn.functional
    table = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    picked = L.tensor([1, 2, 4, 5, 4, 3, 2, 1])
    offsets = L.tensor([0, 3, 3, 6])
    results = {}

    def bag(name: str, *args: Any, **options: Any) -> None:
        weight = L.tensor(table).requires_grad_()
        out = F.embedding_bag(args[0], weight, *args[1:], **options)
        (out * numbers(L, *out.shape, seed=2)).sum().backward()
        results[name] = [out.tolist(), weight.grad.tolist(), weight.tolist()]

    for mode in ("sum", "mean", "max"):
        bag(mode, picked, offsets, mode=mode)
        bag(f"{mode} 2d", picked.reshape(2, 4), mode=mode)
        bag(f"{mode} padded", picked, offsets, mode=mode, padding_idx=4)
        bag(f"{mode} last", picked, L.tensor([0, 2, 8]), mode=mode, include_last_offset=True)
    factors = numbers(L, 8, seed=5).requires_grad_()
    bag("weighted", picked, offsets, mode="sum", per_sample_weights=factors)
    results["factors"] = factors.grad.tolist()
    bag("short rows", picked, offsets, max_norm=1.0)
    module = fill(L, L.nn.EmbeddingBag(6, 3, mode="sum", padding_idx=2))
    results["module"] = module(picked.reshape(4, 2)).tolist()
    for name, options in (("frequency", {"scale_grad_by_freq": True}), ("norm", {"max_norm": 0.9})):
        weight = L.tensor(table).requires_grad_()
        rows = F.embedding(picked.reshape(2, 4), weight, **options)
        (rows * numbers(L, *rows.shape, seed=2)).sum().backward()
        results[f"embedding {name}"] = [rows.tolist(), weight.grad.tolist(), weight.tolist()]
    return results


def case_lazy(L: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lazy, loaded = L.nn.LazyBatchNorm2d(), L.nn.LazyBatchNorm2d()
        instance = L.nn.LazyInstanceNorm1d(affine=True)
    before = [lazy.has_uninitialized_params(), repr(lazy), sorted(lazy.state_dict())]
    out = lazy(numbers(L, 2, 3, 4, 2))
    after = [type(lazy).__name__, repr(lazy), list(lazy.weight.shape), out.shape[1]]
    loaded.load_state_dict(lazy.state_dict())
    instance(numbers(L, 2, 3, 4))
    return [before, after, list(loaded.running_mean.shape), list(instance.weight.shape)]


def case_lazy_layers(L: Any) -> Any:
    n = L.nn
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layers = [
            (n.LazyLinear(4), (5, 3)), (n.LazyLinear(4, bias=False), (2, 5, 3)),
            (n.LazyConv1d(4, 3, 2, 1), (2, 3, 9)),
            (n.LazyConv2d(4, (3, 2), groups=2), (2, 6, 5, 5)),
            (n.LazyConv3d(2, 2, bias=False), (3, 4, 4, 4)),
            (n.LazyConvTranspose1d(4, 3, 2, 1, 1), (2, 3, 5)),
            (n.LazyConvTranspose2d(4, 3, groups=2), (2, 6, 3, 3)),
            (n.LazyConvTranspose3d(2, 2), (2, 3, 3, 3, 3)),
        ]  # fmt: skip
    results = []
    for layer, shape in layers:
        before = [repr(layer), sorted(layer.state_dict())]
        layer(numbers(L, *shape))
        fill(L, layer)
        parameters = [list(p.shape) for p in layer.parameters()]
        results.append([before, repr(layer), parameters, layer(numbers(L, *shape)).tolist()])
    wrong = outcome(lambda: n.LazyConv2d(4, 3)(L.ones(2, 3)))
    return [results, wrong["error"]]


def case_reprs(L: Any) -> Any:
    n = L.nn
    modules = [
        n.MaxPool1d(2), n.MaxPool2d((3, 2), 2, 1), n.MaxPool3d(2, ceil_mode=True), n.AvgPool1d(2),
        n.AvgPool2d(2, 1), n.AvgPool3d((1, 2, 2)), n.LPPool1d(2, 3), n.LPPool2d(2, 3, 1),
        n.LPPool3d(2, 2), n.AdaptiveAvgPool2d((None, 3)), n.AdaptiveMaxPool1d(2), n.MaxUnpool2d(2),
        n.BatchNorm1d(3), n.BatchNorm2d(3, affine=False), n.BatchNorm3d(2, momentum=None),
        n.SyncBatchNorm(3), n.InstanceNorm1d(3), n.InstanceNorm2d(3, affine=True),
        n.GroupNorm(2, 4), n.LocalResponseNorm(2), n.CrossMapLRN2d(2),
        n.Upsample(scale_factor=2), n.Upsample((3, 4)),
        n.UpsamplingNearest2d(scale_factor=2), n.UpsamplingBilinear2d((3, 4)), n.ReflectionPad2d(1),
        n.ZeroPad2d((1, 2, 3, 4)), n.ConstantPad1d(1, 2.0), n.CircularPad1d(2),
        n.ReplicationPad3d(1), n.PixelShuffle(2), n.PixelUnshuffle(2),
        n.ChannelShuffle(2), n.Unfold(2), n.Fold(4, 2),
        n.AlphaDropout(0.2), n.FeatureAlphaDropout(), n.Dropout1d(), n.Dropout3d(0.1),
        n.EmbeddingBag(5, 3), n.EmbeddingBag(5, 3, max_norm=1.0, mode="sum", padding_idx=1),
    ]  # fmt: skip
    return [repr(module) for module in modules]


def case_states(L: Any) -> Any:
    n = L.nn
    bn = n.BatchNorm2d(2)
    old = {k: v for k, v in bn.state_dict().items() if k != "num_batches_tracked"}
    fresh = n.BatchNorm2d(2)
    synced = n.SyncBatchNorm.convert_sync_batchnorm(n.Sequential(n.BatchNorm1d(2), n.ReLU()))
    return [
        list(bn.state_dict()), repr(fresh.load_state_dict(old)), str(bn.num_batches_tracked.dtype),
        list(n.BatchNorm1d(2, track_running_stats=False).state_dict()), repr(synced),
        list(n.InstanceNorm2d(2, affine=True, track_running_stats=True).state_dict()),
        [m.training for m in (bn.eval(), bn.train())],
    ]  # fmt: skip


def case_reparametrised(L: Any) -> Any:
    """Weights that are computed before each forward."""
    n, u = L.nn, L.nn.utils
    results = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for dim in (0, 1, None):
            layer = u.weight_norm(fill(L, n.Linear(3, 4)), dim=dim)
            results[f"norm {dim}"] = [list(layer.state_dict()), flow(L, layer, 5, 3)]
        u.remove_weight_norm(layer)
        results["removed"] = [sorted(layer.state_dict()), layer.weight.tolist()]
        layer = u.spectral_norm(fill(L, n.Linear(3, 4)), n_power_iterations=3)
    results["state"] = sorted(layer.state_dict())
    with L.no_grad():
        layer.weight_u.copy_(L.tensor([0.5, 0.5, 0.5, 0.5]))
    layer.train()
    x = numbers(L, 5, 3).requires_grad_()
    layer(x).square().sum().backward()
    later = [layer(x).tolist() for _ in range(60)][-1]
    results["spectral"] = [x.grad.tolist(), layer.weight_orig.grad.tolist(), later]
    u.remove_spectral_norm(layer)
    results["after"] = [sorted(layer.state_dict()), outcome(lambda: u.remove_spectral_norm(layer))]
    return results


def case_dropouts(L: Any) -> Any:
    x = L.ones(2, 3, 4)
    F = L.nn.functional
    return [
        F.alpha_dropout(x, 0.5, training=False).tolist(),
        outcome(lambda: F.alpha_dropout(x, 1.5, True)),
        outcome(lambda: L.nn.FeatureAlphaDropout(-1)),
        outcome(lambda: F.dropout1d(L.ones(2))),
    ]
