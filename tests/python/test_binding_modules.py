"""The C base of nn.Module: attribute lookup and calls, and what subclasses may override."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any

import pytest

import quicksilver as torch
from quicksilver import nn


class Wrapper(nn.Module):
    """Hands unknown names on to the module it wraps, as many wrappers do."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 3)
        self.plain = "plain"

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)

    def forward(self, x: Any, scale: float = 1.0, *, shift: float = 0.0) -> Any:
        return self.inner(x) * scale + shift


def test_lookup_order() -> None:
    linear = nn.Linear(2, 3)
    assert linear.weight is linear._parameters["weight"]
    assert linear.in_features == 2 and linear.training is True
    linear._parameters["weight"] = None
    assert linear.weight is None
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'nope'"):
        linear.nope  # noqa: B018


def test_a_getattr_of_ones_own() -> None:
    w = Wrapper()
    assert w.inner.weight is w.weight and w.plain == "plain"
    with pytest.raises(AttributeError):
        w.nope  # noqa: B018


def test_properties_that_fail_say_so() -> None:
    class Odd(nn.Module):
        @property
        def broken(self) -> Any:
            raise ValueError("from the property")

    with pytest.raises(ValueError, match="from the property"):
        Odd().broken  # noqa: B018


def test_calls_take_all_kinds_of_arguments() -> None:
    w = Wrapper()
    x = torch.ones(1, 2)
    expected = (w.inner(x) * 2 + 1).tolist()
    assert w(x, 2, shift=1).tolist() == w(x, scale=2, shift=1).tolist() == expected
    keywords = {"scale": 2, "shift": 1}
    assert w(*[x], **keywords).tolist() == expected
    with pytest.raises(TypeError):
        w()
    many = type("Many", (nn.Module,), {"forward": lambda self, *args: sum(args)})()
    assert many(*range(50)) == sum(range(50))


def test_forward_may_be_replaced_on_the_object() -> None:
    linear = nn.Linear(2, 3)
    linear.forward = lambda x: "mine"
    assert linear(1) == "mine"


def test_hooks_are_seen_at_once_and_gone_when_removed() -> None:
    linear = nn.Linear(2, 3)
    x = torch.ones(1, 2)
    plain = linear(x).tolist()
    handle = linear.register_forward_hook(lambda module, args, output: output * 2)
    assert linear(x).tolist() == [[2 * v for v in plain[0]]]
    handle.remove()
    assert linear(x).tolist() == plain


def test_copies_pickles_and_cycles() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    x = torch.ones(1, 2)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other(x).tolist() == net(x).tolist()
        assert other[0].weight is not net[0].weight
    net.loop = [net]
    seen = weakref.ref(net)
    del net
    gc.collect()
    assert seen() is None


def test_init_subclass_reaches_other_bases() -> None:
    seen = []

    class Registers:
        def __init_subclass__(cls, tag: str = "", **kwargs: Any) -> None:
            super().__init_subclass__(**kwargs)
            seen.append((cls.__name__, tag))

    class Tagged(nn.Module, Registers, tag="here"):
        pass

    assert seen == [("Tagged", "here")] and Tagged().training
