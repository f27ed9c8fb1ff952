"""JAX: one jitted function for the whole update; weights and moments are donated, so that they change in place.

The scan has the forms of `benchmarks.peers.with_jax`, and the fastest is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np

from ...models import BETAS, EPS, IGNORED, LR, MAX_NORM, Model, ModelArrays, first_updates
from .. import with_jax


class Peer(with_jax.Peer):
    """JAX in this process."""

    def prepare(self, case: Model, mode: str) -> tuple[Callable, Callable]:
        """An update to time, and a function that returns the numbers of the first updates."""
        self.jax.config.update("jax_enable_x64", False)
        arrays = ModelArrays.draw(case)
        updates = [Updates(self.jax, arrays, self.loss_of(case, *form)) for form in with_jax.forms(case.case, mode)]
        update = min(updates, key=with_jax.best_of_three)
        update.restart()
        seen = self.jax.jit(self.jax.grad(update.loss_of))(arrays.parameters, arrays.x[0], arrays.targets[0])
        found = first_updates(update, lambda: seen)
        return update, lambda loss: found

    def loss_of(self, case: Model, hoist: bool, unroll: int) -> Callable:
        """The loss as a function of parameters, x and target."""
        jax, jnp, layer = self.jax, self.jax.numpy, case.case
        carries = 2 if case.cell == "LSTM" else 1

        def loss_of(p: dict, x: Any, target: Any) -> Any:
            read = x if case.embedding is None else p["embedding.weight"][x]
            weights = {name.removeprefix("layer."): value for name, value in p.items()}
            zeros = jnp.zeros((layer.layers * layer.directions, layer.B, layer.H), read.dtype)
            y, final = with_jax.stack(jax, layer, hoist, unroll, None, read, (zeros,) * carries, weights)
            if case.readout == "last":
                y = jnp.concatenate(list(final[0][-layer.directions :]), axis=1)
            prediction = y @ p["head.weight"].T + p["head.bias"]
            if case.loss == "mse":
                return jnp.mean(jnp.square(prediction - target))
            counted = target != IGNORED
            at = jnp.where(counted, target, 0)[..., None]
            log_p = jnp.take_along_axis(jax.nn.log_softmax(prediction), at, -1)[..., 0]
            return -jnp.sum(log_p * counted) / jnp.sum(counted)

        return loss_of


class Updates:
    """Called without arguments, it does the next update and returns its loss."""

    def __init__(self, jax: Any, arrays: ModelArrays, loss_of: Callable):
        self.jax, self.arrays, self.loss_of = jax, arrays, loss_of
        self.jitted = jax.jit(self.step, donate_argnums=(0, 1, 2, 3))
        self.restart()

    def restart(self) -> None:
        """Go back to the first weights and the first batch."""
        jax, arrays = self.jax, self.arrays
        zeros = [{name: np.zeros_like(value) for name, value in arrays.parameters.items()} for _ in range(2)]
        self.carry = jax.device_put((arrays.parameters, *zeros, np.float32(1)))
        self.batches = cycle(jax.device_put(list(zip(arrays.x, arrays.targets, strict=True))))

    def step(self, p: dict, first: dict, second: dict, k: Any, x: Any, target: Any) -> tuple:
        """Loss, gradients, clipping and Adam; k counts updates from 1."""
        jnp = self.jax.numpy
        loss, grads = self.jax.value_and_grad(self.loss_of)(p, x, target)
        norm = jnp.sqrt(sum(jnp.sum(g * g) for g in grads.values()))
        clip = jnp.minimum(1.0, MAX_NORM / (norm + 1e-6))
        grads = {name: g * clip for name, g in grads.items()}
        first = {name: BETAS[0] * first[name] + (1 - BETAS[0]) * g for name, g in grads.items()}
        second = {name: BETAS[1] * second[name] + (1 - BETAS[1]) * g * g for name, g in grads.items()}
        rate, root = LR / (1 - BETAS[0] ** k), jnp.sqrt(1 - BETAS[1] ** k)
        p = {name: p[name] - rate * first[name] / (jnp.sqrt(second[name]) / root + EPS) for name in p}
        return p, first, second, k + 1, loss

    def __call__(self) -> float:
        *carry, loss = self.jitted(*self.carry, *next(self.batches))
        self.carry = self.jax.block_until_ready(tuple(carry))
        return float(loss)
