"""Regressions between which a hidden regime switches: densities, and the M-step from weighted sums.

A *setting* is all that the distribution of y_t depends on besides the elements before it. In the intercept form it is
the current regime. In the mean form past elements enter as deviations from the means of their own regimes, so a
setting also has the regimes of the last `order` steps:

    τ = (s_t, s_{t-1}, …, s_{t-d+1}),      with the depth d = order + 1, or d = 1

Settings are the states of the hidden Markov chain. They are numbered so that s_t varies slowest. A row is
z_t = [y_t, y_{t-1}, …, y_{t-order}]. In every setting the residual r is an affine function of it,

    r = y_t − Σ_k Φ_{s_t,k} y_{t-k} − c_τ
    c_τ = ν_{s_t}                               intercept form
    c_τ = μ_{s_t} − Σ_k Φ_{s_t,k} μ_{s_{t-k}}   mean form

where Φ are the coefficients, μ the means and ν the intercepts. So the M-step needs only the sums
G_τ = Σ_t γ_t(τ) [1 z_t] [1 z_t]', with γ_t(τ) the posterior probabilities. F is the number of features of y_t, and
D = (order + 1)·F that of a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np

from rnncore import _hidden_markov

from .emissions import cholesky, symmetric

if TYPE_CHECKING:
    from rnncore._typing import Floats, Ints


class Settings:
    """The settings of K regimes at depth d: their regimes, transitions and initial distribution.

    Attributes
    ----------
    K, depth, n : int
        The number of regimes, of regimes in a setting, and of settings: n = K**depth.
    digits : ndarray (n, depth)
        The regimes of every setting: that of the current step, of the step before, …
    now : ndarray (n,)
        The current regime of every setting.
    """

    def __init__(self, n_states: int, depth: int) -> None:
        self.K, self.depth, self.n = n_states, depth, n_states**depth
        self.digits: Ints = np.indices((n_states,) * depth).reshape(depth, -1).T
        self.now: Ints = self.digits[:, 0]

    def transitions(self, transmat: Floats) -> Floats:
        """The probabilities (n, n) of the transitions between settings, from those between regimes (K, K).

        The new current regime follows from the previous one with the probabilities in `transmat`; the other regimes of
        the new setting are those of the previous setting, one step further in the past.
        """
        shifted = (self.digits[:, None, :-1] == self.digits[None, :, 1:]).all(axis=2)
        moves: Floats = shifted * transmat[self.now[:, None], self.now[None, :]]
        return moves

    def start(self, transmat: Floats) -> Floats:
        """The probabilities (n,) of the first setting if the chain of regimes is in its steady state."""
        p: Floats = steady_state(transmat)[self.digits[:, -1]]
        for k in range(self.depth - 1, 0, -1):
            p = p * transmat[self.digits[:, k], self.digits[:, k - 1]]
        return p

    def moves(self, pairs: Floats, starts: Floats) -> tuple[Floats, Floats]:
        """Sums over settings that the M-step of the regimes' transitions needs.

        Parameters
        ----------
        pairs, starts : ndarray (n, n), (n,)
            As in `em.Expectation`, for the chain of settings.

        Returns
        -------
        moves : ndarray (K, K)
            The expected number of transitions between regimes, including those within the first setting.
        oldest : ndarray (K,)
            The posterior probabilities of the oldest regime of the first setting, which the model draws from the steady
            state, summed over sequences.
        """
        moves = np.zeros((self.K, self.K))
        np.add.at(moves, (self.now[:, None], self.now[None, :]), pairs)
        for k in range(self.depth - 1):
            np.add.at(moves, (self.digits[:, k + 1], self.digits[:, k]), starts)
        oldest = cast("Floats", np.bincount(self.digits[:, -1], starts, self.K))
        return moves, oldest


def steady_state(transmat: Floats) -> Floats:
    """The distribution π (K,) with π A = π, by least squares; if there are several, the one of least norm.

    Examples
    --------
    >>> steady_state(np.array([[0.9, 0.1], [0.3, 0.7]])).round(3)
    array([0.75, 0.25])
    """
    K = len(transmat)
    left = np.concatenate([np.eye(K) - transmat.T, np.ones((1, K))])
    found = cast("Floats", np.linalg.lstsq(left, np.eye(K + 1)[K], rcond=None)[0])
    found = np.maximum(found, 0)
    share: Floats = found / found.sum()
    return share


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
    centre : ndarray (F,)
        A point near the mean of the data. The sums for the M-step are computed from the differences to it, because
        sums of the squares of large values would lose digits.
    """

    def __init__(
        self, settings: Settings, level: Floats, coef: Floats, covars: Floats, mean_form: bool, centre: Floats
    ) -> None:
        self.centre = centre
        self.settings, self.level, self.coef, self.covars = settings, level, coef, covars
        self.mean_form = mean_form
        self.constants = constants(settings, level, coef, mean_form)
        K, order, F, _ = coef.shape
        # (K, D, F): r + c_τ = z @ lags[s] in regime s
        self.lags = np.concatenate([np.tile(np.eye(F), (K, 1, 1)),
                                    -coef.transpose(0, 1, 3, 2).reshape(K, order * F, F)], axis=1)
        factors = cholesky(covars)
        self._whiten = cast("Floats", np.linalg.inv(factors)).transpose(0, 2, 1)
        self._constant = (-0.5 * F * np.log(2 * np.pi)
                          - np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1))

    def on(self, z: Floats) -> _hidden_markov.Given:
        return _hidden_markov.Given(z, self.log_densities(z), np.tile(self.centre, z.shape[1] // len(self.centre)))

    def log_densities(self, z: Floats) -> Floats:
        """The log densities of rows (N, D) in every setting, (N, n rounded up to a multiple of 4).

        The padding is -inf. A row with NaN has log density 0 in every setting, so that it gives no evidence.
        """
        n, K = self.settings.n, self.settings.K
        out = np.full((len(z), (n + 3) // 4 * 4), -np.inf)
        each = n // K  # the number of settings with the same current regime
        for s, (lags, whiten) in enumerate(zip(self.lags, self._whiten, strict=True)):
            here = slice(s * each, (s + 1) * each)
            level = self.constants[here] @ whiten
            seen = z @ lags @ whiten
            square = sum((seen[:, f, None] - level[:, f]) ** 2 for f in range(level.shape[1]))
            out[:, here] = self._constant[s] - 0.5 * square
        out[np.isnan(out[:, 0]), :n] = 0
        return out


def constants(settings: Settings, level: Floats, coef: Floats, mean_form: bool) -> Floats:
    """c_τ of every setting, (n, F)."""
    now = settings.now
    out: Floats = level[now]
    if not mean_form:
        return out
    for k in range(coef.shape[1]):
        past = settings.digits[:, min(k + 1, settings.depth - 1)]  # at depth 1 all means are equal
        out -= np.einsum("nij,nj->ni", coef[now, k], level[past])
    return out


# --------------------------------------------------------------------------------- the M-step
def grams(sums: Floats, n: int) -> Floats:
    """G_τ (n, 1 + D, 1 + D) of n settings, from the sums of moments (1 + D + D·(D + 1)/2, n or more)."""
    rows = len(sums)
    D = round((np.sqrt(8 * rows + 1) - 3) / 2)
    sums = sums[:, :n].T
    out = np.empty((n, 1 + D, 1 + D))
    out[:, 0, 0] = sums[:, 0]
    out[:, 0, 1:] = out[:, 1:, 0] = sums[:, 1 : 1 + D]
    out[:, 1:, 1:] = symmetric(sums[:, 1 + D :], D)
    return out


def maximise(
    emission: RegimeEmission, G: Floats, switching: Mapping[str, bool]
) -> tuple[Floats, Floats, Floats]:
    """The M-step: new (level, coef, covars), with which the expected log likelihood is not lower.

    In the mean form the levels are updated with the old coefficients, then the coefficients with the new levels, and
    then the covariances, because all of them together are not the solution of a linear regression.

    Parameters
    ----------
    emission : RegimeEmission
        The one with which the E-step was computed.
    G : ndarray (n, 1 + D, 1 + D)
        As from `grams`.
    switching : mapping of str to bool
        For each of "mean", "ar" and "variance": whether every regime has its own.
    """
    settings, coef, covars = emission.settings, emission.coef, emission.covars
    level = emission.level - _shift(emission, coef)  # the levels of the data minus the centre
    if emission.mean_form:
        level = _levels(settings, level, coef, covars, G, switching["mean"])
        coef = _coefs(settings, level, coef, covars, G, switching["ar"])
    else:
        level, coef = _lines(settings, level, coef, covars, G, switching)
    residual = residual_maps(settings, level, coef, emission.mean_form)
    squares = sum_by(settings, residual @ G @ residual.transpose(0, 2, 1))
    weight = np.bincount(settings.now, G[:, 0, 0], settings.K)
    if not switching["variance"]:
        squares, weight = squares.sum(axis=0, keepdims=True), weight.sum(keepdims=True)
    known = weight > 1e-5  # a regime with less data keeps its variance
    found = squares / np.where(known, weight, 1)[:, None, None]
    return level + _shift(emission, coef), coef, np.where(known[:, None, None], found, covars)


def _shift(emission: RegimeEmission, coef: Floats) -> Floats:
    """How much the levels of the data exceed those of the data minus the centre, (F,) or (K, F)."""
    if emission.mean_form:
        return emission.centre
    shift: Floats = emission.centre - np.einsum("skfg,g->sf", coef, emission.centre)
    return shift


def residual_maps(settings: Settings, level: Floats, coef: Floats, mean_form: bool) -> Floats:
    """The matrices L_τ (n, F, 1 + D) of the residual: r = L_τ [1 z]."""
    _, order, F, _ = coef.shape
    lags = coef[settings.now].transpose(0, 2, 1, 3).reshape(settings.n, F, order * F)
    level = constants(settings, level, coef, mean_form)[:, :, None]
    return np.concatenate([-level, np.tile(np.eye(F), (settings.n, 1, 1)), -lags], axis=2)


def sum_by(settings: Settings, values: Floats) -> Floats:
    """Sums of `values` (n, …) over the settings with the same current regime, (K, …)."""
    sums: Floats = values.reshape(settings.K, -1, *values.shape[1:]).sum(axis=1)
    return sums


def _levels(
    settings: Settings, level: Floats, coef: Floats, covars: Floats, G: Floats, switching: bool
) -> Floats:
    """The best μ given Φ and Σ, by generalised least squares.

    The residual is linear in μ: r = e − D_τ μ, with e = y_t − Σ_k Φ_k y_{t-k}, and D_τ (F, K·F).
    """
    K, order, F, _ = coef.shape
    D = np.zeros((settings.n, F, K, F))
    every, now = np.arange(settings.n), settings.now
    D[every, :, now] += np.eye(F)
    for k in range(order):
        past = settings.digits[:, min(k + 1, settings.depth - 1)]
        D[every, :, past] -= coef[now, k]
    D = D.reshape(settings.n, F, K * F) if switching else D.sum(axis=2)
    precision = np.linalg.inv(covars)[now]
    e = residual_maps(settings, np.zeros_like(level), coef, True) @ G[:, :, 0, None]
    left = np.einsum("nai,nab,nbj,n->ij", D, precision, D, G[:, 0, 0])
    right = np.einsum("nai,nab,nbc->ic", D, precision, e)
    return np.broadcast_to(_solve(left, right).reshape(-1, F), (K, F)).copy()


def _coefs(
    settings: Settings, level: Floats, coef: Floats, covars: Floats, G: Floats, switching: bool
) -> Floats:
    """The best Φ given μ and Σ: the regression of y_t − μ on the past deviations y_{t-k} − μ, without an intercept."""
    K, order, F, _ = coef.shape
    if order == 0:
        return coef
    D = (order + 1) * F
    shift = np.tile(np.eye(1 + D)[1:], (settings.n, 1, 1))
    for k in range(order + 1):
        past = settings.digits[:, min(k, settings.depth - 1)]
        shift[:, k * F : (k + 1) * F, 0] = -level[past]
    G = sum_by(settings, shift @ G @ shift.transpose(0, 2, 1))
    pick = _pick(K, order * F, switching)
    return _as_coef(_solve_regressions(G[:, F:, F:], G[:, F:, :F], covars, pick), coef)


def _lines(
    settings: Settings, level: Floats, coef: Floats, covars: Floats, G: Floats, switching: Mapping[str, bool]
) -> tuple[Floats, Floats]:
    """ν and Φ at once in the intercept form, by one regression with a column of ones for ν."""
    K, order, F, _ = coef.shape
    G = sum_by(settings, G)
    keep = np.r_[0, 1 + F : G.shape[1]]  # 1 and the lags
    ones, lags = _pick(K, 1, switching["mean"]), _pick(K, order * F, switching["ar"])
    pick = np.zeros((K, 1 + order * F, ones.shape[2] + lags.shape[2]))
    pick[:, :1, : ones.shape[2]], pick[:, 1:, ones.shape[2] :] = ones, lags
    found = _solve_regressions(G[:, keep[:, None], keep], G[:, keep, 1 : 1 + F], covars, pick)
    return found[:, 0].copy(), _as_coef(found[:, 1:], coef)


def _pick(K: int, width: int, switching: bool) -> Floats:
    """Matrices (K, width, unknowns) that select from all unknowns those of each regime.

    If the coefficients do not switch, all regimes have the same unknowns.
    """
    if not switching:
        return np.tile(np.eye(width), (K, 1, 1))
    return np.eye(K * width).reshape(K, width, K * width)


def _as_coef(B: Floats, coef: Floats) -> Floats:
    """Regression coefficients (K, order·F, F) in the shape of `coef`, (K, order, F, F)."""
    K, order, F, _ = coef.shape
    return np.ascontiguousarray(B.reshape(K, order, F, F).transpose(0, 1, 3, 2))


def _solve_regressions(M: Floats, N: Floats, covars: Floats, pick: Floats) -> Floats:
    """Generalised least squares of all regimes at once; the coefficients are (K, regressors, F).

    M_s are the sums of the products of the regressors in regime s, N_s those of regressors and targets, and Σ_s =
    covars. Regime s has the coefficients B_s = pick_s C, where C solves

        Σ_s pick_s' M_s pick_s C Σ_s⁻¹ = Σ_s pick_s' N_s Σ_s⁻¹.
    """
    unknowns, F = pick.shape[2], N.shape[2]
    precision = np.linalg.inv(covars)
    left = np.einsum("sab,skl->akbl", precision, np.einsum("sik,sij,sjl->skl", pick, M, pick))
    right = np.einsum("sik,sia,sab->bk", pick, N, precision)
    size = F * unknowns
    C = _solve(left.reshape(size, size), right.reshape(size, 1)).reshape(F, unknowns).T
    coefficients: Floats = pick @ C
    return coefficients


def _solve(left: Floats, right: Floats) -> Floats:
    """Solve symmetric linear equations whose unknowns may differ in scale by many orders of magnitude.

    If some unknowns are not determined, it is the solution of least norm.
    """
    scale = np.sqrt(np.diagonal(left))
    scale = np.where(scale > 0, scale, 1)[:, None]
    return np.linalg.lstsq(left / scale / scale.T, right / scale, rcond=1e-13)[0] / scale
