"""Trains a small convolutional network on scikit-learn's handwritten digits.

A plain PyTorch loop on the device mps: each step is recorded, fused and replayed, with no call that
asks for it. A fifth of the images, the same for every run, is held out; the network is trained from
several seeds and the worst accuracy on the held-out images is what counts. One more training holds
out the data set's own last 360 rows, whose writers it has not seen.

    python examples/digits.py                       trains, writes out/digits.safetensors and .png
    python examples/digits.py --predict out/digits.safetensors    reads the weights and predicts
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from digits_data import Data, by_writer, stratified
from tqdm import tqdm

import quicksilver as torch
from quicksilver import nn

BATCH = 64
TARGET = 0.98  # what every seed must reach


class Run(NamedTuple):
    """What one training gave."""

    model: nn.Module
    losses: list[float]  # an epoch each, the mean over its batches
    accuracies: list[float]  # an epoch each, on the held-out images
    steps_per_second: float


def make_model() -> nn.Module:
    """Two convolutions of 3 by 3, each normalised and halved, and a linear layer; 10 classes."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(256, 10),
    )


def accuracy(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """The part of the images whose class the model says."""
    model.eval()
    with torch.no_grad():
        right = (model(x).argmax(dim=1) == y).float().mean().item()
    model.train()
    return right


def train(data: Data, device: str, epochs: int, seed: int) -> Run:
    """Trains from one seed and measures after each epoch."""
    torch.manual_seed(seed)
    train_x, test_x, train_y, test_y = (torch.from_numpy(part).to(device) for part in data)
    model = make_model().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    losses, accuracies = [], []
    seconds, steps = 0.0, 0
    for _ in tqdm(range(epochs), desc=f"seed {seed}", unit="epoch", leave=False):
        start = time.perf_counter()
        order = torch.randperm(len(train_x), device=device)
        total = torch.zeros((), device=device)
        for first in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[first : first + BATCH]
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(train_x[chosen]), train_y[chosen])
            loss.backward()
            optimizer.step()
            total += loss.detach()
        losses.append(total.item() / (len(order) // BATCH))  # item() waits for the device
        seconds += time.perf_counter() - start
        steps += len(order) // BATCH
        scheduler.step()
        accuracies.append(accuracy(model, test_x, test_y))
    return Run(model, losses, accuracies, steps / seconds)


def draw(runs: dict[int, Run], path: Path) -> None:
    """Writes a picture of the losses and accuracies by epoch."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for seed, run in runs.items():
        epochs = range(1, len(run.losses) + 1)
        left.semilogy(epochs, run.losses, label=f"seed {seed}")
        right.plot(epochs, run.accuracies)
    left.set(xlabel="epoch", ylabel="training loss")
    right.set(xlabel="epoch", ylabel="held-out accuracy", ylim=(0.9, 1.0))
    right.axhline(TARGET, color="grey", linestyle=":")
    left.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def predict(path: Path, device: str) -> None:
    """Reads the weights and says what they make of the held-out images."""
    model = make_model()
    model.load_state_dict(torch.load(path))
    model.to(device).eval()
    data = stratified()
    x = torch.from_numpy(data.test_x).to(device)
    with torch.no_grad():
        classes = model(x).argmax(dim=1).cpu().numpy()
    print(f"first ten: predicted {classes[:10].tolist()}, true {data.test_y[:10].tolist()}")
    print(f"accuracy {np.mean(classes == data.test_y):.4f} on {len(classes)} held-out images")


def where(device: str) -> str:
    """The device in words."""
    return f"mps, driver {torch.backends.mps.get_name()}" if device == "mps" else device


def run(arguments: argparse.Namespace) -> None:
    device = arguments.device
    if device == "mps" and not torch.backends.mps.is_available():
        raise RuntimeError(f"mps is not available: {torch.backends.mps.why_unavailable()}")
    if arguments.predict:
        predict(arguments.predict, device)
        return
    print(f"device {where(device)}")
    data = stratified()
    runs: dict[int, Run] = {}
    for seed in range(arguments.seeds):
        runs[seed] = one = train(data, device, arguments.epochs, seed)
        print(
            f"seed {seed}: held-out accuracy {one.accuracies[-1]:.4f}, loss {one.losses[-1]:.4f},"
            f" {one.steps_per_second:,.0f} steps a second"
        )
    if device == "mps":
        counts = torch.mps.plan_stats()
        print(
            f"plans made {counts['plans_built']}, kernels made {counts['kernels_built']},"
            f" plans found again {counts['hits']}, launches {counts['launches']}"
        )
    unseen = train(by_writer(), device, arguments.epochs, seed=0)
    print(f"accuracy on the data set's own last 360 rows: {unseen.accuracies[-1]:.4f}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    weights, picture = arguments.out / "digits.safetensors", arguments.out / "digits.png"
    torch.save(runs[0].model.state_dict(), weights)
    draw(runs, picture)
    print(f"wrote {weights} and {picture}; a new process reads the weights:")
    sys.stdout.flush()
    command = [sys.executable, __file__, "--predict", str(weights), "--device", device]
    if subprocess.run(command, check=False).returncode:
        raise RuntimeError("the new process failed")
    worst = min(one.accuracies[-1] for one in runs.values())
    print(f"worst held-out accuracy of {len(runs)} seeds: {worst:.4f}")
    if worst < TARGET:
        raise RuntimeError(f"it should be at least {TARGET}: something is wrong")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="mps", choices=["mps", "cpu"])
    parser.add_argument("--epochs", type=int, default=30, help="a training (default 30)")
    parser.add_argument("--seeds", type=int, default=5, help="how many trainings (default 5)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder (default out)")
    parser.add_argument("--predict", type=Path, metavar="FILE", help="weights to predict with")
    arguments = parser.parse_args()
    if arguments.epochs < 1 or arguments.seeds < 1:
        parser.error("--epochs and --seeds must be at least 1")
    try:
        run(arguments)
    except (OSError, RuntimeError) as error:
        text = str(error).strip().splitlines()
        print(f"digits: {text[0] if text else type(error).__name__}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
