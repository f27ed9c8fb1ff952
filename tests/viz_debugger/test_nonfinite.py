"""The NaN breakpoint names the step, tensor, gate, row and unit that were computed first."""

import numpy as np
import pytest

import rnncore as rc
from rnncore import viz

CELLS = [
    (rc.RNN, {"nonlinearity": "tanh"}),
    (rc.RNN, {"nonlinearity": "relu"}),
    (rc.RNN, {"nonlinearity": "sigmoid"}),
    (rc.GRU, {}),
    (rc.LSTM, {}),
]


def powers(factor, steps, size=1.0, dtype="float32", layers=1):
    """A ReLU network whose state is size·factorᵗ at step t, and its input."""
    rnn = rc.RNN(1, 2, layers, nonlinearity="relu", dtype=dtype, seed=0)
    with rnn.writable() as p:
        for name in p:
            p[name][...] = 0
        for k in range(layers):
            p[f"weight_hh_l{k}"][...] = (factor if k == 0 else 0) * np.eye(2)
        p["weight_ih_l0"][...] = 1
        for k in range(1, layers):
            p[f"weight_ih_l{k}"][...] = np.eye(2)
    x = np.zeros((steps, 3, 1), dtype)
    x[0] = size
    return rnn, x


@pytest.mark.parametrize(("cell", "options"), CELLS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_healthy_network_has_no_hit(rng, cell, options, layers, dtype):
    layer = cell(3, 5, layers, dtype=dtype, seed=1, **options)
    tape = layer.record(rng.standard_normal((12, 4, 3)), lengths=[12, 7, 0, 1])
    grads = tape.backward(rng.standard_normal(tape.output.shape))
    assert viz.NaN().look(tape, grads, loss=1.0) is None


@pytest.mark.parametrize(("cell", "options"), CELLS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_in_the_input_is_found(rng, cell, options, layers, bad):
    layer = cell(3, 5, layers, seed=1, **options)
    x = rng.standard_normal((12, 4, 3)).astype("float32")
    x[7, 2, 1] = bad
    hit = viz.NaN().look(layer.record(x))
    assert (hit.tensor, hit.step, hit.row, hit.unit) == ("input", 7, 2, 1)
    assert f"input at step 7, row 2, unit 1 is {bad}" in hit.sentence
    np.testing.assert_array_equal(hit.before, x[2:7, 2, 1])


def test_padding_may_hold_anything(rng):
    x = rng.standard_normal((6, 2, 3)).astype("float32")
    x[4:, 1] = np.nan
    layer = rc.LSTM(3, 4, seed=0)
    tape = layer.record(x, lengths=[6, 4])
    assert viz.NaN().look(tape, tape.backward(np.ones_like(tape.output))) is None


def test_a_state_that_overflows_is_found_at_its_step():
    # 3⁸⁰ = 1.5e38 fits float32, 3⁸¹ = 4.4e38 does not
    rnn, x = powers(3, 90)
    hit = viz.NaN().look(rnn.record(x))
    assert (hit.tensor, hit.layer, hit.gate, hit.step, hit.row, hit.unit) == (
        "l0.h", "l0", "h", 81, 0, 0)  # fmt: skip
    assert hit.value == np.inf
    np.testing.assert_allclose(hit.before, 3.0 ** np.arange(76, 81), rtol=1e-5)


def test_the_lower_layer_is_named_first():
    rnn, x = powers(3, 90, layers=2)
    tape = rnn.record(x)
    assert not np.isfinite(tape["l1.h"][81]).all()
    assert viz.NaN().look(tape).tensor == "l0.h"


def test_an_overflow_in_the_upper_layer_alone_is_found():
    rnn, x = powers(1, 30, layers=2)
    with rnn.writable() as p:
        p["weight_ih_l1"][1] = 1e30
        p["weight_hh_l1"][1, 1] = 1e5
    # unit 1 holds 2e30·1e5ᵗ: over 3.4e38 at the third step
    hit = viz.NaN().look(rnn.record(x))
    assert (hit.tensor, hit.step, hit.unit) == ("l1.h", 2, 1)


class Altered:
    """A tape with some of its arrays exchanged, so that a NaN can be put anywhere."""

    def __init__(self, tape, **arrays):
        self._tape, self._arrays = tape, {f"l0.{gate}": a for gate, a in arrays.items()}

    def __getattr__(self, name):
        return getattr(self._tape, name)

    def __getitem__(self, name):
        return self._arrays.get(name, self._tape[name])


@pytest.mark.parametrize(
    ("cell", "gate"), [(rc.LSTM, g) for g in "ifgo"] + [(rc.GRU, g) for g in ("r", "z", "n", "hn")]
)
def test_nan_in_a_gate_is_found(rng, cell, gate):
    tape = cell(2, 4, seed=0).record(rng.standard_normal((9, 3, 2)))
    arrays = {gate: tape[f"l0.{gate}"].copy(), "h": tape["l0.h"].copy()}
    arrays[gate][4, 1, 2] = np.nan
    arrays["h"][4, 1, 2] = np.nan  # of the same step, and in all units of the next ones
    arrays["h"][5:, 1] = np.nan
    hit = viz.NaN().look(Altered(tape, **arrays))
    assert (hit.tensor, hit.gate, hit.step, hit.row, hit.unit) == (f"l0.{gate}", gate, 4, 1, 2)
    assert "1 of 3 rows, 1 of 4 units" in hit.sentence


@pytest.mark.parametrize("cell", [rc.LSTM, rc.GRU])
def test_nan_in_a_gate_reaches_the_state_of_that_step(rng, cell):
    """The cheap check relies on this: a NaN in any gate makes the state of that step NaN."""
    gates = {rc.LSTM: "ifgo", rc.GRU: "rzn"}[cell]
    for k, _ in enumerate(gates):
        layer = cell(2, 4, seed=0)
        with layer.writable() as p:
            p["weight_ih_l0"][4 * k + 2, 0] = np.nan
        tape = layer.record(rng.standard_normal((1, 3, 2)))
        assert np.isnan(tape[f"l0.{gates[k]}"][0, :, 2]).all()
        assert np.isnan(tape["l0.h"][0, :, 2]).all()


def test_infinity_in_the_recurrent_part_of_a_candidate_is_found():
    # tanh makes the infinity of hn finite, so no state shows it
    layer = rc.GRU(1, 2, seed=0)
    with layer.writable() as p:
        p["weight_hh_l0"][5] = 3e38
    tape = layer.record(np.zeros((3, 1, 1)), np.full((1, 1, 2), 1.5))
    assert np.isfinite(tape["l0.h"]).all()
    hit = viz.NaN().look(tape)
    assert (hit.tensor, hit.step, hit.unit) == ("l0.hn", 0, 1)


def test_nan_in_the_initial_state_is_found(rng):
    layer = rc.LSTM(3, 4, 2, seed=0)
    c = np.zeros((2, 3, 4))
    c[1, 2, 3] = np.nan
    hit = viz.NaN().look(layer.record(rng.standard_normal((5, 3, 3)), (np.zeros((2, 3, 4)), c)))
    assert (hit.tensor, hit.layer, hit.row, hit.unit) == ("initial l1.c", "l1", 2, 3)


@pytest.mark.parametrize("step", [7, 2, 11, 0])
def test_layers_of_two_directions_are_searched_in_the_order_of_computation(rng, step):
    """Layers are searched one after the other, each in its own order: the reverse one begins at the last step."""
    layer = rc.GRU(3, 4, 2, bidirectional=True, seed=0)
    x = rng.standard_normal((12, 2, 3))
    x[step, 1, 0] = np.nan
    tape = layer.record(x)
    assert viz.NaN().look(tape).tensor == "input"
    clean = layer.record(np.nan_to_num(x))
    reverse = clean["l0.reverse.h"].copy()
    reverse[: step + 1, 1] = np.nan
    altered = Altered(clean, **{"reverse.h": reverse})
    hit = viz.NaN().look(altered)
    assert (hit.tensor, hit.step, hit.row) == ("l0.reverse.h", step, 1)
    np.testing.assert_array_equal(hit.before, reverse[step + 1 : step + 6, 1, 0][::-1])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_is_found(rng, bad):
    layer = rc.LSTM(3, 4, seed=0)
    with layer.writable() as p:
        p["weight_hh_l0"][4 + 2, 3] = bad  # forget gate of unit 2
    hit = viz.NaN().look(layer.record(rng.standard_normal((5, 2, 3))))
    assert (hit.tensor, hit.gate, hit.unit, hit.step) == ("weight_hh_l0", "f", 2, None)
    assert "weight_hh_l0[6, 3]" in hit.sentence


def test_a_gradient_that_overflows_is_found_at_its_step():
    # 1e-20·3ᵗ stays finite over 90 steps, the gradient 3ᵏ is ∞ 81 steps before the last
    rnn, x = powers(3, 90, size=1e-20)
    tape = rnn.record(x)
    grad = np.zeros_like(tape.output)
    grad[-1, 1] = 1
    hit = viz.NaN().look(tape, tape.backward(grad))
    assert (hit.tensor, hit.step, hit.row, hit.unit) == ("grad l0.h", 89 - 81, 1, 0)
    np.testing.assert_allclose(hit.before, 3.0 ** np.arange(76, 81), rtol=1e-5)


@pytest.mark.parametrize(("cell", "options"), CELLS)
@pytest.mark.parametrize("given", [True, False])
def test_nan_from_the_loss_is_found_in_the_gradient(rng, cell, options, given):
    layer = cell(3, 5, 2, seed=1, **options)
    tape = layer.record(np.abs(rng.standard_normal((12, 4, 3))))
    grad = rng.standard_normal(tape.output.shape).astype("float32")
    grad[6, 3, 2] = np.nan
    grads = tape.backward(grad)
    hit = viz.NaN().look(tape, grads if given else None)
    assert (hit.tensor, hit.step, hit.row, hit.unit) == ("grad l1.h", 6, 3, 2)


def test_infinity_in_the_gradient_of_a_weight_alone_is_found(rng):
    tape = rc.LSTM(3, 4, seed=0).record(rng.standard_normal((5, 2, 3)))
    grads = tape.backward(np.ones_like(tape.output)).parameters
    grads["bias_hh_l0"][9] = np.inf
    hit = viz.NaN().look(tape, grads)
    assert (hit.tensor, hit.gate, hit.unit) == ("grad bias_hh_l0", "g", 1)


def test_a_loss_that_alone_is_nan_is_found(rng):
    tape = rc.LSTM(3, 4, seed=0).record(rng.standard_normal((5, 2, 3)))
    assert viz.NaN().look(tape, loss=np.nan).tensor == "loss"
    assert viz.NaN().look(tape, loss=2.0) is None


def test_large_finite_values_have_no_hit():
    # the sum of the state overflows float32, no value does
    rnn, x = powers(1, 20, size=3e38)
    tape = rnn.record(x)
    with np.errstate(over="ignore"):
        assert not np.isfinite(tape["l0.h"].sum())
    assert viz.NaN().look(tape) is None
