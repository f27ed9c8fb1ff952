"""An order of the units that puts similar units next to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from .._door import as_tape
from .._tapes import Recorded, is_projected, layer_of, part_of, refuse_projected, valid_steps
from .timescales import timescales

if TYPE_CHECKING:
    from rnncore._typing import Ints

    from .._tapes import HasTape

__all__ = ["unit_order"]


def unit_order(
    tape: Recorded | HasTape, layer: str = "l0", by: Literal["timescale", "likeness"] | None = None
) -> Ints:
    """The indices of the units of a layer, sorted so that a picture of all units can be read.

    Parameters
    ----------
    tape : Tape or Frame
    layer : str
        "l0", "l1", "l0.reverse", …
    by : {"timescale", "likeness"}, optional
        "timescale" sorts from the slowest to the fastest unit, see `timescales`; it is the default
        for gated cells. "likeness" sorts by the angle of a unit's loadings on the two leading principal
        components of h, so that neighbouring units vary together; it is the default for other cells, and
        for a frame without the gate that keeps. A frame that has neither that gate nor h is not sorted.

    Returns
    -------
    ndarray (H,), int

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> tape = rc.RNN(2, 6, seed=0).record(np.random.default_rng(0).normal(size=(20, 1, 2)))
    >>> sorted(viz.unit_order(tape).tolist())
    [0, 1, 2, 3, 4, 5]
    """
    tape = as_tape(tape)
    possible = criteria(tape, layer)
    if by == "likeness":
        refuse_projected(tape, "the values of its h are not those of its units")
    if by is None and not possible:
        recorded = [name for name in tape.names("*") if layer_of(name) == layer and not is_narrow(tape, name)]
        return np.arange(tape[recorded[0]].shape[-1] if recorded else 0)
    by = possible[0] if by is None else by
    if by == "timescale":
        if tape.cell.keeps_share and by not in possible:
            raise ValueError(f"by: got 'timescale' for {layer}, which lacks the gate that keeps, expected 'likeness'")
        return np.argsort(-timescales(tape)[layer], kind="stable")
    if by != "likeness":
        raise ValueError(f"by: got {by!r}, expected 'timescale' or 'likeness'")
    h = np.asarray(tape[f"{layer}.h"], np.float64)[valid_steps(tape)]
    if len(h) < 2 or h.shape[1] < 3:
        return np.arange(h.shape[1])
    h = h - h.mean(0)
    _, _, V = np.linalg.svd(h / np.maximum(h.std(0), 1e-300), full_matrices=False)
    return np.argsort(np.arctan2(V[1], V[0]), kind="stable")


def criteria(tape: Recorded, layer: str) -> list[Literal["timescale", "likeness"]]:
    """What the units of a layer can be sorted by, the default first; a frame may lack what is needed."""
    there = {part_of(name) for name in tape.names("*") if layer_of(name) == layer}
    keeps = tape.cell.keeps or tape.cell.enters
    found: list[Literal["timescale", "likeness"]] = (
        ["timescale"] if keeps in there and tape.cell.keeps_share else [])
    return [*found, "likeness"] if "h" in there and not is_projected(tape) else found


def is_narrow(tape: Recorded, name: str) -> bool:
    """Whether a named array is an h that a projection has narrowed, whose values are no units and are not sorted."""
    return part_of(name) == "h" and is_projected(tape)
