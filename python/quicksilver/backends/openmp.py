"""torch.backends.openmp."""

from __future__ import annotations


def is_available() -> bool:
    """False: it is not used."""
    return False
