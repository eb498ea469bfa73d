"""The chain and the MLP step of workloads.py in JAX, each one jitted function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def values(*shape: int, ints: int | None = None, seed: int = 0) -> Any:
    """The same numbers as workloads.tensor."""
    rng = np.random.default_rng(seed)
    a = rng.integers(0, ints, shape) if ints else rng.standard_normal(shape).astype(np.float32)
    return jnp.asarray(a)


def make_chain(n: int) -> Callable[[], Any]:
    x, w = values(n), values(n, seed=1)

    @jax.jit
    def run(x: Any, w: Any) -> Any:
        return jnp.tanh(x * w + 0.5) * jax.nn.sigmoid(x) + jnp.exp(-x * x) * w

    return lambda: run(x, w)


def make_mlp(optimizer: str, batch: int = 64) -> Callable[[], Any]:
    """A whole training step as one function: the best JAX can do."""
    rng = np.random.default_rng(0)

    def uniform(*shape: int, fan: int) -> Any:
        return jnp.asarray(rng.uniform(-(fan**-0.5), fan**-0.5, shape).astype(np.float32))

    params = [
        uniform(256, 784, fan=784), uniform(256, fan=784), uniform(10, 256, fan=256),
        uniform(10, fan=256),
    ]  # fmt: skip
    state = [(jnp.zeros_like(p), jnp.zeros_like(p)) for p in params]
    x, y = values(batch, 784), values(batch, ints=10)

    def loss(params: Any, x: Any, y: Any) -> Any:
        a, b, c, d = params
        out = jax.nn.relu(x @ a.T + b) @ c.T + d
        return -jnp.mean(jax.nn.log_softmax(out)[jnp.arange(batch), y])

    @jax.jit
    def step(params: Any, state: Any, count: Any, x: Any, y: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(params, x, y)
        if optimizer == "SGD":
            return [p - 0.01 * g for p, g in zip(params, grads, strict=True)], state, value
        new_params, new_state = [], []
        for p, g, (m, v) in zip(params, grads, state, strict=True):
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            update = m / (1 - 0.9**count) / (jnp.sqrt(v / (1 - 0.999**count)) + 1e-8)
            new_params.append(p * (1 - 3e-4 * 1e-2) - 3e-4 * update)
            new_state.append((m, v))
        return new_params, new_state, value

    held = [params, state, 0.0]

    def run() -> Any:
        held[2] += 1.0
        held[0], held[1], value = step(held[0], held[1], held[2], x, y)
        return value

    return run
