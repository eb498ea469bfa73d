"""Views that take a computed tensor's bytes for another dtype: what mps plans must equal cpu.

Places in such a view are counted in its own elements, so nothing that was found out about the
places of the maker (which rows are read, how to compute one again) holds for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from oracle.library import L

Maker = Callable[[Any, Any], Any]

MAKERS: dict[str, Maker] = {
    "map": lambda x, w: x * 2,
    "cast": lambda x, w: x.half().float(),
    "count": lambda x, w: L.arange(48, device=x.device, dtype=L.float32).view(6, 8),
    "fill": lambda x, w: L.full((6, 8), 1.5, device=x.device),
    "turned": lambda x, w: (x.t() + 1).t().contiguous(),
    "fold": lambda x, w: x.sum(0, keepdim=True) * x,
    "join": lambda x, w: L.cat([x, x * 3]),
    "product": lambda x, w: L.nn.functional.linear(x.reshape(1, 48).expand(2, 48), w),
    "softmax": lambda x, w: x.softmax(-1),
}


def _complex(y: Any) -> Any:
    return L.view_as_complex(y.reshape(-1, 2))


VIEWS: dict[str, Callable[[Any], Any]] = {
    "int32": lambda y: y.view(L.int32),
    "int16, first row": lambda y: y.view(L.int16)[:1],
    "float64": lambda y: y.view(L.float64),
    "complex": _complex,
    "complex, first": lambda y: _complex(y)[:1],
    "complex, a dimension more": lambda y: _complex(y).view(-1, 4)[:, :, None],
    "imaginary": lambda y: _complex(y).imag,
}
READERS: dict[str, Callable[[Any], Any]] = {
    "add": lambda v: v + v,
    "sum": lambda v: v.sum(0),
    "turn": lambda v: v.transpose(0, -1).contiguous(),
}


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("maker", MAKERS)
def test_views_of_another_dtype(maker: str, view: str, kept: bool) -> None:
    x = L.linspace(-2, 3, 48).view(6, 8)
    w = L.linspace(-1, 1, 32 * 48).view(32, 48).sin()
    for reader in READERS.values():
        results = []
        for device in ("cpu", "mps"):
            made = MAKERS[maker](x.to(device), w.to(device))
            seen = reader(VIEWS[view](made))
            results.append((seen.cpu(), made.cpu() if kept else None))
            del made, seen
        (cpu, kept_cpu), (mps, kept_mps) = results
        assert cpu.dtype == mps.dtype
        assert L.allclose(cpu, mps, rtol=1e-5, atol=1e-6, equal_nan=True)
        if kept:
            assert L.allclose(kept_cpu, kept_mps, rtol=1e-5, atol=1e-6)


def test_rotary_keys_of_one_token() -> None:
    """The step of a language model that writes one key into its cache, seen as complex numbers."""
    results = []
    for device in ("cpu", "mps"):
        x = L.linspace(-1, 1, 64, device=device).view(2, 1, 32)
        w = L.linspace(-3, 3, 512, device=device).view(16, 32).sin()
        angles = L.polar(L.ones(4), L.arange(4.0)).to(device)
        keys = L.nn.functional.linear(x, w).view(2, 1, 2, 4, 2)
        turned = L.view_as_real(L.view_as_complex(keys) * angles.view(1, 1, 1, 4)).flatten(3)
        cache = L.zeros(2, 5, 2, 8, device=device)
        cache[:, 3:4] = turned
        results.append(cache.cpu())
    assert L.allclose(*results, rtol=1e-5, atol=1e-6)
