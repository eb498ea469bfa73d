"""What runs in a loader's worker process, and how batches come back.

Workers never touch mps: they make cpu tensors. A batch travels as its pickle with every tensor
replaced by a description, and the tensors' bytes, one after the other, in a block of shared memory
that the receiver copies out of and frees. Small batches go with the pickle itself.
"""

from __future__ import annotations

import io
import pickle
import random
import traceback
from typing import Any, NamedTuple

from quicksilver import _C

Tensor = _C.Tensor

_SMALL = 1 << 14  # bytes: below this a block of shared memory costs more than it saves
_ALIGN = 64


class WorkerInfo(NamedTuple):
    """What get_worker_info returns in a worker."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_worker_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """The number of this worker, of all workers, its seed and its dataset; None elsewhere."""
    return _worker_info


class WorkerError(Exception):
    """An error in a worker: its type, where that can be pickled, and its traceback as text."""

    def __init__(self, error: BaseException, where: str) -> None:
        super().__init__(where)
        self.where = where
        self.text = "".join(traceback.format_exception(error))
        self.error: BaseException | None = error
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            self.error = None

    def __reduce__(self) -> Any:
        return _rebuild_error, (self.where, self.text, self.error)

    def reraise(self) -> None:
        """Raises an error of the same type in this process, with the worker's traceback."""
        kind = type(self.error) if self.error is not None else RuntimeError
        message = f"Caught {kind.__name__} {self.where}.\nOriginal {self.text}"
        try:
            error = kind(message)
        except Exception:  # a type whose constructor wants something else
            error = RuntimeError(message)
        raise error


def _rebuild_error(where: str, text: str, error: BaseException | None) -> WorkerError:
    made = WorkerError.__new__(WorkerError)
    made.where, made.text, made.error = where, text, error
    return made


class _Pickler(pickle.Pickler):
    """Puts the bytes of tensors and arrays aside."""

    def __init__(self, file: Any) -> None:
        super().__init__(file, protocol=5)
        self.parts: list[bytes] = []
        self.size = 0

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, Tensor):
            return None
        data = _C._to_bytes(obj.detach())
        start = self.size
        padding = -len(data) % _ALIGN
        self.parts.append(data)
        if padding:
            self.parts.append(bytes(padding))
        self.size += len(data) + padding
        return (start, len(data), str(obj.dtype).removeprefix("torch."), tuple(obj.shape))


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, memory: Any) -> None:
        super().__init__(file)
        self.memory = memory

    def persistent_load(self, pid: Any) -> Any:
        start, length, dtype, shape = pid
        return _C._from_bytes(self.memory[start : start + length], getattr(_C, dtype), shape, "cpu")


def pack(value: Any) -> tuple[bytes, Any]:
    """(pickle, bytes or the name and size of a shared block)."""
    file = io.BytesIO()
    pickler = _Pickler(file)
    pickler.dump(value)
    if pickler.size <= _SMALL:
        return file.getvalue(), b"".join(pickler.parts)
    from multiprocessing import resource_tracker, shared_memory

    block = shared_memory.SharedMemory(create=True, size=pickler.size)
    # The receiver unlinks it: this process must not do so at its exit.
    resource_tracker.unregister(block._name, "shared_memory")  # type: ignore[attr-defined]
    position = 0
    for part in pickler.parts:
        block.buf[position : position + len(part)] = part
        position += len(part)
    name = block.name
    block.close()
    return file.getvalue(), (name, pickler.size)


def unpack(packed: tuple[bytes, Any]) -> Any:
    """The value that pack described; frees its block."""
    data, place = packed
    if isinstance(place, bytes):
        return _Unpickler(io.BytesIO(data), memoryview(place)).load()
    from multiprocessing import shared_memory

    block = shared_memory.SharedMemory(name=place[0])
    try:
        return _Unpickler(io.BytesIO(data), block.buf).load()
    finally:
        block.close()
        block.unlink()


def free(packed: Any) -> None:
    """Frees the block of a batch that nobody wants any more."""
    if isinstance(packed, tuple) and isinstance(packed[1], tuple):
        from multiprocessing import shared_memory

        try:
            block = shared_memory.SharedMemory(name=packed[1][0])
        except FileNotFoundError:
            return
        block.close()
        block.unlink()


def worker_loop(
    fetch: Any, tasks: Any, results: Any, seed: int, info: WorkerInfo, init_fn: Any
) -> None:
    """Answers (number, indices) with (number, packed batch or error) until None comes."""
    global _worker_info
    where = f"in DataLoader worker process {info.id}"
    problem: WorkerError | None = None
    try:
        _C._set_default_device(None)  # mps does not survive a fork
        _C.manual_seed(seed)
        random.seed(seed)
        import numpy as np

        np.random.seed(seed & 0xFFFFFFFF)  # noqa: NPY002 -- what datasets may draw from
        _worker_info = info
        if init_fn is not None:
            init_fn(info.id)
        source = fetch.start()
    except Exception as error:
        problem = WorkerError(error, where)
    try:
        while (task := tasks.get()) is not None:
            number, indices = task
            if indices == "restart":
                source = fetch.start()
                results.put((number, "restarted", None))
                continue
            if problem is not None:
                results.put((number, "error", problem))
                continue
            try:
                results.put((number, "batch", pack(fetch.batch(source, indices))))
            except StopIteration:
                results.put((number, "end", None))
            except Exception as error:
                results.put((number, "error", WorkerError(error, where)))
    except (KeyboardInterrupt, EOFError, BrokenPipeError):
        pass  # the loader is gone
