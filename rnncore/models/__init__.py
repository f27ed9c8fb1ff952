"""Sequence models on one interface: which memory does your data need?

======================= ===================================================
`AutoRegressive`        a fixed window of real values, linear
`Markov`                a fixed window of symbols, counted
`HiddenMarkov`          a hidden state that summarises the past
`SwitchingAutoRegressive`  a hidden state and a window together
`Recurrent`             a recurrent net, text or real values
`SequenceClassifier`    a sequence of any length to one label or number
======================= ===================================================

All but the last share `SequenceModelBase`: ``fit``, ``log_prob``, ``predict``, ``sample``,
``perplexity``, ``score``. `AutoRegressive` and `Recurrent` also ``forecast`` with intervals. The
subpackages are named after the kind of memory that their models have:

interface  what all models share: the base classes, checks of sequences, settings, files
windows    the memory is a fixed window of the past: `AutoRegressive`, `Markov`
chains     the memory is a hidden state with a few values: `HiddenMarkov`, `SwitchingAutoRegressive`
networks   the memory is the state of a recurrent net: `Recurrent`, `SequenceClassifier`

A new model is a file in one of them and a line in `_MODELS` below; docs/models.md lists the methods it defines.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnncore._typing import PathLike

    from .chains.hidden_markov import HiddenMarkov
    from .chains.switching import SwitchingAutoRegressive
    from .interface.base import Gaussian, NotFittedError, SequenceModelBase
    from .interface.forecasts import Forecast, SampledForecast
    from .networks.classifier import SequenceClassifier
    from .networks.recurrent import Recurrent
    from .windows.autoregressive import AutoRegressive
    from .windows.markov import Markov

_MODELS = {
    "AutoRegressive": "windows.autoregressive",
    "Markov": "windows.markov",
    "HiddenMarkov": "chains.hidden_markov",
    "SwitchingAutoRegressive": "chains.switching",
    "Recurrent": "networks.recurrent",
    "SequenceClassifier": "networks.classifier",
}
_HOMES = _MODELS | {
    "SequenceModelBase": "interface.base",
    "Gaussian": "interface.base",
    "Forecast": "interface.forecasts",
    "SampledForecast": "interface.forecasts",
    "NotFittedError": "interface.base",
}

__all__ = [
    "AutoRegressive", "Forecast", "Gaussian", "HiddenMarkov", "Markov", "NotFittedError", "Recurrent",
    "SampledForecast", "SequenceClassifier", "SequenceModelBase", "SwitchingAutoRegressive", "load",
]


if not TYPE_CHECKING:   # type checkers know the names from the imports above, and refuse all others

    def __getattr__(name: str) -> Any:  # a model's module is imported when its class is first used
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
        return value


def __dir__() -> list[str]:
    return sorted(__all__)


def load(path: PathLike) -> SequenceModelBase | SequenceClassifier:
    """Read a saved model of any class; the file names the class.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    SequenceModelBase or SequenceClassifier
        A model of the class that wrote the file.

    Raises
    ------
    OSError
        There is no such file.
    DamagedFileError, ValueError
        The file is damaged, or holds something other than a model of this package.
    """
    from rnncore.models.interface.storage import read_model_file

    kind, params, state = read_model_file(path)
    if kind not in _MODELS:
        raise ValueError(f"path: {str(path)!r} holds a {kind}, expected one of {sorted(_MODELS)}")
    model: type[SequenceModelBase | SequenceClassifier] = getattr(sys.modules[__name__], kind)
    return model._restored(params, state)
