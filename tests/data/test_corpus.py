"""Texts: any UTF-8 file, the default text, and clear refusals of files that are not text."""

import hashlib
import os
import sys

import numpy as np
import pytest

from rnncore.data import Alphabet, Corpus, TextError

TEXT = "Die Größe: 12 µm, 漢字, 🎈\r\nund so weiter.\n" * 5


def test_a_file_becomes_tokens_and_back(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(TEXT.encode())
    corpus = Corpus.from_file(path)
    assert corpus.vocabulary == "".join(sorted(set(TEXT)))
    assert corpus.decode(corpus.train) + corpus.decode(corpus.valid) == TEXT
    assert len(corpus.valid) == round(len(TEXT) * 0.1)
    assert corpus.train.dtype == np.int32
    assert corpus.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert corpus.sha256 in str(corpus)
    assert str(path) in str(corpus)
    assert corpus.encode("🎈 µ").tolist() == [corpus.vocabulary.index(c) for c in "🎈 µ"]


def test_a_byte_order_mark_is_not_a_character(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"\xef\xbb\xbfabc")
    assert Corpus.from_file(path).vocabulary == "abc"


@pytest.mark.parametrize("fraction", [0, 0.25, 0.5])
def test_the_end_is_held_out(fraction):
    corpus = Corpus("abcdefgh" * 100, valid_fraction=fraction)
    assert len(corpus.valid) == 800 * fraction
    assert corpus.decode(corpus.train) == ("abcdefgh" * 100)[: len(corpus.train)]


def test_the_default_is_pythons_documentation():
    corpus = Corpus.topics()
    assert len(corpus.train) > 100_000
    assert 'The "if" statement' in corpus.decode(np.append(corpus.train, corpus.valid))
    assert corpus.sha256 == Corpus.topics().sha256


def test_missing_documentation_topics_are_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(TextError, match=r"without its documentation topics.*give a text file"):
        Corpus.topics()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty: give a text"),
        (b"\xef\xbb\xbf", "is empty: give a text"),
        (b"abc\0def", r"is binary \(NUL at byte 3\)"),
        ("Gr\xf6\xdfe".encode("latin-1"), r"is not UTF-8 \(byte 2 is 0xf6\).*iconv"),
        ("text".encode("utf-16"), "is (binary|not UTF-8)"),
    ],
)
def test_files_that_are_not_text_are_refused(tmp_path, content, message):
    path = tmp_path / "text"
    path.write_bytes(content)
    with pytest.raises(TextError, match=message):
        Corpus.from_file(path)


def test_folders_and_devices_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Corpus.from_file(tmp_path / "nowhere")
    with pytest.raises(IsADirectoryError, match="is a directory: give a text file"):
        Corpus.from_file(tmp_path)
    with pytest.raises(TextError, match="is a device"):
        Corpus.from_file(os.devnull)


def test_too_short_texts_are_refused_with_the_size_needed():
    corpus = Corpus("a" * 1000)
    corpus.require(batch_size=8, steps=100)
    with pytest.raises(TextError, match=r"900 characters to train on.*needs 901 and 2; give"):
        corpus.require(batch_size=9, steps=100)
    with pytest.raises(TextError, match="too short"):
        Corpus("ab").require(1, 1)


@pytest.mark.parametrize("characters", ["", None, 3, ["a"]])
def test_an_alphabet_has_characters(characters):
    with pytest.raises(ValueError, match=r"alphabet: got .*, expected at least one character"):
        Alphabet(characters)


def test_unknown_characters_are_named():
    assert Alphabet("ab").encode("").tolist() == []
    message = "text: got 'x' at step 1, expected one of the 2 characters 'ab': the vocabulary lacks '!x'; leave"
    with pytest.raises(TextError, match=message):
        Alphabet("ab").encode("ax!bx")
    with pytest.raises(TextError, match="the vocabulary lacks '!x'"):
        Corpus("abab").encode("ax!bx")
    with pytest.raises(TypeError, match="text: got list, expected a string"):
        Alphabet("ab").encode(["a"])
    with pytest.raises(ValueError, match="valid_fraction: got 1"):
        Corpus("abc", valid_fraction=1)
