"""What a cell is stands in its description, and nowhere else in the code (docstrings and comments may explain it)."""

import ast
from pathlib import Path

import pytest

from rnncore.recurrent import descriptions

ROOT = Path(__file__).resolve().parents[2]
HOMES = ("rnncore/recurrent/descriptions/", "rnncore/recurrent/layers.py", "rnncore/__init__.py",
         "rnncore/torch/__init__.py", "rnncore/convert/formats.py")
FILES = [path for room in ("rnncore", "viz") for path in sorted((ROOT / room).rglob("*.py"))
         if not path.relative_to(ROOT).as_posix().startswith(HOMES)]
CELLS = [descriptions.of_kernel(kernel) for kernel in descriptions._BY_KERNEL]
MODES = set(descriptions.modes())
# Letters that are something else in most places are looked for as keys of a dict and as the other side of a comparison.
GATES = {name for cell in CELLS for name in cell.slots}
OPTIONS = {name for cell in CELLS for name in cell.options}


def texts(tree):
    """Texts that decide something: what is compared, looked up, or a key; and all that are a mode or an option."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in MODES:
            yield node
        decides = [*node.comparators, node.left] if isinstance(node, ast.Compare) else []
        decides += [key for key in node.keys if key is not None] if isinstance(node, ast.Dict) else []
        for part in decides:
            items = part.elts if isinstance(part, ast.Tuple | ast.List | ast.Set) else [part]
            for item in items:
                if isinstance(item, ast.Constant) and isinstance(item.value, str):
                    name = item.value.rpartition(".")[2]
                    if name in GATES - {"f", "i", "r"} or name in OPTIONS or name in ("ifgo", "rzn", "hc"):
                        yield item


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_code_asks_which_cell_it_is(path):
    found = [f"line {node.lineno}: {node.value!r}" for node in texts(ast.parse(path.read_text(encoding="utf-8")))]
    assert not found, f"read it from the cell's description (rnncore/recurrent/descriptions): {found}"
