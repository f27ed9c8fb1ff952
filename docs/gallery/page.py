"""The page in motion, docs/img/page.webp: `python docs/gallery/page.py`, with Chromium and the tools of `make page`.

Four networks learn to repeat a colour that they read some twenty symbols before. Then a text is typed into their page.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import rnncore as rc
from rnncore import viz
from rnncore.data import Corpus, batches
from rnncore.nn import sequence_model
from rnncore.optim import Adam
from rnncore.train import Trainer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COLOURS = ("red", "blue", "green", "white")
WORDS = ("the", "a", "fox", "dog", "ran", "over", "hill", "and", "by", "day", "on", "it", "was", "so", "far")
TYPED = "red: the dog ran over a hill by day = r"
SIZE, LIMIT = (960, 632), 2_000_000  # pixels, and bytes


def written(count=12000):
    """Sentences such as "red: the fox ran far = red. "."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        colour, words = rng.choice(COLOURS), rng.choice(WORDS, rng.integers(1, 8))
        yield f"{colour}: {' '.join(words)} = {colour}. "


def networks(corpus):
    """name -> trained network."""
    found = {}
    for cell, rate in {"rnn-sigmoid": 4e-3, "rnn-tanh": 4e-3, "gru": 8e-3, "lstm": 4e-3}.items():
        model = sequence_model(cell, len(corpus.vocabulary), hidden_size=64, embedding_size=16, seed=1)
        if cell == "lstm":
            rc.init.forget_bias(model.layer, 1.0)
        Trainer(model, Adam(model, rate), batches(corpus.train, 32, 80), max_norm=1.0).fit(1500, progress=True)
        found[model.layer.cell.label] = model
    return found


def pictures(page, folder):
    """(picture, milliseconds) of the page while it is used."""
    tools = ROOT / "build" / "page" / "node_modules"
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None or not (tools / "playwright-core").exists():
        sys.exit("docs/gallery/page.py: Chromium or playwright-core is missing: apt-get install chromium, make page")
    environment = os.environ | {"CHROMIUM": chromium, "PLAYWRIGHT": str(tools / "playwright-core" / "index.mjs")}
    subprocess.run(["node", str(HERE / "page.mjs"), str(page), str(folder), TYPED], check=True, env=environment)
    from PIL import Image

    for name, milliseconds in json.loads((folder / "frames.json").read_text()):
        with Image.open(folder / name) as image:
            yield image.convert("RGB").resize(SIZE, Image.Resampling.LANCZOS), milliseconds


def main():
    corpus = Corpus("".join(written()))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = networks(corpus)
        page = viz.explore(given, folder / "page.html", vocabulary=corpus.vocabulary, examples={"": TYPED})
        images, durations = zip(*pictures(page, folder), strict=True)
        out = ROOT / "docs" / "img" / "page.webp"
        images[0].save(out, save_all=True, append_images=images[1:], duration=list(durations), loop=0, quality=60,
                       method=4, minimize_size=True)  # fmt: skip
    print(f"{out}: {out.stat().st_size:,} bytes, {len(images)} pictures")
    assert out.stat().st_size <= LIMIT


if __name__ == "__main__":
    main()
