"""Pickles of checkpoints, without running anything that a file says.

``Unpickler`` is a small interpreter of the opcodes that checkpoints need. A name in the file (a
GLOBAL) means one of the builders in a fixed table, a dtype, a storage type, or what the user has
allowed; nothing is imported and no other object is called. Sizes, keys and positions are checked,
so a damaged file raises and does nothing else. ``Pickler`` writes the same language.
"""

from __future__ import annotations

import pickle
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from quicksilver import _C
from quicksilver.nn.parameter import Parameter

Tensor = _C.Tensor
UnpicklingError = pickle.UnpicklingError

# PyTorch's storage types. The last three have none: their tensors name their dtype themselves.
STORAGE_DTYPES = {
    "FloatStorage": _C.float32, "DoubleStorage": _C.float64, "HalfStorage": _C.float16,
    "BFloat16Storage": _C.bfloat16, "LongStorage": _C.int64, "IntStorage": _C.int32,
    "ShortStorage": _C.int16, "CharStorage": _C.int8, "ByteStorage": _C.uint8,
    "BoolStorage": _C.bool, "ComplexFloatStorage": _C.complex64,
    "ComplexDoubleStorage": _C.complex128,
}  # fmt: skip
_DTYPES = (
    "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8",
    "bool", "complex64", "complex128", "uint16", "uint32", "uint64",
)  # fmt: skip


class Global:
    """A name of PyTorch's that a pickle may say; ``build`` is what calling it means here."""

    def __init__(self, module: str, name: str, build: Callable[..., Any] | None = None) -> None:
        self.module, self.name, self.build = module, name, build

    def __repr__(self) -> str:
        return f"{self.module}.{self.name}"

    def __call__(self, *args: Any) -> Any:
        if self.build is None:
            raise UnpicklingError(f"{self!r} cannot be called")
        return self.build(*args)


class StorageType(Global):
    """The type of a storage: what dtype its elements have, None for bytes."""

    def __init__(self, module: str, name: str, dtype: Any) -> None:
        super().__init__(module, name)
        self.dtype = dtype
        self.itemsize: int = dtype.itemsize if dtype else 1


class StorageKey(NamedTuple):
    """What a pickle says about a storage: its elements lie elsewhere in the file."""

    kind: StorageType
    key: str
    location: str
    count: int  # elements of the type's dtype


# ---- what the names build ------------------------------------------------------------------------
def _whole(values: Any) -> list[int]:
    values = list(values)
    if any(type(v) is not int or not 0 <= v < 2**63 for v in values):
        raise UnpicklingError(f"a size, stride or offset is no sensible number: {values}")
    return values


_LAZY: dict[Any, Callable[[Tensor], Tensor]] = {"conj": _C.conj, "neg": _C.neg}


def _tensor(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any = False,
    hooks: Any = None,
    metadata: Any = None,
    dtype: Any = None,
) -> Tensor:
    if not hasattr(storage, "typed"):
        raise UnpicklingError("a tensor is made of something that is no storage")
    flat = storage.typed(dtype)
    size, stride, (offset,) = _whole(size), _whole(stride), _whole([offset])
    if len(size) != len(stride) or len(size) > 64:
        raise UnpicklingError(f"a tensor has sizes {size} and strides {stride}")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if 0 not in size and last >= flat.numel():
        raise UnpicklingError(
            f"a tensor of sizes {size}, strides {stride} and offset {offset} does not fit its"
            f" storage of {flat.numel()} elements"
        )
    if 0 in size:
        offset = 0
    out = _C.as_strided(flat, size, stride, offset).detach()
    for mark in metadata if isinstance(metadata, dict) else ():
        # PyTorch may leave a conjugation or a sign to whoever reads the numbers.
        if mark not in _LAZY:
            raise UnpicklingError(f"a tensor is marked {mark!r}")
        if metadata[mark]:
            out = _LAZY[mark](out)
    if requires_grad:
        out.requires_grad_()
    return out


def _tensor_v3(*args: Any) -> Tensor:
    storage, offset, size, stride, requires_grad, hooks, dtype = args[:7]
    return _tensor(storage, offset, size, stride, requires_grad, hooks, None, dtype)


def _parameter(data: Any, requires_grad: Any, hooks: Any, state: Any = None) -> Parameter:
    if not isinstance(data, Tensor):
        raise UnpicklingError("a parameter is made of something that is no tensor")
    out = Parameter(data, bool(requires_grad))
    return _with_attributes(out, state) if state else out


