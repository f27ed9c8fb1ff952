"""LSTMs with projections: what tests of all cells, which run on them too, do not see."""

import copy
import pickle

import numpy as np
import pytest
from support import all_close, close, everything, random_cotangents, random_state, same_bits
from twin import Twin

import rnncore as rc
from rnncore.nn import Linear, SequenceModel


def test_names_and_shapes_are_torchs(rng):
    torch = pytest.importorskip("torch")
    for bias in (True, False):
        options = {"bias": bias, "bidirectional": True, "proj_size": 2}
        theirs, ours = torch.nn.LSTM(3, 5, 2, **options), rc.LSTM(3, 5, 2, **options, seed=0)
        shapes = {name: tuple(weight.shape) for name, weight in theirs.state_dict().items()}
        assert {name: weight.shape for name, weight in ours.state_dict().items()} == shapes
        assert list(ours.state_dict()) == list(shapes)
        ours.load_state_dict(theirs.state_dict())
    assert max(np.abs(weight).max() for weight in rc.LSTM(3, 5, proj_size=2, seed=0).state_dict().values()) < 5**-0.5


def test_what_a_projected_layer_shows():
    lstm = rc.LSTM(3, 5, 2, proj_size=2, seed=0)
    assert repr(lstm) == "LSTM(3, 5, num_layers=2, proj_size=2, dtype='float32')"
    assert lstm.options["proj_size"] == lstm.proj_size == 2
    assert "proj_size" not in rc.LSTM(3, 5).options         # so that files of layers without one stay as they were
    assert repr(lstm.structure) == "<Structure of 2 × 1 LSTM: 3 inputs, 5 units projected to 2, float32>"
    for other in (copy.deepcopy(lstm), pickle.loads(pickle.dumps(lstm)), type(lstm)(**lstm.options)):
        assert (repr(other), other.structure.shapes) == (repr(lstm), lstm.structure.shapes)
    with pytest.raises(AttributeError, match="proj_size: got 3, expected no change of 2"):
        lstm.proj_size = 3


@pytest.mark.parametrize(("given", "message"), [
    (5, "proj_size: got 5, expected less than hidden_size = 5, or 0 for no projection"),
    (-1, "proj_size: got -1, expected a whole number >= 0"),
    (1.5, "proj_size: got 1.5, expected a whole number >= 0"),
])
def test_sizes_that_cannot_be_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        rc.LSTM(3, 5, proj_size=given)
    with pytest.raises(TypeError, match="proj_size"):
        rc.GRU(3, 5, proj_size=2)


