"""Lists the lines that run without the GIL and still call Python, from Cython's own annotations.

Cython gives every line a score, the number of Python calls in its C code: 0 is plain C. The time
loops run in `with nogil:` blocks or in functions declared `nogil`; a line of these with
a score above 0 is printed. The pages with the C code of every line are kept in build/annotated.

    python tools/annotate.py
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "build/annotated/src/engine"

SCORED = re.compile(r'<pre class="cython line score-(\d+)"[^>]*>.*?<span class="">(\d+)</span>')
DECLARED = re.compile(r"\bnogil\s*:\s*(#.*)?$")


def indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def lines_without_gil(source: str) -> list[int]:
    """Numbers of the lines in `with nogil:` blocks and in bodies of functions declared nogil.

    >>> lines_without_gil("cdef f() noexcept nogil:\\n    g()\\n\\ndef h():\\n    f()\\n")
    [2]
    """
    found: list[int] = []
    opened: list[int] = []      # indentation of the enclosing blocks without the GIL
    for number, line in enumerate(source.splitlines(), 1):
        code = line.split("#")[0].strip()
        if not code:
            continue
        while opened and indent(line) <= opened[-1]:
            opened.pop()
        if opened:
            found.append(number)
        if DECLARED.search(line) and not code.startswith("cdef extern"):
            opened.append(indent(line))
    return found


def scores(page: Path) -> dict[int, int]:
    """The score of every line, from Cython's page of a file."""
    return {int(line): int(score) for score, line in SCORED.findall(page.read_text())}


def main() -> None:
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "--version"],
        cwd=ROOT,
        env=os.environ | {"RNNCORE_ANNOTATE": "1"},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    print("score of each line that runs without the GIL and calls Python:")
    for path in sorted((ROOT / "src/engine").glob("*.p[yx][xi]")):
        lines = path.read_text().splitlines()
        score = scores(PAGES / f"{path.stem}.html")
        loops = lines_without_gil("\n".join(lines))
        touching = [number for number in loops if score.get(number, 0)]
        for number in touching:
            line = lines[number - 1].strip()
            print(f"{path.relative_to(ROOT)}:{number}: {score[number]}: {line}")
        print(f"{path.relative_to(ROOT)}: {len(touching)} of {len(loops)} lines")
    print(f"the C code of every line: {PAGES.relative_to(ROOT)}/*.html")


if __name__ == "__main__":
    main()
