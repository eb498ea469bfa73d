"""Layers, losses, clipping and initial values: results and gradients."""

from __future__ import annotations

from typing import Any

from . import outcome
from .cases_nn import fill, numbers


def case_flow(L: Any) -> Any:
    """One forward and backward of most modules: outputs and gradients."""
    n = L.nn
    results = {}
    for name, module, shape in (
        ("linear", n.Linear(3, 4), (5, 3)),
        ("linear1d", n.Linear(3, 4), (3,)),
        ("linear3d", n.Linear(3, 4, bias=False), (2, 5, 3)),
        ("relu", n.ReLU(), (4, 3)),
        ("sigmoid", n.Sigmoid(), (4, 3)),
        ("tanh", n.Tanh(), (4, 3)),
        ("gelu", n.GELU(), (4, 3)),
        ("gelu_tanh", n.GELU("tanh"), (4, 3)),
        ("silu", n.SiLU(), (4, 3)),
        ("leaky", n.LeakyReLU(0.2), (4, 3)),
        ("elu", n.ELU(0.7), (4, 3)),
        ("celu", n.CELU(0.7), (4, 3)),
        ("selu", n.SELU(), (4, 3)),
        ("mish", n.Mish(), (4, 3)),
        ("softplus", n.Softplus(2.0, 3.0), (4, 3)),
        ("softmax", n.Softmax(1), (4, 3)),
        ("softmin", n.Softmin(1), (4, 3)),
        ("log_softmax", n.LogSoftmax(0), (4, 3)),
        ("hardtanh", n.Hardtanh(-0.5, 0.5), (4, 3)),
        ("relu6", n.ReLU6(), (4, 3)),
        ("hardsigmoid", n.Hardsigmoid(), (4, 3)),
        ("hardswish", n.Hardswish(), (4, 3)),
        ("logsigmoid", n.LogSigmoid(), (4, 3)),
        ("softsign", n.Softsign(), (4, 3)),
        ("tanhshrink", n.Tanhshrink(), (4, 3)),
        ("hardshrink", n.Hardshrink(), (4, 3)),
        ("softshrink", n.Softshrink(), (4, 3)),
        ("threshold", n.Threshold(0.1, 5.0), (4, 3)),
        ("glu", n.GLU(), (3, 4)),
        ("prelu", n.PReLU(), (4, 3)),
        ("prelu_channels", n.PReLU(3), (4, 3, 2)),
        ("flatten", n.Flatten(), (2, 3, 4)),
        ("unflatten", n.Unflatten(1, (2, -1)), (3, 4)),
        ("layer_norm", n.LayerNorm(4), (3, 4)),
        ("layer_norm2", n.LayerNorm((3, 4)), (2, 3, 4)),
        ("rms_norm", n.RMSNorm(4), (3, 4)),
    ):
        fill(L, module)
        x = numbers(L, *shape, seed=7).requires_grad_()
        out = module(x)
        (out * numbers(L, *out.shape, seed=8)).sum().backward()
        results[name] = [
            out.tolist(), x.grad.tolist(), [p.grad.tolist() for p in module.parameters()],
        ]  # fmt: skip
    return results


def case_two_inputs(L: Any) -> Any:
    n = L.nn
    bilinear = fill(L, n.Bilinear(3, 4, 2))
    embedding = fill(L, n.Embedding(5, 3, padding_idx=1))
    a, b = numbers(L, 5, 3).requires_grad_(), numbers(L, 5, 4, seed=1)
    out = bilinear(a, b)
    out.square().sum().backward()
    rows = embedding(L.tensor([[0, 1], [4, 4]]))
    rows.square().sum().backward()
    return [
        out.tolist(), a.grad.tolist(), bilinear.weight.grad.tolist(), rows.tolist(),
        embedding.weight.grad.tolist(),
        n.CosineSimilarity()(a.detach(), a.detach() + 1).tolist(),
        n.PairwiseDistance()(a.detach(), a.detach() * 2).tolist(),
        outcome(lambda: n.Embedding(5, 3, padding_idx=5) and None),
        outcome(lambda: n.Dropout(2.0) and None),
        outcome(lambda: n.Embedding.from_pretrained(L.ones(3)) and None),
        n.Embedding.from_pretrained(L.ones(3, 2)).weight.requires_grad,
    ]  # fmt: skip