def _with_type(function: Any, kind: Any, args: Any, state: Any) -> Any:
    if not isinstance(function, Global) or function.build is None:
        raise UnpicklingError(f"a tensor is built by {function!r}")
    out = function.build(*args)
    if kind is PARAMETER and not isinstance(out, Parameter):
        out = Parameter(out, out.requires_grad)
    return _with_attributes(out, state) if state else out


def _with_attributes(tensor: Tensor, state: Any) -> Tensor:
    """Sets the attributes that a user gave a tensor; none that tensors have anyway."""
    parts = state if isinstance(state, tuple) else (state,)
    for part in parts:
        for key, value in (part or {}).items():
            if not isinstance(key, str) or hasattr(type(tensor), key):
                raise UnpicklingError(f"a tensor has an attribute {key!r}")
            setattr(tensor, key, value)
    return tensor


def _bytes(text: Any, encoding: Any) -> bytes:
    if encoding not in ("latin1", "latin-1", "utf-8"):
        raise UnpicklingError(f"text in the encoding {encoding!r}")
    return text.encode(encoding)


def _bytearray(content: Any = b"", encoding: Any = None) -> bytearray:
    if isinstance(content, str):
        content = _bytes(content, encoding)
    if not isinstance(content, bytes):
        raise UnpicklingError("a bytearray is made of something that is not bytes")
    return bytearray(content)


def _set(items: Any = ()) -> set[Any]:
    for item in items:
        check_key(item)
    return set(items)


def _dict_of(kind: Any) -> Callable[..., Any]:
    def build(items: Any = ()) -> Any:
        out = kind()
        for key, value in items.items() if isinstance(items, dict) else items:
            check_key(key)
            out[key] = value
        return out

    return build


def _size(items: Any = ()) -> Any:
    return _C.Size(_whole(items))


def _device(name: Any, index: Any = None) -> Any:
    return _C.device(name) if index is None else _C.device(name, index)


PARAMETER = Global("torch.nn.parameter", "Parameter", _parameter)
REBUILD = Global("torch._utils", "_rebuild_tensor_v2", _tensor)
REBUILD_V3 = Global("torch._utils", "_rebuild_tensor_v3", _tensor_v3)
REBUILD_PARAMETER = Global("torch._utils", "_rebuild_parameter", _parameter)
REBUILD_WITH_TYPE = Global("torch._tensor", "_rebuild_from_type_v2", _with_type)
SIZE, DEVICE = Global("torch", "Size", _size), Global("torch", "device", _device)
TENSOR = Global("torch", "Tensor")
ORDERED_DICT = Global("collections", "OrderedDict", _dict_of(OrderedDict))
UNTYPED = StorageType("torch.storage", "UntypedStorage", None)

STORAGE_OF = {dtype: StorageType("torch", name, dtype) for name, dtype in STORAGE_DTYPES.items()}
DTYPE_GLOBALS = {getattr(_C, name): Global("torch", name) for name in _DTYPES}

_BUILDERS = [
    PARAMETER, REBUILD, REBUILD_V3, REBUILD_PARAMETER, REBUILD_WITH_TYPE, SIZE, DEVICE, TENSOR,
    ORDERED_DICT, UNTYPED, *STORAGE_OF.values(),
    Global("torch._utils", "_rebuild_tensor", _tensor),
    Global("torch._utils", "_rebuild_parameter_with_state", _parameter),
    Global("collections", "Counter", _dict_of(Counter)),
    Global("_codecs", "encode", _bytes),
    *(
        Global(module, kind.__name__, build)
        for module in ("builtins", "__builtin__")
        for kind, build in ((set, _set), (bytearray, _bytearray), (complex, complex))
    ),
]  # fmt: skip
GLOBALS: dict[str, Any] = {repr(g): g for g in _BUILDERS}
GLOBALS.update({f"torch.cuda.{g.name}": g for g in STORAGE_OF.values()})
GLOBALS.update({repr(g): dtype for dtype, g in DTYPE_GLOBALS.items()})


_PLAIN_KEYS = (str, int, float, bool, bytes, type(None), complex, _C.dtype, _C.device, Tensor)


