"""torch.autocast: which functions run in lower precision, and in which."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from quicksilver import _C

_LOWER = (_C.bfloat16, _C.float16)


def is_autocast_available(device_type: str) -> bool:
    """Whether autocast knows the device: "cuda" too, where it stays switched off."""
    return device_type in ("cpu", "mps", "cuda")


def is_autocast_enabled(device_type: str = "mps") -> bool:
    """Whether it is on for a device, on this thread."""
    return device_type in ("cpu", "mps") and _C._get_autocast(device_type)[0]


def get_autocast_dtype(device_type: str) -> Any:
    """What products are cast to where it is on."""
    _check_device(device_type)
    return _C.float16 if device_type == "cuda" else _C._get_autocast(device_type)[1]


def get_autocast_cpu_dtype() -> Any:
    """get_autocast_dtype("cpu"), as it was called."""
    return get_autocast_dtype("cpu")


def get_autocast_gpu_dtype() -> Any:
    """get_autocast_dtype("cuda"), as it was called."""
    return get_autocast_dtype("cuda")


def is_autocast_cpu_enabled() -> bool:
    """is_autocast_enabled("cpu"), as it was called."""
    return is_autocast_enabled("cpu")


def set_autocast_enabled(device_type: str, enabled: bool) -> None:
    """Switches it on or off for a device, on this thread."""
    _, dtype, cache = _C._get_autocast(device_type)
    _C._set_autocast(device_type, enabled, dtype, cache)


def set_autocast_dtype(device_type: str, dtype: Any) -> None:
    """Says what products are cast to."""
    enabled, _, cache = _C._get_autocast(device_type)
    _C._set_autocast(device_type, enabled, dtype, cache)


def is_autocast_cache_enabled() -> bool:
    """What autocast was told; casts of equal tensors are merged on mps by the plan anyway."""
    return _C._get_autocast("cpu")[2]


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Kept for is_autocast_cache_enabled."""
    for device in ("cpu", "mps"):
        on, dtype, _ = _C._get_autocast(device)
        _C._set_autocast(device, on, dtype, enabled)


def clear_autocast_cache() -> None:
    """There is no cache to clear."""


def _check_device(device_type: str) -> None:
    if not is_autocast_available(device_type):
        raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'")


class autocast:
    """Within the block (or the decorated function) products, convolutions and attention run in
    dtype, and what would lose much in it in float32, by PyTorch's lists for cpu and mps.

    Args:
        device_type: "cpu" or "mps"; functions of tensors elsewhere are left alone. "cuda" is taken
            as well: there is no such device, so it is switched off with a warning, as in PyTorch.
        dtype: bfloat16 or float16; by default bfloat16 on cpu and float16 on mps.
        enabled: False switches it off within the block.
        cache_enabled: accepted.

    Raises:
        RuntimeError: the device is unknown.
        ValueError: device_type is no str.
    """

    def __init__(
        self,
        device_type: str,
        dtype: Any = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        _check_device(device_type)
        self.device = device_type
        self.fast_dtype = get_autocast_dtype(device_type) if dtype is None else dtype
        if enabled and device_type == "cuda":
            warnings.warn("CUDA is not available. Disabling autocast.", UserWarning, stacklevel=2)
            enabled = False
        if enabled and self.fast_dtype not in _LOWER:
            warnings.warn(
                f"In {device_type.upper()} autocast, but the target dtype is not supported."
                f" Disabling autocast.\n{device_type.upper()} Autocast only supports dtypes of"
                " torch.bfloat16, torch.float16 currently.",
                stacklevel=2,
            )
            enabled, self.fast_dtype = False, get_autocast_dtype(device_type)
        self._enabled = bool(enabled)
        self._cache_enabled = (
            is_autocast_cache_enabled() if cache_enabled is None else cache_enabled
        )
        self._before: list[tuple[bool, Any, bool]] = []

    def __enter__(self) -> autocast:
        if self.device == "cuda":
            return self
        self._before.append(_C._get_autocast(self.device))
        _C._set_autocast(self.device, self._enabled, self.fast_dtype, self._cache_enabled)
        return self

    def __exit__(self, *args: object) -> None:
        if self.device == "cuda":
            return
        _C._set_autocast(self.device, *self._before.pop())

    def __call__(self, func: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(func)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self:
                return func(*args, **kwargs)

        return wrapped


def _cast(value: Any, device_type: str, dtype: Any) -> Any:
    if isinstance(value, _C.Tensor):
        fits = value.is_floating_point() and value.dtype is not _C.float64
        return value.to(dtype) if fits and value.device.type == device_type else value
    if isinstance(value, dict):
        return {k: _cast(v, device_type, dtype) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_cast(v, device_type, dtype) for v in value)
    return value


def custom_fwd(fwd: Any = None, *, device_type: str, cast_inputs: Any = None) -> Any:
    """For the forward of an autograd.Function: notes whether autocast was on, for custom_bwd. With
    cast_inputs its tensors are cast to that dtype and it runs without autocast."""
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def wrapped(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        ctx._dtype = get_autocast_dtype(device_type)
        ctx._fwd_used_autocast = is_autocast_enabled(device_type)
        if cast_inputs is None or not ctx._fwd_used_autocast:
            return fwd(ctx, *args, **kwargs)
        ctx._fwd_used_autocast = False
        with autocast(device_type, enabled=False):
            return fwd(
                ctx,
                *_cast(args, device_type, cast_inputs),
                **_cast(kwargs, device_type, cast_inputs),
            )

    return wrapped


def custom_bwd(bwd: Any = None, *, device_type: str) -> Any:
    """For the backward of an autograd.Function: runs as custom_fwd's forward did."""
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def wrapped(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        with autocast(device_type, ctx._dtype, enabled=ctx._fwd_used_autocast):
            return bwd(ctx, *args, **kwargs)

    return wrapped
