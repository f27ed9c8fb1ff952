"""JAX: the jitted scan of `benchmarks.peers.with_jax` under ``vmap`` over the nets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...ensembles import Nets
from .. import with_jax


class Peer(with_jax.Peer):
    """JAX in this process."""

    def prepare(self, case: Nets, mode: str) -> tuple[Callable, Callable]:
        """A call to time, and a function that names the numbers it returns."""
        self.jax.config.update("jax_enable_x64", case.dtype == "float64")
        together = self.jax.tree.map(
            lambda *parts: np.stack(parts),
            *[(arrays.x, arrays.state, arrays.parameters, arrays.grad_output) for arrays in case.arrays])

        def over_nets(function: Callable) -> Any:
            return self.jax.vmap(function)

        return self.fastest(case.case, mode, *together, over=over_nets)
