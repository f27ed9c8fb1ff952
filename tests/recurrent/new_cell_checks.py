"""What test_new_cell.py runs in a project to which the minimal gated unit of docs/cells.md was added."""

import copy
import pickle
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

import rnncore as rc
from rnncore import viz
from rnncore.data import Corpus, batches
from rnncore.models import Recurrent, SequenceClassifier
from rnncore.nn import CELLS, SequenceModel, make_layer, sequence_model
from rnncore.optim import Adam
from rnncore.train import Trainer, load_model

rng = np.random.default_rng(0)
LENGTHS = np.array([9, 4, 0, 7])


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def twin(weights, x, h, lengths, reverse):
    """One layer and direction in plain numpy: outputs (T, B, H) and the final state."""
    W, U, b = weights["weight_ih"], weights["weight_hh"], weights["bias_ih"] + weights["bias_hh"]
    H = U.shape[1]
    out, h = np.zeros((*x.shape[:2], H)), h.copy()
    for row, length in enumerate(lengths):
        for t in range(length)[:: -1 if reverse else 1]:
            f = sigmoid(W[:H] @ x[t, row] + U[:H] @ h[row] + b[:H])
            n = np.tanh(W[H:] @ x[t, row] + U[H:] @ (f * h[row]) + b[H:])
            h[row] = out[t, row] = (1 - f) * h[row] + f * n
    return out, h


def layers_and_gradients():
    for dtype, tolerance in (("float64", 1e-12), ("float32", 2e-6)):
        layer = rc.MGU(3, 5, 2, bidirectional=True, dtype=dtype, seed=1)
        assert repr(layer) == f"MGU(3, 5, num_layers=2, bidirectional=True, dtype={dtype!r})"
        x, h0 = rng.standard_normal((9, 4, 3)), rng.standard_normal((4, 4, 5))
        below, finals = x, []
        for index in range(2):
            halves = []
            for position, end in ((2 * index, f"_l{index}"), (2 * index + 1, f"_l{index}_reverse")):
                weights = {name.removesuffix(end): w.astype(float) for name, w in layer.state_dict().items()
                           if name.endswith(end)}
                half, final = twin(weights, below, h0[position], LENGTHS, position % 2)
                halves.append(half)
                finals.append(final)
            below = np.concatenate(halves, axis=-1)
        y, h = layer(x, h0, lengths=LENGTHS)
        np.testing.assert_allclose(y, below, rtol=0, atol=tolerance)
        np.testing.assert_allclose(h, finals, rtol=0, atol=tolerance)
        tape = layer.record(x, h0, lengths=LENGTHS)
        np.testing.assert_array_equal(tape.output, y)
        np.testing.assert_array_equal(layer.record(x, h0, lengths=LENGTHS, checkpoint_every=4)["l1.f"], tape["l1.f"])
    layer = rc.MGU(3, 5, 2, bidirectional=True, dtype="float64", seed=1)
    g, tape = rng.standard_normal((9, 4, 10)), layer.record(x, h0, lengths=LENGTHS)
    grads = tape.backward(g)

    def loss(change):
        other = copy.deepcopy(layer)
        other.load_state_dict({name: w + change.get(name, 0) for name, w in layer.state_dict().items()})
        return (other(x + change.get("x", 0), h0 + change.get("h0", 0), lengths=LENGTHS)[0] * g).sum()

    for name, grad in {"x": grads.input, "h0": grads.state, **grads.parameters}.items():
        along = rng.standard_normal(grad.shape)
        slope = (loss({name: 1e-6 * along}) - loss({name: -1e-6 * along})) / 2e-6
        np.testing.assert_allclose((grad * along).sum(), slope, rtol=1e-6)


def other_ways_to_run():
    layer = rc.MGU(3, 5, seed=1)
    x = rng.standard_normal((6, 2, 3)).astype("float32")
    stream = layer.stream(2)
    np.testing.assert_array_equal([stream.step(x_t) for x_t in x], layer(x)[0])
    cell = rc.MGUCell(3, 5, seed=1)
    assert list(cell.state_dict()) == ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    np.testing.assert_array_equal(cell(x[0]), layer(x[:1])[1][0])
    for other in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer), pickle.loads(pickle.dumps(stream))._layer):
        assert other.cell is layer.cell
        np.testing.assert_array_equal(other(x)[0], layer(x)[0])
    rc.init.orthogonal(layer, seed=0)
    weight = layer.parameters["weight_hh_l0"]
    np.testing.assert_allclose(weight[5:] @ weight[5:].T, np.eye(5), atol=1e-6)
    assert (rc.init.forget_bias(layer, 2.0).parameters["bias_ih_l0"][:5] == -2).all()


