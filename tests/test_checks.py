"""The checks of whole numbers and of numbers in a range, which all rooms share."""

import math
from fractions import Fraction

import numpy as np
import pytest

from rnncore._checks import as_number, as_probability, as_size


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3)])
def test_whole_numbers_of_any_kind_pass(value):
    found = as_size(value, "n", least=3)
    assert found == 3
    assert type(found) is int


@pytest.mark.parametrize("value", [True, np.True_, 3.0, np.float64(3), "3", None, [3], 2, 2**63, np.ones(1, int)])
def test_what_is_not_a_whole_number_in_range_is_refused(value):
    expected = "expected a whole number >= 3" + (r" and < 2\*\*63" if isinstance(value, int) and value == 2**63 else "")
    with pytest.raises(ValueError, match=f"^n: got .*, {expected}$"):
        as_size(value, "n", least=3)
    with pytest.raises(ValueError, match=f"^n: got .*, {expected}, or None$"):
        as_size(value, "n", least=3, also="None")


@pytest.mark.parametrize("value", [0.25, np.float32(0.25), Fraction(1, 4)])
def test_real_numbers_of_any_kind_pass(value):
    found = as_number(value, "x", above=0, below=1)
    assert found == 0.25
    assert type(found) is float
    assert as_number(np.int64(2), "x") == 2.0


@pytest.mark.parametrize(
    ("limits", "wrong", "expected"),
    [
        ({}, [math.nan, math.inf, -math.inf, 10**400, True, np.True_, "1", 1j, None], "a finite number"),
        ({"least": 0}, [-1e-300, math.nan, math.inf], "a finite number >= 0"),
        ({"above": 0, "finite": False}, [0, -1, math.nan, -math.inf], "a number above 0"),
        ({"below": 2, "finite": False}, [2, math.inf, math.nan], "a number below 2"),
        ({"least": 0, "below": 1}, [-0.1, 1, math.nan], r"a number in \[0, 1\)"),
        ({"above": 0, "below": 1}, [0, 1, math.nan], r"a number in \(0, 1\)"),
    ],
)
def test_numbers_out_of_range_are_refused(limits, wrong, expected):
    for value in wrong:
        with pytest.raises(ValueError, match=rf"^x: got .*, expected {expected}$"):
            as_number(value, "x", **limits)


def test_the_ends_of_a_range_are_included_or_excluded_as_stated():
    assert as_number(0, "x", least=0) == 0
    assert as_number(-5, "x", below=2) == -5
    assert as_number(math.inf, "x", above=0, finite=False) == math.inf
    assert as_probability(0, "p") == 0
    with pytest.raises(ValueError, match=r"p: got 1, expected a number in \[0, 1\)"):
        as_probability(1, "p")
