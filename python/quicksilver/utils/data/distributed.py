"""DistributedSampler: the part of a dataset that one of several processes reads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from quicksilver import _C
from quicksilver.utils.data.sampler import Sampler


class DistributedSampler(Sampler[int]):
    """Indices rank, rank + num_replicas, ... of the dataset, which is repeated (or cut) to a
    multiple of num_replicas.

    Args:
        num_replicas: how many processes there are; by default torch.distributed's.
        rank: which one this is; by default torch.distributed's.
        shuffle: a new order for each epoch, from seed + epoch; the same in all processes.
        drop_last: cuts instead of repeating.

    Raises:
        ValueError: rank is outside of [0, num_replicas), or there is no process group to ask.
    """

    def __init__(
        self,
        dataset: Any,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None or rank is None:
            from quicksilver import distributed

            num_replicas = distributed.get_world_size() if num_replicas is None else num_replicas
            rank = distributed.get_rank() if rank is None else rank
        if not 0 <= rank < num_replicas:
            raise ValueError(
                f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]"
            )
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.drop_last = drop_last
        uneven = drop_last and len(dataset) % num_replicas != 0
        count = len(dataset) - num_replicas if uneven else len(dataset)
        self.num_samples = math.ceil(count / num_replicas)
        self.total_size = self.num_samples * num_replicas
        self.shuffle = shuffle
        self.seed = seed

    def __iter__(self) -> Iterator[int]:
        if self.shuffle:
            generator = _C.Generator()
            generator.manual_seed(self.seed + self.epoch)
            indices = _C.randperm(len(self.dataset), generator=generator).tolist()
        else:
            indices = list(range(len(self.dataset)))
        if not self.drop_last and indices:
            indices = (indices * math.ceil(self.total_size / len(indices)))[: self.total_size]
        return iter(indices[self.rank : self.total_size : self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Says which epoch begins, for the next order."""
        self.epoch = epoch
