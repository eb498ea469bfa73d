"""Mistakes of users: the type of the error, and for the commonest its text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import outcome


def kinds(*attempts: Callable[[], Any]) -> list[Any]:
    """The type of each attempt's error, or "fine"."""
    return [
        result["error"] if isinstance(result, dict) else "fine"
        for result in (outcome(lambda a=a: (a(), "fine")[1]) for a in attempts)
    ]


def texts(*attempts: Callable[[], Any]) -> list[Any]:
    return [outcome(lambda a=a: (a(), "fine")[1]) for a in attempts]


def case_shapes(L: Any) -> Any:
    x, y = L.ones(2, 3), L.ones(4, 5)
    return kinds(
        lambda: x + y,
        lambda: x.add_(L.ones(5, 2, 3)),
        lambda: x @ y,
        lambda: L.mm(x, L.ones(3)),
        lambda: L.bmm(x, x),
        lambda: L.dot(x, x),
        lambda: L.dot(L.ones(2), L.ones(3)),
        lambda: L.mv(x, L.ones(2)),
        lambda: L.addmm(x, x, y),
        lambda: x.view(4),
        lambda: x.view(-1, -1),
        lambda: x.view(-1, 4),
        lambda: x.t().view(6),
        lambda: x.reshape(7),
        lambda: x.expand(3, 3),
        lambda: x.expand(3),
        lambda: L.cat([x, y]),
        lambda: L.cat([]),
        lambda: L.stack([x, y]),
        lambda: L.stack([]),
        lambda: L.where(x > 0, x, y),
        lambda: x.masked_fill(y > 0, 0.0),
        lambda: x[y > 0],
        lambda: x.copy_(y),
        lambda: L.nn.functional.linear(x, y),
        lambda: L.nn.functional.layer_norm(x, (4,)),
        lambda: x.t().t().view(3, 3),
        lambda: L.ones(2, 2, 2).t(),
        lambda: x.unflatten(1, (2, 2)),
        lambda: x.split([1, 2], 0),
    )


def case_dimensions(L: Any) -> Any:
    x = L.ones(2, 3)
    return kinds(
        lambda: x.sum(2),
        lambda: x.sum(-3),
        lambda: x.sum((0, 0)),
        lambda: x.mean(5),
        lambda: x.argmax(2),
        lambda: x.max(2),
        lambda: x.softmax(2),
        lambda: x.transpose(0, 2),
        lambda: x.permute(0),
        lambda: x.permute(0, 0),
        lambda: x.unsqueeze(4),
        lambda: x.squeeze(2),
        lambda: x.select(2, 0),
        lambda: x.narrow(0, 1, 2),
        lambda: x.narrow(0, 0, -1),
        lambda: x.size(2),
        lambda: x.cumsum(2),
        lambda: x.sort(2),
        lambda: x.topk(4),
        lambda: x.topk(1, 3),
        lambda: x.flatten(2),
        lambda: x.flatten(1, 0),
        lambda: x.split(0),
        lambda: x.chunk(0),
        lambda: x.unbind(2),
        lambda: x.flip(2),
        lambda: x.flip(0, 0),
        lambda: x.roll(1, 2),
        lambda: x.diagonal(0, 0, 0),
        lambda: L.ones(0).max(),
        lambda: L.ones(0, 3).argmax(),
        lambda: L.ones(0, 3).max(0),
        lambda: x.repeat(2),
        lambda: L.ones(2, 3).unfold(0, 3, 1),
    )


