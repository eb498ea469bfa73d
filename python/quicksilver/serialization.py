"""save and load: PyTorch's checkpoint files and safetensors files.

A checkpoint (`_checkpoint.py`) holds any nesting of dicts, lists and tuples with tensors and plain
values; a name that ends in ".safetensors" asks for that format (`_safetensors.py`), a dict of
tensors. Reading looks at the content, not at the name, and never runs code of the file. Writing
goes to a temporary file beside the target that then takes its name.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, Any

from quicksilver import _C, _checkpoint, _safetensors
from quicksilver._pickling import GLOBALS, SAFE_GLOBALS, UnpicklingError

Tensor = _C.Tensor
MapLocation = Any
DEFAULT_PROTOCOL = 2


# ---- what a file may name ------------------------------------------------------------------------
def _named(safe_globals: Iterable[Any]) -> dict[str, Any]:
    named = {}
    for entry in safe_globals:
        if isinstance(entry, tuple):
            target, name = entry
            if not isinstance(name, str):
                raise TypeError("safe globals are (object, full path) or objects")
            named[name] = target
        else:
            named[f"{entry.__module__}.{entry.__qualname__}"] = entry
    return named


def add_safe_globals(safe_globals: list[Any]) -> None:
    """Lets load() make and call these classes and functions where a file names them."""
    SAFE_GLOBALS.update(_named(safe_globals))


def get_safe_globals() -> list[Any]:
    """What was allowed by add_safe_globals and safe_globals."""
    return list(SAFE_GLOBALS.values())


def clear_safe_globals() -> None:
    """Takes back what was allowed."""
    SAFE_GLOBALS.clear()


@contextlib.contextmanager
def safe_globals(safe_globals: list[Any]) -> Iterator[None]:
    """add_safe_globals for a with block."""
    before = dict(SAFE_GLOBALS)
    add_safe_globals(safe_globals)
    try:
        yield
    finally:
        SAFE_GLOBALS.clear()
        SAFE_GLOBALS.update(before)


def _module_named(module: str, name: str) -> Any:
    """One of this package's own layers, or a function of nn.functional; None for anything else."""
    import quicksilver.nn as nn

    path = module.split(".")
    if path[:2] not in (["torch", "nn"], ["quicksilver", "nn"]):
        return None
    if path[2:] == ["functional"]:
        found = getattr(nn.functional, name, None)
        return found if callable(found) and not name.startswith("_") else None
    found = getattr(nn, name, None)
    return found if isinstance(found, type) and issubclass(found, nn.Module) else None


def _finder(weights_only: bool) -> tuple[Callable[[str, str], Any], Callable[[Any], bool]]:
    """(what a name means, what may be called or made)."""
    layers: list[Any] = []
    tables = [SAFE_GLOBALS, GLOBALS]
    if not weights_only:
        from quicksilver import _pickling_trusted

        tables.append(_pickling_trusted.TRUSTED)

    def find(module: str, name: str) -> Any:
        full = f"{module}.{name}"
        for table in tables:
            if full in table:
                return table[full]
        found = None if weights_only else _module_named(module, name)
        if found is None:
            raise UnpicklingError(
                f"Unsupported global: GLOBAL {full} was not an allowed global by default. Please"
                f" use `torch.serialization.add_safe_globals([{name}])` or the"
                f" `torch.serialization.safe_globals([{name}])` context manager to allowlist this"
                " global if you trust this class/function."
            )
        if isinstance(found, type):
            layers.append(found)
        return found

    def callables(what: Any) -> bool:
        return any(what is safe for safe in (*SAFE_GLOBALS.values(), *layers))

    if not weights_only:
        find.states = _pickling_trusted.STATES  # type: ignore[attr-defined]
    return find, callables


