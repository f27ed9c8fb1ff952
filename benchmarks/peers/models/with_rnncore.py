"""rnncore: ``Trainer.update`` of a `SequenceModel`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...models import BETAS, EPS, LR, MAX_NORM, Model, ModelArrays, first_updates
from .. import with_rnncore


class Peer(with_rnncore.Peer):
    """rnncore in this process."""

    def prepare(self, case: Model, mode: str) -> tuple[Callable, Callable]:
        """An update to time, and a function that returns the numbers of the first updates."""
        from rnncore import nn, optim, train

        arrays, layer = ModelArrays.draw(case), case.case
        model = nn.SequenceModel(
            None if case.embedding is None else nn.Embedding(case.inputs, case.embedding),
            self.layer(layer),
            nn.Linear(layer.H * layer.directions, case.outputs),
            loss=case.loss,
            readout=case.readout,
        )
        model.load_state_dict(arrays.parameters)
        seen = Gradients()
        trainer = train.Trainer(
            model, optim.Adam(model, LR, BETAS, EPS), list(zip(arrays.x, arrays.targets, strict=True)),
            max_norm=MAX_NORM, callbacks=[seen])
        found = first_updates(trainer.update, lambda: seen.last)
        trainer.callbacks = []
        return trainer.update, lambda loss: found


class Gradients:
    """A callback that keeps a copy of the gradients before they are clipped."""

    def before_step(self, trainer: Any, record: Any, loss: float, grads: dict) -> None:
        self.last = {name: value.copy() for name, value in grads.items()}

    def __call__(self, trainer: Any) -> None:
        pass
