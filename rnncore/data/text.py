"""Text: characters as tokens, and a corpus with a part held out.

A text is read in pieces, and tokens have the smallest type that holds them, since texts may be large: an array of
one integer of 32 or 64 bits for every character, or several of them at once, would be many times as large as the file.
"""

from __future__ import annotations

import hashlib
import platform
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from rnncore._checks import as_indices, as_probability, as_size
from rnncore._progress import progress_bar

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rnncore._typing import Array, ArrayLike, PathLike, Progress

PIECE = 2**20  # characters, or bytes of a file, that are converted at once


class TextError(ValueError):
    """The text cannot be used; the message gives the reason and the way out."""


class Alphabet:
    """Characters as tokens: token k is the k-th character in the order of code points.

    Parameters
    ----------
    characters : str
        At least one; order and repetition make no difference.

    Attributes
    ----------
    symbols : str
        The characters in order, each once: token k is ``symbols[k]``.
    size : int

    Examples
    --------
    >>> from rnncore.data import Alphabet
    >>> letters = Alphabet("cab")
    >>> letters.encode("abba"), letters.decode([2, 0])
    (array([0, 1, 1, 0]), 'ca')
    """

    def __init__(self, characters: str) -> None:
        if not isinstance(characters, str) or not characters:
            raise ValueError(f"alphabet: got {characters!r:.60}, expected at least one character in a string")
        self._set(_distinct(_pieces(characters)))

    def _set(self, codes: NDArray[np.uint32]) -> None:
        self._codes = codes
        self.symbols, self.size = _from_code_points(codes), len(codes)
        # The token of every code point up to the largest one; all others have the number `size`, which is no token.
        # An index of 8 bits needs no check.
        self._table = np.full(max(int(codes[-1]) + 2, 256), self.size, np.min_scalar_type(self.size))
        self._table[codes] = np.arange(self.size)

    @classmethod
    def _of(cls, codes: NDArray[np.uint32]) -> Alphabet:
        """The alphabet of code points in order, each once."""
        made = cls.__new__(cls)
        made._set(codes)
        return made

    def encode(self, text: str, *, name: str = "text", way_out: str = "leave them out") -> NDArray[np.int64]:
        """Tokens (T,) int64 of a text.

        Parameters
        ----------
        text : str
        name : str
            The argument's name, for errors.
        way_out : str
            Advice on unknown characters, for errors.

        Raises
        ------
        TextError
            The text has unknown characters; the message lists them and gives the place of the first.
        """
        if not isinstance(text, str):
            raise TypeError(f"{name}: got {type(text).__name__}, expected a string")
        tokens: NDArray[np.int64] = np.empty(len(text), np.int64)
        lacking = self._fill(tokens, _pieces(text))
        if len(lacking):
            at = int(np.argmax(tokens == self.size))
            raise TextError(
                f"{name}: got {text[at]!r} at step {at}, expected one of the {self.size} characters "
                f"{_short(self.symbols, 40)}: the vocabulary lacks {_short(_from_code_points(lacking), 20)}; {way_out}"
            )
        return tokens

    def _fill(self, tokens: Array, pieces: Iterable[str]) -> NDArray[np.uint32]:
        """Write the tokens of a text, which comes in pieces; returns the unknown code points, whose token is `size`."""
        begin, unknown = 0, [np.empty(0, np.uint32)]
        for piece in pieces:
            points = _code_points(piece)
            found = self._table[points if points.dtype == np.uint8 else np.minimum(points, len(self._table) - 1)]
            tokens[begin : begin + len(points)] = found
            if (lacking := found == self.size).any():
                unknown.append(np.unique(points[lacking]).astype(np.uint32))
            begin += len(points)
        return np.unique(np.concatenate(unknown))

    def decode(self, tokens: ArrayLike | Iterable[int]) -> str:
        """The text of tokens, from an array or any iterable."""
        if isinstance(tokens, Iterable) and not hasattr(tokens, "__len__"):
            tokens = list(tokens)
        array = np.asarray(tokens)
        if array.ndim != 1:
            return _from_code_points(self._codes[as_indices(array, "tokens")])
        pieces = (as_indices(array[i : i + PIECE], "tokens") for i in range(0, max(len(array), 1), PIECE))
        return "".join(_from_code_points(self._codes[piece]) for piece in pieces)

    def __repr__(self) -> str:
        return f"Alphabet({self.symbols!r})"


