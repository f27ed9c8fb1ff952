"""The examples in the docstrings run."""

import doctest
import importlib

import pytest

MODULES = [
    "rnncore.init",
    "rnncore.viz.debugger",
    "rnncore.viz.debugger.flow",
    "rnncore.viz.debugger.nonfinite",
    "rnncore.viz.debugger.stuck",
    "rnncore.viz.debugger.watches",
    "rnncore.viz.diagnosis",
    "rnncore.viz.recorder",
    "rnncore.viz.recorder.live",
    "rnncore.viz.recorder.runfile",
    "rnncore.viz.reports",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted
    assert not result.failed
