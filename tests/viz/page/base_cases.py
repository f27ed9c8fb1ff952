"""Run by test_bits.py under RNNCORE_ISA=base: cases for the page, what it answers to them, and what the engine answers.

It writes one file of arrays: "<case> | <name> | page" and "<case> | <name> | engine". The page of layers, what it was
asked and what it answered stay in the folder.
"""

import base64
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from support import CELLS, make

import rnncore as rc
from rnncore import viz
from rnncore.nn import SequenceModel, cross_entropy, sequence_model

ALPHABET = "abcdefghij klmnopqrs"
FEATURES = 5


def networks():
    """name -> network: layers alone, with a whole and a part of a vector of units, and models of text."""
    layers, models = {}, {}
    for cell in CELLS:
        for layer_count, hidden_size in ((1, 3), (1, 37), (2, 16), (2, 9)):
            bias = hidden_size != 9
            name = f"{cell} {layer_count}x{hidden_size}"
            layers[name] = make(cell, FEATURES, hidden_size, layer_count, bias=bias, seed=hidden_size)
        mode, options = CELLS[cell]
        of_text = sequence_model("rnn", len(ALPHABET), hidden_size=24, embedding_size=7, seed=1)
        layer = getattr(rc, mode)(7, 24, 2, seed=3, **options)
        models[cell] = SequenceModel(of_text.embedding, layer, of_text.head)
    return layers, models


def inputs(name, rng):
    """Long ones where units fill whole vectors and a part of one, with one layer and with two."""
    long = name.endswith((" 1x37", " 2x9"))
    return [rng.normal(size=(T, FEATURES)).astype("float32") for T in ((1, 300) if long else (0, 2, 25))]


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
    pairs["jacobian_norms"] = array(answer["jacobian_norms"]), viz.jacobian_norms(tape)
    for name, (page, engine) in pairs.items():
        out[f"{case} | {name} | page"], out[f"{case} | {name} | engine"] = page, engine


def main(path, folder, *run):
    assert rc.build_info()["isa"] == "base"
    folder, rng, out = Path(folder), np.random.default_rng(5), {}
    layers, models = networks()

    page = viz.explore(layers, folder / "layers.html")
    cases = [(name, x) for name in layers for x in inputs(name, rng)]
    answers = asked(page, [{"name": name, "input": x.tolist()} for name, x in cases], folder, run)
    for file in ("cases", "results"):
        (folder / f"{file}.json").rename(folder / f"layers.{file}.json")
    for (name, x), answer in zip(cases, answers, strict=True):
        tape = layers[name].record(x[:, None])
        cotangent = np.zeros(tape.output.shape, "float32")
        cotangent[-1:] = 1  # without a loss, the sum of the last outputs is looked at
        compare(out, f"{name} T={len(x)}", answer, tape, tape.backward(cotangent))

    page, written = viz.explore(models, folder / "models.html", vocabulary=ALPHABET), texts(rng)
    texts_and_names = [(name, text) for name in models for text in written]
    answers = asked(page, [{"name": name, "input": text} for name, text in texts_and_names], folder, run)
    for (name, text), answer in zip(texts_and_names, answers, strict=True):
        tokens = np.array([ALPHABET.index(symbol) for symbol in text], int)[:, None]
        record, case = models[name].record(tokens), f"text {name} T={len(text)}"
        # The head is a product of numpy, whose bits are BLAS's; what BPTT starts from is therefore taken from the page.
        compare(out, case, answer, record.tape, record.tape.backward(array(answer["grad_output"])))
        loss, grad = cross_entropy(record.output[:-1], tokens[1:])
        record.backward(np.concatenate([grad, np.zeros_like(record.output[-1:])]))
        by_engine = {"logits": record.output, "loss": np.array(loss)}
        by_page = {"logits": array(answer["logits"]), "loss": np.array(answer["loss"])}
        by_engine |= {f"own grad {name}": record.tape.grad[name] for name in record.tape.grad}
        by_page |= {f"own grad {name}": array(answer["grad"][name]) for name in record.tape.grad}
        for name_of, value in by_page.items():
            out[f"{case} | {name_of} | page"], out[f"{case} | {name_of} | engine"] = value, by_engine[name_of]
    np.savez(path, **out)


if __name__ == "__main__":
    main(*sys.argv[1:])
