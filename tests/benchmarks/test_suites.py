"""Every asv suite imports without a framework, and its smallest parameters run."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks import suite

ROOT = Path(suite.__file__).resolve().parents[1]
SUITES = sorted(path.stem for path in (ROOT / "benchmarks").glob("bench_*.py"))
KINDS = ("time_", "peakmem_", "track_")

# every parameter set runs in a process of its own, as in asv
RUN = """
import math, sys
from importlib import import_module
sys.path.append({root!r})
module = import_module("benchmarks.{suite}")
ran = 0
for thing in vars(module).values():
    owner = thing() if isinstance(thing, type) and thing.__module__ == module.__name__ else None
    if owner is not None:
        names = [name for name in dir(owner) if name.startswith({kinds!r})]
        calls = [getattr(owner, name) for name in names]
        params = getattr(owner, "params", ())
        nested = params and isinstance(params[0], (tuple, list))
        first = tuple(p[0] for p in params) if nested else tuple(params[:1])
        if calls and hasattr(owner, "setup"):
            owner.setup(*first)
    elif callable(thing) and getattr(thing, "__name__", "").startswith({kinds!r}):
        calls, first = [thing], ()
    else:
        continue
    for call in calls:
        value = call(*first)
        assert not call.__name__.startswith("track_") or math.isfinite(value)
        ran += 1
assert ran, "nothing to run"
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", SUITES)
def test_every_benchmark_runs_with_its_smallest_parameters(name):
    code = RUN.format(root=str(ROOT), suite=name, kinds=KINDS)
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_the_suites_imports_no_framework():
    heavy = ("rnncore", "torch", "jax", "onnxruntime", "matplotlib")
    code = (
        f"import sys; sys.path.append({str(ROOT)!r})\n"
        f"from importlib import import_module\n"
        f"for name in {SUITES!r}: import_module('benchmarks.' + name)\n"
        f"print(*(name for name in {heavy!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


@pytest.mark.parametrize("name", SUITES)
def test_parameters_have_names(name):
    for thing in vars(import_module(f"benchmarks.{name}")).values():
        if isinstance(thing, type) and hasattr(thing, "params"):
            several = isinstance(thing.params[0], tuple | list)  # asv accepts a single axis without a list around it
            assert len(thing.param_names) == (len(thing.params) if several else 1)


def test_too_many_threads_are_skipped_not_failed():
    with pytest.raises(NotImplementedError, match="100000 threads"):
        suite.rnncore_with(threads=100_000)


def test_an_instruction_set_the_cpu_lacks_is_skipped():
    code = (
        f"import sys; sys.path.append({str(ROOT)!r})\n"
        "from benchmarks.suite import rnncore_with\n"
        "try: rnncore_with('vax')\n"
        "except NotImplementedError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert "vax" in done.stdout, done.stderr


def test_another_instruction_set_after_import_is_skipped():
    rnncore = pytest.importorskip("rnncore")
    others = set(rnncore.build_info()["isas"]) - {rnncore.build_info()["isa"]}
    if not others:
        pytest.skip("this CPU has one instruction set")
    with pytest.raises(NotImplementedError, match="was imported with"):
        suite.rnncore_with(others.pop())
