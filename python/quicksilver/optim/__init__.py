"""Optimizers and learning-rate schedules, with PyTorch's names."""

from quicksilver.optim import lr_scheduler
from quicksilver.optim.adam import Adam, AdamW
from quicksilver.optim.optimizer import Optimizer
from quicksilver.optim.sgd import SGD
