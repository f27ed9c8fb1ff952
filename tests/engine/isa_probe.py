"""Run by test_isa_bits.py once for every instruction set: the same work, written to a file."""

import sys

import numpy as np
from support import KINDS, everything, make, random_cotangents, random_input, random_state

import rnncore as rc
from rnncore.models import HiddenMarkov
from rnncore.nn import Embedding, Linear, cross_entropy, token_nll
from rnncore.optim import SGD, Adam, clip_grad_norm

SHAPES = [
    (5, 1, 3, 7, 1),
    (4, 4, 8, 16, 2),
    (6, 13, 17, 33, 1),
    (3, 37, 1, 65, 1),
    (2, 6, 129, 100, 1),
]


def variants():
    """Layers whose activations are all there are, with every other option."""
    kinds = [("affine", 0.6, 0.2), ("leakyrelu", 0.3), ("thresholdedrelu", 0.4), ("scaledtanh", 1.3, 0.7)]
    kinds += [("elu", 0.7), "softsign", "softplus", "hardsigmoid", "relu", "sigmoid"]
    for dtype in ("float32", "float64"):
        for kind in kinds:
            own = {"dtype": dtype, "gate_clip": 0.9, "seed": 4}
            own_lstm = {"peepholes": True, "coupled": kind == "softsign", "cell_clip": 0.7}
            layers = {
                "lstm": rc.LSTM(5, 21, activations=[kind] * 3, **own_lstm, **own),
                "gru": rc.GRU(5, 21, activations=[kind] * 2, **own),
                "gru-before": rc.GRU(5, 21, reset_after=False, activations=[kind] * 2, **own),
                "rnn": rc.RNN(5, 21, activations=[kind], **own),
            }
            for cell, layer in layers.items():
                yield f"{cell}-{kind if isinstance(kind, str) else kind[0]}", layer


def main(path):
    rng, out = np.random.default_rng(11), {}
    for cell in KINDS:
        for dtype in ("float32", "float64"):
            for T, B, I, H, layers in SHAPES:
                both = layers == 2
                layer = make(cell, I, H, layers, bidirectional=both, dtype=dtype)
                x, s0 = random_input(layer, T, B, rng), random_state(layer, B, rng)
                tape = layer.record(x, s0)
                grads = tape.backward(*random_cotangents(layer, T, B, rng))
                y, _ = layer(2 * x, s0)
                stream = None if both else layer.stream(B)
                steps = [] if both else [stream.step(x[t]) for t in range(T)]
                v = rng.normal(size=(2, B, layer.structure.carry_size)).astype(dtype)
                *_, last = tape.pullback(v)
                got = everything(tape, grads) | {"call": y, "stream": np.array(steps)}
                got |= {"pull": last.value * np.exp(last.log_scale)[..., None]}
                out |= {f"{cell} {dtype} H{H} {k}": a for k, a in got.items()}
    for name, layer in variants():
        tape = layer.record(random_input(layer, 6, 13, rng), random_state(layer, 13, rng))
        got = everything(tape, tape.backward(*random_cotangents(layer, 6, 13, rng)))
        out |= {f"{name} {layer.dtype} {k}": a for k, a in got.items()}
    sweep = np.concatenate([np.linspace(-100, 100, 4001), np.geomspace(1e-38, 1e38, 999)])
    for cell in ("rnn-tanh", "rnn-sigmoid"):
        for dtype in ("float32", "float64"):
            layer = make(cell, 1, 1, dtype=dtype)
            out[f"{cell} {dtype} curve"] = layer(sweep.reshape(-1, 1, 1))[0]
    out |= hidden_markov(rng) | rest_of_a_model(rng)
    np.savez(path, **out)


def rest_of_a_model(rng):
    """Linear layers, losses, embeddings, the norm of gradients and updates."""
    out = {}
    for dtype in ("float32", "float64"):
        for M, K, V in ((1, 3, 1), (70, 19, 45), (300, 64, 103), (9, 129, 600)):
            linear, table = Linear(K, V, dtype=dtype, seed=1), Embedding(V, K, dtype=dtype, seed=2)
            tokens = rng.integers(0, V, size=M)
            options = {"class_weight": rng.uniform(0.5, 2, V), "label_smoothing": 0.2}
            embedded = table.record(tokens)
            record = linear.record(embedded.output)
            _, grad = cross_entropy(record.output, tokens, **options)
            grads = record.backward(grad)
            got = {"output": record.output, "nll": token_nll(record.output, tokens), "grad": grad, "input": grads.input}
            got |= grads.parameters | {"table": embedded.backward(grads.input).parameters["weight"]}
            got["norm"] = np.array([clip_grad_norm(grads.parameters, 0.1)])
            given = {name: rng.normal(size=w.shape).astype(dtype) for name, w in grads.parameters.items()}
            for optimiser in (SGD(linear, 0.1, 0.9), Adam(linear, 0.1)):
                optimiser.step(given)       # Adam makes large differences of the small ones of gradients near 0
                got |= {f"{type(optimiser).__name__} {name}": w for name, w in linear.state_dict().items()}
            out |= {f"head {dtype} V{V} {name}": array for name, array in got.items()}
    return out


def hidden_markov(rng):
    """Hidden Markov models with and without a full vector of states, fitted and decoded on symbols and on vectors."""
    out = {}
    data = {"categorical": rng.integers(0, 5, 300), "gaussian": rng.normal(size=(300, 3))}
    for n_states in (2, 4, 7):
        for emission, x in data.items():
            model = HiddenMarkov(n_states, emission, covariance_type="full", n_iter=3, tol=0, random_state=0).fit([x])
            name = f"hidden-markov-{emission}-{n_states} float64"
            out |= {f"{name} transmat": model.transmat_, f"{name} posteriors": model.posteriors(x)}
            out[f"{name} log_prob"] = np.array([model.log_prob(x), model.decode(x)[0]])
    return out


if __name__ == "__main__":
    main(sys.argv[1])
