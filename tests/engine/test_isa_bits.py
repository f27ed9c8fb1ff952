"""AVX2 and AVX-512 give the same bits, and the base instruction set agrees within a bound."""

import os
import platform
from pathlib import Path

import numpy as np
import pytest
from support import close, run_python, same_bits

import rnncore as rc

# Base has no fused multiply-add: products are rounded once more. The longest sum has K = 129
# terms, so at worst some K·2⁻²⁴ ≈ 1e-5 of the largest value; K·2⁻⁵³ ≈ 2e-14 in float64.
BASE_BOUND = {"float32": 1e-5, "float64": 2e-14}
# Three EM steps over 300 steps of a hidden Markov model add up and pass on the roundings of one sum.
HIDDEN_MARKOV_BOUND = 1e-12
PROBE = Path(__file__).with_name("isa_probe.py")
X86 = platform.machine().lower() in ("x86_64", "amd64")


def cpu_flags():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.split(":")[1].split())
    return set()


NEEDS = {
    "base": set(),
    "v3": {"avx2", "fma"},
    "v4": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
}


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """isa -> its arrays, run once."""
    done, folder = {}, tmp_path_factory.mktemp("isa")

    def run(isa):
        if not X86:
            pytest.skip("x86-64's instruction sets; this CPU is " + platform.machine())
        missing = NEEDS[isa] - cpu_flags()
        if missing:
            pytest.skip(f"this CPU lacks {', '.join(sorted(missing))}")
        if isa not in done:
            path = folder / f"{isa}.npz"
            code = f"import runpy; runpy.run_path({str(PROBE)!r})['main']({str(path)!r})"
            run_python(code, RNNCORE_ISA=isa)
            with np.load(path) as z:
                done[isa] = dict(z)
        return done[isa]

    return run


def test_avx2_and_avx512_have_the_same_bits(probe):
    a, b = probe("v3"), probe("v4")
    assert len(a) > 1000
    same_bits(a, b)


def test_the_base_instruction_set_agrees_within_its_bound(probe):
    a, b = probe("base"), probe("v3")
    for name in b:
        cell, dtype, *_ = name.split()
        bound = HIDDEN_MARKOV_BOUND if cell.startswith("hidden-markov") else BASE_BOUND[dtype]
        close(a[name], b[name].astype(np.float64), bound)


def test_the_environment_variable_chooses_the_instruction_set():
    code = "import rnncore as rc; print(rc.build_info()['isa'])"
    for isa in ("base", "v3", "v4") if X86 else ("neon",):
        if X86 and not NEEDS[isa] <= cpu_flags():
            continue
        assert run_python(code, RNNCORE_ISA=isa).stdout.strip() == isa


def test_without_the_variable_the_best_is_taken():
    best = [k for k in NEEDS if NEEDS[k] <= cpu_flags()][-1] if X86 else "neon"
    code = "import os; os.environ.pop('RNNCORE_ISA', None)\n"
    code += "import rnncore as rc; print(rc.build_info()['isa'])"
    assert run_python(code).stdout.strip() == best


@pytest.mark.parametrize("isa", ["pentium", "neon" if X86 else "v3"])
def test_what_the_cpu_lacks_is_refused(isa):
    done = run_python("import rnncore", check=False, RNNCORE_ISA=isa)
    assert done.returncode == 1  # an exception, not a signal
    last = done.stderr.strip().splitlines()[-1]
    assert isa in done.stderr
    assert "RNNCORE_ISA" in done.stderr
    assert "base" in done.stderr, f"the way out should name what there is: {last}"


def test_build_info_has_all_fields():
    info = rc.build_info()
    assert set(info) >= {"isa", "isas", "threads", "compiler", "version"}
    assert info["isa"] in info["isas"]
    assert info["threads"] == rc.num_threads()
    assert info["version"]
    assert info["compiler"]
    forced = os.environ.get("RNNCORE_ISA")
    assert not forced or info["isa"] == forced
