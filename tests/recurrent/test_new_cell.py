"""The cell that docs/cells.md describes is added to a copy of the project, which is built and used for everything."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
CHECKS = Path(__file__).with_name("new_cell_checks.py")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with the three pieces of docs/cells.md, and no other change, compiled."""
    copy = tmp_path_factory.mktemp("new_cell")
    for name in ("src", "rnncore", "viz"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    text = (ROOT / "docs/cells.md").read_text(encoding="utf-8")
    files = re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", text, re.DOTALL)
    assert [name for name, _ in files] == ["src/kernels/mgu.h", "rnncore/recurrent/descriptions/mgu.py"]
    for name, content in files:
        (copy / name).write_text(content, encoding="utf-8")
    ((name, row),) = re.findall(r"<!-- row of: (\S+) -->\n```\w+\n(.*?)```", text, re.DOTALL)
    table = (copy / name).read_text(encoding="utf-8")
    for before, added in (("\nstatic const rc_cell", '#include "mgu.h"\n'), ("    {.name = NULL},", row)):
        assert table.count(before) == 1
        table = table.replace(before, added + before)
    (copy / name).write_text(table, encoding="utf-8")
    run(copy, "setup.py", "-q", "build_ext", "--inplace", RNNCORE_QUICK="1")
    return copy


def run(folder, *arguments, **environment):
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "RNNCORE_"))}
    done = subprocess.run([sys.executable, *map(str, arguments)], cwd=folder, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False,
                          env=inherited | {"PYTHONPATH": str(folder), "MPLBACKEND": "agg"} | environment)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_a_new_cell_works_everywhere(project):
    """Layers, cells, streams, gradients, initialisers, measures, plots, diagnosis, watches, run files, training."""
    assert run(project, CHECKS).splitlines()[-1] == "all of it"


def test_the_command_offers_a_new_cell(project):
    text = project / "text.txt"
    text.write_text("the cat sat on the mat. " * 400)
    command = "-m", "rnncore.command.cli"
    run(project, *command, "train", text, "--cell", "mgu", "--hidden", "8", "--steps", "3", "--out", "m")
    assert len(run(project, *command, "sample", "m", "--length", "20")) == 21
