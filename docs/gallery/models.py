"""Pictures of fitted models, and those that explain why gradients vanish and explode."""

import math

import numpy as np
from rnncore.viz.plots._figure import text_scale

import rnncore as rc
from rnncore import viz
from rnncore.data import Corpus, batches
from rnncore.models import AutoRegressive, HiddenMarkov, Markov, Recurrent, SwitchingAutoRegressive
from rnncore.nn import sequence_model
from rnncore.optim import Adam, clip_grad_norm
from rnncore.tasks import Adding
from rnncore.train import Trainer

AHEAD = 40
KINDS = ["vowel", "consonant", "space", "other"]
LEVELS = ["middle", "high", "low"]


def grid(rows, columns, size, **options):
    """A figure in the style of the gallery, larger where its words are, and its axes in a list."""
    import matplotlib.pyplot as plt

    scale = text_scale()
    figure, axes = plt.subplots(rows, columns, figsize=(size[0] * scale, size[1] * scale), squeeze=False, **options)
    return figure, list(axes.flat)


# ---------------------------------------------------------------- windows: autoregressions and Markov chains


def oscillation(steps=400):
    """A random oscillation that depends on what was 1, 2 and 9 steps ago."""
    noise = np.random.default_rng(4).normal(size=steps + 100)
    x = np.zeros(steps + 100)
    for t in range(9, len(x)):
        x[t] = 1.1 * x[t - 1] - 0.6 * x[t - 2] + 0.2 * x[t - 9] + noise[t]
    return x[100:]


def coefficients():
    x = oscillation(1500)
    figure, (ax,) = grid(1, 1, (10, 3.6))
    viz.plot_coefficients(viz.coefficients(AutoRegressive(12).fit([x]), [x]), ax)
    return figure


def past_and_future():
    x = oscillation()
    past = x[:-AHEAD]
    return past, {"context": past[-80:], "actual": x[-AHEAD:]}


def forecast():
    past, shown = past_and_future()
    figure, (ax,) = grid(1, 1, (10, 3.8))
    viz.plot_forecast(AutoRegressive("bic", max_order=20).fit([past]).forecast(past, AHEAD), ax, **shown)
    return figure


def forecasts():
    past, shown = past_and_future()
    linear = AutoRegressive("bic", max_order=20).fit([past])
    gru = Recurrent("gru", 16, epochs=60, lr=0.01, window=32, seed=0).fit([past])
    figure, (ax,) = grid(1, 1, (10, 3.8))
    viz.plot_forecast(linear.forecast(past, AHEAD), ax, label=f"AutoRegressive, order {linear.order_}", **shown)
    viz.plot_forecast(gru.forecast(past, AHEAD, seed=0), ax, label="Recurrent, a GRU of 16 units", **shown)
    return figure


def kinds_of_characters():
    """The characters of Python's documentation as numbers: vowel, consonant, space, other."""
    text = Corpus.topics()
    characters = text.decode(text.train[:100_000]).lower()
    return np.array([
        0 if c in "aeiou" else 1 if c.isalpha() else 2 if c.isspace() else 3 for c in characters])  # fmt: skip


def transition_matrix():
    kinds = kinds_of_characters()
    figure, (left, right) = grid(1, 2, (12, 4.6))
    viz.plot_transition_matrix(Markov(1).fit([kinds]), left, names=KINDS)
    contexts = [[a, b] for a in range(3) for b in range(3)]
    viz.plot_transition_matrix(Markov(2).fit([kinds]), right, names=KINDS, contexts=contexts)
    return figure


def transition_graph():
    figure, (left, right) = grid(1, 2, (12, 5.4))
    viz.plot_transition_graph(Markov(1).fit([kinds_of_characters()]), left, names=KINDS)
    viz.plot_transition_graph(three_states()[0], right, names=LEVELS)
    return figure


# ---------------------------------------------------------------- chains: hidden states and regimes


