"""What measures and plots are given: a tape, a layer, or the numbers of a measure.

Anything else is refused here, in one sentence that says what was got, what was expected and how to get it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeVar, cast

import numpy as np

from rnncore._typing import Floats
from rnncore.recurrent.base import RecurrentLayer
from rnncore.recurrent.tape import Tape

from ._tapes import HasTape, Recorded, is_tape

Numbers = TypeVar("Numbers")

# ---------------------------------------------------------------- tapes and layers


def as_tape(data: object, expected: str = "a tape") -> Recorded:
    """A tape or a frame as it is; the record of a model, or a moment of training, by its tape."""
    found = held_tape(data)
    if is_tape(found):
        return found
    raise TypeError(f"tape: got {described(data)}, expected {expected}{way_to_a_tape(data)}")


def as_whole_tape(data: Tape | HasTape) -> Tape:
    """The same for what also needs the input, the initial state, the weights or the way back: a frame has none."""
    found = as_tape(data)
    if not hasattr(found, "initial"):
        raise not_whole(getattr(found, "update", None))
    return cast("Tape", found)


def not_whole(update: int | None) -> TypeError:
    """The error for a frame of a run file where a tape is needed."""
    return TypeError(
        f"tape: got the recorded frame of update {update}, expected a tape: a frame has neither the input and the "
        "initial state nor the way back through time; record the input again with the weights of that update "
        "(Recorder(weights=True), or Moment.reopen)"
    )


def as_layer(data: object) -> RecurrentLayer:
    """A layer as it is."""
    if isinstance(data, RecurrentLayer):
        return data
    way = ""
    for path in ("layer", "tape.layer", "network_.layer"):
        inner: object = data
        for step in path.split("."):
            inner = getattr(inner, step, None)
        if isinstance(inner, RecurrentLayer):
            way = (f"; its attribute {path} is one, and x is then the input of that layer, in its own layout (a tape's "
                   "input is always time-major)")
            break
    raise TypeError(f"layer: got {described(data)}, expected a recurrent layer such as rnncore.LSTM{way}")


def held_tape(data: Recorded | HasTape | Numbers) -> Recorded | Numbers:
    """The tape of something that has one but is none; anything else as it is."""
    inner = getattr(data, "tape", None)
    return inner if is_tape(inner) and not is_tape(data) else data  # type: ignore[return-value]


def way_to_a_tape(data: object) -> str:
    """How to get a tape from what was given instead, as the end of an error; empty if nothing is known."""
    from rnncore.models import Recurrent, SequenceClassifier  # late, for the message alone

    if isinstance(data, type) and hasattr(data, "record"):
        return f"; make one, and record a pass of it: tape = {data.__name__}(…).record(x)"
    if not hasattr(data, "network_") and issubclass(data if isinstance(data, type) else type(data),
                                                    (Recurrent, SequenceClassifier)):
        return "; fit a model first, and record a pass of its network: tape = model.network_.record(x).tape"
    if isinstance(data, type):
        return ""
    if hasattr(data, "optimiser") and hasattr(data, "model"):
        return "; record a pass of its model: tape = trainer.model.record(x).tape, or take trainer.record.tape"
    if isinstance(data, RecurrentLayer):
        return "; record a pass first: tape = layer.record(x)"
    if isinstance(getattr(data, "layer", None), RecurrentLayer) and hasattr(data, "record"):
        return "; record a pass first: tape = model.record(x).tape"
    if hasattr(data, "network_"):
        return "; record a pass of its network first: tape = model.network_.record(x).tape"
    if hasattr(data, "frames"):
        return "; pass one of its frames, such as frames[-1]"
    if hasattr(data, "parameters") and hasattr(data, "state"):
        return "; pass the tape whose backward returned them, which holds the gradients too"
    return ""


def described(data: object) -> str:
    """What an argument is, in a few words."""
    if data is None:
        return "None"
    if isinstance(data, type):
        return f"the class {data.__name__}"
    if isinstance(data, str):
        return repr(data) if len(data) < 40 else "a str"
    if isinstance(data, Mapping):
        some = ", ".join(repr(key) for key in list(data)[:3])
        return f"a dict with the keys {some}{', …' if len(data) > 3 else ''}" if data else "an empty dict"
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return _with_article(type(data).__name__)
    if isinstance(data, np.ndarray):
        kind = "" if data.dtype.kind in "fiub" else f"{data.dtype} "
        return f"{'a' if kind else 'an'} {kind}array of shape {data.shape}"
    if isinstance(data, (list, tuple)):
        return f"a {type(data).__name__} of {len(data)}"
    if isinstance(data, (bool, int, float)):
        return f"the number {data}"
    return _with_article(type(data).__name__)


def _with_article(name: str) -> str:
    vowel = name[:1] in "AEIOU" or (name[:1] in "FLMNRSX" and name[:2].isupper())  # an LSTM, a GRU
    return f"{'an' if vowel else 'a'} {name}"


# ---------------------------------------------------------------- the numbers of a measure


class Form(NamedTuple):
    """What the numbers of a measure look like: in words, and as a test."""

    words: str
    fits: Callable[[Any], bool]
    is_array: bool = False


def array(*axes: str) -> Form:
    """Real numbers with these axes; where they are (T, B), B may be missing, for one row."""
    ndims = {1, 2} if axes == ("T", "B") else {len(axes)}
    words = f"an array ({', '.join(axes)}{',' * (len(axes) == 1)})"
    return Form(words, lambda data: _is_real(data) and np.ndim(data) in ndims, is_array=True)


def narrowed(form: Form, words: str, fits: Callable[[Floats], bool]) -> Form:
    """The same form for numbers of which something more is known, such as that they start with 1."""
    return Form(f"{form.words} {words}", lambda data: form.fits(data) and fits(np.asarray(data)), form.is_array)


def not_negative(form: Form) -> Form:
    """The same form for sizes, such as norms; NaN is left open."""
    return narrowed(form, "of numbers >= 0", lambda data: not (data < 0).any())


_NAMES = {"weight": r"(weight|bias)_\w+", "layer": r"l\d+(\.reverse)?", "state": r"l\d+(\.reverse)?\.(?!reverse$)\w+"}


def by_name(form: Form, of: Literal["weight", "layer", "state"] | None = None) -> Form:
    """A dict of names to such numbers, of which there is at least one.

    With `of` the names are those of weights ("weight_hh_l0"), layers ("l0") or states ("l0.h"): a dict with the names
    of another of these is refused, because it is the result of another measure. Any other names are the caller's own.
    """

    def fits(data: Any) -> bool:
        if not isinstance(data, Mapping) or not data:
            return False
        if not all(isinstance(name, str) for name in data) or not all(map(form.fits, data.values())):
            return False
        others = [pattern for kind, pattern in _NAMES.items() if of is not None and kind != of]
        return not any(re.fullmatch(pattern, name) for pattern in others for name in data)

    names = "names" if of is None else f"names of {of}s"
    words = form.words.removeprefix("an ").removeprefix("a ")
    return Form(f"a dict of {names} to {words.replace('array', 'arrays', 1) if form.is_array else f'{words}s'}", fits)


def fields(kind: type[tuple[Any, ...]]) -> Form:
    """A named tuple of this kind."""
    return Form(_with_article(kind.__name__), lambda data: isinstance(data, kind))


def pair(first: Form, second: Form, names: str) -> Form:
    """A tuple of two with equally many entries along their first axes."""

    def fits(data: Any) -> bool:
        if not isinstance(data, (tuple, list)) or len(data) != 2:
            return False
        return first.fits(data[0]) and second.fits(data[1]) and len(data[0]) == len(data[1])

    return Form(f"the pair {names}", fits)


def _is_real(data: Any) -> bool:
    if data is None or isinstance(data, (str, bytes, Mapping)):
        return False
    try:
        return np.asarray(data).dtype.kind in "fiub"
    except ValueError:  # a list of rows of unequal length
        return False


def as_numbers(data: Numbers, form: Form, *, name: str, source: str) -> Numbers:
    """The numbers of a measure as they are, if they have its form."""
    if form.fits(data):
        return data
    raise _refusal(data, form, f"{name}: got {described(data)}, expected {form.words}, as from {source}")


def measured(data: Recorded | HasTape | Numbers, measure: Callable[[Any], Numbers], form: Form) -> Numbers:
    """The measure of a tape; anything else has to be its numbers already."""
    data = held_tape(data)
    if is_tape(data):
        return measure(data)
    if form.fits(data):
        return data  # type: ignore[return-value]
    source = getattr(measure, "func", measure).__name__  # of a function, or of a partial
    expected = f"a tape, or {form.words} as from viz.{source}"
    raise _refusal(data, form, f"tape: got {described(data)}, expected {expected}{way_to_a_tape(data)}")


def _refusal(data: Any, form: Form, message: str) -> Exception:
    """The error for numbers of the wrong kind, or for an array of the wrong shape."""
    return ValueError(message) if form.is_array and _is_real(data) else TypeError(message)
