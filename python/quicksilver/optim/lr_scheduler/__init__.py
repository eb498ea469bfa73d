"""Learning-rate schedules; call ``scheduler.step()`` after ``optimizer.step()``."""

from quicksilver.optim.lr_scheduler.base import LRScheduler, _LRScheduler
from quicksilver.optim.lr_scheduler.cycles import CyclicLR, OneCycleLR
from quicksilver.optim.lr_scheduler.others import (
    ChainedScheduler,
    ReduceLROnPlateau,
    SequentialLR,
)
from quicksilver.optim.lr_scheduler.simple import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
