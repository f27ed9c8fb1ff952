"""Checks of the sequences that users pass to a model; they run once, where a sequence enters.

Three kinds of sequence exist:

``"text"``
    a ``str``; every character is a symbol
``"ids"``
    a 1-D array (or list) of integers ``0 .. n - 1``
``"real"``
    a ``(T, F)`` array of real numbers; ``(T,)`` is read as ``F = 1``

A list of sequences may be ragged and may hold sequences of length 0. One
sequence given alone is read as a list of one: a ``str``, a list of numbers, a
1-D array and, for real values, a 2-D array ``(T, F)``. Arrays may be masked, and series and frames
of pandas and polars are read as arrays (``plain.py``). Where a form may mean one sequence or
several, it is refused with both ways out.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from rnncore._checks import as_size
from rnncore.data import Alphabet

from .plain import as_floats, from_tensor, is_frame, is_missing, is_series, number_array, plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rnncore._typing import ArrayLike, Floats

    Codes: TypeAlias = NDArray[np.int64]                # symbols as the numbers 0 … n - 1
    SequenceLike: TypeAlias = str | ArrayLike           # one sequence, as a user gives it
    SequencesLike: TypeAlias = SequenceLike | Iterable[SequenceLike]
    Symbols: TypeAlias = Alphabet | "Integers"

Kind: TypeAlias = Literal["text", "ids", "real"]
Missing: TypeAlias = Literal["refuse", "mask"]
KINDS: tuple[Kind, ...] = ("text", "ids", "real")
MISSING: tuple[Missing, ...] = ("refuse", "mask")
MOST_SYMBOLS = 2**24
NUMBER_THEM = "number the symbols that occur: np.unique(x, return_inverse=True)[1]"
MASK = "a model made with missing='mask' reads NaN as missing"


def as_list(sequences: Any, *, real: bool = False, name: str = "sequences") -> list[Any]:
    """Split what the user gave into a list of single sequences, which are not looked at yet.

    Parameters
    ----------
    sequences : str, array or iterable of sequences
    real : bool
        How a 2-D array is read: as one ``(T, F)`` sequence (True), or every row as one
        sequence of symbols (False).
    name : str
        The argument's name, for errors.

    Returns
    -------
    list

    Examples
    --------
    >>> as_list("abc")
    ['abc']
    >>> len(as_list(np.zeros((5, 2)), real=True)), len(as_list(np.zeros((5, 2), int)))
    (1, 5)
    """
    if isinstance(sequences, str):
        return [sequences]
    if sequences is None or isinstance(sequences, (dict, set, bytes, numbers.Number)):
        raise TypeError(
            f"{name}: got {type(sequences).__name__}, expected a list of strings, of integer "
            "arrays or of (T, F) real arrays"
        )
    if is_array(sequences):
        return _from_array(sequences, real, name)
    items = [from_tensor(item, name) for item in sequences]
    scalars = sum(isinstance(item, numbers.Number) or is_missing(item) for item in items)
    if scalars and scalars == len(items):
        return [plain(items, name)]
    if scalars:
        raise TypeError(f"{name}: got numbers mixed with sequences, expected only sequences; "
                        "put a single number into a list of its own")
    return items


def is_array(sequences: Any) -> bool:
    """Whether what the user gave is an array, a series or a frame, and not a list of sequences."""
    if is_series(sequences) or is_frame(sequences):
        return True
    if isinstance(sequences, np.ndarray):
        # an object array of texts or arrays is a list; of scalars it is an array
        return sequences.dtype.kind != "O" or sequences.ndim != 1 or not any(
            hasattr(item, "__len__") and not isinstance(item, str) for item in sequences)
    return hasattr(sequences, "__array__") or hasattr(sequences, "__dlpack__")


def _from_array(sequences: Any, real: bool, name: str) -> list[Any]:
    """The sequences of an array, a series or a frame; see `as_list`."""
    if is_series(sequences):
        values = np.asarray(sequences.to_numpy())
        if values.dtype.kind == "O" and values.ndim == 1 and any(
                hasattr(v, "__len__") and not isinstance(v, str) for v in values):
            return list(values)     # a column of lists
        if values.dtype.kind in "UST" or any(isinstance(v, str) for v in values.ravel() if values.dtype.kind == "O"):
            raise TypeError(
                f"{name}: got a {type(sequences).__name__} of {len(values)} strings, which may be one sequence of "
                "labels or a list of texts; give x.to_list() for texts, or np.unique(x, return_inverse=True)[1] for "
                "one sequence of numbered labels")
    array = plain(sequences, name)
    if array.dtype.kind in "UST" and array.ndim == 1:
        texts: list[str] = (array.astype(str) if array.dtype.kind == "S" else array).tolist()
        if len(texts) > 1 and all(len(text) == 1 for text in texts):
            raise TypeError(
                f"{name}: got an array of {len(texts)} single characters, which may be one sequence or {len(texts)} "
                "sequences; give ''.join(x) for one text, or x.tolist() for one text each")
        return texts
    whole = 2 if real else 1
    if array.ndim == 2 and not real and array.shape[1] == 1 < array.shape[0]:
        raise ValueError(
            f"{name}: got shape {array.shape}, which may be one sequence or {len(array)} sequences of one symbol; "
            f"give x.ravel() for one sequence, or list(x) for {len(array)}")
    if array.ndim == whole or array.ndim == 1:
        return [array]
    if array.ndim == whole + 1:
        return list(array)
    raise ValueError(
        f"{name}: got an array of shape {array.shape}, expected a list of sequences, "
        + ("(T,), (T, F) or (N, T, F)" if real else "(T,) or (N, T)")
    )


def guess_kind(sequences: Iterable[Any], *, name: str = "sequences") -> Kind:
    """The kind of a list of sequences: ``"text"``, ``"ids"`` or ``"real"``.

    Examples
    --------
    >>> guess_kind(["ab", ""]), guess_kind([[0, 1], []]), guess_kind([[0.5, 1.0]])
    ('text', 'ids', 'real')
    """
    kinds = {kind for i, s in enumerate(sequences) if (kind := _kind_of(s, f"{name}[{i}]")) is not None}
    if not kinds:  # nothing but empty lists
        return "ids"
    if kinds == {"ids", "real"}:
        return "real"
    if len(kinds) > 1:
        raise TypeError(f"{name}: got sequences of kinds {sorted(kinds)}, expected one kind")
    return kinds.pop()


def _kind_of(sequence: SequenceLike, name: str) -> Kind | None:
    array = plain(sequence, name)
    if isinstance(array, str):
        return "text"
    if array.size == 0 and array.ndim < 2:
        return None
    if array.dtype.kind in "UST":
        raise TypeError(f"{name}: got an array of strings as one sequence, expected one string; join them: "
                        "''.join(x), or number them: np.unique(x, return_inverse=True)[1]")
    return "ids" if array.dtype.kind in "iu" and array.ndim == 1 else "real"


def as_real(
    sequence: SequenceLike, n_features: int | None = None, *, missing: Missing = "refuse", name: str = "sequence",
    way_out: str = MASK,
) -> Floats:
    """A ``(T, F)`` float64 array from one real sequence.

    Parameters
    ----------
    sequence : array-like, ``(T,)`` or ``(T, F)``
    n_features : int, optional
        The F that is expected; None accepts any.
    missing : {"refuse", "mask"}
        Whether NaN is an error or marks a missing value.
    name : str
        The argument's name, for errors.
    way_out : str
        Advice on NaN, for errors.

    Returns
    -------
    ndarray, ``(T, F)``, C order; never written to by the models

    Examples
    --------
    >>> as_real([1, 2, 3]).shape
    (3, 1)
    """
    if isinstance(sequence, str):
        raise TypeError(f"{name}: got a string, expected a (T, F) array of real numbers")
    array = plain(sequence, name)
    if array.size == 0 and array.ndim < 2:
        return np.empty((0, n_features or 1))
    array = as_floats(number_array(array, name))
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise ValueError(f"{name}: got shape {array.shape}, expected (T, F) or (T,)")
    if n_features is not None and array.shape[1] != n_features:
        raise ValueError(f"{name}: got {array.shape[1]} features, expected {n_features}, "
                         "as in fit")
    array = np.ascontiguousarray(array)
    if np.isinf(array).any():
        step, feature = np.argwhere(np.isinf(array))[0]
        raise ValueError(f"{name}: got an infinite value at step {step}, feature {feature}, "
                         "expected finite numbers")
    if missing != "mask" and np.isnan(array).any():
        step, feature = np.argwhere(np.isnan(array))[0]
        raise ValueError(f"{name}: got NaN at step {step}, feature {feature}, expected finite numbers; {way_out}")
    return array


def as_codes(sequence: Any, symbols: Symbols, *, missing: Missing = "refuse", name: str = "sequence") -> Codes:
    """Integer codes ``(T,)`` int64 of one sequence of symbols; unknown symbols are refused.

    Parameters
    ----------
    sequence : str or integer array
        An empty list also stands for an empty text.
    symbols : Alphabet or Integers
    missing : {"refuse", "mask"}
        Whether missing integers are an error, or have the code -1, and -1 is a missing one.
    name : str
        The argument's name, for errors.

    Examples
    --------
    >>> as_codes("abba", Alphabet("ab")), as_codes([2, 0], Integers(3))
    (array([0, 1, 1, 0]), array([2, 0]))
    """
    if isinstance(symbols, Integers):
        return symbols.encode(sequence, missing=missing, name=name)
    if not isinstance(sequence, str):
        if len(sequence):
            raise TypeError(f"{name}: got {type(sequence).__name__}, expected a string, as in fit; join single "
                            "characters: ''.join(x)")
        sequence = ""
    return symbols.encode(sequence, name=name,
                          way_out="give the model alphabet= with every character it may meet")


class Integers:
    """The integers 0 … size − 1 as the symbols of a model: for integers what `Alphabet` is for characters.

    Parameters
    ----------
    size : int

    Examples
    --------
    >>> Integers(3).encode([2, 0])
    array([2, 0])
    """

    def __init__(self, size: int) -> None:
        self.size = self.symbols = size

    def __repr__(self) -> str:
        return f"Integers({self.size})"

    def encode(self, sequence: ArrayLike, *, missing: Missing = "refuse", name: str = "sequence") -> Codes:
        """Integer codes ``(T,)`` int64 of one sequence; integers of `size` or more are refused, see `as_codes`."""
        ids = _as_ids(sequence, name, missing)
        if ids.size and ids.max() >= self.size:
            step = int(np.argmax(ids >= self.size))
            raise ValueError(f"{name}: got symbol {ids[step]} at step {step}, expected 0 .. {self.size - 1}; "
                             + (f"give the model alphabet={ids.max() + 1} to allow more" if ids.max() < MOST_SYMBOLS
                                else NUMBER_THEM))
        return ids

    def decode(self, ids: ArrayLike) -> Codes:
        """The integers themselves."""
        return np.asarray(ids, dtype=np.int64)


def symbols_of(alphabet: str | int) -> Symbols:
    """`Alphabet` of a string of characters, `Integers` of their number.

    Examples
    --------
    >>> symbols_of("cab"), symbols_of(5)
    (Alphabet('abc'), Integers(5))
    """
    if isinstance(alphabet, str):
        return Alphabet(alphabet)
    size = as_size(alphabet, "alphabet", also="a string of characters")
    if size > MOST_SYMBOLS:
        raise ValueError(f"alphabet: got {size}, expected at most {MOST_SYMBOLS} symbols; {NUMBER_THEM}")
    return Integers(size)


def learn_symbols(sequences: Sequence[Any], *, missing: Missing = "refuse", name: str = "sequences") -> Symbols:
    """The symbols that occur in training sequences.

    Examples
    --------
    >>> learn_symbols(["ab", "ca"]), learn_symbols([[0, 4], []])
    (Alphabet('abc'), Integers(5))
    """
    found: str | int
    if guess_kind(sequences, name=name) == "text":
        found = "".join(set().union(*map(set, sequences)))
    else:
        codes = (_as_ids(s, f"{name}[{i}]", missing) for i, s in enumerate(sequences))
        found = max((int(ids.max()) + 1 for ids in codes if ids.size), default=0)
        if found > MOST_SYMBOLS:
            raise ValueError(f"{name}: got symbol {found - 1}, expected integers below {MOST_SYMBOLS}, as a model has "
                             f"a place for every one from 0 on; {NUMBER_THEM}")
    if not found:
        raise ValueError(f"{name}: got no symbol at all, expected at least one; all "
                         f"{len(sequences)} sequences are empty")
    return symbols_of(found)


def _as_ids(sequence: SequenceLike, name: str, missing: Missing = "refuse") -> Codes:
    """Integers ``(T,)`` int64, -1 for missing ones with missing="mask"."""
    array = plain(sequence, name)
    if isinstance(array, str):
        raise TypeError(f"{name}: got a string, expected integers, as in fit")
    if array.size == 0:
        return np.empty(0, np.int64)
    if array.ndim != 1:
        raise ValueError(f"{name}: got shape {array.shape}, expected one integer per step, (T,)"
                         + ("; x.ravel() has this shape" if array.ndim == 2 and array.shape[1] == 1 else ""))
    gone = np.ma.getmaskarray(array) if array.dtype.kind != "f" else np.isnan(array)
    if gone.any() and (missing != "mask" or array.dtype.kind == "f"):
        what = "NaN" if array.dtype.kind == "f" else "a missing value"
        raise ValueError(f"{name}: got {what} at step {int(np.argmax(gone))}, expected integer symbols; drop the "
                         "missing steps or cut the sequence there, or use HiddenMarkov(missing='mask') with -1 or "
                         "masked entries for them")
    if array.dtype.kind not in "iu":
        whole = array.dtype.kind == "f" and not np.any(array % 1) and np.abs(array).max() < MOST_SYMBOLS
        raise TypeError(f"{name}: got dtype {array.dtype}, expected integers or a string"
                        + ("; x.astype(int) has the same values" if whole else ""))
    if array.dtype.kind == "u" and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name}: got {array.max()}, expected integers below {MOST_SYMBOLS}; {NUMBER_THEM}")
    ids: Codes = np.where(gone, -1, np.ma.getdata(array).astype(np.int64, copy=False))
    wrong = (ids < (-1 if missing == "mask" else 0)) & ~gone
    if wrong.any():
        step = int(np.argmax(wrong))
        raise ValueError(f"{name}: got {ids[step]} at step {step}, expected integers >= 0")
    return ids