# ---- saving --------------------------------------------------------------------------------------
def save(
    obj: Any,
    f: Any,
    pickle_module: Any = pickle,
    pickle_protocol: int = DEFAULT_PROTOCOL,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
) -> None:
    """Writes a checkpoint that PyTorch reads too, or a safetensors file.

    Args:
        obj: tensors and plain values in any nesting; for a name that ends in ".safetensors" a dict
            of tensors (and str) by name.
        f: a path, or a binary file open for writing.
        pickle_module: accepted; the pickle is always written by this package.
        pickle_protocol: of the pickle, 2 to 5.

    Raises:
        TypeError: obj does not fit safetensors.
        AttributeError, pickle.PicklingError: something in obj cannot be pickled.
        OSError: the file cannot be written; the old one, if any, is still there.
    """
    if not 2 <= pickle_protocol <= pickle.HIGHEST_PROTOCOL:
        raise ValueError(f"pickle_protocol must be 2 to 5, got {pickle_protocol}")
    if hasattr(f, "write"):
        _writer(obj, "archive", pickle_protocol, _use_new_zipfile_serialization)(f)
        return
    path = os.fspath(f)
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    if path.endswith(".safetensors"):
        chunks = _safetensors.encode(obj)

        def write(file: IO[bytes]) -> None:
            for chunk in chunks:
                file.write(chunk)
    else:
        name = os.path.splitext(os.path.basename(path))[0] or "archive"
        write = _writer(obj, name, pickle_protocol, _use_new_zipfile_serialization)
    try:
        _write_atomically(path, write)
    except OSError as error:
        raise _said("save to", path, error) from None


def _writer(obj: Any, name: str, protocol: int, new: bool) -> Callable[[IO[bytes]], None]:
    if not new:
        return lambda file: _checkpoint.write_legacy(obj, file, protocol)

    def write(file: IO[bytes]) -> None:
        try:
            file.tell()
            target: IO[bytes] = file
        except (OSError, AttributeError):
            target = io.BytesIO()
        _checkpoint.write(obj, target, name, protocol)
        if target is not file:
            file.write(target.getvalue())  # type: ignore[attr-defined]

    return write


def _write_atomically(path: str, write: Callable[[IO[bytes]], None]) -> None:
    """Writes beside the target and then takes its name: a file is the old or the new one, whole."""
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _said(what: str, path: str, error: OSError) -> OSError:
    """The same error as one sentence."""
    reasons = {
        errno.ENOENT: "there is no such file" if what == "load" else "its folder does not exist",
        errno.EISDIR: "it is a directory",
        errno.EACCES: "permission denied",
        errno.ENOSPC: "the disk is full; the old file, if any, is unchanged",
        errno.EDQUOT: "the disk quota is used up; the old file, if any, is unchanged",
        errno.EROFS: "the file system is read-only",
    }
    reason = reasons.get(error.errno or 0, (error.strerror or str(error)).lower())
    made = type(error)(error.errno, f"cannot {what} '{path}': {reason}")
    made.filename = None
    return made


