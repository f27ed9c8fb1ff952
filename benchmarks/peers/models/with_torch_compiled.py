"""PyTorch with ``torch.compile`` of model and loss.

By default its tracer does not enter recurrent layers, so they run as without it; embedding, head, loss and their
gradients are compiled. (Entered, a layer becomes one graph of all its steps, which takes minutes to compile.)
"""

from __future__ import annotations

from collections.abc import Callable

from . import with_torch


class Peer(with_torch.Peer):
    """torch in this process."""

    def compiled(self, loss_of: Callable) -> Callable:
        return self.torch.compile(loss_of)
