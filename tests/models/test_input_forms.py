"""One door for all models: series, frames, masked arrays, lists with gaps, arrays of strings, in every form alike."""

import datetime
import decimal

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from rnncore.models import (
    AutoRegressive,
    HiddenMarkov,
    Markov,
    Recurrent,
    SequenceClassifier,
    SwitchingAutoRegressive,
)
from rnncore.models.interface.plain import as_targets, plain
from rnncore.models.interface.sequences import MOST_SYMBOLS, as_list, as_real


class OnlyDlpack:
    """An array of a library that numpy knows by the DLPack protocol alone."""

    def __init__(self, values):
        self._values = np.array(values)

    def __dlpack__(self, **options):
        return self._values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._values.__dlpack_device__()

    def __len__(self):
        return len(self._values)

    def __iter__(self):
        return iter(self._values)


def tensors():
    """Arrays of other libraries, by name: functions of a numpy array."""
    found = [pytest.param(OnlyDlpack, id="dlpack")]
    try:
        import torch
    except ImportError:
        return found
    return [*found, pytest.param(torch.tensor, id="torch"), pytest.param(
        lambda x: torch.tensor(x, requires_grad=x.dtype.kind == "f"), id="torch with gradients")]


REAL = {
    "AutoRegressive": lambda: AutoRegressive(1, missing="mask"),
    "HiddenMarkov": lambda: HiddenMarkov(2, "gaussian", missing="mask", random_state=0, n_iter=3),
    "Switching": lambda: SwitchingAutoRegressive(2, 1, missing="mask", random_state=0, n_iter=3),
    "Recurrent": lambda: Recurrent("gru", 4, epochs=1, missing="mask", seed=0),
}
SYMBOLS = {
    "Markov": lambda: Markov(1), "HiddenMarkov": lambda: HiddenMarkov(2, random_state=0, n_iter=3),
    "Recurrent": lambda: Recurrent("gru", 4, epochs=1, seed=0),
}


def frames():
    """The libraries of tables that are installed here: (a frame of columns, a series)."""
    found = [pytest.param(pd.DataFrame, pd.Series, id="pandas")]
    try:
        import polars
    except ImportError:
        return found
    return [*found, pytest.param(lambda columns: polars.DataFrame(columns), lambda values, **how: polars.Series(
        [None if v is pd.NA else v for v in values]), id="polars")]


# -- tensors of other libraries -------------------------------------------------------------
@pytest.mark.parametrize("tensor", tensors())
@pytest.mark.parametrize("kind", REAL)
def test_a_tensor_is_the_sequence_that_the_array_is(rng, kind, tensor):
    """Alone or in a list, of one feature or several: never one sequence per step."""
    for x in (rng.normal(size=40), rng.normal(size=(40, 2)), rng.normal(size=(3, 30, 2))):
        model, same = REAL[kind]().fit(x), REAL[kind]().fit(tensor(x))
        assert same.score(tensor(x)) == same.score(x) == model.score(x)
    if tensor is not OnlyDlpack:        # which gives numbers of numpy
        np.testing.assert_array_equal(REAL[kind]().fit(list(tensor(x[0, :, 0]))).score(x[0, :, 0]),
                                      REAL[kind]().fit(x[0, :, 0]).score(x[0, :, 0]))
    model = REAL[kind]().fit([x[0], x[1]])
    assert REAL[kind]().fit([tensor(x[0]), tensor(x[1])]).log_prob(tensor(x[2])) == model.log_prob(x[2])


@pytest.mark.parametrize("tensor", tensors())
def test_tensors_of_symbols_inputs_and_labels_are_read_as_arrays(rng, tensor):
    ids = rng.integers(0, 3, size=50)
    assert Markov(1).fit(tensor(ids)).log_prob(tensor(ids)) == Markov(1).fit(ids).log_prob(ids)
    x, u = rng.normal(size=40), rng.normal(size=(40, 2))
    model = AutoRegressive(1).fit(x, exog=u)
    same = AutoRegressive(1).fit(tensor(x), exog=tensor(u))
    np.testing.assert_array_equal(same.coef_, model.coef_)
    assert same.log_prob(tensor(x), exog=tensor(u)) == model.log_prob(x, exog=u)
    X, y = rng.normal(size=(8, 12)), np.arange(8) % 2
    classifier = SequenceClassifier("gru", 4, epochs=1, seed=0).fit(X, y)
    same = SequenceClassifier("gru", 4, epochs=1, seed=0).fit(tensor(X), tensor(y))
    np.testing.assert_array_equal(same.predict_proba(tensor(X)), classifier.predict_proba(X))


