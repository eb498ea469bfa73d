"""Datasets, samplers, collating and loaders."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np

from . import outcome

Point = namedtuple("Point", "x y")


def shown(value: Any) -> Any:
    """A batch as JSON: tensors with their dtype."""
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        return [str(value.dtype), value.tolist()]
    if isinstance(value, tuple):
        return [type(value).__name__, [shown(v) for v in value]]
    if isinstance(value, list):
        return [shown(v) for v in value]
    if isinstance(value, dict):
        return {k: shown(v) for k, v in value.items()}
    return value


def case_collate(L: Any) -> Any:
    c = L.utils.data.default_collate
    return [
        shown(c([L.ones(2), L.zeros(2)])),
        shown(c([1, 2, 3])),
        shown(c([1.5, 2.0])),
        shown(c([True, False])),
        shown(c(["a", "b"])),
        shown(c([np.arange(2), np.arange(2)])),
        shown(c([np.float32(1), np.float32(2)])),
        shown(c([np.int64(1), np.int64(2)])),
        shown(c([(1, 2.0), (3, 4.0)])),
        shown(c([[1, 2], [3, 4]])),
        shown(c([{"a": 1, "b": L.ones(1)}, {"a": 2, "b": L.zeros(1)}])),
        shown(c([OrderedDict(z=1), OrderedDict(z=2)])),
        shown(c([Point(1, 2), Point(3, 4)])),
        shown(c([((1, 2), {"k": "v"}), ((3, 4), {"k": "w"})])),
        outcome(lambda: c([[1], [1, 2]])),
        outcome(lambda: c([L.ones(1), L.ones(2)]))["error"],
    ]


def case_datasets(L: Any) -> Any:
    d = L.utils.data
    one = d.TensorDataset(L.arange(4), L.arange(4) * 10)
    two = d.TensorDataset(L.arange(3), L.arange(3) * 7)
    both = one + two
    subset = d.Subset(one, [3, 1])
    split = d.random_split(range(10), [3, 7])
    parts = d.random_split(range(11), [0.5, 0.3, 0.2])
    return [
        shown(one[2]), len(one), len(both), shown(both[4]), shown(both[-1]), shown(both[0]),
        shown(subset[0]), len(subset), [len(s) for s in split], [len(s) for s in parts],
        sorted(i for s in split for i in s),
        shown(d.StackDataset(a=[1, 2], b=[3, 4])[1]),
        outcome(lambda: both[-8] and None),
        outcome(lambda: d.TensorDataset(L.ones(2), L.ones(3)) and None),
        outcome(lambda: d.ConcatDataset([]) and None),
        outcome(lambda: d.random_split(range(10), [3, 8]) and None),
        outcome(lambda: d.Dataset()[0])["error"],
        outcome(lambda: d.StackDataset([1], [1, 2]) and None),
    ]  # fmt: skip


def case_samplers(L: Any) -> Any:
    d = L.utils.data
    return [
        list(d.SequentialSampler(range(4))),
        sorted(d.RandomSampler(range(6))),
        len(list(d.RandomSampler(range(3), replacement=True, num_samples=7))),
        len(list(d.RandomSampler(range(3), num_samples=7))),
        sorted(d.SubsetRandomSampler([5, 7, 9])),
        list(d.BatchSampler(range(7), 3, False)),
        list(d.BatchSampler(range(7), 3, True)),
        len(d.BatchSampler(range(7), 3, False)),
        len(d.BatchSampler(range(7), 3, True)),
        len(list(d.WeightedRandomSampler([0.0, 1.0, 3.0], 20))),
        set(d.WeightedRandomSampler([0.0, 1.0, 3.0], 200)) == {1, 2},
        sorted(d.WeightedRandomSampler([1.0, 1.0, 3.0], 3, replacement=False)),
        outcome(lambda: d.RandomSampler(range(3), replacement=1) and None),
        outcome(lambda: d.RandomSampler(range(3), num_samples=-1) and None),
        outcome(lambda: d.BatchSampler(range(3), 0, False) and None),
        outcome(lambda: d.BatchSampler(range(3), 2, 1) and None),
        outcome(lambda: d.WeightedRandomSampler([1.0], -1) and None),
    ]


def case_loaders(L: Any) -> Any:
    d = L.utils.data
    data = d.TensorDataset(L.arange(7), L.arange(7) * 2.0)

    class Stream(d.IterableDataset):
        def __iter__(self) -> Any:
            return iter(range(5))

    def batches(*args: Any, **kwargs: Any) -> Any:
        return [shown(batch) for batch in d.DataLoader(*args, **kwargs)]

    shuffled = [x for (x, _) in d.DataLoader(data, 2, shuffle=True)]
    return [
        batches(data, batch_size=3),
        batches(data, batch_size=3, drop_last=True),
        batches(data, batch_size=None)[:2],
        batches(data, batch_sampler=[[0, 6], [3]]),
        batches(data, batch_size=2, sampler=[5, 1, 2]),
        batches(data, batch_size=4, collate_fn=lambda b: len(b)),
        batches(list(range(5)), batch_size=2),
        batches(Stream(), batch_size=2),
        batches(Stream(), batch_size=2, drop_last=True),
        batches(Stream(), batch_size=None),
        sorted(i for part in shuffled for i in part.tolist()),
        len(d.DataLoader(data, 3)),
        len(d.DataLoader(data, 3, drop_last=True)),
        len(d.DataLoader(data, batch_size=None)),
    ]


def case_bad_loaders(L: Any) -> Any:
    d = L.utils.data

    class Stream(d.IterableDataset):
        def __iter__(self) -> Any:
            return iter(range(5))

    attempts = [
        lambda: d.DataLoader([1], num_workers=-1),
        lambda: d.DataLoader([1], timeout=-1),
        lambda: d.DataLoader([1], prefetch_factor=2),
        lambda: d.DataLoader([1], persistent_workers=True),
        lambda: d.DataLoader([1], sampler=[0], shuffle=True),
        lambda: d.DataLoader([1], batch_sampler=[[0]], batch_size=2),
        lambda: d.DataLoader([1], batch_size=None, drop_last=True),
        lambda: d.DataLoader([1], batch_size=0),
        lambda: d.DataLoader(Stream(), shuffle=True),
        lambda: d.DataLoader(Stream(), sampler=[0]),
        lambda: d.DataLoader(Stream(), batch_sampler=[[0]]),
        lambda: d.DataLoader([1], multiprocessing_context="spawn"),
        lambda: setattr(d.DataLoader([1]), "batch_size", 2),
        lambda: setattr(d.DataLoader([1]), "note", 2),
        lambda: d.RandomSampler([], num_samples=0),
        lambda: d.RandomSampler([1], num_samples=0),
        lambda: len(d.DataLoader([], shuffle=True)),
    ]
    return [
        outcome(lambda a=a: (a(), "fine")[1])
        if i not in (9, 10)
        else outcome(lambda a=a: (a(), "fine")[1])["error"]
        for i, a in enumerate(attempts)
    ]
