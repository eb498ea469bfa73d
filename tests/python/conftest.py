"""Shared by all Python tests: seeds are fixed and printed; `oracle` is what tests compare with."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

SEED = int(os.environ.get("QS_TEST_SEED", "20240229"))


def pytest_report_header() -> str:
    module = os.environ.get("QS_TEST_MODULE", "quicksilver")
    return f"testing {module}, QS_TEST_SEED={SEED}"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shard", help="I/N: every N-th test from the I-th (0 to N-1) on")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if shard := config.getoption("--shard"):
        number, count = (int(part) for part in shard.split("/"))
        items[:] = items[number::count]


@pytest.fixture
def seed() -> int:
    """What random tests start from: QS_TEST_SEED runs them again, or with other numbers."""
    return SEED


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(autouse=True)
def quiet_numpy() -> Iterator[None]:
    """Overflow and division by zero are what many references are about."""
    with np.errstate(all="ignore"):
        yield
