"""The page: what was measured when, kept point by point, and a section for each part."""

import json
from pathlib import Path

import pytest

from benchmarks import ensembles, models
from benchmarks.cases import Case
from benchmarks.peers import page
from benchmarks.peers.matmul import FLOPS
from benchmarks.peers.parts import PARTS
from benchmarks.peers.run import Point
from benchmarks.peers.store import Store

DOCS = Path(page.__file__).resolve().parents[2] / "docs"
PEAK = 1e11  # operations per second of the matrix product


def run_of(**changed):
    """What is said of a run."""
    return {
        "date": "2026-01-01", "cpu": "a CPU", "commit": "abc", "command": "python -m benchmarks.peers",
        "versions": dict.fromkeys(["rnncore", "torch", "matmul"], "1.0"), "missing": {}, "slowest_to_sleep": {},
        "cores_of_others": 0.013, **changed,
    }


def store_of(*points, **changed):
    store, run = Store(), run_of(**changed)
    for one in points:
        store.add(one, run)
    return store


def page_of(store, key="layers"):
    return page.assemble("title", "", [(PARTS[key], store)])


def layer(shape="100,1,64,64", mode="forward", threads=1, absent=None, **shares):
    """A point of an LSTM where each library reaches a share of the peak."""
    case = Case.parse("LSTM", shape)
    samples = {name: [case.flops(mode) / (PEAK * part)] for name, part in shares.items()}
    return Point(case, mode, threads, {**samples, "matmul": [FLOPS / PEAK]}, absent or {})


@pytest.mark.parametrize("isa", ["v3", "v4"])
def test_the_pages_are_what_the_kept_results_give(isa, tmp_path):
    (tmp_path / "peers").symlink_to(DOCS / "peers")
    written = page.write(tmp_path, isa)
    assert written.read_text("utf-8") == (DOCS / written.name).read_text("utf-8"), "run: make peers ARGS=--page"


def test_a_store_gives_back_what_it_was_given(tmp_path):
    path = tmp_path / "v3" / "layers.json"
    one = layer(rnncore=0.5, torch=0.25, absent={"jax": "not here"})
    one.rounds = 7
    Store(path).add(one, run_of())
    (found,) = Store(path).fill([Point(one.case, one.mode, one.threads), layer(threads=2)])
    assert found.seconds == pytest.approx(one.seconds, rel=1e-4)
    assert (found.absent, found.rounds) == (one.absent, 7)
    assert json.loads(path.read_text())["runs"] == [run_of()]
    assert not list(path.parent.glob("*.new"))


def test_a_point_that_is_measured_again_leaves_its_old_run(tmp_path):
    path = tmp_path / "layers.json"
    store, points = Store(path), [layer(rnncore=0.5, torch=0.25), layer(threads=2, rnncore=0.5, torch=0.25)]
    for one in points:
        store.add(one, run_of(commit="old"))
    store = Store(path)
    store.add(points[0], run_of(commit="new", date="2026-02-02"))
    assert [(run["commit"], len(own)) for run, own in store.runs_of(points)] == [("new", 1), ("old", 1)]
    text = page_of(store)
    assert text.index("2026-02-02, a CPU, commit new, 1 point:") < text.index("2026-01-01, a CPU, commit old, 1 point:")
    store.add(points[1], run_of(commit="new"))
    assert "commit old" not in page_of(Store(path))


def test_the_page_names_missing_peers_with_the_reason():
    one = layer("100,1,64,64", "training", rnncore=0.5, torch=0.25, absent={"onnxruntime": "it does not train"})
    text = page_of(store_of(one, missing={"jax": "No module named 'jax'"}))
    assert "**JAX is missing:** No module named 'jax'" in text
    assert "ONNX Runtime, 1 point: it does not train" in text
    assert "| LSTM | 100,1,64,64 | 1 | 100 | 50 (50%) | 25 | torch | 2.00 |" in text   # no empty columns


def test_a_page_without_our_numbers_makes_no_claim():
    text = page_of(store_of(layer(torch=0.5), missing={"rnncore": "not built"}))
    assert "**rnncore is missing:** not built" in text
    assert "Against the best peer" not in text


def test_parts_that_were_not_measured_are_left_out():
    text = page.assemble("title", "", [(PARTS["models"], Store()), (PARTS["layers"], Store())])
    assert "##" not in text


def test_rows_of_unequal_length_are_not_in_the_means():
    one = layer("1000,32,128,128,ragged", rnncore=0.5, torch=0.25, torch_packed=0.1)
    text = page_of(store_of(one), "ragged")
    assert "The lengths are uniform" in text
    assert "| cell | T,B,I,H | threads | peak | rnncore | torch | torch packed | best peer | ratio |" in text
    assert "Geometric means" not in text


def test_the_head_says_how_quiet_the_machine_was():
    one = layer(rnncore=0.5, torch=0.25)
    assert "Other programs used 0.01 of a core" in page_of(store_of(one))
    assert "Other programs" not in page_of(store_of(one, cores_of_others=None))


def test_models_are_shown_in_milliseconds_with_what_two_threads_gain():
    case = models.MODELS[0]
    points = [Point(case, "training", n, {"rnncore": [0.008 / n], "torch": [0.012]}) for n in (1, 2)]
    text = page_of(store_of(*points), "models")
    assert f"| LSTM | {case.label} | training | 1 | 8 | 12 | torch | 1.50 | – |" in text
    assert f"| LSTM | {case.label} | training | 2 | 4 | 12 | torch | 3.00 | 0.50 |" in text
    assert "| LSTM | 1.50 (least 1.50) | 3.00 (least 3.00) | 2.12 (least 1.50) |" in text


def test_an_ensemble_is_compared_with_one_net_of_as_many_rows():
    (nets, *_) = ensembles.NETS
    one = Point(nets, "training", 1, {"rnncore": [0.005], "rnncore_rows": [0.004], "torch": [0.05]})
    text = page_of(store_of(one), "ensembles")
    assert f"| LSTM | {nets.label} | training | 1 | 5 | 4 | 50 | torch | 10.00 | 0.80 |" in text


def test_steps_are_shown_in_nanoseconds():
    case = PARTS["steps"].points([1])[0].case
    one = Point(case, "forward", 1, {"rnncore": [50e-9 * case.T], "rtneural": [60e-9 * case.T]})
    assert "| LSTM | 1 | 8 | 50 | 60 | 1.20 |" in page_of(store_of(one), "steps")
