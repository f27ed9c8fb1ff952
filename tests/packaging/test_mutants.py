"""The table of mutants is up to date: its old texts occur in the sources, and its tests exist."""

import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools/mutants.py"
pytestmark = pytest.mark.skipif(not TOOL.exists(), reason="tools are in a checkout alone")


@pytest.fixture
def table(monkeypatch):
    monkeypatch.syspath_prepend(TOOL.parent)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    import mutants

    return [mutants.Mutant(**row) for row in tomllib.loads(mutants.TABLE.read_text())["mutant"]]


def test_every_old_text_occurs_in_its_file_once(table):
    for mutant in table:
        text = (ROOT / mutant.file).read_text()
        assert mutant.applied(text) != text, mutant.file


def test_every_mutant_has_a_description_and_existing_tests(table):
    assert len({(m.file, m.old, m.new) for m in table}) == len(table)
    for mutant in table:
        assert mutant.breaks, mutant.file
        assert mutant.tests, mutant.file
        for path in mutant.tests:
            assert (ROOT / "tests" / path).exists(), path


def test_an_old_text_that_is_gone_is_refused(table):
    with pytest.raises(ValueError, match="occurs 0 times"):
        table[0].applied("")
