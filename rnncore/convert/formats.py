"""How other libraries name and arrange what `rnncore.LSTM`, `GRU` and `RNN` have.

Gates are written by the letters that they have in our descriptions; "h" stands for the one block of a cell without
gates. torch's names and order are our own.
"""

from __future__ import annotations

from typing import Any

# ---- the order of the gates in the blocks of weights --------------------------------------------

KERAS_GATES = {"LSTM": "ifgo", "GRU": "zrn", "RNN": "h"}        # Keras: i f c o; z r h
ONNX_GATES = {"LSTM": "iofg", "GRU": "zrn", "RNN": "h"}         # ONNX: i o f c; z r h
PEEPHOLES, ONNX_PEEPHOLES = "ifo", "iof"

# ---- the names of classes -----------------------------------------------------------------------

KERAS_CELLS = {"LSTMCell": "LSTM", "GRUCell": "GRU", "SimpleRNNCell": "RNN"}
KERAS_LAYERS = {"LSTM": "LSTM", "GRU": "GRU", "RNN": "SimpleRNN"}
RTNEURAL_LAYERS = {"lstm": "LSTM", "gru": "GRU"}
NAM_LAYERS = {"LSTM": "LSTM"}
# Attributes of ONNX's operators that are options of ours, both off or on.
ONNX_FLAGS: dict[str, dict[str, str]] = {
    "LSTM": {"input_forget": "coupled"},
    "GRU": {"linear_before_reset": "reset_after"},
    "RNN": {},
}
# The attribute `mode` of torch's modules, and the options that it implies.
TORCH_MODES: dict[str, tuple[str, dict[str, Any]]] = {
    "LSTM": ("LSTM", {}),
    "GRU": ("GRU", {}),
    "RNN_TANH": ("RNN", {"nonlinearity": "tanh"}),
    "RNN_RELU": ("RNN", {"nonlinearity": "relu"}),
}
# The classes of torch by the number of blocks in their weights.
TORCH_BLOCKS = {4: "LSTM", 3: "GRU", 1: "RNN"}
