"""BPTT through all layers and directions of a recorded pass, which `Tape.backward` runs, and the room for its results.

R rows of cotangents are propagated at once, as `cotangents` arranges them. For one cotangent on rows of unequal length
the walk goes through their active rows alone; several go through all steps (see `passes.Walk`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from rnncore import _engine

from .cotangents import by_rows
from .passes import Walk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rnncore._typing import Array

    from .lookup import Lookup
    from .passes import LayerPass, WholePass
    from .ragged import Batch
    from .structure import Structure

    OfInput = Literal["all steps", "active rows", "table"]


class Wanted(NamedTuple):
    """The gradients that are wanted of a walk back.

    Attributes
    ----------
    parameters : mapping of str to ndarray
        Arrays for the gradients of the parameters, such as from `room_for_parameters`, which are filled in; empty if
        these are not wanted.
    steps : list of ndarray or None
        Arrays for the gradients at every step, from `room_for_steps`, which are filled in.
    of_input : {"all steps", "active rows", "table"} or None
        The form of the gradient of the input, which is returned: (T, R, I); (N, 1, I) where the rows have unequal
        lengths; or that of the table (V, I) whose rows the input is, if the pass looked up its products. None if it is
        not wanted.
    """

    parameters: Mapping[str, Array]
    steps: list[Array] | None = None
    of_input: OfInput | None = None


def walk_back(passes: list[LayerPass], weights: list[_engine.Weights], grad_out: Array | None, carry: list[Array],
              wanted: Wanted) -> Array | None:
    """BPTT, layer by layer from the top; returns the gradient of the input.

    Parameters
    ----------
    passes : list of LayerPass
        All layers and directions.
    weights : list of Weights
        Of each layer and direction, with their transposes packed.
    grad_out : ndarray (T, R, directions·H), (N, 1, directions·H) or None
        Cotangents on the output; None for zeros.
    carry : list of ndarray (layers·directions, R, H)
        For each state the cotangents on its final value, which are overwritten with those on its initial value.
    wanted : Wanted
    """
    structure, given, R = passes[0].structure, carry, carry[0].shape[1]
    parameters, found, of_input = wanted
    batch = passes[0].batch if _rows(passes) == R else None     # whose steps alone the walk goes through
    if batch is not None:
        carry = list(map(batch.sorted, carry))
    shape = (passes[0].T, R) if batch is None else (batch.N, 1)
    grad_x: Array | None = None
    grad_table: Array | None = None
    for index in reversed(range(structure.num_layers)):
        layer = passes[index * structure.directions:(index + 1) * structure.directions]
        features, clears = layer[0].part.input_size, False
        if index > 0:
            grad_x = _engine.carve("gradients", structure.dtype, ((*shape, features),))[0]
        else:
            grad_x, clears = _room_for_input(of_input, batch, (*shape, features), structure)
        for layer_pass in layer:
            part = layer_pass.part
            own, lookup = weights[part.position], layer_pass.lookup if of_input == "table" else None
            walk = Walk(own, layer_pass, carry, part.position,
                        None if grad_out is None else structure.half(grad_out, part), grad_x, part.direction == 1,
                        active_rows_alone=batch is not None)
            walk.clears_grad_x = clears and part.direction == 0
            if found is not None:
                walk.delta, walk.total_h, walk.total_c = of_pass(found, layer_pass)
            arrays = structure.for_engine(part, parameters) if parameters else {}
            if parameters:
                walk.sums = _engine.Sums(own, layer_pass, layer_pass.checkpoints is not None,
                                         **(arrays if lookup is None else arrays | {"w_ih": None}))
            layer_pass.walk_back(walk)
            if lookup is not None:
                assert walk.delta is not None
                grad_table = _added(grad_table, lookup.backward(own, walk.delta, arrays["w_ih"]))
        mask = layer[0].mask
        if mask is not None and grad_x is not None:
            _drop(grad_x, mask, batch)
        grad_out = grad_x
    if batch is not None:
        _put_back(batch, carry, given)
    return grad_table if of_input == "table" else grad_x


def walk_back_whole(structure: Structure, recorded: WholePass, batch: Batch | None, lookup: Lookup | None,
                    weights: list[_engine.Weights], grad_out: Array | None, carry: list[Array],
                    wanted: Wanted) -> Array | None:
    """The same as `walk_back`, for one cotangent, through what `_engine.record` has recorded."""
    parameters, found, of_input = wanted
    assert found is not None
    lowest = structure.parts[:structure.directions] if of_input == "table" else ()
    rest = dict(parameters)
    through_table = [rest.pop("weight_ih" + part.suffix) for part in lowest]
    grad_x, clears = _room_for_input(of_input, batch, recorded[0].shape, structure)
    ours = carry if batch is None else list(map(batch.sorted, carry))
    _engine.walk_back_recorded(weights, recorded, batch, grad_out, ours, structure.engine_order, rest, found, grad_x,
                               clears)
    if batch is not None:
        _put_back(batch, ours, carry)
    grad_table = None
    for direction, grad_w_ih in enumerate(through_table):
        assert lookup is not None
        grad_table = _added(grad_table, lookup.backward(weights[direction], found[3 * direction], grad_w_ih))
    return grad_table if of_input == "table" else grad_x


def _room_for_input(of_input: OfInput | None, batch: Batch | None, shape: tuple[int, ...],
                    structure: Structure) -> tuple[Array | None, bool]:
    """An array for the gradient of the input, and whether zeros have to be written past the rows' ends.

    `shape` is (T, R, I), or (N, 1, I) where the rows have unequal lengths.
    """
    if of_input == "all steps" and batch is not None:
        return batch.room(shape[-1], structure.dtype), not batch.mostly_padding
    wanted = of_input == "all steps" or of_input == "active rows"
    return _engine.room(shape, structure.dtype) if wanted else None, False


def _put_back(batch: Batch, ours: list[Array], given: list[Array]) -> None:
    """Write states in the order of the batch to the caller's arrays."""
    for array, one in zip(given, ours, strict=True):
        array[...] = batch.in_given_order(one)


