"""torch.backends.cudnn: switches that scripts set; they are kept and change nothing."""

from __future__ import annotations

enabled: bool = True
benchmark: bool = False
benchmark_limit: int = 10
deterministic: bool = False
allow_tf32: bool = True


def is_available() -> bool:
    """False: the mps device finds its own libraries."""
    return False


def version() -> None:
    """None."""
