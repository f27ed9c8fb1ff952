"""RNN, GRU and LSTM: parameters, shapes, errors; one call down into the engine per layer and direction."""

import warnings
from functools import cached_property

import numpy as np

from rnncore import _engine
from rnncore._checks import as_flag, as_lengths, as_probability, as_real, as_rows, as_seed, as_size
from rnncore.module import LOCK, Module, Packed

from .run import Run, kept_shapes, suffix
from .stream import Stream
from .tape import Tape


class PackedLayer(Packed):
    """The packed weights of every layer and direction, in the order of the states."""

    def __init__(self, version, cell, groups):
        self.version = version
        self.weights = [_engine.Weights(cell, *arrays) for arrays in groups]
        self.goes_back = False          # whether the transposes are packed too


class Recurrent(Module):
    """What the three kinds of layers share. `cell` is the kernels' name of the equations."""

    mode = ""
    _fixed = frozenset({"mode", "input_size", "hidden_size", "num_layers", "bias", "batch_first", "bidirectional",
                        "directions", "seed"})

    def __init__(self, cell, input_size, hidden_size, num_layers, bias, batch_first, dropout,
                 bidirectional, dtype, seed):
        super().__init__(dtype)
        self.input_size = as_size(input_size, "input_size")
        self.hidden_size = as_size(hidden_size, "hidden_size")
        self.num_layers = as_size(num_layers, "num_layers")
        self.bias = as_flag(bias, "bias")
        self.batch_first = as_flag(batch_first, "batch_first")
        self.bidirectional = as_flag(bidirectional, "bidirectional")
        self.directions = 2 if self.bidirectional else 1
        self._set_dropout(dropout)
        self.seed = as_seed(seed)
        self._cell = cell
        self._info = _engine.cell_info(cell)
        self._mask_seed = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
        self._calls = 0                 # recorded with dropout so far
        self._initialise(np.random.Generator(np.random.PCG64(seed)))

    # ---- parameters -----------------------------------------------------------------------------

    def _initialise(self, rng):
        """torch's: everything uniform in +-1/sqrt(H)."""
        bound = 1 / np.sqrt(self.hidden_size)
        rows = self._info["gates"] * self.hidden_size
        self._names = []                # of each layer and direction: weight_ih, weight_hh, and two biases or none
        for layer in range(self.num_layers):
            inputs = self.input_size if layer == 0 else self.directions * self.hidden_size
            shapes = {"weight_ih": (rows, inputs), "weight_hh": (rows, self.hidden_size)}
            if self.bias:
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            for direction in range(self.directions):
                self._names.append([name + suffix(layer, direction) for name in shapes])
                for name, shape in zip(self._names[-1], shapes.values(), strict=True):
                    self._parameters[name] = rng.uniform(-bound, bound, shape).astype(self.dtype)
        self._shapes = tuple(array.shape for array in self._parameters.values())

    @cached_property
    def _groups(self):
        """The arrays of each layer and direction: they stay the same ones, only their values change."""
        return [[self._parameters[name] for name in names] for names in self._names]

    def __getstate__(self):
        return {name: value for name, value in super().__getstate__().items() if name != "_groups"}

    def _pack(self):
        return PackedLayer(self._version, self._cell, self._groups)

    def _packed_of(self, version):
        """The packed weights of a recorded pass, transposes included; refused where they are no longer the layer's."""
        with LOCK:
            if version != self._version:
                raise RuntimeError("tape: the layer's weights changed since this pass was recorded; record it again")
            packed = self._current()
            for weights, arrays in zip(packed.weights, self._groups, strict=True):
                weights.pack_backward(arrays[0], arrays[1])
            packed.goes_back = True
            return packed

    @property
    def dropout(self):
        """The share that ``record(x, train=True)`` drops between layers; may be set."""
        return self._dropout

    @dropout.setter
    def dropout(self, value):
        self._set_dropout(value)

    def _set_dropout(self, value):
        self._dropout = as_probability(value, "dropout")
        if self._dropout and self.num_layers == 1:
            warnings.warn(f"dropout: got {value!r} with num_layers=1, where it does nothing, since it acts between "
                          "layers; expected 0, or rnncore.nn.Dropout after the layer", stacklevel=4)

    def __repr__(self):
        told = [f"{self.input_size}, {self.hidden_size}"]
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False,
                    "nonlinearity": "tanh", "reset_after": True}
        told += [f"{k}={getattr(self, k)!r}" for k, v in defaults.items() if getattr(self, k, v) != v]
        return f"{type(self).__name__}({', '.join(told)}, dtype={self.dtype.name!r})"

    # ---- the three ways to run ------------------------------------------------------------------

    def __call__(self, x, state=None, lengths=None):
        """Run the sequence; nothing is recorded and nothing is dropped.

        Parameters
        ----------
        x : array_like, (T, B, I), (B, T, I) with ``batch_first``, or (T, I) for one sequence
            Real or integer values; converted to the layer's dtype. Never written to.
        state : array_like or tuple, optional
            Initial state, h of (layers·directions, B, H), or the pair (h, c) for an LSTM. Zeros when left out.
        lengths : array_like of int, (B,), optional
            Steps of each row, any order, 0 allowed. Outputs past a row's end are 0, and its final state is
            the one after its last step.

        Returns
        -------
        y : ndarray, (T, B, directions·H), laid out as x
        state : ndarray or tuple
            h, or (h, c), each (layers·directions, B, H).

        Raises
        ------
        TypeError, ValueError
            Wrong kinds, shapes or lengths, by argument.
        """
        return self._call(self._current(), x, state, lengths)

    def _call(self, packed, x, state, lengths):
        x, batched, _ = self._check_input(x)
        T, B = x.shape[:2]
        lengths = as_lengths(lengths, T, B)
        h, c = self._check_state(state, B, batched)
        out = x
        for layer in range(self.num_layers):
            last = layer == self.num_layers - 1
            inputs, out = out, self._empty_output(T, B, batch_first=last and self.batch_first and batched)
            for direction in range(self.directions):
                i = layer * self.directions + direction
                _engine.forward(packed.weights[i], inputs, self._half(out, direction), h[i],
                                None if c is None else c[i], lengths=lengths, reverse=direction == 1)
        return self._output(out, batched), self._state(h, c, batched)

    def record(self, x, state=None, lengths=None, *, train=False, checkpoint_every=None):
        """Run the sequence and keep what backward and the debugger read: the tape.

        Parameters
        ----------
        x, state, lengths
            As in the call; same bits in the output.
        train : bool
            Apply the layer's ``dropout`` between its layers.
        checkpoint_every : int, optional
            Keep only every k-th state, and compute the gates again, k steps at a time, when they are
            asked for: same bits, less memory, one more forward pass.

        Returns
        -------
        Tape

        Examples
        --------
        >>> import numpy as np, rnncore as rc
        >>> lstm = rc.LSTM(3, 4, seed=0)
        >>> tape = lstm.record(np.ones((5, 2, 3)))
        >>> tape["l0.f"].shape
        (5, 2, 4)
        >>> grads = tape.backward(np.ones_like(tape.output))
        >>> grads.parameters["weight_hh_l0"].shape
        (16, 4)
        """
        return self._record(self._current(), x, state, lengths, train, checkpoint_every)

    def _record(self, packed, x, state=None, lengths=None, train=False, checkpoint_every=None):
        as_flag(train, "train")
        if checkpoint_every is not None:
            checkpoint_every = as_size(checkpoint_every, "checkpoint_every")
        given, batched, shape = self._check_input(x)
        T, B = given.shape[:2]
        lengths = as_lengths(lengths, T, B)
        h, c = self._check_state(state, B, batched)
        call = None
        initial = h.copy(), None if c is None else c.copy()
        start, unused = initial, None
        if lengths is not None and not lengths.all():       # rows without steps count for nothing, not even as NaN
            unused = lengths == 0
            _set_rows((h, c), unused, (0, 0))
            start = h.copy(), None if c is None else c.copy()
        count = self.num_layers * self.directions
        kept = kept_shapes(self, T, B) if checkpoint_every is None else (None, None)
        try:
            if train and self.dropout and self.num_layers > 1:
                call = self._next_mask()
            x, *kept = _engine.carve("a tape", self.dtype, (given.shape, *kept * count))
            x[...] = given                      # the tape's own: x may change before backward
            if lengths is not None:
                x[past_end(lengths, T)] = 0
            runs = []
            for layer in range(self.num_layers):
                mask = None
                if call is not None and layer > 0:
                    mask = self._mask(call, layer, x.shape)
                    x = x * mask
                out = self._empty_output(T, B)
                for direction in range(self.directions):
                    i = layer * self.directions + direction
                    run = Run(self, layer, direction, x, self._half(out, direction),
                              start[0][i], None if c is None else start[1][i],
                              kept[2 * i], kept[2 * i + 1], lengths, mask)
                    run.forward(packed.weights[i], h[i], None if c is None else c[i], checkpoint_every)
                    runs.append(run)
                x = out
        except BaseException:                   # Ctrl-C among others
            self._take_back_mask(call)
            raise
        if unused is not None:
            _set_rows((h, c), unused, [None if a is None else a[:, unused] for a in initial])
        return Tape(self, packed.version, runs, lengths, batched, initial, (h, c), x, shape)

    def stream(self, batch_size=1):
        """A runner that takes one step at a time, with its buffers bound once.

        Parameters
        ----------
        batch_size : int

        Returns
        -------
        Stream
        """
        if self.bidirectional:
            raise ValueError("stream: a bidirectional layer needs the whole sequence before its first output; "
                             "use bidirectional=False, or call the layer on a window")
        return Stream(self, as_size(batch_size, "batch_size"))

    # ---- shapes ---------------------------------------------------------------------------------

    def _check_input(self, x):
        """x as (T, B, I) in the layer's dtype, whether it was a batch, and its shape as given."""
        x = as_rows(x, "x", self.dtype)
        layout = "(B, T, I)" if self.batch_first else "(T, B, I)"
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            raise ValueError(f"x: got shape {x.shape}, expected {layout}, or (T, I) for one sequence, "
                             f"with I = input_size = {self.input_size}")
        shape = x.shape
        if x.ndim == 2:
            return x[:, None], False, shape
        return (x.swapaxes(0, 1) if self.batch_first else x), True, shape

    def _check_state(self, state, batch, batched):
        """Own copies of h and c, (layers·directions, B, H); c is None but for an LSTM."""
        rows, H = self.num_layers * self.directions, self.hidden_size
        expected = (rows, batch, H) if batched else (rows, H)
        if self._info["states"] == 1:
            return self._own(state, "h0", expected, (rows, batch, H)), None
        if state is None:
            state = None, None
        elif not isinstance(state, tuple | list) or len(state) != 2:
            got = f"{len(state)} values" if isinstance(state, tuple | list) else type(state).__name__
            raise ValueError(f"state: got {got}, expected the pair (h0, c0), each of shape {expected}")
        return (self._own(state[0], "h0", expected, (rows, batch, H)),
                self._own(state[1], "c0", expected, (rows, batch, H)))

    def _own(self, part, name, expected, shape):
        if part is None:
            return np.zeros(shape, self.dtype)
        part = as_real(part, name, self.dtype)
        if part.shape != expected:
            raise ValueError(f"{name}: got shape {part.shape}, expected {expected}: (layers·directions, "
                             f"{'B, ' if len(expected) == 3 else ''}H), also under batch_first")
        return part.copy().reshape(shape)

    def _empty_output(self, T, B, batch_first=False):
        width = self.directions * self.hidden_size
        if batch_first:
            return np.empty((B, T, width), self.dtype).swapaxes(0, 1)
        return np.empty((T, B, width), self.dtype)

    def _half(self, out, direction):
        """One direction's part of an output."""
        if self.directions == 1:
            return out
        return out[..., direction * self.hidden_size:(direction + 1) * self.hidden_size]

    def _output(self, y, batched):
        """Time-major (T, B, ·) as the user laid x out."""
        if not batched:
            return y[:, 0]
        return y.swapaxes(0, 1) if self.batch_first else y

    def _state(self, h, c, batched):
        if not batched:
            h, c = h[:, 0], None if c is None else c[:, 0]
        return h if c is None else (h, c)

    def _next_mask(self):
        """The number of a pass with dropout."""
        with LOCK:
            self._calls += 1
            return self._calls

    def _take_back_mask(self, call):
        """A pass that was interrupted leaves the numbers as they were, unless there has been another since."""
        with LOCK:
            if self._calls == call:
                self._calls -= 1

    def _mask(self, call, layer, shape):
        """Dropout's mask, scaled. A function of seed, call, layer, step, row and unit alone."""
        def mix(z):                              # splitmix64 (Steele, Lea & Flood 2014)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            return z ^ (z >> np.uint64(31))

        key = np.atleast_1d(self._mask_seed)
        golden = np.uint64(0x9E3779B97F4A7C15)
        for part in (np.uint64(call), np.uint64(layer), *np.ogrid[tuple(slice(n) for n in shape)]):
            key = mix(key * golden + np.asarray(part).astype(np.uint64) + np.uint64(1))
        uniform = (key >> np.uint64(40)).astype(np.float64) * 2.0 ** -24
        return np.where(uniform >= self.dropout, 1 / (1 - self.dropout), 0).astype(self.dtype)


