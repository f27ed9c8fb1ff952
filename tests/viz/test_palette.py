"""The palettes work in grey print and for colour-blind readers."""

import itertools

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from rnncore.viz import style

# Machado, Oliveira & Fernandes (2009), severity 1.0, for linear RGB.
BLIND = {
    "normal": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
WHITE = TO_XYZ.sum(1)


def linear(rgb):
    rgb = np.asarray(rgb, float)
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def seen(rgb, eye):
    """sRGB -> CIELAB, as an eye of this kind sees it."""
    xyz = np.clip(linear(rgb) @ np.array(BLIND[eye]).T, 0, 1) @ TO_XYZ.T / WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def luminance(rgb):
    return linear(rgb) @ TO_XYZ[1]


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_the_colour_arithmetic_is_right_for_known_colours():
    assert contrast((0, 0, 0), (1, 1, 1)) == pytest.approx(21)
    np.testing.assert_allclose(seen((1, 1, 1), "normal"), [100, 0, 0], atol=0.01)
    np.testing.assert_allclose(seen((1, 0, 0), "normal"), [53.24, 80.09, 67.20], atol=0.02)
    red, green = seen([(0.8, 0.2, 0.2), (0.3, 0.45, 0.1)], "deutan")
    red_n, green_n = seen([(0.8, 0.2, 0.2), (0.3, 0.45, 0.1)], "normal")
    assert np.linalg.norm(red - green) < np.linalg.norm(red_n - green_n) / 2


@pytest.mark.parametrize("eye", BLIND)
def test_lines_can_be_told_apart(eye):
    """ΔE of 2.3 is just noticeable; lines that are apart on a page need several times that."""
    lab = seen([to_rgb(c) for c in style.LINES], eye)
    for (i, a), (j, b) in itertools.combinations(enumerate(lab), 2):
        distance = np.linalg.norm(a - b)
        assert distance > 10, (style.LINES[i], style.LINES[j])
        if j == i + 1 and j < 6:
            assert distance > 50, (style.LINES[i], style.LINES[j])


def test_lines_in_grey_have_markers_and_the_first_ones_differ_in_lightness():
    assert len(set(style.MARKERS)) == len(style.MARKERS) >= len(style.LINES)
    grey = seen([to_rgb(c) for c in style.LINES], "normal")[:, 0]
    assert np.abs(np.diff(grey))[:1] > 5  # two overlaid runs, the usual case


@pytest.mark.parametrize("color", style.LINES)
def test_lines_stand_out_from_white(color):
    """WCAG demands 3:1 for graphics; the light colours of Okabe–Ito are used last, and with markers."""
    least = 3.0 if color in style.LINES[:4] else 2.0
    assert contrast(to_rgb(color), (1, 1, 1)) >= least


def test_notes_are_legible():
    assert contrast(to_rgb(style.GREY), (1, 1, 1)) >= 4.5


@pytest.mark.parametrize("eye", [*BLIND, "grey"])
@pytest.mark.parametrize("name", [style.GATES, style.MAGNITUDE])
def test_sequential_maps_rise_in_lightness(name, eye):
    """The order can be read from lightness alone, in even steps, for every kind of vision."""
    lab = seen(colormaps[name](np.linspace(0, 1, 64))[:, :3], "normal" if eye == "grey" else eye)
    steps = np.diff(lab[:, 0])
    assert (steps > 0).all()
    assert lab[-1, 0] - lab[0, 0] > 50
    assert steps.max() < 4 * steps.mean()


@pytest.mark.parametrize("eye", BLIND)
def test_the_diverging_map_has_two_ends_and_a_light_middle(eye):
    lab = seen(colormaps[style.SIGNED](np.linspace(0, 1, 65))[:, :3], eye)
    lightness = lab[:, 0]
    assert lightness.argmax() in range(30, 35)
    assert (np.diff(lightness[:31]) > 0).all()
    assert (np.diff(lightness[34:]) < 0).all()
    for k in (4, 8, 16):  # the same size with another sign looks different
        assert np.linalg.norm(lab[k] - lab[-1 - k]) > 20


def test_the_style_sheet_uses_the_same_lines(plt):
    with style.context():
        cycle = [entry["color"] for entry in plt.rcParams["axes.prop_cycle"]]
    assert tuple(f"#{c}".upper().replace("##", "#") for c in cycle) == style.LINES
