"""`rnncore sample`: generates text with a trained model, one character after the other."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from rnncore.command import options

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from rnncore.nn import SequenceModel

HELP = "generate text with a trained model"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a file that `rnncore train` wrote")
    parser.add_argument(
        "--length", type=options.whole, default=500, help="number of characters (default: %(default)s)"
    )
    parser.add_argument(
        "--temperature", type=options.temperature, default=1.0,
        help="the logits are divided by it; 0 takes the most probable character (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", type=options.seed, default=0, help="random seed (default: %(default)s)")
    parser.add_argument("--prompt", help="text that is continued (default: a new line)")
    options.add_threads(parser)


def run(arguments: Namespace) -> int:
    """Run the command; returns the exit status."""
    from rnncore.command import text_model
    from rnncore.train import load_model

    options.set_threads(arguments)
    model, metadata = load_model(arguments.checkpoint)
    vocabulary = text_model.text_notes(arguments.checkpoint, model, metadata)["vocabulary"].text()
    prompt = arguments.prompt
    if prompt is None:
        prompt = "\n" if "\n" in vocabulary else vocabulary[0]
    pieces = sample_text(
        model,
        vocabulary,
        arguments.length,
        prompt=prompt,
        temperature=arguments.temperature,
        seed=arguments.seed,
    )
    for piece in pieces:
        sys.stdout.write(piece)
    sys.stdout.write("\n")
    sys.stdout.flush()
    return 0


def sample_text(
    model: SequenceModel,
    vocabulary: str,
    length: int,
    *,
    prompt: str,
    temperature: float = 1.0,
    seed: int | None = None,
) -> Iterator[str]:
    """Yields `length` characters that continue `prompt`, as they are drawn.

    Parameters
    ----------
    model : SequenceModel
        A model whose tokens are the characters of `vocabulary`.
    vocabulary : str
    length : int
    prompt : str
        At least one character; all must be in the vocabulary. It is not part of the result.
    temperature : float
        Logits are divided by it; 0 takes the most probable character.
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
    from rnncore.data import Alphabet, TextError
    from rnncore.nn import draw

    if not prompt:
        raise TextError("prompt: got an empty text, expected at least one character")
    rng = np.random.default_rng(seed)
    alphabet = Alphabet(vocabulary)
    logits, state = model(alphabet.encode(prompt, name="prompt")[:, None])
    stream, scores = model.stream(state=state), logits[-1, 0]
    for done in range(1, length + 1):
        tokens = np.array([draw(scores, temperature, rng)])
        yield alphabet.decode(tokens)
        if done < length:
            (scores,) = stream.step(tokens)