class Corpus:
    """A text as tokens, one per character, with its vocabulary and a part held out.

    Parameters
    ----------
    text : str
    name : str
        The text's source, for messages.
    valid_fraction : float
        The share at the end of the text that is held out.
    sha256 : str, optional
        Digest of the file that the text was read from; by default that of the text as UTF-8.

    Attributes
    ----------
    alphabet : Alphabet
        The characters of the whole text.
    train, valid : integer arrays
        Tokens of the two parts, of the smallest unsigned type that holds them: uint8 for up to 256 characters.
    complete : bool
        False if the file is longer than the `limit` with which it was read.

    Examples
    --------
    >>> from rnncore.data import Corpus
    >>> corpus = Corpus("abracadabra!", valid_fraction=0.25)
    >>> corpus.vocabulary, corpus.train.tolist()
    ('!abcdr', [1, 2, 5, 1, 3, 1, 4, 1, 2])
    >>> corpus.decode(corpus.valid)
    'ra!'
    """

    def __init__(
        self,
        text: str,
        *,
        name: str = "text",
        valid_fraction: float = 0.1,
        sha256: str | None = None,
    ) -> None:
        if not isinstance(text, str):
            raise TypeError(f"text: got {type(text).__name__}, expected a string; Corpus.from_file reads a file")
        if sha256 is None:
            digest = hashlib.sha256()
            for piece in _pieces(text):
                digest.update(piece.encode("utf-8", "surrogatepass"))
            sha256 = digest.hexdigest()
        self._set(lambda: _pieces(text), name, valid_fraction, sha256, complete=True)

    def _set(
        self,
        pieces: Callable[[], Iterator[str]],
        name: str,
        valid_fraction: float,
        sha256: str,
        *,
        complete: bool,
    ) -> None:
        """Set all attributes from a text that `pieces` gives twice."""
        valid_fraction = as_probability(valid_fraction, "valid_fraction")
        self.name, self.sha256, self.complete = name, sha256, complete
        length = 0

        def counted() -> Iterator[str]:
            nonlocal length
            for piece in pieces():
                length += len(piece)
                yield piece

        codes = _distinct(counted())
        if not length:
            raise TextError(f"{name} is empty: give a text")
        self.alphabet = Alphabet._of(codes)
        tokens: Array = np.empty(length, np.min_scalar_type(self.alphabet.size - 1))
        self.alphabet._fill(tokens, pieces())
        self.train, self.valid = np.split(tokens, [round(length * (1 - valid_fraction))])

    @property
    def vocabulary(self) -> str:
        """The characters in the order of code points: token k is ``vocabulary[k]``."""
        return self.alphabet.symbols

    @classmethod
    def from_file(
        cls,
        path: PathLike,
        *,
        valid_fraction: float = 0.1,
        limit: int | None = None,
        progress: Progress = False,
    ) -> Corpus:
        """The corpus of a UTF-8 text file.

        A file of N bytes takes about 2 N bytes of memory while it is read, and then 1 to 4 for every character.

        Parameters
        ----------
        path : path
        valid_fraction : float
            The share at the end of the text that is held out.
        limit : int, optional
            The largest number of characters; no more of the file is read than they need, and the digest is that of
            their bytes.
        progress : bool or callable
            Updated for every piece of the file.

        Raises
        ------
        OSError
            There is no such file, or it cannot be read.
        TextError
            It is empty or not text: it has NUL bytes, or is not UTF-8.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> from rnncore.data import Corpus
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "a.txt")
        ...     _ = path.write_text("so many words, so few letters")
        ...     corpus = Corpus.from_file(path, limit=8)
        >>> corpus.vocabulary, len(corpus.train) + len(corpus.valid), corpus.complete
        (' amnosy', 8, False)
        """
        limit = None if limit is None else as_size(limit, "limit")
        path, name = Path(path), file_name(path)
        with open_file(path) as file:
            # A character has at most 4 bytes; the byte order mark has 3, and one more byte shows that there is more.
            raw = read_bytes(file, None if limit is None else 4 * limit + 4)
        begin = 3 if raw.startswith(b"\xef\xbb\xbf") else 0
        end = len(raw) if limit is None else _end_of(raw, begin, limit)
        complete = end == len(raw)
        check_text(raw if complete else raw[:end], name)
        with progress_bar(progress, 2 * (end - begin), f"reading {path.name}", leave=False) as bar:

            def pieces() -> Iterator[str]:
                for piece, size in _decoded(raw, begin, end, name):
                    yield piece
                    bar.update(size)

            digest = hashlib.sha256(memoryview(raw)[:end]).hexdigest()
            made = cls.__new__(cls)
            made._set(pieces, name, valid_fraction, digest, complete=complete)
        return made

    @classmethod
    def topics(cls, *, valid_fraction: float = 0.1) -> Corpus:
        """The documentation topics of the running Python, a text that is available without any file.

        It differs between Python versions, so results on it should be published with its hash.
        """
        try:
            from pydoc_data.topics import topics
        except ImportError:
            raise TextError(
                "this Python was installed without its documentation topics (pydoc_data): give a text file"
            ) from None
        text = "\n".join(f"{name}\n\n{topics[name].strip()}\n" for name in sorted(topics))
        name = f"the documentation topics of Python {platform.python_version()}"
        return cls(text, name=name, valid_fraction=valid_fraction)

    def encode(self, text: str) -> NDArray[np.int32]:
        """Tokens of `text`, int32; characters that are not in the vocabulary are refused, and listed."""
        return self.alphabet.encode(text).astype(np.int32, copy=False)

    def decode(self, tokens: ArrayLike | Iterable[int]) -> str:
        """The text of an array or a list of tokens."""
        return self.alphabet.decode(tokens)

    def require(self, batch_size: int, steps: int) -> None:
        """Refuse a text that is too short for one window of `batch_size` rows and `steps` steps."""
        needed = batch_size * steps + 1
        if len(self.train) < needed or len(self.valid) < 2:
            raise TextError(
                f"{self.name} is too short: {len(self.train):,} characters to train on and "
                f"{len(self.valid):,} held out, but one update of {batch_size} rows × {steps} "
                f"steps needs {needed:,} and 2; give a longer text"
            )

    def __repr__(self) -> str:
        return (
            f"Corpus({self.name!r}, {len(self.train):,} tokens to train on and {len(self.valid):,} held out, "
            f"{len(self.vocabulary)} characters)"
        )

    def __str__(self) -> str:
        return (
            f"{self.name}: {len(self.train) + len(self.valid):,} characters, "
            f"{len(self.vocabulary)} different, {len(self.valid):,} held out, "
            f"sha256 {self.sha256}"
        )


