"""The few layers and losses that training a sequence model needs besides the recurrent layer.

There is no autograd. Every module is called like a function (nothing is kept), or recorded:
``record(x)`` returns an object with ``.output`` and ``.backward(grad_output)``, whose answer has
``.input`` and ``.parameters``, as the tape of a recurrent layer has.

    tokens ─ Embedding ─ RNN | GRU | LSTM ─ (Dropout) ─ Linear ─ logits ─ cross_entropy
             └────────────────────── SequenceModel ─────────────────────┘

layers          Embedding, Linear, Dropout          product  matrix products that leave BLAS's threads asleep
sequence        SequenceModel, and what its files say of it
readout         what the head reads: every step, the last one, or their mean
build           layers and models by the names of their cells
losses          cross-entropy and squared error     softmax  log softmax, and a draw with a temperature
record          a recorded call of a layer here     state    rows of a state that is carried
"""

from rnncore.nn.build import make_layer, make_model, sequence_model
from rnncore.nn.layers import Dropout, Embedding, Linear
from rnncore.nn.losses import cross_entropy, length_mask, mse, token_nll
from rnncore.nn.record import Record
from rnncore.nn.sequence import SequenceModel
from rnncore.nn.softmax import draw, log_softmax
from rnncore.recurrent.descriptions import CELLS

__all__ = [
    "CELLS",
    "Dropout",
    "Embedding",
    "Linear",
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
