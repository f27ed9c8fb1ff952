"""Real workers on tiny shapes: all compute the same numbers, and what a library cannot do is reported."""

import subprocess
import sys

import numpy as np
import psutil
import pytest

from benchmarks import ensembles, models, steps, twin
from benchmarks.cases import CELLS, MODES, Case
from benchmarks.peers import NAMES, Unsupported, __main__, run
from benchmarks.peers.coordinator import ROOT, Died, Worker
from benchmarks.peers.parts import PARTS
from benchmarks.peers.store import Store

TINY = run.Plan(samples=3, least=0.0, warm=0.0)
CLASSIFIER = models.Model("classifier", "GRU", 7, 3, 5, 4, 6, 3, bidirectional=True, readout="last")
SERIES = models.Model("series", "RNN", 2, None, 5, 4, 6, 1, layers=2, loss="mse")
WORDS = models.Model("words", "LSTM", 7, 3, 5, 4, 6, 7)
LONG = models.Model("long", "LSTM", 7, 3, 5, 4, 6, 7, rows="packed")


def bench_of(name, room=""):
    pytest.importorskip(name.partition("_")[0])
    return run.Bench([name], [1], room=room)


@pytest.fixture(scope="module")
def library(request):
    """The name of a library, and a bench with it, which all tests of layers use: starting it takes seconds."""
    with bench_of(request.param) as bench:
        yield request.param, bench


@pytest.mark.slow
@pytest.mark.parametrize("library", NAMES, indirect=True)
def test_rows_of_unequal_length_have_the_numbers_of_the_numpy_twin(library):
    name, bench = library
    for cell in CELLS:
        for shape in ("12,5,4,6,x2,ragged", "9,3,2,4,bi,ragged"):
            for mode in ("forward",) if name == "onnxruntime" else MODES:
                point = run.Point(Case.parse(cell, shape), mode, 1)
                bench.measure(point, TINY, twin.numbers(point.case, mode))
                if name == "torch" and "bi" in shape:
                    assert "begins in the padding" in point.absent[name]
                else:
                    assert not point.absent


@pytest.mark.slow
@pytest.mark.parametrize("library", [name for name in NAMES if name != "torch_packed"], indirect=True)
def test_every_library_computes_the_numbers_of_the_numpy_twin(library):
    name, bench = library
    assert name in bench.versions, bench.missing
    for cell, shape in (("RNN", "5,3,4,6,x2,bi"), ("GRU", "5,3,4,6,x2"), ("LSTM", "5,3,4,6")):
        for mode in ("forward",) if name == "onnxruntime" else MODES:
            for dtype in ("", ",f64") if name in ("torch", "rnncore") else ("",):
                point = run.Point(Case.parse(cell, shape + dtype), mode, 1)
                bench.measure(point, TINY, twin.numbers(point.case, mode))
                assert not point.absent
                assert len(point.samples[name]) == 3
                assert point.peak > 0


# What torch.compile and JAX's forms of the scan take to compile is spent on a single model, or left to `make peers`.
@pytest.mark.slow
@pytest.mark.parametrize(("name", "cases"), [
    ("rnncore", (WORDS, CLASSIFIER, SERIES)), ("torch", (WORDS, CLASSIFIER, SERIES)),
    ("rnncore_torch", (CLASSIFIER, LONG)), ("jax", (WORDS,)),
])
def test_every_library_makes_the_updates_of_the_numpy_twin(name, cases):
    with bench_of(name, "models") as bench:
        for model in cases:
            point = run.Point(model, "training", 1)
            bench.measure(point, TINY, models.numbers(model))
            assert not point.absent
            assert len(point.samples[name]) == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rnncore", "rnncore_rows", "torch", "jax"])
def test_every_library_computes_many_nets(name):
    nets = ensembles.Nets(3, Case.parse("GRU", "3,2,4,5"))
    with bench_of(name, "ensembles") as bench:
        for mode in MODES:
            point = run.Point(nets, mode, 1)
            bench.measure(point, TINY, ensembles.numbers(nets, mode))
            assert not point.absent


