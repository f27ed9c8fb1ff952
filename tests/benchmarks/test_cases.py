"""Shapes are read back as written, and operations are counted as the paper says."""

import numpy as np
import pytest

from benchmarks.cases import CELLS, Arrays, Case


@pytest.mark.parametrize("text", ["7,3,2,5", "7,3,2,5,x3", "7,3,2,5,bi", "7,3,2,5,x2,bi,f64"])
def test_parse_reads_the_label_of_a_case(text):
    assert Case.parse("GRU", text).label == text


@pytest.mark.parametrize(
    ("cell", "text", "says"),
    [
        ("LSTM", "7,3,2", "four positive sizes"),
        ("LSTM", "7,3,0,5", "four positive sizes"),
        ("LSTM", "7,3,two,5", "'7,3,two,5'"),
        ("LSTM", "7,3,2,5,f32", "'f32'"),
        ("LSTM", "7,3,2,5,x0", "'x0'"),
        ("lstm", "7,3,2,5", "LSTM, GRU, RNN"),
    ],
)
def test_wrong_shapes_are_refused_with_the_reason(cell, text, says):
    with pytest.raises(ValueError, match=says):
        Case.parse(cell, text)


def test_flops_of_a_bidirectional_stack_equal_those_counted_by_hand():
    case = Case.parse("GRU", "10,2,3,5,x2,bi")
    first, second = 3 * 5 * (3 + 5), 3 * 5 * (2 * 5 + 5)
    assert case.flops("forward") == 2 * 10 * 2 * 2 * (first + second)
    assert case.flops("training") == 3 * case.flops("forward")


@pytest.mark.parametrize("cell", CELLS)
def test_arrays_have_the_names_and_shapes_of_torch(cell):
    torch = pytest.importorskip("torch")
    case = Case.parse(cell, "4,3,2,5,x2,bi,f64")
    arrays = Arrays.draw(case)
    module = getattr(torch.nn, cell)(2, 5, num_layers=2, bidirectional=True)
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    assert {name: value.shape for name, value in arrays.parameters.items()} == expected
    assert list(arrays.parameters) == list(expected)
    assert {a.dtype for a in (arrays.x, *arrays.state, *arrays.parameters.values())} == {
        np.dtype("float64")
    }
    assert all(np.all(a != 0) for a in (arrays.x, arrays.grad_output, *arrays.state))


def test_the_same_seed_gives_the_same_arrays():
    case = Case.parse("LSTM", "4,3,2,5")
    one, two = Arrays.draw(case), Arrays.draw(case)
    assert np.array_equal(one.x, two.x)
    assert not np.array_equal(one.x, Arrays.draw(case, seed=5).x)
