"""The recursions against enumeration, against logarithms, and where probabilities underflow."""

import numpy as np
import pytest
from chain_twin import by_enumeration, gaussian_log_density, in_logs
from hmmlearn import _hmmc
from hypothesis import given, settings
from hypothesis import strategies as st

from rnncore import _hidden_markov
from rnncore.models.chains import em
from rnncore.models.chains.emissions import CategoricalEmission, GaussianEmission

# Every sum has positive terms, so an error is at most eps times the operations on one path
# through the recursions: fewer than 10 per step and state, 1e3 · 2e-16 here.
TIGHT = 1e-12


def smooth(chain, emission, arrays):
    """The `Expectation`, and the posteriors of each sequence."""
    found = em.expect(chain, emission, em.Rows.pack(arrays), em.Workers())
    return found, [em.posteriors(chain, emission, a)[0] for a in arrays]


def log_likelihood(emission, x):
    return emission.on(x).log_likelihood()


def random_model(rng, n, symbols, zeros=0.0):
    """Initial, transition and emission probabilities; a share `zeros` of them is 0, but every row sums to 1."""
    tables = [rng.dirichlet(np.ones(k), size=n) for k in (n, n, symbols)]
    for table in tables:
        table[rng.random(table.shape) < zeros] = 0
        table[:, 0] += table.sum(axis=1) == 0
        table /= table.sum(axis=1, keepdims=True)
    return tables[0][0], tables[1], tables[2]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 5), st.sampled_from([0, 0.4]))
def test_results_equal_an_enumeration_of_all_paths(seed, n, T, zeros):
    rng = np.random.default_rng(seed)
    startprob, transmat, emissionprob = random_model(rng, n, 3, zeros)
    x = rng.integers(0, 3, T)
    chain, emission = _hidden_markov.Chain(startprob, transmat), CategoricalEmission(emissionprob)
    total, gamma, pairs, paths = by_enumeration(startprob, transmat, emissionprob.T[x])
    found, (ours,) = smooth(chain, emission, [x])
    log_b, our_path = log_likelihood(emission, x), np.empty(T, np.int64)
    our_best = chain.viterbi(log_b, np.empty_like(log_b), our_path)
    if total == 0:
        assert found.log_prob[0] == our_best == -np.inf
        return
    np.testing.assert_allclose(found.log_prob[0], np.log(total), rtol=TIGHT, atol=TIGHT)
    np.testing.assert_allclose(ours, gamma, atol=TIGHT)
    np.testing.assert_allclose(found.starts, gamma[0], atol=TIGHT)
    np.testing.assert_allclose(found.pairs, pairs, atol=TIGHT)
    counts = np.stack([gamma[x == symbol].sum(axis=0) for symbol in range(3)])
    np.testing.assert_allclose(found.sums[:, :n], counts, atol=TIGHT)
    best = max(paths.values())  # several paths may be equally probable
    np.testing.assert_allclose(our_best, np.log(best), rtol=TIGHT, atol=TIGHT)
    np.testing.assert_allclose(paths[tuple(our_path.tolist())], best, rtol=TIGHT)


def test_of_equally_probable_paths_viterbi_returns_that_of_hmmlearn():
    chain = _hidden_markov.Chain(np.full(3, 1 / 3), np.full((3, 3), 1 / 3))
    log_b, path = np.full((4, 4), -np.inf), np.empty(4, np.int64)
    log_b[:, :3] = 0
    log_b[1, 0] = -1  # state 0 is less probable at the second step
    chain.viterbi(log_b, np.empty((4, 4)), path)
    _, expected = _hmmc.viterbi(np.full(3, 1 / 3), np.full((3, 3), 1 / 3), log_b[:, :3].copy())
    np.testing.assert_array_equal(path, expected)
    assert path.tolist() == [2, 2, 2, 0]