@pytest.mark.parametrize("name", ["rnncore", "rnncore_block", "rnncore_step"])
def test_calls_blocks_and_steps_compute_the_same_outputs(name):
    with bench_of(name, "steps") as bench:
        point = run.Point(Case.parse("LSTM", f"{2 * steps.BLOCK},1,3,8"), "forward", 1)
        bench.measure(point, TINY, steps.numbers(point.case))
        assert not point.absent


def test_rtneural_is_missing_without_a_checkout(monkeypatch, tmp_path):
    for given, says in ((None, "make rtneural RTNEURAL=path"), (str(tmp_path), "must be the path of a checkout")):
        monkeypatch.delenv("RTNEURAL", raising=False)
        if given:
            monkeypatch.setenv("RTNEURAL", given)
        with run.Bench(["rtneural"], [1], room="steps") as bench:
            assert says in bench.missing["rtneural"]


def test_calls_that_are_apart_are_single_ones():
    with bench_of("rnncore", "steps") as bench:
        point = run.Point(Case.parse("LSTM", f"{steps.BLOCK},1,3,8"), "forward", 1)
        bench.measure(point, run.Plan(samples=2, least=0.01, apart=0.001), steps.numbers(point.case))
    assert len(point.samples["rnncore"]) == 2 * 3       # the first of four is not counted