def _set_rows(state, rows, values):
    for part, value in zip(state, values, strict=True):
        if part is not None:
            part[:, rows] = value


def past_end(lengths, T):
    """(T, B) mask of what lies past each row's end."""
    return np.arange(T)[:, None] >= lengths


class RNN(Recurrent):
    """The simple recurrent net, h_t = phi(W x_t + b + U h_{t-1} + b').

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int
    bias : bool
    batch_first : bool
        x and y are (B, T, ·); states stay (layers·directions, B, H).
    dropout : float
        Between layers, applied by ``record(x, train=True)`` alone.
    bidirectional : bool
    nonlinearity : {"tanh", "relu", "sigmoid"}
    dtype : {"float32", "float64"}
    seed : int, optional
        Weights are U(±1/√H) from numpy's PCG64.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> y, h = rc.RNN(3, 4, seed=0)(np.ones((5, 2, 3)))
    >>> y.shape, h.shape
    ((5, 2, 4), (1, 2, 4))
    """

    mode = "RNN"
    _fixed = frozenset({"nonlinearity"})

    def __init__(self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
                 bidirectional=False, *, nonlinearity="tanh", dtype="float32", seed=None):
        if not isinstance(nonlinearity, str) or nonlinearity not in ("tanh", "relu", "sigmoid"):
            raise ValueError(f"nonlinearity: got {nonlinearity!r}, expected 'tanh', 'relu' or 'sigmoid'")
        self.nonlinearity = nonlinearity
        super().__init__(f"rnn_{nonlinearity}", input_size, hidden_size, num_layers, bias, batch_first,
                         dropout, bidirectional, dtype, seed)