def case_indices(L: Any) -> Any:
    x = L.ones(2, 3)
    return kinds(
        lambda: x[2],
        lambda: x[-3],
        lambda: x[0, 3],
        lambda: x[0, 0, 0],
        lambda: x[..., ...],
        lambda: x["a"],
        lambda: x[1.0],
        lambda: x[L.tensor([2])],
        lambda: x[L.tensor([-3])],
        lambda: x[L.tensor([0.5])],
        lambda: x[[0, 5]],
        lambda: x[L.tensor([0, 1]), L.tensor([0, 1, 2])],
        lambda: x[::-1],
        lambda: x[::0],
        lambda: x.index_select(0, L.tensor([5])),
        lambda: x.index_select(0, L.tensor([[0]])),
        lambda: x.index_select(2, L.tensor([0])),
        lambda: x.gather(0, L.tensor([[5]])),
        lambda: x.gather(0, L.tensor([0])),
        lambda: x.gather(0, L.tensor([[0.0]])),
        lambda: x.scatter(0, L.tensor([[7]]), 1.0),
        lambda: x.scatter_add(0, L.tensor([[7]]), L.ones(1, 1)),
        lambda: x.index_add(0, L.tensor([9]), L.ones(1, 3)),
        lambda: x.index_add(0, L.tensor([0, 1]), L.ones(1, 3)),
        lambda: L.nn.functional.embedding(L.tensor([4]), x),
        lambda: L.nn.functional.embedding(L.tensor([0.0]), x),
        lambda: L.nn.functional.cross_entropy(x, L.tensor([0, 3])),
        lambda: L.nn.functional.cross_entropy(x, L.tensor([0])),
        lambda: L.nn.functional.one_hot(L.tensor([3]), 2),
        lambda: L.nn.functional.one_hot(L.tensor([-1])),
        lambda: x.__setitem__(5, 1.0),
        lambda: x.__setitem__(0, L.ones(4)),
        lambda: x.__setitem__(L.tensor([7]), 1.0),
        lambda: iter(L.tensor(1.0)),
        lambda: len(L.tensor(1.0)),
    )


def case_dtypes(L: Any) -> Any:
    i, f, b = L.ones(2, dtype=L.int64), L.ones(2), L.ones(2, dtype=L.bool)
    return kinds(
        lambda: i.add_(0.5),
        lambda: i.div_(2),
        lambda: i.copy_(f),
        lambda: i.mul_(f),
        lambda: b.add_(1),
        lambda: b - b,
        lambda: -b,
        lambda: i.mean(),
        lambda: b.mean(),
        lambda: i.softmax(0),
        lambda: f & f,
        lambda: f << 1,
        lambda: ~f,
        lambda: i.requires_grad_(),
        lambda: L.ones(2, dtype=L.int64, requires_grad=True),
        lambda: L.ones(2, 2) @ L.ones(2, 2, dtype=L.float64),
        lambda: L.ones(2, 2, dtype=L.int64) @ L.ones(2, 2),
        lambda: L.ones(2, dtype="float32"),
        lambda: L.ones(2, dtype=int),
        lambda: L.tensor("a"),
        lambda: L.tensor([1, "a"]),
        lambda: L.tensor([[1], [1, 2]]),
        lambda: L.tensor(None),
        lambda: L.tensor([2**70]),
        lambda: L.arange(3, dtype=L.bool),
        lambda: L.randint(0, 0, (2,)),
        lambda: L.randint(5, 2, (2,)),
        lambda: L.finfo(L.int64),
        lambda: L.iinfo(L.float32),
        lambda: i.std(),
        lambda: i.norm(),
        lambda: L.where(f, f, f),
        lambda: f.masked_fill(i, 0.0),
        lambda: i.normal_(),
        lambda: i.exp_(),
        lambda: f.bernoulli_(2.0),
        lambda: L.erfinv(i),
    )


