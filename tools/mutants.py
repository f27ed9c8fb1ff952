"""Mutation testing: do the tests notice subtle single changes to equations and rules?

Each mutant of mutants.toml is made in a private copy of the checkout (build/mutants/). If it changes a compiled file,
the copy is compiled again, with `RNNCORE_DEBUG=1`, which takes half the time, and with ccache if it is installed, which
halves it again. Then the mutant's tests run until the first one fails, and that one is printed. The exit status is 1 if
a mutant survived, or if the table is out of date: an old text is no longer there, or tests fail without any mutant.

    python tools/mutants.py                 all mutants, in about half an hour
    python tools/mutants.py -k lstm         those with lstm in their file or their description
    python tools/mutants.py --jobs 2        two mutants at a time, each in its own copy

An entry of the table:

    file        the file that is changed
    old, new    the text that is replaced, which occurs exactly once, and its replacement
    breaks      a description of the fault
    tests       files or folders in tests/ that have to notice it
    equivalent  if the change is not a fault, the reason; such a mutant has to survive
"""

from __future__ import annotations

import argparse
import filecmp
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = Path(__file__).with_suffix(".toml")
PATIENCE = 300  # seconds until a mutant whose tests do not end counts as noticed


@dataclass
class Mutant:
    """A row of the table, and its outcome."""

    file: str
    old: str
    new: str
    breaks: str
    tests: list[str]
    equivalent: str = ""
    noticed_by: str = ""  # the test that failed; empty if it survived
    rotten: str = ""  # the reason why it could not be tried
    seconds: float = 0.0

    @property
    def is_compiled(self) -> bool:
        return self.file.startswith("src/")

    @property
    def is_as_expected(self) -> bool:
        return not self.rotten and bool(self.noticed_by) != bool(self.equivalent)

    def applied(self, text: str) -> str:
        """The file's text with the change; ValueError unless the old text occurs exactly once."""
        if text.count(self.old) != 1:
            raise ValueError(f"the old text occurs {text.count(self.old)} times, expected once")
        return text.replace(self.old, self.new)

    def __str__(self) -> str:
        if self.rotten:
            verdict = f"ROTTEN: {self.rotten}"
        elif self.equivalent:
            wrong = f"WRONG NOTE, noticed by {self.noticed_by}: "
            verdict = (wrong if self.noticed_by else "no change: ") + self.equivalent
        else:
            verdict = self.noticed_by or "SURVIVED"
        return f"{self.file}: {self.breaks}\n    {verdict} ({self.seconds:.0f} s)"


class Copy:
    """A private copy of the checkout, compiled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_stale = True  # whether the sources changed since they were compiled
        listed = subprocess.check_output(["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, text=True)
        wanted = {path for path in listed.split("\0") if path and (ROOT / path).is_file()}
        for name in wanted:
            source, target = ROOT / name, folder / name
            if not (target.is_file() and filecmp.cmp(source, target, shallow=False)):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
        for path in folder.rglob("*"):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and name not in wanted and path.suffix != ".so" and not name.startswith("build/"):
                path.unlink()

    def run(
        self, *command: str, timeout: float | None = None, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a Python command in the copy; `stdout` of the result has all that it printed."""
        return subprocess.run(
            [sys.executable, *command], cwd=self.folder, timeout=timeout, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1",
                              "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} | dict(environment or {}))

    def compile(self) -> str:
        """Compile the copy if its sources changed; returns the compiler's output if that fails, else nothing."""
        if not self.is_stale:
            return ""
        environment = {"RNNCORE_DEBUG": "1"}
        if shutil.which("ccache"):      # most files are the same for most mutants
            environment["CC"] = "ccache gcc"
        done = self.run("setup.py", "-q", "build_ext", "--inplace", environment=environment)
        self.is_stale = done.returncode != 0
        return done.stdout if done.returncode else ""

    def failing_test(self, tests: list[str]) -> str:
        """The first test that fails, or how the tests ended otherwise; empty if all pass."""
        options = "-x", "-q", "-m", "not slow and not timing", "-p", "no:cacheprovider"
        try:
            done = self.run("-m", "pytest", *options, *(f"tests/{path}" for path in tests), timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return f"no end within {PATIENCE} s"
        failed = re.search(r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$", done.stdout, re.MULTILINE)
        if failed:
            return failed[1]
        if done.returncode < 0:
            return f"a crash, {signal.Signals(-done.returncode).name}"
        return f"pytest's exit status {done.returncode}: {done.stdout[-400:]}" if done.returncode else ""

    def judge(self, mutant: Mutant) -> None:
        """Make the mutant, run its tests and undo it; the outcome is kept in the mutant."""
        path, start = self.folder / mutant.file, time.monotonic()
        text = path.read_text()
        try:
            path.write_text(mutant.applied(text))
            self.is_stale |= mutant.is_compiled
            said = self.compile()
            if said:
                mutant.rotten = f"it does not compile: {said[-400:]}"
            else:
                mutant.noticed_by = self.failing_test(mutant.tests)
        except ValueError as error:
            mutant.rotten = str(error)
        finally:
            path.write_text(text)
            self.is_stale |= mutant.is_compiled
        mutant.seconds = time.monotonic() - start


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "-k", dest="word", default="", help="only mutants with this word in their file or their description")
    parser.add_argument("--jobs", type=int, default=1, help="number of mutants that are tried at the same time")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    mutants = [Mutant(**row) for row in tomllib.loads(TABLE.read_text())["mutant"]]
    mutants = [m for m in mutants if options.word.lower() in f"{m.file} {m.breaks}".lower()]
    if not mutants:
        sys.exit(f"-k: no mutant has {options.word!r} in its file or its description")
    copies = [Copy(ROOT / f"build/mutants/{number}") for number in range(options.jobs)]
    with ThreadPoolExecutor(options.jobs) as pool:
        for said in pool.map(Copy.compile, copies):
            if said:
                sys.exit(said)
        for path in sorted({path for m in mutants for path in m.tests}):
            if failing := copies[0].failing_test([path]):
                sys.exit(f"without any mutant: {failing}")
        print(f"all tests pass without a mutant; {len(mutants)} mutants", flush=True)
        free: queue.SimpleQueue[Copy] = queue.SimpleQueue()
        for copy in copies:
            free.put(copy)

        def judge(mutant: Mutant) -> None:
            copy = free.get()
            copy.judge(mutant)
            free.put(copy)
            print(mutant, flush=True)

        # Mutants of Python files come first, since nothing has to be compiled between them.
        list(pool.map(judge, sorted(mutants, key=lambda m: m.is_compiled)))
    others = [m for m in mutants if not m.is_as_expected]
    print(f"\n{len(mutants) - len(others)} of {len(mutants)} as expected", *others, sep="\n")
    sys.exit(bool(others))


if __name__ == "__main__":
    main()
