"""Sequence models: probabilities sum to 1, joints are products of conditionals, loaded models equal saved ones."""

import itertools
import tempfile
import warnings
from pathlib import Path

import chain_twin
import numpy as np
from scipy.special import logsumexp
from support import same_bits

from rnncore import models

SYMBOLS = ("Markov", "HiddenMarkov", "Recurrent")
REAL = ("AutoRegressive", "HiddenMarkov", "SwitchingAutoRegressive", "Recurrent")


def draw_model(draw, real, which=None):
    """A model with drawn settings, not fitted."""
    kind = which or draw.one_of("real model" if real else "model", REAL if real else SYMBOLS)
    order = draw.size("order", 0, 2)
    if kind == "Markov":
        smoothing = draw.one_of("smoothing", ("additive", "kneser-ney"))
        return models.Markov(order, smoothing=smoothing, alpha=draw.one_of("alpha", (0.1, 1.0)),
                             discount=draw.one_of("discount", (None, 0.5)))
    if kind == "AutoRegressive":
        return models.AutoRegressive(draw.one_of("orders", (0, 1, 3, "aic", "bic")), max_order=3,
                                     intercept=draw.flag("intercept"))
    if kind == "HiddenMarkov":
        return models.HiddenMarkov(draw.size("states", 1, 3), "gaussian" if real else "categorical",
                                   draw.one_of("covariance", ("diag", "full")), n_iter=draw.size("steps", 1, 4),
                                   random_state=draw.size("seed", 0, 9))
    if kind == "SwitchingAutoRegressive":
        return models.SwitchingAutoRegressive(
            draw.size("regimes", 1, 2), order, form=draw.one_of("form", ("mean", "intercept")),
            switching_ar=draw.flag("switching_ar"), switching_variance=draw.flag("switching_variance"),
            n_iter=draw.size("steps", 1, 4), random_state=draw.size("seed", 0, 9))
    cell = draw.one_of("net", ("rnn", "gru", "lstm", "rnn-relu", "rnn-sigmoid"))
    return models.Recurrent(
        cell, draw.size("H", 1, 5), draw.size("L", 1, 2), epochs=draw.size("epochs", 1, 2), window=4,
        batch_size=draw.size("lanes", 1, 4), dropout=draw.one_of("dropout", (0.0, 0.5)),
        target=draw.one_of("target", ("auto", "value", "difference")),
        dtype=draw.one_of("dtype", ("float32", "float64")), seed=draw.size("seed", 0, 9))


def draw_symbols(draw, size=3):
    """Sequences of some symbols, as text or as integers, and the function from a list of codes to that form."""
    lengths = [20, *draw.rng.integers(0, 12, draw.size("more sequences", 0, 4))]
    codes = [draw.rng.choice(size, n, p=draw.rng.dirichlet(np.ones(size) * 3)) for n in lengths]
    codes[0][:size] = np.arange(size)  # all of them occur
    text = draw.flag("text")
    form = (lambda ids: "".join("abc"[k] for k in ids)) if text else (lambda ids: np.asarray(ids, np.int64))
    return [form(ids) for ids in codes], form


def fit(model, *data):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "AutoRegressive: the fitted process is not stationary")
        warnings.filterwarnings("ignore", ".* parameters to .* values")
        return model.fit(*data)


def tolerance(model):
    """The tolerance of log probabilities; that of a network depends on its dtype."""
    return 1e-4 if getattr(model, "dtype", "") == "float32" else 1e-9


def symbols(draw):
    """Models of symbols against the laws of probability."""
    sequences, form = draw_symbols(draw)
    model, size = draw_model(draw, real=False), 3
    fit(model, sequences)
    tol = tolerance(model)
    n = draw.size("length", 0, 3)
    joint = [model.log_prob(form(ids)) for ids in itertools.product(range(size), repeat=n)]
    np.testing.assert_allclose(logsumexp(joint), 0, atol=tol)
    ids = draw.rng.integers(0, size, draw.size("T", 0, 9))
    ahead = np.array([model.predict(form(ids[:t])) for t in range(len(ids))]).reshape(len(ids), size)
    np.testing.assert_allclose(ahead.sum(-1), 1, atol=tol)
    np.testing.assert_allclose(model.one_step(form(ids)), ahead, atol=tol)
    steps = model.log_prob(form(ids), per_step=True)
    np.testing.assert_allclose(steps, np.log(ahead[np.arange(len(ids)), ids]), atol=tol, rtol=tol)
    np.testing.assert_allclose(model.log_prob(form(ids)), steps.sum(), atol=tol)
    shared(draw, model, sequences, form(ids))
    if isinstance(model, models.HiddenMarkov) and len(ids):
        likelihood = model.emissionprob_[:, ids].T
        total, gamma, _, paths = chain_twin.by_enumeration(model.startprob_, model.transmat_, likelihood[:5])
        np.testing.assert_allclose(model.log_prob(form(ids[:5])), np.log(total), atol=1e-9)
        np.testing.assert_allclose(model.posteriors(form(ids[:5])), gamma, atol=1e-9)
        best, path = model.decode(form(ids[:5]))
        np.testing.assert_allclose(best, np.log(max(paths.values())), atol=1e-9)
        np.testing.assert_allclose(paths[tuple(path)], max(paths.values()), rtol=1e-9)