@pytest.mark.parametrize("road", ["probabilities", "logarithms"])
@pytest.mark.parametrize("n", [1, 2, 4, 5, 8, 13])
def test_the_fast_and_the_logarithmic_recursion_equal_the_numpy_twin(rng, n, road):
    startprob, transmat, emissionprob = random_model(rng, n, 6)
    x = rng.integers(0, 6, 300)
    if road == "logarithms":  # an initial state that is impossible in probabilities makes the code use logarithms
        startprob, emissionprob = np.eye(n)[0], emissionprob.copy()
        emissionprob[0] *= 1e-150 / n
        x[0] = 5
        emissionprob[1:, 5] = 1.0
    chain, emission = _hidden_markov.Chain(startprob, transmat), CategoricalEmission(emissionprob)
    found, (gamma,) = smooth(chain, emission, [x])
    steps, twin_gamma, twin_pairs = in_logs(startprob, transmat, np.log(emissionprob.T[x]))
    np.testing.assert_allclose(gamma, twin_gamma, atol=1e-11)  # logs near 1e3: 1e3 eps each
    np.testing.assert_allclose(found.pairs, twin_pairs, atol=1e-9)
    np.testing.assert_allclose(found.log_prob[0], steps.sum(), rtol=TIGHT)
    (log_norm,), (alpha,) = em.filtered(chain, emission, em.Rows.pack([x]))
    np.testing.assert_allclose(log_norm, steps, atol=1e-10)
    np.testing.assert_allclose(alpha.sum(axis=1), 1, atol=TIGHT)
    assert not found.sums[:, n:].any()


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("F", [1, 2, 5])
def test_gaussian_densities_and_moments_equal_numpys(rng, full, F):
    n, T = 6, 40
    means, x = 3 * rng.normal(size=(n, F)), 4 * rng.normal(size=(T, F)) + 100
    means += 100
    if full:
        root = rng.normal(size=(n, F, F)) + 2 * np.eye(F)
        covars = root @ root.transpose(0, 2, 1)
    else:
        covars = rng.uniform(0.5, 3, (n, F))
    emission = GaussianEmission(means, covars)
    log_b = log_likelihood(emission, x)
    expected = gaussian_log_density(x, means, covars)
    np.testing.assert_allclose(log_b[:, :n], expected, rtol=1e-9)  # condition of covars · eps
    assert (log_b[:, n:] == -np.inf).all()

    # with equal rows in A the states are independent: gamma is b over its sum
    weights = rng.dirichlet(np.ones(n))
    chain = _hidden_markov.Chain(weights, np.tile(weights, (n, 1)))
    found, (gamma,) = smooth(chain, emission, [x])
    expected = np.exp(expected - expected.max(axis=1, keepdims=True)) * weights
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(gamma, expected, atol=1e-9)
    d = x[:, None] - means
    i, j = np.tril_indices(F) if full else (np.arange(F),) * 2
    sums = found.sums[:, :n].T
    np.testing.assert_allclose(sums[:, 0], gamma.sum(axis=0), atol=TIGHT)
    np.testing.assert_allclose(sums[:, 1 : 1 + F], np.einsum("ti,tif->if", gamma, d), atol=1e-10)
    second = np.einsum("ti,tif,tig->ifg", gamma, d, d)
    np.testing.assert_allclose(sums[:, 1 + F :], second[:, i, j], rtol=1e-10, atol=1e-9)


def test_exp_is_accurate_to_the_last_place():
    # the relative likelihood of the first state is exp(0); that of the other is tested
    y = -np.concatenate([[0.0], np.geomspace(1e-20, 700, 4000)])
    log_b = np.full((len(y), 4), -np.inf)
    log_b[:, 0], log_b[:, 1] = 0, y
    chain = _hidden_markov.Chain(np.array([0.5, 0.5]), np.full((2, 2), 0.5))
    work = _hidden_markov.Filtering(chain, _hidden_markov.Given(y[:, None], log_b, np.zeros(1)),
                              np.array([0, len(y)]), np.array([0, 1]))
    work.run([_hidden_markov.Space()])
    ratio = work.alpha[:, 1] / work.alpha[:, 0]
    # 13 roundings in the series, most of them on small terms: 2 ulp; 2 more for the ratio
    np.testing.assert_allclose(ratio, np.exp(y), rtol=4 * np.finfo(float).eps)


