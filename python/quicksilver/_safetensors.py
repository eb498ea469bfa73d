"""The safetensors format.

A file is 8 bytes of length (little-endian), a JSON header of that length and the bytes of the
tensors, one after the other. The header has {"dtype", "shape", "data_offsets"} by name, and
"__metadata__", strings by name. Reading runs no code of the file.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import IO, Any

from quicksilver import _C

Tensor = _C.Tensor
Place = Callable[[Tensor, str], Tensor]
_DEVICES = "quicksilver.devices"  # metadata: the devices of tensors that were not on cpu
_LONGEST_HEADER = 100_000_000

_NAMES = {
    "BOOL": _C.bool, "U8": _C.uint8, "I8": _C.int8, "U16": _C.uint16, "I16": _C.int16,
    "U32": _C.uint32, "I32": _C.int32, "U64": _C.uint64, "I64": _C.int64, "F16": _C.float16,
    "BF16": _C.bfloat16, "F32": _C.float32, "F64": _C.float64, "C64": _C.complex64,
}  # fmt: skip
_NAME_OF = {dtype: name for name, dtype in _NAMES.items()}


def encode(obj: Any) -> list[Any]:
    """The pieces of the file, in order."""
    supported = (
        "save() to a safetensors file writes a dict of tensors by name, such as"
        " model.state_dict() (values that are str are kept too)"
    )
    if not isinstance(obj, Mapping):
        raise TypeError(f"{supported}, not {type(obj).__name__}")
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    for key, value in obj.items():
        if not isinstance(key, str):
            raise TypeError(f"{supported}; the key {key!r} is {type(key).__name__}")
        if isinstance(value, Tensor):
            if value.dtype not in _NAME_OF:
                raise TypeError(
                    f"{supported}; {key!r} has dtype {value.dtype}, which safetensors lacks"
                )
            tensors[key] = value
        elif isinstance(value, str):
            metadata[key] = value
        else:
            raise TypeError(
                f"{supported}; {key!r} is {type(value).__name__}. Save nested parts in files of"
                " their own, and numbers as str"
            )
    for reserved in ("__metadata__", _DEVICES):
        if reserved in obj:
            raise TypeError(f"{supported}; the name {reserved!r} is the format's own")
    import json

    devices = {key: str(t.device) for key, t in tensors.items() if t.device.type != "cpu"}
    if devices:
        metadata[_DEVICES] = json.dumps(devices)
    # Wide elements first: then every tensor starts at a multiple of its element size.
    order = sorted(tensors, key=lambda key: -tensors[key].element_size())
    data, places, position = [], {}, 0
    for key in order:
        content = _C._to_bytes(tensors[key])
        data.append(content)
        places[key] = [position, position + len(content)]
        position += len(content)
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    for key, tensor in tensors.items():
        header[key] = {
            "dtype": _NAME_OF[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": places[key],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little"), text, *data]


def decode(
    file: IO[bytes], place: Place, wrong: Callable[[str], Exception]
) -> OrderedDict[str, Any]:
    """The tensors (and str) of a file, in order. `wrong` makes the exception for a reason."""
    head = file.read(8)
    if len(head) < 8:
        raise wrong(f"it is no safetensors file: it has only {len(head)} bytes")
    length = int.from_bytes(head, "little")
    if length > _LONGEST_HEADER:
        raise wrong("it is no safetensors file: its first 8 bytes are no sensible header length")
    text = file.read(length)
    if len(text) < length:
        raise wrong(
            f"it is cut short, or no safetensors file: its header should have {length} bytes and"
            f" has {len(text)}"
        )
    data = memoryview(file.read())
    entries, metadata = _parse_header(text, len(data), wrong)
    devices = _saved_devices(metadata)
    result: OrderedDict[str, Any] = OrderedDict()
    for name, (dtype, shape, start, end) in entries.items():
        tensor = _C._from_bytes(data[start:end], dtype, shape, "cpu")
        result[name] = place(tensor, devices.get(name, "cpu"))
    for name, value in metadata.items():
        result.setdefault(name, value)
    return result


def _parse_header(
    text: bytes, size: int, wrong: Callable[[str], Exception]
) -> tuple[dict[str, tuple[Any, list[int], int, int]], dict[str, str]]:
    """({name: (dtype, shape, start, end)}, metadata), every number checked."""
    import json

    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        raise wrong("its header is damaged: it is not JSON") from None
    if not isinstance(header, dict):
        raise wrong("its header is damaged: it is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise wrong("its header is damaged: its metadata are not strings by name")
    entries = {}
    for name, entry in header.items():
        try:
            dtype_name, shape = entry["dtype"], entry["shape"]
            start, end = entry["data_offsets"]
            numbers = [*shape, start, end]
            if any(type(n) is not int or not 0 <= n < 2**63 for n in numbers):
                raise ValueError
        except (TypeError, KeyError, ValueError):
            raise wrong(f"its header is damaged at {name!r}") from None
        if not isinstance(dtype_name, str) or dtype_name not in _NAMES:
            raise wrong(f"{name!r} has the dtype {dtype_name!r}, which is not supported")
        dtype = _NAMES[dtype_name]
        need = dtype.itemsize
        for extent in shape:
            need *= extent
        if end - start != need:
            raise wrong(
                f"its header is damaged at {name!r}: shape {shape} of {dtype_name} needs {need}"
                f" bytes and {end - start} are given"
            )
        if end > size:
            raise wrong(
                f"it is cut short: {name!r} ends at byte {end} of the data, and there are {size}"
            )
        entries[name] = (dtype, shape, start, end)
    return entries, metadata


def _saved_devices(metadata: dict[str, str]) -> dict[str, str]:
    """The devices that were noted, by tensor; nothing when the note makes no sense."""
    import json

    try:
        devices = json.loads(metadata.pop(_DEVICES, "{}"))
        return {str(k): str(v) for k, v in devices.items()}
    except (ValueError, AttributeError, RecursionError):
        return {}
