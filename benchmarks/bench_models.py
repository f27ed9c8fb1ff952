"""Time of a training step of whole models, and of its parts around the recurrent layer."""

from typing import Any

import numpy as np

from .suite import THREADS, rnncore_with, update

# cell, symbols, embedding, hidden units, layers, rows, steps
MODELS = {
    "characters": ("lstm", 103, 64, 128, 1, 32, 64),
    "two layers": ("gru", 103, 64, 256, 2, 64, 100),
    "words": ("lstm", 5000, 128, 256, 1, 20, 35),
    "small": ("lstm", 60, 16, 32, 1, 8, 32),
}


def tokens_of(model: str) -> Any:
    """Random tokens (T, B)."""
    _, symbols, _, _, _, B, T = MODELS[model]
    return np.random.default_rng(0).integers(0, symbols, size=(T, B))


class Models:
    params = (tuple(MODELS), THREADS)
    param_names = ("model", "threads")

    def setup(self, model, threads):
        rnncore_with(threads=threads)
        from rnncore import nn, optim, train

        cell, symbols, embedding, hidden, layers, _, _ = MODELS[model]
        self.tokens = tokens_of(model)
        self.model = nn.sequence_model(
            cell, symbols, hidden_size=hidden, embedding_size=embedding, num_layers=layers, seed=0)
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

        _, symbols, embedding, hidden, _, B, T = MODELS[model]
        rng = np.random.default_rng(0)
        self.tokens, self.nn, self.optim = tokens_of(model), nn, optim
        self.table, self.head = nn.Embedding(symbols, embedding, seed=0), nn.Linear(hidden, symbols, seed=0)
        self.x = rng.normal(size=(T, B, hidden)).astype("f4")
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
