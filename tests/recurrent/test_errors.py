"""Errors of layers and streams say which property of an argument is wrong, and the way out."""

import numpy as np
import pytest

import rnncore as rc

LAYER = rc.LSTM(3, 4, seed=0)


def test_a_step_of_one_row_without_its_axis_is_told_how_to_get_it(rng):
    with pytest.raises(ValueError, match=r"x_t: got shape \(3,\), expected .*\(1, 3\); x_t\[None\] has this shape"):
        LAYER.stream(1).step(rng.normal(size=3))
    with pytest.raises(ValueError, match=r"x_t: got shape \(3,\), .*\(2, 3\); open the stream with another batch_size"):
        LAYER.stream(2).step(rng.normal(size=3))


def test_an_output_that_cannot_be_used_is_told_by_what_is_wrong(rng):
    read_only = np.empty((2, 4), np.float32)
    read_only.setflags(write=False)
    for out, what in ((read_only, r"read-only float32 \(2, 4\)"),
                      (np.empty((2, 8), np.float32)[:, ::2], r"non-contiguous float32 \(2, 4\)"),
                      (np.empty((2, 4)), r"float64 \(2, 4\)"), ([0.0], "list")):
        with pytest.raises(ValueError, match=f"^out: got {what}, expected a writable C-contiguous float32 array"):
            LAYER.stream(2).step(rng.normal(size=(2, 3)), out=out)


@pytest.mark.parametrize(("length", "way_out"), [
    (-1, "; an empty row has the length 0$"), (6, "; pad x to the longest row$"), (2.5, "one per row$"),
])
def test_a_wrong_length_is_told_with_its_own_way_out(rng, length, way_out):
    x = rng.normal(size=(5, 2, 3))
    with pytest.raises(ValueError, match=rf"^lengths: got {length}.* in row 1, .*{way_out}"):
        LAYER(x, lengths=[3, length])
