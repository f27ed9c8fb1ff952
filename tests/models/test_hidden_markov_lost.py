"""A state's probability that underflows is not lost as long as it can still affect the result."""

import numpy as np
import pytest
from chain_twin import in_logs

from rnncore import _hidden_markov


@pytest.mark.parametrize("detour", [1e-140, 1e-160, 1e-250, 1e-280, 0.0])
def test_a_state_reached_on_two_paths_is_not_lost(detour):
    """There are three states. The first one stays, or moves to the third with probability `detour`; the second, whose
    initial probability is 1e-291, moves to the third at once.

    At the first step the likelihood of the first state is 1e-99, so the probability of the second, 1e-192 relative to
    it, underflows. It matters if the detour is less probable than that: the last three steps favour the third state by
    1e99 each, too little for any of them to look impossible.
    """
    start = np.array([1.0, 1e-291, 0.0])
    transmat = np.array([[1.0, 0.0, detour], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    rare = np.log(1e-99)
    log_b = np.array([[rare, 0.0, -1000.0], [0.0, -5000.0, 0.0], *[[rare, -5000.0, 0.0]] * 3])
    T = len(log_b)
    padded = np.concatenate([log_b, np.full((T, 1), -np.inf)], axis=1)
    chain, emission = _hidden_markov.Chain(start, transmat), _hidden_markov.Given(np.zeros((T, 1)), padded, np.zeros(1))
    filtering = _hidden_markov.Filtering(chain, emission, np.array([0, T]), np.array([0, 1]))
    smoothing = _hidden_markov.Smoothing(chain, emission, np.array([0, T]), np.array([0, 1]), posteriors=True)
    for work in (filtering, smoothing):
        work.run([_hidden_markov.Space()])
    with np.errstate(divide="ignore"):
        steps, gamma, _ = in_logs(start, transmat, log_b)
    np.testing.assert_allclose(filtering.log_norm, steps, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(smoothing.log_prob, steps.sum(), rtol=1e-12)
    np.testing.assert_allclose(smoothing.gamma[:, :3], gamma, atol=1e-12)