# ---- loading -------------------------------------------------------------------------------------
def load(
    f: Any,
    map_location: MapLocation = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Reads what save() of this package or of PyTorch wrote, or a safetensors file.

    No code of the file runs, whatever the arguments. With weights_only=False the layers of
    ``nn`` may be named as well, so a whole model of them can be read, and what scripts keep beside
    weights: NumPy's arrays and numbers, argparse's namespaces, paths (`_pickling_trusted.py`).

    Args:
        f: a path, or a binary file open for reading.
        map_location: where tensors go: a device or its name, a dict from saved to wanted names, or
            a function (flat tensor on cpu, saved name) -> tensor or None. By default each goes to
            the type of device it was saved from.
        pickle_module: PyTorch's; refused together with weights_only=True.
        weights_only: True by default.
        mmap: maps the file instead of reading it; writing to the tensors does not reach the file.

    Raises:
        OSError: the file cannot be read.
        pickle.UnpicklingError: the file names something that is not allowed.
        RuntimeError: it is damaged, or a tensor's device is not there.
    """
    if pickle_module is not None and weights_only:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    weights_only = True if weights_only is None else bool(weights_only)
    if hasattr(f, "read"):
        if mmap:
            raise ValueError(
                "f must be a string or os.PathLike object in order to use mmap, got"
                f" {type(f)} instead"
            )
        return _read(f, getattr(f, "name", "the file"), None, map_location, weights_only)
    path = os.fspath(f)
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    try:
        with open(path, "rb") as file:
            return _read(file, path, path if mmap else None, map_location, weights_only)
    except OSError as error:
        raise _said("load", path, error) from None


def _read(
    file: IO[bytes], path: Any, mapped: str | None, map_location: MapLocation, weights_only: bool
) -> Any:
    def wrong(why: str) -> RuntimeError:
        return RuntimeError(f"cannot load '{path}': {why}")

    place = _placer(map_location, wrong)
    file = _seekable(file)
    start = file.tell()
    head = file.read(20)
    file.seek(start)
    find, callables = _finder(weights_only)
    try:
        if head[:4] == b"PK\x03\x04":
            if start:  # the archive is what follows
                file = io.BytesIO(file.read())
            return _checkpoint.Archive(file, mapped).load(find, callables, place)
        if head[:1] == b"\x80" and head[2:3] == b"\x8a":  # a pickle that starts with a long integer
            return _checkpoint.load_legacy(file.read(), find, callables, place)
    except _checkpoint.Damaged as damage:
        raise wrong(str(damage)) from None
    except UnpicklingError as error:
        raise UnpicklingError(_weights_only_text(str(error), path, weights_only)) from None
    return _safetensors.decode(file, place, wrong)


def _weights_only_text(reason: str, path: Any, weights_only: bool) -> str:
    if not weights_only:
        return (
            f"cannot load '{path}': {reason}\nNo code of a file is ever run here, with"
            " weights_only=False neither: layers of nn are known then, and classes of your own"
            " after add_safe_globals."
        )
    return (
        "Weights only load failed. No code of a file is ever run here; classes of your own are"
        " known after torch.serialization.add_safe_globals, layers of nn with"
        f" weights_only=False.\nWeightsUnpickler error: {reason}\n(in '{path}')"
    )


def _seekable(file: IO[bytes]) -> IO[bytes]:
    try:
        file.seek(file.tell())
        return file
    except (OSError, AttributeError):
        return io.BytesIO(file.read())


def _by_default(wrong: Callable[[str], Exception]) -> Callable[[Tensor, str], Tensor]:
    """To the type of device it was saved from."""

    def by_default(tensor: Tensor, saved: str) -> Tensor:
        if saved == "cpu":
            return tensor
        if saved.startswith("cuda"):
            raise wrong(
                "Attempting to deserialize object on a CUDA device but"
                " torch.cuda.is_available() is False. If you are running on a CPU-only"
                " machine, please use torch.load with map_location=torch.device('cpu') to map"
                " your storages to the CPU."
            )
        try:
            return tensor.to(saved)
        except RuntimeError as error:
            raise wrong(
                f"it has tensors of the device {saved}, which is not there ({error});"
                " map_location='cpu' loads them on the cpu"
            ) from None

    return by_default


def _placer(
    map_location: MapLocation, wrong: Callable[[str], Exception]
) -> Callable[[Tensor, str], Tensor]:
    """The function (tensor on cpu, saved device) -> tensor where it is wanted."""
    by_default = _by_default(wrong)
    if map_location is None:
        return by_default
    if isinstance(map_location, (str, int, _C.device)):
        device = _C.device(map_location)
        return lambda tensor, saved: tensor.to(device)
    if isinstance(map_location, Mapping):
        places = {str(k): v for k, v in map_location.items()}
        if "mps:0" in places:
            places.setdefault("mps", places["mps:0"])

        def by_name(tensor: Tensor, saved: str) -> Tensor:
            if saved in places:
                return tensor.to(places[saved])
            return by_default(tensor, saved)

        return by_name
    if callable(map_location):

        def by_function(tensor: Tensor, saved: str) -> Tensor:
            mapped = map_location(tensor, saved)
            return by_default(tensor, saved) if mapped is None else mapped

        return by_function
    raise TypeError(
        "load(): map_location must be a device, its name, a dict, a function or None, not"
        f" {type(map_location).__name__}"
    )