@pytest.mark.parametrize("kind", REAL)
def test_a_second_sequence_is_not_taken_for_inputs_and_ignored(rng, kind):
    """``fit([load], [temp])`` once trained without the inputs."""
    x, u = rng.normal(size=40), rng.normal(size=40)
    model = REAL[kind]()
    takes_inputs = kind in ("AutoRegressive", "Recurrent")
    way_out = r"did you mean exog=\?" if takes_inputs else r"as a list, \[x1, x2\]"
    for y in ([u], u, [40]):
        with pytest.raises(TypeError, match=f"y: got a .*, expected None: .*{way_out}"):
            model.fit([x], y)
    model.fit([x], None)
    with pytest.raises(TypeError, match="y: got a list, expected None"):
        model.score([x], [u])


# -- real values ------------------------------------------------------------------------
@pytest.mark.parametrize("kind", REAL)
def test_every_mark_of_a_missing_value_is_the_same(rng, kind):
    """NaN, entries masked with any fill value, None, pandas' NA: the same model, and the same answers."""
    x = np.round(rng.normal(size=60) * 8)
    gone = rng.random(60) < 0.2
    gone[:3] = False
    nan = np.where(gone, np.nan, x)
    gaps = [None if g else v for v, g in zip(x.tolist(), gone, strict=True)]
    forms = {
        "masked": np.ma.masked_array(np.where(gone, 1e37, x), gone), "list": gaps,
        "masked integers": np.ma.masked_array(np.where(gone, -9999, x).astype(int), gone).reshape(-1, 1),
        "objects": np.array(gaps, object), "nullable": pd.Series(gaps, dtype="Float64"),
        "integers": pd.DataFrame({"x": pd.array([None if g is None else int(g) for g in gaps], dtype="Int64")}),
        "series of objects": pd.Series(gaps, dtype=object),
        "decimals": [None if g is None else decimal.Decimal(int(g)) for g in gaps],
    }
    model = REAL[kind]().fit([nan[:, None]])
    for name, form in forms.items():
        same = REAL[kind]().fit([form])
        assert same.kind_ == "real"
        for sequence in (nan, form):
            assert same.log_prob(sequence) == model.log_prob(nan), name
        assert model.mean_squared_error([form]) == model.mean_squared_error([nan])
    refusing = REAL[kind]().set_params(missing="refuse")
    for form in forms.values():
        with pytest.raises(ValueError, match=r"got NaN at step .*missing='mask'"):
            refusing.fit([form])


@pytest.mark.parametrize(("frame", "series"), frames())
def test_frames_of_any_type_of_number_are_read_by_their_values(rng, frame, series):
    whole, yes = rng.integers(0, 9, size=40), rng.random(40) < 0.5
    real = rng.normal(size=40)
    wanted = np.stack([whole, yes, real], axis=1)
    columns = {"whole": whole, "yes": yes, "real": real}
    np.testing.assert_array_equal(as_real(frame(columns)), wanted)
    np.testing.assert_array_equal(as_real(series(whole.tolist())), wanted[:, :1])
    model = AutoRegressive(1).fit(frame(columns))
    assert model.log_prob(frame(columns)) == model.log_prob(wanted)
    ahead = AutoRegressive(1).fit(real, exog=frame({"whole": whole, "yes": yes}))
    np.testing.assert_array_equal(ahead.exog_coef_, AutoRegressive(1).fit(real, exog=wanted[:, :2]).exog_coef_)
    gaps = frame({"whole": [None, *whole[1:].tolist()], "yes": [*yes[:-1].tolist(), None], "real": real.tolist()})
    expected = wanted.copy()
    expected[0, 0] = expected[-1, 1] = np.nan
    np.testing.assert_array_equal(as_real(gaps, missing="mask"), expected)


