"""Windows of real-valued series, split in time, for models that forecast.

           steps of input          horizon
    ├───────────────────────────┤─ ─ ─ ▶ target
    ──────────────────────────────────────────────┬──────────────┬──────────▶ time
                     training                     │  validation  │  test

A window belongs to the part of the series in which the targets of its last step lie. Its input may reach back into the
part before it, which is known when the forecast is made, but targets there do not count again. So nothing that training
sees depends on a later part: no input, no target, and not the scaling, which is learnt on the training part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import numpy as np

from rnncore._checks import as_dtype, as_flag, as_probability, as_real, as_seed, as_size

from .columns import Column, chosen_columns, columns_of, read_columns
from .window import LazyWindows, Window

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, Bools, DTypeLike, Floats, Ints, RandomSource

READOUTS = ("steps", "last", "mean")
MISSING = ("refuse", "mask")


class Scaler(NamedTuple):
    """What is subtracted from each column, and what it is then divided by.

    Attributes
    ----------
    columns : tuple
        Names or numbers of the columns: the inputs, then the targets that are no inputs.
    mean, scale : float64 arrays (columns,)
        Mean and standard deviation of the training part; the scale of a constant column is 1.
    """

    columns: tuple[Column, ...]
    mean: Floats
    scale: Floats


class SeriesPart(Sequence[Window]):
    """The batches of windows of one part of the series, computed on access; see `SeriesWindows`.

    Training treats them as independent of each other.

    Attributes
    ----------
    size : int
        The number of windows in all batches.
    """

    def __init__(self, owner: SeriesWindows, begins: Ints, starts: Ints) -> None:
        # begins: the first step of this part of each series; starts: that of each window; both in the owner's arrays
        self._owner, self._begins, self._starts = owner, begins, starts
        self.size = len(starts)

    def __len__(self) -> int:
        return -(-self.size // self._owner.batch_size)

    def __repr__(self) -> str:
        return f"SeriesPart({self.size} windows in {len(self)} batches)"

    @overload
    def __getitem__(self, index: int) -> Window: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Window]: ...
    def __getitem__(self, index: int | slice) -> Window | Sequence[Window]:
        if isinstance(index, slice):
            return LazyWindows(self.__getitem__, range(len(self))[index])
        starts = self._rows(index)
        begins = self._begins[self._owner._series_of(starts)]
        return self._owner._window(starts, begins)

    def origin(self, index: int) -> tuple[Ints, Ints]:
        """Where the rows of one batch come from.

        Returns
        -------
        series, step : integer arrays (B,)
            The number of each row's series, and the step of it with which the row's input begins.
        """
        starts = self._rows(index)
        series = self._owner._series_of(starts)
        return series, starts - self._owner._offsets[series]

    def shuffled(self, seed: RandomSource = None) -> SeriesPart:
        """The same windows in a new random order, for example one per epoch of `rnncore.train.fit_epochs`."""
        rng = seed if isinstance(seed, np.random.Generator) else np.random.default_rng(as_seed(seed))
        starts = rng.permutation(np.sort(self._starts))         # whatever the order was before
        return SeriesPart(self._owner, self._begins, starts)

    def _rows(self, index: int) -> Ints:
        """The first step of each row of one batch, in the owner's arrays."""
        begin = range(len(self))[index] * self._owner.batch_size
        return self._starts[begin : begin + self._owner.batch_size]

    @cached_property
    def _fingerprint(self) -> str:
        owner = self._owner
        digest = hashlib.sha256(repr((owner.steps, owner.horizon, owner.readout, owner.batch_first, owner.missing,
                                      owner.batch_size, str(owner._x.dtype))).encode())
        for array in (owner._x, owner._y, owner._offsets, self._begins, self._starts):
            digest.update(f"{array.shape}".encode() + array.tobytes())
        return digest.hexdigest()


