"""PyTorch: a loop over layers, and one ``autograd.grad`` for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ensembles import Nets, stacked
from .. import with_torch


class Peer(with_torch.Peer):
    """torch in this process."""

    def prepare(self, case: Nets, mode: str) -> tuple[Callable, Callable]:
        """A call to time, and a function that names the numbers it returns."""
        made = [self.leaves(case.case, mode, arrays) for arrays in case.arrays]
        torch, training = self.torch, mode == "training"

        def forward() -> list[tuple]:
            with torch.no_grad():
                return [net.module(net.x, net.state) for net in made]

        def forward_backward() -> list[tuple]:
            results = [net.module(net.x, net.state) for net in made]
            grads = torch.autograd.grad(
                [output for output, _ in results], [leaf for net in made for leaf in net.leaves],
                [net.grad_output for net in made])
            each = len(made[0].leaves)
            return [(*result, grads[k * each : (k + 1) * each]) for k, result in enumerate(results)]

        def read(results: Any) -> dict:
            return stacked([net.named(*result) for net, result in zip(made, results, strict=True)])

        return (forward_backward if training else forward), read
