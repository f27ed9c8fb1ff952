"""The short run: fixed seeds of every subject, in which every possible choice occurs."""

import functools
import warnings

import matplotlib.pyplot as plt
import pytest

from fuzz import ROOMS, arguments, runner

QUICK = 5  # `make quick` runs every fifth of the seeds


def plan(room):
    """The subjects of a room: name, how many seeds are quick, and how many there are."""
    return [(name, -(-count // QUICK), count) for name, count in ROOMS[room].items()]


@functools.cache
def quick(room):
    """The outcome of the first seeds, which both tests need and which run once."""
    return runner.run([(name, 0, first) for name, first, _ in plan(room)])


def judge(outcome):
    told = "\n\n".join(map(str, outcome.failures.values()))
    assert not outcome.failures, f"{outcome.times.total()} of {outcome.cases} cases failed\n{told}"


@pytest.mark.parametrize("room", ROOMS)
def test_some_seeds_find_no_fault(room):
    judge(quick(room))


@pytest.mark.slow
@pytest.mark.parametrize("room", ROOMS)
def test_all_seeds_find_no_fault(room):
    first, rest = quick(room), runner.run([(name, first, count - first) for name, first, count in plan(room)])
    judge(first)
    judge(rest)
    assert first.cases + rest.cases == sum(ROOMS[room].values())
    for label, choices in first.seen.items():
        rest.seen[label].update(choices)
    never = [f"{label}={choice}" for label, choices in rest.seen.items() for choice, n in choices.items() if not n]
    assert not never, "the short run has to draw them, with more or other seeds"


def test_every_public_function_has_valid_arguments():
    """Else a wrong argument would be refused because of another one."""
    for name, (function, fits) in arguments.calls().items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")     # of little data
                function(**fits)
        except Exception as error:
            raise AssertionError(f"{name}: its arguments in tests/fuzz/arguments.py are not valid") from error
        finally:
            plt.close("all")