def test_the_peak_is_measured_without_an_override_of_the_cpu_type(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    with run.Bench(["rnncore"], [1]) as bench:
        environments = {
            name: psutil.Process(worker.process.pid).environ()
            for name, worker in bench.workers[1].items()
        }
    assert environments["rnncore"]["OPENBLAS_CORETYPE"] == "Haswell"
    assert "OPENBLAS_CORETYPE" not in environments["matmul"]


def test_the_coordinator_imports_no_library():
    pytest.importorskip("torch")
    code = (
        f"import sys; sys.path.append({str(ROOT)!r})\n"
        "from benchmarks.peers.run import Bench\n"
        "with Bench(['torch'], [1]) as bench: print(bench.versions, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.stdout.strip().endswith("False"), done.stdout + done.stderr
    assert "'torch': '" in done.stdout


def test_wrong_numbers_are_not_timed():
    point = run.Point(Case.parse("LSTM", "5,3,4,6"), "forward", 1)
    with bench_of("torch") as bench:
        wrong = twin.numbers(point.case, "forward")
        wrong["state.h"], wrong["state.c"] = wrong["state.c"], wrong["state.h"]
        bench.measure(point, TINY, wrong)
    assert "state.h is off by" in point.absent["torch"]
    assert "torch" not in point.seconds
    assert len(point.samples["matmul"]) == 3


@pytest.mark.parametrize(
    ("got", "says"),
    [
        ({"a": np.array([1.0, np.nan])}, "off by nan"),
        ({"a": np.ones(3)}, "shape"),
        ({"b": np.ones(2)}, "a, b on one side only"),
    ],
)
def test_the_check_refuses_wrong_results(got, says):
    with pytest.raises(RuntimeError, match=says):
        run.check(got, {"a": np.ones(2)}, 1e-4)


def test_a_missing_library_is_reported_as_missing(tmp_path):
    (tmp_path / "jax.py").write_text("raise ImportError(\"No module named 'jax'\")")
    with run.Bench(["jax"], [1], {"jax": {"PYTHONPATH": str(tmp_path)}}) as bench:
        point = run.Point(Case.parse("RNN", "5,3,4,6"), "forward", 1)
        bench.measure(point, TINY, {})
    assert bench.missing == {"jax": "No module named 'jax'"}
    assert point.absent["jax"] == "No module named 'jax'"


def test_the_last_output_of_a_worker_that_dies_is_reported(tmp_path):
    code = "import os, sys; print('out of luck', file=sys.stderr, flush=True); os._exit(3)"
    (tmp_path / "jax.py").write_text(code)
    worker = Worker("jax", 1, {"PYTHONPATH": str(tmp_path)})
    with pytest.raises(Died, match="status 3: out of luck"):
        worker.ask("version")
    worker.close()


def test_a_library_that_cannot_run_a_case_gives_the_reason():
    pytest.importorskip("onnxruntime")
    worker = Worker("onnxruntime", 1)
    try:
        worker.ask("version")
        with pytest.raises(Unsupported, match="does not train"):
            worker.ask("prepare", Case.parse("RNN", "5,3,4,6"), "training")
        with pytest.raises(Unsupported, match="no RNN in float64"):
            worker.ask("prepare", Case.parse("RNN", "5,3,4,6,f64"), "forward")
    finally:
        worker.close()


class Impatient:
    """A bench in which Ctrl-C is pressed during the second point."""

    def __init__(self, *arguments, **options):
        self.measured, self.cores_of_others = 0, 0.0
        self.versions, self.missing, self.slowest_to_sleep = {}, {}, {}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def measure(self, point, plan, expected):
        self.measured += 1
        point.samples["torch"] = [1.0]
        if self.measured == 2:
            raise KeyboardInterrupt
        point.samples["torch"] *= 3


def options_of(*arguments):
    options = __main__.parser().parse_args(["--shapes", "2,1,2,3", "--cells", "RNN", "--threads", "1", "2", *arguments])
    return options, __main__.chosen(options)


def run_of(store, *arguments):
    options, parts = options_of(*arguments)
    todo = {"shapes": __main__.waiting(parts["shapes"], store, "abc", options)}
    return __main__.measure(parts, {"shapes": store}, todo, options, "command", "abc"), todo["shapes"]


def test_an_interrupted_run_keeps_the_points_that_were_complete(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(__main__, "Bench", Impatient)
    store = Store(tmp_path / "shapes.json")
    complete, todo = run_of(store)
    assert (complete, len(todo)) == (False, 4)
    (key,) = Store(tmp_path / "shapes.json").points
    assert key == todo[0].key
    _, rest = run_of(Store(tmp_path / "shapes.json"))       # the next run goes on with the others
    assert [point.key for point in rest] == [point.key for point in todo[1:]]


def test_a_run_stops_between_points_when_time_is_up(monkeypatch, capsys):
    monkeypatch.setattr(__main__, "Bench", Impatient)
    store = Store()
    assert run_of(store, "--time-limit", "0")[0] is False
    assert not store.points


def test_points_of_another_commit_are_measured_after_those_that_never_were(tmp_path):
    options, parts = options_of()
    store, points = Store(tmp_path / "shapes.json"), parts["shapes"].points([1, 2])
    for point, commit in zip(points, ("abc", "old"), strict=False):
        store.add(point, {"commit": commit})
    waiting = __main__.waiting(parts["shapes"], store, "abc", options)
    assert [point.key for point in waiting] == [points[2].key, points[3].key, points[1].key]
    options.again = True
    assert len(__main__.waiting(parts["shapes"], store, "abc", options)) == 4


def test_every_point_of_every_part_has_a_key_of_its_own():
    for part in PARTS.values():
        keys = [point.key for point in part.points([1, 2])]
        assert len(set(keys)) == len(keys) > 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--shapes", "1,2,3"], "four positive sizes"),
        (["--threads", "100000"], "100000"),
        (["--cells", "lstm"], "lstm"),
        (["--only", "nothing"], "nothing"),
        (["--docs", "docs", "--quick"], "cannot be combined with --quick"),
        (["--again"], "need --docs"),
    ],
)
def test_bad_options_end_with_status_2(arguments, says, capsys):
    with pytest.raises(SystemExit) as stopped:
        __main__.main(arguments)
    assert stopped.value.code == 2
    assert says in capsys.readouterr().err
