"""What a Keras layer does around its cells and a layer of ours does not: merge modes, go_backwards, masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rnncore._checks import as_array, as_flag, as_lengths, as_marks, as_real
from rnncore.recurrent.base import RecurrentLayer
from rnncore.recurrent.gradients import Gradients
from rnncore.recurrent.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from rnncore._typing import Array, ArrayLike, Bools, Ints, State, StateLike
    from rnncore.recurrent.tape import Tape

    Merge = Literal["concat", "sum", "ave", "mul"]

# How the outputs of both directions become one, and what their gradients are then.
MERGES: dict[str, tuple[Callable[[Array, Array], Array], Callable[[Array, Array, Array], tuple[Array, Array]]]] = {
    "sum": (lambda a, b: a + b, lambda grad, a, b: (grad, grad)),
    "ave": (lambda a, b: (a + b) / 2, lambda grad, a, b: (grad / 2, grad / 2)),
    "mul": (lambda a, b: a * b, lambda grad, a, b: (grad * b, grad * a)),
}


class KerasLayer:
    """A layer of rnncore with what a Keras layer has around it: its merge mode and the order of its steps.

    Parameters
    ----------
    layer : RecurrentLayer
        It is called with the sequences as they are, or backwards.
    merge : {"concat", "sum", "ave", "mul"}
        How the outputs of its two directions become one.
    go_backwards : bool
        Whether the sequences are run from their last step to their first. As in Keras, the output then is in the order
        in which it was computed: its first step belongs to the last step of x.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import convert
    >>> both = convert.KerasLayer(rc.GRU(3, 4, batch_first=True, bidirectional=True, seed=0), merge="sum")
    >>> y, h = both(np.ones((2, 5, 3)))
    >>> y.shape, h.shape
    ((2, 5, 4), (2, 2, 4))
    """

    def __init__(self, layer: RecurrentLayer, merge: Merge = "concat", go_backwards: bool = False) -> None:
        if not isinstance(layer, RecurrentLayer):
            raise TypeError(f"layer: got {type(layer).__name__}, expected a layer of rnncore, such as rnncore.LSTM")
        if merge not in ("concat", *MERGES):
            raise ValueError(f"merge: got {merge!r}, expected one of concat, {', '.join(MERGES)}")
        if merge != "concat" and not layer.bidirectional:
            raise ValueError(f"merge: got {merge!r} for a layer of one direction, expected 'concat'")
        self.layer, self.merge, self.go_backwards = layer, merge, as_flag(go_backwards, "go_backwards")

    def __repr__(self) -> str:
        return f"KerasLayer({self.layer!r}, merge={self.merge!r}, go_backwards={self.go_backwards})"

    def __call__(self, x: ArrayLike, state: StateLike = None, lengths: ArrayLike | None = None,
                 reset: ArrayLike | None = None) -> tuple[Array, State]:
        """As a call of the layer. Backwards, each row begins at its own last step.

        Marks in `reset` are in the order of x, also backwards: a mark at step t separates the steps t − 1 and t. So
        with `go_backwards` a mark at step 0 has no effect, not even on the second direction, which begins there.
        """
        sequences, marks = self._in_order(x, lengths, reset)
        y, new = self.layer(sequences, state, lengths, marks)
        return self._merged(y), new

    def record(self, x: ArrayLike, state: StateLike = None, lengths: ArrayLike | None = None, *, train: bool = False,
               checkpoint_every: int | None = None, reset: ArrayLike | None = None) -> KerasTape:
        """As `record` of the layer, with `reset` as in a call.

        Returns
        -------
        KerasTape
        """
        sequences, marks = self._in_order(x, lengths, reset)
        tape = self.layer.record(sequences, state, lengths, train=train, checkpoint_every=checkpoint_every, reset=marks)
        return KerasTape(self, tape)

    def _merged(self, y: Array) -> Array:
        return y if self.merge == "concat" else MERGES[self.merge][0](*np.split(y, 2, axis=-1))

    def _in_order(self, x: ArrayLike, lengths: ArrayLike | None,
                  reset: ArrayLike | None) -> tuple[Array, ArrayLike | None]:
        """Sequences and their resets in the order in which the layer takes the steps."""
        sequences = as_array(x, "x")
        if not self.go_backwards or sequences.ndim not in (2, 3):       # a wrong shape is refused by the layer
            return sequences, reset
        layout = Layout.of(sequences, self.layer.batch_first)
        steps = layout.time_major(sequences)
        T, B = steps.shape[:2]
        ends = as_lengths(lengths, T, B)
        marks = self.layer._marks(reset, T, B, layout)
        if marks is not None:
            marks = layout.as_given(backwards_marks(marks, ends)[..., None])[..., 0]
        return layout.as_given(backwards(steps, ends)), marks


class KerasTape:
    """A recorded pass of a `KerasLayer`.

    Attributes
    ----------
    tape : Tape
        That of the layer, for `rnncore.viz`. If the layer ran backwards, its steps are in the order in which they were
        computed.
    output, state
        What the call would have returned.
    """

    def __init__(self, made_by: KerasLayer, tape: Tape) -> None:
        self._made_by = made_by
        self.tape, self.output, self.state = tape, made_by._merged(tape.output), tape.state

    def __repr__(self) -> str:
        return f"<KerasTape: output {self.output.shape}; {self.tape!r}>"

    def backward(self, grad_output: ArrayLike | None = None, grad_state: StateLike = None, *,
                 parameters: bool | None = None) -> Gradients:
        """The gradients of the parameters, of the initial state and of x, as `Tape.backward` gives them.

        Parameters
        ----------
        grad_output, grad_state, parameters
            As for `Tape.backward`, also with a leading axis for K cotangents at once. `grad_output` has the shape of
            ``output`` of this tape, whose directions are merged.

        Returns
        -------
        Gradients
        """
        merge, tape = self._made_by.merge, self.tape
        grad: Any = grad_output
        if grad is not None and merge != "concat":
            grad, shape = as_real(grad, "grad_output", tape.dtype), self.output.shape
            if grad.shape[-len(shape):] != shape or grad.ndim > len(shape) + 1:
                raise ValueError(f"grad_output: got shape {grad.shape}, expected {shape}, or (K, *{shape}) for K "
                                 "cotangents")
            grad = np.concatenate(MERGES[merge][1](grad, *np.split(tape.output, 2, axis=-1)), axis=-1)
        found = tape.backward(grad, grad_state, parameters=parameters)
        grad_x = found.input
        if self._made_by.go_backwards:
            lengths = None if tape.batch is None else tape.lengths
            grad_x = tape.layout.as_given(backwards(tape.layout.time_major(grad_x), lengths))
        return Gradients(grad_x, found.state, found.parameters)


def backwards(sequences: Array, lengths: Ints | None) -> Array:
    """Sequences (…, T, B, F) from each row's last step to its first, with its padding left where it is.

    It is its own inverse.
    """
    if lengths is None:
        return sequences[..., ::-1, :, :]
    t = np.arange(sequences.shape[-3])[:, None]
    return sequences[..., np.where(t < lengths, lengths - 1 - t, t), np.arange(len(lengths)), :]


def backwards_marks(reset: Bools, lengths: Ints | None) -> Bools:
    """The resets (T, B) of sequences for those that `backwards` makes of them.

    A reset at step t separates t − 1 from t. Backwards it is t − 1 that follows t, so that the mark has to be where
    t − 1 is. Before the first step nothing is separated: a mark there comes from one past the row's end.
    """
    following = np.concatenate([reset[1:], np.zeros_like(reset[:1])])
    found = backwards(following[..., None], lengths)[..., 0]
    found[:1] = False
    return found


def drop_masked(x: ArrayLike, mask: ArrayLike) -> tuple[Array, Ints]:
    """The steps that a Keras mask keeps, moved to the beginning of each row, and how many these are.

    Keras skips the steps where a mask is False, wherever they are. A layer of rnncore gives the same states and outputs
    for ``y, state = layer(x, lengths=lengths)`` with what this function returns; `spread_masked` puts the outputs back
    to their places.

    Parameters
    ----------
    x : array_like, (B, T, I)
    mask : array_like of bool, (B, T)
        As Keras has it, for example from ``keras.layers.Masking().compute_mask(x)``: True where a step counts.

    Returns
    -------
    x : ndarray, (B, T, I)
        Past a row's end are the steps that were skipped.
    lengths : ndarray of int, (B,)

    Examples
    --------
    >>> x, lengths = drop_masked([[[0.0], [7.0], [8.0]]], [[False, True, True]])
    >>> x[0, :, 0].tolist(), lengths.tolist()
    ([7.0, 8.0, 0.0], [2])
    """
    sequences = as_array(x, "x")
    if sequences.ndim != 3:
        raise ValueError(f"x: got shape {sequences.shape}, expected (B, T, I)")
    keeps = as_marks(mask, "mask", sequences.shape[:2], "(B, T)")
    order = np.argsort(~keeps, axis=1, kind="stable")
    return np.take_along_axis(sequences, order[..., None], axis=1), keeps.sum(axis=1)


def spread_masked(y: ArrayLike, mask: ArrayLike) -> Array:
    """The outputs for what `drop_masked` returned, at the steps that the mask keeps; zero at all others.

    Keras repeats the last output there, or has zeros too if the layer was made with ``zero_output_for_mask``.

    Examples
    --------
    >>> spread_masked([[[1.0], [2.0], [0.0]]], [[False, True, True]])[0, :, 0].tolist()
    [0.0, 1.0, 2.0]
    """
    outputs = as_array(y, "y")
    if outputs.ndim != 3:
        raise ValueError(f"y: got shape {outputs.shape}, expected (B, T, H)")
    keeps = as_marks(mask, "mask", outputs.shape[:2], "(B, T)")
    places = np.maximum(np.cumsum(keeps, axis=1) - 1, 0)
    return np.where(keeps[..., None], np.take_along_axis(outputs, places[..., None], axis=1), 0)
