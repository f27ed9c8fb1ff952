"""What a model predicts of a class: log probabilities, and draws from them."""

from __future__ import annotations

import numpy as np

from rnncore._checks import as_number


def log_softmax(logits) -> np.ndarray:
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
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def draw(logits, temperature: float, rng: np.random.Generator) -> int:
    """A class from its unnormalised log probabilities.

    Parameters
    ----------
    logits : array (C,)
    temperature : float
        `logits` are divided by it; 0 takes the likeliest.
    rng : numpy.random.Generator
        Gives one uniform number, or none at temperature 0.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.nn import draw
    >>> rng = np.random.default_rng(0)
    >>> draw(np.log([0.2, 0.5, 0.3]), 0, rng), draw(np.log([0.2, 0.5, 0.3]), 1, rng)
    (1, 1)
    """
    logits, temperature = np.asarray(logits, np.float64), as_number(temperature, "temperature", least=0)
    if temperature == 0:
        return int(logits.argmax())
    with np.errstate(over="ignore", under="ignore"):  # a tiny temperature: others get 0
        ladder = np.cumsum(np.exp((logits - logits.max()) / temperature))
    return int(min(np.searchsorted(ladder, rng.random() * ladder[-1], side="right"), len(logits) - 1))
