"""Gradients from Python: backward, hooks, nodes, functions of one's own."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref

import pytest

import quicksilver as torch


def test_backward_and_nodes() -> None:
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    y = (w * w).sum()
    assert y.requires_grad and not y.is_leaf and y.grad_fn.name() == "SumBackward0"
    assert repr(y.grad_fn).startswith("<SumBackward0 object at 0x")
    (node, index), *_ = y.grad_fn.next_functions
    assert node.name() == "MulBackward0" and index == 0 and node == y.grad_fn.next_functions[0][0]
    y.backward()
    assert w.grad.tolist() == [2, 4]
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.backward()
    with pytest.raises(RuntimeError, match="does not require grad"):
        torch.ones(1).backward()


def test_grad_of_a_grad() -> None:
    x = torch.tensor(3.0, requires_grad=True)
    (g,) = torch.autograd.grad(x**3, [x], create_graph=True)
    (h,) = torch.autograd.grad(g, [x])
    assert g.item() == 27 and h.item() == 18
    other = torch.ones(1, requires_grad=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(x * 2, [other])
    assert torch.autograd.grad(x * 2, [other], allow_unused=True) == (None,)


def test_switches() -> None:
    w = torch.ones(1, requires_grad=True)
    with torch.no_grad():
        assert not (w * 2).requires_grad
        with torch.enable_grad():
            assert (w * 2).requires_grad
    assert torch.is_grad_enabled()
    assert not w.detach().requires_grad
    assert (w * 2).detach_().is_leaf


def test_hooks() -> None:
    w = torch.ones(2, requires_grad=True)
    seen = []
    handle = w.register_hook(lambda g: seen.append(g.tolist()))
    doubled = w.register_hook(lambda g: g * 2)
    (w * 3).sum().backward()
    assert seen == [[3, 3]] and w.grad.tolist() == [6, 6]
    handle.remove()
    doubled.remove()
    w.grad = None
    (w * 3).sum().backward()
    assert seen == [[3, 3]] and w.grad.tolist() == [3, 3]

    y = w * 2
    y.retain_grad()
    assert y.retains_grad
    y.sum().backward()
    assert y.grad.tolist() == [1, 1]

    def fails(g: object) -> None:
        raise KeyError("from the hook")

    w.register_hook(fails)
    with pytest.raises(KeyError, match="from the hook"):
        (w * 3).sum().backward()


def test_a_hook_is_freed_with_its_tensor() -> None:
    class Thing:
        pass

    thing = Thing()
    seen = weakref.ref(thing)
    w = torch.ones(1, requires_grad=True)
    w.register_hook(lambda g, thing=thing: None)
    del thing
    assert seen() is not None
    del w
    gc.collect()
    assert seen() is None


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x**2


def test_functions_in_python() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = Cube.apply(x)
    assert y.grad_fn.name() == "CubeBackward"
    y.sum().backward()
    assert x.grad.tolist() == [3, 12]
    (g,) = torch.autograd.grad(Cube.apply(x).sum(), [x], create_graph=True)
    (h,) = torch.autograd.grad(g.sum(), [x])
    assert h.tolist() == [6, 12]


def test_functions_may_save_their_output() -> None:
    class Exp(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0]

    x = torch.zeros(2, requires_grad=True)
    y = Exp.apply(x)
    y.sum().backward()
    assert x.grad.tolist() == [1, 1]
    seen = weakref.ref(y)
    del y
    assert seen() is None
    y = Exp.apply(x)
    with torch.no_grad():
        y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_errors_in_backward_reach_the_caller() -> None:
    class Bad(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            raise ZeroDivisionError("in backward")

    x = torch.ones(1, requires_grad=True)
    with pytest.raises(ZeroDivisionError, match="in backward"):
        Bad.apply(x).sum().backward()
    Cube.apply(x).sum().backward()
    assert x.grad.tolist() == [3]


def test_threads_train_side_by_side() -> None:
    failures = []

    def work(seed: int) -> None:
        try:
            for device in ("cpu", "mps"):
                w = torch.full((8,), float(seed), device=device, requires_grad=True)
                for _ in range(30):
                    loss = Cube.apply(w).sum()
                    loss.backward()
                    with torch.no_grad():
                        w -= 1e-4 * w.grad
                    w.grad = None
                assert 0 < w[0].item() < seed
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i + 1,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert not any(t.is_alive() for t in threads) and not failures, failures


def test_a_thread_may_end_with_work_recorded() -> None:
    kept = []

    def work() -> None:
        x = torch.ones(1000, device="mps")
        (x * 2).exp().sum().item()
        for i in range(20):
            kept.append((x * i).sum())

    for _ in range(5):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert [k.item() for k in kept] == [1000.0 * i for i in range(20)] * 5


def test_a_process_may_end_with_work_recorded() -> None:
    code = """
import quicksilver as torch
x = torch.ones(1000, device="mps")
(x * 2).exp().sum().item()
y = (x * 3).exp().sum(0)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
