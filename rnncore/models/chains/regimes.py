"""Regressions between which a hidden regime switches: densities, and the M-step from weighted sums.

A setting τ is the current regime s_t, and in the mean form also the regimes of the last `order` steps (see
``settings.py``). A row is z_t = [y_t, y_{t-1}, …, y_{t-order}]. In every setting the residual r is an affine function
of it,

    r = y_t − Σ_k Φ_{s_t,k} y_{t-k} − c_τ
    c_τ = ν_{s_t}                               intercept form
    c_τ = μ_{s_t} − Σ_k Φ_{s_t,k} μ_{s_{t-k}}   mean form

where Φ are the coefficients, μ the means and ν the intercepts. With the posterior probabilities γ_t(τ), the M-step
needs the sums of γ and of γ z for every setting, and those of γ z z' for every regime alone. F is the number of columns
of y_t, and D = (order + 1)·F that of a row.

A regression falls apart by regime, and by column of y_t, wherever the coefficients do not tie these together: that of a
regime with its own coefficients has order·F unknowns for each column, whatever the covariances are, because all columns
have the same regressors (Zellner 1962). Coefficients that all regimes share, while their covariances differ, are
updated column by column.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np

from rnncore.models.interface.scale import positive

if TYPE_CHECKING:
    from rnncore._typing import Array, Floats
    from rnncore.models.interface.sequences import Codes

    from .settings import Settings

# A regressor is left out of a regression if its variance there is below this share of what it is over all data, and a
# direction of the regressors if its share of the largest variance is below the second. Rounding is 1e-16 of it.
NO_VARIANCE = 1e-12
NO_DIRECTION = 1e-13
LEAST_WEIGHT = 1e-5         # a regime with less data keeps its covariance


class RegimeEmission:
    """The Gaussian distribution of y_t in every setting, given the elements before it; rows are z (N, D).

    Parameters
    ----------
    settings : Settings
    level : ndarray (K, F)
        μ in the mean form, and ν in the intercept form.
    coef : ndarray (K, order, F, F)
    covars : ndarray (K, F, F)
    mean_form : bool
    """

    def __init__(self, settings: Settings, level: Floats, coef: Floats, covars: Floats, mean_form: bool) -> None:
        self.settings, self.level, self.coef, self.covars = settings, level, coef, covars
        self.mean_form = mean_form
        self.constants = constants(settings, level, coef, mean_form)
        K, order, F, _ = coef.shape
        # (K, D, F): r + c_τ = z @ lags[s] in regime s
        self.lags = np.concatenate([np.tile(np.eye(F), (K, 1, 1)),
                                    -coef.transpose(0, 1, 3, 2).reshape(K, order * F, F)], axis=1)
        factors = np.linalg.cholesky(covars)
        self._whiten = cast("Floats", np.linalg.inv(factors)).transpose(0, 2, 1)
        self._constant = (-0.5 * F * np.log(2 * np.pi)
                          - np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1))

    def log_densities(self, z: Floats, width: int) -> Floats:
        """The log densities of rows (N, D) in every setting, (N, width), with -inf after the first n columns.

        A row with NaN has log density 0 in every setting, so that it gives no evidence.
        """
        each, n = self.settings.each, self.settings.n
        out = np.empty((len(z), width))
        out[:, n:] = -np.inf
        for s, (lags, whiten) in enumerate(zip(self.lags, self._whiten, strict=True)):
            here = out[:, s * each : (s + 1) * each]
            level = self.constants[s * each : (s + 1) * each] @ whiten
            seen = z @ lags @ whiten
            here[...] = 0
            for f in range(level.shape[1]):
                apart = seen[:, f, None] - level[:, f]
                apart *= apart
                here += apart
            here *= -0.5
            here += self._constant[s]
        out[np.isnan(out[:, 0]), :n] = 0
        return out


def constants(settings: Settings, level: Floats, coef: Floats, mean_form: bool) -> Floats:
    """c_τ of every setting, (n, F)."""
    K, F = level.shape
    if not mean_form:
        return np.repeat(level, settings.each, axis=0)
    out = np.empty((K, settings.each, F))
    for s in range(K):
        pulled = np.einsum("kij,mj->kmi", coef[s], level)    # lag, the regime there, feature
        if settings.depth == 1:  # all means are equal
            out[s] = level[s] - pulled[:, s].sum(axis=0)
            continue
        out[s] = level[s]
        for k, pull in enumerate(pulled):
            out[s].reshape(K**k, K, -1, F)[...] -= pull[:, None]
    return out.reshape(settings.n, F)


# --------------------------------------------------------------------------------- the M-step
class Sums:
    """What the M-step needs of the rows and of the posterior probabilities of the settings.

    Parameters
    ----------
    settings : Settings
    z : ndarray (N, D)
        The rows of all sequences. One with a NaN is missing, and adds nothing to the moments.
    first_rows : ndarray of int
        The numbers of the first rows of the sequences.

    Attributes
    ----------
    weight, first : ndarray (n,), (n, D)
        The sums of γ and of γ z, for each setting.
    second : ndarray (K, D, D)
        The sums of γ z z', for each regime.
    visits, starts : ndarray (n,)
        The sums of γ over all steps but the first of every sequence, and over the first ones; missing rows are counted.
    """

    def __init__(self, settings: Settings, z: Floats, first_rows: Codes) -> None:
        self.settings, self._first_rows = settings, first_rows
        self._missing = cast("Array", np.isnan(z).any(axis=1))
        self._z = np.where(self._missing[:, None], 0, z) if self._missing.any() else z
        n, D = settings.n, z.shape[1]
        self.weight, self.first, self.second = np.zeros(n), np.zeros((n, D)), np.zeros((settings.K, D, D))
        self.visits, self.starts = np.zeros(n), np.zeros(n)

    def add(self, begin: int, end: int, gamma: Floats) -> None:
        """Add the rows from number `begin` to the one before `end`, with their posterior probabilities (rows, n)."""
        first = self._first_rows
        starts = gamma[first[(first >= begin) & (first < end)] - begin].sum(axis=0)
        self.starts += starts
        self.visits += gamma.sum(axis=0) - starts
        missing, z = self._missing[begin:end], self._z[begin:end]
        if missing.any():
            gamma = np.where(missing[:, None], 0, gamma)
        self.weight += gamma.sum(axis=0)
        self.first += gamma.T @ z
        by_regime = gamma.reshape(len(gamma), self.settings.K, self.settings.each).sum(axis=2)
        for s in range(self.settings.K):
            self.second[s] += (z * by_regime[:, s, None]).T @ z


def maximise(
    emission: RegimeEmission, sums: Sums, switching: Mapping[str, bool], least: Floats, shift: Floats
) -> tuple[Floats, Floats, Floats]:
    """The M-step: new (level, coef, covars), with which the expected log likelihood is not lower.

    In the mean form the levels are updated with the old coefficients, then the coefficients with the new levels, and
    then the covariances, because all of them together are not the solution of a linear regression. What the data do not
    determine keeps its value.

    Parameters
    ----------
    emission : RegimeEmission
        The one with which the E-step was computed.
    sums : Sums
    switching : mapping of str to bool
        For each of "mean", "ar" and "variance": whether every regime has its own.
    least : ndarray (F, F)
        The new covariances are not smaller than this one, in any direction.
    shift : ndarray (F,)
        What was subtracted from the data. In the intercept form, an intercept that does not switch is that of the data
        before that.
    """
    settings, level, coef, covars = emission.settings, emission.level, emission.coef, emission.covars
    K, order, F, _ = coef.shape
    weight = settings.by_regime(sums.weight)
    precision = cast("Floats", np.linalg.inv(covars))
    if emission.mean_form:
        level = _levels(emission, precision, sums, switching["mean"])
        G = _deviations(settings, level, sums)
        own = np.full(order * F, switching["ar"])
        B = _regress(G[:, F:, F:], G[:, F:, :F], _as_rows(coef), precision, own, weight)
        residual = np.concatenate([np.tile(np.eye(F), (K, 1, 1)), -B.transpose(0, 2, 1)], axis=2)
        coef = _as_coef(B, coef)
    else:
        G = _moments(settings, sums)
        keep = np.r_[0, 1 + F : G.shape[1]]  # 1 and the lags
        tied = switching["ar"] and not switching["mean"]
        own = np.r_[switching["mean"] or tied, np.full(order * F, switching["ar"])]
        B, M = np.concatenate([level[:, None], _as_rows(coef)], axis=1), G[:, keep[:, None], keep]
        B = _regress(M, G[:, keep, 1 : 1 + F], B, precision, own, weight)
        if tied:
            B = _tie(B, M, precision, weight, np.concatenate([[1.0], -np.tile(shift, order)]))
        residual = np.concatenate([-B[:, :1].transpose(0, 2, 1), np.tile(np.eye(F), (K, 1, 1)),
                                   -B[:, 1:].transpose(0, 2, 1)], axis=2)
        level, coef = B[:, 0].copy(), _as_coef(B[:, 1:], coef)
    squares = residual @ G @ residual.transpose(0, 2, 1)
    if not switching["variance"]:
        squares, weight = squares.sum(axis=0, keepdims=True), weight.sum(keepdims=True)
    known = weight > LEAST_WEIGHT
    found = at_least(squares / np.where(known, weight, 1)[:, None, None], least)
    return level, coef, np.where(known[:, None, None], found, covars)


def at_least(covars: Floats, least: Floats) -> Floats:
    """The matrices (…, F, F) with the variances below those of `least` (F, F) raised to these, in any direction.

    Among all covariances that are not smaller than `least` these are the most probable ones.
    """
    root = np.linalg.cholesky(least)
    inverse = np.linalg.inv(root)
    covars = (covars + np.swapaxes(covars, -1, -2)) / 2
    share, axes = np.linalg.eigh(inverse @ covars @ inverse.T)
    if (share < 1).any():
        axes = root @ axes
        covars = (axes * np.maximum(share, 1)[..., None, :]) @ np.swapaxes(axes, -1, -2)
    return positive(covars)


def _levels(emission: RegimeEmission, precision: Floats, sums: Sums, switching: bool) -> Floats:
    """The best μ given Φ and Σ, by generalised least squares.

    The residual is linear in μ: r = z_t @ lags − Σ_k C_{s_t,k} μ_{s_{t-k}}, with C_0 = 1 and C_k = −Φ_k.
    """
    settings, level, coef = emission.settings, emission.level, emission.coef
    K, order, F, _ = coef.shape
    C = np.concatenate([np.tile(np.eye(F), (K, 1, 1, 1)), -coef], axis=1)
    if settings.depth == 1:     # all steps have the same mean
        C, order = C.sum(axis=1, keepdims=True), 0
    PC = precision[:, None] @ C
    residual = np.concatenate([sums.first[s * settings.each : (s + 1) * settings.each] @ emission.lags[s]
                               for s in range(K)]) - emission.constants * sums.weight[:, None]
    left, slope = np.zeros((K, F, K, F)), np.zeros((K, F))
    for k in range(order + 1):
        slope += np.einsum("sab,sja->jb", PC[:, k], settings.by_pair(residual, k))
        for m in range(k, order + 1):
            both = C[:, k].transpose(0, 2, 1) @ PC[:, m]
            part = np.einsum("sij,sab->iajb", settings.by_triple(sums.weight, k, m), both)
            left += part
            if m > k:
                left += part.transpose(2, 3, 0, 1)
    unit = np.einsum("s,saa->a", settings.by_regime(sums.weight), precision)
    if not switching:
        shift = _solve(left.sum(axis=(0, 2)), slope.sum(axis=0)[:, None], unit)
        return level + shift[:, 0]
    shift = _solve(left.reshape(K * F, K * F), slope.reshape(-1, 1), np.tile(unit, K))
    return level + shift.reshape(K, F)


def _deviations(settings: Settings, level: Floats, sums: Sums) -> Floats:
    """Σ_t Σ_τ γ_t(τ) (z_t − m_τ) (z_t − m_τ)' of every regime, (K, D, D); m_τ are the means of the regimes of τ."""
    K, F = level.shape
    D = sums.first.shape[1]
    lags = D // F
    if settings.depth == 1:
        mean = np.tile(level, lags)
        half = (sums.first - sums.weight[:, None] * mean / 2)[:, :, None] * mean[:, None]
        alone: Floats = sums.second - half - half.transpose(0, 2, 1)
        return alone
    cross, means = np.empty((K, D, lags, F)), np.empty((K, lags, F, lags, F))
    for k in range(lags):
        cross[:, :, k] = np.einsum("sjd,jf->sdf", settings.by_pair(sums.first, k), level)
        for m in range(k, lags):
            means[:, k, :, m] = np.einsum("sij,ia,jb->sab", settings.by_triple(sums.weight, k, m), level, level)
            means[:, m, :, k] = means[:, k, :, m].transpose(0, 2, 1)
    cross = cross.reshape(K, D, D)
    found: Floats = sums.second - cross - cross.transpose(0, 2, 1) + means.reshape(K, D, D)
    return found


