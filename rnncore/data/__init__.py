"""Reading text and series: characters as tokens, the windows that training takes, padding.

file ─ Corpus ─ train tokens ─ batches(…) ─ (x, targets), (x, targets), …   each (steps, batch)
              └ valid tokens ─ …
series ─ windows(…) ─ .train, .valid, .test ─ Window, Window, …             each (steps, batch, features)

text     an alphabet of characters, and a corpus with a part held out
window   the input and targets of one update of training, and a text cut into such windows
series   real-valued series cut into such windows: split in time, scaled by the training part
tables   tables of numbers in text files: CSV and its relatives
columns  the columns of an array or a DataFrame
ragged   sequences of unequal length as one array
"""

from rnncore.data.ragged import buckets, pad
from rnncore.data.series import Scaler, SeriesPart, SeriesWindows, windows
from rnncore.data.tables import Table, read_table
from rnncore.data.text import Alphabet, Corpus, TextError
from rnncore.data.window import Batches, LazyWindows, Window, batches, fingerprint

__all__ = [
    "Alphabet",
    "Batches",
    "Corpus",
    "LazyWindows",
    "Scaler",
    "SeriesPart",
    "SeriesWindows",
    "Table",
    "TextError",
    "Window",
    "batches",
    "buckets",
    "fingerprint",
    "pad",
    "read_table",
    "windows",
]


def __dir__() -> list[str]:
    return sorted(__all__)
