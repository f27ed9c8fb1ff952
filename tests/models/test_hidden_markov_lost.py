"""A share of probability that underflows is not lost while something could still come of it."""

import numpy as np
import pytest
from chain_twin import in_logs

from rnncore import _lattice


@pytest.mark.parametrize("detour", [1e-160, 1e-250, 1e-280, 0.0])
def test_two_ways_to_the_only_state_left(detour):
    """Three states; at last only the third is possible, which the first reaches by `detour`, the second surely.

    The second's share, 1e-291, underflows where the first has 1e-99: what comes from there is far more than what
    the detour brings, and yet the road of probabilities sees the detour alone.
    """
    start = np.array([1.0, 1e-291, 0.0])
    transmat = np.array([[1.0, 0.0, detour], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    log_b = np.array([[np.log(1e-99), 0.0, -1000.0], [-5000.0, -5000.0, 0.0], [-5000.0, -5000.0, 0.0]])
    padded = np.concatenate([log_b, np.full((3, 1), -np.inf)], axis=1)
    chain, emission = _lattice.Chain(start, transmat), _lattice.Given(np.zeros((3, 1)), padded, np.zeros(1))
    filtering = _lattice.Filtering(chain, emission, np.array([0, 3]), np.array([0, 1]))
    smoothing = _lattice.Smoothing(chain, emission, np.array([0, 3]), np.array([0, 1]), keep=True)
    for work in (filtering, smoothing):
        work.run([_lattice.Space()])
    with np.errstate(divide="ignore"):
        steps, gamma, _ = in_logs(start, transmat, log_b)
    assert steps.sum() == pytest.approx(np.log(1e-291 + 1e-99 * detour), rel=1e-12)
    np.testing.assert_allclose(filtering.log_norm, steps, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(smoothing.log_prob, steps.sum(), rtol=1e-12)
    np.testing.assert_allclose(smoothing.gamma[:, :3], gamma, atol=1e-12)