def _moments(settings: Settings, sums: Sums) -> Floats:
    """Σ_t γ_t(s) [1 z_t] [1 z_t]' of every regime, (K, 1 + D, 1 + D)."""
    K, D = settings.K, sums.first.shape[1]
    G = np.empty((K, 1 + D, 1 + D))
    G[:, 0, 0], G[:, 1:, 1:] = settings.by_regime(sums.weight), sums.second
    G[:, 0, 1:] = G[:, 1:, 0] = settings.by_regime(sums.first)
    return G


def _as_rows(coef: Floats) -> Floats:
    """Coefficients (K, order, F, F) as those of a regression, (K, order·F, F)."""
    K, order, F, _ = coef.shape
    return coef.transpose(0, 1, 3, 2).reshape(K, order * F, F)


def _as_coef(B: Floats, coef: Floats) -> Floats:
    """Regression coefficients (K, order·F, F) in the shape of `coef`, (K, order, F, F)."""
    K, order, F, _ = coef.shape
    return np.ascontiguousarray(B.reshape(K, order, F, F).transpose(0, 1, 3, 2))


def _regress(M: Floats, N: Floats, B: Floats, precision: Floats, own: Array, weight: Floats) -> Floats:
    """Better coefficients of all regressions, at least as good as B; the best ones if one solution gives these.

    Parameters
    ----------
    M, N : ndarray (K, p, p), (K, p, F)
        The sums of the products of the regressors, and of regressors and targets, in every regime.
    B : ndarray (K, p, F)
        The present coefficients, the same in all regimes for a regressor that is not `own`.
    precision : ndarray (K, F, F)
        The inverses of the covariances of the residuals.
    own : ndarray of bool (p,)
        Whether every regime has its own coefficients for this regressor.
    weight : ndarray (K,)
        The sums of the weights.
    """
    if not len(own):
        return B
    B, slope = B.copy(), N - M @ B
    shared = ~own
    own_M, across = M[:, own][:, :, own], M[:, own][:, :, shared]
    if shared.any():
        # What remains of the shared regressors when those of one's own are regressed out (Frisch and Waugh 1933).
        rest = M[:, shared][:, :, shared]
        shared_slope = slope[:, shared]
        if own.any():
            out = np.stack([_solve(m, np.concatenate([a, s], axis=1), np.full(len(m), w)) for m, a, s, w in zip(
                own_M, across, slope[:, own], weight, strict=True)])
            q = shared.sum()
            rest = rest - across.transpose(0, 2, 1) @ out[:, :, :q]
            shared_slope = shared_slope - across.transpose(0, 2, 1) @ out[:, :, q:]
        if (precision == precision[0]).all():  # then the columns do not depend on each other
            precision = np.broadcast_to(np.eye(N.shape[2]), precision.shape)
        for f in range(N.shape[2]):
            share = precision[:, f, f]
            pull = np.einsum("spg,sg->p", shared_slope, precision[:, :, f])
            step = _solve(np.einsum("s,spq->pq", share, rest), pull[:, None], np.full(len(pull), weight @ share))
            B[:, shared, f] += step[:, 0]
            shared_slope[:, :, f] -= rest @ step[:, 0]
        slope = N - M @ B
    if own.any():
        for s, w in enumerate(weight):
            B[s, own] += _solve(own_M[s], slope[s, own], np.full(own.sum(), w))
    return B


