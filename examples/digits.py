"""Trains a small network on scikit-learn's handwritten digits (1797 images of 8 by 8 pixels).

A plain PyTorch loop: on mps each step is recorded, fused and replayed.
Usage: python examples/digits.py [--device mps|cpu] [--epochs 30]
"""

from __future__ import annotations

import argparse
import time

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import quicksilver as torch
from quicksilver import nn


def load(device: str) -> tuple[torch.Tensor, ...]:
    """Training and test images, scaled to 0..1, and their labels, on the device."""
    images, labels = load_digits(return_X_y=True)
    split = train_test_split(
        images.astype("float32") / 16, labels.astype("int64"), test_size=0.2, random_state=0
    )
    return tuple(torch.from_numpy(part).to(device) for part in split)


def train(device: str, epochs: int, batch: int = 64) -> float:
    """Trains for some epochs, prints the progress, and returns the accuracy on the test images."""
    torch.manual_seed(0)
    train_x, test_x, train_y, test_y = load(device)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

    accuracy = 0.0
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        order = torch.randperm(len(train_x), device=device)
        for first in range(0, len(order), batch):
            chosen = order[first : first + batch]
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(train_x[chosen]), train_y[chosen])
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            accuracy = (model(test_x).argmax(dim=1) == test_y).float().mean().item()
        seconds = time.perf_counter() - start
        if epoch == 1 or epoch % 5 == 0 or epoch == epochs:
            print(
                f"epoch {epoch:3}  loss {loss.item():.4f}  test accuracy {accuracy:.3f}"
                f"  {seconds * 1e3:.0f} ms"
            )
    return accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="mps", choices=["mps", "cpu"])
    parser.add_argument("--epochs", type=int, default=30)
    arguments = parser.parse_args()
    where = torch.backends.mps.driver() if arguments.device == "mps" else "host"
    print(f"device {arguments.device} ({where})")
    accuracy = train(arguments.device, arguments.epochs)
    if accuracy < 0.9:
        raise SystemExit(f"accuracy {accuracy:.3f} is below 0.9: something is wrong")


if __name__ == "__main__":
    main()
