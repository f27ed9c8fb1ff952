"""Pictures, refusals and run files of LSTMs with projections; the measures are tested with those of all cells."""

import numpy as np
import pytest
from support import parts, same_bits

import rnncore as rc
from rnncore import viz


@pytest.fixture
def tape(rng):
    tape = rc.LSTM(3, 7, 2, proj_size=4, seed=0).record(rng.normal(size=(9, 2, 3)), lengths=[9, 6])
    tape.backward(rng.normal(size=tape.output.shape))
    return tape


def test_pictures_of_units_leave_h_as_it_is(tape, plt):
    """The values of h are no units: they are not sorted, and the title does not say that they are."""
    ax = viz.plot_states(tape, plt.figure().subplots())
    images = {image.get_gid(): np.asarray(image.get_array()) for image in ax.images}
    np.testing.assert_allclose(images["l0.h"], tape["l0.h"][:, 0].T)
    np.testing.assert_allclose(images["l0.c"], tape["l0.c"][:, 0].T[viz.unit_order(tape)])
    assert "on top" not in ax.get_title()
    assert sorted(viz.unit_order(tape).tolist()) == list(range(7))
    with pytest.raises(ValueError, match="tape: got one of an LSTM with projections, expected proj_size=0"):
        viz.unit_order(tape, by="likeness")
    for plot in (viz.plot_gates, viz.plot_timeline, viz.plot_gradient_map, viz.plot_recurrence, viz.plot_unrolled):
        plot(tape)
        plt.close("all")


def test_what_has_no_formula_or_drawing_is_refused(tape):
    for refused in (viz.mean_field, viz.plot_cell):
        with pytest.raises(ValueError, match="got one of an LSTM with projections, expected proj_size=0"):
            refused(tape)


def test_a_run_file_keeps_projected_layers(tape, tmp_path):
    with viz.Recorder(tmp_path / "a.run", every=1, names="*", units=3) as recorder:
        recorder.record(tape)
    frame = viz.Run(tmp_path / "a.run")[0]
    same_bits(frame["l1.h"], tape["l1.h"])
    same_bits(frame["l1.c"], tape["l1.c"][..., :3])
    assert frame.layer.proj_size == 4
    assert viz.unit_order(frame).shape == (3,)
    for name, sizes in viz.gradient_flow(tape).items():
        assert sizes.shape == (9, 2), name
    assert [part.shape[-1] for part in parts(tape.state)] == [4, 7]
