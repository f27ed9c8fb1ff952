"""One recorded update, as it is read back."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeAlias, cast

import numpy as np

from rnncore.recurrent.descriptions import find, option_names

from .._door import not_whole
from .._tapes import Sizes
from ..plots.series import HasSeries

if TYPE_CHECKING:
    from rnncore._typing import Array, Floats, Ints
    from rnncore.recurrent.descriptions import Description

Header: TypeAlias = dict[str, Any]  # the JSON of a frame, see runfile.py


class NamedSeries(HasSeries, Protocol):
    """A `Recorder` or a `Run`: numbers during training, by name."""

    @property
    def series_names(self) -> list[str]: ...
    def series(self, name: str, /) -> tuple[Ints, Floats]: ...


class Frame:
    """One recorded update: names as on a tape, with the values of that update.

    `frame["l0.f"]`, `frame.grad["l0.h"]`, `frame.names("*.f")`, `frame.T`, `frame.B`, `frame.lengths`,
    `frame.mode` and `frame.cell` work as on a tape, so plots and measures that read values and
    gradients work on both; whatever walks back through time needs a tape. `steps`, `rows` and `units`
    tell what was chosen when recording: the position on the tape of element k of an axis here.

    Attributes
    ----------
    update, epoch, loss, note
        What was passed to the recorder, or None.
    values : dict of str to float
        The measures taken at this update.
    grad, weights, around : mappings of str to array
        Gradients, the weights of the layer, and those of the model around it ("head.weight").
    model : dict of str to str
        The "loss" and the "readout" of that model; empty if there is none.
    """

    def __init__(self, header: Header, read: Callable[[int], Array]) -> None:
        self.header = header
        self._read = read
        self._index: dict[str, int] = {name: k for k, (name, *_) in enumerate(header["arrays"])}
        self.update: int | None = header.get("update")
        self.epoch: int | None = header.get("epoch")
        self.loss: float | None = header.get("loss")
        self.note: str | None = header.get("note")
        self.values: dict[str, float] = header.get("values", {})
        self.layer = cast("Sizes", SimpleNamespace(**header.get("layer", {})))
        self.model: dict[str, Any] = header.get("model", {})
        self.grad = _Prefixed(self, "grad ")
        self.weights = _Prefixed(self, "weight ")
        self.around = _Prefixed(self, "around ")

    def pullback(self, *_: object, **__: object) -> NoReturn:
        """Not possible on a frame, which has values and gradients alone; the error names the way out."""
        raise not_whole(self.update)

    def names(self, pattern: str = "*") -> list[str]:
        """Recorded names that match a shell pattern, in the order of the layers."""
        return [n for n in self._index if " " not in n and fnmatch.fnmatchcase(n, pattern)]

    def __contains__(self, name: str) -> bool:
        return name in self._index

    def __getitem__(self, name: str) -> Array:
        if name not in self._index:
            recorded = ", ".join(self._index) or "no arrays"
            raise KeyError(f"{name!r} was not recorded; this frame holds {recorded}")
        return self._read(self._index[name])

    def _ipython_key_completions_(self) -> list[str]:
        return list(self._index)

    @property
    def steps(self) -> Ints:
        """(T,): the recorded steps."""
        return self["axis steps"]

    @property
    def rows(self) -> Ints:
        """(B,): the recorded rows of the batch."""
        return self["axis rows"]

    @property
    def units(self) -> Ints | None:
        """The recorded units, or None for all of them."""
        return self["axis units"] if "axis units" in self._index else None

    @property
    def lengths(self) -> Ints:
        """(B,): the number of recorded steps inside each row."""
        return self["axis lengths"]

    @property
    def T(self) -> int:
        """The number of recorded steps."""
        return len(self.steps)

    @property
    def B(self) -> int:
        """The number of recorded rows."""
        return len(self.rows)

    @property
    def cell(self) -> Description:
        """The description of the layer's cell."""
        options = {name: getattr(self.layer, name) for name in option_names(self.mode) if hasattr(self.layer, name)}
        return find(self.mode, **options)

    @property
    def mode(self) -> str:
        """The class of the layer: "LSTM", "GRU", "RNN"."""
        return self.layer.mode

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the layer."""
        name: str = self.header["layer"]["dtype"]
        return np.dtype(name)

    def __repr__(self) -> str:
        names = [name for name in self._index if not name.startswith("axis ")]
        if not names:
            return f"<Frame of update {self.update}: {', '.join(self.values) or 'empty'}>"
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        return f"<Frame of update {self.update}: {self.T} steps, {self.B} rows, {', '.join(names[:6])}{more}>"


class _Prefixed:
    """The arrays of a frame whose names start with a prefix, by the rest of their names."""

    def __init__(self, frame: Frame, prefix: str) -> None:
        self._frame, self._prefix = frame, prefix

    def __getitem__(self, name: str) -> Array:
        return self._frame[self._prefix + name]

    def __contains__(self, name: str) -> bool:
        return self._prefix + name in self._frame

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> list[str]:
        """The names, without the prefix."""
        names = self._frame._index
        return [n.removeprefix(self._prefix) for n in names if n.startswith(self._prefix)]

    def _ipython_key_completions_(self) -> list[str]:
        return self.keys()

    def __repr__(self) -> str:
        return f"<{self._prefix.strip()} of update {self._frame.update}: {', '.join(self.keys()) or 'none recorded'}>"


def series(headers: Iterable[Header], name: str) -> tuple[Ints, Floats]:
    """(updates, values) of one number, from the headers of frames."""
    found = []
    for header in headers:
        value = header.get("loss") if name == "loss" else header.get("values", {}).get(name)
        if value is not None:
            found.append((header["update"], value))
    updates = np.array([u for u, _ in found], dtype=np.int64)
    return updates, np.array([v for _, v in found], dtype=np.float64)


def series_names(headers: Iterable[Header]) -> list[str]:
    """The names for which `series` has values, "loss" first."""
    headers = list(headers)
    found: dict[str, None] = {"loss": None} if any(header.get("loss") is not None for header in headers) else {}
    for header in headers:
        found |= dict.fromkeys(header.get("values", {}))
    return list(found)
