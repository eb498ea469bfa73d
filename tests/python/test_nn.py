"""nn against PyTorch's committed results, and what is our own."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import traced

import quicksilver as torch
from quicksilver import nn
from quicksilver.nn import functional as F


@pytest.mark.parametrize("case", traced.cases("nn"))
def test_as_pytorch(case: str) -> None:
    traced.check("nn", case, torch, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("case", traced.cases("layers"))
def test_layers_as_pytorch(case: str) -> None:
    traced.check("layers", case, torch, rtol=2e-5, atol=2e-6)


# ---- the random parts: right distributions, nobody's exact numbers -------------------------------
def test_initial_weights() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(100, 400)
    w, b = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    assert abs(w).max() <= 0.1 and abs(b).max() <= 0.1
    np.testing.assert_allclose(w.std(), 0.1 / 3**0.5, rtol=0.05)
    assert abs(w.mean()) < 0.005


@pytest.mark.parametrize(
    ("init", "std"),
    [
        (lambda w: nn.init.xavier_normal_(w), (2 / 600) ** 0.5),
        (lambda w: nn.init.xavier_uniform_(w, gain=2.0), 2 * (2 / 600) ** 0.5),
        (lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"), (2 / 400) ** 0.5),
        (lambda w: nn.init.kaiming_uniform_(w, mode="fan_out"), (2 / 200) ** 0.5),
        (lambda w: nn.init.normal_(w, 0.0, 3.0), 3.0),
        (lambda w: nn.init.uniform_(w, -1.0, 1.0), 1 / 3**0.5),
        (lambda w: nn.init.trunc_normal_(w, std=0.02), 0.02 * 0.88),
    ],
)
def test_init_spreads(init: object, std: float) -> None:
    torch.manual_seed(1)
    w = torch.empty(200, 400)
    assert init(w) is w  # type: ignore[operator]
    values = w.numpy()
    if std == 0.02 * 0.88:  # bounds are -2 and 2, a hundred deviations away
        std = 0.02
    np.testing.assert_allclose(values.std(), std, rtol=0.02)
    assert abs(values.mean()) < 4 * std / 80000**0.5 + 1e-3


def test_trunc_normal_keeps_its_bounds() -> None:
    torch.manual_seed(2)
    w = nn.init.trunc_normal_(torch.empty(10000), 0.0, 1.0, -0.5, 1.0).numpy()
    assert w.min() >= -0.5 and w.max() <= 1.0 and w.min() < -0.49 and w.max() > 0.99


@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (7, 3), (4, 2, 3)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    w = nn.init.orthogonal_(torch.empty(*shape)).numpy().reshape(shape[0], -1)
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-5)


def test_sparse_zeroes_a_part_of_each_column() -> None:
    w = nn.init.sparse_(torch.empty(10, 6), 0.3).numpy()
    assert ((w == 0).sum(0) == 3).all()


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_dropout(device: str) -> None:
    torch.manual_seed(0)
    layer = nn.Dropout(0.25)
    x = torch.ones(10000, device=device)
    y = layer(x).cpu().numpy()
    assert set(np.unique(y)) == {0, np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.02
    assert layer.eval()(x) is x


def test_dropout2d_drops_whole_channels() -> None:
    torch.manual_seed(0)
    y = nn.Dropout2d(0.5)(torch.ones(8, 16, 3, 3)).numpy().reshape(128, 9)
    assert ((y == 0).all(1) | (y == 2).all(1)).all() and 0 < (y == 0).mean() < 1


def test_gumbel_softmax() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([[1.0, 2.0, 0.5]] * 2000, requires_grad=True)
    hard = F.gumbel_softmax(logits, hard=True)
    assert (hard.sum(1) - 1).abs().max().item() < 1e-6
    np.testing.assert_allclose(
        hard.detach().numpy().mean(0), F.softmax(logits[0], 0).detach().numpy(), atol=0.05
    )
    (hard * torch.arange(3.0)).sum().backward()
    assert logits.grad is not None


# ---- both devices --------------------------------------------------------------------------------
@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_training_reaches_the_answer(device: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2)).to(device)
    x = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]], device=device)
    y = torch.tensor([0, 1, 1, 0], device=device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02
    assert model(x).argmax(1).tolist() == [0, 1, 1, 0]


def test_moving_keeps_objects_gradients_and_values() -> None:
    layer = nn.Linear(3, 2)
    layer(torch.ones(1, 3)).sum().backward()
    before = {k: v.numpy().copy() for k, v in layer.state_dict().items()}
    weight, gradient = layer.weight, layer.weight.grad.tolist()
    layer.to("mps")
    assert layer.weight is weight and weight.is_mps and weight.grad.is_mps
    assert weight.grad.tolist() == gradient
    layer.cpu()
    assert not weight.is_mps
    for key, value in layer.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key])


def test_a_mistake_keeps_the_module_as_it_was() -> None:
    layer = nn.Linear(3, 2)
    with pytest.raises(RuntimeError):
        layer.load_state_dict({"weight": torch.ones(5, 5), "bias": torch.ones(2)})
    with pytest.raises(torch.mps.MPSDeviceError):
        layer.to("nonexistent_gpu")
    with pytest.raises(RuntimeError, match="3"):
        layer(torch.ones(2, 4))
    assert layer(torch.ones(2, 3)).shape == (2, 2)


def test_global_hooks_see_every_module_and_go_away() -> None:
    from quicksilver.nn import modules

    names: list[str] = []
    handle = modules.register_module_forward_hook(lambda m, a, o: names.append(type(m).__name__))
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    model(torch.ones(1, 1))
    handle.remove()
    model(torch.ones(1, 1))
    assert names == ["Linear", "ReLU", "Sequential"]


def test_modules_die_when_they_are_dropped() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    model(torch.ones(1, 2)).sum().backward()
    reference = weakref.ref(model[0].weight)
    del model
    gc.collect()
    assert reference() is None


def test_parameters_share_the_memory_they_are_made_of() -> None:
    data = torch.zeros(2)
    parameter = nn.Parameter(data)
    with torch.no_grad():
        parameter += 1
    assert data.tolist() == [1, 1] and parameter.is_leaf and parameter.requires_grad
    with pytest.raises(RuntimeError):
        nn.Parameter(torch.zeros(2, dtype=torch.int64))


def test_embedding_max_norm_shrinks_only_the_rows_that_are_used() -> None:
    layer = nn.Embedding(4, 2, max_norm=1.0)
    with torch.no_grad():
        layer.weight.fill_(3.0)
    layer(torch.tensor([1, 3]))
    lengths = layer.weight.detach().norm(dim=1).tolist()
    np.testing.assert_allclose(lengths, [18**0.5, 1, 18**0.5, 1], rtol=1e-5)


def test_names_that_are_missing_are_missing() -> None:
    with pytest.raises(AttributeError):
        nn.NoSuchLayer  # noqa: B018
    with pytest.raises(AttributeError, match="no_such_function"):
        torch.no_such_function  # noqa: B018
