"""The examples in the docstrings run, and every public function has one."""

import doctest
import inspect
import sys
from pkgutil import iter_modules

import pytest

from rnncore import viz

MODULES = sorted(
    f"{package.__name__}.{info.name}"
    for package in (viz.measures, viz.plots)
    for info in iter_modules(package.__path__)
    if not info.name.startswith("_")
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name, plt):
    module = sys.modules[name]
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
    for public in module.__all__:
        found = getattr(module, public)
        if inspect.isfunction(found):
            assert ">>>" in found.__doc__, public


def test_the_examples_of_the_style_run():
    assert doctest.testmod(viz.style).failed == 0
