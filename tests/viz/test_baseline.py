"""A few pictures compared with what they were when a person last inspected them.

They are compared at a quarter of their size, so that the fonts and antialiasing of another matplotlib
do not matter, while a missing panel, a wrong colour map or a shifted axis does. After an intended change:
``python tests/viz/test_baseline.py`` draws them anew; look at them before you commit them.
"""

from pathlib import Path

import numpy as np
import pytest

import rnncore as rc
from rnncore import viz

FOLDER = Path(__file__).with_name("baseline")
# Mean squared difference of 0 … 1 pixels. Same code: 0; another font size: about 1e-3; a diverging
# map for a sequential one: above 1e-2.
TOLERANCE = 4e-3


def tape(cell):
    layer = getattr(rc, cell)(3, 12, seed=4)
    x = np.random.default_rng(5).normal(size=(40, 1, 3))
    recorded = layer.record(x)
    g = np.zeros((40, 1, 12))
    g[-1] = 1
    recorded.backward(g)
    return recorded


def overview():
    return viz.overview(tape("LSTM"))


def cell():
    import matplotlib.pyplot as plt

    with viz.style.context():
        figure, ax = plt.subplots()
        viz.plot_cell(tape("GRU"), ax, step=7)
    return figure


def decay():
    runs = {
        name: 0.5 ** (np.arange(80.0) / half) for name, half in (("a", 0.6), ("b", 3), ("c", 20))
    }
    return viz.side_by_side(runs, viz.plot_jacobian_norms)


PICTURES = {"overview": overview, "cell": cell, "decay": decay}


def pixels(figure):
    """(rows, columns, 3) in 0 … 1, averaged over 4×4 dots."""
    figure.set_dpi(60)
    figure.canvas.draw()
    image = np.asarray(figure.canvas.buffer_rgba())[:, :, :3] / 255
    rows, columns = (n // 4 * 4 for n in image.shape[:2])
    image = image[:rows, :columns]
    return image.reshape(rows // 4, 4, columns // 4, 4, 3).mean((1, 3))


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_looks_as_when_it_was_last_inspected(name, plt):
    figure = PICTURES[name]()
    found = pixels(figure)
    plt.close(figure)
    expected = plt.imread(FOLDER / f"{name}.png")[:, :, :3]
    assert found.shape == expected.shape
    assert np.square(found - expected).mean() <= TOLERANCE


def test_the_tolerance_sees_a_wrong_colour_map(plt):
    figure = overview()
    for ax in figure.axes:
        for image in ax.images:
            image.set_cmap("gray")
    found = pixels(figure)
    plt.close(figure)
    expected = plt.imread(FOLDER / "overview.png")[:, :, :3]
    assert np.square(found - expected).mean() > TOLERANCE


if __name__ == "__main__":
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    FOLDER.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        plt.imsave(FOLDER / f"{name}.png", pixels(draw()))
