"""Modules, losses and their functional forms, with PyTorch's names.

A name that is not here is not supported yet; nothing here is a stub.
"""

import importlib
from typing import Any

from quicksilver.nn import attention, functional, init, utils
from quicksilver.nn import modules as modules
from quicksilver.nn.modules import *
from quicksilver.nn.parameter import (
    Buffer,
    Parameter,
    UninitializedBuffer,
    UninitializedParameter,
)


def __getattr__(name: str) -> Any:
    if name == "parallel":
        return importlib.import_module(f"{__name__}.parallel")
    if name == "DataParallel":
        return importlib.import_module(f"{__name__}.parallel").DataParallel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
