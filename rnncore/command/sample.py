"""Text from a trained model, one character after the other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rnncore.data import Alphabet, TextError
from rnncore.nn import SequenceModel, draw


def sample_text(
    model: SequenceModel,
    vocabulary: str,
    length: int,
    *,
    prompt: str,
    temperature: float = 1.0,
    seed: int | None = None,
) -> Iterator[str]:
    """`length` characters that go on from `prompt`, as they are drawn.

    Parameters
    ----------
    model : SequenceModel
        Of the tokens of `vocabulary`.
    vocabulary : str
    length : int
    prompt : str
        At least one character; all must be in the vocabulary. It is not repeated.
    temperature : float
        Logits are divided by it; 0 takes the likeliest character.
    seed : int, optional

    Examples
    --------
    >>> from rnncore.nn import sequence_model
    >>> from rnncore.command.sample import sample_text
    >>> model = sequence_model("gru", 3, hidden_size=4, seed=0)
    >>> text = "".join(sample_text(model, "abc", 5, prompt="a", seed=0))
    >>> len(text), set(text) <= set("abc")
    (5, True)
    """
    if not prompt:
        raise TextError("prompt: got an empty text, expected at least one character")
    rng = np.random.default_rng(seed)
    alphabet = Alphabet(vocabulary)
    tokens, state = alphabet.encode(prompt, name="prompt"), None
    for _ in range(length):
        logits, state = model(tokens[:, None], state)
        tokens = np.array([draw(logits[-1, 0], temperature, rng)])
        yield alphabet.decode(tokens)
