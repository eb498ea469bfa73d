"""Of a product just the rows that are read are computed, and they have the bits of the whole."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_PROGRAM = """
import hashlib, sys
import numpy as np
import quicksilver as L

rng = np.random.default_rng(0)

def draw(*shape, kind=None):
    x = L.tensor(rng.standard_normal(shape).astype(np.float32)).to("mps")
    return x if kind is None else x.to(kind)

VIEWS = {
    "last": lambda y: y[:, -1] - 1,
    "some": lambda y: y[:, 2:5] * 2,
    "steps": lambda y: y[:, 1:6:2].softmax(-1),
    "two": lambda y: y[:, -1].exp() + y[:, -1].sum(-1, keepdim=True),
    "back": lambda y: y[:, 3].argmax(-1),
    "columns": lambda y: y[:, -1, 5:40] + 1,
}
for batch, rows, width, columns in ((1, 64, 96, 200), (1, 8, 64, 50), (3, 40, 80, 64),
                                    (1, 300, 33, 700), (2, 7, 300, 1000), (1, 12, 768, 300)):
    for biased in (False, True):
        for kind in (None, L.bfloat16, L.float16):
            x, w = draw(batch, rows, width, kind=kind), draw(columns, width, kind=kind)
            b = draw(columns, kind=kind) if biased else None
            L.mps.synchronize()
            for name, view in VIEWS.items():
                got = []
                for turn in range(3):
                    with L.no_grad():
                        out = view(L.nn.functional.linear(x, w, b))
                    got.append(out.cpu().float().numpy())
                assert all(np.array_equal(got[0], g) for g in got), (name, batch, rows, kind)
                whole = L.nn.functional.linear(x, w, b)
                kept = view(whole)  # the whole product is wanted as well
                assert np.array_equal(kept.cpu().float().numpy(), got[0]), (name, batch, rows, kind)
                print(name, rows, columns, biased, kind, hashlib.sha1(got[0].tobytes()).hexdigest())
"""


def _run(**extra: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=os.environ | extra, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("isa", ["", "avx2"])
def test_rows_have_the_bits_of_the_whole(isa: str) -> None:
    """Fused, node by node, and whatever the number of threads."""
    fused = _run(QS_ISA=isa)
    assert len(fused) == 6 * 2 * 3 * 6
    assert fused == _run(QS_ISA=isa, QS_SYNC="1")
    assert fused == _run(QS_ISA=isa, QS_NUM_THREADS="1")


_LAUNCHES = """
import numpy as np
import quicksilver as L
F = L.nn.functional
w = L.randn(200, 64, device="mps")
norm = L.nn.LayerNorm(64).to("mps")
L.mps.synchronize()

def step(length):
    x = L.arange(length * 64, device="mps").view(1, length, 64).float() / 1000
    with L.no_grad():
        return F.linear(norm(x), w)[:, -1].argmax(-1)

print(L.explain(step, 30))
step(29).item()
before = L.mps.plan_stats()
tokens = [step(length).item() for length in range(31, 60)]
after = L.mps.plan_stats()
print("structures", after["structures_built"] - before["structures_built"])
for length, token in zip(range(31, 60), tokens):
    x = np.arange(length * 64).reshape(length, 64)[-1] / 1000
    x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
    scores = w.cpu().numpy().astype(np.float64) @ x
    assert scores[token] >= scores.max() - 1e-4
"""


@pytest.mark.parametrize("driver", ["cpu"])
def test_the_last_row_alone_is_planned_once_for_all_lengths(driver: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _LAUNCHES],
        env=os.environ | {"QS_MPS_DRIVER": driver, "QS_LOG": "plan"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "matmul 1x200x64" in run.stderr
    assert "matmul 30x200x64" not in run.stderr
    assert "structures 0" in run.stdout, run.stdout
