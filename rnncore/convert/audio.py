"""Chains of layers, as audio tools train and run them: sample by sample, or block by block."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore._checks import as_rows, as_size
from rnncore.nn.layers import Linear
from rnncore.recurrent.base import RecurrentLayer
from rnncore.recurrent.layout import Layout

from .weights import NamedLayer

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, State
    from rnncore.recurrent.stream import Stream
    from rnncore.recurrent.tape import Tape


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    found: Array = e / e.sum(axis=-1, keepdims=True)
    return found


# Activations between layers, by the names of RTNeural.
FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 0.5 * (1 + np.tanh(0.5 * x)),
    "softmax": _softmax,
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
}


class AudioModel:
    """Layers that are applied one after the other to each sample.

    Parameters
    ----------
    parts : iterable of (str, part)
        Names, and `rnncore.nn.Linear`, recurrent layers of one direction, or names of activations: "tanh", "relu",
        "sigmoid", "softmax", "elu".
    initial : mapping of str to state, optional
        The states of the recurrent layers before the first sample, of one row, where they are not zero.
    sample_rate : float, optional
        For which the model was made, in Hz.
    metadata : dict, optional
        What else the file says.

    Attributes
    ----------
    parts : list of NamedLayer
    initial, sample_rate, metadata
    layers : dict of str to RecurrentLayer

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import convert
    >>> model = convert.AudioModel([("lstm", rc.LSTM(1, 8, seed=0)), ("head", rc.nn.Linear(8, 1, seed=0))])
    >>> x = np.sin(np.arange(100))
    >>> y, state = model(x)
    >>> y.shape
    (100,)
    >>> s = model.stream()
    >>> bool((np.concatenate([s.block(x[:64]), s.block(x[64:])]) == y).all())
    True
    """

    def __init__(self, parts: Iterable[tuple[str, Any]], *, initial: Mapping[str, State] | None = None,
                 sample_rate: float | None = None, metadata: dict[str, Any] | None = None) -> None:
        self.parts = [_named(pair) for pair in _iterable(parts)]
        self.sample_rate, self.metadata = sample_rate, metadata or {}
        if not self.parts or len({name for name, _ in self.parts}) < len(self.parts):
            raise ValueError(f"parts: got the names {[name for name, _ in self.parts]}, expected different ones")
        width = self._inputs = None
        for name, part in self.parts:
            if isinstance(part, str):
                if part not in FUNCTIONS:
                    raise ValueError(f"{name}: got {part!r}, expected one of {', '.join(FUNCTIONS)}")
                continue
            if not isinstance(part, Linear | RecurrentLayer):
                raise TypeError(f"{name}: got {type(part).__name__}, expected a recurrent layer, a Linear, or the name "
                                "of an activation")
            if isinstance(part, RecurrentLayer) and (part.bidirectional or part.batch_first):
                raise ValueError(f"{name}: got {part!r}, expected a layer of one direction that is not batch_first")
            takes, gives = ((part.in_features, part.out_features) if isinstance(part, Linear) else
                            (part.input_size, part.structure.features))
            if width not in (None, takes):
                raise ValueError(f"{name}: got a part with {takes} inputs after one with {width} outputs")
            width = gives
            self._inputs = takes if self._inputs is None else self._inputs      # None where all are activations
        self.layers = {name: part for name, part in self.parts if isinstance(part, RecurrentLayer)}
        self.initial: dict[str, Any] = {}
        for name, first in ({} if initial is None else _mapping(initial, "initial", self.layers)).items():
            if name not in self.layers:
                raise KeyError(f"initial: got {name!r}, expected names of recurrent layers: {', '.join(self.layers)}")
            if first is not None:
                self.initial[name] = _checked(first, f"initial[{name!r}]", self.layers[name], 1)

    def __repr__(self) -> str:
        return f"AudioModel({', '.join(f'{name}={part!r}' for name, part in self.parts)})"

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the first part that has one."""
        return next((part.dtype for _, part in self.parts if not isinstance(part, str)), np.dtype("float32"))

    def _whole(self, x: ArrayLike, told: str) -> tuple[Array, bool]:
        """Samples with all axes, and whether they were one channel of one row."""
        array = as_rows(x, "x", self.dtype)
        if array.ndim == 1:
            return array.reshape(-1, 1, 1), True
        if array.ndim != 3:
            raise ValueError(f"x: got shape {array.shape}, expected {told}")
        return array, False

    def __call__(self, x: ArrayLike, state: Mapping[str, State] | None = None) -> tuple[Array, dict[str, State]]:
        """Run the model.

        Parameters
        ----------
        x : array_like, (T, B, I), or (T,) for one channel
        state : dict of str to state, optional
            Those of the recurrent layers, by name; by default `initial`, or zeros.

        Returns
        -------
        y : ndarray, (T, B, O), or (T,) if x was one channel and there is one output
        state : dict of str to state
        """
        values, single = self._whole(x, "(T, B, I), or (T,) for one channel")
        begin, found = self._states(state, values.shape[1]), {}
        for name, part in self.parts:
            if isinstance(part, RecurrentLayer):
                values, found[name] = part(values, begin[name])
            else:
                values = FUNCTIONS[part](values) if isinstance(part, str) else part(values)
        return values[:, 0, 0] if single and values.shape[-1] == 1 else values, found

    def record(self, x: ArrayLike, state: Mapping[str, State] | None = None) -> dict[str, Tape]:
        """The tapes of the recurrent layers by name, for `rnncore.viz`.

        Gradients go through one layer at a time: ``tape.backward`` is that of its layer.
        """
        values, _ = self._whole(x, "(T, B, I), or (T,) for one channel")
        begin, tapes = self._states(state, values.shape[1]), {}
        for name, part in self.parts:
            if isinstance(part, RecurrentLayer):
                tapes[name] = part.record(values, begin[name])
                values = tapes[name].output
            else:
                values = FUNCTIONS[part](values) if isinstance(part, str) else part(values)
        return tapes

    def _states(self, given: Mapping[str, State] | None, rows: int) -> dict[str, Any]:
        """The states of all recurrent layers before the first sample, checked; None stands for zeros."""
        if given is None:
            return {name: self._first(name, rows) for name in self.layers}
        if set(_mapping(given, "state", self.layers)) != set(self.layers):
            raise KeyError(f"state: got {', '.join(map(str, given)) or 'no names'}, expected "
                           f"{', '.join(self.layers) or 'none: the model has no recurrent layer'}")
        return {name: _checked(given[name], f"state[{name!r}]", layer, rows) for name, layer in self.layers.items()}

    def _first(self, name: str, rows: int) -> Any:
        """The initial state of a layer for so many rows."""
        first = self.initial.get(name)
        if first is None:
            return None
        every = [np.repeat(part, rows, axis=1) for part in (first if isinstance(first, tuple) else (first,))]
        return tuple(every) if len(every) > 1 else every[0]

    def stream(self, batch_size: int = 1) -> AudioStream:
        """An object that runs the model some samples at a time, and keeps its state."""
        return AudioStream(self, as_size(batch_size, "batch_size"))


