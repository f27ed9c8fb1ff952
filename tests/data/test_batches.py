"""Windows that continue where the previous one ended, padding, buckets."""

import numpy as np
import pytest
from support import same_bits

import rnncore.data
from rnncore.data import Corpus, LazyWindows, TextError, batches, buckets, fingerprint, pad


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize(("length", "rows", "steps"), [(101, 4, 5), (100, 4, 7), (30, 1, 29)])
def test_rows_continue_in_the_next_window_and_targets_are_the_next_tokens(length, rows, steps, drop_last):
    tokens = np.arange(length)
    windows = batches(tokens, rows, steps, drop_last=drop_last)
    x = np.concatenate([x for x, _ in windows])
    targets = np.concatenate([targets for _, targets in windows])
    per_row = (length - 1) // rows
    if drop_last:
        per_row -= per_row % steps
    assert x.shape == (per_row, rows)
    assert (np.diff(x, axis=0) == 1).all()
    assert (targets == x + 1).all()
    assert len(np.unique(x)) == x.size
    assert len(windows) == -(-per_row // steps)
    assert all(len(x) == steps for x, _ in list(windows)[:-1])


def test_windows_are_accessed_by_number():
    windows = batches(np.arange(41), 2, 5)
    assert len(windows) == 4
    same_bits(windows[-1], windows[3])
    with pytest.raises(IndexError):
        windows[4]


def test_too_few_tokens_say_how_many_are_needed():
    batches(np.arange(13), 3, 4)
    with pytest.raises(TextError, match="tokens: got 12, expected at least 13 for 3 rows"):
        batches(np.arange(12), 3, 4)
    with pytest.raises(TextError, match="tokens: got 0"):
        batches([], 3, 4, drop_last=False)
    with pytest.raises(ValueError, match="batch_size: got 0, expected a whole number >= 1"):
        batches(np.arange(12), 0, 4)


def test_padding_keeps_values_types_and_lengths(rng):
    rows = [rng.normal(size=(n, 3)).astype(np.float32) for n in (4, 0, 2)]
    for first in (False, True):
        x, lengths = pad(rows, np.nan, batch_first=first)
        assert lengths.tolist() == [4, 0, 2]
        assert lengths.dtype == np.int64
        by_row = x if first else x.swapaxes(0, 1)
        assert by_row.shape == (3, 4, 3)
        assert x.dtype == np.float32
        assert x.flags.c_contiguous
        for got, row in zip(by_row, rows, strict=True):
            same_bits(got[: len(row)], row)
            assert np.isnan(got[len(row) :]).all()


def test_tokens_are_padded_and_an_empty_list_is_refused():
    x, _ = pad([[1, 2], [], [3]])
    assert x.dtype.kind == "i"
    assert x.tolist() == [[1, 0, 3], [2, 0, 0]]
    assert pad([[]])[0].shape == (0, 1)
    with pytest.raises(ValueError, match="sequences: got none"):
        pad([])
    with pytest.raises(ValueError, match=r"got shapes \[\(2, 3\), \(2, 4\)\]"):
        pad([np.ones((2, 3)), np.ones((2, 4))])


@pytest.mark.parametrize("seed", [None, 3])
def test_buckets_have_every_row_once_and_pad_little(rng, seed):
    lengths = rng.integers(1, 200, size=103)
    groups = buckets(lengths, 8, seed=seed)
    assert sorted(np.concatenate(groups).tolist()) == list(range(103))
    assert sorted(map(len, groups)) == [7] + [8] * 12
    padded = sum(len(g) * lengths[g].max() for g in groups)
    assert padded < 1.1 * lengths.sum()  # sorted: at most one step of 1/13 of the range per group
    if seed is not None:
        same_bits(np.concatenate(groups), np.concatenate(buckets(lengths, 8, seed=seed)))
        other = buckets(lengths, 8, seed=seed + 1)
        assert [g.tolist() for g in other] != [g.tolist() for g in groups]


def test_empty_sequences_alone_can_be_padded():
    x, lengths = pad([[], []])
    assert x.shape == (0, 2)
    assert lengths.tolist() == [0, 0]


def test_reprs_give_sizes_and_no_values():
    tokens = np.arange(1000)
    assert repr(batches(tokens, 4, 10)) == "Batches(24 windows of 10 steps and 4 rows)"
    assert repr(LazyWindows(lambda n: n, range(7))) == "LazyWindows(7 windows)"
    corpus = Corpus("abracadabra!", name="spell", valid_fraction=0.25)
    assert repr(corpus) == "Corpus('spell', 9 tokens to train on and 3 held out, 6 characters)"


def test_slices_of_windows_are_sequences_of_windows():
    windows = batches(np.arange(61), 2, 5)
    for cut in (slice(1, 3), slice(None, None, 2), slice(None, None, -1), slice(-3, None), slice(4, 2)):
        part, expected = windows[cut], list(windows)[cut]
        assert len(part) == len(expected)
        for one, other in zip(part, expected, strict=True):
            same_bits(one, other)
        assert fingerprint(part) == fingerprint(expected)
    same_bits(windows[1:5][1:3][-1], windows[3])
    assert repr(windows[::2]) == "Batches(3 windows of 5 steps and 2 rows, none of which continues the last)"
    assert windows[1:].continues
    assert not windows[1::2].continues
    assert list(LazyWindows(lambda n: n * n, range(9))[::4]) == [0, 16, 64]


def test_dir_of_the_package_shows_its_public_names():
    assert dir(rnncore.data) == sorted(rnncore.data.__all__)


@pytest.mark.parametrize(("sequences", "value", "name"), [
    ([[1, 2], [3]], 10**30, "value"), ([[1, 2], [3]], float("nan"), "value"), ([[1, 2], [3]], [1, 2], "value"),
    ([[1, 2], [3]], "a", "value"), (None, 0, "sequences"), ([[1], [[1], [1, 2]]], 0, r"sequences\[1\]"),
])
def test_what_cannot_be_padded_is_refused_by_name(sequences, value, name):
    with pytest.raises((TypeError, ValueError), match=f"^{name}: got"):
        pad(sequences, value)
