"""The two trained networks of the gallery: one reads the characters of a text, one solves the adding problem.

Both are analysed in float64, because in float32 small gradients would underflow to zero.
"""

from dataclasses import dataclass

import numpy as np
from rnncore.viz.recorder.measured import MEASURES

import rnncore as rc
from rnncore.data import Corpus, batches
from rnncore.nn import log_softmax, sequence_model
from rnncore.optim import Adam
from rnncore.tasks import Adding, learn
from rnncore.train import Trainer

ROWS = 4


@dataclass
class Net:
    """A trained network and one recorded pass, with the gradient of the loss at its last step.

    Attributes
    ----------
    name : str
    layer
        The recurrent layer, float64.
    x : ndarray (T, B, I)
        Its input: embedded characters, or numbers and marks.
    tape, before : Tape
        Of the trained network, and of the same input before training.
    tokens : list of str
        One per step, for row 0.
    step_gradient : ndarray (T, B, H)
        ∂L_s/∂y_s, where L_s is the loss of step s.
    logit : ndarray (T, B, H)
        The gradient of the prediction at step s with respect to y_s.
    readout : callable
        y (T, B, H) -> the prediction at the last step, (B,), and its gradient. The prediction is log P
        of the next character, or the sum.
    last_loss : callable
        Output of the last step (N, H) -> loss (N,), for the rows of `windows`.
    windows : ndarray (T, N, I)
    series : dict of str to (updates, values)
        Recorded during training.
    readout_name, logit_name : str
        What `readout` and `logit` are, for the titles.
    """

    name: str
    layer: object
    x: np.ndarray
    tape: object
    before: object
    tokens: list
    step_gradient: np.ndarray
    logit: np.ndarray
    readout: object
    last_loss: object
    windows: np.ndarray
    series: dict
    readout_name: str
    logit_name: str


def at_last_step(tape, gradient):
    """Compute the gradients of the loss of the last step alone, on the tape."""
    only = np.zeros_like(gradient)
    only[-1] = gradient[-1]
    tape.backward(only)
    return tape


def text_net(updates=800, steps=60, many=128):
    """An LSTM that reads characters of the documentation topics that come with Python."""
    from rnncore import viz

    corpus = Corpus.topics()
    model = sequence_model(
        "lstm", len(corpus.vocabulary), hidden_size=64, embedding_size=32, seed=0
    )
    first = model.astype("float64")
    windows = batches(corpus.train, 32, 64)
    recorder = viz.Recorder(
        every=max(1, updates // 100),
        measure_every=max(1, updates // 16),
        measures=MEASURES | {"half-life": lambda tape: viz.half_life(tape)[0]},
    )
    Trainer(model, Adam(model, 3e-3), windows, callbacks=[recorder]).fit(updates, progress=False)
    model = model.astype("float64")
    start = np.linspace(0, len(corpus.valid) - steps - 1, many).astype(int)
    held = corpus.valid[start + np.arange(steps + 1)[:, None]]  # (T + 1, N)
    x, targets = model.embedding(held[:-1]), held[1:]
    weight, bias = (model.head.parameters[name] for name in ("weight", "bias"))

    def log_prob(y):
        return log_softmax(y @ weight.T + bias)

    def gradient(y, target):
        """∂(−log P(target))/∂y."""
        return np.exp(log_prob(y)) @ weight - weight[target]

    def readout(y):
        target = targets[-1, :ROWS]
        grad = np.zeros_like(y)
        grad[-1] = -gradient(y[-1], target)
        return np.take_along_axis(log_prob(y[-1]), target[:, None], 1)[:, 0], grad

    def last_loss(y):
        return -np.take_along_axis(log_prob(y), targets[-1][:, None], 1)[:, 0]

    tape = model.layer.record(x[:, :ROWS])
    before = first.layer.record(x[:, :ROWS])
    step_gradient = gradient(tape.output, targets[:, :ROWS])
    return Net(
        "Text: LSTM of 64 units", model.layer, x[:, :ROWS],
        at_last_step(tape, step_gradient), at_last_step(before, step_gradient),
        list(corpus.decode(held[:-1, 0])), step_gradient, weight[targets[:, :ROWS]], readout,
        last_loss, x, {name: recorder.series(name) for name in recorder.series_names},
        "log P(next character)", "logit",
    )  # fmt: skip


def adding_net(updates=1500, steps=60, many=128):
    """An LSTM with chrono initialisation that adds the two marked numbers."""
    task = Adding(steps, seed=0)
    network = task.network("lstm", 48, seed=0)
    rc.init.chrono(network, steps, seed=0)
    first = network.astype("float64")
    curve = learn(task, network, updates=updates, lr=3e-3, every=max(1, updates // 30), tested=256)
    network = network.astype("float64")
    batch = task.batch(many, 10**6 + 1)
    x, target = batch.x.astype("float64"), batch.target[-1, :, 0]
    weight, bias = (network.head.parameters[name] for name in ("weight", "bias"))

    def answer(y):
        return y @ weight[0] + bias[0]

    def readout(y):
        grad = np.zeros_like(y)
        grad[-1] = weight[0]
        return answer(y[-1]), grad

    def last_loss(y):
        return (answer(y) - target) ** 2

    tape = network.layer.record(x[:, :ROWS])
    before = first.layer.record(x[:, :ROWS])
    step_gradient = np.broadcast_to(weight[0], tape.output.shape).copy()
    number, mark = x[:, 0].T
    return Net(
        f"Adding problem, T = {steps}: LSTM of 48 units", network.layer, x[:, :ROWS],
        at_last_step(tape, step_gradient), at_last_step(before, step_gradient),
        [f"{n:.1f}" if m else "" for n, m in zip(number, mark, strict=True)], step_gradient,
        step_gradient, readout, last_loss, x, {"loss": (curve.updates, curve.losses)},
        "predicted sum", "sum",
    )  # fmt: skip
