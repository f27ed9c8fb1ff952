"""Measures of tapes that are unbatched, batch first, empty, without bias, with dropout."""

import numpy as np
import pytest
from support import make

import rnncore as rc
from rnncore import viz


def measures(tape, g, layer=None, x=None):
    found = {
        "jacobian_norms": viz.jacobian_norms(tape),
        "dependency_map": viz.dependency_map(tape, g),
        "connectivity": viz.connectivity(tape, g),
        "norm_preservation": viz.norm_preservation(tape),
    }
    found |= {f"flow {n}": a for n, a in viz.gradient_flow(tape).items()}
    found |= {f"share {n}": a for n, a in viz.step_share(tape).items()}
    if layer is not None:
        found["lyapunov"] = viz.lyapunov_spectrum(layer, x)
        found["attribution"] = viz.integrated_gradients(layer, x, g).value
        found["omission"] = viz.omission(layer, x)
        found["cut"] = viz.context_cut(layer, x, lambda y: y.sum(-1))[1]
    return found


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["rnn-tanh", "gru", "lstm"])
def test_the_layout_of_the_input_changes_nothing(cell, bidirectional, rng):
    """(B, T, I) in a batch-first layer, and a row as (T, I), give what (T, B, I) gives."""
    options = {"num_layers": 2, "dtype": "float64", "bidirectional": bidirectional}
    layer = make(cell, 3, 4, **options)
    other = make(cell, 3, 4, batch_first=True, **options)
    x, g = rng.normal(size=(6, 2, 3)), rng.normal(size=(6, 2, 8 if bidirectional else 4))

    def found(layer, x, g):
        tape = layer.record(x)
        tape.backward(g)
        return measures(tape, g, layer, x)

    expected = found(layer, x, g)
    # the same numbers but for the order of sums in BLAS
    for name, value in found(other, x.swapaxes(0, 1), g.swapaxes(0, 1)).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-10, atol=1e-13, err_msg=name)
    expected = found(layer, x[:, :1], g[:, :1])
    for name, value in found(layer, x[:, 0], g[:, 0]).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-10, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_one_sequence_starts_from_its_initial_state(cell, rng):
    """The initial state of one sequence, (layers, H), is that of a batch of one, (layers, 1, H)."""
    layer = make(cell, 3, 4, num_layers=2, dtype="float64")
    x, parts = rng.normal(size=(6, 3)), rng.normal(size=(2, 2, 4))

    def found(x, *parts):
        state = parts if cell == "lstm" else parts[0]
        yield viz.omission(layer, x, state=state)
        yield viz.context_cut(layer, x, lambda y: y.sum(-1), state=state)[1]
        yield viz.lyapunov_spectrum(layer, x, state=state)
        yield viz.integrated_gradients(layer, x, np.ones((*x.shape[:-1], 4)), state=state).value

    for one, batch in zip(found(x, *parts), found(x[:, None], *parts[:, :, None]), strict=True):
        np.testing.assert_array_equal(one, batch)


@pytest.mark.parametrize(("T", "B"), [(0, 2), (3, 0), (0, 0)])
def test_without_steps_or_rows_measures_are_empty_and_pictures_refuse(T, B):
    layer = make("lstm", 3, 4)
    tape = layer.record(np.ones((T, B, 3)))
    assert viz.jacobian_norms(tape).shape == (T, B)
    assert viz.singular_values(tape, 2)[1].shape == (T, B, 2)
    assert viz.dependency_map(tape, np.ones((T, B, 4))).shape == (T, T, B)
    assert viz.connectivity(tape, np.ones((T, B, 4))).shape == (T, T, B)
    assert viz.omission(layer, np.ones((T, B, 3))).shape == (T, B)
    for reading in (viz.horizon, viz.half_life, viz.centroid, viz.decay_rate):
        assert reading(tape).shape == (B,)
    assert np.isnan(viz.timescales(tape)["l0"]).all()
    assert np.isnan(viz.mean_field(tape)["l0"].chi)
    assert (viz.saturation(tape)["l0.f"].low == 0).all()
    for picture in (viz.plot_states, viz.plot_gates, viz.overview):
        with pytest.raises(ValueError, match="row: got 0"):
            picture(tape)


def test_a_tape_of_one_step_can_be_measured(rng):
    layer = make("gru", 3, 4)
    tape = layer.record(rng.normal(size=(1, 2, 3)))
    g = np.ones((1, 2, 4))
    tape.backward(g)
    found = measures(tape, g)
    assert (found["jacobian_norms"] == 1).all()
    assert (found["connectivity"] == 1).all()
    assert np.isnan(viz.omission(layer, rng.normal(size=(1, 2, 3)))).all()  # the empty state is 0
    assert np.isnan(viz.half_life(tape)).all()


@pytest.mark.parametrize("cell", ["rnn-tanh", "gru", "lstm"])
def test_a_layer_without_bias_is_measured_like_one_with_bias_zero(cell, rng):
    layer = make(cell, 3, 4, bias=False, dtype="float64")
    x, g = rng.normal(size=(6, 2, 3)), rng.normal(size=(6, 2, 4))
    tape = layer.record(x)
    tape.backward(g)
    with_zeros = make(cell, 3, 4, dtype="float64")
    zeros = {n: 0 * a for n, a in with_zeros.state_dict().items() if n.startswith("bias")}
    with_zeros.load_state_dict(layer.state_dict() | zeros)
    other = with_zeros.record(x)
    other.backward(g)
    expected = measures(other, g, with_zeros, x)
    for name, value in measures(tape, g, layer, x).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-10, atol=1e-13, err_msg=name)
    for a, b in zip(viz.mean_field(tape)["l0"], viz.mean_field(other)["l0"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_dropout_is_part_of_the_recorded_pass(rng):
    """The backward walk applies the masks that were drawn; measures that run the layer again refuse."""
    layer = rc.LSTM(3, 4, 2, dropout=0.5, seed=1, dtype="float64")
    x, g = rng.normal(size=(6, 2, 3)), rng.normal(size=(6, 2, 4))
    dropped, plain = layer.record(x, train=True), layer.record(x)
    assert not np.allclose(viz.jacobian_norms(dropped), viz.jacobian_norms(plain))
    with pytest.raises(ValueError, match="without dropout"):
        viz.connectivity(dropped, g)


def test_nan_in_the_input_gives_nan_in_the_norms(rng):
    """Every lag that reaches the step whose input was NaN is NaN."""
    layer = make("gru", 3, 60)  # 60: by the SVD; 100 below: by Lanczos
    for wide in (layer, make("gru", 3, 100)):
        x = rng.normal(size=(8, 2, 3))
        x[2, 1] = np.nan
        norms = viz.jacobian_norms(wide.record(x))
        assert np.isfinite(norms[:, 0]).all()
        assert np.isnan(norms[1:, 1]).all()
        assert norms[0, 1] == 1
