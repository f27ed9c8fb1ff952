"""Do the tests notice? Subtle single changes to equations and rules, one at a time.

Each mutant of mutants.toml is made in a private copy of the checkout (build/mutants/), which is compiled again where
that is needed (with `RNNCORE_DEBUG=1`, which takes half the time, and by ccache where there is one, which halves it
again), and its tests run until the first fails. What is printed says which one did. Exit status 1 where a mutant
survived, and where the table has rotted: an old text that is no longer there, or tests that fail without any mutant.

    python tools/mutants.py                 all of them, in about half an hour
    python tools/mutants.py -k lstm         those with lstm in their file or in what they break
    python tools/mutants.py --jobs 2        side by side, a copy each

An entry of the table:

    file        where, and
    old, new    what becomes what; `old` stands there exactly once
    breaks      what is wrong then, for people
    tests       files or folders in tests/ that shall notice
    equivalent  why nothing is wrong then: such a mutant must survive
"""

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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = Path(__file__).with_suffix(".toml")
PATIENCE = 300  # seconds until a mutant whose tests do not end counts as noticed


@dataclass
class Mutant:
    """A row of the table, and what became of it."""

    file: str
    old: str
    new: str
    breaks: str
    tests: list[str]
    equivalent: str = ""
    noticed_by: str = ""  # empty: it survived
    rotten: str = ""  # why it could not be tried
    seconds: float = 0.0

    @property
    def is_compiled(self):
        return self.file.startswith("src/")

    @property
    def is_as_wanted(self):
        return not self.rotten and bool(self.noticed_by) != bool(self.equivalent)

    def applied(self, text):
        """The file's text with the change made; ValueError where the old text does not stand there once."""
        if text.count(self.old) != 1:
            raise ValueError(f"the old text stands there {text.count(self.old)} times, expected once")
        return text.replace(self.old, self.new)

    def __str__(self):
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

    def __init__(self, folder):
        self.folder = folder
        self.is_stale = True  # whether what is compiled is not what the sources say
        listed = subprocess.check_output(["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, text=True)
        wanted = {path for path in listed.split("\0") if path and (ROOT / path).is_file()}
        for path in wanted:
            source, target = ROOT / path, folder / path
            if not (target.is_file() and filecmp.cmp(source, target, shallow=False)):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
        for path in folder.rglob("*"):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and name not in wanted and path.suffix != ".so" and not name.startswith("build/"):
                path.unlink()

    def run(self, *command, timeout=None, **environment):
        """The finished process; what it printed is in `stdout`."""
        return subprocess.run(
            [sys.executable, *command], cwd=self.folder, timeout=timeout, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1",
                              "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} | environment)

    def compile(self):
        """Bring what is compiled up to the sources; what the compiler said where it fails."""
        if not self.is_stale:
            return ""
        faster = {"CC": "ccache gcc"} if shutil.which("ccache") else {}     # most files are the same for most mutants
        done = self.run("setup.py", "-q", "build_ext", "--inplace", RNNCORE_DEBUG="1", **faster)
        self.is_stale = done.returncode != 0
        return done.stdout if done.returncode else ""

    def failing_test(self, tests):
        """The first that fails, or how they ended otherwise; empty where all pass."""
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

    def judge(self, mutant):
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


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-k", dest="word", default="", help="only those with it in their file or in what they break")
    parser.add_argument("--jobs", type=int, default=1, help="copies that work side by side")
    return parser.parse_args()


def main():
    options = arguments()
    mutants = [Mutant(**row) for row in tomllib.loads(TABLE.read_text())["mutant"]]
    mutants = [m for m in mutants if options.word.lower() in f"{m.file} {m.breaks}".lower()]
    if not mutants:
        sys.exit(f"-k: no mutant has {options.word!r} in its file or in what it breaks")
    copies = [Copy(ROOT / f"build/mutants/{number}") for number in range(options.jobs)]
    with ThreadPoolExecutor(options.jobs) as pool:
        for said in pool.map(Copy.compile, copies):
            if said:
                sys.exit(said)
        for path in sorted({path for m in mutants for path in m.tests}):
            if failing := copies[0].failing_test([path]):
                sys.exit(f"without any mutant: {failing}")
        print(f"all tests pass without a mutant; {len(mutants)} mutants", flush=True)
        free = queue.SimpleQueue()
        for copy in copies:
            free.put(copy)

        def judge(mutant):
            copy = free.get()
            copy.judge(mutant)
            free.put(copy)
            print(mutant, flush=True)

        # those in Python first: in between nothing is compiled
        list(pool.map(judge, sorted(mutants, key=lambda m: m.is_compiled)))
    others = [m for m in mutants if not m.is_as_wanted]
    print(f"\n{len(mutants) - len(others)} of {len(mutants)} as wanted", *others, sep="\n")
    sys.exit(bool(others))


if __name__ == "__main__":
    main()