@pytest.mark.parametrize(("frame", "series"), frames())
@pytest.mark.parametrize(("column", "what"), [
    ([datetime.date(2020, 1, d) for d in range(1, 9)], "dates"), (list("abcdefgh"), "strings"),
    ([datetime.datetime(2020, 1, d, 5) for d in range(1, 9)], "dates"),
])
def test_a_column_that_is_no_number_is_named(rng, frame, series, column, what):
    table = frame({"price": np.arange(8.0), "when": column})
    for model in (AutoRegressive(1), Recurrent("rnn", 2), SwitchingAutoRegressive(2, 1), HiddenMarkov(2, "gaussian")):
        with pytest.raises(TypeError, match=rf"column 'when'.*got {what}"):
            model.fit(table)
    with pytest.raises(TypeError, match=r"exog\[0\]: column 'when'|exog: column 'when'"):
        AutoRegressive(1).fit(np.arange(8.0), exog=table)


def test_object_arrays_are_judged_by_their_values_and_errors_have_the_place():
    table = pd.DataFrame({"a": [1, 2, 3], "b": [True, False, True]})
    np.testing.assert_array_equal(as_real(table.to_numpy()), as_real(table))
    with pytest.raises(TypeError, match=r"x: got 'n/a' \(str\) at step 1"):
        as_real(np.array([1.0, "n/a", 3.0], object), name="x")
    with pytest.raises(TypeError, match="x: feature 1: got strings"):
        as_real(np.array([[1, "a"], [2, "b"]], object), name="x")
    with pytest.raises(TypeError, match="dates"):
        as_real(np.array(["2020-01-01", "2020-01-02"], "datetime64[D]"))
    with pytest.raises(TypeError, match="dates"):
        as_real(pd.Series(pd.to_datetime(["2020-01-01", None], utc=True)))
    with pytest.raises(TypeError, match=r"\(dict\) at step 0"):
        as_real(np.array([{}, {}], object))
    assert as_real(pd.DataFrame(index=range(4))).shape == (4, 0)


# -- symbols ----------------------------------------------------------------------------
@pytest.mark.parametrize("kind", SYMBOLS)
def test_every_form_of_whole_numbers_is_the_same_sequence(rng, kind):
    ids = rng.integers(0, 5, size=80)
    model = SYMBOLS[kind]().fit([ids])
    forms = [ids, ids.tolist(), pd.Series(ids), pd.Series(ids, dtype="Int64"), ids.astype(object),
             ids.astype(np.uint64), np.ma.masked_array(ids), pd.Series(ids.tolist(), dtype=object),
             ids.astype(np.int8), [pd.Series(ids)], pd.Series(ids).astype("category")]
    for form in forms:
        same = SYMBOLS[kind]().fit(form)
        assert same.kind_ == "ids"
        one = form[0] if isinstance(form, list) and len(form) == 1 else form
        assert same.log_prob(one) == model.log_prob(ids)
        assert same.score(form) == model.score([ids])


@pytest.mark.parametrize("kind", SYMBOLS)
@pytest.mark.parametrize("make", [lambda ids: ids[:, None], lambda ids: pd.DataFrame({"x": ids}),
                                  lambda ids: ids[:, None].astype(object)])
def test_a_column_of_integers_is_refused_with_both_ways_out(rng, kind, make):
    ids = rng.integers(0, 5, size=30)
    column = make(ids)
    with pytest.raises(ValueError, match=r"shape \(30, 1\), which may be .*give .* or "):
        SYMBOLS[kind]().fit(column)
    model = SYMBOLS[kind]().fit([ids])
    with pytest.raises(ValueError, match=r"x.ravel\(\) for one sequence, or list\(x\) for 30"):
        model.score(column)
    with pytest.raises(ValueError, match=r"sequence: got shape \(30, 1\).*x.ravel\(\)"):
        model.log_prob(column)
    assert model.score(ids) == model.score(np.asarray(column).astype(int).ravel())