def three_states():
    """A hidden Markov model of three states, fitted to a series that was drawn from such a model."""
    true = HiddenMarkov(3, "gaussian")
    true.startprob_ = [1, 0, 0]
    true.transmat_ = [[0.96, 0.03, 0.01], [0.05, 0.93, 0.02], [0.06, 0.03, 0.91]]
    true.means_, true.covars_ = [[0.0], [1.5], [-2.0]], [[0.3], [0.5], [0.8]]
    x = true.sample(1500, seed=3)
    model = HiddenMarkov(3, "gaussian", n_init=3, random_state=0).fit([x])
    order = [int(np.argmin(np.abs(model.means_ - m))) for m in (0.0, 1.5, -2.0)]
    again = HiddenMarkov(3, "gaussian")
    again.startprob_, again.transmat_ = model.startprob_[order], model.transmat_[order][:, order]
    again.means_, again.covars_ = model.means_[order], model.covars_[order]
    return again, x


def vowels():
    """A hidden Markov model of two states, fitted to letters, which finds vowels and consonants."""
    corpus = Corpus.topics()
    text = "".join(c if c.isalpha() else " " for c in corpus.decode(corpus.train[:60_000]).lower())
    text = " ".join(text.split())
    return HiddenMarkov(2, n_init=3, random_state=0, emissionprob_prior=1.01).fit([text]), text


def two_regimes():
    """A switching autoregression fitted to a series that is calm or not."""
    true = SwitchingAutoRegressive(2, order=1, switching_ar=False, switching_variance=True)
    true.transmat_ = [[0.97, 0.03], [0.08, 0.92]]
    true.means_, true.coef_ = [[0.8], [-0.8]], np.full((2, 1, 1, 1), 0.4)
    true.covars_ = [[[0.15]], [[1.2]]]
    x = true.sample(400, seed=1)
    return SwitchingAutoRegressive(2, order=1, switching_ar=False, switching_variance=True, random_state=0).fit([x]), x


def hidden_states():
    model, x = three_states()
    letters, text = vowels()
    figure, (top, bottom) = grid(2, 1, (10, 8))
    viz.plot_hidden_states(model, top, sequence=x[:300], names=LEVELS)
    viz.plot_hidden_states(letters, bottom, sequence=text[203:270])
    return figure


def regimes():
    model, x = two_regimes()
    calm = int(np.argmin(model.covars_.ravel()))
    names = ["calm", "crisis"] if calm == 0 else ["crisis", "calm"]
    figure, (ax,) = grid(1, 1, (10, 4.4))
    viz.plot_hidden_states(model, ax, sequence=x, names=names)
    return figure


# ---------------------------------------------------------------- why gradients vanish and explode


def slopes(nets):
    """Of a sigmoid and a tanh RNN as they begin, and of the trained LSTM that reads text."""
    x = np.random.default_rng(0).normal(size=(100, 8, 16))
    figure, axes = grid(1, 3, (13, 5.6))
    runs = {
        "RNN with σ, as it begins": rc.RNN(16, 64, nonlinearity="sigmoid", seed=0).record(x),
        "RNN with tanh, as it begins": rc.RNN(16, 64, seed=0).record(x),
        "LSTM, trained on text": nets["text"].tape,
    }
    for ax, (name, tape) in zip(axes, runs.items(), strict=True):
        viz.plot_slopes(tape, ax)
        ax.set_title(f"{name}\n{ax.get_title()}", fontsize="medium")
    return figure


def clipping():
    """The norms of a tanh RNN with large recurrent weights on the adding problem, clipped to 1."""
    task = Adding(60, seed=0)
    network = task.network("rnn-tanh", 32, seed=0)
    rc.init.orthogonal(network, 1.3, seed=0)
    windows = [task.batch(32, k) for k in range(400)]
    norms = []
    Trainer(
        network, Adam(network, 1e-3), windows, max_norm=1.0, callbacks=[lambda trainer: norms.append(trainer.grad_norm)]
    ).fit(len(windows), progress=False)
    figure, (ax,) = grid(1, 1, (10, 4))
    viz.plot_clipping(np.array(norms), ax, max_norm=1.0)
    return figure


# One unit h_t = σ(w·h_{t−1} + b) without an input, over 30 steps from h = 0.5; the last should be 0.7.
STEPS, TARGET, START = 30, 0.7, np.full((1, 1, 1), 0.5)
TWO = {"weight_hh_l0": (0, 0), "bias_ih_l0": (0,)}


