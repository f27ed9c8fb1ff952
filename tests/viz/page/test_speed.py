"""How fast the page answers: `pytest -m timing -s tests/viz/page/test_speed.py` prints the figures.

The limits are twice to three times what an idle machine with two cores is asked for (50 ms, 200 ms, 30 pictures a
second), so that a busy one keeps them.
"""

import json
import statistics
import subprocess

import numpy as np
import pytest

import rnncore as rc
from rnncore import viz
from rnncore.nn import sequence_model

pytestmark = [pytest.mark.slow, pytest.mark.timing]

LETTERS = "abcdefghijklmnopqrstuvwxyz .,()"
CELLS = ("rnn-tanh", "rnn-relu", "rnn-sigmoid", "gru", "lstm")


@pytest.fixture(scope="module")
def seen(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    rng = np.random.default_rng(0)
    models = {cell: sequence_model(cell, len(LETTERS), hidden_size=128, embedding_size=64, seed=0) for cell in CELLS}
    text = {"300 symbols": "".join(rng.choice(list(LETTERS), 299))}
    jobs = {
        "one": viz.explore(models["lstm"], folder / "one.html", vocabulary=LETTERS, examples=text),
        "five": viz.explore(models, folder / "five.html", vocabulary=LETTERS, examples=text),
        "long": viz.explore(rc.LSTM(2, 256, seed=0), folder / "long.html", examples={"": rng.normal(size=(1000, 2))}),
    }
    (folder / "jobs.json").write_text(json.dumps({name: str(path) for name, path in jobs.items()}))
    run, environment = browser
    arguments = [str(folder / "jobs.json"), str(folder / "seen.json")]
    subprocess.run([run[0], run[1].replace("in_browser", "speed"), *arguments], check=True, env=environment)
    found = json.loads((folder / "seen.json").read_text())
    for name in ("one", "five"):
        keys = found[name]["keys"]
        found[name] |= (keys := {what: statistics.median(key[what] for key in keys) for what in keys[0]})
        told = [f"first picture {found[name]['firstPicture']:.0f} ms; a key"]
        told += [f"{what} {value:.0f} ms" for what, value in keys.items()]
        print(f"\n{name}, 300 symbols, H 128: {', '.join(told)}", end="")
    told = ", ".join(f"{what} {rate:.0f} pictures/s" for what, rate in found["long"].items())
    print(f"\n1,000 steps of 256 units: {told}")
    return found


def test_a_key_is_answered_at_once(seen):
    assert seen["one"]["whole"] < 150
    assert seen["five"]["whole"] < 500
    assert seen["five"]["deaf"] < 300  # between two networks the page takes the next key


def test_the_first_picture_comes_soon(seen):
    assert seen["five"]["firstPicture"] < 5000


def test_long_sequences_scroll(seen):
    assert seen["long"]["pan"] > 10
    assert seen["long"]["scroll"] > 10
