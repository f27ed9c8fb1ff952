"""Run by test_bits.py under RNNCORE_ISA=base: cases for the page, what it answers to them, and what the engine answers.

It writes one file of arrays: "<case> | <name> | page" and "<case> | <name> | engine". The pages, what they were asked
and what they answered stay in the folder.
"""

import base64
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from support import CELLS, KINDS, make, parts, random_state, whole

import rnncore as rc
from rnncore import _engine, viz
from rnncore.nn import Embedding, Linear, SequenceModel, cross_entropy, sequence_model

ALPHABET = "abcdefghij klmnopqrs"
FEATURES, LABELS = 5, 4
BOTH = {"bidirectional": True}
ALL = {"peepholes": True, "coupled": True, "cell_clip": 0.4, "gate_clip": 0.8}
# Layers with options: each of them, and many at once.
OPTIONS = {
    **{f"{cell} both": (*mode, BOTH) for cell, mode in CELLS.items()},
    "projected both": ("LSTM", {"proj_size": 3}, BOTH),
    "lstm peepholes": ("LSTM", {"peepholes": True, "cell_clip": 0.3}, {}),
    "lstm all": ("LSTM", ALL, {"activations": ["hardsigmoid", "softsign", ("elu", 0.7)], "proj_size": 4}),
    "lstm activations both": (
        "LSTM", BOTH, {"activations": ["sigmoid", "relu", "tanh", "hardsigmoid", "tanh", "softsign"]},
    ),
    "gru all": ("GRU", {"gate_clip": 0.7}, {"activations": ["hardsigmoid", "softsign"]}),
    "gru-reset-before all": ("GRU", {"reset_after": False, "gate_clip": 0.7}, {"activations": ["softsign", "tanh"]}),
    "rnn all": ("RNN", {"gate_clip": 0.7}, {"activations": [("leakyrelu", 0.3)]}),
}
# What the head of a model with labels reads, of a layer.
READOUTS = [("last", {}), ("mean", {}), ("last", BOTH), ("mean", BOTH), ("steps", BOTH)]


def networks():
    """name -> network: layers alone, with a whole and a part of a vector of units, and models of text."""
    layers, models = {}, {}
    for cell in KINDS:
        for layer_count, hidden_size in ((1, 4), (1, 37), (2, 16), (2, 9)):
            bias = hidden_size != 9
            name = f"{cell} {layer_count}x{hidden_size}"
            layers[name] = make(cell, FEATURES, hidden_size, layer_count, bias=bias, seed=hidden_size)
    for what, (mode, own, more) in OPTIONS.items():
        for layer_count in (1, 2):
            layer = getattr(rc, mode)(FEATURES, 9, layer_count, seed=layer_count, **own, **more)
            layers[f"{what} {layer_count}x9"] = layer
    for activation in _engine.ACTIVATIONS:
        layers[f"rnn {activation} 1x9"] = rc.RNN(FEATURES, 9, activations=[activation], seed=3)
    for cell, (mode, options) in CELLS.items():
        of_text = sequence_model("rnn", len(ALPHABET), hidden_size=24, embedding_size=7, seed=1)
        layer = getattr(rc, mode)(7, 24, 2, seed=3, **options)
        models[cell] = SequenceModel(of_text.embedding, layer, of_text.head)
    return layers, models


def labelled():
    """name -> model of text that gives one label to a sequence, or to each step."""
    found = {}
    for place, (readout, options) in enumerate(READOUTS):
        mode = ("LSTM", "GRU", "RNN")[place % 3]
        layer = getattr(rc, mode)(7, 11, 2, seed=place, **options)
        found[f"{readout} {mode} {layer.directions}"] = SequenceModel(
            Embedding(len(ALPHABET), 7, seed=1), layer, Linear(layer.structure.features, LABELS, seed=2),
            readout=readout,
        )  # fmt: skip
    return found


def inputs(name, rng):
    """Long ones where units fill whole vectors and a part of one, with one layer and with two."""
    long = name.endswith((" 1x37", " 2x9"))
    return [rng.normal(size=(T, FEATURES)).astype("float32") for T in ((1, 300) if long else (0, 1, 25))]


def texts(rng):
    return ["".join(rng.choice(list(ALPHABET), T)) for T in (0, 1, 2, 60)]


def asked(page, cases, folder, run):
    """The page's answers to the cases."""
    (folder / "cases.json").write_text(json.dumps(cases))
    subprocess.run([*run, str(page), str(folder / "cases.json"), str(folder / "results.json")], check=True)
    return json.loads((folder / "results.json").read_text())["found"]


def array(coded):
    kind = {"Float32Array": "<f4", "Float64Array": "<f8"}[coded["type"]]
    return np.frombuffer(base64.b64decode(coded["data"]), kind).reshape(coded["shape"])


def compare(out, case, answer, tape, grads):
    """Add the arrays of one case to `out`."""
    pairs = {name: (array(answer[name]), tape[name]) for name in tape.names()}
    pairs |= {f"grad {name}": (array(answer["grad"][name]), tape.grad[name]) for name in tape.grad}
    pairs["grad_input"] = array(answer["grad_input"]), grads.input
    for direction, suffix in zip(("forward", "reverse"), ("", "_reverse")[: tape.layer.directions], strict=False):
        name = f"jacobian_norms{suffix}"
        pairs[name] = array(answer[name]), viz.jacobian_norms(tape, direction)
    add(out, case, pairs)


def add(out, case, pairs):
    for name, (page, engine) in pairs.items():
        out[f"{case} | {name} | page"], out[f"{case} | {name} | engine"] = page, engine


