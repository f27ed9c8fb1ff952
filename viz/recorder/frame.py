"""One recorded update, as it is read back."""

import fnmatch
from functools import cached_property
from types import SimpleNamespace

import numpy as np

from rnncore.recurrent.descriptions import choices, find


class Frame:
    """One recorded update: names as on a tape, values as they were.

    `frame["l0.f"]`, `frame.grad["l0.h"]`, `frame.names("*.f")`, `frame.T`, `frame.B`,
    `frame.lengths`, `frame.mode`, `frame.cell` are a tape's, so plots and measures that read values and gradients
    work on both; what walks back needs a tape. What was chosen when recording is in `steps`, `rows`
    and `units`: the index on the tape of what is element k of an axis here.

    Attributes
    ----------
    update, epoch, loss, note
        What the recorder was told, or None.
    values : dict of str to float
        The measures taken at this update.
    grad, weights : mappings of str to array
    """

    def __init__(self, header, read):
        self.header = header
        self._read = read
        self._index = {name: k for k, (name, *_) in enumerate(header["arrays"])}
        self.update, self.epoch = header.get("update"), header.get("epoch")
        self.loss, self.note = header.get("loss"), header.get("note")
        self.values = header.get("values", {})
        self.layer = SimpleNamespace(**header.get("layer", {}))
        self.grad = _Prefixed(self, "grad ")
        self.weights = _Prefixed(self, "weight ")

    def pullback(self, *_, **__):
        """A frame has values and gradients alone: this says what to do instead."""
        raise TypeError(
            f"tape: got the recorded frame of update {self.update}, expected a tape: values and "
            "gradients cannot be walked back; record the input again with the weights of that "
            "update (Recorder(weights=True), or Moment.reopen)"
        )

    def names(self, pattern="*"):
        """Recorded names that fit the pattern, in layer order."""
        return [n for n in self._index if " " not in n and fnmatch.fnmatchcase(n, pattern)]

    def __contains__(self, name):
        return name in self._index

    def __getitem__(self, name):
        if name not in self._index:
            recorded = ", ".join(self._index) or "no arrays"
            raise KeyError(f"{name!r} was not recorded; this frame holds {recorded}")
        return self._read(self._index[name])

    @property
    def steps(self):
        return self["axis steps"]

    @property
    def rows(self):
        return self["axis rows"]

    @property
    def units(self):
        """Indices of the recorded units, or None for all of them."""
        return self["axis units"] if "axis units" in self._index else None

    @property
    def lengths(self):
        """(B,): how many of the recorded steps are inside each row."""
        return self["axis lengths"]

    @property
    def T(self):
        return len(self.steps)

    @property
    def B(self):
        return len(self.rows)

    @cached_property
    def cell(self):
        """The description of the layer's cell."""
        options = {name: getattr(self.layer, name) for name in choices(self.mode) if hasattr(self.layer, name)}
        return find(self.mode, **options)

    @property
    def mode(self):
        return self.layer.mode

    @property
    def dtype(self):
        return np.dtype(self.layer.dtype)

    def __repr__(self):
        held = ", ".join(self._index) or ", ".join(self.values)
        return f"<Frame of update {self.update}: {held}>"


class _Prefixed:
    """The arrays of a frame whose names start with a prefix, under the rest of their names."""

    def __init__(self, frame, prefix):
        self._frame, self._prefix = frame, prefix

    def __getitem__(self, name):
        return self._frame[self._prefix + name]

    def __contains__(self, name):
        return self._prefix + name in self._frame

    def __iter__(self):
        return iter(self.keys())

    def keys(self):
        names = self._frame._index
        return [n.removeprefix(self._prefix) for n in names if n.startswith(self._prefix)]


def series(headers, name):
    """(updates, values) of one number, from the headers of frames."""
    found = []
    for header in headers:
        value = header.get("loss") if name == "loss" else header.get("values", {}).get(name)
        if value is not None:
            found.append((header["update"], value))
    updates = np.array([u for u, _ in found], dtype=np.int64)
    return updates, np.array([v for _, v in found], dtype=np.float64)


def series_names(headers):
    """The names for which `series` has something, "loss" first."""
    found = {"loss": None} if any(header.get("loss") is not None for header in headers) else {}
    for header in headers:
        found |= dict.fromkeys(header.get("values", {}))
    return list(found)
