"""What has a tape somewhere, or could have one, is refused with the way to it."""

import numpy as np
import pytest

import rnncore as rc
from rnncore import viz


def trainer():
    model = rc.nn.sequence_model("gru", 5, hidden_size=4, seed=0)
    return rc.train.Trainer(model, rc.optim.Adam(model), rc.data.batches(np.arange(40) % 5, 2, 4))


@pytest.mark.parametrize(("given", "message"), [
    (lambda: rc.models.Recurrent, r"got the class Recurrent, .*; fit a model first, .*network_\.record\(x\)\.tape"),
    (lambda: rc.models.SequenceClassifier("gru", 4), r"got a SequenceClassifier, .*; fit a model first"),
    (lambda: rc.GRU, r"got the class GRU, .*; make one, and record a pass of it: tape = GRU\(…\)\.record\(x\)"),
    (trainer, r"got a Trainer, .*: tape = trainer\.model\.record\(x\)\.tape, or take trainer\.record\.tape"),
    (lambda: dict, "got the class dict, expected a tape$"),
])
@pytest.mark.parametrize("plot", [viz.overview, viz.plot_gates, viz.gradient_flow])
def test_the_error_has_the_way_to_a_tape(plot, given, message, plt):
    with pytest.raises(TypeError, match=f"^tape: {message}"):
        plot(given())
    assert not plt.get_fignums()
