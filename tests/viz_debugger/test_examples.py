"""The examples in the docstrings run."""

import doctest
import importlib

import pytest

MODULES = [
    "rnncore.init",
    "rnncore.viz.debugger",
    "rnncore.viz.diagnosis",
    "rnncore.viz.page.writer",
    "rnncore.viz.recorder",
    "rnncore.viz.recorder.live",
    "rnncore.viz.recorder.runfile",
    "rnncore.viz.reports",
    "rnncore.viz.watches.flow",
    "rnncore.viz.watches.nonfinite",
    "rnncore.viz.watches.stuck",
    "rnncore.viz.watches.watch",
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted
    assert not result.failed
