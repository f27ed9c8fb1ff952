"""What all kinds of layers share: parameters, shapes, errors; one call into the engine per layer and direction."""

import warnings
from functools import cached_property, partial

import numpy as np

from rnncore import _engine
from rnncore._checks import as_flag, as_lengths, as_probability, as_real, as_rows, as_seed, as_size
from rnncore.module import LOCK, Module, Packed

from . import descriptions
from .dropout import Masks, mask
from .layout import Layout
from .passes import record_passes
from .stream import Stream
from .structure import Structure
from .tape import Tape

# What every class of layers takes besides dtype, seed and the options that choose its cell; and their defaults.
SHARED = {"input_size": None, "hidden_size": None, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0,
          "bidirectional": False}


class PackedLayer(Packed):
    """The packed weights of every layer and direction, in the order of the states."""

    def __init__(self, version, cell, groups):
        self.version = version
        self.weights = [_engine.Weights(cell.kernel, *arrays) for arrays in groups]
        self.goes_back = False          # whether the transposes are packed too


class RecurrentLayer(Module):
    """What all kinds of layers share.

    Attributes
    ----------
    cell : Description
        The equations, the gates and their names.
    structure : Structure
        The sizes.
    masks : Masks
        Which pass draws which mask of dropout.
    options : dict
    """

    mode = ""
    _fixed = frozenset({"mode", "cell", "structure", "input_size", "hidden_size", "num_layers", "bias", "batch_first",
                        "bidirectional", "directions", "seed", "masks"})

    def __init__(self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
                 bidirectional=False, *, dtype="float32", seed=None, **options):
        super().__init__(dtype)
        self.cell = descriptions.find(self.mode, **options)
        for name, value in self.cell.options.items():
            setattr(self, name, value)
        self.input_size = as_size(input_size, "input_size")
        self.hidden_size = as_size(hidden_size, "hidden_size")
        self.num_layers = as_size(num_layers, "num_layers")
        self.bias = as_flag(bias, "bias")
        self.batch_first = as_flag(batch_first, "batch_first")
        self.bidirectional = as_flag(bidirectional, "bidirectional")
        self.directions = 2 if self.bidirectional else 1
        self._set_dropout(dropout)
        self.seed = as_seed(seed)
        self.structure = Structure(self.cell, self.input_size, self.hidden_size, self.num_layers, self.bias,
                                   self.directions, self.dtype)
        self.masks = Masks(seed)
        self._initialise(np.random.Generator(np.random.PCG64(seed)))

    # ---- parameters -----------------------------------------------------------------------------

    def _initialise(self, rng):
        """torch's: everything uniform in +-1/sqrt(H)."""
        bound = 1 / np.sqrt(self.hidden_size)
        for name, shape in self.structure.iter_shapes():
            self._parameters[name] = rng.uniform(-bound, bound, shape).astype(self.dtype)

    @cached_property
    def _groups(self):
        """The arrays of each layer and direction: they stay the same ones, only their values change."""
        return [[self._parameters[name] for name in names] for names in self.structure.shapes_by_part]

    def __getstate__(self):
        return {name: value for name, value in super().__getstate__().items() if name != "_groups"}

    def _pack(self):
        return PackedLayer(self._version, self.cell, self._groups)

    def packed_at(self, version):
        """The packed weights of a recorded pass, transposes included; refused where they are no longer the layer's."""
        packed = self._packed
        if packed is not None and packed.goes_back and packed.version == version == self._version:
            return packed
        with LOCK:
            if version != self._version:
                raise RuntimeError("tape: the layer's weights changed since this pass was recorded; record it again")
            packed = self.packed()
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

    @property
    def options(self):
        """What its class makes it of, but for dtype and seed: ``type(layer)(**layer.options)`` has its shape."""
        return {name: getattr(self, name) for name in SHARED} | dict(self.cell.options)

    def __repr__(self):
        told = [f"{self.input_size}, {self.hidden_size}"]
        defaults = SHARED | dict(descriptions.first(self.mode).options)
        told += [f"{name}={value!r}" for name, value in list(self.options.items())[2:] if value != defaults[name]]
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
            the one after its last step. The reverse direction begins at each row's own last step and ends at step 0
            (src/kernels/cell.h: a row that is off is held).

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
        return self.call_on(self.packed(), x, state, lengths)

    def call_on(self, packed, x, state=None, lengths=None):
        """As a call, on weights that were taken before: a model takes those of all its modules at one moment."""
        x, layout = self._check_input(x)
        T, B = x.shape[:2]
        lengths = as_lengths(lengths, T, B)
        states, structure, out = self.check_state(state, B, layout), self.structure, x
        for part in structure.parts:
            if part.direction == 0:
                inputs, out = out, (layout if part.layer == self.num_layers - 1 else Layout()).empty(
                    T, B, structure.features, self.dtype)
            _engine.forward(packed.weights[part.position], inputs, structure.half(out, part), states, part.position,
                            lengths=lengths, reverse=part.direction == 1)
        return layout.as_given(out), layout.states(states)

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
        return self.record_on(self.packed(), x, state, lengths, train, checkpoint_every)

    def record_on(self, packed, x, state=None, lengths=None, train=False, checkpoint_every=None):
        """As `record`, on weights that were taken before, see `call_on`."""
        as_flag(train, "train")
        if checkpoint_every is not None:
            checkpoint_every = as_size(checkpoint_every, "checkpoint_every")
        given, layout = self._check_input(x)
        T, B = given.shape[:2]
        lengths = as_lengths(lengths, T, B)
        states = self.check_state(state, B, layout)
        initial = start = [part.copy() for part in states]
        unused = None
        if lengths is not None and not lengths.all():       # rows without steps count for nothing, not even as NaN
            unused = lengths == 0
            for part in states:
                part[:, unused] = 0
            start = [part.copy() for part in states]
        mask_number = mask_of = None
        try:
            if train and self.dropout and self.num_layers > 1:
                mask_number = self.masks.next()
                mask_of = partial(mask, self.masks.seed, mask_number, share=self.dropout, dtype=self.dtype)
            passes, output = record_passes(self.structure, packed.weights, given, start, states, lengths,
                                           mask_of, checkpoint_every)
        except BaseException:                   # Ctrl-C among others
            self.masks.take_back(mask_number)
            raise
        if unused is not None:
            for part, first in zip(states, initial, strict=True):
                part[:, unused] = first[:, unused]
        return Tape(self, packed.version, passes, lengths, layout, initial, states, output)

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
        """x as (T, B, I) in the layer's dtype, and its layout."""
        x = as_rows(x, "x", self.dtype)
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            raise ValueError(f"x: got shape {x.shape}, expected {Layout(self.batch_first).axes}, or (T, I) for one "
                             f"sequence, with I = input_size = {self.input_size}")
        layout = Layout.of(x, self.batch_first)
        return layout.time_major(x), layout

    def check_state(self, state, batch, layout):
        """Own copies of every state, (layers·directions, B, H), of a state as a caller gives it."""
        names, own = self.cell.initial, self.structure.state_shape(batch)
        if state is None:
            return [np.zeros(own, self.dtype) for _ in names]
        expected = layout.state_shape(own)
        if len(names) == 1:
            return [self._own(state, names[0], expected, own)]
        if not isinstance(state, tuple | list) or len(state) != len(names):
            got = f"{len(state)} values" if isinstance(state, tuple | list) else type(state).__name__
            raise ValueError(f"state: got {got}, expected the pair ({', '.join(names)}), each of shape {expected}")
        found = []
        for place, part in enumerate(state):
            found.append(self._own(part, names[place], expected, own))
        return found

    def _own(self, part, name, expected, shape):
        if part is None:
            return np.zeros(shape, self.dtype)
        part = as_real(part, name, self.dtype)
        if part.shape != expected:
            raise ValueError(f"{name}: got shape {part.shape}, expected {expected}: (layers·directions, "
                             f"{'B, ' if len(expected) == 3 else ''}H), also under batch_first")
        return part.copy().reshape(shape)
