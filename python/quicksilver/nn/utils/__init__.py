"""Helpers for training: gradient clipping, parameters as one vector, padding of sequences."""

from __future__ import annotations

import importlib
from typing import Any

from quicksilver.nn.utils import rnn
from quicksilver.nn.utils.clip_grad import (
    clip_grad_norm,
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)
from quicksilver.nn.utils.convert_parameters import parameters_to_vector, vector_to_parameters
from quicksilver.nn.utils.fusion import (
    fuse_conv_bn_eval,
    fuse_conv_bn_weights,
    fuse_linear_bn_eval,
    fuse_linear_bn_weights,
    skip_init,
)
from quicksilver.nn.utils.weight_norm import (
    remove_spectral_norm,
    remove_weight_norm,
    spectral_norm,
    weight_norm,
)


def __getattr__(name: str) -> Any:
    if name in (
        "parametrize",
        "parametrizations",
        "stateless",
    ):  # over nn.Module, which imports this package
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
