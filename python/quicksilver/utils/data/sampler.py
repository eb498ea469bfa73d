"""Samplers: the order in which a loader asks for samples."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from quicksilver import _C

T_co = TypeVar("T_co", covariant=True)


class Sampler(Generic[T_co]):
    """Base class: write __iter__(), and __len__() if the number is known."""

    def __init__(self, data_source: Any = None) -> None:
        pass

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError


class SequentialSampler(Sampler[int]):
    """0, 1, 2, ..."""

    def __init__(self, data_source: Any) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


def shuffled(count: int, generator: Any = None) -> list[int]:
    """0 to count - 1 in a random order, drawn on the generator's device (or the cpu)."""
    device = "cpu" if generator is None else generator.device
    return _C.randperm(count, generator=generator, device=device).tolist()


def _seeded(generator: Any) -> Any:
    """The generator, or a new one whose seed comes from the default one."""
    if generator is not None:
        return generator
    made = _C.Generator()
    made.manual_seed(random_seed())
    return made


def random_seed(generator: Any = None) -> int:
    """A 63-bit seed drawn from the cpu's generator (or a given one)."""
    device = "cpu" if generator is None else generator.device
    draws = _C.randint(0, 2**31 - 1, (2,), generator=generator, device=device).tolist()
    return draws[0] << 31 | draws[1]


class RandomSampler(Sampler[int]):
    """A random order; with ``replacement`` independent draws, num_samples of them."""

    def __init__(
        self,
        data_source: Any,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Any = None,
    ) -> None:
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if not isinstance(replacement, bool):
            raise TypeError(
                f"replacement should be a boolean value, but got replacement={replacement}"
            )
        if not isinstance(self.num_samples, int) or self.num_samples <= 0:
            raise ValueError(
                "num_samples should be a positive integer value, but got"
                f" num_samples={self.num_samples}"
            )

    @property
    def num_samples(self) -> int:
        """How many indices come; the dataset's length unless given."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        size = len(self.data_source)
        generator = _seeded(self.generator)
        if self.replacement:
            for start in range(0, self.num_samples, 1024):
                count = min(1024, self.num_samples - start)
                draws = _C.randint(0, size, (count,), generator=generator, device=generator.device)
                yield from draws.tolist()
            return
        left = self.num_samples
        while left > 0 and size:
            yield from shuffled(size, generator)[:left]
            left -= size

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The given indices in a random order."""

    def __init__(self, indices: Sequence[int], generator: Any = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for i in shuffled(len(self.indices), self.generator):
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """num_samples draws with probabilities in proportion to the weights.

    The draws are NumPy's, seeded from the generator.
    """

    def __init__(
        self,
        weights: Sequence[float],
        num_samples: int,
        replacement: bool = True,
        generator: Any = None,
    ) -> None:
        if not isinstance(num_samples, int) or isinstance(num_samples, bool) or num_samples <= 0:
            raise ValueError(
                f"num_samples should be a positive integer value, but got num_samples={num_samples}"
            )
        if not isinstance(replacement, bool):
            raise ValueError(
                f"replacement should be a boolean value, but got replacement={replacement}"
            )
        tensor = _C.as_tensor(weights, dtype=_C.float64).cpu()
        if tensor.dim() != 1:
            raise ValueError(
                "weights should be a 1d sequence but given weights have shape"
                f" {tuple(tensor.shape)}"
            )
        self.weights = tensor
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        import numpy as np

        weights = self.weights.numpy()
        draws = np.random.default_rng(random_seed(self.generator)).choice(
            len(weights), self.num_samples, self.replacement, weights / weights.sum()
        )
        yield from draws.tolist()

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of batch_size indices of another sampler; drop_last drops a shorter last one."""

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size <= 0:
            raise ValueError(
                f"batch_size should be a positive integer value, but got batch_size={batch_size}"
            )
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last should be a boolean value, but got drop_last={drop_last}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(itertools.islice(indices, self.batch_size)):
            if self.drop_last and len(batch) < self.batch_size:
                return
            yield batch

    def __len__(self) -> int:
        count = len(self.sampler)  # type: ignore[arg-type]
        if self.drop_last:
            return count // self.batch_size
        return (count + self.batch_size - 1) // self.batch_size
