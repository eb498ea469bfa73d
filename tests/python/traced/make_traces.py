"""Runs all cases on PyTorch and writes their results; see scripts/make_traces."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

import traced


def main() -> None:
    wanted = sys.argv[1:] or traced.names()
    traced.TRACES.mkdir(exist_ok=True)
    for name in wanted:
        results = {key: traced.run(case, torch) for key, case in traced.cases(name).items()}
        path = traced.TRACES / f"{name}.json"
        lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in results.items())
        head = f'{{"made_by": "scripts/make_traces", "torch": "{torch.__version__}", "cases": {{'
        path.write_text(f"{head}\n{lines}\n}}}}\n", encoding="utf-8")
        print(f"{path.name}: {len(results)} cases")


if __name__ == "__main__":
    main()
