"""The numpy twin that all libraries are compared with is itself compared with finite differences."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import twin
from benchmarks.cases import CELLS, Arrays, Case

STEP = 1e-5


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", ["", ",x2", ",bi", ",x2,bi"])
def test_gradients_are_the_slopes_of_the_loss(cell, kind, rng):
    case = Case.parse(cell, f"4,2,3,4{kind},f64")
    arrays = Arrays.draw(case)
    grads = twin.numbers(case, "training", arrays)

    def loss(moved):
        return np.vdot(moved.grad_output, twin.numbers(case, "forward", moved)["output"])

    leaves = {"grad.input": arrays.x}
    leaves |= {f"grad.state.{k}": part for k, part in zip("hc", arrays.state, strict=False)}
    leaves |= {f"grad.{name}": value for name, value in arrays.parameters.items()}
    for name, leaf in leaves.items():
        direction = rng.standard_normal(leaf.shape)

        def at(step, leaf=leaf, direction=direction):
            def move(value):
                return value + step * direction if value is leaf else value

            parameters = {k: move(v) for k, v in arrays.parameters.items()}
            state = tuple(map(move, arrays.state))
            return replace(arrays, x=move(arrays.x), state=state, parameters=parameters)

        slope = (loss(at(STEP)) - loss(at(-STEP))) / (2 * STEP)
        # central differences: truncation of order step² = 1e-10 times third derivatives of order
        # 10, rounding of order eps·|loss|/step = 2e-10
        assert np.vdot(grads[name], direction) == pytest.approx(slope, rel=1e-7, abs=1e-8), name


def test_wider_floats_are_kept():
    case = Case.parse("LSTM", "3,2,3,4")
    wide = twin.numbers(case, "training", dtype=np.longdouble)
    assert {value.dtype for value in wide.values()} == {np.dtype(np.longdouble)}
