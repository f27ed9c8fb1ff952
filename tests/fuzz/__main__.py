"""The long run: ``python tests/fuzz [--seconds N] [--only SUBJECT …]``; one case: ``--only SUBJECT --seed S``.

Without a seed all subjects take turns with fresh seeds until the time is over, and every kind of failure is told once.
With a seed, that case alone (or --count cases from it) runs in this process, with its whole traceback.
"""

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz import SEEDS, runner

TURN = 15.0  # seconds that a subject runs before the next one


def main(arguments):
    if arguments[:1] == ["--child"]:
        runner.child(*json.loads(arguments[1]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--only", choices=SEEDS, nargs="*", help="these subjects (all)")
    parser.add_argument("--seed", type=int, help="one case")
    parser.add_argument("--count", type=int, default=1, help="so many cases from --seed on")
    given = parser.parse_args(arguments)
    names = given.only or list(SEEDS)
    if given.seed is None:
        return long_run(names, given.seconds, int(time.time()) * 10_000)
    for name in names:
        for seed in range(given.seed, given.seed + given.count):
            runner.run_case(name, seed, catch=False)
            print(f"{name} {seed}: fine")
    return 0


def long_run(names, seconds, first):
    """Run all subjects in turn; the exit status is 1 if anything failed."""
    print(f"fuzzing {', '.join(names)} for {seconds:g} s from seed {first}", flush=True)
    outcomes = {name: runner.Outcome() for name in names}
    begun, end = time.monotonic(), time.monotonic() + seconds
    turn = max(2.0, min(TURN, seconds / len(names)))
    while time.monotonic() < end:
        for name, total in outcomes.items():
            left = min(turn, end - time.monotonic())
            if left <= 0:
                break
            one = runner.run([(name, first + total.cases, 2**19)], left)
            total.cases += one.cases
            total.times += one.times
            for place, failure in one.failures.items():
                if place not in total.failures:
                    total.failures[place] = failure
                    print(f"\n{time.monotonic() - begun:.1f} s: {failure}", flush=True)
    print()
    for name, total in outcomes.items():
        print(f"{name:12} {total.cases:8,} cases, {len(total.failures):3} kinds of failure, "
              f"{total.times.total():6,} in all")
        for place, times in total.times.most_common():
            print(f"    {times:6,} × {place}   {runner.repeat(total.failures[place])}")
    return int(any(total.failures for total in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
