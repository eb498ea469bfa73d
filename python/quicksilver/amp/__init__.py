"""Mixed precision: autocast and the gradient scaler."""

from quicksilver.amp.autocast_mode import (
    autocast,
    custom_bwd,
    custom_fwd,
    is_autocast_available,
)
from quicksilver.amp.grad_scaler import GradScaler
