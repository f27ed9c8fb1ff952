"""Texts: any UTF-8 file, the default text, and clear refusals of files that are not text."""

import hashlib
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from rnncore.data import Alphabet, Corpus, TextError, batches, fingerprint

TEXT = "Die Größe: 12 µm, 漢字, 🎈\r\nund so weiter.\n" * 5


def test_a_file_becomes_tokens_and_back(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(TEXT.encode())
    corpus = Corpus.from_file(path)
    assert corpus.vocabulary == "".join(sorted(set(TEXT)))
    assert corpus.decode(corpus.train) + corpus.decode(corpus.valid) == TEXT
    assert len(corpus.valid) == round(len(TEXT) * 0.1)
    assert corpus.train.dtype == corpus.valid.dtype == np.uint8
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
        ("text".encode("utf-16"), r"is UTF-16, not UTF-8: .*iconv -f utf-16 -t utf-8"),
        ("a\nb".encode("utf-16-be"), r"is UTF-16-BE, not UTF-8: .*iconv -f utf-16-be -t utf-8"),
        (b"\xef\xbb\xbfabc\xffd", r"is not UTF-8 \(byte 6 is 0xff\)"),
        ("漢字".encode()[:-1], r"is not UTF-8 \(byte 3 is 0xe5\)"),
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


# -- texts in pieces ----------------------------------------------------------------------
LETTERS = ["a\nb", "öß", "漢字", "🎈🂡", "\ufeff", "\u0301"]


@pytest.fixture(params=[1, 2, 3, 4, 5, 7, 64])
def piece(request, monkeypatch):
    """Texts are converted in pieces of so many characters, or bytes of a file: characters straddle their ends."""
    monkeypatch.setattr("rnncore.data.text.PIECE", request.param)
    return request.param


def test_a_text_in_pieces_has_the_tokens_of_the_whole(piece, rng, tmp_path):
    text = "".join(rng.choice(list("".join(LETTERS)), size=150))
    symbols = "".join(sorted(set(text)))
    tokens = np.array([symbols.index(c) for c in text])
    path = tmp_path / "text"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    for corpus in (Corpus(text), Corpus.from_file(path)):
        assert corpus.vocabulary == symbols
        assert np.append(corpus.train, corpus.valid).tolist() == tokens.tolist()
        assert corpus.decode(tokens) == text
        assert corpus.complete
    assert Corpus(text).sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert corpus.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert Alphabet(text).encode(text).tolist() == tokens.tolist()
    with pytest.raises(TextError, match=r"got 'X' at step 147, .* the vocabulary lacks 'XY'"):
        Alphabet(text).encode(text[:147] + "XY" + text)
    for limit in (1, 2, 149, 150, 151, 10**15):
        part = Corpus.from_file(path, limit=limit)
        assert part.decode(np.append(part.train, part.valid)) == text[:limit]
        assert part.complete == (limit >= 150)
        used = path.read_bytes()[: 3 + len(text[:limit].encode())]
        assert part.sha256 == hashlib.sha256(used).hexdigest()


def test_an_error_names_the_byte_of_the_file(piece, rng, tmp_path):
    path = tmp_path / "text"
    for bad in (b"\x80", b"\xff", b"\xe6\xbc", b"\xf0\x9f\x8e", b"\xe6" + b"\x80" * 5, b"\xf0" + b"\x90" * 6,
                b"\xc0\x80", b"\xed\xa0\x80"):
        head = "".join(rng.choice(LETTERS, size=5)).encode()
        raw = head + bad + b"and more" * 3
        path.write_bytes(raw)
        with pytest.raises(UnicodeDecodeError) as whole:
            raw.decode("utf-8")
        with pytest.raises(TextError, match=rf"\(byte {whole.value.start} is 0x{raw[whole.value.start]:02x}\)"):
            Corpus.from_file(path)
        # What a limit leaves out is not looked at.
        assert not Corpus.from_file(path, limit=2).complete


def test_tokens_have_the_smallest_type_that_holds_them():
    for size, dtype in ((1, np.uint8), (255, np.uint8), (256, np.uint8), (257, np.uint16), (65_536, np.uint16),
                        (65_537, np.uint32)):
        text = "".join(map(chr, range(0x10000, 0x10000 + size))) * 2
        corpus = Corpus(text, valid_fraction=0)
        assert corpus.train.dtype == dtype
        assert corpus.train.tolist() == [*range(size)] * 2
        assert corpus.encode(text).dtype == np.int32
        assert corpus.alphabet.encode(text).dtype == np.int64
        with pytest.raises(TextError, match="lacks 'a'"):
            corpus.encode(text + "a")


def test_texts_with_surrogates_are_kept():
    text = "a\udc80b\ud800"
    corpus = Corpus(text, valid_fraction=0)
    assert corpus.decode(corpus.train) == text
    assert len(corpus.sha256) == 64


def test_a_large_text_takes_less_than_three_times_its_size(tmp_path):
    path, size = tmp_path / "text", 20 * 2**20
    path.write_bytes((TEXT * 200).encode("ascii", "replace") * (size // len(TEXT) // 200))
    seen = []
    tracemalloc.start()
    corpus = Corpus.from_file(path, progress=lambda done, total, info: seen.append(done / total))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    Corpus.from_file(path, limit=1000)
    part = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert len(corpus.train) > 0.8 * size
    assert peak < 3 * size
    assert part < 2 * 2**20     # the table of seen code points is 1.1 MB
    assert len(seen) >= 40
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_a_pipe_is_read_no_further_than_the_limit(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = subprocess.Popen([sys.executable, "-c", f"""
try:
    with open({str(pipe)!r}, "wb") as f:
        while True:
            f.write(b"abc" * 1000)
except BrokenPipeError:
    pass
"""])
    assert len(Corpus.from_file(pipe, limit=500, valid_fraction=0).train) == 500
    assert writer.wait(timeout=60) is not None


def test_a_limit_is_a_whole_number(tmp_path):
    (tmp_path / "a").write_text("abc")
    for limit in (0, -1, 1.5, "3", True):
        with pytest.raises(ValueError, match="limit: got"):
            Corpus.from_file(tmp_path / "a", limit=limit)


def test_digests_of_tokens_are_those_of_earlier_releases():
    """A checkpoint has the digest of its windows, whose tokens were int32 once."""
    corpus = Corpus("the cat sat on the mat. " * 30)
    assert fingerprint(batches(corpus.train, 2, 5)) == fingerprint(batches(corpus.train.astype(np.int32), 2, 5))
    assert fingerprint(batches(corpus.train, 2, 5)) != fingerprint(batches(corpus.train.astype(np.int64), 2, 5))