def test_integers_of_two_dimensions_mean_the_same_as_a_frame_and_as_an_array(rng):
    table = pd.DataFrame(rng.integers(0, 5, size=(30, 3)), columns=list("abc"))
    for form in (table, table.to_numpy(), table.astype("Int64")):
        with pytest.raises(ValueError, match=r"30 sequences of symbols, or one of real values with 3 features"):
            Recurrent("rnn", 2, epochs=1).fit(form)
        assert Markov(1).fit(form).log_prob([0, 1, 2]) == Markov(1).fit(list(table.to_numpy())).log_prob([0, 1, 2])
        np.testing.assert_array_equal(AutoRegressive(1).fit(form).coef_,
                                      AutoRegressive(1).fit(table.to_numpy().astype(float)).coef_)
        assert Recurrent("rnn", 2, epochs=1, alphabet=5, seed=0).fit(form).kind_ == "ids"
    assert Recurrent("rnn", 2, epochs=1).fit(list(table.to_numpy())).kind_ == "ids"
    assert Recurrent("rnn", 2, epochs=1).fit(table.astype(float)).n_features_ == 3


def test_arrays_of_strings_are_texts_and_ambiguous_ones_are_refused():
    texts = ["abab", "baba", "ab"]
    wanted = Markov(1).fit(texts).log_prob("abba")
    for form in (np.array(texts), np.array(texts, object), np.array(texts, np.dtypes.StringDType())):
        assert Markov(1).fit(form).log_prob("abba") == wanted
        assert Markov(1).fit(texts).score(form) == Markov(1).fit(texts).score(texts)
    for form in (np.array(list("abba")), np.array(list("abba"), object)):
        with pytest.raises(TypeError, match=r"4 single characters.*''.join\(x\) for one text, or x.tolist\(\)"):
            Markov(1).fit(form)
        with pytest.raises(TypeError, match=r"sequence: .*''.join\(x\)"):
            Markov(1).fit(texts).log_prob(form)
    with pytest.raises(TypeError, match=r"Series of 3 strings.*one sequence of labels or a list of texts"):
        Markov(1).fit(pd.Series(["sun", "rain", "sun"]))
    with pytest.raises(TypeError, match="array of strings as one sequence"):
        Recurrent().fit([np.array(["sun", "rain"])])
    with pytest.raises(TypeError, match="got a string"):
        AutoRegressive(1).fit(np.array(["1.5", "2.5", "x"]))
    with pytest.raises(TypeError, match="got strings"):
        AutoRegressive(1).fit([np.array(["1.5", "2.5", "x"])])


def test_symbols_with_gaps_are_refused_or_masked():
    gaps = [[0, 1, None, 1, 0, 0, 1], pd.Series([0, 1, None, 1, 0, 0, 1], dtype="Int64"),
            np.ma.masked_array([0, 1, 77, 1, 0, 0, 1], [0, 0, 1, 0, 0, 0, 0])]
    wanted = HiddenMarkov(2, random_state=0, n_iter=3, missing="mask").fit([[0, 1, -1, 1, 0, 0, 1]])
    for form in gaps:
        for model in (Markov(1), HiddenMarkov(2), Recurrent("rnn", 2, epochs=1)):
            with pytest.raises(ValueError, match=r"sequences\[0\]: got a missing value at step 2"):
                model.fit(form)
        model = HiddenMarkov(2, random_state=0, n_iter=3, missing="mask").fit(form)
        assert model.alphabet_ == 2
        assert model.log_prob(form) == wanted.log_prob([0, 1, -1, 1, 0, 0, 1])
    with pytest.raises(ValueError, match=">= 0"):
        HiddenMarkov(2).fit([[0, -1]])
    with pytest.raises(ValueError, match=">= 0"):
        HiddenMarkov(2, missing="mask").fit([[0, -2]])
    with pytest.raises(TypeError, match=r"dtype float64.*x.astype\(int\)"):
        Markov(1).fit(np.array([0.0, 1.0, 2.0]))


@pytest.mark.parametrize("large", [MOST_SYMBOLS, 2**31, 2**31 + 7, 2**40, 2**63 - 1, 2**63 + 5, 2**64 - 1])
def test_numbers_that_are_names_are_refused_before_memory_is_asked_for(large):
    ids = np.array([3, large, 3], np.uint64 if large >= 2**63 else np.int64)
    for form in (ids, pd.Series(ids), *([ids.tolist()] if large < 2**63 else [])):
        for model in (Markov(1), HiddenMarkov(2, random_state=0), Recurrent("rnn", 2)):
            with pytest.raises(ValueError, match=r"np.unique"):
                model.fit(form)
    with pytest.raises(ValueError, match=r"np.unique"):
        Markov(1).fit([[0, 1]]).log_prob(ids)
    with pytest.raises(ValueError, match="alphabet: got"):
        Markov(1, alphabet=int(large) + 1).fit([[0, 1]])
    assert Markov(1).fit(np.unique(ids, return_inverse=True)[1]).alphabet_ == 2


