"""setup.py with a tiny engine: which warnings are errors, and which files are compiled again."""

import shutil
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

HEADER = "static inline int answer(void) { return 41; }\n"
PXD = 'cdef extern from "answer.h" nogil:\n    int answer() noexcept\n'
PYX = "from answer cimport answer\n\ndef ask():\n    return answer()\n"
# Without noexcept, Cython takes the GIL after each call to look for an exception.
HINTED = """
cdef int step(int x) except? -1 nogil:
    return x + 1

cdef void walk() nogil:
    step(1)

def ask():
    with nogil:
        walk()
"""


@pytest.fixture
def tiny(tmp_path):
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for folder in ("rnncore", "viz", "src/kernels", "src/engine"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "rnncore/__init__.py").touch()
    (tmp_path / "viz/__init__.py").touch()
    (tmp_path / "src/kernels/answer.h").write_text(HEADER)
    (tmp_path / "src/engine/answer.pxd").write_text(PXD)
    for name in ("_engine", "_hidden_markov"):
        (tmp_path / f"src/engine/{name}.pyx").write_text(PYX)
    return tmp_path


@pytest.fixture
def compile(commands):
    def compile(folder, **environment):
        return commands(
            sys.executable, "setup.py", "build_ext", "--inplace", cwd=folder, **environment
        )

    return compile


def ask(folder, commands):
    code = "import rnncore._engine as e; print(e.ask())"
    return int(commands(sys.executable, "-c", code, cwd=folder))


def test_only_what_changed_is_compiled_again(tiny, compile, commands):
    release = compile(tiny)
    assert "-O3" in release
    assert "-ffast-math" not in release
    assert "-c src/" not in release  # no kernels here, so only the generated C
    assert ask(tiny, commands) == 41
    assert "building" not in compile(tiny)
    (tiny / "src/kernels/answer.h").write_text(HEADER.replace("41", "42"))
    assert "building" in compile(tiny)
    assert ask(tiny, commands) == 42
    debug = compile(tiny, RNNCORE_DEBUG="1")
    assert "building" in debug  # the flags changed, nothing else did
    assert "-O1 -g" in debug
    assert {p.parts[-4] for p in tiny.rglob("_engine.c")} == {"cython", "cython-debug"}


def test_performance_hints_are_errors_until_fixed(tiny, compile):
    engine = tiny / "src/engine/_engine.pyx"
    engine.write_text(HINTED)
    for _ in range(2):
        with pytest.raises(AssertionError, match="performance hints"):
            compile(tiny)
    engine.write_text(HINTED.replace("walk() nogil", "walk() noexcept nogil"))
    compile(tiny)


def test_cython_warnings_are_errors(tiny, compile):
    (tiny / "src/engine/_engine.pyx").write_text("def ask():\n    return 1\n    return 2\n")
    with pytest.raises(AssertionError, match="Unreachable code"):
        compile(tiny)


def test_a_compiler_error_ends_the_build(tiny, compile):
    (tiny / "src/kernels/broken.c").write_text("int broken(void) { return undeclared; }\n")
    with pytest.raises(AssertionError, match="undeclared"):
        compile(tiny)


# A compiler that answers as clang does when it is asked for its macros, and compiles as the system's does.
CALLS_ITSELF_CLANG = """#!/bin/sh
case " $* " in
    *" -dM "*) printf '#define __clang__ 1\n#define %s 1\n' ;;
    *) exec cc "$@" ;;
esac
"""


@pytest.mark.parametrize(("machine", "lines"), [("__x86_64__", 1), ("__aarch64__", 0)])
def test_a_build_by_clang_says_in_one_line_what_is_slower(tiny, compile, machine, lines):
    script = tiny / "compiler"
    script.write_text(CALLS_ITSELF_CLANG % machine)
    script.chmod(0o755)
    said = [line for line in compile(tiny, CC=str(script)).splitlines() if "clang" in line]
    assert len([line for line in said if "AVX2" in line and "CC=gcc" in line]) == lines


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
def test_a_build_by_gcc_says_nothing_of_clang(tiny, compile):
    assert "clang" not in compile(tiny, CC="gcc")
