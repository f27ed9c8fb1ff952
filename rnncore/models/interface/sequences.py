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
1-D array and, for real values, a 2-D array ``(T, F)``.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from rnncore._checks import as_size
from rnncore.data import Alphabet

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
    if hasattr(sequences, "to_numpy"):  # a pandas frame or series is one sequence
        sequences = sequences.to_numpy()
    if isinstance(sequences, np.ndarray) and sequences.dtype != object:
        whole = 2 if real else 1
        if sequences.ndim == whole or sequences.ndim == 1:
            return [sequences]
        if sequences.ndim == whole + 1:
            return list(sequences)
        raise ValueError(
            f"{name}: got an array of shape {sequences.shape}, expected a list of sequences, "
            + ("(T,), (T, F) or (N, T, F)" if real else "(T,) or (N, T)")
        )
    if sequences is None or isinstance(sequences, (dict, set, bytes, numbers.Number)):
        raise TypeError(
            f"{name}: got {type(sequences).__name__}, expected a list of strings, of integer "
            "arrays or of (T, F) real arrays"
        )
    items = list(sequences)
    scalars = sum(isinstance(item, numbers.Number) for item in items)
    if scalars and scalars == len(items):
        return [np.asarray(items)]
    if scalars:
        raise TypeError(f"{name}: got numbers mixed with sequences, expected only sequences; "
                        "put a single number into a list of its own")
    return items


def guess_kind(sequences: Iterable[Any], *, name: str = "sequences") -> Kind:
    """The kind of a list of sequences: ``"text"``, ``"ids"`` or ``"real"``.

    Examples
    --------
    >>> guess_kind(["ab", ""]), guess_kind([[0, 1], []]), guess_kind([[0.5, 1.0]])
    ('text', 'ids', 'real')
    """
    kinds = {kind for s in sequences if (kind := _kind_of(s)) is not None}
    if not kinds:  # nothing but empty lists
        return "ids"
    if kinds == {"ids", "real"}:
        return "real"
    if len(kinds) > 1:
        raise TypeError(f"{name}: got sequences of kinds {sorted(kinds)}, expected one kind")
    return kinds.pop()


def _kind_of(sequence: SequenceLike) -> Kind | None:
    if isinstance(sequence, str):
        return "text"
    array = np.asarray(sequence)
    if array.size == 0 and array.ndim < 2:
        return None
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
    array = np.asarray(sequence)
    if array.size == 0 and array.ndim < 2:
        return np.empty((0, n_features or 1))
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: got dtype {array.dtype}, expected real numbers")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise ValueError(f"{name}: got shape {array.shape}, expected (T, F) or (T,)")
    if n_features is not None and array.shape[1] != n_features:
        raise ValueError(f"{name}: got {array.shape[1]} features, expected {n_features}, "
                         "as in fit")
    array = np.ascontiguousarray(array, dtype=np.float64)
    if np.isinf(array).any():
        step, feature = np.argwhere(np.isinf(array))[0]
        raise ValueError(f"{name}: got an infinite value at step {step}, feature {feature}, "
                         "expected finite numbers")
    if missing != "mask" and np.isnan(array).any():
        step, feature = np.argwhere(np.isnan(array))[0]
        raise ValueError(f"{name}: got NaN at step {step}, feature {feature}, expected finite numbers; {way_out}")
    return array


def as_codes(sequence: Any, symbols: Symbols, *, name: str = "sequence") -> Codes:
    """Integer codes ``(T,)`` int64 of one sequence of symbols; unknown symbols are refused.

    Parameters
    ----------
    sequence : str or integer array
        An empty list also stands for an empty text.
    symbols : Alphabet or Integers
    name : str
        The argument's name, for errors.

    Examples
    --------
    >>> as_codes("abba", Alphabet("ab")), as_codes([2, 0], Integers(3))
    (array([0, 1, 1, 0]), array([2, 0]))
    """
    if isinstance(symbols, Integers):
        return symbols.encode(sequence, name=name)
    if not isinstance(sequence, str):
        if len(sequence):
            raise TypeError(f"{name}: got {type(sequence).__name__}, expected a string, as in fit")
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

    def encode(self, sequence: ArrayLike, *, name: str = "sequence") -> Codes:
        """Integer codes ``(T,)`` int64 of one sequence; integers of `size` or more are refused."""
        ids = _as_ids(sequence, name)
        if ids.size and ids.max() >= self.size:
            step = int(np.argmax(ids >= self.size))
            raise ValueError(f"{name}: got symbol {ids[step]} at step {step}, expected "
                             f"0 .. {self.size - 1}; give the model alphabet={ids.max() + 1} "
                             "to allow more")
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
    return Integers(as_size(alphabet, "alphabet", also="a string of characters"))


def learn_symbols(sequences: Sequence[Any], *, name: str = "sequences") -> Symbols:
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
        found = max((int(ids.max()) + 1 for ids in (_as_ids(s, name) for s in sequences) if ids.size), default=0)
    if not found:
        raise ValueError(f"{name}: got no symbol at all, expected at least one; all "
                         f"{len(sequences)} sequences are empty")
    return symbols_of(found)


def _as_ids(sequence: SequenceLike, name: str) -> Codes:
    if isinstance(sequence, str):
        raise TypeError(f"{name}: got a string, expected integers, as in fit")
    array = np.asarray(sequence)
    if array.size == 0:
        return np.empty(0, np.int64)
    if array.ndim != 1:
        raise ValueError(f"{name}: got shape {array.shape}, expected one integer per step, (T,)")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise ValueError(f"{name}: got NaN at step {int(np.argmax(np.isnan(array)))}, expected "
                         "integer symbols; drop the missing steps or cut the sequence there")
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: got dtype {array.dtype}, expected integers or a string")
    ids = array.astype(np.int64, copy=False)
    if (ids < 0).any():
        step = int(np.argmax(ids < 0))
        raise ValueError(f"{name}: got {array[step]} at step {step}, expected integers >= 0")
    return ids
