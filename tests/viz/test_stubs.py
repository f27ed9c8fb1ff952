"""The stubs list exactly what the packages of viz export, since type checkers cannot follow discovery at run time."""

import ast
import inspect
from pathlib import Path

import pytest

from rnncore import viz

PACKAGES = {"viz/measures": viz.measures, "viz/plots": viz.plots, "viz": viz}


def stub_of(package):
    return Path(package.__file__).with_suffix(".pyi")


def exported_by(stub):
    """name -> module, from the lines ``from .module import name as name``."""
    found = {}
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        assert isinstance(node, ast.ImportFrom), f"{stub}, line {node.lineno}: expected imports alone"
        for alias in node.names:
            if alias.name != "*":
                assert alias.asname == alias.name, f"{stub}, line {node.lineno}: expected 'as {alias.name}'"
                found[alias.name] = f"{'.' * node.level}{node.module or ''}"
    return found


def exported_at_run_time(package):
    """name -> module, of what a package exports itself; viz has the names of measures and plots by ``import *``."""
    if package is viz:
        return viz._LATER | dict.fromkeys(("measures", "plots", "style"), ".")
    return {name: getattr(package, name).__module__.removeprefix(package.__name__) for name in package.__all__}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_stub_lists_what_its_package_exports_and_nothing_else(name):
    package = PACKAGES[name]
    exported, listed = exported_at_run_time(package), exported_by(stub_of(package))
    missing = [f"from {module} import {one} as {one}" for one, module in exported.items() if listed.get(one) != module]
    assert not missing, f"{name}/__init__.pyi: add the lines\n" + "\n".join(missing)
    extra = sorted(set(listed) - set(exported))
    assert not extra, f"{name}/__init__.pyi: remove the lines of {', '.join(extra)}, which {name} does not export"


def test_together_the_stubs_know_every_public_name_of_viz():
    known = set().union(*(exported_by(stub_of(package)) for package in PACKAGES.values()))
    assert known == set(viz.__all__)


@pytest.mark.parametrize("package", [viz, viz.measures, viz.plots, viz.style], ids=lambda package: package.__name__)
def test_completion_of_a_package_shows_public_names_alone(package):
    assert dir(package) == sorted(package.__all__)


@pytest.mark.parametrize("name", viz.__all__)
def test_every_parameter_and_result_of_a_public_function_has_a_type(name):
    found = getattr(viz, name)
    if not inspect.isfunction(found):
        return
    signature = inspect.signature(found)
    assert signature.return_annotation is not signature.empty
    for parameter in signature.parameters.values():
        assert parameter.annotation is not parameter.empty, parameter
