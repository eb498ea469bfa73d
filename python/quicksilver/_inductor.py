"""torch._inductor for scripts that set its switches: they are kept, and change nothing."""

from __future__ import annotations

from types import SimpleNamespace

config = SimpleNamespace(
    coordinate_descent_tuning=False,
    fx_graph_cache=True,
    max_autotune=False,
    triton=SimpleNamespace(unique_kernel_names=True, cudagraphs=False),
)
