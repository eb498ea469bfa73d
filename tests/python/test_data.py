"""Loading data: against PyTorch's committed results, and with worker processes."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import traced

import quicksilver as torch
from quicksilver.utils import data


@pytest.mark.parametrize("case", traced.cases("data"))
def test_as_pytorch(case: str) -> None:
    traced.check("data", case, torch)


class Squares(data.Dataset[Any]):
    """Sample i is (i, an array that says i squared, its number as text)."""

    def __init__(self, size: int, wide: int = 3) -> None:
        self.size = size
        self.wide = wide

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, i: int) -> Any:
        if i >= self.size:
            raise IndexError(f"sample {i} of {self.size}")
        return i, np.full(self.wide, i * i, np.float32), str(i)


class Numbers(data.IterableDataset[Any]):
    """0 to size - 1, shared out among the workers."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __iter__(self) -> Any:
        info = data.get_worker_info()
        start, step = (info.id, info.num_workers) if info else (0, 1)
        return iter(range(start, self.size, step))


class Failing(data.Dataset[Any]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> Any:
        if i == 2:
            raise KeyError("sample two is bad")
        return i


class Dying(Failing):
    def __getitem__(self, i: int) -> Any:
        os._exit(3)


class Seeds(data.Dataset[Any]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> Any:
        info = data.get_worker_info()
        assert info is not None
        return torch.rand(1).item(), info.id, info.seed, np.random.rand()


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("wide", [3, 5000])  # below and above what goes by shared memory
def test_batches_come_in_order(workers: int, wide: int) -> None:
    loader = data.DataLoader(Squares(11, wide), batch_size=4, num_workers=workers)
    batches = list(loader)
    assert [b[0].tolist() for b in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    assert batches[2][1].shape == (3, wide) and batches[2][1][2, wide - 1].item() == 100
    assert batches[1][2] == ("4", "5", "6", "7") or batches[1][2] == ["4", "5", "6", "7"]
    assert [b[0].tolist() for b in loader] == [b[0].tolist() for b in batches]


@pytest.mark.parametrize("workers", [0, 2])
def test_iterable_datasets(workers: int) -> None:
    loader = data.DataLoader(Numbers(10), batch_size=3, num_workers=workers)
    assert sorted(i for batch in loader for i in batch.tolist()) == list(range(10))


def test_shuffling_follows_the_generator() -> None:
    def order(seed: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        loader = data.DataLoader(range(50), 10, shuffle=True, generator=generator)
        return [i for batch in loader for i in batch.tolist()]

    assert order(1) == order(1) != order(2)
    assert sorted(order(1)) == list(range(50))


def test_an_error_in_a_worker_is_raised_here() -> None:
    loader = data.DataLoader(Failing(), batch_size=1, num_workers=1)
    seen = []
    with pytest.raises(KeyError, match="DataLoader worker process 0") as caught:
        for batch in loader:
            seen.extend(batch.tolist())
    assert seen == [0, 1] and "sample two is bad" in str(caught.value)
    with pytest.raises(KeyError, match="sample two"):
        list(data.DataLoader(Failing()))


def test_a_worker_that_dies_is_noticed() -> None:
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        list(data.DataLoader(Dying(), num_workers=1))


def test_workers_differ_and_repeat_with_the_seed() -> None:
    def draws() -> Any:
        torch.manual_seed(5)
        loader = data.DataLoader(Seeds(), batch_size=None, num_workers=2)
        return [(a, i, s, n) for a, i, s, n in loader]

    first, second = draws(), draws()
    assert first == second
    assert {worker for _, worker, _, _ in first} == {0, 1}
    assert len({value for value, *_ in first}) == 4 and len({n for *_, n in first}) == 4


def test_persistent_workers_stay() -> None:
    loader = data.DataLoader(Squares(6), 2, num_workers=2, persistent_workers=True)
    first = [b[0].tolist() for b in loader]
    pids = [worker.pid for worker in loader._iterator.workers]
    for batch in loader:  # left early
        assert batch[0].tolist() == [0, 1]
        break
    assert [b[0].tolist() for b in loader] == first
    assert [worker.pid for worker in loader._iterator.workers] == pids
    loader._iterator.close()
    assert not any(worker.is_alive() for worker in loader._iterator.workers)


def test_left_early_the_workers_end() -> None:
    loader = data.DataLoader(Squares(100, 5000), 2, num_workers=2)
    iterator = iter(loader)
    next(iterator)
    workers = list(iterator.workers)
    iterator.close()
    assert not any(worker.is_alive() for worker in workers)


def test_worker_init_fn_and_timeout() -> None:
    def start(worker: int) -> None:
        np.random.seed(worker)

    loader = data.DataLoader(Seeds(), batch_size=None, num_workers=1, worker_init_fn=start)
    expected = np.random.RandomState(0).rand(4).tolist()
    assert [n for *_, n in loader] == expected


def test_workers_beside_an_open_mps() -> None:
    x = torch.ones(4, device="mps") * 3
    batches = list(data.DataLoader(Squares(6), 2, num_workers=1))
    assert len(batches) == 3
    assert (x + batches[0][0][1].to("mps")).tolist() == [4, 4, 4, 4]


def test_pin_memory_is_accepted() -> None:
    assert len(list(data.DataLoader(range(4), 2, pin_memory=True))) == 2


def test_outside_of_workers_there_is_no_worker_info() -> None:
    assert data.get_worker_info() is None


@pytest.mark.parametrize("workers", [0, 1])
def test_loading_with_mps_as_the_default_device(workers: int) -> None:
    torch.set_default_device("mps")
    try:
        loader = data.DataLoader(Squares(6), 2, shuffle=True, num_workers=workers)
        assert sorted(i for b in loader for i in b[0].tolist()) == list(range(6))
        parts = data.random_split(range(10), [4, 6], torch.Generator().manual_seed(1))
        assert sorted(i for part in parts for i in part) == list(range(10))
        generator = torch.Generator("mps").manual_seed(1)
        assert sorted(data.SubsetRandomSampler([3, 4], generator)) == [3, 4]
        assert torch.nn.init.orthogonal_(torch.empty(3, 3)).is_mps
    finally:
        torch.set_default_device(None)
