"""Steps with sizes never seen before: each step of each round has a batch or length of its own."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import workloads
from measure import Line

import quicksilver as qs

if TYPE_CHECKING:
    from rows import Bench

DEVICE = "mps"
STEPS = 24  # of a round
Step = Callable[[int], Any]


def mlp(L: Any, device: str) -> Step:
    """A training step of 784-256-10, SGD with momentum, on a batch of n."""
    L.manual_seed(0)
    nn = L.nn
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10)).to(device)
    optimizer = L.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x = L.randn(1024, 784).to(device)
    y = L.randint(0, 10, (1024,)).to(device)

    def step(n: int) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[:n]), y[:n])
        loss.backward()
        optimizer.step()
        return loss

    return step


def block(L: Any, device: str) -> Step:
    """Forward and backward of a transformer block of width 64, 4 heads, over 4 sequences of n."""
    L.manual_seed(0)
    nn = L.nn
    F = nn.functional
    parts = nn.ModuleDict(
        {
            "norm1": nn.LayerNorm(64),
            "qkv": nn.Linear(64, 192),
            "out": nn.Linear(64, 64),
            "norm2": nn.LayerNorm(64),
            "up": nn.Linear(64, 256),
            "down": nn.Linear(256, 64),
        }
    ).to(device)
    data = L.randn(4, 512, 64).to(device)

    def step(n: int) -> Any:
        for p in parts.parameters():
            p.grad = None
        x = data[:, :n]
        q, k, v = parts["qkv"](parts["norm1"](x)).split(64, dim=2)
        q, k, v = (t.view(4, n, 4, 16).transpose(1, 2) for t in (q, k, v))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + parts["out"](a.transpose(1, 2).reshape(4, n, 64))
        x = x + parts["down"](F.gelu(parts["up"](parts["norm2"](x))))
        loss = (x * x).mean()
        loss.backward()
        return loss

    return step


def transformer(L: Any, device: str) -> Step:
    """A training step of one block of width 64 between an embedding and a head, n tokens long."""
    L.manual_seed(0)
    model = workloads.gpt(L, 96, 512, 1, 4, 64).to(device)
    optimizer = L.optim.AdamW(model.parameters(), lr=1e-3)
    ids = L.randint(0, 96, (4, 513)).to(device)

    def step(n: int) -> Any:
        optimizer.zero_grad()
        out = model(ids[:, :n])
        loss = L.nn.functional.cross_entropy(out.view(-1, 96), ids[:, 1 : n + 1].reshape(-1))
        loss.backward()
        optimizer.step()
        return loss

    return step


def cnn(L: Any, device: str) -> Step:
    """A training step of a small convolutional network on n images of 16 x 16."""
    L.manual_seed(0)
    nn = L.nn
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(256, 10),
    ).to(device)  # fmt: skip
    optimizer = L.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x = L.randn(1024, 1, 16, 16).to(device)
    y = L.randint(0, 10, (1024,)).to(device)

    def step(n: int) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[:n]), y[:n])
        loss.backward()
        optimizer.step()
        return loss

    return step


def elementwise(L: Any, device: str) -> Step:
    """Ten small ops over [n, 32]: what a step costs that computes next to nothing."""
    L.manual_seed(0)
    data = L.randn(1024, 32).to(device)
    scale = L.randn(32).to(device)

    def step(n: int) -> Any:
        x = data[:n]
        y = L.tanh(x * scale + 0.5)
        z = (y - y.mean(1, keepdim=True)) * 2.0
        w = L.where(z > 0, z, z * 0.1)
        return L.softmax(w, dim=1).sum(0)

    return step


PROGRAMS = {
    "mlp": mlp,
    "cnn": cnn,
    "block": block,
    "transformer": transformer,
    "elementwise": elementwise,
}


def planned(name: str) -> None:
    """Prints the seconds a node that plans of unseen sizes took in this process."""
    step = PROGRAMS[name](qs, DEVICE)
    out = None
    for n in (500, 501, 502, 500):
        out = step(n)
        qs.mps.synchronize()
    before = qs.mps.plan_stats()
    for n in range(40, 490):
        out = step(n)
        qs.mps.synchronize()
    del out
    after = qs.mps.plan_stats()
    took, nodes = (after[k] - before[k] for k in ("instance_ns", "instance_nodes"))
    print(took / nodes / 1e9)


def planning(bench: Bench) -> list[Line]:
    """A known structure at sizes never seen: time a node, on the null driver, in own processes."""
    lines = []
    for name in PROGRAMS:
        times = [
            float(
                subprocess.run(
                    [sys.executable, __file__, name],
                    env={**os.environ, "QS_MPS_DRIVER": "null"},
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout
            )
            for _ in range(min(bench.rounds, 5))
        ]
        lines.append(Line(f"planning a node, {name}", statistics.median(times), {}, 1e-6, "us"))
    return lines


def seconds_a_step(step: Step, sizes: list[int], synchronize: Callable[[Any], None]) -> float:
    start = time.perf_counter()
    outputs = [step(n) for n in sizes]
    synchronize(outputs)
    return (time.perf_counter() - start) / len(sizes)


def unseen(bench: Bench) -> list[Line]:
    """Ours on unseen sizes, beside PyTorch eager on the same, and ours on sizes seen twice."""
    lines = []
    for name, make in PROGRAMS.items():
        libraries = {"quicksilver": (qs, DEVICE, lambda _: qs.mps.synchronize())}
        if bench.torch:
            libraries["torch"] = (bench.torch, "cpu", lambda _: None)
        steps = {k: make(L, device) for k, (L, device, _) in libraries.items()}
        for n in (500, 501, 502, 500):  # kernels and structures are made
            for step in steps.values():
                step(n)
        times: dict[str, list[float]] = {k: [] for k in (*steps, "seen")}
        before = qs.mps.plan_stats()
        for r in range(bench.rounds):
            sizes = [40 + r * STEPS + i for i in range(STEPS)]
            for k, step in steps.items():
                times[k].append(seconds_a_step(step, sizes, libraries[k][2]))
            for _ in range(2):
                again = seconds_a_step(steps["quicksilver"], sizes, libraries["quicksilver"][2])
            times["seen"].append(again)
        made = {k: v - before[k] for k, v in qs.mps.plan_stats().items()}
        middle = {k: statistics.median(v) for k, v in times.items()}
        ours = middle.pop("quicksilver")
        a_node = made["instance_ns"] / max(made["instance_nodes"], 1) / 1e3
        note = (
            f"{made['structures_built']} structures, {made['instances_built']} instances, "
            f"planned in {a_node:.2f} us a node"
        )
        lines.append(Line(f"unseen sizes, {name}", ours, middle, middle.get("torch"), "us", note))
    return lines


if __name__ == "__main__":
    planned(sys.argv[1])