def case_losses(L: Any) -> Any:
    n, F = L.nn, L.nn.functional
    x, t = numbers(L, 4, 3), numbers(L, 4, 3, seed=1)
    p, q = L.sigmoid(x), L.sigmoid(t)
    y = L.tensor([0, 2, 1, 2])
    sign = L.tensor([1.0, -1.0, 1.0, -1.0])
    w = L.tensor([0.5, 1.0, 2.0])
    results: dict[str, Any] = {}

    def add(name: str, loss: Any, *inputs: Any) -> None:
        for reduction in ("mean", "sum", "none"):
            leaf = inputs[0].clone().requires_grad_()
            value = loss(reduction)(leaf, *inputs[1:])
            value.sum().backward()
            results[f"{name} {reduction}"] = [value.tolist(), leaf.grad.tolist()]

    add("cross_entropy", lambda r: n.CrossEntropyLoss(reduction=r), x, y)
    add("weighted", lambda r: n.CrossEntropyLoss(w, reduction=r), x, y)
    add("ignored", lambda r: n.CrossEntropyLoss(ignore_index=2, reduction=r), x, y)
    add("smoothed", lambda r: n.CrossEntropyLoss(label_smoothing=0.1, reduction=r), x, y)
    add("probabilities", lambda r: n.CrossEntropyLoss(reduction=r), x, t.softmax(1))
    add("nll", lambda r: n.NLLLoss(reduction=r), F.log_softmax(x, 1), y)
    add("nll weighted", lambda r: n.NLLLoss(w, reduction=r), F.log_softmax(x, 1), y)
    add("mse", lambda r: n.MSELoss(reduction=r), x, t)
    add("l1", lambda r: n.L1Loss(reduction=r), x, t)
    add("smooth_l1", lambda r: n.SmoothL1Loss(reduction=r, beta=0.5), x, t)
    add("huber", lambda r: n.HuberLoss(reduction=r, delta=0.7), x, t)
    add("bce", lambda r: n.BCELoss(reduction=r), p, q)
    add("bce weighted", lambda r: n.BCELoss(w, reduction=r), p, q)
    add("logits", lambda r: n.BCEWithLogitsLoss(reduction=r), x, q)
    add("logits pos", lambda r: n.BCEWithLogitsLoss(reduction=r, pos_weight=w), x, q)
    add("kl", lambda r: n.KLDivLoss(reduction=r), F.log_softmax(x, 1), t.softmax(1))
    add("kl log", lambda r: n.KLDivLoss(reduction=r, log_target=True), F.log_softmax(x, 1),
        t.log_softmax(1))  # fmt: skip
    add("poisson", lambda r: n.PoissonNLLLoss(reduction=r), x, q)
    add("poisson full", lambda r: n.PoissonNLLLoss(reduction=r, full=True, log_input=False), p,
        q * 5)  # fmt: skip
    add("gaussian", lambda r: n.GaussianNLLLoss(reduction=r, full=True), x, t, q)
    add("hinge", lambda r: n.HingeEmbeddingLoss(reduction=r), x[:, 0], sign)
    add("ranking", lambda r: n.MarginRankingLoss(0.3, reduction=r), x[:, 0], t[:, 0], sign)
    add("soft_margin", lambda r: n.SoftMarginLoss(reduction=r), x[:, 0], sign)
    add("cosine", lambda r: n.CosineEmbeddingLoss(0.2, reduction=r), x, t, sign)
    add("triplet", lambda r: n.TripletMarginLoss(reduction=r, swap=True), x, t, q)
    results["batchmean"] = F.kl_div(x.log_softmax(1), t.softmax(1), reduction="batchmean").tolist()
    return results


def case_bad_losses(L: Any) -> Any:
    F = L.nn.functional
    x = L.ones(4, 3)
    return [
        outcome(lambda a=a: (a(), "fine")[1])
        for a in (
            lambda: F.mse_loss(x, x, reduction="avg"),
            lambda: F.binary_cross_entropy(x, L.ones(4)),
            lambda: F.binary_cross_entropy_with_logits(x, L.ones(4)),
            lambda: F.smooth_l1_loss(x, x, beta=-1.0),
            lambda: F.huber_loss(x, x, delta=0.0),
            lambda: F.dropout(x, 1.5),
            lambda: F.glu(L.ones(3)),
            lambda: F.hardtanh(x, 1.0, -1.0),
        )
    ]


