"""The numpy twin of whole models is compared with finite differences, and shapes from the seed with their limits."""

import numpy as np
import pytest

from benchmarks import models, outliers, seeded
from benchmarks.models import Model, ModelArrays

STEP = 1e-5


@pytest.mark.parametrize("model", [
    Model("words", "LSTM", 5, 3, 4, 2, 3, 5),
    Model("classifier", "GRU", 5, 3, 4, 2, 3, 3, layers=2, bidirectional=True, readout="last"),
    Model("series", "RNN", 2, None, 4, 3, 5, 2, loss="mse"),
    Model("long", "LSTM", 5, 3, 4, 4, 6, 5, rows="packed"),
], ids=lambda model: model.name)
def test_gradients_are_the_slopes_of_the_loss(model, rng):
    arrays = ModelArrays.draw(model)
    p = {name: value.astype(np.float64) for name, value in arrays.parameters.items()}
    given = model, arrays.x[0], arrays.targets[0]

    def loss(parameters):
        return models.loss_and_grads(given[0], parameters, *given[1:])[0]

    _, grads = models.loss_and_grads(model, p, *given[1:])
    assert grads.keys() == p.keys()
    for name, value in p.items():
        direction = rng.standard_normal(value.shape)
        up, down = (loss({**p, name: value + sign * STEP * direction}) for sign in (1, -1))
        # as in test_benchmark_twin: truncation of order step² times third derivatives, rounding of eps·|loss|/step
        assert np.vdot(grads[name], direction) == pytest.approx((up - down) / (2 * STEP), rel=1e-6, abs=1e-8), name


def test_targets_past_the_end_of_a_row_do_not_count():
    model = Model("long", "GRU", 5, 3, 4, 4, 6, 5, rows="padded")
    arrays = ModelArrays.draw(model)
    past = np.arange(model.T)[:, None] >= model.case.lengths
    assert (arrays.targets[0][past] == models.IGNORED).all()
    assert past.any()
    assert (arrays.targets[0][~past] >= 0).all()


def test_shapes_from_the_seed_keep_their_limits_and_are_the_same_every_time():
    cases = seeded.seeded()
    assert cases == seeded.seeded()
    assert len(cases) == seeded.COUNT >= 40
    assert {case.cell for case in cases} == {"LSTM", "GRU", "RNN"}
    for name, (low, high) in seeded.RANGES.items():
        sizes = [getattr(case, name) for case in cases]
        assert low <= min(sizes)
        assert max(sizes) <= high
        # log-uniform: the middle of 42 logarithms is within four of its standard errors, 0.29/√42·4 = 0.18 of the range
        middle = np.mean(np.log(np.array(sizes) / low)) / np.log(high / low)
        assert 0.5 - 0.18 < middle < 0.5 + 0.18, name
    assert max(case.flops("training") for case in cases) <= seeded.SPEED * seeded.LONGEST
    assert seeded.seeded(seed=1) != cases


def test_outliers_are_counted_for_steps_and_empty_calls(capsys):
    outliers.main(["--cells", "GRU", "--sizes", "1,8", "--steps", "2000"])
    row = capsys.readouterr().out.splitlines()[-1].strip("| ").split(" | ")
    assert row[:2] == ["GRU", "1,8"]
    assert float(row[2]) > 0
    assert int(row[3]) <= 2000
