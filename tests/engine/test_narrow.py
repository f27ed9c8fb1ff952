"""One row of a net whose units fit into one vector has kernels of its own, with the bits of a batch."""

import numpy as np
import pytest

import rnncore as rc

LAYERS = {"lstm": rc.LSTM, "gru": rc.GRU}
# curves saturate, exp reaches its bound near 87.34, sums overflow, and NaN stays NaN
FAR = np.float32([0, -0.0, 1e-40, -1e-30, 1, -8, 43.6, 43.7, 87.3, -87.33, 87.34, -87.35, 88, -104, 1e4, -3e38, 3e38,
                  np.inf, -np.inf, np.nan])


def far_gates(kind: str, units: int, seed: int = 0):
    """A layer with one input that reaches some gates of some units multiplied by 1, and hardly moves the others."""
    layer = LAYERS[kind](1, units, seed=seed)
    rng = np.random.default_rng(seed)
    with layer.writable() as w:
        x = w["weight_ih_l0"]
        x[...] = np.where(rng.random(x.shape) < 0.3, 1, 1e-3)
    return layer


@pytest.mark.parametrize("units", [1, 3, 7, 8, 9, 13, 15, 16, 17])
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_one_row_has_the_bits_of_a_batch(kind, units, steps):
    layer = far_gates(kind, units)
    x = np.random.default_rng(1).choice(FAR[:-3], (steps, 40, 1))
    x[-1, : len(FAR), 0] = FAR
    y, state = layer(x)
    for row in range(x.shape[1]):
        alone, its_state = layer(x[:, row : row + 1])
        np.testing.assert_array_equal(alone[:, 0], y[:, row])
        zeros = y[:, row] == 0
        np.testing.assert_array_equal(np.signbit(alone[:, 0][zeros]), np.signbit(y[:, row][zeros]))
        pairs = zip(its_state, state, strict=True) if kind == "lstm" else [(its_state, state)]
        for part, of_batch in pairs:
            np.testing.assert_array_equal(part[:, 0], of_batch[:, row])


@pytest.mark.parametrize("units", [1, 8, 11, 16])
@pytest.mark.parametrize("kind", LAYERS)
def test_tapes_and_streams_of_one_row(kind, units):
    layer = LAYERS[kind](3, units, seed=2)
    x = np.random.default_rng(2).standard_normal((20, 2, 3)).astype(np.float32)
    both, alone = layer.record(x), layer.record(x[:, :1])
    for name in both.names():
        np.testing.assert_array_equal(alone[name][:, 0], both[name][:, 0], err_msg=name)
    np.testing.assert_array_equal(alone.output, layer(x[:, :1])[0])
    stream = layer.stream()
    y = np.concatenate([np.stack([stream.step(x_t[:1]) for x_t in x[:7]]), stream.block(x[7:, :1])])
    np.testing.assert_array_equal(y, alone.output)
