"""The rooms of viz form layers: each imports only those below it, and does so at the top of its modules."""

import ast
from pathlib import Path

import pytest

from rnncore import viz

ROOT = Path(viz.__file__).parent
# from the ground up; a room may use those before it, and the modules of its own
ROOMS = (
    "_discover", "style", "_html", "_blas", "_norms", "_tapes", "_layers", "_door", "measures", "plots", "watches",
    "recorder", "diagnosis", "page", "reports", "debugger",
)  # fmt: skip
MODULES = [path.relative_to(ROOT) for path in sorted(ROOT.rglob("*.py"))]


def test_every_room_has_its_place():
    assert {path.parts[0].removesuffix(".py") for path in MODULES} - {"__init__"} == set(ROOMS)


@pytest.mark.parametrize("path", [p for p in MODULES if p.name != "__init__.py" or len(p.parts) > 1], ids=str)
def test_imports_go_down_from_room_to_room(path):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    own = ROOMS.index(path.parts[0].removesuffix(".py"))
    for_types = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    at_the_top = {*tree.body, *(node for block in for_types for node in block.body)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        if node.module == "_artists":
            continue                                    # it imports matplotlib, which only a picture may
        assert node in at_the_top, f"line {node.lineno}: import it at the top of the module"
        levels_up = len(path.parts) - node.level        # of the folder that the import starts from
        if levels_up > 0:
            continue                                    # within the room
        names = [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
        for name in names:
            assert ROOMS.index(name) < own, f"line {node.lineno}: {name} is not below"
