"""torch.backends.cuda: switches that scripts set; they are kept and change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Matmul:
    allow_tf32: bool = False
    allow_fp16_reduced_precision_reduction: bool = True
    allow_bf16_reduced_precision_reduction: bool = True
    fp32_precision: str = "none"


matmul = _Matmul()


def is_built() -> bool:
    """False."""
    return False


def _switch(on: bool) -> None:
    """Accepted; the mps device chooses its attention kernels itself."""


enable_flash_sdp = enable_mem_efficient_sdp = enable_math_sdp = enable_cudnn_sdp = _switch


def flash_sdp_enabled() -> bool:
    """True."""
    return True


mem_efficient_sdp_enabled = math_sdp_enabled = flash_sdp_enabled


def preferred_linalg_library(backend: Any = None) -> str:
    """Accepted; "default"."""
    return "default"


@contextmanager
def sdp_kernel(
    enable_flash: bool = True,
    enable_math: bool = True,
    enable_mem_efficient: bool = True,
    enable_cudnn: bool = True,
) -> Iterator[dict[str, bool]]:
    """A block whose choice of attention kernels is accepted; nn.attention.sdpa_kernel chooses."""
    yield {
        "enable_flash": enable_flash,
        "enable_math": enable_math,
        "enable_mem_efficient": enable_mem_efficient,
        "enable_cudnn": enable_cudnn,
    }
