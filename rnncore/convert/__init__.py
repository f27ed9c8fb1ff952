"""Recurrent layers of torch, Keras, ONNX and audio tools as layers of rnncore, and back.

    from_torch, to_torch            modules, cells, state_dicts, files of weights
    from_keras, to_keras            layers, models, .keras and .weights.h5 files; KerasLayer, drop_masked, spread_masked
    from_onnx, to_onnx              models whose RNN, GRU and LSTM operators are our layers; OnnxModel
    from_rtneural, to_rtneural      RTNeural's JSON; AudioModel
    from_nam                        LSTM models of Neural Amp Modeler

formats        how other libraries name and arrange what our layers have: the one place for it
weights        weights of one form in another, and layers made of them
activations    functions of gates and outputs
optional       packages that a conversion needs, imported when it does
torch, keras, onnx_model, onnx_out, rtneural, nam
               the functions above; with keras_layer, keras_files, onnx_nodes and audio

    theirs ─ torch, keras ─ weights (our names, our order) ─ make_layer ─ RecurrentLayer

No pickle is read, and no code that a file brings is run.
"""

from .audio import AudioModel, AudioStream
from .keras import from_keras, to_keras
from .keras_layer import KerasLayer, KerasTape, drop_masked, spread_masked
from .nam import from_nam
from .onnx_model import OnnxModel, from_onnx
from .onnx_out import to_onnx
from .rtneural import from_rtneural, to_rtneural
from .torch import from_torch, to_torch
from .weights import NamedLayer

__all__ = [
    "AudioModel",
    "AudioStream",
    "KerasLayer",
    "KerasTape",
    "NamedLayer",
    "OnnxModel",
    "drop_masked",
    "from_keras",
    "from_nam",
    "from_onnx",
    "from_rtneural",
    "from_torch",
    "spread_masked",
    "to_keras",
    "to_onnx",
    "to_rtneural",
    "to_torch",
]


def __dir__() -> list[str]:
    return sorted(__all__)
