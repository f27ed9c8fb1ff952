"""Handwritten digits, read pixel by pixel: a sequence of 64 numbers, then a label.

    python docs/examples/digits.py

The images are the 8 × 8 digits of scikit-learn. The network sees one pixel per step, row by row,
and predicts the digit after the last one, so its state has to remember what the first rows showed.
"""

import argparse
import time

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from rnncore.models import SequenceClassifier


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    images, labels = load_digits(return_X_y=True)  # (1797, 64): each row is a sequence of 64 pixels
    parts = train_test_split(images, labels, test_size=0.25, random_state=0, stratify=labels)
    train, test, train_labels, test_labels = parts
    print(f"{len(train)} digits for training, {len(test)} held out, 64 steps each")
    print("| cell | weights | epochs | seconds | accuracy |\n|---|---|---|---|---|")
    for cell in ("rnn", "gru", "lstm"):
        model = SequenceClassifier(cell, options.hidden, epochs=options.epochs, patience=10,
                                   seed=options.seed)
        start = time.perf_counter()
        model.fit(train, train_labels)
        seconds = time.perf_counter() - start
        print(f"| {cell} | {model.n_parameters_:,} | {len(model.history_['train'])} "
              f"| {seconds:.0f} | {100 * model.score(test, test_labels):.1f} % |", flush=True)


if __name__ == "__main__":
    main()
