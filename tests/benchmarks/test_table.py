"""Tables from numbers made by hand."""

import pytest

from benchmarks.cases import Case
from benchmarks.peers import table
from benchmarks.peers.matmul import FLOPS
from benchmarks.peers.run import Point

CASE = Case.parse("LSTM", "100,1,64,64")
PEAK = 1e11  # operations per second of the matrix product


def point(mode="forward", threads=1, absent=None, **shares):
    """A point where each library reaches a share of the peak."""
    seconds = {name: CASE.flops(mode) / (PEAK * part) for name, part in shares.items()}
    samples = {name: [value, 0.9 * value, 5 * value] for name, value in seconds.items()}
    return Point(CASE, mode, threads, {**samples, "matmul": [FLOPS / PEAK] * 3}, absent or {})


def test_ratio_is_against_the_fastest_other():
    measured = point(rnncore=0.6, torch=0.2, jax=0.3)
    assert table.best_peer(measured) == "jax"
    assert table.ratio(measured) == pytest.approx(2.0)
    assert table.share(measured, "rnncore") == pytest.approx(0.6)


def test_our_other_instruction_sets_are_not_peers():
    measured = point(**{"rnncore": 0.6, "rnncore@v3": 0.9, "torch": 0.3})
    assert table.best_peer(measured) == "torch"
    assert table.ratio(measured) == pytest.approx(2.0)


def test_no_ratio_without_us_or_without_a_peer():
    assert table.ratio(point(torch=0.5)) is None
    assert table.ratio(point(rnncore=0.5)) is None


def test_behind_and_near_peak_are_listed():
    points = [point(rnncore=0.86, torch=0.9), point("training", 2, rnncore=0.4, torch=0.2)]
    (line,) = table.behind(points)
    assert "LSTM 100,1,64,64 forward, 1 thread: 0.96 of torch, which is at 90% of the peak" in line
    (line,) = table.near_peak(points)
    assert "torch at 90% of the peak, ratio 0.96" in line


def test_means_are_geometric_and_separate_for_each_number_of_threads():
    points = [point(rnncore=0.4, torch=0.1), point(threads=2, rnncore=0.1, torch=0.1)]
    row = next(line for line in table.means(points).splitlines() if line.startswith("| LSTM"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:4] == ["4.00 (least 4.00)", "1.00 (least 1.00)", "2.00 (least 1.00)"]
    assert len(cells) == 4      # no columns of a mode that was not measured