# -- labels -----------------------------------------------------------------------------
def test_labels_of_any_form_are_the_same(rng):
    X = [rng.normal(size=n) for n in range(3, 15)]
    labels = ["up" if k % 2 else "down" for k in range(12)]
    model = SequenceClassifier("rnn", 3, epochs=1, seed=0).fit(X, labels)
    for y in (np.array(labels), np.array(labels, object), pd.Series(labels), pd.Series(labels, dtype="category")):
        same = SequenceClassifier("rnn", 3, epochs=1, seed=0).fit(X, y)
        np.testing.assert_array_equal(same.predict_proba(X), model.predict_proba(X))
        assert same.score(X, y) == model.score(X, labels)
    numbers = pd.Series([1, 0] * 6, dtype="Int64")
    assert SequenceClassifier("rnn", 3, epochs=1, seed=0).fit(X, numbers).task_ == "label"
    reals = pd.Series([1.5, 0.5] * 6, dtype="Float64")
    assert SequenceClassifier("rnn", 3, epochs=1, seed=0).fit(X, reals).task_ == "number"


@pytest.mark.parametrize("y", [
    ["a", None, "b", "a"], ["a", float("nan"), "b", "a"], pd.Series(["a", None, "b", "a"]), [1, None, 2, 2],
    pd.Series([1, None, 2, 2], dtype="Int64"), np.array(["a", None, "b", "a"], object),
    np.ma.masked_array([1, 9, 2, 1], [0, 1, 0, 0]), pd.Series([True, None, False, True], dtype="boolean"),
])
def test_a_label_that_is_missing_is_refused_with_its_place(y):
    with pytest.raises(ValueError, match=r"y: got .* at 1, expected"):
        SequenceClassifier("rnn", 2).fit([[1.0, 2.0]] * 4, y)


def test_labels_of_two_types_are_refused():
    with pytest.raises(TypeError, match="y: got values of the types int, str"):
        as_targets(["a", 1])


def test_rows_of_a_frame_are_sequences_of_a_classifier(rng):
    table = pd.DataFrame(rng.normal(size=(12, 5)))
    y = [0, 1] * 6
    one, two = (SequenceClassifier("rnn", 3, epochs=1, seed=0).fit(X, y) for X in (table, table.to_numpy()))
    np.testing.assert_array_equal(one.predict_proba(table), two.predict_proba(table.to_numpy()))
    words = np.array(["ab", "ba"] * 6)
    letters = np.array(["a", "b"] * 6)      # one sequence per label: not ambiguous here
    for X in (words, letters):
        model = SequenceClassifier("rnn", 3, epochs=1, seed=0).fit(X, y)
        np.testing.assert_array_equal(model.predict(X), model.predict(X.tolist()))


# -- the property -----------------------------------------------------------------------
@given(st.lists(st.one_of(st.none(), st.integers(-2**40, 2**40), st.floats(allow_infinity=False), st.booleans()),
                min_size=1, max_size=20))
@settings(max_examples=150, deadline=None)
def test_lists_objects_and_series_have_the_same_values(values):
    wanted = [np.nan if v is None else float(v) for v in values]
    for form in (values, np.array(values, object), pd.Series(values, dtype=object), tuple(values)):
        np.testing.assert_array_equal(as_real(form, missing="mask")[:, 0], wanted)
    masked = np.ma.masked_invalid(np.array(wanted))
    np.testing.assert_array_equal(as_real(masked, missing="mask")[:, 0], wanted)
    whole = plain(values, "x")
    if all(v is None or (isinstance(v, int) and not isinstance(v, bool)) for v in values) and any(
            v is not None for v in values):
        assert whole.dtype == np.int64
    if not all(v is None or v != v for v in values):
        assert len(as_list(values)) == 1
