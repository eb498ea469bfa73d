"""DataLoader: batches of a dataset, made in this process or in worker processes.

With workers, each batch is a numbered task; the loader keeps ``prefetch_factor`` tasks a worker
under way, hands them out in turn and gives the batches back in order.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from quicksilver.utils.data.collate import default_collate, default_convert
from quicksilver.utils.data.dataset import IterableDataset
from quicksilver.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    SequentialSampler,
    random_seed,
)
from quicksilver.utils.data.worker import WorkerInfo, free, unpack, worker_loop


class _InfiniteSampler:
    """Nothing to choose: an iterable dataset has its own order."""

    def __iter__(self) -> Iterator[None]:
        while True:
            yield None


class _Fetch:
    """Makes a batch of a dataset; what a worker is given."""

    def __init__(self, dataset: Any, batched: bool, collate: Any, drop_last: bool) -> None:
        self.dataset = dataset
        self.batched = batched
        self.collate = collate
        self.drop_last = drop_last
        self.iterable = isinstance(dataset, IterableDataset)

    def start(self) -> Any:
        """What batches are taken from: an iterator of an iterable dataset, else the dataset."""
        return iter(self.dataset) if self.iterable else self.dataset

    def batch(self, source: Any, indices: Any) -> Any:
        if not self.iterable:
            if not self.batched:
                return self.collate(source[indices])
            together = getattr(source, "__getitems__", None)
            if callable(together):
                return self.collate(together(indices))
            return self.collate([source[i] for i in indices])
        if not self.batched:
            return self.collate(next(source))
        samples = []
        for _ in indices:
            try:
                samples.append(next(source))
            except StopIteration:
                break
        if not samples or (self.drop_last and len(samples) < len(indices)):
            raise StopIteration
        return self.collate(samples)


# What the order of samples was made of.
_FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")


class DataLoader:
    """Gives batches of a dataset; iterate over it.

    Args:
        dataset: a Dataset, an IterableDataset, or anything with ``__getitem__`` and ``__len__``.
        batch_size: samples a batch; None gives samples one by one.
        shuffle: a new random order each time.
        sampler, batch_sampler: an order of one's own, of samples or of whole batches.
        num_workers: processes that make batches; 0 makes them here.
        collate_fn: makes a batch of a list of samples; default_collate unless given.
        pin_memory: accepted; host memory of mps needs no pinning.
        drop_last: drops a last batch that is too short.
        timeout: seconds to wait for a worker; 0 waits on.
        worker_init_fn: called with the worker's number when it starts.
        multiprocessing_context: "fork", "spawn", "forkserver" or a context; "fork" by default.
        generator: draws the order and the workers' seeds.
        prefetch_factor: batches under way a worker; 2 unless given.
        persistent_workers: keeps the workers for the next iteration.

    Raises:
        ValueError: arguments that exclude each other, or are out of range.
    """

    _iterator: Any = None
    _made = False

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_numbers(num_workers, timeout, prefetch_factor, persistent_workers)
        if multiprocessing_context is not None and num_workers == 0:
            raise ValueError(
                "multiprocessing_context can only be used with multi-process loading (num_workers >"
                f" 0), but got num_workers={num_workers}"
            )
        iterable = isinstance(dataset, IterableDataset)
        if iterable:
            if shuffle not in (False, None):
                raise ValueError(
                    "DataLoader with IterableDataset: expected unspecified shuffle option, but got"
                    f" shuffle={shuffle}"
                )
            for name, value in (("sampler", sampler), ("batch_sampler", batch_sampler)):
                if value is not None:
                    raise ValueError(
                        f"DataLoader with IterableDataset: expected unspecified {name} option, but"
                        f" got {name}={value}"
                    )
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler,"
                    " and drop_last"
                )
            batch_size = None
            drop_last = False
        elif batch_size is None and drop_last:
            raise ValueError(
                "batch_size=None option disables auto-batching and is mutually exclusive with"
                " drop_last"
            )
        if sampler is None:
            if iterable:
                sampler = _InfiniteSampler()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)
            else:
                sampler = SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.dataset = dataset
        self.batch_size = batch_size
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.drop_last = drop_last
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.generator = generator
        self.prefetch_factor = 2 if prefetch_factor is None and num_workers else prefetch_factor
        self.persistent_workers = persistent_workers
        self.in_order = in_order
        if collate_fn is None:
            collate_fn = default_collate if self._batched else default_convert
        self.collate_fn = collate_fn
        self._made = True

    def __setattr__(self, name: str, value: Any) -> None:
        if self._made and name in _FIXED:
            raise ValueError(
                f"{name} attribute should not be set after {type(self).__name__} is initialized"
            )
        super().__setattr__(name, value)

    @property
    def _batched(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _order(self) -> Any:
        return self.batch_sampler if self._batched else self.sampler

    def _fetch(self) -> _Fetch:
        return _Fetch(self.dataset, self._batched, self.collate_fn, self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        if self.num_workers == 0:
            return _SingleIterator(self)
        if not self.persistent_workers:
            return _WorkersIterator(self)
        if self._iterator is None:
            self._iterator = _WorkersIterator(self)
        else:
            self._iterator.restart()
        return self._iterator

    def __len__(self) -> int:
        if not isinstance(self.dataset, IterableDataset):
            return len(self._order)
        count = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is None:
            return count
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)


def _check_numbers(
    num_workers: int, timeout: float, prefetch_factor: int | None, persistent: bool
) -> None:
    if num_workers < 0:
        raise ValueError(
            "num_workers option should be non-negative; use num_workers=0 to disable"
            " multiprocessing."
        )
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing.let num_workers > 0"
            " to enable multiprocessing, otherwise set prefetch_factor to None."
        )
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError("prefetch_factor option should be non-negative")
    if persistent and num_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")


class _SingleIterator:
    """Makes batches in this process."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader
        self.order = iter(loader._order)
        self.fetch = loader._fetch()
        self.source = self.fetch.start()

    def __iter__(self) -> _SingleIterator:
        return self

    def __next__(self) -> Any:
        return self.fetch.batch(self.source, next(self.order))

    def __len__(self) -> int:
        return len(self.loader)


