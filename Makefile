# Everything one does with a checkout. `make help` lists it; nothing needs to be set up first.
#
# Environments and stamps live in .venv; a target runs only what its inputs made stale, so
# `make test` twice installs once, and a change in src/ is compiled before the tests run.

PYTHON ?= python3
VENV   ?= .venv
# What `make demo` reads (empty: the documentation topics that come with Python).
TEXT   ?=
# Processes that run tests side by side.
JOBS   ?= 2
# More arguments: make test ARGS="-k lstm", make peers ARGS=..., make bench ARGS="--bench time_".
ARGS   ?=
# make fuzz: for how long, and 1 for a build with sanitizers.
SECONDS  ?= 600
SANITIZE ?=
# make regressions: the slowdown from A to B that counts as a regression.
A      ?= HEAD~1
B      ?= HEAD
FACTOR ?= 1.1
# make rtneural: a checkout of RTNeural.
RTNEURAL ?=
# make arm64: cross compiler and emulator.
ARM64_CC   ?= aarch64-linux-gnu-gcc
ARM64_QEMU ?= $(or $(shell command -v qemu-aarch64),$(shell command -v qemu-aarch64-static))

BIN := $(VENV)/bin
S   := $(VENV)/stamps
COMPILED_FROM := setup.py pyproject.toml $(wildcard src/kernels/*.[ch] src/engine/*.p[yx][xdi])

export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Hundreds of processes begin here; each would parse all its modules again.
unexport PYTHONDONTWRITEBYTECODE
# Processes that run tests share the cores; libraries beside us must not each take all of them.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
# A file runs in one process, so that what its tests share is made once; tests/conftest.py chooses the order of files.
PYTEST_N   := $(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help environment demo test quick bench busy beside-torch ragged peers rtneural outliers scaling regressions adding copy \
        docs links lesson gallery lint annotate \
        sanitized sanitize fuzz mutants arm64 page build wheel clean

help:  ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ------------------------------------------------------------------------- environments

$(S)/venv:
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"rnncore needs Python 3.11 or newer, $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(S) && touch $@

# Build tools stay in the environment: compiling again needs no network.
$(S)/tools: pyproject.toml | $(S)/venv
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' > $(S)/tools.txt
	$(BIN)/pip install -q -r $(S)/tools.txt
	@touch $@

$(S)/project: $(COMPILED_FROM) $(S)/tools
	$(BIN)/pip install -q --no-build-isolation -e .
	@touch $@

# Prints the requirements of extras, without the project itself.
requirements = $(BIN)/python -c 'import sys, tomllib; extras = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]; print(*{one: None for name in sys.argv[1:] for one in extras[name]}, sep="\n")'

$(S)/extra-%: pyproject.toml | $(S)/venv
	@$(requirements) $* > $(S)/extra-$*.txt
	$(BIN)/pip install -q -r $(S)/extra-$*.txt
	@touch $@

EXTRAS := test dev docs page
environment: $(S)/project  ## all that lint, docs, page and test need, which each of them would install by itself
	@$(requirements) $(EXTRAS) > $(S)/extras.txt
	$(BIN)/pip install -q --no-compile -r $(S)/extras.txt
	@touch $(EXTRAS:%=$(S)/extra-%)

# ---------------------------------------------------------------------------- the two

demo: $(S)/project  ## from a text to the pictures: TEXT=path, or Python's own documentation
	$(BIN)/rnncore debug $(if $(TEXT),"$(TEXT)" )--out demo $(ARGS)

# Tests marked `timing` run first, with nothing beside them.
# pytest's exit status 5 says that no test was chosen: fine for one of the two, not for both.
test: $(S)/project $(S)/extra-test  ## all tests; ARGS="-k lstm" chooses
	@timing=0; $(BIN)/pytest -m timing $(ARGS) || timing=$$?; \
	rest=0; $(ONE_THREAD) $(PYTEST_N) -m "not timing" $(ARGS) || rest=$$?; \
	case $$timing/$$rest in 0/0 | 0/5 | 5/0) ;; *) exit 1 ;; esac

quick: $(S)/project $(S)/extra-test  ## the tests that take seconds
	$(ONE_THREAD) $(PYTEST_N) -m "not slow and not timing" $(ARGS)

# --------------------------------------------------------------------------- measuring

bench: $(S)/project $(S)/extra-bench  ## asv on this commit, published as pages
	$(BIN)/asv machine --yes
	$(BIN)/asv run --python=same --quick --set-commit-hash $$(git rev-parse HEAD) $(ARGS)
	$(BIN)/asv publish
	@$(BIN)/python -c 'from pathlib import Path; from asv.config import Config; print("open", Path(Config.load().html_dir).resolve() / "index.html")'

regressions: $(S)/extra-bench  ## A=commit B=commit: fails where B is slower by more than FACTOR
	$(BIN)/asv machine --yes
	$(BIN)/asv continuous --factor $(FACTOR) --interleave-rounds $(ARGS) $(A) $(B)

peers: $(S)/project $(S)/extra-bench  ## the comparison with other libraries: ARGS="--only models --time-limit 10" for some of it
	$(BIN)/python -m benchmarks.peers --docs docs $(ARGS)

rtneural: $(if $(RTNEURAL),$(S)/project $(S)/extra-bench)  ## a step of a small net, also by RTNeural from a checkout: RTNEURAL=path
	@test -n "$(RTNEURAL)" || { echo "make rtneural: clone github.com/jatinchowdhury18/RTNeural with its submodules, then RTNEURAL=path"; exit 2; }
	RTNEURAL="$(abspath $(RTNEURAL))" $(BIN)/python -m benchmarks.peers --docs docs --only steps $(ARGS)

outliers: $(S)/project  ## how often a step of a stream takes long: a million steps, half a minute
	$(BIN)/python -m benchmarks.outliers $(ARGS)

busy: $(S)/project $(S)/extra-bench  ## two threads beside busy processes, relative to one thread: 20 minutes
	$(BIN)/python -m benchmarks.busy $(ARGS)

beside-torch: $(S)/project $(S)/extra-bench  ## calls in a process with torch, relative to one without: 10 minutes
	$(BIN)/python -m benchmarks.beside_torch $(ARGS)

ragged: $(S)/project  ## what rows of unequal length cost, compared with full rows: five minutes
	$(BIN)/python -m benchmarks.ragged $(ARGS)

scaling: $(S)/project  ## cost against T, B and H: fitted slopes and their plot
	$(BIN)/python -m benchmarks.scaling --out docs/img/scaling.png $(ARGS)

# ------------------------------------------------------------------------ memory tasks

adding: $(S)/project  ## the adding problem at T 200: table and learning curves, 14 minutes
	$(BIN)/python docs/examples/adding.py $(ARGS)

copy: $(S)/project  ## copy memory: the longest T within a budget a cell, 40 minutes
	$(BIN)/python docs/examples/copy_memory.py $(ARGS)

# -------------------------------------------------------------------------------- docs

docs: $(S)/project $(S)/extra-docs  ## the book, built into build/docs/html; ARGS=--quick runs neither lesson nor gallery
	$(BIN)/python tools/build_docs.py $(ARGS)

links: $(S)/project $(S)/extra-docs  ## do the external addresses in the documentation still answer?
	$(BIN)/python tools/build_docs.py --links $(ARGS)

lesson: $(S)/project  ## the lesson and the how-to pages: run, their numbers and pictures renewed in docs/
	$(ONE_THREAD) $(BIN)/python docs/lesson $(ARGS)

gallery: $(S)/project  ## every picture of the debugger, drawn into docs/img
	$(BIN)/python docs/gallery $(ARGS)

# ---------------------------------------------------------------------------- checking

# The type checkers read the package as it is installed, with viz in its place, and the examples of README.md and docs/.
LINT := build/lint
lint: $(S)/project $(S)/extra-dev  ## ruff, mypy, the stubs of compiled modules, and the types of the docs' examples
	$(BIN)/ruff check .
	@rm -rf $(LINT)
	@$(BIN)/python setup.py -q build_py --build-lib $(LINT)
	@cp rnncore/*.so $(LINT)/rnncore/
	cd $(LINT) && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml
	cd $(LINT) && $(abspath $(BIN))/python -m mypy.stubtest rnncore._engine rnncore._hidden_markov --concise \
	    --mypy-config-file $(CURDIR)/pyproject.toml --allowlist $(CURDIR)/tools/stubtest_allowlist.txt --ignore-unused-allowlist
	$(BIN)/python tools/check_examples.py $(LINT)

annotate: $(S)/tools  ## where the time loops still touch Python, by Cython's annotations
	$(BIN)/python tools/annotate.py $(ARGS)

# A separate build on PYTHONPATH in front of the installed one. Python itself is not built with
# the sanitizers, so their runtime is preloaded and leaks (Python's own) are not counted; they write
# past Python's stderr, which pytest therefore leaves alone.
SANITIZERS = LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so)" \
    ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 PYTHONPATH=build/sanitize/lib

sanitized: $(S)/project $(S)/extra-test
	CC=gcc RNNCORE_SANITIZE=1 $(BIN)/python setup.py -q build \
	    --build-base build/sanitize --build-lib build/sanitize/lib

sanitize: sanitized  ## tests on a build with address and undefined sanitizers
	$(SANITIZERS) $(ONE_THREAD) $(BIN)/pytest --capture=sys -m "not slow and not timing" $(ARGS)

fuzz: $(S)/project $(S)/extra-test $(if $(SANITIZE),sanitized)  ## the long fuzzer: SECONDS=600, SANITIZE=1, ARGS="--only layers"
	$(if $(SANITIZE),$(SANITIZERS)) $(ONE_THREAD) $(BIN)/python tests/fuzz --seconds $(SECONDS) $(ARGS)

mutants: $(S)/project $(S)/extra-test  ## do the tests notice? a hundred single changes to equations and rules
	$(BIN)/python tools/mutants.py $(ARGS)

# tests/kernels/check.c runs every kernel on random numbers, here and there, and compares.
arm64:  ## the kernels cross-compiled for arm64, run by an emulator, compared with this machine's
	@command -v $(ARM64_CC) > /dev/null || { echo "make arm64: no $(ARM64_CC): apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross"; exit 2; }
	@test -n "$(ARM64_QEMU)" || { echo "make arm64: no qemu-aarch64: apt-get install qemu-user-static"; exit 2; }
	@mkdir -p build/arm64
	$(CC) $(FLAGS) -Isrc/kernels tests/kernels/check.c src/kernels/*.c -lm -o build/arm64/here
	$(ARM64_CC) $(FLAGS) -static -Isrc/kernels tests/kernels/check.c src/kernels/*.c -lm -o build/arm64/there
	build/arm64/here > build/arm64/here.txt
	$(ARM64_QEMU) build/arm64/there build/arm64/here.txt

# setup.py is the one place for flags; this reads its list.
FLAGS = $(or $(shell sed -n '/^COMPILE = \[/,/^\]/s/^ *"\(-.*\)",/\1/p' setup.py),$(error no flags found in setup.py))

# ------------------------------------------------------------------------------- build

page: $(S)/extra-page  ## viz/page/built from its sources: needs Node.js; ARGS=--check only compares, ARGS=--tools only installs
	$(BIN)/python tools/build_page.py $(ARGS)

build: $(S)/project  ## compile what changed, into .venv's editable install

wheel: $(S)/extra-dev  ## sdist, and from it the wheel, into dist/
	$(BIN)/python -m build

clean:  ## all that was built, and .venv
	rm -rf build dist demo rnncore.egg-info $(VENV)
	find rnncore -name '*.so' -delete
