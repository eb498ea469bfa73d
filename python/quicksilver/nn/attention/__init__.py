"""Which implementation scaled_dot_product_attention uses.

There are two: the fused one, which never holds a matrix of scores (PyTorch's FLASH_ATTENTION; the
other fused names mean the same here), and MATH, composed of matrix products and a softmax.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterable, Iterator

from quicksilver import _C

__all__ = ["SDPBackend", "sdpa_kernel"]


class SDPBackend(enum.IntEnum):
    """The backends of scaled_dot_product_attention, with PyTorch's numbers."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4

    def __str__(self) -> str:
        return f"SDPBackend.{self.name}"

    __repr__ = __str__


def _bits(backends: Iterable[SDPBackend]) -> int:
    enabled = sum(1 << int(b) for b in set(backends) if b >= 0)
    return enabled | (1 << SDPBackend.FLASH_ATTENTION if enabled & ~1 else 0)


@contextlib.contextmanager
def sdpa_kernel(
    backends: list[SDPBackend] | SDPBackend, set_priority: bool = False
) -> Iterator[dict[str, object]]:
    """Allows only the named backends inside the block, for all threads.

    With several, the fused one is taken where it serves. `set_priority` is accepted: the order has
    no other meaning here.
    """
    if not isinstance(backends, (list, SDPBackend)):
        raise AssertionError(
            "Backend must be an instance of SDPBackend or a list of SDPBackend instances, got"
            f" {type(backends).__name__}"
        )
    chosen = [backends] if isinstance(backends, SDPBackend) else backends
    before = _C._attention_backends(_bits(chosen))
    try:
        yield {}
    finally:
        _C._attention_backends(before)
