"""Which windows begin in the final state of the window before them.

carry  which windows do
None   those of a sequence that says so (its attribute ``continues``, as of `rnncore.data.batches`), and those whose
       ``fresh`` is given, except for the rows that it marks; with a bidirectional layer, none
True   all of them; refused for a bidirectional layer
False  none
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore.data.window import continues
from rnncore.nn.state import zero_rows
from rnncore.recurrent.layout import parts_of

if TYPE_CHECKING:
    from rnncore._typing import State
    from rnncore.data import Window
    from rnncore.nn import SequenceModel


def as_carry(carry: object, model: SequenceModel) -> bool | None:
    """The argument `carry`, checked against the layer of `model`."""
    if carry is None:
        return None
    if not isinstance(carry, bool | np.bool_):
        raise TypeError(f"carry: got {carry!r:.60}, expected True or False, or None: carried where the data says so")
    if carry and model.layer.bidirectional:
        raise ValueError(
            "carry: got True with a bidirectional layer, expected None or False: the reverse direction starts at each "
            "window's own end, so a state of the window before has no place in it"
        )
    return bool(carry)


def begin(
    model: SequenceModel, before: State | None, window: Window, windows: object, carry: bool | None
) -> State | None:
    """The initial state of `window`, one of `windows`; None stands for zeros.

    Parameters
    ----------
    model : SequenceModel
    before : state or None
        The final state of the window before it.
    window : Window
    windows : sequence
    carry : bool or None
    """
    rows = _rows(model, window)
    fresh = None if window.fresh is None else np.asarray(window.fresh)
    if fresh is not None and (fresh.dtype != bool or fresh.shape != (rows,)):
        expected = (f"booleans ({rows},), True for a row that begins anew" if rows is not None
                    else "None for one sequence without a batch axis")
        raise ValueError(f"fresh: got {fresh.dtype} values of shape {fresh.shape}, expected {expected}")
    if before is None or not _carries(model, window, windows, carry) or (fresh is not None and fresh.all()):
        return None
    first = parts_of(before)[0]
    had = first.shape[1] if first.ndim == 3 else None
    if had != rows:
        raise ValueError(
            f"x: got {_told(rows)}, expected {_told(had)}, as in the window before, whose state is carried into "
            "this one; pass carry=False if the windows are independent of each other"
        )
    return zero_rows(before, fresh)


def _carries(model: SequenceModel, window: Window, windows: object, carry: bool | None) -> bool:
    """Whether a state is carried into `window`."""
    if carry is not None:
        return carry
    if model.layer.bidirectional:
        return False
    return window.fresh is not None or continues(windows)


def carry_of_run(model: SequenceModel, windows: object, carry: bool | None) -> bool | None:
    """Whether a run on `windows` carries the state; None: into each window whose `fresh` is given.

    It is None, too, for a sequence that computes its windows: they are not read, since they may be drawn at random.
    """
    if carry is not None:
        return carry
    if model.layer.bidirectional:
        return False
    if continues(windows):
        return True
    return False if isinstance(windows, (list, tuple)) and not any(map(_has_fresh, windows)) else None


def _has_fresh(window: Any) -> bool:
    parts = window if isinstance(window, Mapping) else getattr(window, "_asdict", dict)()
    return parts.get("fresh") is not None


def _rows(model: SequenceModel, window: Window) -> int | None:
    """The number of rows of a window, None for one unbatched sequence."""
    shape: tuple[int, ...] = np.shape(window.x)
    if len(shape) != (2 if model.embedding is not None else 3):
        return None
    return shape[0 if model.layer.batch_first else 1]


def _told(rows: int | None) -> str:
    return "one sequence without a batch axis" if rows is None else f"{rows} rows"
