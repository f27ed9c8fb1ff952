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
``perplexity``, ``score``. A model stands in the room of its memory:

interface  what all share: the base classes, what a sequence may be, settings, files
windows    the memory is a fixed window of the past: `AutoRegressive`, `Markov`
chains     ... a hidden state of a few values: `HiddenMarkov`, `SwitchingAutoRegressive`
networks   ... the state of a recurrent net: `Recurrent`, `SequenceClassifier`

A new model is a file in one of them and a line in `_MODELS` below; docs/models.md says what it writes.
"""

from __future__ import annotations

import importlib

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
    "NotFittedError": "interface.base",
}

__all__ = [*_HOMES, "load"]


def __getattr__(name):  # a model's module is imported when it is first asked for
    if name in _HOMES:
        value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)


def load(path):
    """Read any saved model; its class is in the file.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    the model, of the class that wrote the file
    """
    from rnncore.models.interface.storage import read_model_file

    kind, params, state = read_model_file(path)
    if kind not in _MODELS:
        raise ValueError(f"path: {str(path)!r} holds a {kind}, expected one of {sorted(_MODELS)}")
    return __getattr__(kind)._restored(params, state)
