"""Writes small checkpoint files with PyTorch; scripts/make_traces runs it."""

from __future__ import annotations

import os
import sys
from collections import OrderedDict
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
from checkpoints import example, trained, trusted

OUT = Path(__file__).resolve().parent / "checkpoints"


class Evil:
    """What a hostile file would like to have run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/quicksilver-was-here",)


def main() -> None:
    OUT.mkdir(exist_ok=True)
    torch.save(example(torch), OUT / "nested.pt")
    torch.save(example(torch), OUT / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(example(torch), OUT / "protocol4.pt", pickle_protocol=4)
    model, optimizer = trained(torch)
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    torch.save(state, OUT / "training.pt")
    torch.save(model, OUT / "module.pt")
    torch.save(trusted(torch), OUT / "trusted.pt")
    torch.save(trusted(torch), OUT / "trusted4.pt", pickle_protocol=4)
    torch.save(OrderedDict(x=Evil()), OUT / "evil.pt")
    print(f"{OUT.name}: {len(list(OUT.iterdir()))} files")


if __name__ == "__main__":
    main()