class SeriesWindows:
    """Windows of real-valued series for a model that forecasts, split in time and scaled.

    Parameters
    ----------
    series : array (T,) or (T, F), DataFrame, or a list of these
        Equally spaced steps, the oldest first. Each of several series is split in time by itself.
    steps : int
        Steps of a window's input.
    horizon : int or increasing sequence of ints
        How many steps after an input step its target lies. With several, ``range(1, 25)`` for the next day by hours,
        the target has the values of all of them, nearest first: (horizons · targets).
    inputs, targets : column or sequence of columns, optional
        Numbers of columns, or the names of a DataFrame's. By default all columns are inputs and targets.
    stride : int
        Steps between the beginnings of two windows, counted back from the newest. With the readout "steps", ``stride =
        steps`` uses every target once.
    batch_size : int
        Windows of a batch; the last batch may have fewer.
    valid, test : float or int
        What is held out of each series for validation, and at its end for testing: a share in [0, 1), or a whole number
        of steps.
    scale : bool
        Whether each column is scaled to mean 0 and standard deviation 1 over the training part.
    missing : {"refuse", "mask"}
        Whether NaN among the inputs is an error. With "mask" the input has a second half of features, which are 1 where
        a value is present and 0 where it is missing and the value itself is 0. A target that is NaN is never counted.
    readout : {"steps", "last", "mean"}
        That of the model. "steps" has a target for each input step, (T, B, O); the others have one for each window,
        `horizon` steps after its last input, (B, O).
    batch_first : bool
        Whether the model's layer is ``batch_first``.
    dtype : {"float32", "float64"}
    seed : int or None
        Shuffles the windows of the training part; None leaves them in order. The other parts are in order of time.

    Attributes
    ----------
    train : SeriesPart
        Batches that `rnncore.train.Trainer` takes.
    valid, test : SeriesPart or None
    scaler : Scaler
    inputs, targets : tuple
        Numbers or names of the columns.
    horizon : tuple of int
    input_size, output_size : int
        The width of the model's input, and of one prediction.

    Raises
    ------
    ValueError, TypeError
        A series is too short for one window in each part, a column is unknown or has no numbers, an input is
        missing, or a time occurs twice in the index of a DataFrame.

    Warns
    -----
    RuntimeWarning
        The steps of a DataFrame's index of times are not all of one length.

    Notes
    -----
    A window belongs to the part in which the targets of its last input step lie. The input of the first windows of
    ``valid`` and ``test`` reaches back into the part before, as it does when a forecast is made; their targets there
    are not counted. Windows are cut out of one scaled copy of the series when they are asked for.

    Examples
    --------
    >>> import numpy as np
    >>> import rnncore as rc
    >>> t = np.arange(600)
    >>> series = np.stack([20 + 5 * np.sin(t / 8), np.cos(t / 8)], axis=1)
    >>> w = rc.data.windows(series, 24, horizon=4, targets=[0], valid=0.2, test=0.1)
    >>> w
    <SeriesWindows of 1 series: train: 393 windows, valid: 120 windows, test: 60 windows; 24 steps, inputs [0, 1], \
targets [0] 4 steps ahead>
    >>> model = rc.nn.make_model("gru", w.output_size, features=w.input_size, hidden_size=8, loss="mse", seed=0)
    >>> trainer = rc.train.Trainer(model, rc.optim.Adam(model, 0.02), w.train, valid=w.valid).fit(60, progress=False)
    >>> prediction, _ = model(w.encode(series[-24:]))
    >>> expected = 20 + 5 * np.sin((t[-1] + 4) / 8)
    >>> bool(abs(w.inverse(prediction)[-1, 0] - expected) < 1)
    True
    """

    valid: SeriesPart | None
    test: SeriesPart | None

    def __init__(
        self,
        series: Any,
        steps: int,
        *,
        horizon: int | Iterable[int] = 1,
        inputs: Column | Iterable[Column] | None = None,
        targets: Column | Iterable[Column] | None = None,
        stride: int = 1,
        batch_size: int = 32,
        valid: float = 0,
        test: float = 0,
        scale: bool = True,
        missing: Literal["refuse", "mask"] = "refuse",
        readout: Literal["steps", "last", "mean"] = "steps",
        batch_first: bool = False,
        dtype: DTypeLike = "float32",
        seed: RandomSource = 0,
    ) -> None:
        steps, stride = as_size(steps, "steps"), as_size(stride, "stride")
        for name, value, known in (("missing", missing, MISSING), ("readout", readout, READOUTS)):
            if not isinstance(value, str) or value not in known:
                raise ValueError(f"{name}: got {value!r}, expected one of {', '.join(known)}")
        valid, test, self._dtype = _held_out(valid, "valid"), _held_out(test, "test"), as_dtype(dtype)
        several = isinstance(series, (list, tuple)) and not all(np.ndim(one) == 0 for one in series)
        given = list(series) if several else [series]
        all_columns, self._width = columns_of(given[0])
        self.inputs = all_columns if inputs is None else chosen_columns(inputs, all_columns, "inputs")
        self.targets = all_columns if targets is None else chosen_columns(targets, all_columns, "targets")
        self.steps, self.horizon = steps, _horizon(horizon, self.inputs, self.targets)
        self.batch_size, self.batch_first = as_size(batch_size, "batch_size"), as_flag(batch_first, "batch_first")
        self.missing, self.readout = missing, readout
        self.input_size = len(self.inputs) * (2 if missing == "mask" else 1)
        self.output_size = len(self.targets) * len(self.horizon)

        used = tuple(dict.fromkeys((*self.inputs, *self.targets)))
        names = ["series"] if len(given) == 1 else [f"series[{i}]" for i in range(len(given))]
        arrays = [self._read(one, used, name) for one, name in zip(given, names, strict=True)]
        cuts = np.array([_cuts(len(array), valid, test) for array in arrays])       # (series, 3): where each part ends
        ends = [self._ends(len(array), cut, valid, test, name)
                for array, cut, name in zip(arrays, cuts, names, strict=True)]
        learnt = [array[: cut[0]] for array, cut in zip(arrays, cuts, strict=True)]
        self.scaler = _learn(learnt, used) if as_flag(scale, "scale") else _unscaled(used)

        whole: Array = np.concatenate([self._scaled(array) for array in arrays])
        self._x = whole[:, : len(self.inputs)]                  # (steps of all series, inputs)
        self._y = whole[:, [used.index(name) for name in self.targets]]
        self._offsets: Ints = np.cumsum([0, *map(len, arrays[:-1])]).astype(np.intp)    # where each series begins
        train, *held = (
            SeriesPart(self, self._offsets + (cuts[:, part - 1] if part else 0), self._starts(ends, part, stride))
            for part in range(3)
        )
        self.train = train if seed is None else train.shuffled(seed)
        self.valid, self.test = (part if part.size else None for part in held)

    def __repr__(self) -> str:
        parts = (f"{name}: {part.size} windows" for name, part in
                 (("train", self.train), ("valid", self.valid), ("test", self.test)) if part is not None)
        return (f"<SeriesWindows of {len(self._offsets)} series: {', '.join(parts)}; {self.steps} steps, inputs "
                f"{list(self.inputs)}, targets {list(self.targets)} {', '.join(map(str, self.horizon))} steps ahead>")

    def encode(self, series: ArrayLike) -> Array:
        """One series as a model's input, scaled as the training part was.

        Parameters
        ----------
        series : array (T,) or (T, F), or DataFrame
            With all the columns of the series that the windows were made of; only the inputs are read.

        Returns
        -------
        ndarray (T, input_size)
        """
        return self._as_input(self._scaled(self._read(series, self.inputs, "series")))

    def inverse(self, prediction: ArrayLike) -> Floats:
        """Predictions, or targets of a window, in the units of the series.

        Parameters
        ----------
        prediction : array (..., output_size)

        Returns
        -------
        float64 array of the same shape
            For several horizons the last axis has all targets of the first horizon, then those of the next.
        """
        values = as_real(prediction, "prediction", np.dtype(np.float64))
        if values.ndim == 0 or values.shape[-1] != self.output_size:
            raise ValueError(f"prediction: got shape {values.shape}, expected (..., {self.output_size})")
        at = [self.scaler.columns.index(name) for name in self.targets]
        repeats = len(self.horizon)
        units: Floats = values * np.tile(self.scaler.scale[at], repeats) + np.tile(self.scaler.mean[at], repeats)
        return units

    def _series_of(self, starts: Ints) -> Ints:
        found: Ints = np.searchsorted(self._offsets, starts, side="right") - 1
        return found

    def _window(self, starts: Ints, begins: Ints) -> Window:
        """The windows that begin at these steps; targets before the steps `begins` do not count."""
        at = starts + np.arange(self.steps)[:, None]                                    # (T, B)
        when = (at if self.readout == "steps" else at[-1])[..., None] + np.array(self.horizon)
        targets = self._y[when]                                                         # ([T,] B, horizons, F)
        counted: Bools = ~np.isnan(targets) & (when >= begins[:, None])[..., None]
        targets = np.where(counted, targets, 0)
        x, shape = self._as_input(self._x[at]), (*targets.shape[:-2], self.output_size)
        targets, counted = targets.reshape(shape), counted.reshape(shape)
        if self.batch_first:
            x = np.ascontiguousarray(x.swapaxes(0, 1))
            if self.readout == "steps":
                targets, counted = (np.ascontiguousarray(array.swapaxes(0, 1)) for array in (targets, counted))
        return Window(x, targets, counted=None if counted.all() else counted)

    def _scaled(self, values: Floats) -> Array:
        """The first columns of the scaler, (T, columns), in the dtype of the windows."""
        n = values.shape[1]
        return ((values - self.scaler.mean[:n]) / self.scaler.scale[:n]).astype(self._dtype)

    def _as_input(self, values: Array) -> Array:
        if self.missing != "mask":
            return values
        present = ~np.isnan(values)
        return np.concatenate([np.where(present, values, 0), present.astype(values.dtype)], axis=-1)

    def _read(self, series: Any, columns: tuple[Column, ...], name: str) -> Floats:
        """The values (T, columns) of one series; what cannot be used is refused."""
        values = read_columns(series, columns, self._width, name)
        inputs = values[:, : len(self.inputs)]
        wrong = np.isinf(values)
        refused = "expected finite numbers, or NaN for a missing one"
        if self.missing == "refuse" and not wrong.any():
            wrong = np.isnan(inputs)
            refused = ("expected an input without missing values; fill or interpolate them, leave the column out of "
                       'inputs, or pass missing="mask"')
        if wrong.any():
            step, column = (int(i) for i in np.argwhere(wrong)[0])
            raise ValueError(
                f"{name}: got {values[step, column]} at step {step} of column {columns[column]!r}, {refused}"
            )
        return values

    def _ends(self, length: int, cuts: Ints, valid: float, test: float, name: str) -> list[tuple[int, int]]:
        """For each part of one series the first and the last step at which a window may begin."""
        near, far = self.horizon[0], self.horizon[-1]
        if cuts[0] < self.steps + far:
            raise ValueError(
                f"{name}: got {length} steps, {cuts[0]} of them for training, expected at least {self.steps + far} "
                "for training, steps + horizon; leave this series out, or give smaller steps, horizon, valid or test"
            )
        ends = [(0, int(cuts[0]) - far - self.steps)]
        for part, (share, what) in enumerate(((valid, "valid"), (test, "test"))):
            begin, end = int(cuts[part]), int(cuts[part + 1])
            if share and end - begin < far - near + 1:
                raise ValueError(
                    f"{what}: got {share}, which is {end - begin} of the {length} steps of {name}, expected at least "
                    f"{far - near + 1}, for the targets of one input step; leave this series out, or give more"
                )
            ends.append((begin - near - self.steps + 1, end - far - self.steps) if share else (0, -1))
        return ends

    def _starts(self, ends: list[list[tuple[int, int]]], part: int, stride: int) -> Ints:
        """The first steps of all windows of one part, counted back from the newest of each series."""
        starts = [offset + np.arange(last, first - 1, -stride)[::-1]
                  for offset, (first, last) in zip(self._offsets, (end[part] for end in ends), strict=True)]
        return np.concatenate(starts).astype(np.intp)


