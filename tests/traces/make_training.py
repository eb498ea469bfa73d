"""Writes training.json: losses of twenty steps of the MLP in PyTorch, from equal initial weights.

Run by scripts/make_traces with an interpreter that has PyTorch.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
os.environ["QS_TEST_MODULE"] = "torch"
sys.path.insert(0, str(HERE.parent / "python"))

from oracle.library import L  # noqa: E402
from oracle.training import OPTIMIZERS, mlp_losses  # noqa: E402

traces = {name: mlp_losses(L, "cpu", name, 20) for name in OPTIMIZERS}
lines = [f"{json.dumps(name)}: {json.dumps(losses)}" for name, losses in traces.items()]
(HERE / "training.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
