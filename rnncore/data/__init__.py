"""Reading text and sequences: characters as tokens, the windows of truncated back-propagation, padding.

file ─ Corpus ─ train tokens ─ batches(…) ─ (x, targets), (x, targets), …   each (steps, batch)
              └ valid tokens ─ …

text     an alphabet of characters, and a corpus with a part held out
window   the input and targets of one update of training, and a text cut into such windows
ragged   sequences of unequal length as one array
"""

from rnncore.data.ragged import buckets, pad
from rnncore.data.text import Alphabet, Corpus, TextError
from rnncore.data.window import Batches, LazyWindows, Window, batches, fingerprint

__all__ = [
    "Alphabet",
    "Batches",
    "Corpus",
    "LazyWindows",
    "TextError",
    "Window",
    "batches",
    "buckets",
    "fingerprint",
    "pad",
]


def __dir__() -> list[str]:
    return sorted(__all__)