def check_key(key: Any) -> None:
    """Keys are plain things, or small tuples of them: hashing one must end, and soon."""
    waiting, seen = [(key, 0)], 0
    while waiting:
        part, depth = waiting.pop()
        seen += 1
        if isinstance(part, tuple) and depth < 8 and seen + len(part) < 1000:
            waiting += [(item, depth + 1) for item in part]
        elif not isinstance(part, _PLAIN_KEYS) and not any(
            type(part) is safe for safe in SAFE_GLOBALS.values()
        ):
            raise UnpicklingError(f"a key of type {type(part).__name__}, or of too many parts")


SAFE_GLOBALS: dict[str, Any] = {}  # what the user has allowed, by "module.name"


# ---- reading -------------------------------------------------------------------------------------
_MARK = object()


class Unpickler:
    """Reads one pickle from ``data`` at ``position``; ``load`` returns the object.

    Args:
        data: the bytes.
        persistent_load: from a persistent id to an object.
        find: from "module.name" to an object; raises UnpicklingError for what is not allowed.
            Its attribute ``states`` says how objects of further types take the state that the
            file gives them: pairs of a type and a function of (object, state).
        callables: objects (by identity) that find gave and that the file may call or make.
    """

    def __init__(
        self,
        data: bytes,
        persistent_load: Callable[[Any], Any] | None = None,
        find: Callable[[str, str], Any] | None = None,
        callables: Callable[[Any], bool] = lambda _: False,
        position: int = 0,
    ) -> None:
        self.data, self.position = data, position
        self.persistent_load = persistent_load
        self.find = find or find_builtin
        self.states = getattr(self.find, "states", ())
        self.callables = callables
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def load(self) -> Any:
        """The object.

        Raises:
            UnpicklingError: the pickle is damaged or says something that is not allowed.
        """
        try:
            while True:
                code = self._take(1)[0]
                if code == 0x2E:  # STOP
                    return self.stack.pop()
                action = _ACTIONS.get(code)
                if action is None:
                    raise UnpicklingError(f"Unsupported operand {code}")
                action(self)
        except UnpicklingError:
            raise
        except (
            TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError,
            RecursionError, struct.error, NotImplementedError,
        ) as error:  # fmt: skip
            raise UnpicklingError(
                f"the pickle is damaged ({type(error).__name__}: {error})"
            ) from None

    def _take(self, n: int) -> bytes:
        end = self.position + n
        if n < 0 or end > len(self.data):
            raise UnpicklingError("the pickle is cut short")
        out = self.data[self.position : end]
        self.position = end
        return out

    def _number(self, form: str) -> int:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _line(self) -> str:
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise UnpicklingError("the pickle is cut short")
        return str(self._take(end + 1 - self.position)[:-1], "utf-8")

    def _after_mark(self) -> list[Any]:
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is _MARK:
                items = self.stack[i + 1 :]
                del self.stack[i:]
                return items
        raise UnpicklingError("the pickle is damaged (no mark)")

    def _push(self, value: Any) -> None:
        self.stack.append(value)

    def _keep(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def _global(self, module: str, name: str) -> None:
        self._push(self.find(module, name))

    def _call(self, args: Any, what: Any) -> Any:
        if not isinstance(args, tuple):
            raise UnpicklingError("the pickle is damaged (arguments that are no tuple)")
        if isinstance(what, Global) and what.build is not None:
            return what(*args)
        if self.callables(what):
            return what(*args)
        raise UnpicklingError(f"Trying to call reduce for unrecognized function {what}")

    def _reduce(self) -> None:
        args, what = self.stack.pop(), self.stack.pop()
        self._push(self._call(args, what))

    def _new(self) -> None:
        args, what = self.stack.pop(), self.stack.pop()
        if isinstance(what, type) and self.callables(what) and isinstance(args, tuple):
            self._push(what.__new__(what, *args))
        else:
            self._push(self._call(args, what))

    def _build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if type(target) is OrderedDict or self.callables(type(target)):
            if hasattr(target, "__setstate__"):
                target.__setstate__(state)
                return
            state, slots = state if isinstance(state, tuple) else (state, None)
            target.__dict__.update(state or {})
            for key, value in (slots or {}).items():
                setattr(target, key, value)
        elif isinstance(target, Tensor):
            _with_attributes(target, state)
        elif setter := next((s for kind, s in self.states if isinstance(target, kind)), None):
            setter(target, state)
        else:
            raise UnpicklingError(
                "Can only build Tensor, Parameter, OrderedDict or types allowlisted via"
                f" `add_safe_globals`, but got {type(target)}"
            )

    def _append(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list and not self.callables(type(self.stack[-1])):
            raise UnpicklingError(f"Can only append to lists, but got {type(self.stack[-1])}")
        self.stack[-1].extend(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise UnpicklingError(f"Can only set items of dicts, but got {type(target)}")
        if len(items) % 2:
            raise UnpicklingError("the pickle is damaged (a key without a value)")
        for key, value in zip(items[::2], items[1::2], strict=True):
            check_key(key)
            target[key] = value

    def _add_items(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not set:
            raise UnpicklingError(f"Can only add items to sets, but got {type(self.stack[-1])}")
        self.stack[-1].update(_set(items))

    def _tuple(self, n: int) -> None:
        if len(self.stack) < n:
            raise UnpicklingError("the pickle is damaged (too few values)")
        items = tuple(self.stack[len(self.stack) - n :])
        del self.stack[len(self.stack) - n :]
        self._push(items)

    def _persistent(self) -> None:
        if self.persistent_load is None:
            raise UnpicklingError("a storage where there can be none")
        self._push(self.persistent_load(self.stack.pop()))

    def _stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise UnpicklingError("the pickle is damaged (a name that is no text)")
        self._global(module, name)

    def _protocol(self) -> None:
        version = self._take(1)[0]
        if version > 5:
            raise UnpicklingError(f"Unsupported pickle protocol {version}")

    def _long(self, length: int) -> None:
        self._push(int.from_bytes(self._take(length), "little", signed=True))

    def _text(self, length: int) -> None:
        self._push(str(self._take(length), "utf-8", "surrogatepass"))


_P = pickle
_ACTIONS: dict[int, Callable[[Unpickler], Any]] = {
    code[0]: action
    for code, action in {
        _P.PROTO: Unpickler._protocol,
        _P.FRAME: lambda u: u._take(8),
        _P.MARK: lambda u: u._push(_MARK),
        _P.POP: lambda u: u.stack.pop(),
        _P.POP_MARK: lambda u: u._after_mark(),
        _P.NONE: lambda u: u._push(None),
        _P.NEWTRUE: lambda u: u._push(True),
        _P.NEWFALSE: lambda u: u._push(False),
        _P.BININT: lambda u: u._push(u._number("<i")),
        _P.BININT1: lambda u: u._push(u._number("<B")),
        _P.BININT2: lambda u: u._push(u._number("<H")),
        _P.LONG1: lambda u: u._long(u._number("<B")),
        _P.LONG4: lambda u: u._long(u._number("<i")),
        _P.BINFLOAT: lambda u: u._push(u._number(">d")),
        _P.BINUNICODE: lambda u: u._text(u._number("<I")),
        _P.SHORT_BINUNICODE: lambda u: u._text(u._number("<B")),
        _P.BINUNICODE8: lambda u: u._text(u._number("<Q")),
        _P.BINSTRING: lambda u: u._push(u._take(u._number("<i")).decode("latin1")),
        _P.SHORT_BINSTRING: lambda u: u._push(u._take(u._number("<B")).decode("latin1")),
        _P.BINBYTES: lambda u: u._push(u._take(u._number("<I"))),
        _P.SHORT_BINBYTES: lambda u: u._push(u._take(u._number("<B"))),
        _P.BINBYTES8: lambda u: u._push(u._take(u._number("<Q"))),
        _P.BYTEARRAY8: lambda u: u._push(bytearray(u._take(u._number("<Q")))),
        _P.EMPTY_LIST: lambda u: u._push([]),
        _P.EMPTY_TUPLE: lambda u: u._push(()),
        _P.EMPTY_DICT: lambda u: u._push({}),
        _P.EMPTY_SET: lambda u: u._push(set()),
        _P.LIST: lambda u: u._push(u._after_mark()),
        _P.TUPLE: lambda u: u._push(tuple(u._after_mark())),
        _P.TUPLE1: lambda u: u._tuple(1),
        _P.TUPLE2: lambda u: u._tuple(2),
        _P.TUPLE3: lambda u: u._tuple(3),
        _P.APPEND: lambda u: u._append([u.stack.pop()]),
        _P.APPENDS: lambda u: u._append(u._after_mark()),
        _P.SETITEM: lambda u: u._set_items([u.stack.pop(-2), u.stack.pop()]),
        _P.SETITEMS: lambda u: u._set_items(u._after_mark()),
        _P.ADDITEMS: lambda u: u._add_items(u._after_mark()),
        _P.FROZENSET: lambda u: u._push(frozenset(_set(u._after_mark()))),
        _P.BINPUT: lambda u: u._keep(u._number("<B")),
        _P.LONG_BINPUT: lambda u: u._keep(u._number("<I")),
        _P.MEMOIZE: lambda u: u._keep(len(u.memo)),
        _P.BINGET: lambda u: u._push(u.memo[u._number("<B")]),
        _P.LONG_BINGET: lambda u: u._push(u.memo[u._number("<I")]),
        _P.GLOBAL: lambda u: u._global(u._line(), u._line()),
        _P.STACK_GLOBAL: Unpickler._stack_global,
        _P.REDUCE: Unpickler._reduce,
        _P.NEWOBJ: Unpickler._new,
        _P.BUILD: Unpickler._build,
        _P.BINPERSID: Unpickler._persistent,
    }.items()
}


def find_builtin(module: str, name: str) -> Any:
    """What a name means without the user's additions."""
    found = GLOBALS.get(f"{module}.{name}")
    if found is None:
        raise UnpicklingError(f"Unsupported global: GLOBAL {module}.{name}")
    return found


# ---- writing -------------------------------------------------------------------------------------
class _StorageOf:
    """Stands for a tensor's storage while it is pickled."""

    def __init__(self, tensor: Tensor, kind: StorageType) -> None:
        self.tensor, self.kind = tensor, kind


class Pickler(pickle._Pickler):  # type: ignore[misc]  # the one that is written in Python
    """Writes what PyTorch writes: tensors by their storages, names as PyTorch's.

    Args:
        file: where to write.
        protocol: pickle's.
        storage_id: (a tensor, its storage's type) -> the persistent id of its storage.
    """

    def __init__(self, file: Any, protocol: int, storage_id: Callable[..., Any]) -> None:
        super().__init__(file, protocol)
        self.storage_id = storage_id

    def persistent_id(self, obj: Any) -> Any:
        return self.storage_id(obj.tensor, obj.kind) if type(obj) is _StorageOf else None

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind in (str, int, float, bool, bytes, dict, list, tuple, type(None), OrderedDict):
            return NotImplemented
        if isinstance(obj, Tensor):
            return _reduced(obj)
        if isinstance(obj, Global):
            return obj.name
        if kind is _C.dtype:
            return str(obj).removeprefix("torch.")
        if kind is _C.Size:
            return SIZE, (tuple(obj),)
        if kind is _C.device:
            return DEVICE, (obj.type,) if obj.index is None else (obj.type, obj.index)
        return NotImplemented

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module = None
        if isinstance(obj, Global):
            module = obj.module
        elif type(obj) is _C.dtype:
            module = "torch"
        elif obj is OrderedDict:
            module, name = "collections", "OrderedDict"
        elif (getattr(obj, "__module__", None) or "").split(".")[0] == "quicksilver":
            module = "torch" + obj.__module__.removeprefix("quicksilver")
            name = name or obj.__qualname__
        if module is None:
            super().save_global(obj, name)
            return
        self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        self.memoize(obj)

    dispatch = {**pickle._Pickler.dispatch}  # type: ignore[attr-defined]  # noqa: RUF012
    dispatch[type] = lambda self, obj: self.save_global(obj)
    dispatch[type(check_key)] = lambda self, obj: self.save_global(obj)


def _reduced(tensor: Tensor) -> tuple[Any, ...]:
    requires_grad = bool(tensor.requires_grad)
    if isinstance(tensor, Parameter):
        function: Global = REBUILD_PARAMETER
        args: tuple[Any, ...] = (tensor.detach(), requires_grad, OrderedDict())
    else:
        kind = STORAGE_OF.get(tensor.dtype, UNTYPED)
        function = REBUILD if kind is not UNTYPED else REBUILD_V3
        place = (tensor.storage_offset(), tuple(tensor.shape), tuple(tensor.stride()))
        args = (_StorageOf(tensor, kind), *place, requires_grad, OrderedDict())
        if kind is UNTYPED:
            args = (*args, tensor.dtype)
    if not tensor.__dict__:
        return function, args
    own = PARAMETER if isinstance(tensor, Parameter) else TENSOR
    return REBUILD_WITH_TYPE, (function, own, args, dict(tensor.__dict__))
