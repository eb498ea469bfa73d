"""Tensor's rarer methods: loops of Python functions over elements, older constructors, storages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quicksilver import _C

Tensor = _C.Tensor


class UntypedStorage:
    """The memory that a tensor looks at, in bytes: its address and size. It keeps the tensor."""

    _itemsize = 1

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor
        self._number, self._bytes = _C._storage_of(tensor)

    @property
    def device(self) -> Any:
        """Where it lies."""
        return self._tensor.device

    def nbytes(self) -> int:
        """Its size in bytes."""
        return self._bytes

    def size(self) -> int:
        """How many elements it has; of an untyped one bytes."""
        return self._bytes // self._itemsize

    __len__ = size

    def element_size(self) -> int:
        """Bytes of an element."""
        return self._itemsize

    def data_ptr(self) -> int:
        """The address of its first byte."""
        offset = self._tensor.storage_offset() * self._tensor.element_size()
        return self._tensor.data_ptr() - offset if self._tensor.numel() else 0

    def _flat(self) -> Tensor:
        count = self._bytes // self._tensor.element_size()
        return _C.as_strided(self._tensor.detach(), (count,), (1,), 0)

    def tolist(self) -> list[Any]:
        """Its elements."""
        flat = self._flat()
        return (flat.view(_C.uint8) if self._itemsize == 1 else flat).tolist()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntypedStorage) and self._number == other._number

    def __hash__(self) -> int:
        return hash(self._number)


class TypedStorage(UntypedStorage):
    """An UntypedStorage seen as elements of its tensor's dtype."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__(tensor)
        self._itemsize = tensor.element_size()

    @property
    def dtype(self) -> Any:
        """The dtype of its elements."""
        return self._tensor.dtype

    def untyped(self) -> UntypedStorage:
        """The same in bytes."""
        return UntypedStorage(self._tensor)

    def __getitem__(self, index: Any) -> Any:
        return self.tolist()[index]


def untyped_storage(self: Tensor) -> UntypedStorage:
    """The memory that it looks at."""
    return UntypedStorage(self)


def storage(self: Tensor) -> TypedStorage:
    """The memory that it looks at, as elements of its dtype."""
    return TypedStorage(self)


def _on_cpu(name: str, tensors: tuple[Tensor, ...]) -> None:
    for tensor in tensors:
        if tensor.device.type != "cpu":
            raise TypeError(f"{name} is only implemented on CPU tensors")
        if tensor.requires_grad:
            raise RuntimeError(
                f"Can't call {name}() on Variable that requires grad. Use var.detach().{name}()"
                " instead."
            )


def _written(self: Tensor, values: list[Any]) -> Tensor:
    made = _C.tensor(values, dtype=self.dtype) if values else _C.empty(0, dtype=self.dtype)
    return self.copy_(made.reshape(self.shape))


def apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Replaces each element x by callable(x), one after the other in Python; on the cpu only."""
    _on_cpu("apply_", (self,))
    return _written(self, [callable(x) for x in self.reshape(-1).tolist()])


def map_(self: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Replaces each element x by callable(x, y), y the element of another tensor there."""
    _on_cpu("map_", (self, tensor))
    other = tensor.expand(self.shape).reshape(-1).tolist()
    pairs = zip(self.reshape(-1).tolist(), other, strict=True)
    return _written(self, [callable(x, y) for x, y in pairs])


def new(self: Tensor, *args: Any, device: Any = None) -> Tensor:
    """The old constructor: new(*sizes) of undefined content, new(sequence), new(tensor); of this
    tensor's dtype and device."""
    where = self.device if device is None else device
    if len(args) == 1 and isinstance(args[0], Tensor):
        return args[0].detach().to(where)
    if len(args) == 1 and not isinstance(args[0], (int, _C.Size)):
        return _C.tensor(args[0], dtype=self.dtype, device=where)
    sizes = args[0] if args and isinstance(args[0], _C.Size) else args
    return _C.empty(tuple(sizes) if sizes else (0,), dtype=self.dtype, device=where)


def is_shared(self: Tensor) -> bool:
    """False: other processes get copies."""
    return False


def record_stream(self: Tensor, stream: Any) -> None:
    """For other streams of a GPU; there is one here, so nothing needs noting."""


def fill(input: Tensor, value: Any) -> Tensor:
    """A copy filled with a number."""
    return _C.empty_like(input).fill_(value)


def spmm(input: Tensor, mat2: Tensor) -> Tensor:
    """input @ mat2. PyTorch's takes sparse tensors as well; there are none here."""
    return _C.mm(input, mat2)


def is_storage(obj: Any) -> bool:
    """Whether obj is a storage."""
    return isinstance(obj, UntypedStorage)
