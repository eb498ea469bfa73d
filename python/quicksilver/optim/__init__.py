"""Optimizers and learning-rate schedules, with PyTorch's names."""

from quicksilver.optim import lr_scheduler, swa_utils
from quicksilver.optim.adam import Adam, AdamW
from quicksilver.optim.adaptive import Adadelta, Adagrad, Adamax, NAdam, RAdam, RMSprop
from quicksilver.optim.lbfgs import LBFGS
from quicksilver.optim.matrices import Adafactor, Muon
from quicksilver.optim.optimizer import Optimizer
from quicksilver.optim.others import ASGD, Rprop, SparseAdam
from quicksilver.optim.sgd import SGD
