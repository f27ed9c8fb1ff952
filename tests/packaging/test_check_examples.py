"""tools/check_examples.py: what of a page the type checkers read, and under which line numbers."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools/check_examples.py"
pytestmark = pytest.mark.skipif(not TOOL.exists(), reason="tools are in a checkout alone")

PAGE = """# A page

```python
x = 1
```

    not_python()

```c
int y;
```

```python
>>> for k in range(x):
...     print(k)
0
```

<!-- file: measures/size.py -->
```python
def size(): ...
```
"""


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(TOOL.parent)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    import check_examples

    return check_examples


def test_code_keeps_the_line_numbers_of_its_page(tool):
    examples = tool.modules(PAGE)[None].splitlines()
    page = PAGE.splitlines()
    assert examples[3] == page[3] == "x = 1"
    assert examples[13:15] == ["for k in range(x):", "    print(k)"]
    assert {line for number, line in enumerate(examples) if number not in (3, 13, 14)} == {""}


def test_an_added_file_is_a_module_of_its_own(tool):
    files = tool.modules(PAGE)
    assert list(files) == [None, "measures/size.py"]
    line = PAGE.splitlines().index("def size(): ...")
    assert files["measures/size.py"].splitlines()[line] == "def size(): ..."