windows = SeriesWindows


def _horizon(horizon: Any, inputs: tuple[Column, ...], targets: tuple[Column, ...]) -> tuple[int, ...]:
    horizon = horizon.tolist() if isinstance(horizon, np.ndarray) else horizon
    given = list(horizon) if isinstance(horizon, Iterable) and not isinstance(horizon, str) else [horizon]
    ahead = tuple(as_size(value, "horizon", least=0) for value in given)
    if not ahead or any(later <= one for one, later in pairwise(ahead)):
        raise ValueError(f"horizon: got {list(ahead)}, expected one number of steps, or several that increase")
    if ahead[0] == 0 and (both := [name for name in targets if name in inputs]):
        raise ValueError(f"horizon: got 0 with column {both[0]!r} as input and target, so the input would be the "
                         "answer; expected at least 1, or other targets")
    return ahead


def _held_out(value: Any, name: str) -> float:
    """A share in [0, 1), or a whole number of steps."""
    if isinstance(value, float | np.floating):
        return as_probability(value, name)
    return as_size(value, name, least=0, also="a share in [0, 1)")


def _cuts(length: int, valid: float, test: float) -> tuple[int, int, int]:
    """The steps at which the parts of a series of this length end."""
    tested, validated = (part if isinstance(part, int) else round(part * length) for part in (test, valid))
    return max(length - tested - validated, 0), max(length - tested, 0), length


def _learn(arrays: list[Floats], columns: tuple[Column, ...]) -> Scaler:
    """Mean and standard deviation of each column over the present values of all arrays."""
    mean, scale = np.empty(len(columns)), np.ones(len(columns))
    for i, column in enumerate(columns):
        values = np.concatenate([array[:, i] for array in arrays])
        values = values[~np.isnan(values)]
        if not len(values):
            raise ValueError(f"series: got no value of column {column!r} in the training part, expected some to learn "
                             "its scale from; leave the column out")
        size = np.abs(values).max() or 1.0      # relative to it, no square overflows or underflows
        deviation = (values / size).std()
        # The mean of equal values is off by some roundings, so their deviation need not be 0 exactly.
        constant = deviation <= 100 * np.finfo(np.float64).eps
        mean[i] = values[0] if constant else (values / size).mean() * size
        scale[i] = 1.0 if constant else deviation * size
    return Scaler(columns, mean, scale)


def _unscaled(columns: tuple[Column, ...]) -> Scaler:
    return Scaler(columns, np.zeros(len(columns)), np.ones(len(columns)))
