"""torch.backends.mkldnn: oneDNN, which the cpu driver opens at run time."""

from __future__ import annotations

from quicksilver import _C

enabled: bool = True


def is_available() -> bool:
    """Whether oneDNN was found."""
    return bool(_C._info().get("onednn"))
