"""Predictions of a class: log probabilities, and draws from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rnncore import _engine
from rnncore._checks import REAL_KINDS, as_array, as_number, as_real

if TYPE_CHECKING:
    from rnncore._typing import Array, ArrayLike, Floats

FLOATS = np.dtype("float32"), np.dtype("float64")       # what `_engine.draw` reads, in the machine's byte order


def log_softmax(logits: ArrayLike) -> Floats:
    """log softmax over the last axis, in float64.

    Parameters
    ----------
    logits : array (..., C)
        Unnormalised log probabilities.

    Returns
    -------
    ndarray (..., C)

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.nn import log_softmax
    >>> np.exp(log_softmax(np.zeros(4, "float32"))).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    values = as_real(logits, "logits", np.dtype("float64"))
    if values.shape[-1:] == (0,):
        raise ValueError(f"logits: got shape {values.shape}, expected (..., C), at least one class")
    shifted: Floats = values - values.max(axis=-1, keepdims=True)
    normalised: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normalised


def draw(logits: ArrayLike, temperature: float, rng: np.random.Generator) -> int:
    """Draw a class from its unnormalised log probabilities.

    Parameters
    ----------
    logits : array (C,)
        Finite, or -inf for classes that are impossible.
    temperature : float
        `logits` are divided by it; 0 selects the most likely class.
    rng : numpy.random.Generator
        One uniform number is drawn from it, or none at temperature 0 and by a call that raises an error.

    Raises
    ------
    TypeError, ValueError
        `logits` are no real numbers, none, or those of several predictions; one is NaN or infinity, or all are -inf.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.nn import draw
    >>> rng = np.random.default_rng(0)
    >>> draw(np.log([0.2, 0.5, 0.3]), 0, rng), draw(np.log([0.2, 0.5, 0.3]), 1, rng)
    (1, 1)
    """
    temperature = as_number(temperature, "temperature", least=0)
    logits = as_array(logits, "logits")
    if logits.dtype.kind not in REAL_KINDS and logits.size:
        raise TypeError(f"logits: got {logits.dtype} values, expected real numbers")
    if logits.ndim == 0 or logits.size != logits.shape[-1]:
        raise ValueError(f"logits: got shape {logits.shape}, expected (C,), one number for each class; of several "
                         "predictions, pass one after the other")
    values: Array = np.require(logits, requirements=("C", "ALIGNED")).reshape(-1)
    if values.dtype not in FLOATS:
        values = values.astype(np.float64)
    return _engine.draw(values, temperature, rng.random)