def one_unit(w=0.0, b=0.0):
    layer = rc.RNN(1, 1, nonlinearity="sigmoid", dtype="float64", seed=0)
    with layer.writable() as weights:
        for name in list(weights):
            weights[name][...] = {"weight_hh_l0": w, "bias_ih_l0": b}.get(name, 0.0)
    return layer


def descent(max_norm, begin=(5.0, -2.3), lr=0.5, updates=60):
    """Weights and losses of gradient descent on w and b, with the gradient clipped to `max_norm`."""
    layer, nothing = one_unit(*begin), np.zeros((STEPS, 1, 1))
    points, losses = [], []
    for _ in range(updates + 1):
        tape = layer.record(nothing, START)
        error = tape.output[-1, 0, 0] - TARGET
        points.append([layer.parameters[name][index] for name, index in TWO.items()])
        losses.append(error**2)
        gradient = np.zeros_like(tape.output)
        gradient[-1] = 2 * error
        every = tape.backward(gradient).parameters
        grads = {name: every[name] for name in TWO}
        clip_grad_norm(grads, max_norm)
        with layer.writable() as weights:
            for name, grad in grads.items():
                weights[name] -= lr * grad
    return np.array(points), np.array(losses)


def loss_plane():
    plane = viz.loss_plane(
        one_unit(), np.zeros((STEPS, 1, 1)), lambda y: float((y[-1, 0, 0] - TARGET) ** 2), along=tuple(TWO.items()),
        x=np.linspace(2.8, 6, 161), y=np.linspace(-5, -1.2, 191), state=START,
    )  # fmt: skip
    plane = plane._replace(names=("recurrent weight w", "bias b"))
    figure, (ax,) = grid(1, 1, (9, 5))
    viz.plot_loss_plane(plane, ax, paths={"without clipping": descent(math.inf), "clipped to 0.1": descent(0.1)})
    line = {"arrowstyle": "-", "color": "white"}
    ax.annotate("both begin here", (5.0, -2.3), (5.15, -2.05), color="white", arrowprops=line)
    return figure


def recurrence():
    """A small RNN that has read Python's documentation for a moment."""
    corpus = Corpus.topics()
    model = sequence_model("rnn-tanh", len(corpus.vocabulary), hidden_size=12, embedding_size=8, seed=0)
    Trainer(model, Adam(model, 5e-3), batches(corpus.train, 32, 32)).fit(150, progress=False)
    read = corpus.encode("a list is a mutable sequence")
    figure, (ax,) = grid(1, 1, (10, 4.6))
    viz.plot_recurrence(model.record(read[:, None]), ax, tokens=list(corpus.decode(read)))
    return figure


def cells():
    """One step of the three cells, from the same input."""
    x = np.random.default_rng(0).normal(size=(20, 1, 8))
    figure, axes = grid(3, 1, (9, 10.5), height_ratios=(0.7, 1, 1))
    for ax, cell in zip(axes, (rc.RNN, rc.GRU, rc.LSTM), strict=True):
        viz.plot_cell(cell(8, 16, seed=0).record(x), ax)
        ax.set_title(f"{cell.__name__}: {ax.get_title()}")
    return figure


# name -> how to draw it; `slopes` alone needs the trained networks.
FIGURES = {
    "coefficients": coefficients, "forecast": forecast, "forecasts": forecasts, "transition_matrix": transition_matrix,
    "transition_graph": transition_graph, "hidden_states": hidden_states, "regimes": regimes, "clipping": clipping,
    "loss_plane": loss_plane, "recurrence": recurrence, "cells": cells,
}  # fmt: skip


def drawn():
    """The names of the plots that only this file draws."""
    found = ["coefficients", "forecast", "transition_matrix", "transition_graph", "hidden_states", "slopes", "clipping",
             "loss_plane", "recurrence"]
    return [f"plot_{name}" for name in found]


def pictures(nets, only=None):
    """(name, figure) for each figure whose name contains `only`."""
    for name, draw in {**FIGURES, "slopes": lambda: slopes(nets)}.items():
        if only is None or only in name:
            with viz.style.context():
                yield name, draw()
