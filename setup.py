"""How the compiled part of rnncore is built. Everything else is in pyproject.toml.

Environment variables, all off by default:

RNNCORE_DEBUG=1      bounds checks and assertions, -O1 -g
RNNCORE_SANITIZE=1   address and undefined-behaviour sanitizers (implies RNNCORE_DEBUG);
                     `make sanitize` also preloads the runtime they need
RNNCORE_QUICK=1      -O0, which compiles in a quarter of the time: for tests of what a build consists of
RNNCORE_ANNOTATE=1   Cython's HTML annotations, in build/annotated (`make annotate` reads them)
"""

import contextlib
import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path

import numpy
from Cython.Build import cythonize
from Cython.Compiler import Options
from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

KERNELS, ENGINE = "src/kernels", "src/engine"


def switched_on(name):
    return os.environ.get(name, "0") not in ("", "0")


SANITIZE = switched_on("RNNCORE_SANITIZE")
DEBUG = SANITIZE or switched_on("RNNCORE_DEBUG")
QUICK = switched_on("RNNCORE_QUICK")
ANNOTATE = switched_on("RNNCORE_ANNOTATE")

# Each kind of build has its own generated C, so that going from one to another does not make Cython write it again.
GENERATED = "build/" + ("annotated" if ANNOTATE else "cython-debug" if DEBUG else "cython")

# ---------------------------------------------------------------------------------- flags
# The one place for flags. Instruction sets are not chosen here: every src/kernels/isa_*.h
# sets its own target and guards itself by architecture, so all are always compiled.
# Never -ffast-math: it deletes the rounding trick in exp. -ffp-contract=off leaves fused
# multiply-add to where the kernels ask for it, so that instruction sets agree to the bit.
# Python adds the -g that it was built with, which is a third of the time; -g0 takes it back.
COMPILE = [
    "-std=gnu11",
    "-O3",
    "-g0",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",
    "-fvisibility=hidden",
    "-pthread",
]
LINK = ["-pthread"]
MACROS = []

if QUICK:
    COMPILE += ["-O0"]
if DEBUG:
    COMPILE += ["-O1", "-g", "-fno-omit-frame-pointer", "-UNDEBUG"]
    MACROS += [("RNNCORE_DEBUG", "1")]
if SANITIZE:
    COMPILE += ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    LINK += ["-fsanitize=address,undefined"]

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "initializedcheck": DEBUG,
    "cdivision": True,
    # Cython's own kind of function, as a method, takes any object for `self`, and crashes on one of another class.
    "binding": False,
    "embedsignature": True,         # for inspect.signature and help()
    "embedsignature.format": "clinic",
    "show_performance_hints": not DEBUG,  # the bounds checks are asked for
}


# ----------------------------------------------------------------------------- extensions
def flags_stamp():
    """A file that changes when the flags or the compiler do, so that objects are rebuilt."""
    names = ("CC", "CFLAGS", "CPPFLAGS", "LDFLAGS")
    text = repr((COMPILE, LINK, MACROS, DIRECTIVES, [os.environ.get(n) for n in names]))
    stamp = Path("build/flags.txt")
    if not stamp.exists() or stamp.read_text() != text:
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(text)
    return str(stamp)


def empty_where_directives_changed():
    """Delete the C that was generated with other directives: they alone do not make Cython write it again."""
    stamp = Path(GENERATED) / "directives.txt"
    if not stamp.exists() or stamp.read_text() != repr(DIRECTIVES):
        for generated in Path(GENERATED).rglob("*.c"):
            generated.unlink()
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(repr(DIRECTIVES))


def extension(name, c_sources=()):
    """``rnncore.<name>`` from src/engine/<name>.pyx and the C sources it links."""
    headers = (
        glob(f"{KERNELS}/*.h")
        + glob(f"{ENGINE}/*.pxd")
        + glob(f"{ENGINE}/*.pxi")
    )
    return Extension(
        f"rnncore.{name}",
        [f"{ENGINE}/{name}.pyx", *c_sources],
        include_dirs=[KERNELS, ENGINE, numpy.get_include()],
        define_macros=MACROS,
        extra_compile_args=COMPILE,
        extra_link_args=LINK,
        depends=[*sorted(headers), flags_stamp()],
    )


def extensions():
    return [extension("_engine", sorted(glob(f"{KERNELS}/*.c"))), extension("_hidden_markov")]


def cythonize_strictly(modules):
    """Run Cython with its warnings and performance hints as errors.

    Cython's own switch makes errors of warnings only. A hint (a call that takes the GIL to
    look for an exception, say) is exactly what a time loop must not have, so hints are read
    from what Cython prints, and the generated C is removed so that the next build says it again.
    """
    Options.warning_errors = True
    empty_where_directives_changed()
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            modules = cythonize(
                modules,
                build_dir=GENERATED,
                include_path=[ENGINE],
                annotate=ANNOTATE,
                compiler_directives=DIRECTIVES,
            )
    finally:
        sys.stderr.write(printed.getvalue())
    if "performance hint:" in printed.getvalue():
        for generated in Path(GENERATED).rglob("*.c"):
            generated.unlink()
        sys.exit("setup.py: Cython gave performance hints (above), which count as errors here.")
    return modules


# Said of builds by clang for x86-64. docs/kernels.md has the measurements.
SLOWER = (
    "setup.py: built by clang, two of the cases in docs/kernels.md take up to 1.07 times as long with AVX2 as built by "
    "gcc (GRU of 32 units with one row; by clang 14, LSTM of 256 units). With CC=gcc, none is slower."
)


def compiler_defines(command, *names):
    """Whether the compiler predefines all these macros."""
    asked = [*command, "-dM", "-E", "-x", "c", os.devnull]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
    except OSError:  # the build itself says what is wrong with the compiler
        return False
    defined = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("#define ")}
    return defined.issuperset(names)


class BuildInParallel(build_ext):
    """Compiles the C sources of an extension side by side, where setuptools goes one by one."""

    def build_extensions(self):
        compiler, pending = self.compiler, []
        compile_all, compile_one = compiler.compile, compiler._compile
        if compiler_defines(compiler.compiler_so, "__clang__", "__x86_64__"):
            print(SLOWER)

        def compile(*args, **options):
            objects = compile_all(*args, **options)
            while pending:
                pending.pop().result()  # raises what the compiler said
            return objects

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            compiler.compile = compile
            compiler._compile = lambda *args: pending.append(pool.submit(compile_one, *args))
            super().build_extensions()


# ------------------------------------------------------------------------------- packages
# viz/ stands at the top of the repository and is installed as rnncore.viz.
PACKAGES = find_packages(include=["rnncore", "rnncore.*"]) + [
    f"rnncore.{name}" for name in find_packages(include=["viz", "viz.*"])
]

setup(
    packages=PACKAGES,
    package_dir={"rnncore": "rnncore", "rnncore.viz": "viz"},
    ext_modules=cythonize_strictly(extensions()),
    cmdclass={"build_ext": BuildInParallel},
)
