"""The breakpoint on NaN and infinity: a cheap check of every batch, and a search only if that fails.

The check
    A NaN in a gate makes c or h NaN at the same step, so the states alone show whether anything went
    wrong in the forward pass. The gradient of a gate enters the bias gradient, which is a plain sum
    over steps and rows, so the gradients of the weights show every gate at once, and the gradients of
    h and c show what passed between steps. It is therefore enough to sum the states, their
    gradients, the weights and their gradients, and the input, whose infinities the gates'
    nonlinearities would hide; and fewer of these if there are gradients of the weights (see
    `_looked_at`). A sum is finite unless a term is not, or finite terms overflow; the search that
    follows distinguishes the two.
The search
    goes through every named array in the order in which the pass computed them and returns the
    first value that is not finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from .._tapes import (
    as_parts,
    gradient,
    is_reverse,
    layer_of,
    layers,
    part_of,
    valid_steps,
    weight_name,
)
from .moment import Hit, Moment, lead_up, numbers, where
from .watch import Watch

if TYPE_CHECKING:
    from rnncore._typing import Array
    from rnncore.recurrent.tape import Tape

Key: TypeAlias = Callable[[int], tuple[int, int, int]]  # the k-th step of a pass -> when a value was computed
Entry: TypeAlias = "tuple[Key, str, Array, bool]"  # its key, name, values, and whether steps descend


class NaN(Watch):
    """Fire at the first NaN or infinity: in the input, a weight, a gate, a state or a gradient.

    The hit names the tensor, layer, gate, step, row and unit that were computed first, and shows
    the steps before. Forward values come before gradients, and gradients are in the order of the
    backward pass.

    Parameters
    ----------
    every, action
        As in `Watch`.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> x = np.zeros((5, 2, 3), "float32")
    >>> x[3, 1, 0] = np.nan
    >>> tape = rc.LSTM(3, 4, seed=0).record(x)
    >>> hit = viz.NaN().look(tape)
    >>> hit.tensor, hit.step, hit.row, hit.unit
    ('input', 3, 1, 0)
    """

    def check(self, moment: Moment) -> Hit | None:
        with np.errstate(all="ignore"):
            if all(math.isfinite(np.add.reduce(a, axis=None)) for a in _looked_at(moment)):
                return None
        return locate(moment)


def _looked_at(moment: Moment) -> Iterator[Array]:
    """The few arrays in which any NaN or infinity of a pass must appear.

    The weights' gradients are sums over all steps of products of the input, the previous state and
    the gates' gradients, and 0 times NaN or infinity is NaN. If they are given, only the final state
    of the forward pass remains to be checked, which a NaN in c or in the last h reaches.
    """
    tape, cell, every = moment.tape, moment.tape.cell, layers(moment.tape)
    summed = _is_summed(every, moment.grads or {})
    if summed:
        yield from as_parts(tape.state)
    else:
        ragged = tape.T and (np.asarray(tape.lengths) < tape.T).any()
        yield tape.input[valid_steps(tape)] if ragged else tape.input  # padding may hold anything
    sums = tuple(gate.name for gate in cell.gates if gate.curve is None)  # a later nonlinearity hides their infinities
    for layer, parts in every.items():
        for part in sums if summed else (*cell.states, *sums):
            if part in parts:
                yield tape[f"{layer}.{part}"]
        for part in cell.states if moment.grads else parts:
            if part in parts and (grad := gradient(tape, f"{layer}.{part}")) is not None:
                yield grad
    yield from (moment.grads or {}).values()
    yield from moment.parameters.values()
    if moment.loss is not None:
        yield np.asarray(moment.loss, np.float64)


def _is_summed(every: Collection[str], grads: Mapping[str, Array]) -> bool:
    """Whether the gradients of both matrices of all these layers and directions are given."""
    names = {name.rpartition(".")[2] for name in grads}
    return all(weight_name(matrix, layer) in names for matrix in ("weight_ih", "weight_hh") for layer in every)


def locate(moment: Moment) -> Hit | None:
    """The first NaN or infinity of a moment in the order of computation, as a Hit, or None."""
    return (
        _in_arrays("", moment.parameters, moment)
        or _in_initial(moment)
        or _first(_forward(moment.tape), moment)
        or _in_output(moment)
        or _first(_backward(moment.tape), moment)
        or _in_arrays("grad ", moment.grads or {}, moment)
    )


def _in_initial(moment: Moment) -> Hit | None:
    """An initial state that is not finite."""
    for name, state in zip(moment.tape.cell.states, as_parts(moment.tape.initial), strict=True):
        bad = np.argwhere(~np.isfinite(state))
        if len(bad):
            number, row, unit = (int(i) for i in bad[0])
            layer = list(layers(moment.tape))[number]
            value = float(state[number, row, unit])
            sentence = f"the initial {name} of {layer} is {value} in row {row}, unit {unit}"
            return Hit("NaN", moment.update, f"initial {layer}.{name}", sentence, layer, name,
                       None, row, unit, value)  # fmt: skip
    return None


def _in_output(moment: Moment) -> Hit | None:
    """A loss that is not finite although the tape is: it comes from the prediction, or the loss itself."""
    if moment.loss is None or math.isfinite(moment.loss):
        return None
    sentence = f"the loss is {moment.loss}, and all values of the tape are finite"
    if moment.output is not None and not np.isfinite(moment.output).all():
        index = tuple(np.argwhere(~np.isfinite(moment.output))[0])
        sentence += f"; the prediction is {moment.output[index]} at [{', '.join(map(str, index))}]"
    return Hit("NaN", moment.update, "loss", sentence, value=float(moment.loss))


def _forward(tape: Tape) -> list[Entry]:
    """The arrays of the forward pass; the value with the smallest key was computed first."""
    two_way = any(map(is_reverse, layers(tape)))
    order = tape.cell.order
    entries: list[Entry] = [(_key(two_way, -1, -1), "input", tape.input, False)]
    for depth, (layer, gates) in enumerate(layers(tape).items()):
        for gate in gates:
            place = order.index(gate)
            entries.append(
                (
                    _key(two_way, depth, place),
                    f"{layer}.{gate}",
                    tape[f"{layer}.{gate}"],
                    is_reverse(layer),
                )
            )
    return entries


def _backward(tape: Tape) -> list[Entry]:
    """The arrays of the backward pass, as in `_forward`."""
    two_way = any(map(is_reverse, layers(tape)))
    order = tape.cell.order_back
    entries: list[Entry] = []
    for depth, (layer, gates) in enumerate(reversed(layers(tape).items())):
        for gate in gates:
            grad = gradient(tape, f"{layer}.{gate}")
            if grad is not None:
                grad = grad.reshape(-1, *grad.shape[-3:]) if grad.ndim > 3 else grad[None]
                first = np.argmax(~np.isfinite(grad).all(axis=(1, 2, 3)))  # the first cotangent that has one
                key = _key(two_way, depth, order.index(gate))
                down = not is_reverse(layer)
                entries.append((key, f"grad {layer}.{gate}", grad[first], down))
    return entries


def _key(two_way: bool, depth: int, place: int) -> Key:
    """In one direction, all layers of a step come before the next step; in two, one layer after the other."""
    return (lambda t: (depth, t, place)) if two_way else (lambda t: (t, depth, place))


def _first(entries: list[Entry], moment: Moment) -> Hit | None:
    """The value that is not finite and was computed first, as a Hit."""
    tape = moment.tape
    best: tuple[tuple[int, int, int], str, Array, Array, int, bool] | None = None
    inside = valid_steps(tape)[..., None]
    for key, name, array, descending in entries:
        bad = ~np.isfinite(array) & inside
        steps = np.flatnonzero(bad.any(axis=(1, 2)))
        if not len(steps):
            continue
        t = int(steps[-1] if descending else steps[0])
        rank = key(tape.T - 1 - t if descending else t)
        if best is None or rank < best[0]:
            best = rank, name, array, bad[t], t, descending
    if best is None:
        return None
    _, name, array, bad, t, descending = best
    row, unit = (int(i) for i in np.argwhere(bad)[0])
    before = lead_up(array, t, row, unit, descending)
    value = float(array[t, row, unit])
    sentence = (
        f"{where(tape, name, t, row, unit)} {'is' if name == 'input' else 'became'} {value} "
        f"({int(bad.any(1).sum())} of {bad.shape[0]} rows, "
        f"{int(bad.any(0).sum())} of {bad.shape[1]} units)"
    )
    if len(before):
        sentence += f"; just before it: {numbers(before)}"
    place = name.removeprefix("grad ")
    layer, gate = layer_of(place), part_of(place)
    return Hit(
        "NaN",
        moment.update,
        name,
        sentence,
        layer or None,
        gate if layer else None,
        t,
        row,
        unit,
        value,
        before,
    )


def _in_arrays(prefix: str, arrays: Mapping[str, Array], moment: Moment) -> Hit | None:
    """The first value of weights or their gradients that is not finite, as a Hit."""
    for name, array in arrays.items():
        bad = ~np.isfinite(array)
        if bad.any():
            index = tuple(int(i) for i in np.argwhere(bad)[0])
            gate, unit = _gate_of(name, index, array.shape, moment.tape)
            value = float(array[index])
            what = f"{prefix}{name}[{', '.join(map(str, index[-2:]))}]"
            words = f" (gate {gate}, unit {unit})" if gate else ""
            sentence = (
                f"{what}{words} is {value}; {int(bad.sum())} of {bad.size} values are not finite"
            )
            return Hit(
                "NaN", moment.update, prefix + name, sentence, gate=gate, unit=unit, value=value
            )
    return None


def _gate_of(
    name: str, index: tuple[int, ...], shape: tuple[int, ...], tape: Tape
) -> tuple[str, int] | tuple[None, None]:
    """(gate, unit) of a row of a recurrent layer's weight or bias, or (None, None)."""
    name = name.rpartition(".")[2]
    if not name.startswith(("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_peephole")):
        return None, None
    axis = -1 if name.startswith(("bias", "weight_peephole")) else -2
    gates = tuple(tape.cell.peepholes) if name.startswith("weight_peephole") else tape.cell.blocks_ih
    size = shape[axis] // len(gates)
    return gates[index[axis] // size], index[axis] % size