# -- where probabilities underflow --------------------------------------------------------
LEFT_RIGHT = np.array([[0.9, 0.1, 0], [0, 0.9, 0.1], [0, 0, 1.0]])


def check_against_logs(startprob, transmat, means, x, variance=1.0):
    means = np.asarray(means, float)[:, None]
    emission = GaussianEmission(means, np.full_like(means, variance))
    chain = _hidden_markov.Chain(startprob, transmat)
    found, (gamma,) = smooth(chain, emission, [x])
    log_b = gaussian_log_density(x, means, np.full_like(means, variance))
    steps, twin_gamma, twin_pairs = in_logs(startprob, transmat, log_b)
    scale = np.abs(log_b).sum()  # logs of this size are rounded: eps · scale
    np.testing.assert_allclose(found.log_prob[0], steps.sum(), rtol=1e-12)
    np.testing.assert_allclose(gamma, twin_gamma, atol=1e-15 * scale)
    np.testing.assert_allclose(found.pairs, twin_pairs, atol=1e-15 * scale * len(x))
    (log_norm,), (alpha,) = em.filtered(chain, emission, em.Rows.pack([x]))
    np.testing.assert_allclose(log_norm, steps, rtol=1e-10, atol=1e-15 * scale)
    np.testing.assert_allclose(alpha.sum(axis=1), 1, atol=1e-12)


def test_a_state_with_an_underflowing_probability_can_still_win():
    # After 60 steps at 8, staying in the first state has probability e^-1900; then 120 steps
    # at 0 make it the best by far, for there is no way back to it.
    x = np.concatenate([np.full(60, 8.0), np.full(120, 0.0)])[:, None]
    check_against_logs([1.0, 0, 0], LEFT_RIGHT, [0.0, 8.0, 9.0], x)
    emission = GaussianEmission(np.array([[0.0], [8.0], [9.0]]), np.ones((3, 1)))
    _, (gamma,) = smooth(_hidden_markov.Chain([1.0, 0, 0], LEFT_RIGHT), emission, [x])
    assert gamma[30, 0] > 0.99


def test_a_left_to_right_chain_reaches_far_states():
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(m, 1, 50) for m in (0, 60, 120)])[:, None]
    check_against_logs([1.0, 0, 0], LEFT_RIGHT, [0.0, 60.0, 120.0], x)


def test_the_only_reachable_state_is_used_even_if_it_fits_worst():
    check_against_logs([1.0, 0], np.eye(2), [0.0, 100.0], np.full((20, 1), 100.0))


def test_an_unreachable_state_is_not_used_even_if_it_fits_best():
    check_against_logs([1.0, 0], np.array([[1.0, 0], [0.5, 0.5]]), [0.0, 3.0],
                       np.full((500, 1), 3.0))


def test_an_outlier_far_from_every_state_has_a_finite_log_probability():
    x = np.zeros((20, 1))
    x[10] = 1e6
    check_against_logs([0.5, 0.5], np.array([[0.9, 0.1], [0.2, 0.8]]), [0.0, 1.0], x)


def test_tiny_transition_probabilities_are_not_lost():
    transmat = np.array([[1 - 1e-200, 1e-200], [1e-120, 1.0]])
    x = np.repeat([0.0, 40.0, 0.0], 20)[:, None]
    check_against_logs([1.0, 0.0], transmat, [0.0, 40.0], x)