def test_states_of_another_width_are_refused(rng):
    lstm = rc.LSTM(3, 5, proj_size=2)
    x, h, c = rng.normal(size=(4, 2, 3)), np.zeros((1, 2, 2)), np.zeros((1, 2, 5))
    with pytest.raises(ValueError, match=r"h0: got shape \(1, 2, 5\), expected \(1, 2, 2\): .*, B, P\)"):
        lstm(x, (c, c))
    with pytest.raises(ValueError, match=r"c0: got shape \(1, 2, 2\), expected \(1, 2, 5\): .*, B, H\)"):
        lstm(x, (h, h))
    with pytest.raises(ValueError, match=r"pair \(h0, c0\), of shapes \(1, 2, 2\) and \(1, 2, 5\)"):
        lstm(x, h)
    tape = lstm.record(x)
    with pytest.raises(ValueError, match=r"grad_state\[0\] \(h\): got shape \(1, 2, 5\), expected \(1, 2, 2\)"):
        tape.backward(None, (c, c))
    with pytest.raises(ValueError, match=r"h0: got shape \(1, 1, 2, 5\), expected \(1, 1, 2, 2\)"):
        rc.Ensemble([lstm])(x, (c[None], c[None]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("H", "P"), [(2, 1), (17, 16), (33, 32), (65, 8), (96, 95), (130, 33)])
def test_widths_around_vectors_and_panels_equal_the_twins(H, P, dtype, rng):
    lstm = rc.LSTM(3, H, bidirectional=True, proj_size=P, dtype=dtype, seed=1)
    x, state = rng.normal(size=(5, 7, 3)).astype(dtype), random_state(lstm, 7, rng)
    lengths, (g, gs) = [5, 0, 3, 5, 1, 2, 5], random_cotangents(lstm, 5, 7, rng)
    judge = Twin.of(lstm)
    run = judge.forward(x, state, lengths)
    expected = judge.backward(run, g, gs)
    tape = lstm.record(x, state, lengths)
    grads = tape.backward(g, gs)
    close(tape.output, run.output, dtype)
    all_close(tape.state, run.state, dtype)
    close(grads.input, expected.input, dtype)
    all_close(grads.state, expected.state, dtype)
    all_close(grads.parameters, expected.parameters, dtype)
    for name in tape.names():
        close(tape.grad[name], expected.values[name], dtype)


@pytest.mark.parametrize(("T", "B", "H", "P"), [(40, 1, 256, 40), (30, 3, 300, 299), (30, 24, 96, 33)],
                         ids=["units", "units and lengths", "rows"])
def test_threads_change_no_bit(T, B, H, P, rng):
    """They divide the units of the gates and, apart from these, the values of h; or they divide the rows."""
    lstm = rc.LSTM(8, H, proj_size=P, seed=0)
    x, cotangents = rng.normal(size=(T, B, 8)).astype("float32"), random_cotangents(lstm, T, B, rng)
    lengths = None if B == 1 else rng.integers(T // 2, T + 1, size=B)
    marks = rng.random((T, B)) < 0.1
    found = []
    for threads in (1, 2, 3):
        with rc.threads(threads):
            tape = lstm.record(x, lengths=lengths, reset=marks)
            found.append(everything(tape, tape.backward(*cotangents)) | {"call": lstm(x, None, lengths, marks)[0]})
    same_bits(found[1], found[0])
    same_bits(found[2], found[0])


def test_a_model_reads_the_projected_output(rng, tmp_path):
    """Every readout, both directions, files, streams, and a step of training."""
    for readout in ("steps", "mean", "last"):
        lstm = rc.LSTM(3, 6, 2, bidirectional=True, proj_size=2, dtype="float64", seed=0)
        model = SequenceModel(None, lstm, Linear(4, 2, dtype="float64", seed=1), loss="mse", readout=readout)
        x = rng.normal(size=(5, 3, 3))
        y, _ = model(x)
        grads = model.record(x).backward(g := rng.normal(size=y.shape))
        step = {name: rng.normal(size=weight.shape) for name, weight in model.state_dict().items()}
        before, ends = model.state_dict(), []
        for sign in (1e-6, -1e-6):
            model.load_state_dict({name: weight + sign * step[name] for name, weight in before.items()})
            ends.append((model(x)[0] * g).sum())
        slope = sum((grads.parameters[name] * step[name]).sum() for name in step)
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(slope, rel=1e-7)
    model = SequenceModel(None, rc.LSTM(3, 6, proj_size=2, seed=0), Linear(2, 1, seed=1), loss="mse")
    trainer = rc.train.Trainer(model, rc.optim.Adam(model), [(rng.normal(size=(5, 3, 3)), rng.normal(size=(5, 3, 1)))])
    trainer.fit(2, progress=False)
    trainer.save(tmp_path / "model.safetensors")
    same = rc.train.load_model(tmp_path / "model.safetensors")[0]
    assert repr(same) == repr(model)
    same_bits(same(x)[0], model(x)[0])
    stream = model.stream(3)
    np.testing.assert_allclose(np.stack([stream.step(row) for row in x]), model(x)[0], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="head: got in_features=6, expected 2"):
        SequenceModel(None, rc.LSTM(3, 6, proj_size=2), Linear(6, 1), loss="mse")


def test_initialisers_know_the_projection():
    lstm = rc.init.orthogonal(rc.LSTM(3, 6, proj_size=4, dtype="float64", seed=0), 0.5, seed=1)
    for block in np.split(lstm.state_dict()["weight_hh_l0"], 4):
        np.testing.assert_allclose(block.T @ block, 0.25 * np.eye(4), atol=1e-14)
    before = lstm.state_dict()
    rc.init.forget_bias(lstm, 1.0)
    changed = [name for name, weight in lstm.state_dict().items() if (weight != before[name]).any()]
    assert changed == ["bias_ih_l0", "bias_hh_l0"]
    with pytest.raises(ValueError, match="identity: got the layer of 'weight_hh_l0' with projections"):
        rc.init.identity(lstm)