def open_file(path: Path) -> BinaryIO:
    """Open a file or a pipe to read bytes; a directory and a device are refused.

    Raises
    ------
    OSError
        There is no such file, or it cannot be read.
    TextError
        It is a device.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path} is a directory: give a text file")
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        raise TextError(f"{path} is a device, not a file: give a text file")
    return path.open("rb")


def read_bytes(file: BinaryIO, limit: int | None) -> bytes:
    """All of a file, or its first `limit` bytes; memory is taken for what there is, not for what could be."""
    if limit is None:
        return file.read()
    blocks = []
    while limit and (block := file.read(min(limit, 2**24))):
        blocks.append(block)
        limit -= len(block)
    return b"".join(blocks)


def file_name(path: Path) -> str:
    """A file's name for messages, in which bytes that are not UTF-8 are "?"."""
    return str(path).encode(errors="replace").decode()


def utf_16(raw: bytes) -> str | None:
    """The name of the encoding if bytes look like UTF-16 with characters of a Latin alphabet, else None.

    Examples
    --------
    >>> from rnncore.data.text import utf_16
    >>> utf_16("abc".encode("utf-16-be")), utf_16(b"abc")
    ('utf-16-be', None)
    """
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    start = np.frombuffer(raw[: min(len(raw), 4096) // 2 * 2], np.uint8).reshape(-1, 2)
    zero = (start == 0).mean(axis=0) if len(start) > 2 else np.zeros(2)
    for encoding, text, high in (("utf-16-le", 0, 1), ("utf-16-be", 1, 0)):
        if zero[high] > 0.7 and zero[text] == 0:
            return encoding
    return None


def check_text(raw: bytes, name: str) -> None:
    """Refuse the bytes of a file `name` that is empty, UTF-16, or binary."""
    if not raw:
        raise TextError(f"{name} is empty: give a text")
    if encoding := utf_16(raw):
        raise TextError(f"{name} is {encoding.upper()}, not UTF-8: convert it, for example with "
                        f"iconv -f {encoding} -t utf-8")
    if (at := raw.find(b"\0")) >= 0:
        raise TextError(f"{name} is binary (NUL at byte {at}): give a UTF-8 text")


def _decoded(raw: bytes, begin: int, end: int, name: str) -> Iterator[tuple[str, int]]:
    """Yields ``(text, number of bytes)`` of one piece after the other of ``raw[begin:end]``, which is UTF-8."""
    while begin < end:
        stop = min(begin + PIECE, end)
        # Not within a character: its further bytes, of which there are at most three, are 10xxxxxx.
        further = range(stop, min(stop + 3, end))
        stop = next((at for at in further if raw[at] & 0xC0 != 0x80), further.stop)
        try:
            yield raw[begin:stop].decode("utf-8"), stop - begin
        except UnicodeDecodeError as error:
            at = begin + error.start
            raise TextError(f"{name} is not UTF-8 (byte {at} is 0x{raw[at]:02x}): "
                            "convert it, for example with iconv -t utf-8") from None
        begin = stop


def _end_of(raw: bytes, begin: int, characters: int) -> int:
    """Where the first `characters` of UTF-8 end in ``raw[begin:]``; what follows them is not decoded."""
    while begin < len(raw):
        piece = np.frombuffer(raw, np.uint8, min(PIECE, len(raw) - begin), begin)
        starts = np.flatnonzero(piece & 0xC0 != 0x80)
        if len(starts) > characters:
            return begin + int(starts[characters])
        characters -= len(starts)
        begin += len(piece)
    return len(raw)


def _pieces(text: str) -> Iterator[str]:
    return (text[i : i + PIECE] for i in range(0, len(text), PIECE))


def _distinct(pieces: Iterable[str]) -> NDArray[np.uint32]:
    """The code points of a text that comes in pieces, in order, each once."""
    seen = np.zeros(0x110000, bool)
    for piece in pieces:
        seen[_code_points(piece)] = True
    return np.flatnonzero(seen).astype(np.uint32)


def _code_points(text: str) -> NDArray[np.uint8] | NDArray[np.uint32]:
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _from_code_points(points: NDArray[np.uint32]) -> str:
    return points.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


def _short(text: str, limit: int) -> str:
    return repr(text if len(text) <= limit else text[:limit] + "…")
