"""Twenty training steps of each workload of the benches against PyTorch's losses, from equal
weights, on both devices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracle import whole_models
from oracle.library import DEVICES, L
from oracle.run import trace

ON_DEVICES = pytest.mark.parametrize("device", DEVICES)
QUICK = ("mlp sgd", "mlp adamw")


def traced(name: str) -> Any:
    return trace("workloads")[name]


@ON_DEVICES
@pytest.mark.parametrize(
    "name",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in whole_models.TRAININGS],
)
def test_losses_are_those_of_pytorch(name: str, device: str) -> None:
    got, wanted = (np.array(v) for v in (whole_models.losses(L, device, name), traced(name)))
    np.testing.assert_allclose(got[[0, -1]], wanted[[0, -1]], rtol=1e-5)
    # What a step brings is compared, not the loss: an LSTM's falls by a part in a thousand.
    falls, wanted_falls = (v[0] - v[1:-1] for v in (got, wanted))
    assert (wanted_falls > 0).all()
    np.testing.assert_allclose(falls, wanted_falls, rtol=2e-3, atol=1e-5)


@pytest.mark.slow
@ON_DEVICES
def test_gpt2_says_the_same_token(device: str) -> None:
    assert whole_models.gpt2_token(L, device) == traced("gpt2 forward")