def _added(total: Array | None, one: Array) -> Array:
    return one if total is None else np.add(total, one, out=total)


def _drop(grad_x: Array, mask: Array, batch: Batch | None) -> None:
    """Multiply the gradient of a layer's input by the mask (T, B, I) by which the input was multiplied."""
    if batch is not None:
        grad_x *= batch.gather(mask)
    else:
        B = mask.shape[1]
        by_rows(grad_x, grad_x.shape[1] // max(B, 1), B)[...] *= mask[:, None]


def parameters_one_by_one(passes: list[LayerPass], weights: list[_engine.Weights], many: int, grad_out: Array | None,
                          carry: list[Array]) -> dict[str, Array]:
    """The gradients of the parameters for each of K cotangents, (K, …), bit-identical to those of K calls.

    `grad_out` and `carry` are as `walk_back` takes them; neither is overwritten.
    """
    structure, B = passes[0].structure, _rows(passes)
    found: dict[str, Array] = {
        name: np.zeros((many, *shape), structure.dtype) for name, shape in structure.shapes.items()}
    for k in range(many):
        rows = slice(k * B, (k + 1) * B)
        one = None if grad_out is None else grad_out[:, rows].copy()
        states = [part[:, rows].copy() for part in carry]
        walk_back(passes, weights, one, states, Wanted({name: array[k] for name, array in found.items()}))
    return found


def room_for_steps(structure: Structure, T: int, R: int, batch: Batch | None) -> list[Array]:
    """Uninitialised arrays for the gradients at every step, for R rows of cotangents.

    There are three arrays for each pass: for the pre-activations of the slots (T, R, slots, H), for h (T, R, H), and
    for c (T, R, H), or None if the cell has no c. For one cotangent on rows of unequal length, which are then given,
    they hold the active rows alone, (N, 1, …).
    """
    shapes = structure.gradient_shapes(*((T, R) if batch is None else (batch.N, 1)))
    return _engine.carve("gradients", structure.dtype, shapes * len(structure.parts))


def of_pass(found: list[Array], layer_pass: LayerPass) -> list[Array]:
    """The three arrays of one layer and direction among those of `room_for_steps`."""
    return found[3 * layer_pass.position:3 * layer_pass.position + 3]


def room_for_parameters(structure: Structure, rows: int) -> dict[str, Array]:
    """Uninitialised arrays for the gradients of the parameters, in memory that was freed earlier, if any.

    `rows` is the number of rows of all steps.
    """
    arrays: list[Array] = _engine.carve("gradients of parameters", structure.dtype, tuple(structure.shapes.values()))
    if not rows:                        # without a step the engine does not write to them
        for array in arrays:
            array[...] = 0
    return dict(zip(structure.shapes, arrays, strict=True))


def _rows(passes: list[LayerPass]) -> int:
    """The number of rows of the batch, B."""
    B: int = passes[0].initial[0].shape[1]
    return B
