"""A recorder for training: chosen arrays every n-th update, and measures of memory as they change.

recorder = viz.Recorder("a.run", every=10, names=["*.f", "l0.c"], live="terminal")
Trainer(model, optimiser, batches, callbacks=[recorder]).fit(1000)
run = viz.Run("a.run")                          # read lazily; also while training still writes it
run.series("horizon"), run[3]["l0.f"]

tape → chosen (names, steps, rows, units) → store (run file or memory, bounded) → Run, Frame
     ↳ once an epoch: measures → series → live plot (at most 5 % of the time)
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rnncore._checks import as_size

from .._layers import some_rows
from .._norms import Grads, gradient_norm
from .._tapes import is_projected
from ..measures.unit_order import is_narrow
from .frame import Frame, Header, series_names
from .live import LivePlot, make_live
from .measured import MEASURES
from .store import FileStore, Full, MemoryStore, parse_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self, SupportsFloat

    from rnncore._typing import Array, Floats, Ints, PathLike
    from rnncore.nn.record import SequenceRecord
    from rnncore.recurrent.tape import Tape
    from rnncore.train import Trainer

__all__ = ["Recorder"]


def __dir__() -> list[str]:
    return __all__


class Recorder:
    """Record chosen arrays of every n-th update, bounded in bytes, and measures once an epoch.

    Parameters
    ----------
    path : path, optional
        A run file (see `viz.Run`). Without one, frames are kept in memory, see `frames`. A file has
        one recorder at a time, until that is closed; a forked child of the process cannot write it.
    every : int, default 10
        Record the updates 1, 1 + every, 1 + 2·every, …
    names : str or sequence of str, default ``"*.h"``
        Patterns of the tape's names: ``"*.f"``, ``"l1.*"``.
    gradients : str or sequence of str, default ()
        The same for `tape.grad`.
    steps : int, default 1
        Record every n-th time step.
    rows, units : int, slice or sequence of int, optional
        Which rows and units to record; an int n means the first n. All by default. Of an h that a projection has
        narrowed, all values are recorded, since they are no units.
    weights : bool, default False
        Record the layer's weights as well, and with a `Trainer` also those of the model around it. `viz.explore` runs
        the networks of such a recorder.
    limit : int or str, default "64 MB"
        Bytes of all frames together.
    full : {"thin", "ring", "stop"}
        What to do when the limit is reached. "thin" drops every second frame and records half as
        often from then on, so that the frames always span the whole run evenly; "ring" drops the
        oldest frames; "stop" records no more.
    measures : dict of str to callable, optional
        Functions of a tape of one row, by name; by default λ₁, horizon and saturation. Pass {} for
        none. The norm of the weights' gradient is always recorded.
    measure_every : int, optional
        Updates between measures; with a `Trainer`, one round through its batches by default.
    live : {"terminal", "window"} or object with `draw(recorder)`, optional
        Show the series while training. A drawing is skipped if all drawings would take more than
        5 % of the time since the recorder was made.
    resume : bool, default False
        Append to an existing run file.

    Attributes
    ----------
    path : pathlib.Path or None
        The run file.
    frames : list of Frame
        What is recorded so far, oldest first.
    seconds : dict
        The time that "record", "measure" and "draw" have taken so far.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> lstm = rc.LSTM(2, 4, seed=0)
    >>> recorder = viz.Recorder(every=2, names="*.f", steps=5, rows=1)
    >>> for update in range(5):
    ...     recorder.record(lstm.record(np.ones((20, 3, 2), "float32")), loss=1.0 / (1 + update))
    >>> [frame.update for frame in recorder.frames]
    [1, 3, 5]
    >>> recorder.frames[0]["l0.f"].shape, recorder.frames[0].steps.tolist()
    ((4, 1, 4), [0, 5, 10, 15])
    """

    def __init__(
        self,
        path: PathLike | None = None,
        *,
        every: int = 10,
        names: str | Sequence[str] = "*.h",
        gradients: str | Sequence[str] = (),
        steps: int = 1,
        rows: int | slice | Sequence[int] | Ints | None = None,
        units: int | slice | Sequence[int] | Ints | None = None,
        weights: bool = False,
        limit: int | str | None = "64 MB",
        full: Full = "thin",
        measures: Mapping[str, Callable[[Tape], SupportsFloat]] | None = None,
        measure_every: int | None = None,
        live: Literal["terminal", "window"] | LivePlot | None = None,
        resume: bool = False,
    ) -> None:
        self.every, self.steps = as_size(every, "every"), as_size(steps, "steps")
        if measure_every is not None:
            measure_every = as_size(measure_every, "measure_every")
        self.measure_every = measure_every
        self.names, self.gradients = _patterns("names", names), _patterns("gradients", gradients)
        self.rows, self.units, self.weights = rows, units, weights
        self.measures = dict(MEASURES if measures is None else measures)
        most = parse_bytes(limit)
        self.path = None if path is None else Path(path).absolute()
        self._store: MemoryStore | FileStore
        if self.path is None:
            self._store = MemoryStore(most, full)
        else:
            self._store = FileStore(self.path, most, full, resume)
        self.live = make_live(live)
        self.seconds = {"record": 0.0, "measure": 0.0, "draw": 0.0}
        self._around: Mapping[str, Array] = {}  # the weights of the model around the layer, and what it predicts
        self._model: dict[str, str] = {}
        self._clock = time.perf_counter
        self._started = self._clock()
        self._drawing = 0.0  # seconds that the last drawing took
        self._update: int = self._store.headers[-1]["update"] if self._store.headers else 0

    def __repr__(self) -> str:
        where = "in memory" if self.path is None else f"in {str(self.path)!r}"
        return (
            f"<Recorder of every {self.every}. update {where}: {len(self._store.headers)} frames, "
            f"{sum(self._store.sizes):,} bytes, names {', '.join(self.names)}>"
        )

    # ------------------------------------------------------------------ what training calls

    def record(
        self,
        tape: Tape,
        grads: Grads | None = None,
        *,
        loss: float | None = None,
        update: int | None = None,
        epoch: int | None = None,
        note: str | None = None,
        weights: Mapping[str, Array] | None = None,
    ) -> None:
        """Record one update if it is the turn of its number, see `every`.

        Parameters
        ----------
        tape : Tape
        grads : Gradients or dict, optional
            What `tape.backward` returned, or ∂L/∂W by name. Its norm is recorded.
        loss : float, optional
        update : int, optional
            The number of the update; by default they are counted from 1.
        epoch : int, optional
        note : str, optional
            Any text, kept with the frame.
        weights : dict, optional
            The weights to record instead of the layer's, where the recorder has ``weights=True``.
        """
        if note is not None and not isinstance(note, str):
            raise TypeError(f"note: got {note!r}, expected a text")
        epoch = None if epoch is None else as_size(epoch, "epoch", least=0)
        self._update = self._update + 1 if update is None else as_size(update, "update", least=0)
        if (self._update - 1) % self.every == 0:
            with self._timed("record"):
                self._record(tape, grads, loss, epoch, note, weights)
        if self.measure_every and self._update % self.measure_every == 0:
            self.measure(tape, epoch=epoch)

    def measure(self, tape: Tape, *, update: int | None = None, epoch: int | None = None) -> None:
        """Take the measures now, on the tape's longest row, recorded again by itself."""
        update = self._update if update is None else as_size(update, "update", least=0)
        epoch = None if epoch is None else as_size(epoch, "epoch", least=0)
        with self._timed("measure"):
            row = some_rows(tape, 1)
            values = {name: float(measure(row)) for name, measure in self.measures.items()}
        header = {"update": update, "epoch": epoch, "values": values, "measured": True}
        self._append(header, {})
        self._draw()

    def before_step(
        self, trainer: Trainer, record: SequenceRecord, loss: float, grads: Mapping[str, Array]
    ) -> None:
        """Called by `Trainer` between the backward pass and the optimiser's step."""
        model = trainer.model
        self._around = {n: array for n, array in model.parameters.items() if not n.startswith("layer.")}
        self._model = {"loss": model.loss_name, "readout": model.readout}
        self.record(record.tape, grads, loss=loss, update=trainer.updates + 1, epoch=trainer.epoch)
        if not self.measure_every and self.measures and trainer.position + 1 == len(trainer.batches):
            self.measure(record.tape, epoch=trainer.epoch)

    def __call__(self, trainer: Trainer) -> None:
        """Called by `Trainer` after the step, when everything is recorded already."""

    # ------------------------------------------------------------------ what is read back

    @property
    def frames(self) -> list[Frame]:
        """What is recorded so far, oldest first."""
        return self._store.frames

    def series(self, name: str) -> tuple[Ints, Floats]:
        """(updates, values) of "loss", "gradient_norm" or a measure."""
        return self._store.series(name)

    @property
    def series_names(self) -> list[str]:
        """The names of all series."""
        return series_names(self._store.headers)

    def close(self) -> None:
        """Close the run file; the live plot keeps showing its last state."""
        self._store.close()
        if self.live is not None and hasattr(self.live, "close"):
            self.live.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # ------------------------------------------------------------------ how it is done

    def _record(
        self,
        tape: Tape,
        grads: Grads | None,
        loss: float | None,
        epoch: int | None,
        note: str | None,
        weights: Mapping[str, Array] | None,
    ) -> None:
        norm = gradient_norm(grads)
        values = {} if norm is None else {"gradient_norm": norm}
        header = {
            "update": self._update,
            "epoch": epoch,
            "loss": None if loss is None else float(loss),
            "note": note,
            "values": values,
            "layer": _describe(tape),
            "model": self._model,
        }
        self._append(header, self._chosen(tape, weights))
        self._draw()

    def _append(self, header: Header, arrays: dict[str, Array]) -> None:
        thinned = self._store.thinned
        self._store.append(header, arrays)
        self.every *= 2 ** (self._store.thinned - thinned)

    def _chosen(self, tape: Tape, weights: Mapping[str, Array] | None) -> dict[str, Array]:
        """The arrays of one frame, by name."""
        hidden = tape.layer.hidden_size
        rows = _indices("rows", self.rows, tape.B)
        units = None if self.units is None else _indices("units", self.units, hidden)
        steps = np.arange(0, tape.T, self.steps)
        arrays: dict[str, Array] = {}
        for prefix, patterns in (("", self.names), ("grad ", self.gradients)):
            chosen = {name: None for pattern in patterns for name in tape.names(pattern)}
            if patterns and not chosen:
                raise ValueError(
                    f"{'gradients' if prefix else 'names'}: got {patterns!r}, expected patterns of "
                    f"{', '.join(tape.names('*'))}"
                )
            for name in chosen:
                array = (tape.grad if prefix else tape)[name][..., :: self.steps, :, :]
                array = array if self.rows is None else array[..., rows, :]
                arrays[prefix + name] = array if units is None or is_narrow(tape, name) else array[..., units]
        if self.weights:
            arrays |= {f"weight {name}": a for name, a in (weights or tape.layer.parameters).items()}
            arrays |= {f"around {name}": a for name, a in self._around.items()}
        lengths = np.minimum(-(-np.asarray(tape.lengths)[rows] // self.steps), len(steps))
        arrays |= {"axis steps": steps, "axis rows": rows, "axis lengths": lengths}
        if units is not None:
            arrays["axis units"] = units
        return {k: a.astype(np.int64) if k.startswith("axis") else a for k, a in arrays.items()}

    def _draw(self) -> None:
        """Draw, if drawing then takes no more than 5 % of the time."""
        if self.live is None:
            return
        elapsed = self._clock() - self._started
        if self.seconds["draw"] + self._drawing <= 0.05 * elapsed:
            before = self.seconds["draw"]
            with self._timed("draw"):
                self.live.draw(self)
            self._drawing = self.seconds["draw"] - before

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        start = self._clock()
        try:
            yield
        finally:
            self.seconds[what] += self._clock() - start


def _patterns(name: str, patterns: str | Sequence[str]) -> list[str]:
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    if not all(isinstance(p, str) for p in patterns):
        raise TypeError(f"{name}: got {patterns!r}, expected patterns of names, as '*.f'")
    return patterns


def _indices(name: str, chosen: Any, size: int) -> Ints:
    """The indices that an int (the first n), a slice or a sequence of ints chooses from `size`."""
    if chosen is None or isinstance(chosen, slice):
        return np.arange(size)[chosen or slice(None)]
    if isinstance(chosen, Integral):
        return np.arange(min(as_size(chosen, name, least=0, also="a slice, indices or None"), size))
    indices = np.asarray(chosen)
    if indices.ndim != 1 or indices.dtype.kind not in "iu" or (indices >= size).any():
        raise ValueError(f"{name}: got {chosen!r}, expected whole numbers under {size}")
    found: Ints = np.arange(size)[indices]
    return found


def _describe(tape: Tape) -> dict[str, Any]:
    """What a frame keeps about the layer."""
    layer = tape.layer
    keys = ("mode", "input_size", "hidden_size", "num_layers", "bidirectional")
    described = {key: getattr(layer, key) for key in keys} | dict(layer.cell.options)
    if is_projected(tape):
        described["proj_size"] = layer.structure.proj_size
    return {**described, "batch_first": False, "dtype": np.dtype(tape.dtype).name}
