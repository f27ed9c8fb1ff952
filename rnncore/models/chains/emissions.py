"""The distributions of a step in each hidden state: symbols or Gaussian vectors.

An emission is made from its parameters, and never changes. ``on(x)`` returns the likelihoods of the rows of x for the
recursions; ``maximise(sums, …)`` is the M-step, which computes new parameters from the sums of the recursions;
``predict(weights)`` is the mixture of the states' distributions, and ``sample`` draws from them. Priors and their
defaults are those of hmmlearn (Huang, Acero and Hon, Spoken Language Processing, 2001, p. 443-445).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from rnncore import _hidden_markov

if TYPE_CHECKING:
    from rnncore._typing import Floats
    from rnncore.models.interface.sequences import Codes

TINY = np.finfo(float).tiny


class CategoricalEmission:
    """Symbols with the probabilities ``emissionprob`` (n, V). Rows are int64 (N,); negative ones are missing values."""

    def __init__(self, emissionprob: Floats) -> None:
        self.emissionprob = emissionprob

    def on(self, x: Codes) -> _hidden_markov.Symbols:
        return _hidden_markov.Symbols(x, self.emissionprob)

    def maximise(self, sums: Floats, prior: float | Floats) -> Floats:
        """The new emissionprob (n, V), for a Dirichlet prior, from expected counts `sums` (V, n or more)."""
        n = len(self.emissionprob)
        counts = np.maximum(prior - 1 + sums[:, :n].T, 0)
        return normalised(counts, self.emissionprob)

    def predict(self, weights: Floats) -> Floats:
        """The probabilities (…, V) of the symbols if the states have the probabilities `weights` (…, n)."""
        mixture: Floats = weights @ self.emissionprob
        return mixture

    def sample(self, states: Codes, rng: np.random.Generator) -> Codes:
        """One symbol for each of `states`."""
        cdf = np.cumsum(self.emissionprob, axis=1)
        below = rng.random(len(states))[:, None] * cdf[states, -1:] >= cdf[states]
        symbols: Codes = below.sum(axis=1)
        return symbols


class GaussianEmission:
    """Gaussian vectors with ``means`` (n, F) and ``covars`` (n, F) or (n, F, F). A row with a NaN is missing."""

    def __init__(self, means: Floats, covars: Floats) -> None:
        self.means, self.covars, self.full = means, covars, covars.ndim == 3
        self._whiten, log_det = _whitening(covars)
        self._constant: Floats = -0.5 * (means.shape[1] * np.log(2 * np.pi) + log_det)

    def on(self, x: Floats) -> _hidden_markov.Vectors:
        return _hidden_markov.Vectors(x, self.means, self._whiten, self._constant)

    def maximise(
        self,
        sums: Floats,
        means_prior: float | Floats,
        means_weight: float | Floats,
        covars_prior: float | Floats,
        covars_weight: float,
    ) -> tuple[Floats, Floats]:
        """New (means, covars) from `sums`, the moments (n_sums, n or more) about the present means.

        A state without evidence keeps its mean, unless `means_weight` is above 0, and a full covariance, unless
        `covars_weight` is above F. A diagonal covariance is then determined by its prior alone, as in hmmlearn.
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

    def predict(self, weights: Floats) -> tuple[Floats, Floats]:
        """Mean and variance (…, F) of the mixture in which the states have the probabilities `weights` (…, n)."""
        variances = np.diagonal(self.covars, axis1=1, axis2=2) if self.full else self.covars
        mean = weights @ self.means
        # sum_i w_i (v_i + (m_i - mean)^2): unlike E[x^2] - mean^2 it is not a difference of large numbers
        apart = (self.means - mean[..., None, :]) ** 2 + variances
        return mean, np.einsum("...n,...nf->...f", weights, apart)

    def sample(self, states: Codes, rng: np.random.Generator) -> Floats:
        """One vector for each of `states`."""
        noise = rng.standard_normal((len(states), self.means.shape[1]))
        if not self.full:
            drawn: Floats = self.means[states] + noise * np.sqrt(self.covars)[states]
        else:
            drawn = self.means[states] + np.einsum("tij,tj->ti", cholesky(self.covars)[states], noise)
        return drawn


# ------------------------------------------------------------------------------- arithmetic
def normalised(counts: Floats, otherwise: float | Floats) -> Floats:
    """Divide every row of `counts` by its sum; a row whose sum is 0 is replaced by that of `otherwise`."""
    total = counts.sum(axis=-1, keepdims=True)
    found = np.empty_like(counts)
    found[...] = otherwise
    np.divide(counts, total, out=found, where=total > 0)
    return found


def outer(v: Floats) -> Floats:
    """The outer product v v' of every row, (n, F) to (n, F, F)."""
    products: Floats = v[:, :, None] * v[:, None, :]
    return products


def symmetric(lower: Floats, F: int) -> Floats:
    """Symmetric matrices (n, F, F) from lower triangles (n, F (F + 1) / 2)."""
    out = np.empty((len(lower), F, F))
    i, j = np.tril_indices(F)
    out[:, i, j] = lower
    out[:, j, i] = lower
    return out


def cholesky(covars: Floats) -> Floats:
    """The lower Cholesky factors of matrices (n, F, F).

    A matrix that is not positive definite gets 1e-7 added to its diagonal, as in hmmlearn; if this does not help, a
    ValueError is raised.
    """
    try:
        return cast("Floats", np.linalg.cholesky(covars))
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
                        f"covars_: that of state {state} is not positive definite, as happens "
                        "when a state has too little data; use fewer states, covariance_type='diag', "
                        "or a larger covars_prior (for full: a positive definite matrix)") from None
    return factors


def _whitening(covars: Floats) -> tuple[Floats, Floats]:
    """For every state W with W' W = covariance⁻¹, and the logarithm of the determinant of the covariance.

    W is lower triangular, and returned as its lower triangle, row after row, (n, F (F + 1) / 2). For diagonal
    covariances it is the diagonal, (n, F).
    """
    if covars.ndim == 2:
        covars = np.maximum(covars, TINY)
        return 1 / np.sqrt(covars), np.log(covars).sum(axis=1)
    F = covars.shape[1]
    factors = cholesky(covars)
    inverse = cast("Floats", np.linalg.solve(factors, np.broadcast_to(np.eye(F), factors.shape)))
    i, j = np.tril_indices(F)
    return inverse[:, i, j], 2 * np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
