"""Writes gradient_edges.json: PyTorch's gradients where the derivative is a convention.

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

from oracle.gradient_edges import EDGES, run  # noqa: E402
from oracle.library import L  # noqa: E402

lines = [f"{json.dumps(name)}: {json.dumps(run(name, L, 'cpu'))}" for name in EDGES]
(HERE / "gradient_edges.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
