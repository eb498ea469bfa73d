"""What the gradient tape keeps, and hooks on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quicksilver import _C

Tensor = _C.Tensor


class saved_tensors_hooks:
    """Within the block each tensor that is kept for backward goes through pack_hook, and what that
    gave through unpack_hook when backward wants it.

    Args:
        pack_hook: tensor -> anything.
        unpack_hook: what pack_hook gave -> a tensor of the same content.
    """

    def __init__(
        self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]
    ) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self) -> None:
        _C._push_saving_hooks(self.pack_hook, self.unpack_hook)

    def __exit__(self, *args: object) -> None:
        _C._pop_saving_hooks()


class save_on_cpu(saved_tensors_hooks):
    """Keeps on cpu what backward needs, and brings it back when it does."""

    def __init__(self, pin_memory: bool = False, device_type: str = "mps") -> None:
        def pack(tensor: Tensor) -> tuple[Any, Tensor]:
            return tensor.device, tensor.cpu()

        def unpack(packed: tuple[Any, Tensor]) -> Tensor:
            device, tensor = packed
            return tensor.to(device)

        super().__init__(pack, unpack)
