"""Values of files are checked before they are used: type, range, and the name in the error."""

import math

import numpy as np
import pytest

from rnncore.io.fields import DamagedFileError, Field, named_errors, read_json

HUGE = 10**400
SOME = [None, True, -1, 3, HUGE, 0.5, -0.5, math.nan, math.inf, "x", "", [], [1], {}, {"a": 1}, np.ones(2)]


def fits(check):
    """Which of `SOME` pass."""

    def passes(value):
        try:
            check(Field(value, "file", "name"))
        except DamagedFileError as error:
            return not str(error).startswith("file: name is ")
        return True

    return [value for value in SOME if passes(value)]


def test_every_check_accepts_its_type_and_range_alone():
    assert fits(Field.whole) == [3]
    assert fits(lambda f: f.whole(-1)) == [-1, 3]
    assert fits(lambda f: f.whole(0, 2)) == []
    assert fits(lambda f: f.whole(0, HUGE)) == [3, HUGE]
    assert fits(Field.number) == [-1, 3, 0.5, -0.5]
    assert fits(lambda f: f.number(0, 1)) == [0.5]
    assert str(fits(lambda f: f.number(finite=False))) == "[-1, 3, 0.5, -0.5, nan, inf]"
    assert fits(Field.text) == ["x", ""]
    assert fits(lambda f: f.text(("x", "y"))) == ["x"]
    assert fits(Field.flag) == [True]
    assert fits(Field.items) == [[], [1]]
    assert fits(lambda f: f.items(1)) == [[1]]
    assert fits(Field.entries) == [{}, {"a": 1}]
    assert len(fits(Field.array)) == 1


@pytest.mark.parametrize(
    ("array", "shape", "dtype", "message"),
    [
        (np.ones((2, 3)), (2, None), "f8", None),
        (np.ones((2, 3)), (None, None), "f8", None),
        (np.ones((2, 3)), None, "f8", None),
        (np.ones((2, 3)), (3, 2), "f8", "name is an array of float64 with shape (2, 3), expected"),
        (np.ones((2, 3)), (6,), "f8", "with shape (6,)"),
        (np.ones(3, "f4"), (3,), "f8", "is an array of float32"),
        (np.array([1, np.nan]), (2,), "f8", "name has values that are not finite"),
        (np.ones(3, "i8"), (3,), "i8", None),
    ],
)
def test_arrays_are_checked_by_type_shape_and_values(array, shape, dtype, message):
    field = Field(array, "file", "name")
    if message is None:
        assert field.array(shape, dtype) is array
        return
    with pytest.raises(DamagedFileError) as caught:
        field.array(shape, dtype)
    assert message in str(caught.value)


def test_errors_name_the_place_of_a_field():
    head = Field({"a": {"b": [1, {"c": "x"}]}}, "file")
    assert head["a"]["b"].items()[1]["c"].text() == "x"
    for look, message in (
        (lambda: head["a"]["b"].items()[1]["c"].whole(), "file: a.b[1].c is 'x', expected a whole"),
        (lambda: head["a"]["z"], "file: a.z is missing"),
        (lambda: head["a"]["b"]["c"], "file: a.b is a list of 2, expected a dict with names"),
        (lambda: head.only(["b"]), "file: a is unknown, expected b"),
        (lambda: head.require(["a", "z"]), "file: z is missing"),
        (lambda: head.items(), "file: its content is a dict of 1, expected a list"),
        (lambda: Field({1: 2}, "file", "n").keys(), "file: n is a dict of 1, expected a dict with"),
    ):
        with pytest.raises(DamagedFileError) as caught:
            look()
        assert str(caught.value).startswith(message)
    assert head.get("z") is None
    assert Field({"z": None}, "file").get("z") is None


def test_the_type_of_the_errors_can_be_chosen():
    with pytest.raises(KeyError):
        Field(3, "argument", "n", KeyError).text()


def test_errors_of_checks_of_arguments_name_the_field():
    field = Field(3, "file", "lr")
    for error in (ValueError("too large"), TypeError("too large"), KeyError("too large")):
        with pytest.raises(DamagedFileError, match=r"^file: lr: too large$"), named_errors(field):
            raise error
    with pytest.raises(ZeroDivisionError), named_errors(field):
        raise ZeroDivisionError
    with pytest.raises(DamagedFileError, match=r"^as it is$"), named_errors(field):
        raise DamagedFileError("as it is")


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 10**5, "[" * 10**5 + "]" * 10**5, '{"a":' * 200 + "1" + "}" * 200, "1" * 5000, b"\xff"]
)
def test_json_that_is_damaged_or_too_deep_is_refused(text):
    with pytest.raises(DamagedFileError, match=r"^file: its metadata is n"):
        read_json(text, "file")


def test_json_up_to_the_deepest_level_is_read():
    assert read_json("[" * 99 + "1" + "]" * 99, "file")
    assert read_json(b'{"a": [1, 2.5, null]}', "file") == {"a": [1, 2.5, None]}


def test_the_repr_describes_the_value_in_few_words():
    head = Field({"weights": np.zeros((2, 3))}, "run.safetensors")
    assert repr(head) == "Field(content of run.safetensors: a dict of 1)"
    assert repr(head["weights"]) == "Field(weights of run.safetensors: an array of float64 with shape (2, 3))"