def looked_at():
    tape = rc.MGU(3, 5, 2, seed=1).record(rng.standard_normal((30, 2, 3)))
    grads = tape.backward(rng.standard_normal((30, 2, 5)))
    assert list(viz.saturation(tape)) == ["l0.f", "l1.f"]
    kept = np.log(1 - tape["l0.f"].astype(float)).mean((0, 1))
    np.testing.assert_allclose(viz.timescales(tape)["l0"], -1 / kept, rtol=1e-6)
    assert viz.jacobian_norms(tape).shape == (30, 2)
    assert list(viz.gradient_flow(tape)) == ["l0.h", "l1.h"]
    delta = np.concatenate([tape.grad["l0.f"], tape.grad["l0.n"]], axis=-1)
    np.testing.assert_allclose(np.einsum("tbg,tbi->gi", delta, tape.input), grads.parameters["weight_ih_l0"], rtol=1e-4)
    assert set(viz.step_share(tape)) == {"weight_ih_l0", "weight_hh_l0", "weight_ih_l1", "weight_hh_l1"}
    with pytest.raises(ValueError, match="MGU, for which there is no formula"):
        viz.mean_field(tape)
    for plot in (viz.plot_gates, viz.plot_states, viz.plot_saturation, viz.plot_timescales, viz.plot_gradient_flow,
                 viz.plot_gradient_map, viz.plot_jacobian_norms, viz.plot_unrolled):
        plot(tape, ax=Figure().subplots())
    names = {image.get_gid() for image in viz.plot_cell(tape, Figure().subplots(), step=3).images}
    assert names == {"h0", "h", "f", "n"}
    assert viz.overview(tape).get_suptitle() == "MGU: 2 layers of 5 units, 30 steps, 2 rows"
    plt.close("all")


def watched():
    x = rng.standard_normal((30, 2, 3)).astype("float32")
    shut = rc.init.forget_bias(rc.MGU(3, 5, seed=1), 20.0)
    found = viz.diagnose(shut.record(x))
    assert "forget gate" in found["saturated"].advice
    assert "never take in anything new" in found["saturated"].sentence
    hit = viz.Stuck(steps=10).look(shut.record(x))
    assert (hit.tensor, hit.step) == ("l0.f", 9)
    assert "(forget gate)" in hit.sentence
    x[7, 1, 2] = np.nan
    hit = viz.NaN().look(rc.MGU(3, 5, seed=1).record(x))
    assert (hit.tensor, hit.step, hit.row) == ("input", 7, 1)


def trained(folder):
    assert "mgu" in CELLS
    assert make_layer("mgu", 3, 2).parameters["bias_ih_l0"][:2].tolist() == [-1.0, -1.0]
    corpus = Corpus("the cat sat on the mat. " * 60)
    model = sequence_model("mgu", len(corpus.vocabulary), hidden_size=16, seed=0)
    windows = batches(corpus.train, 4, 16)
    recorder = viz.Recorder(folder / "a.run", every=2, names=["*.f", "*.h"])
    trainer = Trainer(model, Adam(model, 0.02), windows, callbacks=[recorder, viz.Debugger(viz.NaN())])
    trainer.fit(20, progress=False, checkpoint=folder / "model.safetensors")
    assert trainer.losses[-1] < trainer.losses[0]
    again, _ = load_model(folder / "model.safetensors")
    assert again.config == model.config
    assert SequenceModel.from_config(model.config).layer.mode == "MGU"
    recorder.close()
    frame = viz.Run(folder / "a.run").frames[-1]
    assert frame.cell is model.layer.cell
    assert frame.names("*.f") == ["l0.f"]
    viz.plot_gates(frame, Figure().subplots())
    page = viz.report({"mgu": model.record(windows[0][0]).tape}, folder / "report.html")
    assert "MGU" in page.read_text(encoding="utf-8")
    assert Recurrent("mgu", 8, epochs=2, seed=0).fit(["abcd" * 30]).network_.layer.mode == "MGU"
    words = ["ab" * k for k in range(1, 12)] + ["ba" * k for k in range(1, 12)]
    classifier = SequenceClassifier("mgu", 8, epochs=2, seed=0).fit(words, [word[0] for word in words])
    assert classifier.predict(["ab"]).shape == (1,)


layers_and_gradients()
other_ways_to_run()
looked_at()
watched()
with tempfile.TemporaryDirectory() as place:
    trained(Path(place))
print("all of it")
