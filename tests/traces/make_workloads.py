"""Writes workloads.json: losses of twenty steps of each workload of the benches in PyTorch.

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
from oracle.whole_models import TRAININGS, gpt2_token, losses  # noqa: E402

traces = {name: losses(L, "cpu", name) for name in TRAININGS}
traces["gpt2 forward"] = gpt2_token(L, "cpu")
lines = [f"{json.dumps(name)}: {json.dumps(values)}" for name, values in traces.items()]
(HERE / "workloads.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
print(f"workloads.json: {len(traces)} workloads")
