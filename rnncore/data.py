"""Text in: a corpus of characters, and the windows of truncated back-propagation through time.

file ─ Corpus ─ train tokens ─ batches(…) ─ (x, targets), (x, targets), …   each (steps, batch)
              └ valid tokens ─ …
"""

from __future__ import annotations

import hashlib
import platform
import stat
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from rnncore._checks import Fixed, as_probability, as_size


class TextError(ValueError):
    """The text cannot be used; the message says why, and what would do."""


class Corpus:
    """A text as tokens, one a character, with its vocabulary and a part held out.

    Parameters
    ----------
    text : str
    name : str
        Where it came from, for messages.
    valid_fraction : float
        The share at the end of the text that is held out.
    sha256 : str, optional
        Of the file it came from; of the text as UTF-8 if not given.

    Attributes
    ----------
    vocabulary : str
        The characters of the whole text, by code point: token k is ``vocabulary[k]``.
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
    ):
        if not text:
            raise TextError(f"{name} is empty: give a text")
        valid_fraction = as_probability(valid_fraction, "valid_fraction")
        self.name = name
        self.sha256 = sha256 or hashlib.sha256(text.encode("utf-8")).hexdigest()
        codes, tokens = np.unique(_code_points(text), return_inverse=True)
        self.vocabulary = "".join(map(chr, codes.tolist()))
        cut = round(len(text) * (1 - valid_fraction))
        self.train, self.valid = np.split(tokens.astype(np.int32), [cut])

    @classmethod
    def from_file(cls, path, *, valid_fraction: float = 0.1) -> Corpus:
        """A UTF-8 text file.

        Raises
        ------
        OSError
            There is no such file, or it cannot be read.
        TextError
            It is empty, or not text: NUL bytes, or not UTF-8.
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
        name = str(path).encode(errors="replace").decode()  # bytes that are no text become "?"
        return cls(text, name=name, valid_fraction=valid_fraction, sha256=digest)

    @classmethod
    def topics(cls, *, valid_fraction: float = 0.1) -> Corpus:
        """The documentation topics of the running Python: a text that is always there.

        It differs between Python versions, so its hash belongs to every figure made of it.
        """
        try:
            from pydoc_data.topics import topics
        except ImportError:
            raise TextError(
                "this Python comes without its documentation topics (pydoc_data): give a text file"
            ) from None
        text = "\n".join(f"{name}\n\n{topics[name].strip()}\n" for name in sorted(topics))
        name = f"the documentation topics of Python {platform.python_version()}"
        return cls(text, name=name, valid_fraction=valid_fraction)

    def encode(self, text: str) -> np.ndarray:
        """Tokens of `text`; characters that the vocabulary lacks are refused by name."""
        return encode(text, self.vocabulary)

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of `tokens`."""
        return "".join(self.vocabulary[token] for token in tokens)

    def require(self, batch_size: int, steps: int) -> None:
        """Refuse a text too short for one window of `batch_size` rows and `steps` steps."""
        needed = batch_size * steps + 1
        if len(self.train) < needed or len(self.valid) < 2:
            raise TextError(
                f"{self.name} is too short: {len(self.train):,} characters to train on and "
                f"{len(self.valid):,} held out, but one update of {batch_size} rows × {steps} "
                f"steps needs {needed:,} and 2; give a longer text"
            )

    def __str__(self) -> str:
        return (
            f"{self.name}: {len(self.train) + len(self.valid):,} characters, "
            f"{len(self.vocabulary)} different, {len(self.valid):,} held out, "
            f"sha256 {self.sha256}"
        )


def encode(text: str, vocabulary: str) -> np.ndarray:
    """Tokens of `text` in a sorted `vocabulary`.

    Examples
    --------
    >>> from rnncore.data import encode
    >>> encode("bac", "abc").tolist()
    [1, 0, 2]
    """
    known, codes = _code_points(vocabulary), _code_points(text)
    tokens = np.minimum(np.searchsorted(known, codes), len(known) - 1)
    unknown = known[tokens] != codes
    if unknown.any():
        characters = "".join(sorted({chr(code) for code in codes[unknown].tolist()}))
        raise TextError(f"the vocabulary lacks {characters[:20]!r}")
    return tokens.astype(np.int32)


class Batches(Fixed, Sequence):
    """Windows over `batch_size` rows of a text, for a state that is carried along.

    The tokens are cut into `batch_size` rows of equal length; window i holds steps
    ``i·steps … (i+1)·steps`` of every row, so row b of window i+1 continues row b of window i.
    What does not fill a row is left out, at the end. Windows are read-only.

    Parameters
    ----------
    tokens : integer array (N,)
    batch_size, steps : int
    drop_last : bool
        Leave out the last window if it is shorter than `steps`.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.data import batches
    >>> windows = batches(np.arange(13), batch_size=2, steps=3)
    >>> len(windows)
    2
    >>> x, targets = windows[1]
    >>> x.T.tolist(), targets.T.tolist()
    ([[3, 4, 5], [9, 10, 11]], [[4, 5, 6], [10, 11, 12]])
    """

    _fixed = frozenset({"batch_size", "steps"})

    def __init__(self, tokens, batch_size: int, steps: int, *, drop_last: bool = True):
        batch_size, steps = as_size(batch_size, "batch_size"), as_size(steps, "steps")
        tokens = np.asarray(tokens)
        length = (len(tokens) - 1) // batch_size
        windows = length // steps if drop_last else -(-length // steps)
        if windows < 1:
            raise TextError(
                f"tokens: got {len(tokens)}, expected at least "
                f"{batch_size * (steps if drop_last else 1) + 1} for {batch_size} rows"
            )
        rows = np.arange(batch_size)[:, None] * length + np.arange(length + 1)
        self._rows = np.ascontiguousarray(tokens[rows].T)  # (length + 1, batch)
        self._rows.flags.writeable = False
        self._windows, self._length = windows, length
        self.batch_size, self.steps = batch_size, steps

    def __len__(self) -> int:
        return self._windows

    def __getitem__(self, index) -> tuple[np.ndarray, np.ndarray]:
        start = range(self._windows)[index] * self.steps
        end = min(start + self.steps, self._length)
        return self._rows[start:end], self._rows[start + 1 : end + 1]

    @cached_property
    def _fingerprint(self) -> str:
        return _digest(self)


batches = Batches


def fingerprint(windows: Sequence) -> str | None:
    """A digest of training data: two runs with the same one have seen the same.

    Parameters
    ----------
    windows : sequence of tuples of arrays

    Returns
    -------
    str or None
        None of another sequence than `batches`, a list or a tuple: it may read its windows, or draw
        them at random, and a look would cost time or change the run.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.data import batches, fingerprint
    >>> tokens = np.arange(13)
    >>> fingerprint(batches(tokens, 2, 3)) == fingerprint(list(batches(tokens, 2, 3)))
    True
    >>> fingerprint(batches(tokens, 2, 3)) == fingerprint(batches(tokens[::-1], 2, 3))
    False
    """
    if type(windows) is Batches:
        return windows._fingerprint
    return _digest(windows) if type(windows) in (list, tuple) else None


def _digest(windows: Sequence) -> str:
    digest = hashlib.sha256(str(len(windows)).encode())
    for window in windows:
        digest.update(_window_digest(window))
    return digest.hexdigest()


def _window_digest(window) -> bytes:
    digest = hashlib.sha256()
    for part in window:
        array = np.ascontiguousarray(part)
        digest.update(f"{array.dtype.str} {np.shape(part)}\n".encode())
        if array.dtype.hasobject:  # None for lengths
            digest.update(repr(part).encode())
        elif array.size:
            digest.update(array.view(np.uint8).data)
    return digest.digest()


def pad(sequences: Sequence, value=0, *, batch_first: bool = False):
    """Sequences of unequal length as one array, and their lengths.

    Parameters
    ----------
    sequences : sequence of arrays (T_b, ...)
        Equal but for the first axis.
    value : scalar
        Fills what is past a sequence's end.
    batch_first : bool

    Returns
    -------
    x : ndarray (T, B, ...), or (B, T, ...) if `batch_first`
    lengths : int64 array (B,)

    Examples
    --------
    >>> from rnncore.data import pad
    >>> x, lengths = pad([[1, 2, 3], [4]])
    >>> x.T.tolist(), lengths.tolist()
    ([[1, 2, 3], [4, 0, 0]], [3, 1])
    """
    arrays = [np.asarray(sequence) for sequence in sequences]
    if not arrays:
        raise ValueError("sequences: got none, expected at least one")
    shapes = {array.shape[1:] for array in arrays}
    if any(array.ndim == 0 for array in arrays) or len(shapes) > 1:
        raise ValueError(
            f"sequences: got shapes {[array.shape for array in arrays][:5]}, expected (T_b, ...) "
            "equal but for the first axis"
        )
    lengths = np.array([len(array) for array in arrays], np.int64)
    dtype = np.result_type(*([array for array in arrays if array.size] or arrays))  # np.asarray([]) is float
    x = np.full((len(arrays), lengths.max(), *shapes.pop()), value, dtype)
    for row, array in zip(x, arrays, strict=True):
        row[: len(array)] = array
    return (x if batch_first else np.ascontiguousarray(x.swapaxes(0, 1))), lengths


def buckets(lengths, batch_size: int, *, seed: int | None = None) -> list[np.ndarray]:
    """Row numbers grouped so that sequences of like length share a batch: less padding.

    Parameters
    ----------
    lengths : integer array (N,)
    batch_size : int
        The last group of the longest may be smaller.
    seed : int, optional
        Shuffles ties and the order of the groups; None keeps them from short to long.

    Examples
    --------
    >>> from rnncore.data import buckets
    >>> [rows.tolist() for rows in buckets([5, 1, 4, 2], 2)]
    [[1, 3], [2, 0]]
    """
    lengths, batch_size = np.asarray(lengths), as_size(batch_size, "batch_size")
    rng = None if seed is None else np.random.default_rng(seed)
    order = np.arange(len(lengths)) if rng is None else rng.permutation(len(lengths))
    order = order[np.argsort(lengths[order], kind="stable")]
    groups = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    return groups if rng is None else [groups[i] for i in rng.permutation(len(groups))]


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
