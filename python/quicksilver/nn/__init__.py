"""Modules, losses and their functional forms, with PyTorch's names.

A name that is not here is not supported yet; nothing here is a stub.
"""

from quicksilver.nn import attention, functional, init, utils
from quicksilver.nn import modules as modules
from quicksilver.nn.modules import *
from quicksilver.nn.parameter import (
    Buffer,
    Parameter,
    UninitializedBuffer,
    UninitializedParameter,
)
