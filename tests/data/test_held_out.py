"""The number of held-out characters if the share is not a whole number of them."""

import pytest

from rnncore.data import Corpus


@pytest.mark.parametrize(
    ("length", "share", "held_out"),
    [(11, 0.1, 1), (16, 0.1, 2), (14, 0.1, 1), (101, 0.25, 25), (103, 0.25, 26), (9, 0.0, 0), (2, 0.2, 0)],
)
def test_the_held_out_share_is_rounded_to_the_nearest_number(length, share, held_out):
    text = "".join(chr(ord("a") + k % 26) for k in range(length))
    corpus = Corpus(text, valid_fraction=share)
    assert len(corpus.valid) == held_out
    assert corpus.decode(corpus.train) + corpus.decode(corpus.valid) == text
