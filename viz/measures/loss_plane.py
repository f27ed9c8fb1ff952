"""The loss over a plane of two weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from .._door import as_layer

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, Floats, StateLike
    from rnncore.recurrent.base import RecurrentLayer

__all__ = ["LossPlane", "loss_plane"]

Weight: TypeAlias = tuple[str, tuple[int, ...]]


class LossPlane(NamedTuple):
    """A loss at the points of a grid over two weights.

    Attributes
    ----------
    names : tuple of str
        Of the weight along x and of that along y, such as "weight_hh_l0[0, 0]".
    x : ndarray (nx,)
    y : ndarray (ny,)
    loss : ndarray (ny, nx)
    """

    names: tuple[str, str]
    x: Floats
    y: Floats
    loss: Floats


def loss_plane(
    layer: RecurrentLayer,
    inputs: ArrayLike,
    loss: Callable[[Array], object],
    *,
    along: tuple[Weight, Weight],
    x: ArrayLike,
    y: ArrayLike,
    state: StateLike = None,
) -> LossPlane:
    """Run a layer with every pair of values of two of its weights, and compute its loss.

    Parameters
    ----------
    layer : RNN, GRU or LSTM
        Is left unchanged.
    inputs : ndarray
        Input in the layer's layout.
    loss : callable
        Output in the layer's layout -> loss, or (loss, gradient), as the losses of `rnncore.nn` return.
    along : pair of (name, index)
        The two weights, such as ``(("weight_hh_l0", (0, 0)), ("bias_ih_l0", (0,)))``.
    x, y : ndarray (nx,), ndarray (ny,)
        Their values.
    state : optional
        As for the layer.

    Returns
    -------
    LossPlane

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> plane = viz.loss_plane(
    ...     rc.RNN(1, 1, seed=0), np.zeros((20, 1, 1)), lambda y: float((y[-1, 0, 0] - 0.7) ** 2),
    ...     along=(("weight_hh_l0", (0, 0)), ("bias_ih_l0", (0,))), x=[0.5, 1.0, 1.5], y=[0.0, 0.2],
    ... )
    >>> plane.loss.shape, plane.names
    ((2, 3), ('weight_hh_l0[0, 0]', 'bias_ih_l0[0]'))
    """
    trial = copy.deepcopy(as_layer(layer))
    across, up = np.asarray(x, np.float64), np.asarray(y, np.float64)
    for axis, each in (("x", across), ("y", up)):
        if each.ndim != 1 or len(each) < 2:
            raise ValueError(f"{axis}: got shape {each.shape}, expected at least two values, (n,)")
    weights = [_weight(trial, weight) for weight in along]
    if len(weights) != 2 or weights[0] == weights[1]:
        raise ValueError(f"along: got {along!r}, expected two different weights")
    found = np.empty((len(up), len(across)))
    for i, second in enumerate(up):
        for j, first in enumerate(across):
            with trial.writable() as arrays:
                for (name, index), value in zip(weights, (first, second), strict=True):
                    arrays[name][index] = value
            result = loss(trial(inputs, state)[0])
            found[i, j] = float(result[0] if isinstance(result, tuple) else result)  # type: ignore[arg-type]
    first_name, second_name = (f"{name}{[*index]}" for name, index in weights)
    return LossPlane((first_name, second_name), across, up, found)


def _weight(layer: RecurrentLayer, weight: Weight) -> Weight:
    """A name and an index of one weight, checked."""
    shapes = {name: np.shape(a) for name, a in layer.parameters.items()}
    try:
        name, index = weight
        index = tuple(int(i) for i in np.atleast_1d(index))
        inside = len(index) == len(shapes[name]) and all(0 <= i < n for i, n in zip(index, shapes[name], strict=True))
    except (KeyError, TypeError, ValueError):
        inside = False
    if not inside:
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"along: got {weight!r}, expected (name, index) of one weight: {told}")
    return name, index
