"""What hidden Markov chains must equal, in plain numpy, and models to try it on."""

import itertools

import numpy as np
from scipy.special import logsumexp

from rnncore.models import HiddenMarkov


def enumerate_paths(startprob, transmat, likelihood):
    """Yields every path z with p(z, x), from the definition; `likelihood` is (T, n)."""
    T, n = likelihood.shape
    for path in itertools.product(range(n), repeat=T):
        p = startprob[path[0]] * likelihood[0, path[0]]
        for t in range(1, T):
            p *= transmat[path[t - 1], path[t]] * likelihood[t, path[t]]
        yield path, p


def by_enumeration(startprob, transmat, likelihood):
    """p(x), posteriors (T, n), expected transitions (n, n), and every path's p(z, x) as a dict."""
    T, n = likelihood.shape
    total, gamma, pairs = 0.0, np.zeros((T, n)), np.zeros((n, n))
    paths = dict(enumerate_paths(startprob, transmat, likelihood))
    for path, p in paths.items():
        total += p
        gamma[range(T), path] += p
        np.add.at(pairs, (path[:-1], path[1:]), p)
    scale = total or 1.0
    return total, gamma / scale, pairs / scale, paths


def in_logs(startprob, transmat, log_b):
    """log p(x_t | x_<t) (T,), posteriors and expected transitions, by log-sum-exp."""
    with np.errstate(divide="ignore"):
        start, trans = np.log(startprob), np.log(transmat)
    T, n = log_b.shape
    alpha, beta = np.empty((T, n)), np.zeros((T, n))
    alpha[0] = start + log_b[0]
    for t in range(1, T):
        alpha[t] = logsumexp(alpha[t - 1][:, None] + trans, axis=0) + log_b[t]
    for t in range(T - 2, -1, -1):
        beta[t] = logsumexp(trans + log_b[t + 1] + beta[t + 1], axis=1)
    total = logsumexp(alpha, axis=1)
    gamma = np.exp(alpha + beta - total[-1])
    pairs = sum((np.exp(alpha[t - 1][:, None] + trans + log_b[t] + beta[t] - total[-1])
                 for t in range(1, T)), start=np.zeros((n, n)))
    return np.diff(total, prepend=0.0), gamma, pairs


def gaussian_log_density(x, means, covars):
    """(T, n) from the definition, one state and one row at a time."""
    out = np.empty((len(x), len(means)))
    for i, (mean, covar) in enumerate(zip(means, covars, strict=True)):
        covar = np.diag(covar) if covar.ndim == 1 else covar
        precision, log_det = np.linalg.inv(covar), np.linalg.slogdet(2 * np.pi * covar)[1]
        out[:, i] = [-0.5 * ((v - mean) @ precision @ (v - mean) + log_det) for v in x]
    return out


# -- models and data to try ----------------------------------------------------------------
LENGTHS = (30, 1, 120, 2, 77)
PARAMETERS = {
    "categorical": ("startprob_", "transmat_", "emissionprob_"),
    "gaussian": ("startprob_", "transmat_", "means_", "covars_"),
}


def set_parameters(model, values):
    for name, value in values.items():
        setattr(model, name, value)
    return model


def random_parameters(rng, n, kind, symbols=7, F=3):
    values = {"startprob_": rng.dirichlet(np.ones(n)),
              "transmat_": rng.dirichlet(np.ones(n), size=n)}
    if kind == "categorical":
        return values | {"emissionprob_": rng.dirichlet(np.ones(symbols), size=n)}
    root = rng.normal(size=(n, F, F)) + 2 * np.eye(F)
    covars = root @ root.transpose(0, 2, 1) if kind == "full" else rng.uniform(0.5, 4, (n, F))
    return values | {"means_": 3 * rng.normal(size=(n, F)), "covars_": covars}


def random_sequences(rng, kind, symbols=7, F=3, lengths=LENGTHS):
    """Symbols, or vectors in a few clusters, so that every state has some data."""
    if kind == "categorical":
        return [rng.integers(0, symbols, k) for k in lengths]
    places = 4 * rng.normal(size=(5, F)) + 10
    return [places[rng.integers(0, 5, k)] + rng.normal(size=(k, F)) for k in lengths]


def ours(kind, n, values, **options):
    if kind == "categorical":
        return set_parameters(HiddenMarkov(n, **options), values)
    return set_parameters(HiddenMarkov(n, "gaussian", kind, **options), values)
