"""Conversion of sequences and states from every layout and back, also with leading axes."""

import numpy as np
import pytest

from rnncore.recurrent.layout import Layout, parts_of

T, B, F = 5, 3, 2


@pytest.mark.parametrize(("batch_first", "given"),
                         [(False, (T, B, F)), (True, (B, T, F)), (False, (T, F)), (True, (T, F))])
@pytest.mark.parametrize("leading", [(), (4,), (4, 2)])
def test_as_given_inverts_time_major(batch_first, given, leading, rng):
    layout = Layout.of(np.empty(given), batch_first)
    sequences = rng.standard_normal((*leading, *given))
    inside = layout.time_major(sequences)
    assert inside.shape == (*leading, T, B if layout.batched else 1, F)
    assert np.shares_memory(inside, sequences)
    assert layout.shape(*inside.shape[-3:]) == given
    np.testing.assert_array_equal(layout.as_given(inside), sequences)
    t, b = 3, 1 if layout.batched else 0
    at = (b, t) if given == (B, T, F) else (t, b) if layout.batched else (t,)
    np.testing.assert_array_equal(inside[..., t, b, :], sequences[(..., *at, slice(None))])


def test_states_have_the_shapes_that_a_caller_expects(rng):
    h, c = rng.standard_normal((2, 4, B, F))
    assert Layout(batch_first=True).states([h]) is h
    assert all(a is b for a, b in zip(Layout().states([h, c]), (h, c), strict=True))
    np.testing.assert_array_equal(Layout(batched=False).states([h[:, :1]]), h[:, 0])
    assert Layout().state_shape((4, B, F)) == (4, B, F)
    assert Layout(batched=False).state_shape((4, 1, F)) == (4, F)
    assert [part is h for part in parts_of(h)] == [True]
    assert [part is own for part, own in zip(parts_of((h, c)), (h, c), strict=True)] == [True, True]


def test_axes_are_named():
    assert Layout().axes == "(T, B, I)"
    assert Layout(True).axes == "(B, T, I)"
    assert Layout(True, False).axes == "(T, I)"
