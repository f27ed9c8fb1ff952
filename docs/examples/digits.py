"""Handwritten digits read pixel by pixel: 64 steps of one number, then a label.

    python docs/examples/digits.py

The images are scikit-learn's 8 × 8 digits. The net sees one pixel a step, row after
row, and answers after the last: what the first rows showed has to live in its state.
"""

import argparse
import time

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from rnncore.models import SequenceClassifier


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    images, labels = load_digits(return_X_y=True)  # (1797, 64): one sequence of 64 pixels a row
    parts = train_test_split(images, labels, test_size=0.25, random_state=0, stratify=labels)
    train, test, train_labels, test_labels = parts
    print(f"{len(train)} digits to learn from, {len(test)} held out, 64 steps each")
    print("| cell | weights | epochs | seconds | right |\n|---|---|---|---|---|")
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
