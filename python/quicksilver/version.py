"""torch.version: what scripts look at to learn what they run on."""

from __future__ import annotations

from quicksilver import _C

__version__: str = _C.__version__
debug: bool = False
cuda: None = None
hip: None = None
git_version: str = "unknown"
