"""What a hidden state emits: symbols or Gaussian vectors.

Each is made from its parameters, never changed. ``on(x)`` is its likelihood on rows,
for the recursions; ``maximise(sums, …)`` are the parameters after an EM step, from what
the recursions added up; ``predict(weights)`` mixes the states; ``sample`` draws. Priors and their
defaults are hmmlearn's (Huang, Acero and Hon, Spoken Language Processing, 2001,
p. 443-445).
"""

from __future__ import annotations

import numpy as np

from rnncore import _hidden_markov

TINY = np.finfo(float).tiny


class CategoricalEmission:
    """Symbols: ``emissionprob`` (n, V). Rows are int64 (N,), negative is missing."""

    def __init__(self, emissionprob):
        self.emissionprob = emissionprob

    def on(self, x):
        return _hidden_markov.Symbols(x, self.emissionprob)

    def maximise(self, sums, prior):
        """Expected counts `sums` (V, width) to an emissionprob (n, V)."""
        n = len(self.emissionprob)
        counts = np.maximum(prior - 1 + sums[:, :n].T, 0)
        return normalised(counts, self.emissionprob)

    def predict(self, weights):
        """Mixture of the states: weights (…, n) to (…, V)."""
        return weights @ self.emissionprob

    def sample(self, states, rng):
        cdf = np.cumsum(self.emissionprob, axis=1)
        below = rng.random(len(states))[:, None] * cdf[states, -1:] >= cdf[states]
        return below.sum(axis=1)


class GaussianEmission:
    """Vectors: ``means`` (n, F), ``covars`` (n, F) or (n, F, F). A row with a NaN is missing."""

    def __init__(self, means, covars):
        self.means, self.covars, self.full = means, covars, covars.ndim == 3
        self._whiten, log_det = _whitening(covars)
        self._constant = -0.5 * (means.shape[1] * np.log(2 * np.pi) + log_det)

    def on(self, x):
        return _hidden_markov.Vectors(x, self.means, self._whiten, self._constant)

    def maximise(self, sums, means_prior, means_weight, covars_prior, covars_weight):
        """Moments `sums` about the present means to new (means, covars).

        A state with no evidence keeps what it has.
        """
        n, F = self.means.shape
        post, first, second = np.split(sums[:, :n].T, [1, 1 + F], axis=1)
        weight = means_weight + post
        step = means_weight * (means_prior - self.means) + first
        step = np.where(weight > 0, step / np.where(weight > 0, weight, 1), 0)
        means = self.means + step
        shift = means - means_prior
        if not self.full:
            spread = second - 2 * step * first + step**2 * post + means_weight * shift**2
            weight = np.maximum(max(covars_weight - 1, 0) + post, 1e-5)
            return means, np.maximum((covars_prior + spread) / weight, TINY)
        cross = step[:, :, None] * first[:, None, :]
        spread = (symmetric(second, F) - cross - cross.transpose(0, 2, 1)
                  + outer(step) * post[:, :, None] + means_weight * outer(shift))
        weight = max(covars_weight - F, 0) + post[:, :, None]
        covars = (covars_prior + spread) / np.maximum(weight, 1e-5)
        return means, np.where(weight >= 1e-5, covars, self.covars)

    def predict(self, weights):
        """Mixture of the states: weights (…, n) to mean and variance (…, F)."""
        variances = np.diagonal(self.covars, axis1=1, axis2=2) if self.full else self.covars
        mean = weights @ self.means
        # sum_i w_i (v_i + (m_i - mean)^2): no difference of large squares
        apart = (self.means - mean[..., None, :]) ** 2 + variances
        return mean, np.einsum("...n,...nf->...f", weights, apart)

    def sample(self, states, rng):
        noise = rng.standard_normal((len(states), self.means.shape[1]))
        if not self.full:
            return self.means[states] + noise * np.sqrt(self.covars)[states]
        return self.means[states] + np.einsum("tij,tj->ti", cholesky(self.covars)[states], noise)


# ------------------------------------------------------------------------------- arithmetic
def normalised(counts, otherwise):
    """Rows that sum to 1; a row without counts keeps what it was."""
    total = counts.sum(axis=-1, keepdims=True)
    found = np.empty_like(counts)
    found[...] = otherwise
    return np.divide(counts, total, out=found, where=total > 0)


def outer(v):
    """v v' of every row."""
    return v[:, :, None] * v[:, None, :]


def symmetric(lower, F):
    """Symmetric matrices (n, F, F) from lower triangles (n, F (F + 1) / 2)."""
    out = np.empty((len(lower), F, F))
    i, j = np.tril_indices(F)
    out[:, i, j] = lower
    out[:, j, i] = lower
    return out


def cholesky(covars):
    """Lower factors; one that fails is tried once more with 1e-7 on the diagonal, as hmmlearn."""
    try:
        return np.linalg.cholesky(covars)
    except np.linalg.LinAlgError:
        pass
    factors = np.empty_like(covars)
    for state, covar in enumerate(covars):
        for extra in (0, 1e-7):
            try:
                factors[state] = np.linalg.cholesky(covar + extra * np.eye(len(covar)))
                break
            except np.linalg.LinAlgError:
                if extra:
                    raise ValueError(
                        f"covars_: that of state {state} is not positive definite, as a state "
                        "with too little data gets; use fewer states, covariance_type='diag', or "
                        "a larger covars_prior (for full: a positive definite matrix)") from None
    return factors


def _whitening(covars):
    """W with W' W the inverse covariance, by rows of its lower triangle, and log determinants."""
    if covars.ndim == 2:
        covars = np.maximum(covars, TINY)
        return 1 / np.sqrt(covars), np.log(covars).sum(axis=1)
    F = covars.shape[1]
    factors = cholesky(covars)
    inverse = np.linalg.solve(factors, np.broadcast_to(np.eye(F), factors.shape))
    i, j = np.tril_indices(F)
    return inverse[:, i, j], 2 * np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