class GRU(Recurrent):
    """Gated recurrent unit (Cho et al. 2014): h_t = (1 − z)·n + z·h_{t-1}.

    Parameters
    ----------
    reset_after : bool
        True: n = tanh(W x + b + r·(U h + b')), as torch, cuDNN and Keras. False: n = tanh(W x + b + U (r·h) + b'),
        the paper's.
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype, seed
        As in `RNN`.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> gru = rc.GRU(3, 4, batch_first=True, seed=0)
    >>> y, h = gru(np.ones((2, 5, 3)), lengths=[5, 3])
    >>> y.shape, bool((y[1, 3:] == 0).all())
    ((2, 5, 4), True)
    """

    mode = "GRU"
    _fixed = frozenset({"reset_after"})

    def __init__(self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
                 bidirectional=False, *, reset_after=True, dtype="float32", seed=None):
        self.reset_after = as_flag(reset_after, "reset_after")
        super().__init__("gru" if reset_after else "gru_reset_before", input_size, hidden_size, num_layers,
                         bias, batch_first, dropout, bidirectional, dtype, seed)


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    c_t = f·c_{t-1} + i·g, h_t = o·tanh(c_t); gates in the order i f g o.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype, seed
        As in `RNN`.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> lstm = rc.LSTM(3, 4, seed=0)
    >>> y, (h, c) = lstm(np.ones((5, 2, 3)))
    >>> y.shape, h.shape, c.shape
    ((5, 2, 4), (1, 2, 4), (1, 2, 4))
    """

    mode = "LSTM"

    def __init__(self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
                 bidirectional=False, *, dtype="float32", seed=None):
        super().__init__("lstm", input_size, hidden_size, num_layers, bias, batch_first, dropout,
                         bidirectional, dtype, seed)
