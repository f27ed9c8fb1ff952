"""Run by test_isa_bits.py once for every instruction set: the same work, written to a file."""

import sys

import numpy as np
from support import CELLS, everything, make, random_cotangents, random_input, random_state

from rnncore.models import HiddenMarkov

SHAPES = [
    (5, 1, 3, 7, 1),
    (4, 4, 8, 16, 2),
    (6, 13, 17, 33, 1),
    (3, 37, 1, 65, 1),
    (2, 6, 129, 100, 1),
]


def main(path):
    rng, out = np.random.default_rng(11), {}
    for cell in CELLS:
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
                S = H * layers * (2 if cell == "lstm" else 1)
                v = rng.normal(size=(2, B, S)).astype(dtype)
                *_, last = tape.pullback(v)
                got = everything(tape, grads) | {"call": y, "stream": np.array(steps)}
                got |= {"pull": last.value * np.exp(last.log_scale)[..., None]}
                out |= {f"{cell} {dtype} H{H} {k}": a for k, a in got.items()}
    sweep = np.concatenate([np.linspace(-100, 100, 4001), np.geomspace(1e-38, 1e38, 999)])
    for cell in ("rnn-tanh", "rnn-sigmoid"):
        for dtype in ("float32", "float64"):
            layer = make(cell, 1, 1, dtype=dtype)
            out[f"{cell} {dtype} curve"] = layer(sweep.reshape(-1, 1, 1))[0]
    out |= hidden_markov(rng)
    np.savez(path, **out)


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