def last_of(tape, stop=None):
    """The cotangent from which the page of a layer starts: without a loss, the sum of the last output is looked at."""
    cotangent = np.zeros(tape.output.shape, "float32")
    cotangent[:stop][-1:] = 1
    return cotangent


def of_layers(folder, rng, run, out):
    layers, _ = networks()
    page = viz.explore(layers, folder / "layers.html")
    cases = [(name, x) for name in layers for x in inputs(name, rng)]
    answers = asked(page, [{"name": name, "input": x.tolist()} for name, x in cases], folder, run)
    for file in ("cases", "results"):
        (folder / f"{file}.json").rename(folder / f"layers.{file}.json")
    for (name, x), answer in zip(cases, answers, strict=True):
        tape = layers[name].record(x[:, None])
        compare(out, f"{name} T={len(x)}", answer, tape, tape.backward(last_of(tape)))


def of_tapes(folder, rng, run, out):
    """Recorded rows begin in their initial states."""
    layers = {name: layer for name, layer in networks()[0].items() if name.endswith(" 2x9")}
    x = rng.normal(size=(12, 2, FEATURES)).astype("float32")
    tapes = {name: layer.record(x, random_state(layer, 2, rng), lengths=[7, 12]) for name, layer in layers.items()}
    page = viz.explore(tapes, folder / "tapes.html")
    cases = [(name, row) for name in tapes for row in range(2)]
    given = [{"name": name, "input": x[: tapes[name].lengths[row], row].tolist(), "asked": {"example": row}}
             for name, row in cases]  # fmt: skip
    for (name, row), answer in zip(cases, asked(page, given, folder, run), strict=True):
        tape = tapes[name]
        length = int(tape.lengths[row])
        initial = [part[:, [row]] for part in parts(tape.initial)]
        one = layers[name].record(x[:length, [row]], whole(layers[name], initial))
        compare(out, f"tape {name} row {row}", answer, one, one.backward(last_of(one)))


def of_resets(folder, rng, run, out):
    """The parts of a row between its resets are sequences of their own."""
    layer = rc.LSTM(FEATURES, 6, 2, bidirectional=True, seed=5)
    x, marks = rng.normal(size=(15, 1, FEATURES)).astype("float32"), np.zeros((15, 1), bool)
    marks[[4, 9]] = True
    tape = layer.record(x, random_state(layer, 1, rng), reset=marks)
    page = viz.explore(tape, folder / "resets.html")
    pieces = ((0, 4), (4, 9), (9, 15))
    given = [{"name": "network", "input": x[a:b, 0].tolist(), "asked": {"example": k}}
             for k, (a, b) in enumerate(pieces)]  # fmt: skip
    for (a, b), answer in zip(pieces, asked(page, given, folder, run), strict=True):
        tape.backward(last_of(tape, stop=b))
        pairs = {name: (array(answer[name]), tape[name][a:b]) for name in tape.names()}
        pairs |= {f"grad {name}": (array(answer["grad"][name]), tape.grad[name][a:b]) for name in tape.grad}
        add(out, f"reset {a}", pairs)


def of_models(folder, rng, run, out):
    _, models = networks()
    page, written = viz.explore(models, folder / "models.html", vocabulary=ALPHABET), texts(rng)
    cases = [(name, text) for name in models for text in written]
    answers = asked(page, [{"name": name, "input": text} for name, text in cases], folder, run)
    for (name, text), answer in zip(cases, answers, strict=True):
        tokens = tokens_of(text)
        record = models[name].record(tokens)
        loss, grad = cross_entropy(record.output[:-1], tokens[1:])
        grad = np.concatenate([grad, np.zeros_like(record.output[-1:])])
        compare_model(out, f"text {name} T={len(text)}", answer, record, loss, grad)


def of_labels(folder, rng, run, out):
    models = labelled()
    page, written = viz.explore(models, folder / "labels.html", vocabulary=ALPHABET), texts(rng)
    cases = [(name, text, label) for name in models for text in written for label in (None, 2)]
    given = [{"name": name, "input": text, "asked": {"label": label}} for name, text, label in cases]
    for (name, text, label), answer in zip(cases, asked(page, given, folder, run), strict=True):
        record = models[name].record(tokens_of(text))
        output = record.output.reshape(-1, LABELS)[-1:]     # of the last step, or of the sequence
        loss, grad = (0.0, output) if not len(output) else cross_entropy(
            output, output.argmax(axis=-1) if label is None else np.array([label]))
        whole = np.zeros_like(record.output)
        whole.reshape(-1, LABELS)[-1:] = grad
        compare_model(out, f"label {label} {name} T={len(text)}", answer, record, loss, whole)


def tokens_of(text):
    return np.array([ALPHABET.index(symbol) for symbol in text], int)[:, None]


def compare_model(out, case, answer, record, loss, grad):
    """Add the arrays of one case of a model; `grad` is the gradient of its output."""
    # The head is a product of numpy, whose bits are BLAS's; what BPTT starts from is therefore taken from the page.
    compare(out, case, answer, record.tape, record.tape.backward(array(answer["grad_output"])))
    record.backward(grad)
    pairs = {"logits": (array(answer["logits"]), record.output), "loss": (np.array(answer["loss"]), np.array(loss))}
    pairs |= {f"own grad {n}": (array(answer["grad"][n]), record.tape.grad[n]) for n in record.tape.grad}
    add(out, case, pairs)


def main(path, folder, *run):
    assert rc.build_info()["isa"] == "base"
    folder, rng, out = Path(folder), np.random.default_rng(5), {}
    for cases in (of_layers, of_tapes, of_resets, of_models, of_labels):
        cases(folder, rng, run, out)
    np.savez(path, **out)


if __name__ == "__main__":
    main(*sys.argv[1:])
