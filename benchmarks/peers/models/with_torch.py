"""PyTorch: ``nn.Embedding``, the recurrent layer, ``nn.Linear``, autograd, ``clip_grad_norm_``, and Adam in its fused
form, which was no slower than the others at any of these models.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...models import BETAS, EPS, IGNORED, LR, MAX_NORM, Model, ModelArrays, first_updates
from .. import with_torch


class Peer(with_torch.Peer):
    """torch in this process."""

    def prepare(self, case: Model, mode: str) -> tuple[Callable, Callable]:
        """An update to time, and a function that returns the numbers of the first updates."""
        torch, arrays = self.torch, ModelArrays.draw(case)
        net = self.net(case)
        net.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.parameters.items()})
        adam = torch.optim.Adam(net.parameters(), LR, BETAS, EPS, fused=True)
        batches = [(torch.from_numpy(x), torch.from_numpy(target))
                   for x, target in zip(arrays.x, arrays.targets, strict=True)]
        functional, clip = torch.nn.functional, torch.nn.utils.clip_grad_norm_

        def loss_of(x: Any, target: Any) -> Any:
            prediction = net(x)
            if case.loss == "mse":
                return functional.mse_loss(prediction, target)
            return functional.cross_entropy(
                prediction.flatten(0, -2), target.flatten(), ignore_index=IGNORED)

        loss_of, seen, turn = self.compiled(loss_of), {}, 0

        def update() -> float:
            nonlocal turn
            x, target = batches[turn % len(batches)]
            turn += 1
            adam.zero_grad()
            loss = loss_of(x, target)
            loss.backward()
            if turn == 1:
                seen.update({name: p.grad.numpy().copy() for name, p in net.named_parameters()})
            clip(net.parameters(), MAX_NORM)
            adam.step()
            return loss.item()

        found = first_updates(update, lambda: seen)
        return update, lambda loss: found

    def net(self, case: Model) -> Any:
        """The module, whose parameters are named as those of `ModelArrays`."""
        nn, layer, lengths = self.torch.nn, case.case, case.case.lengths
        kind, rnn = getattr(self.layers(), case.cell), nn.utils.rnn

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.embedding = None if case.embedding is None else nn.Embedding(case.inputs, case.embedding)
                self.layer = kind(layer.I, layer.H, num_layers=layer.layers, bidirectional=layer.bidirectional)
                self.head = nn.Linear(layer.H * layer.directions, case.outputs)

            def forward(self, x: Any) -> Any:
                if self.embedding is not None:
                    x = self.embedding(x)
                if case.rows == "packed":
                    x = rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
                y, state = self.layer(x)
                if case.rows == "packed":
                    y, _ = rnn.pad_packed_sequence(y, total_length=layer.T)
                if case.readout == "last":
                    h = state[0] if case.cell == "LSTM" else state
                    y = h[-layer.directions :].movedim(0, 1).flatten(1)
                return self.head(y)

        if lengths is not None:
            lengths = self.torch.from_numpy(lengths)
        return Net()

    def layers(self) -> Any:
        """Where the recurrent layer comes from."""
        return self.torch.nn

    def compiled(self, loss_of: Callable) -> Callable:
        """The function that computes the loss."""
        return loss_of
