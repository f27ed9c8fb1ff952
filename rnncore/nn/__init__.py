"""The few layers and losses that training a sequence model needs besides the recurrent layer.

There is no autograd. Every module is either called like a function, and then keeps nothing, or recorded: ``record(x)``
returns an object with ``.output`` and ``.backward(grad_output)``, which returns gradients with ``.input`` and
``.parameters``, as the tape of a recurrent layer does.

    tokens ─ Embedding ─ RNN | GRU | LSTM ─ (Dropout) ─ Linear ─ logits ─ cross_entropy
             └────────────────────── SequenceModel ─────────────────────┘

layers          Embedding, Linear, Dropout
sequence        SequenceModel
configuration   the configuration of a SequenceModel in files
counted         which steps are part of a loss, and with which weights
readout         what the head reads: the outputs of all steps, the last state, or the mean of the outputs
stream          a model some steps at a time, keeping the state
build           layers and models by the names of their cells
losses          cross-entropy and squared error
softmax         log softmax, and draws with a temperature
record          a recorded call of one of these layers, and of a SequenceModel
state           rows of a state that is carried from call to call
"""

from rnncore.nn.build import make_layer, make_model, sequence_model
from rnncore.nn.layers import Dropout, Embedding, Linear
from rnncore.nn.losses import cross_entropy, length_mask, mse, token_nll
from rnncore.nn.record import Record
from rnncore.nn.sequence import SequenceModel
from rnncore.nn.softmax import draw, log_softmax
from rnncore.nn.stream import ModelStream
from rnncore.recurrent.descriptions import CELLS

__all__ = [
    "CELLS",
    "Dropout",
    "Embedding",
    "Linear",
    "ModelStream",
    "Record",
    "SequenceModel",
    "cross_entropy",
    "draw",
    "length_mask",
    "log_softmax",
    "make_layer",
    "make_model",
    "mse",
    "sequence_model",
    "token_nll",
]


def __dir__() -> list[str]:
    return sorted(__all__)
