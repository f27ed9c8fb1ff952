"""Real workers on tiny shapes: all compute the same numbers, and what a library cannot do is reported."""

import argparse
import subprocess
import sys

import numpy as np
import psutil
import pytest

from benchmarks import twin
from benchmarks.cases import CELLS, MODES, Case
from benchmarks.peers import NAMES, Unsupported, __main__, run
from benchmarks.peers.coordinator import ROOT, Died, Worker

TINY = run.Plan(samples=3, least=0.0, warm=0.0)


def bench_of(name):
    pytest.importorskip(name.partition("_")[0])
    return run.Bench([name], [1])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cell", CELLS)
def test_rows_of_unequal_length_have_the_numbers_of_the_numpy_twin(name, cell):
    with bench_of(name) as bench:
        for shape in ("12,5,4,6,ragged", "7,4,3,5,x2,ragged", "9,3,2,4,bi,ragged"):
            for mode in ("forward",) if name == "onnxruntime" else MODES:
                point = run.Point(Case.parse(cell, shape), mode, 1)
                bench.measure(point, TINY, twin.numbers(point.case, mode))
                if name == "torch" and "bi" in shape:
                    assert "begins in the padding" in point.absent[name]
                else:
                    assert not point.absent


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name != "torch_packed"])
def test_every_library_computes_the_numbers_of_the_numpy_twin(name):
    with bench_of(name) as bench:
        assert name in bench.versions, bench.missing
        for cell, shape in (("RNN", "5,3,4,6,x2,bi"), ("GRU", "5,3,4,6,x2"), ("LSTM", "5,3,4,6")):
            for mode in ("forward",) if name == "onnxruntime" else MODES:
                for dtype in ("", ",f64") if name in ("torch", "rnncore") else ("",):
                    point = run.Point(Case.parse(cell, shape + dtype), mode, 1)
                    bench.measure(point, TINY, twin.numbers(point.case, mode))
                    assert not point.absent
                    assert len(point.samples[name]) == 3
                    assert point.peak > 0


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

    def __init__(self):
        self.measured = 0

    def measure(self, point, plan, expected):
        self.measured += 1
        point.samples["torch"] = [1.0]
        if self.measured == 2:
            raise KeyboardInterrupt
        point.samples["torch"] *= 3


def todo():
    options = argparse.Namespace(
        shapes=["2,1,2,3"], cells=["RNN"], modes=MODES, threads=[1, 2], quick=True, torch_only=False
    )
    return __main__.points(options)


def test_an_interrupted_run_keeps_complete_results(capsys):
    points = todo()
    assert __main__.run(Impatient(), points, TINY, limit=1.0) is False
    assert [bool(point.seconds) for point in points] == [True, False, False, False]


def test_a_run_stops_between_points_when_time_is_up(capsys):
    points, bench = todo(), Impatient()
    assert __main__.run(bench, points, TINY, limit=0.0) is False
    assert bench.measured == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--shapes", "1,2,3"], "four positive sizes"),
        (["--threads", "100000"], "100000"),
        (["--cells", "lstm"], "lstm"),
    ],
)
def test_bad_options_end_with_status_2(arguments, says, capsys):
    with pytest.raises(SystemExit) as stopped:
        __main__.main(arguments)
    assert stopped.value.code == 2
    assert says in capsys.readouterr().err
