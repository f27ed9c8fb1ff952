"""Text: characters as tokens, and a corpus with a part held out."""

from __future__ import annotations

import hashlib
import platform
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rnncore._checks import as_indices, as_probability

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rnncore._typing import ArrayLike, PathLike


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
        self._codes = np.unique(_code_points(characters))
        self.symbols, self.size = _from_code_points(self._codes), len(self._codes)

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
        points = _code_points(text)
        tokens = np.minimum(np.searchsorted(self._codes, points), self.size - 1)
        unknown = self._codes[tokens] != points
        if unknown.any():
            at, lacking = int(np.argmax(unknown)), _from_code_points(np.unique(points[unknown]))
            raise TextError(
                f"{name}: got {text[at]!r} at step {at}, expected one of the {self.size} characters "
                f"{_short(self.symbols, 40)}: the vocabulary lacks {_short(lacking, 20)}; {way_out}"
            )
        return tokens.astype(np.int64)

    def decode(self, tokens: ArrayLike | Iterable[int]) -> str:
        """The text of tokens, from an array or any iterable."""
        if isinstance(tokens, Iterable) and not hasattr(tokens, "__len__"):
            tokens = list(tokens)
        return _from_code_points(self._codes[as_indices(tokens, "tokens")])

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
    train, valid : int32 arrays
        Tokens of the two parts.

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
        if not text:
            raise TextError(f"{name} is empty: give a text")
        valid_fraction = as_probability(valid_fraction, "valid_fraction")
        self.name = name
        self.sha256 = sha256 or hashlib.sha256(text.encode("utf-8")).hexdigest()
        self.alphabet = Alphabet(text)
        cut = round(len(text) * (1 - valid_fraction))
        self.train, self.valid = np.split(self.encode(text), [cut])

    @property
    def vocabulary(self) -> str:
        """The characters in the order of code points: token k is ``vocabulary[k]``."""
        return self.alphabet.symbols

    @classmethod
    def from_file(cls, path: PathLike, *, valid_fraction: float = 0.1) -> Corpus:
        """The corpus of a UTF-8 text file.

        Raises
        ------
        OSError
            There is no such file, or it cannot be read.
        TextError
            It is empty or not text: it has NUL bytes, or is not UTF-8.
        """
        path = Path(path)
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(f"{path} is a directory: give a text file")
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            raise TextError(f"{path} is a device, not a file: give a text file")
        raw = path.read_bytes()
        if not raw:
            raise TextError(f"{path} is empty: give a text")
        if (at := raw.find(b"\0")) >= 0:
            raise TextError(f"{path} is binary (NUL at byte {at}): give a UTF-8 text")
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise TextError(
                f"{path} is not UTF-8 (byte {error.start} is 0x{raw[error.start]:02x}): "
                "convert it, for example with iconv -t utf-8"
            ) from None
        digest = hashlib.sha256(raw).hexdigest()
        name = str(path).encode(errors="replace").decode()  # bytes that are not UTF-8 become "?"
        return cls(text, name=name, valid_fraction=valid_fraction, sha256=digest)

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
        return self.alphabet.encode(text).astype(np.int32)

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


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _from_code_points(points: NDArray[np.uint32]) -> str:
    return points.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


def _short(text: str, limit: int) -> str:
    return repr(text if len(text) <= limit else text[:limit] + "…")