def case_arguments(L: Any) -> Any:
    x = L.ones(2, 3)
    return kinds(
        lambda: x.sum("a"),
        lambda: x.sum(dim=0, nope=1),
        lambda: x.reshape(),
        lambda: x.add(),
        lambda: x.add(1, 2, 3),
        lambda: x.add("a"),
        lambda: x + "a",
        lambda: x + None,
        lambda: x @ 2,
        lambda: L.add(x),
        lambda: L.ones("a"),
        lambda: L.ones(-1),
        lambda: L.ones(2.5),
        lambda: L.zeros(2, device=3.5),
        lambda: L.arange(),
        lambda: L.arange(0, 3, 0),
        lambda: L.arange(3, 0, 1),
        lambda: L.linspace(0, 1),
        lambda: L.linspace(0, 1, -1),
        lambda: L.eye(-1),
        lambda: L.full((2,), None),
        lambda: L.clamp(x),
        lambda: x.clamp(),
        lambda: x.view("a"),
        lambda: L.relu(3),
        lambda: L.nn.functional.relu([1.0]),
        lambda: L.nn.functional.mse_loss(x, x, reduction="no"),
        lambda: L.nn.functional.cross_entropy(x, L.tensor([0, 1]), reduction="no"),
        lambda: L.nn.functional.gelu(x, approximate="no"),
        lambda: L.div(x, x, rounding_mode="no"),
        lambda: x.item(),
        lambda: bool(x),
        lambda: float(x),
        lambda: int(x),
        lambda: x.normal_(0, -1),
        lambda: x.uniform_(1, 0),
        lambda: L.from_numpy([1, 2]),
        lambda: L.from_numpy(3),
        lambda: L.cat(x),
        lambda: L.cat([1, 2]),
        lambda: L.manual_seed("a"),
        lambda: L.Generator("nowhere"),
        lambda: L.set_default_dtype(L.int32),
        lambda: L.einsum("ij"),
        lambda: x.to("a b"),
        lambda: hash(x) and None,
    )


def case_gradients(L: Any) -> Any:
    w = L.ones(2, requires_grad=True)

    def twice() -> None:
        y = (w * w).sum()
        y.backward()
        y.backward()

    def overwritten() -> None:
        y = w.exp()
        y.add_(1)
        y.sum().backward()

    def overwritten_input() -> None:
        t = w * 1
        y = t * t
        t.zero_()
        y.sum().backward()

    return kinds(
        lambda: w.add_(1),
        lambda: w.__setitem__(0, 1.0),
        lambda: (w * 2).backward(),
        lambda: L.ones(2).sum().backward(),
        lambda: (w * 2).backward(L.ones(3)),
        lambda: w.numpy(),
        lambda: (w * 2).requires_grad_(False),
        lambda: setattr(w, "grad", L.ones(3)),
        lambda: setattr(w, "grad", 1),
        lambda: setattr(w, "grad", L.ones(2, dtype=L.float64)),
        lambda: w.detach().requires_grad_().register_hook(1),
        lambda: L.ones(2).register_hook(lambda g: g),
        twice,
        overwritten,
        overwritten_input,
        lambda: setattr(w, "requires_grad", 1),
        lambda: L.autograd.grad(L.ones(1), w),
    )


def case_texts(L: Any) -> Any:
    """Texts that people search for and scripts look at."""
    x = L.ones(2, 3)
    w = L.ones(2, requires_grad=True)

    def twice() -> None:
        y = (w * w).sum()
        y.backward()
        y.backward()

    return texts(
        lambda: x + L.ones(4, 5),
        lambda: x @ L.ones(4, 5),
        lambda: x.view(4),
        lambda: x.sum(2),
        lambda: x[2],
        lambda: x[0, 3],
        lambda: x[0, 0, 0],
        lambda: x.item(),
        lambda: bool(x),
        lambda: x.to("cpu").t().view(6),
        lambda: w.add_(1),
        lambda: (w * 2).backward(),
        lambda: L.ones(2).sum().backward(),
        lambda: w.numpy(),
        twice,
        lambda: len(L.tensor(1.0)),
        lambda: iter(L.tensor(1.0)),
        lambda: L.ones(2, dtype=L.int64, requires_grad=True),
        lambda: x.reshape(7),
        lambda: L.from_numpy([1, 2]),
        lambda: L.ones(2, dtype=L.int64).mean(),
    )
