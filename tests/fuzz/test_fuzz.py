"""The short run: fixed seeds of every subject, in which every choice there is occurs."""

import pytest

from fuzz import runner, subjects

QUICK = 5  # `make quick` runs every fifth of the seeds


def judge(outcome):
    told = "\n\n".join(map(str, outcome.failures.values()))
    assert not outcome.failures, f"{outcome.times.total()} of {outcome.cases} cases failed\n{told}"


@pytest.mark.parametrize("name", subjects())
def test_some_seeds(name):
    judge(runner.run(name, 0, -(-subjects()[name].short // QUICK)))


@pytest.mark.slow
@pytest.mark.parametrize("name", subjects())
def test_all_seeds(name):
    count = subjects()[name].short
    outcome = runner.run(name, 0, count)
    judge(outcome)
    assert outcome.cases == count
    never = {f"{label}={choice}" for label, choices in outcome.seen.items() for choice, n in choices.items() if not n}
    assert not never, "the short run has to draw them, with more or other seeds"
