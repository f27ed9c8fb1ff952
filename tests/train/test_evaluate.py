"""The mean loss of held-out batches, by hand: with the state carried from one to the next, and without."""

import math

import numpy as np
import pytest

from rnncore.nn import cross_entropy, sequence_model
from rnncore.train import evaluate


@pytest.mark.parametrize("carry", [True, False])
@pytest.mark.parametrize("cell", ["rnn-tanh", "gru", "lstm"])
def test_evaluate_carries_the_state_if_asked(cell, carry, rng):
    """In batches of different lengths every step has the same weight."""
    model = sequence_model(cell, 5, hidden_size=6, seed=1)
    batches = [(rng.integers(5, size=(T, 2)), rng.integers(5, size=(T, 2))) for T in (7, 3, 5)]
    total, count, state = 0.0, 0, None
    for x, targets in batches:
        logits, after = model(x, state)
        total += cross_entropy(logits, targets)[0] * targets.size
        count += targets.size
        state = after if carry else None
    found = evaluate(model, batches, carry=carry)
    assert found == pytest.approx(total / count / math.log(2), rel=1e-6)
    fresh = [evaluate(model, [batch]) for batch in batches]
    mean_of_fresh = np.average(fresh, weights=[targets.size for _, targets in batches])
    assert (found == pytest.approx(mean_of_fresh, rel=1e-6)) != carry
