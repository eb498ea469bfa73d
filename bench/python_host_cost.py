"""What a call costs on the host, from Python: recorded ops, attributes, module calls.

Usage: PYTHONPATH=build/python python bench/python_host_cost.py [--device mps]

Nothing here waits for the device inside a timed loop. Prints the best of several rounds, in
nanoseconds a call.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import quicksilver as torch
from quicksilver import nn

CALLS = 1000
ROUNDS = 15


def cost(body: Callable[[Any], None], device: str) -> float:
    """Nanoseconds a call of `body(calls)`, the best round."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        body(range(CALLS))
        best = min(best, time.perf_counter() - start)
        if device == "mps":
            torch.mps.synchronize()
    return best / CALLS * 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="mps", choices=["mps", "cpu"])
    device = parser.parse_args().device
    x = torch.ones(16, device=device)
    y = torch.ones(16, device=device)
    w = torch.ones(16, device=device, requires_grad=True)
    matrix = torch.ones(4, 16, device=device)
    linear = nn.Linear(16, 16).to(device)

    class Empty(nn.Module):
        def forward(self, value: Any) -> Any:
            return value

    empty = Empty()

    def nothing(calls: Any) -> None:
        for _ in calls:
            pass

    def add(calls: Any) -> None:
        for _ in calls:
            x + y

    def add_number(calls: Any) -> None:
        for _ in calls:
            x + 1.5

    def add_with_gradient(calls: Any) -> None:
        for _ in calls:
            w + y

    def exp_method(calls: Any) -> None:
        for _ in calls:
            x.exp()

    def sum_dim(calls: Any) -> None:
        for _ in calls:
            matrix.sum(1)

    def in_place(calls: Any) -> None:
        for _ in calls:
            x.add_(y)

    def view(calls: Any) -> None:
        for _ in calls:
            matrix.view(16, 4)

    def row(calls: Any) -> None:
        for _ in calls:
            matrix[1]

    def shape(calls: Any) -> None:
        for _ in calls:
            x.shape  # noqa: B018

    def dtype(calls: Any) -> None:
        for _ in calls:
            x.dtype  # noqa: B018

    def requires_grad(calls: Any) -> None:
        for _ in calls:
            x.requires_grad  # noqa: B018

    def is_mps(calls: Any) -> None:
        for _ in calls:
            x.is_mps  # noqa: B018

    def numel(calls: Any) -> None:
        for _ in calls:
            x.numel()

    def module_call(calls: Any) -> None:
        for _ in calls:
            empty(x)

    def forward_call(calls: Any) -> None:
        for _ in calls:
            empty.forward(x)

    def parameter(calls: Any) -> None:
        for _ in calls:
            linear.weight  # noqa: B018

    def linear_call(calls: Any) -> None:
        for _ in calls:
            linear(matrix)

    overhead = cost(nothing, device)
    print(f"device {device}; the empty loop's {overhead:.0f} ns are taken off")
    for body in (
        add, add_number, add_with_gradient, exp_method, sum_dim, in_place, view, row, shape, dtype,
        requires_grad, is_mps, numel, module_call, forward_call, parameter, linear_call,
    ):  # fmt: skip
        print(f"{body.__name__:20}{cost(body, device) - overhead:8.0f} ns")


if __name__ == "__main__":
    main()
