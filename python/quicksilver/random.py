"""The random number generators: seeds and states, as in torch.random."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from quicksilver import _C
from quicksilver._C import default_generator, manual_seed

Tensor = _C.Tensor


def seed() -> int:
    """Seeds both devices from the system and returns the seed."""
    value = default_generator.seed()
    manual_seed(value)
    return value


def initial_seed() -> int:
    """The seed of the cpu's generator."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the cpu's generator, a ByteTensor."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Takes over what get_rng_state gave.

    Raises:
        RuntimeError: it is no such state.
    """
    default_generator.set_state(new_state)


@contextmanager
def fork_rng(
    devices: Any = None, enabled: bool = True, device_type: str = "mps", **kwargs: Any
) -> Iterator[None]:
    """Puts the generators of cpu and mps back to where they were, at the end of the block."""
    if not enabled:
        yield
        return
    from quicksilver import mps

    host = get_rng_state()
    device = mps.get_rng_state() if mps.is_available() else None
    try:
        yield
    finally:
        set_rng_state(host)
        if device is not None:
            mps.set_rng_state(device)
