"""The reference has every public name, and is generated from docstrings alone."""

import importlib
import inspect
import pkgutil
import runpy
from pathlib import Path

import pytest

import rnncore

ROOT = Path(__file__).resolve().parents[2]
BUILD = runpy.run_path(str(ROOT / "tools" / "build_docs.py"), run_name="build_docs")

# Packages of the source tree whose names users do not import: what is public of them, another module shows.
INSIDE = {"rnncore.command", "rnncore.recurrent"}


def test_every_public_package_has_a_page():
    """A folder with an `__all__`, beside those that are inside, is one that users import from."""
    found = {"rnncore", "rnncore.viz", "rnncore.viz.style"}
    for module in pkgutil.iter_modules([str(ROOT / "rnncore")]):
        name = f"rnncore.{module.name}"
        if module.name[0] != "_" and name not in INSIDE:
            home = importlib.import_module(name)
            if hasattr(home, "__all__") and (module.ispkg or module.name in rnncore.__all__):
                found.add(name)
    assert found == set(BUILD["MODULES"])


@pytest.mark.parametrize("module", BUILD["MODULES"])
def test_every_public_name_is_in_the_reference(module, tmp_path):
    BUILD["write_reference"](tmp_path)
    page = next(tmp_path.glob(f"*_{module}.rst")).read_text("utf-8")
    home = importlib.import_module(module)
    modules = {name for name in home.__all__ if inspect.ismodule(getattr(home, name))}
    missing = [name for name in home.__all__ if name not in modules
               and f"\n   {name}\n" not in page and f":: {name}\n" not in page]
    assert missing == []
    for name in modules:
        other = getattr(home, name).__name__
        assert other in BUILD["MODULES"] or other in ("rnncore.viz.measures", "rnncore.viz.plots"), other


@pytest.mark.parametrize("module", BUILD["MODULES"])
def test_every_public_name_has_a_docstring(module):
    home = importlib.import_module(module)
    assert [name for name in BUILD["public"](module) if not inspect.getdoc(getattr(home, name))] == []


def test_what_calls_return_exists():
    for name in BUILD["RETURNED"]:
        home, _, attribute = name.rpartition(".")
        assert inspect.getdoc(getattr(importlib.import_module(home), attribute))


def test_the_hand_written_page_names_every_module():
    text = (ROOT / "docs" / "reference.md").read_text("utf-8")
    parts = [module for module in BUILD["MODULES"] if module.count(".") < 2]
    assert [module for module in parts if f"`{module}`" not in text] == []