class _WorkersIterator:
    """Lets workers make batches and gives them back in order."""

    def __init__(self, loader: DataLoader) -> None:
        import multiprocessing

        context = loader.multiprocessing_context
        if context is None or isinstance(context, str):
            methods = multiprocessing.get_all_start_methods()
            context = multiprocessing.get_context(
                context or ("fork" if "fork" in methods else None)
            )
        self.loader = loader
        self.closed = False
        self.results = context.Queue()
        self.tasks = []
        self.workers = []
        base = random_seed(loader.generator)
        fetch = loader._fetch()
        for i in range(loader.num_workers):
            tasks = context.Queue()
            tasks.cancel_join_thread()
            info = WorkerInfo(i, loader.num_workers, base + i, loader.dataset)
            worker = context.Process(
                target=worker_loop,
                args=(fetch, tasks, self.results, base + i, info, loader.worker_init_fn),
                daemon=True,
            )
            with warnings.catch_warnings():
                # Forking with threads: the child uses none of them.
                warnings.simplefilter("ignore", DeprecationWarning)
                worker.start()
            self.tasks.append(tasks)
            self.workers.append(worker)
        self._begin()

    def _begin(self) -> None:
        self.order = iter(self.loader._order)
        self.sent = self.given = 0
        self.owner: dict[int, int] = {}  # of tasks under way
        self.ready: dict[int, Any] = {}
        self.active = [True] * len(self.workers)
        self.turn = 0
        for _ in range((self.loader.prefetch_factor or 1) * len(self.workers)):
            self._send()

    def restart(self) -> None:
        """Begins anew with the same workers."""
        while self.owner:  # of an iteration that was left early
            self._receive()
        for _, packed in self.ready.values():
            free(packed)
        for i, tasks in enumerate(self.tasks):
            tasks.put((-1 - i, "restart"))
        waiting = {-1 - i for i in range(len(self.workers))}
        while waiting:
            waiting.discard(self._take()[0])
        self._begin()

    def _send(self) -> None:
        """Gives the next task to the next worker that still has samples."""
        if not any(self.active):
            return
        try:
            indices = next(self.order)
        except StopIteration:
            return
        while not self.active[self.turn]:
            self.turn = (self.turn + 1) % len(self.workers)
        self.tasks[self.turn].put((self.sent, indices))
        self.owner[self.sent] = self.turn
        self.sent += 1
        self.turn = (self.turn + 1) % len(self.workers)

    def _take(self) -> tuple[int, str, Any]:
        """The next message of any worker."""
        import queue
        import time

        end = time.monotonic() + self.loader.timeout if self.loader.timeout else None
        while True:
            try:
                return self.results.get(
                    timeout=1.0 if end is None else min(1.0, self.loader.timeout)
                )
            except queue.Empty:
                dead = [str(w.pid) for w in self.workers if not w.is_alive()]
                if dead:
                    self.close()
                    raise RuntimeError(
                        f"DataLoader worker (pid(s) {', '.join(dead)}) exited unexpectedly"
                    ) from None
                if end is not None and time.monotonic() >= end:
                    self.close()
                    raise RuntimeError(
                        f"DataLoader timed out after {self.loader.timeout} seconds"
                    ) from None

    def _receive(self) -> None:
        number, kind, value = self._take()
        worker = self.owner.pop(number)
        if kind == "end":
            self.active[worker] = False
        self.ready[number] = (kind, value)

    def __iter__(self) -> _WorkersIterator:
        return self

    def __next__(self) -> Any:
        while self.given < self.sent:
            while self.given not in self.ready:
                self._receive()
            kind, value = self.ready.pop(self.given)
            self.given += 1
            self._send()
            if kind == "error":
                if not self.loader.persistent_workers:
                    self.close()
                value.reraise()
            if kind == "batch":
                return unpack(value)
        if not self.loader.persistent_workers:
            self.close()
        raise StopIteration

    def __len__(self) -> int:
        return len(self.loader)

    def close(self) -> None:
        """Ends the workers."""
        if self.closed:
            return
        self.closed = True
        for tasks in self.tasks:
            tasks.put(None)
        for _, packed in self.ready.values():
            free(packed)
        import time

        end = time.monotonic() + 5
        while any(worker.is_alive() for worker in self.workers) and time.monotonic() < end:
            self._drain()
        for worker in self.workers:
            if worker.is_alive():
                worker.terminate()
            worker.join()
        self._drain()

    def _drain(self) -> None:
        """Frees what workers still send, so that they can end."""
        import queue

        try:
            while True:
                free(self.results.get(timeout=0.02)[2])
        except (queue.Empty, EOFError, OSError):
            pass

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # the interpreter may be half gone
            self.close()
