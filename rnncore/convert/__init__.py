"""Recurrent layers of torch, Keras, ONNX and audio tools as layers of rnncore, and back.

    from_torch, to_torch            modules, cells, state_dicts, files of weights
    from_keras, to_keras            layers, models, .keras and .weights.h5 files; KerasLayer, drop_masked, spread_masked

formats        how other libraries name and arrange what our layers have: the one place for it
weights        weights of one form in another, and layers made of them
activations    functions of gates and outputs
optional       packages that a conversion needs, imported when it does
torch, keras   what the functions above do; keras_layer, keras_files

    theirs ─ torch, keras ─ weights (our names, our order) ─ make_layer ─ RecurrentLayer

No pickle is read, and no code that a file brings is run.
"""

from .keras import from_keras, to_keras
from .keras_layer import KerasLayer, KerasTape, drop_masked, spread_masked
from .torch import from_torch, to_torch
from .weights import NamedLayer

__all__ = [
    "KerasLayer",
    "KerasTape",
    "NamedLayer",
    "drop_masked",
    "from_keras",
    "from_torch",
    "spread_masked",
    "to_keras",
    "to_torch",
]


def __dir__() -> list[str]:
    return sorted(__all__)
