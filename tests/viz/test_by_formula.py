"""Measures by the formula of their docstring, where another test has only a bound or an order of magnitude."""

import numpy as np
import pytest
from support import KINDS, make, parts, random_input, random_state
from twin import Twin
from viz_twin import Explicit

from rnncore import viz


def spread_out(cell, H, rng):
    """A layer whose gates take many values, so that their mean square differs much from the square of their mean."""
    layer = make(cell, 3, H, dtype="float64")
    with layer.writable() as w:
        for a in w.values():
            a[...] = 1.5 * rng.normal(size=a.shape)
    return layer


@pytest.mark.parametrize("cell", ["lstm", "gru", "gru-reset-before"])
def test_chi_of_gated_cells_is_that_of_the_formula(cell, rng):
    """χ = E[keep²] + Σ σ_gate²·E[(∂state/∂a_gate)²], each gate's σ² = H·mean W²; its own for every gate."""
    H, T, lengths = 6, 9, np.array([9, 4, 0])
    layer = spread_out(cell, H, rng)
    x, s0 = random_input(layer, T, 3, rng), random_state(layer, 3, rng)
    run = Twin.of(layer).forward(x, parts(s0), lengths)
    value = {name.removeprefix("l0."): a[run.valid] for name, a in run.values.items()}
    W = np.split(layer.state_dict()["weight_hh_l0"], 4 if cell == "lstm" else 3)
    sigma2 = [H * np.mean(w**2) for w in W]
    first = parts(s0)[-1][0]  # c of an LSTM, h of a GRU
    tape_of_it = run.values["l0.c" if cell == "lstm" else "l0.h"]
    before = np.concatenate([first[None], tape_of_it[:-1]])[run.valid]

    def E(a):
        return np.mean(a**2)

    if cell == "lstm":
        i, f, g, o, c = (value[k] for k in "ifgoc")
        own = (sigma2[0] * E(g * i * (1 - i)) + sigma2[1] * E(before * f * (1 - f)) + sigma2[2] * E(i * (1 - g**2)))
        wanted = E(f) + own * E(o * (1 - np.tanh(c) ** 2))
    else:
        r, z, n, hn = (value[k] for k in ("r", "z", "n", "hn"))
        slope = (1 - z) * (1 - n**2)
        wanted = E(z) + sigma2[1] * E((before - n) * z * (1 - z))
        if cell == "gru":
            wanted += sigma2[2] * E(slope * r) + sigma2[0] * E(slope * hn * r * (1 - r))
        else:
            wanted += sigma2[2] * E(slope) * (E(r) + sigma2[0] * E(before * r * (1 - r)))
    found = viz.mean_field(layer.record(x, s0, lengths=lengths))["l0"]
    np.testing.assert_allclose(found.chi, wanted, rtol=1e-11)
    np.testing.assert_allclose(found.xi, -1 / np.log(wanted), rtol=1e-10)


@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_lyapunov_exponents_of_few_steps_are_sorted(cell, steps, rng):
    """After few steps the directions of the walk are not in descending order yet."""
    layer = make(cell, 3, 8, dtype="float64")
    x = np.abs(random_input(layer, steps, 1, rng))
    found = viz.lyapunov_spectrum(layer, x)
    wanted = Explicit(layer, x).lyapunov()
    assert (found[:-1] >= found[1:]).all()
    np.testing.assert_allclose(found, wanted, rtol=1e-9)  # -inf where a ReLU that is off takes a direction away
