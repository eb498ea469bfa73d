"""Recurrent layers: outputs, states and gradients from given weights, packed sequences, checks."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import outcome


def fill(L: Any, module: Any, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    with L.no_grad():
        for p in module.parameters():
            p.copy_(L.tensor(rng.standard_normal(tuple(p.shape)) * 0.5))
    return module


def numbers(L: Any, *shape: int, seed: int = 1) -> Any:
    rng = np.random.default_rng(seed)
    return L.tensor(rng.standard_normal(shape).astype(np.float32))


def flat(value: Any) -> Any:
    """Tensors as lists, packed sequences as their parts."""
    if isinstance(value, tuple):
        return [flat(v) for v in value]
    return value.tolist() if hasattr(value, "tolist") else value


def slopes(module: Any) -> Any:
    return {name: p.grad.abs().sum().item() for name, p in module.named_parameters()}


LAYERS: list[tuple[str, dict[str, Any]]] = [
    ("RNN", {}),
    ("RNN", {"nonlinearity": "relu", "bidirectional": True}),
    ("GRU", {}),
    ("GRU", {"num_layers": 2, "bias": False, "bidirectional": True}),
    ("LSTM", {}),
    ("LSTM", {"num_layers": 2, "bidirectional": True}),
    ("LSTM", {"proj_size": 2, "num_layers": 2}),
    ("LSTM", {"bias": False, "batch_first": True}),
]


def case_layers(L: Any) -> Any:
    results = []
    for kind, options in LAYERS:
        layer = fill(L, getattr(L.nn, kind)(3, 4, **options))
        x = numbers(L, 5, 2, 3).requires_grad_()
        out, state = layer(x)
        (out * out).sum().backward()
        results.append([repr(layer), flat(out), flat(state), flat(x.grad), slopes(layer)])
    return results


def case_states(L: Any) -> Any:
    results = []
    for kind, options in LAYERS:
        layer = fill(L, getattr(L.nn, kind)(3, 4, **options))
        batch = 5 if layer.batch_first else 2
        count = layer.num_layers * (2 if layer.bidirectional else 1)
        h = numbers(L, count, batch, layer.proj_size or 4, seed=2).requires_grad_()
        c = numbers(L, count, batch, 4, seed=3).requires_grad_()
        state = (h, c) if kind == "LSTM" else h
        out, last = layer(numbers(L, 5, 2, 3), state)
        last = last if kind == "LSTM" else (last,)
        (out.sum() + sum((s**2).sum() for s in last)).backward()
        results.append([flat(out), flat(last), flat(h.grad), slopes(layer)])
        if kind == "LSTM":
            results.append(flat(c.grad))
    return results


def case_unbatched(L: Any) -> Any:
    results = []
    for kind in ("RNN", "GRU", "LSTM"):
        layer = fill(L, getattr(L.nn, kind)(3, 4, bidirectional=True))
        h = numbers(L, 2, 4)
        results.append(flat(layer(numbers(L, 5, 3))))
        results.append(flat(layer(numbers(L, 5, 3), (h, h) if kind == "LSTM" else h)))
    return results


def case_packed_layers(L: Any) -> Any:
    rnn = L.nn.utils.rnn
    results = []
    for kind, options in LAYERS[:-1]:
        layer = fill(L, getattr(L.nn, kind)(3, 4, **options))
        for lengths in ([5, 3, 3, 1], [2, 5, 1, 5]):
            x = numbers(L, 5, 4, 3).requires_grad_()
            packed = rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
            count = layer.num_layers * (2 if layer.bidirectional else 1)
            h = numbers(L, count, 4, layer.proj_size or 4)
            c = numbers(L, count, 4, 4)
            out, state = layer(packed, (h, c) if kind == "LSTM" else h)
            padded, sizes = rnn.pad_packed_sequence(out)
            (padded**2).sum().backward()
            results.append([flat(padded), flat(sizes), flat(state), flat(x.grad), slopes(layer)])
    return results


def case_packing(L: Any) -> Any:
    rnn = L.nn.utils.rnn
    x = numbers(L, 4, 3, 2)
    one = rnn.pack_padded_sequence(x, [4, 2, 1])
    two = rnn.pack_padded_sequence(x.transpose(0, 1), [1, 4, 2], True, False)
    three = rnn.pack_sequence([x[:, 0], x[:3, 1], x[:1, 2]])
    return [
        [flat(tuple(p)) for p in (one, two, three)],
        [flat(rnn.pad_packed_sequence(p, padding_value=-1.0)) for p in (one, two, three)],
        flat(rnn.pad_packed_sequence(two, True, total_length=6)),
        [flat(t) for t in rnn.unpack_sequence(two)],
        flat(tuple(one.to(L.float64))),
        flat(rnn.invert_permutation(L.tensor([2, 0, 1]))),
    ]


def case_cells(L: Any) -> Any:
    results = []
    for kind, options in (
        ("RNNCell", {}),
        ("RNNCell", {"nonlinearity": "relu", "bias": False}),
        ("GRUCell", {}),
        ("LSTMCell", {}),
        ("LSTMCell", {"bias": False}),
    ):
        cell = fill(L, getattr(L.nn, kind)(3, 4, **options))
        state = None
        for i in range(3):
            state = cell(numbers(L, 2, 3, seed=i), state)
        first = state[0] if kind == "LSTMCell" else state
        (first**2).sum().backward()
        results.append([repr(cell), flat(state), slopes(cell), flat(cell(numbers(L, 3)))])
    return results


def case_names(L: Any) -> Any:
    layer = L.nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2)
    return [
        {name: list(p.shape) for name, p in layer.named_parameters()},
        [len(each) for each in layer.all_weights],
        list(L.nn.GRU(3, 4, bias=False).state_dict()),
        list(L.nn.RNNCell(3, 4).state_dict()),
    ]


def case_bad_arguments(L: Any) -> Any:
    n, rnn, ones = L.nn, L.nn.utils.rnn, L.ones
    lstm = n.LSTM(4, 3)
    attempts = [
        lambda: n.LSTM(4, 0),
        lambda: n.LSTM(4, 3.0),
        lambda: n.LSTM(4, 3, 0),
        lambda: n.LSTM(4, 3, dropout=2),
        lambda: n.LSTM(4, 3, proj_size=3),
        lambda: n.LSTM(4, 3, proj_size=-1),
        lambda: n.GRU(4, 3, proj_size=2),
        lambda: n.RNN(4, 3, nonlinearity="x"),
        lambda: lstm(ones(2, 2, 4).double()),
        lambda: lstm(ones(0, 2, 4)),
        lambda: lstm(ones(4)),
        lambda: lstm(ones(2, 2, 5)),
        lambda: lstm(ones(2, 2, 4), (ones(1, 2, 3), ones(1, 2, 4))),
        lambda: lstm(ones(2, 2, 4), (ones(2, 3), ones(2, 3))),
        lambda: lstm(ones(2, 4), (ones(1, 2, 3), ones(2, 3))),
        lambda: n.GRU(4, 3)(ones(2, 4), ones(1, 2, 3)),
        lambda: n.GRU(4, 3, 2)(ones(2, 2, 4), ones(1, 2, 3)),
        lambda: n.LSTMCell(4, 3)(ones(2, 5)),
        lambda: n.LSTMCell(4, 3)(ones(2, 4), (ones(3, 3), ones(3, 3))),
        lambda: n.LSTMCell(4, 3)(ones(2, 4), (ones(2, 3, 1), ones(2, 3))),
        lambda: n.GRUCell(4, 3)(ones(2, 4), ones(2, 5)),
        lambda: n.GRUCell(4, 3)(ones(2, 4), ones(2, 5, 1)),
        lambda: n.GRUCell(4, 3)(ones(2, 4, 1)),
        lambda: n.RNNCell(4, 3, nonlinearity="x")(ones(1, 4)),
        lambda: rnn.pack_padded_sequence(ones(3, 2, 1), [2, 3]),
        lambda: rnn.pack_padded_sequence(ones(3, 2, 1), [3, 0]),
        lambda: rnn.pack_padded_sequence(ones(3, 2, 1), [3]),
        lambda: rnn.pack_padded_sequence(ones(3, 2, 1), ones(2, 1, dtype=L.int64)),
        lambda: rnn.pack_padded_sequence(ones(0, 2, 1), [2, 3]),
        lambda: rnn.pad_packed_sequence(rnn.pack_sequence([ones(3)]), total_length=2),
    ]
    return [outcome(lambda a=a: (a(), "fine")[1]) for a in attempts]
