"""Time of a training step of whole models, and of its parts around the recurrent layer."""

from typing import Any

import numpy as np

from . import models
from .suite import THREADS, rnncore_with, update

CHOSEN = ("LSTM characters", "GRU two layers", "LSTM words", "LSTM small")
MODELS = {model.name: model for model in models.MODELS if f"{model.cell} {model.name}" in CHOSEN}


def tokens_of(model: models.Model) -> Any:
    """Random tokens (T, B)."""
    return np.random.default_rng(0).integers(0, model.inputs, size=(model.T, model.B))


class Models:
    params = (tuple(MODELS), THREADS)
    param_names = ("model", "threads")

    def setup(self, model, threads):
        rnncore_with(threads=threads)
        from rnncore import nn, optim, train

        sizes = MODELS[model]
        self.tokens = tokens_of(sizes)
        self.model = nn.sequence_model(
            sizes.cell, sizes.inputs, hidden_size=sizes.H, embedding_size=sizes.embedding, num_layers=sizes.layers,
            seed=0)
        self.trainer = train.Trainer(self.model, optim.Adam(self.model), [(self.tokens, self.tokens)])

    def time_update(self, *parameters):
        self.trainer.update()

    def time_evaluate(self, *parameters):
        prediction, _ = self.model(self.tokens)
        self.model.summed_loss(prediction, self.tokens)


class Parts:
    params = (tuple(MODELS), THREADS)
    param_names = ("model", "threads")

    def setup(self, model, threads):
        rnncore_with(threads=threads)
        from rnncore import nn, optim

        sizes, rng = MODELS[model], np.random.default_rng(0)
        self.tokens, self.nn, self.optim = tokens_of(sizes), nn, optim
        self.table = nn.Embedding(sizes.inputs, sizes.embedding, seed=0)
        self.head = nn.Linear(sizes.H, sizes.inputs, seed=0)
        self.x = rng.normal(size=(sizes.T, sizes.B, sizes.H)).astype("f4")
        self.embedded, self.record = self.table.record(self.tokens), self.head.record(self.x)
        self.grad_output = nn.cross_entropy(self.record.output, self.tokens)[1]
        self.grad_embedded = rng.normal(size=self.embedded.output.shape).astype("f4")
        self.grads, self.adam = self.record.backward(self.grad_output).parameters, optim.Adam(self.head)

    def time_embedding(self, *parameters):
        self.table.record(self.tokens)

    def time_embedding_backward(self, *parameters):
        self.embedded.backward(self.grad_embedded)

    def time_linear(self, *parameters):
        self.head(self.x)

    def time_linear_training(self, *parameters):
        update(self.head)
        self.head.record(self.x).backward(self.grad_output)

    def time_cross_entropy(self, *parameters):
        self.nn.cross_entropy(self.record.output, self.tokens)

    def time_adam(self, *parameters):
        self.adam.step(self.grads)

    def time_clipping(self, *parameters):
        self.optim.clip_grad_norm(self.grads, 1e9)
