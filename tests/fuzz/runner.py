"""Runs cases in child processes: a crash or a hang ends the child and counts as a failure of the current case."""

import faulthandler
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import rnncore
from fuzz import subject
from fuzz.case import SEEN, Draw

HERE = Path(__file__).parent
PACKAGE = [Path(module.__file__).parent for module in (rnncore, rnncore.viz)]
CASE_SECONDS = 60  # a case that takes longer hangs


@dataclass
class Failure:
    subject: str
    seed: int
    place: str  # exception type and where it was raised: failures with the same place are one
    message: str
    told: list = field(default_factory=list)
    first: int | None = None  # of a crash: the seed its process began with, for what earlier cases damaged

    def __str__(self):
        told = f"\n  drawn: {', '.join(self.told)}" if self.told else ""
        return f"{self.subject} {self.seed}: {self.place}\n  {self.message}{told}\n  again: {repeat(self)}"


@dataclass
class Outcome:
    """The results of some cases of a subject."""

    cases: int = 0
    failures: dict = field(default_factory=dict)  # place -> the first Failure there
    times: Counter = field(default_factory=Counter)  # place -> how often
    seen: dict = field(default_factory=lambda: defaultdict(Counter))  # label -> {choice: how often}

    def add(self, failure):
        self.failures.setdefault(failure.place, failure)
        self.times[failure.place] += 1


def repeat(failure):
    """The command that repeats one case in the foreground; after a crash, with all cases that ran before it."""
    first = failure.seed if failure.first is None else failure.first
    count = "" if first == failure.seed else f" --count {failure.seed - first + 1}"
    return f"python {os.path.relpath(HERE)} --only {failure.subject} --seed {first}{count}"


def run(plan, seconds=3600.0):
    """Run ``[(subject, first seed, count), …]`` to the end, or until the time is up."""
    outcome, end = Outcome(), time.monotonic() + seconds
    while plan and time.monotonic() < end:
        plan = _one_child(outcome, plan, end)
    return outcome


def _one_child(outcome, plan, end):
    """Run one child until it ends or crashes; returns the rest of the plan."""
    read, write = os.pipe()
    env = os.environ | {"PYTHONPATH": str(Path(rnncore.__file__).parents[1]), "MPLBACKEND": "agg"}
    command = [sys.executable, str(HERE), "--child", json.dumps([write, plan, end])]
    name, at, done = plan[0][0], None, False
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        with subprocess.Popen(command, pass_fds=[write], stdout=said, stderr=said, env=env) as child:
            os.close(write)
            with open(read) as lines:
                for kind, value in map(json.loads, lines):
                    if kind == "case":
                        name, at = value
                        outcome.cases += 1
                    elif kind == "failure":
                        outcome.add(Failure(**value))
                    else:  # "done": what was drawn
                        done = True
                        for label, choices in value.items():
                            outcome.seen[label].update(choices)
        if done:
            return []
        said.seek(0)
        text = said.read()
    how = signal.Signals(-child.returncode).name if child.returncode < 0 else f"exit status {child.returncode}"
    hangs = "Timeout (" in text
    if hangs:
        how = f"more than {CASE_SECONDS} s"
    position = [part[0] for part in plan].index(name)
    _, first, count = plan[position]
    seed = first if at is None else at
    outcome.add(Failure(name, seed, f"{how} at {_place_of_crash(text)}", text[-3000:], first=None if hangs else first))
    return [(name, seed + 1, first + count - seed - 1), *plan[position + 1 :]]


def child(pipe, plan, end):
    """The work of a child process until the time `end`; it writes a line of JSON for every case and failure."""
    faulthandler.enable()
    with open(pipe, "w", buffering=1) as out:
        for name, first, count in plan:
            subject(name)  # imported before the clock of a case runs
            for seed in range(first, first + count):
                if time.monotonic() > end:
                    break
                print(json.dumps(["case", [name, seed]]), file=out)
                faulthandler.dump_traceback_later(CASE_SECONDS, exit=True)
                failure = run_case(name, seed)
                faulthandler.cancel_dump_traceback_later()
                if failure:
                    print(json.dumps(["failure", vars(failure)]), file=out)
        print(json.dumps(["done", SEEN]), file=out)


def run_case(name, seed, *, catch=True):
    """A `Failure`, or None; without `catch` the exception itself."""
    draw = Draw(name, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as in the tests: the package gives no unintended warning
        warnings.filterwarnings("ignore", module="torch")
        try:
            subject(name)(draw)
        except BaseException as error:
            if not catch:
                print("drawn:", ", ".join(draw.told))
                raise
            message = str(error)[:2000]
            return Failure(name, seed, f"{type(error).__name__} at {_place(error)}", message, draw.told)
    return None


def _place(error):
    """Where an exception was raised: its own `place`, or the innermost frame in the package or the fuzzer."""
    if hasattr(error, "place"):
        return error.place
    frames = traceback.extract_tb(error.__traceback__)
    package = [f for f in frames if _of_package(f.filename)]
    own = [f for f in frames if Path(f.filename).parent == HERE]
    frame = (package or own or frames)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"


def _place_of_crash(text):
    """The first line that concerns the project in the report of faulthandler or a sanitizer on stderr."""
    summary = re.search(r"^SUMMARY: (.*)$|^.*runtime error: .*$", text, re.M)
    if summary:
        return re.sub(r"0x[0-9a-f]+", "0x…", summary[0])
    frames = re.findall(r'File "(.*)", line (\d+) in (\w+)', text)
    ours = [f for f in frames if _of_package(f[0])] or [f for f in frames if Path(f[0]).parent == HERE]
    return f"{Path(ours[0][0]).name}:{ours[0][1]} {ours[0][2]}" if ours else "an unknown place"


def _of_package(file):
    return any(Path(file).is_relative_to(root) for root in PACKAGE)
