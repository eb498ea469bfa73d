"""PyTorch's checkpoint files: a zip archive of one pickle and the storages it names, or the older
format, a row of pickles with the storages after them.

Entries of the archive are stored, not compressed, and start at multiples of 64 bytes; "data.pkl"
is the pickle (`_pickling.py`), "data/KEY" the bytes of a storage, "byteorder" says which. Nothing
is unpacked to disk, and no entry may say that it is larger than the file.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np

from quicksilver import _C
from quicksilver._pickling import (
    Pickler,
    StorageKey,
    StorageType,
    Unpickler,
    UnpicklingError,
)

Tensor = _C.Tensor
Place = Callable[[Tensor, str], Tensor]
Find = Callable[[str, str], Any]

_ALIGNMENT = 64
_PIECE = 1 << 22  # bytes that are read at a time
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of the older format


class Damaged(Exception):
    """The file is no whole checkpoint; the text says why."""


# ---- writing -------------------------------------------------------------------------------------
class _Storages:
    """The storages of one pickle, in the order in which it names them."""

    def __init__(self) -> None:
        self.by_number: dict[int, tuple[str, Tensor, StorageType]] = {}

    def persistent_id(self, tensor: Tensor, kind: StorageType) -> tuple[Any, ...]:
        number, size = _C._storage_of(tensor)
        if number not in self.by_number:  # keeps the tensor, and so the number, alive
            self.by_number[number] = (str(len(self.by_number)), tensor, kind)
        key = self.by_number[number][0]
        device = str(tensor.device)
        location = sys.intern("mps" if device == "mps:0" else device)  # written once
        return "storage", kind, key, location, size // kind.itemsize

    def contents(self) -> Iterator[tuple[str, int, bytes]]:
        """(key, elements, bytes) of each storage."""
        for key, tensor, kind in self.by_number.values():
            size = _C._storage_of(tensor)[1]
            flat = _C.as_strided(tensor.detach(), [size // tensor.element_size()], [1], 0)
            yield key, size // kind.itemsize, _C._to_bytes(flat)


def write(obj: Any, file: IO[bytes], name: str, protocol: int = 2) -> None:
    """Writes the zip format; `name` is the folder inside the archive."""
    storages = _Storages()
    text = io.BytesIO()
    Pickler(text, protocol, storages.persistent_id).dump(obj)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:

        def put(entry: str, content: bytes) -> None:
            info = zipfile.ZipInfo(f"{name}/{entry}")
            head = file.tell() + 30 + len(info.filename.encode()) + 4
            large = len(content) >= 2**31
            head += 20 if large else 0  # zipfile's own extra field, which comes first
            padding = -head % _ALIGNMENT
            info.extra = b"FB" + struct.pack("<H", padding) + bytes(padding)
            with archive.open(info, "w", force_zip64=large) as out:
                out.write(content)

        put("data.pkl", text.getvalue())
        put(".format_version", b"1")
        put(".storage_alignment", str(_ALIGNMENT).encode())
        put("byteorder", sys.byteorder.encode())
        for key, _, content in storages.contents():
            put(f"data/{key}", content)
        put("version", b"3\n")


def write_legacy(obj: Any, file: IO[bytes], protocol: int = 2) -> None:
    """Writes the older format."""
    storages = _Storages()
    system = {
        "protocol_version": _PROTOCOL,
        "little_endian": sys.byteorder == "little",
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    for part in (_MAGIC, _PROTOCOL, system):
        pickle.dump(part, file, protocol)

    def storage_id(tensor: Tensor, kind: StorageType) -> tuple[Any, ...]:
        return (*storages.persistent_id(tensor, kind), None)

    Pickler(file, protocol, storage_id).dump(obj)
    pickle.dump([key for key, _, _ in storages.by_number.values()], file, protocol)
    for _, count, content in storages.contents():
        file.write(struct.pack("<q", count))
        file.write(content)


# ---- reading -------------------------------------------------------------------------------------
class Storage:
    """Bytes of the file that tensors are made of, as flat tensors of the dtypes they ask for."""

    def __init__(self, key: StorageKey, content: np.ndarray[Any, Any], place: Place) -> None:
        self.key, self.content, self.place = key, content, place
        self.first: Tensor | None = None

    def typed(self, dtype: Any = None) -> Tensor:
        """The storage as a flat tensor; the same memory each time."""
        dtype = self.key.kind.dtype or dtype
        if not isinstance(dtype, _C.dtype):
            raise UnpicklingError("a tensor of bytes does not say its dtype")
        if self.first is None:
            flat = flat_tensor(self.content, dtype)
            self.first = self.place(flat, self.key.location)
            if not isinstance(self.first, Tensor) or self.first.numel() != flat.numel():
                raise UnpicklingError("map_location gave something that is not the storage")
        return self.first if self.first.dtype == dtype else self.first.view(dtype)


def flat_tensor(content: np.ndarray[Any, Any], dtype: Any) -> Tensor:
    """A flat tensor over an array of bytes; it shares the memory where NumPy knows the dtype."""
    size = dtype.itemsize
    if content.size % size:
        raise UnpicklingError(f"a storage of {content.size} bytes has elements of {size}")
    if content.size == 0:
        return _C.empty(0, dtype=dtype, device="cpu")
    if content.ctypes.data % size:
        content = content.copy()
    if dtype is _C.bfloat16:
        return _C.from_numpy(content.view(np.int16)).view(dtype)
    if dtype is _C.bool:
        return _C.from_numpy(content != 0)  # whatever the bytes say, a bool is 0 or 1
    return _C.from_numpy(content.view(str(dtype).removeprefix("torch.")))


def _swapped(content: np.ndarray[Any, Any], kind: StorageType) -> np.ndarray[Any, Any]:
    if kind.dtype is None:
        raise UnpicklingError("bytes of a machine of the other byte order")
    width = kind.dtype.itemsize // (2 if kind.dtype.is_complex else 1)
    return content.reshape(-1, width)[:, ::-1].reshape(-1).copy()


def _storage_key(pid: Any, length: int) -> StorageKey:
    if not isinstance(pid, tuple) or len(pid) != length or pid[0] != "storage":
        raise UnpicklingError(f"a persistent id that is no storage: {pid!r:.100}")
    kind, key, location, count = pid[1:5]
    if not (
        isinstance(kind, StorageType)
        and isinstance(key, str)
        and isinstance(location, str)
        and type(count) is int
        and count >= 0
    ):
        raise UnpicklingError(f"a persistent id that is no storage: {pid!r:.100}")
    return StorageKey(kind, key, location, count)


class Archive:
    """The entries of a zip checkpoint. With ``path`` storages are mapped, not read."""

    def __init__(self, file: IO[bytes], path: str | None = None) -> None:
        try:
            self.zip = zipfile.ZipFile(file)
            self.size = file.seek(0, os.SEEK_END)
        except (zipfile.BadZipFile, OSError, ValueError, struct.error, NotImplementedError) as e:
            raise Damaged(
                f"PytorchStreamReader failed reading zip archive: failed finding central"
                f" directory ({e})"
            ) from None
        self.map = np.memmap(path, np.uint8, "c") if path is not None else None
        self.file = file
        entries = [info for info in self.zip.infolist() if not info.is_dir()]
        self.entries = {info.filename: info for info in entries}
        if len(self.entries) != len(entries):
            raise Damaged("it has two entries of one name")
        if sum(info.file_size for info in entries) > self.size:
            raise Damaged("its entries say that they are larger than the file")
        pickles = [name for name in self.entries if name.split("/", 1)[-1] == "data.pkl"]
        if len(pickles) != 1:
            raise Damaged("it is a zip archive, but no checkpoint: it has no data.pkl")
        self.folder = pickles[0].removesuffix("data.pkl")
        if self.folder + "constants.pkl" in self.entries:
            raise Damaged("it is a TorchScript program, not a checkpoint")

    def find(self, name: str) -> zipfile.ZipInfo | None:
        return self.entries.get(self.folder + name)

    def read(self, name: str) -> np.ndarray[Any, Any]:
        """The bytes of an entry."""
        info = self.find(name)
        if info is None:
            raise Damaged(f"its entry {name!r} is missing")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise Damaged(f"its entry {name!r} is compressed or encrypted; checkpoints never are")
        start = self._start(info)
        if self.map is not None:
            return self.map[start : start + info.file_size]
        out = np.empty(info.file_size, np.uint8)
        self.file.seek(start)
        view, done = memoryview(out), 0
        while done < len(view):
            piece = self.file.read(min(len(view) - done, _PIECE))
            if not piece:
                raise Damaged(f"its entry {name!r} is cut short")
            view[done : done + len(piece)] = piece
            done += len(piece)
        # Who does not want to wait for checksums (set_crc32_options) leaves them 0.
        if info.CRC and zlib.crc32(out) != info.CRC:
            raise Damaged(f"its entry {name!r} is damaged (Bad CRC-32)")
        return out

    def _start(self, info: zipfile.ZipInfo) -> int:
        """Where the bytes of an entry begin."""
        head = b""
        if 0 <= info.header_offset < self.size:
            self.file.seek(info.header_offset)
            head = self.file.read(30)
        if len(head) < 30 or head[:4] != b"PK\x03\x04":
            raise Damaged(f"its entry {info.filename!r} is damaged")
        start = info.header_offset + 30 + sum(struct.unpack("<HH", head[26:30]))
        if start + info.file_size > self.size:
            raise Damaged(f"its entry {info.filename!r} is cut short")
        return start

    def load(self, find: Find, callables: Callable[[Any], bool], place: Place) -> Any:
        """The object that was saved."""
        order = bytes(self.read("byteorder")) if self.find("byteorder") else b"little"
        if order not in (b"little", b"big"):
            raise Damaged(f"its byte order is {order[:20]!r}")
        storages: dict[str, Storage] = {}

        def persistent_load(pid: Any) -> Storage:
            wanted = _storage_key(pid, 5)
            known = storages.get(wanted.key)
            if known is not None:
                return known
            content = self.read(f"data/{wanted.key}")
            size = wanted.count * wanted.kind.itemsize
            if content.size != size:
                raise Damaged(
                    f"storage {wanted.key!r} should have {size} bytes and has {content.size}"
                )
            if order.decode() != sys.byteorder:
                content = _swapped(content, wanted.kind)
            made = storages[wanted.key] = Storage(wanted, content, place)
            return made

        text = self.read("data.pkl").tobytes()
        return Unpickler(text, persistent_load, find, callables).load()


def load_legacy(data: bytes, find: Find, callables: Callable[[Any], bool], place: Place) -> Any:
    """Reads the older format.

    The storages stand at the end, so the pickle is walked twice: once to learn which storages
    there are, and again when their bytes are known.
    """

    def part(position: int) -> tuple[Any, int]:
        reader = Unpickler(data, None, None, position=position)
        return reader.load(), reader.position

    magic, position = part(0)
    if magic != _MAGIC:
        raise Damaged("Invalid magic number; corrupt file?")
    protocol, position = part(position)
    if protocol != _PROTOCOL:
        raise Damaged(f"Invalid protocol version: {protocol}")
    system, position = part(position)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise Damaged("it comes from a machine of the other byte order")
    seen: dict[str, StorageKey] = {}

    def note(pid: Any) -> Storage:
        wanted = _storage_key(pid, 6)
        if pid[5] is not None:
            raise Damaged("it has views of storages, as versions before 0.4 wrote them")
        seen.setdefault(wanted.key, wanted)
        size = wanted.count * wanted.kind.itemsize
        if size > len(data):
            raise Damaged("a storage is larger than the file")
        return Storage(wanted, np.zeros(size, np.uint8), lambda t, _: t)

    first = Unpickler(data, note, find, callables, position)
    first.load()
    keys, after = part(first.position)
    if not isinstance(keys, list) or sorted(map(repr, keys)) != sorted(map(repr, seen)):
        raise Damaged("its storages are not those of its tensors")
    storages = {}
    for key in keys:
        wanted = seen[key]
        count = int.from_bytes(data[after : after + 8], "little")
        after += 8
        size = wanted.count * wanted.kind.itemsize
        if count != wanted.count or after + size > len(data):
            raise Damaged(f"storage {key!r} is cut short")
        content = np.frombuffer(data, np.uint8, size, after).copy()
        storages[key] = Storage(wanted, content, place)
        after += size
    return Unpickler(data, lambda pid: storages[pid[2]], find, callables, position).load()
