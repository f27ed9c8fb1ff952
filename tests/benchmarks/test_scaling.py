"""Slopes are fitted, shown, and refused when too steep."""

import pytest

from benchmarks import scaling


def lines(exponent):
    return [
        {
            "axis": axis,
            "cell": "GRU",
            "mode": mode,
            "sizes": sizes,
            "seconds": [1e-3 * size**exponent for size in sizes],
            "slope": scaling.slope(sizes, [1e-3 * size**exponent for size in sizes]),
        }
        for axis, sizes in scaling.SIZES.items()
        for mode in scaling.MODES
    ]


def test_slope_is_the_exponent():
    assert scaling.slope([1, 10, 100], [3.0, 3e2, 3e4]) == pytest.approx(2.0)


def test_sizes_span_two_decades():
    for sizes in scaling.SIZES.values():
        assert sizes[-1] / sizes[0] >= 100


def test_an_exponent_that_is_too_large_is_reported():
    assert "too steep" not in scaling.markdown(lines(1.0))
    steep = scaling.markdown(lines(1.2)).splitlines()
    assert [("too steep" in row) for row in steep if "GRU" in row] == [True] * 4 + [False] * 2


def test_titles_and_labels_of_panels_state_the_measured_growth():
    figure = scaling.plot(lines(1.2), "about")
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[0] == "forward: grows more than linearly in steps"
    assert titles[5] == "training: grows at most quadratically in units"
    line = figure.axes[0].lines[0]
    assert list(line.get_xdata()) == list(scaling.SIZES["T"])
    assert line.get_label() == "GRU, slope 1.20"