def values(draw):
    """Models of real values against normal densities."""
    F, scale = draw.size("F", 1, 2), draw.one_of("scale", (0.1, 1, 50))
    sequences = [scale * np.cumsum(draw.normal(n, F), 0)
                 for n in (60, *draw.rng.integers(0, 20, draw.size("more sequences", 0, 3)))]
    model = fit(draw_model(draw, real=True), sequences)
    x = sequences[0][: draw.size("T", 0, 8)]
    steps = model.log_prob(x, per_step=True)
    np.testing.assert_allclose(model.log_prob(x), steps.sum(), atol=1e-9)
    mean, variance = model.one_step(x)
    for t in range(len(x)):
        ahead = model.predict(x[:t])
        np.testing.assert_allclose(ahead.mean, mean[t], **near(model, sequences))
        np.testing.assert_allclose(ahead.variance, variance[t], **near(model, sequences))
    if isinstance(model, models.AutoRegressive):
        order = model.order_
        for t in range(order, len(x)):
            center = model.intercept_ + sum(model.coef_[k] @ x[t - 1 - k] for k in range(order))
            np.testing.assert_allclose(mean[t], center, rtol=1e-9, atol=1e-9)
            density = chain_twin.gaussian_log_density(x[t : t + 1], [center], [model.covariance_])[0, 0]
            np.testing.assert_allclose(steps[t], density, rtol=1e-6, atol=1e-6)
    if isinstance(model, models.HiddenMarkov) and len(x):
        log_b = chain_twin.gaussian_log_density(x, model.means_, model.covars_)
        expected, gamma, _ = chain_twin.in_logs(model.startprob_, model.transmat_, log_b)
        np.testing.assert_allclose(steps, expected, rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(model.posteriors(x), gamma, atol=1e-7)
    shared(draw, model, sequences, x)


def near(model, sequences):
    size = max(np.abs(s).max(initial=0) for s in sequences)
    return {"rtol": tolerance(model), "atol": tolerance(model) * max(size, size**2)}


def shared(draw, model, sequences, sequence):
    """Properties of every model: scores, samples from a seed, and files."""
    full = [s for s in sequences if len(s)]
    mean = sum(model.log_prob(s) for s in full) / sum(len(s) for s in full)
    if not isinstance(model, models.SwitchingAutoRegressive):  # which leaves out the first of every sequence
        np.testing.assert_allclose(model.score(full), mean, rtol=1e-6, atol=1e-9)
        if mean > -700:  # beyond it the perplexity is infinite
            np.testing.assert_allclose(model.perplexity(full), np.exp(-mean), rtol=1e-6)
    length, seed = draw.size("sampled", 0, 4), draw.size("sample seed", 0, 99)
    context = full[0] if draw.flag("context") else None
    sample = model.sample(length, context, seed=seed)
    assert len(sample) == length
    assert isinstance(sample, str) == isinstance(sequences[0], str)
    same(sample, model.sample(length, context, seed=seed))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        model.save(path)
        for again in (type(model).load(path), models.load(path)):
            same_bits(again.log_prob(sequence, True), model.log_prob(sequence, True), "a loaded model")
            same(again.sample(length, context, seed=seed), sample)


def same(a, b):
    assert type(a) is type(b)
    assert a == b if isinstance(a, str) else np.array_equal(a, b)


def classifiers(draw):
    """Labels or numbers of whole sequences; a sequence alone gives the same result as in a list."""
    cell, readout = draw.one_of("net", ("rnn", "gru", "lstm")), draw.one_of("readout", ("last", "mean"))
    H, seed = draw.size("H", 1, 5), draw.size("seed", 0, 9)
    model = models.SequenceClassifier(cell, H, epochs=2, readout=readout, seed=seed)
    if draw.flag("real"):
        X = [draw.normal(n, 2) for n in draw.rng.integers(0, 6, 12)]
        X[0] = draw.normal(6, 2)
    else:
        X = draw_symbols(draw)[0] * 6
    y = np.arange(len(X)) % 3 if draw.flag("labels") else draw.normal(len(X))
    fit(model, X, y)
    answers = model.predict(X)
    assert answers.shape == (len(X),)
    if model.task_ == "label":
        p = model.predict_proba(X)
        np.testing.assert_allclose(p.sum(1), 1, atol=1e-6)
        assert (model.classes_[p.argmax(1)] == answers).all()
        np.testing.assert_allclose(model.score(X, y), (answers == y).mean())
    row = draw.size("row", 0, len(X) - 1)
    np.testing.assert_allclose(model.predict([X[row]])[0], answers[row], rtol=1e-4, atol=1e-5)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        model.save(path)
        same_bits(models.load(path).predict(X), answers, "a loaded model")
