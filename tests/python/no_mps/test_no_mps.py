"""A library built with QS_MPS=OFF: the cpu device works, mps says in one sentence why not."""

from __future__ import annotations

import numpy as np
import pytest

import quicksilver as qs


def test_mps_says_that_it_was_not_built() -> None:
    assert not qs.backends.mps.is_built()
    assert not qs.backends.mps.is_available()
    assert qs.backends.mps.why_unavailable()


def test_memory_on_mps_raises() -> None:
    with pytest.raises(qs.mps.MPSDeviceError):
        qs.ones(2, device="mps")


def test_the_device_can_still_be_named() -> None:
    assert str(qs.device("mps")) == "mps"


def test_cpu_computes() -> None:
    x = qs.arange(6, dtype=qs.float32).reshape(2, 3)
    np.testing.assert_array_equal((x @ x.T + 1).numpy(), [[6, 15], [15, 51]])


def test_cpu_trains() -> None:
    w = qs.zeros(3, requires_grad=True)
    for _ in range(200):
        loss = ((w - qs.tensor([1.0, 2.0, 3.0])) ** 2).sum()
        (gradient,) = qs.autograd.grad(loss, [w])
        with qs.no_grad():
            w -= 0.1 * gradient
    np.testing.assert_allclose(w.detach().numpy(), [1, 2, 3], rtol=1e-5)
