"""torch.distributed, parallel modules and multiprocessing, for the one process there is."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import traced

import quicksilver as torch
from quicksilver import distributed as dist
from quicksilver import multiprocessing as mp
from quicksilver import nn
from quicksilver.nn.parallel import DistributedDataParallel
from quicksilver.utils.data import DataLoader, DistributedSampler

FAILING = {"raise": mp.ProcessRaisedException, "exit": mp.ProcessExitedException}


@pytest.mark.parametrize("case", traced.cases("samplers"))
def test_as_pytorch(case: str) -> None:
    traced.check("samplers", case, torch)


@pytest.fixture
def group() -> Iterator[None]:
    dist.init_process_group("gloo", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_without_a_group() -> None:
    assert dist.is_available() and not dist.is_initialized()
    for call in (dist.get_rank, dist.get_world_size, dist.barrier, dist.destroy_process_group):
        with pytest.raises(ValueError, match="Default process group has not been initialized"):
            call()
    with pytest.raises(ValueError, match="has not been initialized"):
        DistributedDataParallel(nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("environment", "error", "text"),
    [
        ({}, ValueError, "WORLD_SIZE expected"),
        ({"WORLD_SIZE": "1"}, ValueError, "RANK expected"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, NotImplementedError, "one process is served"),
    ],
)
def test_groups_that_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], error: type, text: str
) -> None:
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(error, match=text):
        dist.init_process_group("nccl")
    assert not dist.is_initialized()


def test_a_group_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    dist.init_process_group(backend="gloo")
    assert (dist.get_rank(), dist.get_world_size(), dist.get_backend()) == (0, 1, "gloo")
    with pytest.raises(ValueError, match="twice"):
        dist.init_process_group(backend="gloo")
    dist.destroy_process_group()
    assert not dist.is_initialized()


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_collectives_of_one_member(group: None, device: str) -> None:
    x = torch.arange(3.0, device=device)
    got, whole, mine = torch.zeros_like(x), torch.zeros(1, 3, device=device), torch.zeros_like(x)
    assert dist.all_reduce(x, op=dist.ReduceOp.AVG) is None
    assert dist.all_reduce(x, async_op=True).wait()
    dist.broadcast(x, src=0)
    dist.reduce(x, 0)
    dist.all_gather([got], x)
    dist.all_gather_into_tensor(whole, x)
    dist.scatter(mine, [x + 1], src=0)
    assert x.tolist() == got.tolist() == whole[0].tolist() == [0, 1, 2] and mine.tolist() == [
        1,
        2,
        3,
    ]
    objects: list[object] = [None]
    dist.all_gather_object(objects, "a")
    assert objects == ["a"]
    with pytest.raises(ValueError, match="no member 1"):
        dist.broadcast(x, src=1)
    with pytest.raises(ValueError, match="Invalid rank"):
        dist.new_group([0, 1])
    assert dist.get_world_size(dist.new_group([0])) == 1


def test_parallel_modules_run_their_module(group: None) -> None:
    inner = nn.Linear(3, 2)
    x = torch.ones(4, 3)
    for outer in (DistributedDataParallel(inner, device_ids=None), nn.DataParallel(inner)):
        assert list(outer.state_dict()) == ["module.weight", "module.bias"]
        inner.zero_grad()
        outer(x).sum().backward()
        assert inner.bias.grad.tolist() == [4, 4] and outer.module is inner
    ddp = DistributedDataParallel(inner)
    with ddp.no_sync():
        assert not ddp.require_backward_grad_sync
    with pytest.raises(RuntimeError, match="doesn't have any parameter"):
        DistributedDataParallel(nn.ReLU())


def test_a_loader_over_parts(group: None) -> None:
    sampler = DistributedSampler(range(5), shuffle=True, seed=3)
    first = [int(x) for x in DataLoader(range(5), sampler=sampler)]
    sampler.set_epoch(1)
    assert sorted(first) == list(range(5)) and list(sampler) != first
    parts = [list(DistributedSampler(range(5), 2, r, seed=3)) for r in (0, 1)]
    assert sorted({*parts[0], *parts[1]}) == list(range(5)) and len(parts[0]) == len(parts[1]) == 3


def _write(index: int, folder: str) -> None:
    Path(folder, str(index)).write_text(str(torch.ones(2).sum().item()))


def _fail(index: int, how: str) -> None:
    if index == 0 and how == "raise":
        raise KeyError("gone")
    if index == 0:
        os._exit(7)
    signal.pause()  # until it is ended


def test_spawn(tmp_path: Path) -> None:
    mp.spawn(_write, (str(tmp_path),), nprocs=2)
    assert [(tmp_path / str(i)).read_text() for i in (0, 1)] == ["2.0", "2.0"]


@pytest.mark.skipif(sys.platform == "win32", reason="signal.pause is a call of Unix")
@pytest.mark.parametrize("how", FAILING)
def test_spawn_tells_who_failed_and_ends_the_others(how: str) -> None:
    with pytest.raises(FAILING[how], match="gone" if how == "raise" else "exit code 7") as error:
        mp.start_processes(_fail, (how,), nprocs=2, start_method="fork")
    assert error.value.error_index == 0 and error.value.pid > 0