def case_functional(L: Any) -> Any:
    F = L.nn.functional
    x = numbers(L, 4, 3)
    q, k, v = (numbers(L, 2, 4, 5, 3, seed=s) for s in range(3))
    mask = numbers(L, 5, 5, seed=9) > 0
    return {
        "normalize": F.normalize(x).tolist(),
        "normalize1": F.normalize(x, p=1, dim=0).tolist(),
        "one_hot": F.one_hot(L.tensor([0, 2, 1])).tolist(),
        "softmax64": str(F.softmax(x, 1, dtype=L.float64).dtype),
        "attention": F.scaled_dot_product_attention(q, k, v).tolist(),
        "causal": F.scaled_dot_product_attention(q, k, v, is_causal=True).tolist(),
        "added": F.scaled_dot_product_attention(q, k, v, numbers(L, 5, 5)).tolist(),
        "masked": F.scaled_dot_product_attention(q, k, v, mask | L.eye(5).bool()).tolist(),
        "scaled": F.scaled_dot_product_attention(q, k, v, scale=0.3).tolist(),
        "grouped": F.scaled_dot_product_attention(q, k[:, :2], v[:, :2], enable_gqa=True).tolist(),
        "eval_dropout": F.dropout(x, 0.5, training=False).tolist(),
        "all_dropped": F.dropout(x, 1.0).tolist(),
        "relu_in_place": F.relu(x.clone(), inplace=True).tolist(),
        "silu_in_place": F.silu(x.clone(), inplace=True).tolist(),
        "rms": F.rms_norm(x, (3,), eps=1e-5).tolist(),
        "layer": F.layer_norm(x, (3,)).tolist(),
        "bad_rms": outcome(lambda: F.rms_norm(x, (4,)) and None),
    }


def case_clipping(L: Any) -> Any:
    u = L.nn.utils
    results = []
    for norm_type in (2.0, 1.0, float("inf")):
        ws = [L.nn.Parameter(numbers(L, 3, seed=i)) for i in range(2)]
        (ws[0].square().sum() + (3 * ws[1]).sum()).backward()
        total = u.clip_grad_norm_(ws, 1.5, norm_type)
        results.append([total.item()] + [w.grad.tolist() for w in ws])
    w = L.nn.Parameter(numbers(L, 5))
    w.square().sum().backward()
    u.clip_grad_value_(w, 0.5)
    vector = u.parameters_to_vector([w, w * 2])
    other = L.nn.Parameter(L.zeros(2, 5))
    u.vector_to_parameters(vector, [other])
    padded = u.rnn.pad_sequence([L.ones(2), 2 * L.ones(3)], batch_first=True, padding_value=-1.0)
    return [*results, w.grad.tolist(), vector.tolist(), other.tolist(), padded.tolist()]


def case_init(L: Any) -> Any:
    i = L.nn.init
    w = L.zeros(4, 3)
    conv = L.zeros(3, 3, 3)
    return [
        i.constant_(L.zeros(2), 3.0).tolist(),
        i.ones_(L.zeros(2)).tolist(),
        i.zeros_(L.ones(2)).tolist(),
        i.eye_(L.zeros(3, 2)).tolist(),
        i.dirac_(conv).tolist(),
        [i.calculate_gain(n) for n in ("linear", "tanh", "relu", "leaky_relu", "selu", "sigmoid")],
        i.calculate_gain("leaky_relu", 0.2),
        list(i._calculate_fan_in_and_fan_out(L.zeros(4, 3, 5))),
        outcome(lambda: i.calculate_gain("nope")),
        outcome(lambda: i.calculate_gain("leaky_relu", "x")),
        outcome(lambda: i.xavier_uniform_(L.zeros(3)) and None),
        outcome(lambda: i.kaiming_normal_(w, mode="fan") and None),
        outcome(lambda: i.eye_(L.zeros(3)) and None),
        outcome(lambda: i.orthogonal_(L.zeros(3)) and None),
        outcome(lambda: i.sparse_(L.zeros(3), 0.5) and None),
        outcome(lambda: i.dirac_(L.zeros(3)) and None),
    ]