def _iterable(parts: Any) -> Iterable[Any]:
    if isinstance(parts, str | Mapping) or not isinstance(parts, Iterable):
        raise TypeError(f"parts: got a {type(parts).__name__}, expected pairs (name, part)"
                        + ("; give its items()" if isinstance(parts, Mapping) else ""))
    return parts


def _named(pair: Any) -> NamedLayer:
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[0], str):
        raise TypeError(f"parts: got {pair!r:.60}, expected pairs (name, part), with a text as the name")
    return NamedLayer(*pair)


def _mapping(given: Any, told: str, layers: Iterable[str]) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise TypeError(f"{told}: got {type(given).__name__}, expected a mapping of the names of the recurrent layers "
                        f"({', '.join(layers) or 'there are none'}) to their states")
    return given


def _checked(given: Any, told: str, layer: RecurrentLayer, rows: int) -> Any:
    """A copy of a layer's state for so many rows, or None as it is; errors begin with `told`."""
    if given is None:
        return None
    try:
        return Layout().states(layer.check_state(given, rows, Layout()))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{told}: {str(error).removeprefix('state: ')}") from None


class AudioStream:
    """Runs an `AudioModel` block by block; `AudioModel.stream` makes one.

    However a signal is divided into blocks, its outputs are those of one call, to the last bit. Every copy has a state
    of its own; a shallow copy uses the same model.
    """

    def __init__(self, model: AudioModel, batch_size: int) -> None:
        self._model, self._batch = model, batch_size
        self._streams: dict[str, Stream] = {name: layer.stream(batch_size) for name, layer in model.layers.items()}
        self.reset()

    def __repr__(self) -> str:
        return f"<AudioStream of {self._model!r}: batch_size={self._batch}>"

    def __copy__(self) -> AudioStream:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._streams = {name: copy.copy(stream) for name, stream in self._streams.items()}
        return other

    def block(self, x: ArrayLike) -> Array:
        """The next samples, (N, B, I), or (N,) for one channel; the outputs are laid out as in a call."""
        values, single = self._model._whole(x, f"(N, B, I) with B = {self._batch}, or (N,) for one channel")
        for name, part in self._model.parts:
            if name in self._streams:
                values = self._streams[name].block(values)
            else:
                values = FUNCTIONS[part](values) if isinstance(part, str) else part(values)
        return values[:, 0, 0] if single and values.shape[-1] == 1 else values

    def step(self, x_t: ArrayLike) -> Array:
        """The next sample, (B, I), or a number for one channel."""
        values = as_rows(x_t, "x_t", self._model.dtype)
        inputs = self._model._inputs
        full = values.ndim == 2 and len(values) == self._batch and inputs in (None, values.shape[1])
        if not full and not (values.ndim == 0 and self._batch == 1 and inputs in (None, 1)):
            raise ValueError(f"x_t: got shape {values.shape}, expected (B, I) = ({self._batch}, {inputs or 'I'})"
                             + (", or a number for one channel" if self._batch == 1 and inputs in (None, 1) else ""))
        output: Array = self.block(values[None])[0]
        return output

    @property
    def state(self) -> dict[str, State]:
        """Copies of the states of the recurrent layers, by name; may be set, all of them or, on an error, none."""
        return {name: stream.state for name, stream in self._streams.items()}

    @state.setter
    def state(self, state: Mapping[str, State]) -> None:
        self._set(self._model._states(state, self._batch))

    def reset(self) -> None:
        """Set the states to those before the first sample."""
        self._set(self._model._states(None, self._batch))

    def _set(self, states: dict[str, Any]) -> None:
        for name, stream in self._streams.items():
            stream.state = states[name]