def _tie(B: Floats, M: Floats, precision: Floats, weight: Floats, g: Floats) -> Floats:
    """The best coefficients (K, p, F) with g' B_s = a in all regimes, for the best a, from the best ones without that.

    With M_s the sums of products of the regressors, Σ_s⁻¹ the precision and h_s = g' M_s⁻¹ g, they are

        B_s − M_s⁻¹ g (g' B_s − a) / h_s,        a = (Σ_s g' B_s Σ_s⁻¹ / h_s) (Σ_s Σ_s⁻¹ / h_s)⁻¹.
    """
    g = g / np.abs(g).max()
    ways = np.stack([_solve(m, g[:, None], np.full(len(g), w))[:, 0] for m, w in zip(M, weight, strict=True)])
    h = ways @ g
    free = ~(h > 0)     # a regime without data may go any way
    ways[free] = g
    share = np.where(free, 0, 1 / np.where(free, 1, h))[:, None, None] * precision
    ends = np.einsum("p,spf->sf", g, B)
    a = np.linalg.solve(share.sum(axis=0), np.einsum("sfg,sg->f", share, ends))
    tied: Floats = B - ways[:, :, None] * ((ends - a) / (ways @ g)[:, None])[:, None]
    return tied


def _solve(left: Floats, right: Floats, unit: Floats) -> Floats:
    """Solve symmetric equations (p, p) with the right-hand sides (p, m); what they do not determine is 0.

    `unit` (p,) is how large the diagonal would be if the unknowns were as well determined as by all of the data. What
    counts as determined is judged relative to it, so that rounding never does (see `NO_VARIANCE`).
    """
    size = np.diagonal(left)
    known = (size > NO_VARIANCE * unit) & (unit > 0)
    found = np.zeros_like(right)
    if not known.any():
        return found
    scale = np.sqrt(size[known])[:, None]
    spread, axes = np.linalg.eigh(left[known][:, known] / scale / scale.T)
    share = np.where(spread > NO_DIRECTION * len(spread) * spread[-1], spread, np.inf)
    found[known] = axes @ ((axes.T @ (right[known] / scale)) / share[:, None]) / scale
    return found
