"""explain(): its counts, its reasons, and that looking changes nothing. memory_summary()."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import quicksilver as torch
from quicksilver import mps, nn


def test_a_fused_chain_is_one_launch_with_its_bytes() -> None:
    x = torch.ones(64, 256, device="mps")
    mps.synchronize()
    seen = torch.explain(lambda a, scale: (a * scale + 1).softmax(-1), x, scale=2.0)
    assert (seen.ops, seen.launches, seen.bytes) == (3, 1, 2 * 64 * 256 * 4)
    (plan,) = seen.plans
    (launch,) = plan["launches"]
    assert [op["name"] for op in launch["ops"]] == ["mul", "add", "softmax"]
    assert launch["loops"] == "[64] folding [256]"
    assert {op["line"].rsplit(":", 1)[0] for op in launch["ops"]} == {"test_explain.py"}
    reads, writes = launch["crossings"]
    assert not reads["write"] and reads["tensor"] == "float32[64, 256]" and reads["from"] == -1
    assert writes["write"] and writes["why"].startswith("kept")
    np.testing.assert_allclose(seen.result.cpu().numpy(), np.full((64, 256), 1 / 256), rtol=1e-6)
    text = str(seen)
    assert "mul, add, softmax" in text and "1 launches" in text


def test_it_says_why_a_value_crosses_memory() -> None:
    x, w = torch.randn(8, 16, device="mps"), torch.randn(16, 4, device="mps")
    seen = torch.explain(lambda: ((x + 1) @ w).relu().sum(0))
    (plan,) = seen.plans
    kinds = [launch["kind"] for launch in plan["launches"]]
    assert kinds[:2] == ["map", "matmul"]
    written = [c for c in plan["launches"][0]["crossings"] if c["write"]]
    assert [c["why"] for c in written] == ["for launch 1: a matmul reads from memory"]
    inner = [c for launch in plan["launches"] for c in launch["crossings"] if c["from"] >= 0]
    assert inner and all(c["why"] == f"made by launch {c['from']}" for c in inner)
    in_place = torch.explain(lambda: x.mul_(2)).plans[0]["launches"][0]["crossings"]
    assert [c["why"] for c in in_place if c["write"]] == ["written in place into an older tensor"]


def test_what_nobody_needs_is_counted_as_dropped() -> None:
    x = torch.ones(8, device="mps")
    mps.synchronize()

    def fn() -> torch.Tensor:
        x.exp()
        return x + 1

    (plan,) = torch.explain(fn).plans
    assert (plan["recorded"], plan["dropped"], plan["commands"]) == (2, 1, 1)
    assert str(torch.explain(lambda: None)).startswith("nothing ran")


def test_a_training_step_can_be_looked_at_and_goes_on() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4)).to("mps")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    x, y = torch.randn(8, 16).to("mps"), torch.arange(8).remainder(4).to("mps")

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    losses = [step().item() for _ in range(5)]
    before = mps.plan_stats()
    seen = torch.explain(step)
    losses.append(seen.result.item())
    losses.append(step().item())
    after = mps.plan_stats()
    assert after["plans"] == before["plans"] and after["plans_built"] == before["plans_built"]
    assert losses == sorted(losses, reverse=True) and losses[0] > losses[-1]
    names = [op["name"] for p in seen.plans for launch in p["launches"] for op in launch["ops"]]
    assert "cross_entropy" in names and "matmul" in names


def test_the_picture_and_the_files(tmp_path: Path) -> None:
    x = torch.ones(4, 4, device="mps")
    seen = torch.explain(lambda: (x @ x + x).sum())
    root = ElementTree.fromstring(seen.svg())
    boxes = [e for e in root.iter() if e.tag.endswith("rect")]
    assert len(boxes) == 1 + sum(len(p["launches"]) for p in seen.plans)
    assert seen._repr_svg_() == seen.svg()
    for name in ("plan.svg", "plan.json", "plan.txt"):
        seen.save(tmp_path / name)
    assert json.loads((tmp_path / "plan.json").read_text()) == seen.plans
    assert (tmp_path / "plan.txt").read_text().strip() == str(seen)
    assert (tmp_path / "plan.svg").read_text() == seen.svg()


def test_bad_input_and_errors_inside() -> None:
    with pytest.raises(TypeError, match="callable"):
        torch.explain(3)
    with pytest.raises(ZeroDivisionError):
        torch.explain(lambda: 1 / 0)
    with pytest.raises(RuntimeError, match="running already"):
        torch.explain(lambda: torch.explain(lambda: None))
    assert torch.explain(lambda: torch.ones(3, device="mps")).launches == 1


def test_the_memory_summary_shows_what_tensors_hold() -> None:
    before = mps.memory_stats()
    x = torch.ones(1 << 20, device="mps")
    now = mps.memory_stats()
    assert now["live_bytes"] - before["live_bytes"] >= 1 << 22
    assert now["driver_bytes"] == now["live_bytes"] + now["cached_bytes"]
    text = mps.memory_summary()
    assert f"{now['live_bytes'] / 2**20:.2f} MiB" in text and "plans" in text
    assert len(mps.memory_summary(abbreviated=True)) < len(text)
    assert x.sum().item() == 1 << 20


def test_the_memory_summary_says_which_tensors_hold_it() -> None:
    kept = [torch.full((300, 1000), 1.0, device="mps") for _ in range(3)]
    named = {"view": kept[0][10:20]}
    named["weight"] = torch.nn.Parameter(torch.ones(700, 1000, device="mps"))
    loss = (named["weight"] * kept[0].sum()).exp().sum()
    loss.backward()
    text = mps.memory_summary()
    assert "  3 tensors float32 [300, 1000]" in text, text
    assert "  1 parameters float32 [700, 1000]" in text, text
    assert "  1 tensors float32 [700, 1000]" in text, text  # its gradient
    assert "scratch of plans" in text and "kept for backward()" in text
    assert "who holds it" not in mps.memory_summary(abbreviated=True)
    del kept
    text = mps.memory_summary()
    assert "1 tensors float32 [10, 1000]" in text, text  # it keeps all of its memory
