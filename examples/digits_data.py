"""scikit-learn's handwritten digits (1797 images of 8 by 8 pixels), split in the two ways that the
examples use.

    python examples/digits_data.py build/digits.npz     writes all of it for programs in C++
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SPLIT_SEED = 20  # which images are held out: fixed, whatever the seed of a training
LAST = 360  # the data set's own last rows, by writers who are not in the rows before


class Data(NamedTuple):
    """Images [N, 1, 8, 8] from 0 to 1 (float32) and their labels [N] (int64)."""

    train_x: np.ndarray
    test_x: np.ndarray
    train_y: np.ndarray
    test_y: np.ndarray


def images() -> tuple[np.ndarray, np.ndarray]:
    x, y = load_digits(return_X_y=True)
    return (x.astype(np.float32) / 16).reshape(-1, 1, 8, 8), y.astype(np.int64)


def stratified() -> Data:
    """A fifth of each class held out, the same for every run."""
    x, y = images()
    return Data(*train_test_split(x, y, test_size=0.2, stratify=y, random_state=SPLIT_SEED))


def by_writer() -> Data:
    """The last rows held out, the rows before for training."""
    x, y = images()
    return Data(x[:-LAST], x[-LAST:], y[:-LAST], y[-LAST:])


def main() -> None:
    path = Path(sys.argv[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **stratified()._asdict())


if __name__ == "__main__":
    main()