def test_errors_of_a_million_steps_are_within_the_bound_of_rounding(rng):
    startprob, transmat, emissionprob = random_model(rng, 3, 4)
    x = rng.integers(0, 4, 1_000_000)
    chain, emission = _hidden_markov.Chain(startprob, transmat), CategoricalEmission(emissionprob)
    gamma, log_prob = em.posteriors(chain, emission, x)
    np.testing.assert_allclose(gamma.sum(axis=1), 1, atol=TIGHT)
    (steps,), _ = em.filtered(chain, emission, em.Rows.pack([x]))
    # The recursion adds 1e6 numbers one after the other. Its roundings do not cancel, since few values are different.
    np.testing.assert_allclose(log_prob, steps.sum(), rtol=1e6 * np.finfo(float).eps / 2)


# -- portions and shapes ---------------------------------------------------------------------
def test_results_of_a_sequence_do_not_depend_on_the_portions(rng, monkeypatch):
    startprob, transmat, emissionprob = random_model(rng, 5, 4)
    arrays = [rng.integers(0, 4, k) for k in (0, 1, 30, 2, 0, 17, 64, 1)]
    chain, emission = _hidden_markov.Chain(startprob, transmat), CategoricalEmission(emissionprob)
    found = []
    for portions in (1, 3, 32):
        monkeypatch.setattr(em, "PORTIONS", portions)
        found.append(smooth(chain, emission, arrays)[0])
    for other in found[1:]:
        np.testing.assert_array_equal(other.log_prob, found[0].log_prob)
        for ours, theirs in zip(other[1:], found[0][1:], strict=True):
            np.testing.assert_allclose(ours, theirs, atol=TIGHT)
    assert found[0].log_prob[0] == found[0].log_prob[4] == 0


@pytest.mark.parametrize("lengths", [[0], [5], [0, 0, 3], [3, 0, 0], [1] * 100, [1000, 1, 0, 2],
                                     [7, 1, 2, 900, 3, 3]])
def test_portions_have_every_sequence_once(lengths):
    rows = em.Rows.pack([np.zeros(k, np.int64) for k in lengths])
    portions = rows.portions(10)
    assert portions[0] == 0
    assert portions[-1] == len(lengths)
    assert (np.diff(portions) > 0).all()
    assert len(portions) <= em.PORTIONS + 1
    assert len(rows.portions(em.SUMS_LIMIT)) == 2
    if len(lengths) == 100:
        assert np.diff(rows.offsets[portions]).max() <= 4  # 100 rows in 32 portions


def test_wrong_shapes_are_refused():
    chain = _hidden_markov.Chain(np.array([0.5, 0.5]), np.full((2, 2), 0.5))
    x, ends = np.array([0, 1, 1]), np.array([0, 3])
    symbols = _hidden_markov.Symbols(x, np.full((2, 2), 0.5))
    with pytest.raises(ValueError, match=r"transmat: got shape \(3, 3\), expected \(2, 2\)"):
        _hidden_markov.Chain(np.array([0.5, 0.5]), np.eye(3))
    with pytest.raises(ValueError, match=r"emission: got \(8, 1\), expected \(4, 1\)"):
        _hidden_markov.Smoothing(chain, _hidden_markov.Symbols(x, np.full((5, 2), 0.5)), ends, np.array([0, 1]))
    for offsets in ([0, 4], [0, 3, 2, 3], [1, 3], [0]):
        with pytest.raises(ValueError, match="offsets: got"):
            _hidden_markov.Smoothing(chain, symbols, np.array(offsets), np.array([0, len(offsets) - 1]))
    with pytest.raises(ValueError, match="portions: got"):
        _hidden_markov.Filtering(chain, symbols, ends, np.array([0, 2]))
    with pytest.raises(ValueError, match=r"whiten: got \(2, 4\), expected \(2, 6\)"):
        _hidden_markov.Vectors(np.ones((5, 3)), np.ones((2, 3)), np.ones((2, 4)), np.ones(2))
