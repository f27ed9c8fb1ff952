"""The table from numbers made by hand."""

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


def about(**changed):
    names = ["rnncore", "torch", "onnxruntime", "jax"]
    return {
        "date": "2026-01-01",
        "cpu": "a CPU",
        "commit": "abc",
        "command": "python -m benchmarks.peers",
        "names": names,
        "versions": dict.fromkeys(["rnncore", "torch", "matmul"], "1.0"),
        "missing": {"jax": "No module named 'jax'"},
        "complete": True,
        "cores_of_others": 0.013,
        **changed,
    }


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
    assert "LSTM 100,1,64,64 forward, 1 thread: 0.96 of torch" in line
    (line,) = table.near_peak(points)
    assert "torch at 90% of the peak, ratio 0.96" in line


def test_means_are_geometric_and_separate_for_each_number_of_threads():
    points = [point(rnncore=0.4, torch=0.1), point(threads=2, rnncore=0.1, torch=0.1)]
    row = next(line for line in table.means(points).splitlines() if line.startswith("| LSTM"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:4] == ["4.00 (least 4.00)", "1.00 (least 1.00)", "2.00 (least 1.00)"]
    assert cells[4:] == ["–"] * 3


def test_the_page_names_missing_peers_with_the_reason():
    absent = {"onnxruntime": "it does not train"}
    page = table.markdown([point("training", absent=absent, rnncore=0.5, torch=0.25)], about())
    assert "**JAX is missing:** No module named 'jax'" in page
    assert "ONNX Runtime, 1 point: it does not train" in page
    assert "| LSTM | 100,1,64,64 | 1 | 100 | 50 (50%) | 25 | torch | 2.00 |" in page   # no empty columns


def test_a_page_without_our_numbers_makes_no_claim():
    page = table.markdown([point(torch=0.5)], about(missing={"rnncore": "not built"}))
    assert "**rnncore is missing:** not built" in page
    assert "Against the best peer" not in page


def test_rows_of_unequal_length_have_a_section_of_their_own():
    ragged = point(rnncore=0.5, torch=0.25, torch_packed=0.1)
    ragged.case = Case.parse("LSTM", "100,8,64,64,ragged")
    page = table.markdown([point(rnncore=0.5, torch=0.2), ragged], about(names=["rnncore", "torch", "torch_packed"]))
    full, unequal = page.split("## Rows of unequal length")
    assert "torch packed |" not in full
    assert "| cell | T,B,I,H | threads | peak | rnncore | torch | torch packed | best peer | ratio |" in unequal
    assert "LSTM | 2.50 (least 2.50)" in full           # the other point is not in the means


def test_the_head_says_how_quiet_the_machine_was():
    measured = [point(rnncore=0.5, torch=0.25)]
    assert "Other programs used 0.01 of a core" in table.markdown(measured, about())
    assert "Other programs" not in table.markdown(measured, about(cores_of_others=None))


def test_the_page_of_an_interrupted_run_says_that_it_is_incomplete():
    empty = Point(CASE, "forward", 1)
    page = table.markdown([point(rnncore=0.5, torch=0.5), empty], about(complete=False))
    assert "Stopped early. Points measured: 1." in page
    assert "Nothing was measured" in table.markdown([empty], about(complete=False))
