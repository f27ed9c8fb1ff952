"""A recorder for training: chosen arrays every n-th update, and measures of memory as they change.

recorder = viz.Recorder("a.run", every=10, names=["*.f", "l0.c"], live="terminal")
Trainer(model, optimiser, batches, callbacks=[recorder]).fit(1000)
run = viz.Run("a.run")                          # lazily; also while training still writes it
run.series("horizon"), run[3]["l0.f"]

tape → chosen (names, steps, rows, units) → store (run file or memory, bounded) → Run, Frame
     ↳ once an epoch: measures → series → live plot (at most 5 % of the time)
"""

import time
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path

import numpy as np

from rnncore._checks import as_size

from .._layers import some_rows
from .._norms import gradient_norm
from .frame import series_names
from .live import make_live
from .measured import MEASURES
from .store import FileStore, MemoryStore, parse_bytes

__all__ = ["Recorder"]


class Recorder:
    """Record chosen arrays of every n-th update, bounded in bytes, and measures once an epoch.

    Parameters
    ----------
    path : path, optional
        A run file (see `viz.Run`). Without: in memory, see `frames`. One recorder at a time has a
        file, until it is closed; a forked child of the process has no part in it.
    every : int, default 10
        Record the updates 1, 1 + every, 1 + 2·every, …
    names : str or sequence of str, default "*.h"
        Patterns of the tape's names: "*.f", "l1.*".
    gradients : str or sequence of str, default ()
        The same, of what is recorded of `tape.grad`.
    steps : int, default 1
        Every so many time steps.
    rows, units : int, slice or sequence of int, optional
        Which to record; an int means the first so many. All by default.
    weights : bool, default False
        Record the layer's weights, too.
    limit : int or str, default "64 MB"
        Bytes of all frames together.
    full : {"thin", "ring", "stop"}
        What happens when they are used up. "thin" drops every second frame and records half as
        often from then on, so that what is kept always spans the whole run evenly; "ring" drops the
        oldest; "stop" takes no more.
    measures : dict of str to callable, optional
        name → function of a tape of one row; by default λ₁, horizon and saturation. Empty for none.
        The norm of the weights' gradient is always recorded.
    measure_every : int, optional
        Updates between measures; with a `Trainer` one round through its batches.
    live : {"terminal", "window"} or object with `draw(recorder)`, optional
        Show the series while training. Drawing is skipped as soon as it would have taken more than
        5 % of the time since the recorder was made.
    resume : bool, default False
        Append to a run file that exists.

    Attributes
    ----------
    path : pathlib.Path or None
        Of the run file.
    frames : list of Frame
        What is recorded now, oldest first.
    seconds : dict
        What "record", "measure" and "draw" have taken so far.

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

    def __init__(self, path=None, *, every=10, names="*.h", gradients=(), steps=1, rows=None,
                 units=None, weights=False, limit="64 MB", full="thin", measures=None,
                 measure_every=None, live=None, resume=False):  # fmt: skip
        self.every, self.steps = as_size(every, "every"), as_size(steps, "steps")
        if measure_every is not None:
            measure_every = as_size(measure_every, "measure_every")
        self.measure_every = measure_every
        self.names, self.gradients = _patterns("names", names), _patterns("gradients", gradients)
        self.rows, self.units, self.weights = rows, units, weights
        self.measures = dict(MEASURES if measures is None else measures)
        limit = parse_bytes(limit)
        self.path = None if path is None else Path(path).absolute()
        if self.path is None:
            self._store = MemoryStore(limit, full)
        else:
            self._store = FileStore(self.path, limit, full, resume)
        self.live = make_live(live)
        self.seconds = {"record": 0.0, "measure": 0.0, "draw": 0.0}
        self._clock = time.perf_counter
        self._started = self._clock()
        self._drawing = 0.0  # what the last drawing took
        self._update = self._store.headers[-1]["update"] if self._store.headers else 0

    # ------------------------------------------------------------------ what training calls

    def record(
        self, tape, grads=None, *, loss=None, update=None, epoch=None, note=None, weights=None
    ):
        """Take one update, if it is its turn.

        Parameters
        ----------
        tape : Tape
        grads : Gradients or dict, optional
            What `tape.backward` returned, or ∂L/∂W by name: its norm is recorded.
        loss : float, optional
        update : int, optional
            Its number; counted from 1 when left out.
        epoch : int, optional
        note : str, optional
        weights : dict, optional
            Recorded instead of the layer's, with ``weights=True``.
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

    def measure(self, tape, *, update=None, epoch=None):
        """Take the measures now: of the tape's longest row, recorded once more by itself."""
        update = self._update if update is None else as_size(update, "update", least=0)
        epoch = None if epoch is None else as_size(epoch, "epoch", least=0)
        with self._timed("measure"):
            row = some_rows(tape, 1)
            values = {name: float(measure(row)) for name, measure in self.measures.items()}
        header = {"update": update, "epoch": epoch, "values": values, "measured": True}
        self._append(header, {})
        self._draw()

    def before_step(self, trainer, record, loss, grads):
        """What `Trainer` calls between the backward pass and the optimiser's step."""
        update, rounds = trainer.updates + 1, len(trainer.batches)
        epoch = trainer.updates // rounds
        self.record(record.tape, grads, loss=loss, update=update, epoch=epoch)
        if not self.measure_every and self.measures and update % rounds == 0:
            self.measure(record.tape, epoch=epoch)

    def __call__(self, trainer):
        """After the step there is nothing left to record."""

    # ------------------------------------------------------------------ what is read back

    @property
    def frames(self):
        return self._store.frames

    def series(self, name):
        """(updates, values) of "loss", "gradient_norm" or a measure."""
        return self._store.series(name)

    @property
    def series_names(self):
        """All the series there are."""
        return series_names(self._store.headers)

    def close(self):
        """Close the run file, and leave the live plot as it is."""
        self._store.close()
        if self.live:
            self.live.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ------------------------------------------------------------------ how it is done

    def _record(self, tape, grads, loss, epoch, note, weights):
        norm = gradient_norm(grads)
        values = {} if norm is None else {"gradient_norm": norm}
        header = {
            "update": self._update,
            "epoch": epoch,
            "loss": None if loss is None else float(loss),
            "note": note,
            "values": values,
            "layer": _describe(tape),
        }
        self._append(header, self._chosen(tape, weights))
        self._draw()

    def _append(self, header, arrays):
        thinned = self._store.thinned
        self._store.append(header, arrays)
        self.every *= 2 ** (self._store.thinned - thinned)

    def _chosen(self, tape, weights):
        """The arrays of one frame."""
        hidden = tape.layer.hidden_size
        rows = _indices("rows", self.rows, tape.B)
        units = None if self.units is None else _indices("units", self.units, hidden)
        steps = np.arange(0, tape.T, self.steps)
        arrays = {}
        for prefix, patterns, source in (("", self.names, tape), ("grad ", self.gradients, None)):
            chosen = {name: None for pattern in patterns for name in tape.names(pattern)}
            if patterns and not chosen:
                raise ValueError(
                    f"{'gradients' if prefix else 'names'}: got {patterns!r}, expected patterns of "
                    f"{', '.join(tape.names('*'))}"
                )
            for name in chosen:
                array = (tape if source is not None else tape.grad)[name][..., :: self.steps, :, :]
                array = array if self.rows is None else array[..., rows, :]
                arrays[prefix + name] = array if units is None else array[..., units]
        if self.weights:
            weights = (weights or tape.layer.parameters).items()
            arrays |= {f"weight {name}": a for name, a in weights}
        lengths = np.minimum(-(-np.asarray(tape.lengths)[rows] // self.steps), len(steps))
        arrays |= {"axis steps": steps, "axis rows": rows, "axis lengths": lengths}
        if units is not None:
            arrays["axis units"] = units
        return {k: a.astype(np.int64) if k.startswith("axis") else a for k, a in arrays.items()}

    def _draw(self):
        """Draw, if that keeps drawing under 5 % of the time."""
        if self.live is None:
            return
        elapsed = self._clock() - self._started
        if self.seconds["draw"] + self._drawing <= 0.05 * elapsed:
            before = self.seconds["draw"]
            with self._timed("draw"):
                self.live.draw(self)
            self._drawing = self.seconds["draw"] - before

    @contextmanager
    def _timed(self, what):
        start = self._clock()
        try:
            yield
        finally:
            self.seconds[what] += self._clock() - start


def _patterns(name, patterns):
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    if not all(isinstance(p, str) for p in patterns):
        raise TypeError(f"{name}: got {patterns!r}, expected patterns of names, as '*.f'")
    return patterns


def _indices(name, chosen, size):
    """The indices that an int (the first so many), a slice or a sequence chooses."""
    if chosen is None or isinstance(chosen, slice):
        return np.arange(size)[chosen or slice(None)]
    if isinstance(chosen, Integral):
        return np.arange(min(as_size(chosen, name, least=0, also="a slice, indices or None"), size))
    indices = np.asarray(chosen)
    if indices.ndim != 1 or indices.dtype.kind not in "iu" or (indices >= size).any():
        raise ValueError(f"{name}: got {chosen!r}, expected whole numbers under {size}")
    return np.arange(size)[indices]


def _describe(tape):
    layer = tape.layer
    keys = ("mode", "input_size", "hidden_size", "num_layers", "bidirectional")
    described = {key: getattr(layer, key) for key in keys} | dict(layer.cell.options)
    return {**described, "batch_first": False, "dtype": np.dtype(tape.dtype).name}
