"""Do the examples of README.md and of the pages in docs/ type-check? `make lint` asks mypy and pyright.

    python tools/check_examples.py build/lint

The argument is a folder that holds the package as it is installed, with viz inside rnncore.

The Python blocks of a page, prompts of `>>>` examples removed, become one module. Every other line of the page
becomes an empty line, so that a line of the module has the number that it has in the page. A block below
``<!-- file: PATH -->`` is a file that the page adds to the package, and is checked as a module of the package; a block
below ``<!-- row of: PATH -->`` is added to the end of a stub.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# scikit-learn and Keras have no types, and need not be installed where this runs.
STUBS = {
    "keras/__init__.pyi": "from typing import Any\ndef __getattr__(name: str) -> Any: ...\n",
    "sklearn/__init__.pyi": "",
    "sklearn/model_selection.pyi": "from typing import Any\nGridSearchCV: Any\n",
}

MARK = re.compile(r"<!-- (?:file|row of): (\S+\.pyi?) -->")
PROMPT = re.compile(r"(?:>>>|\.\.\.)(?: |$)")


def blocks(page: str) -> Iterator[tuple[str | None, int, list[str]]]:
    """The Python blocks of a page: the file that a block is (None: an example), its first line from 0, its lines."""
    lines = page.splitlines()
    start: int | None = None
    fenced = False
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if fenced and start is not None:
            mark = MARK.fullmatch(lines[start - 2]) if start > 1 else None
            yield (mark[1] if mark else None), start, lines[start:number]
        fenced = not fenced
        start = number + 1 if fenced and line[3:].strip() == "python" else None


def without_prompts(block: list[str]) -> list[str]:
    """The block as it is, or of a `>>>` example what follows its prompts, with empty lines for what is printed."""
    if not any(line.startswith(">>>") for line in block):
        return block
    return [PROMPT.sub("", line, count=1) if PROMPT.match(line) else "" for line in block]


def modules(page: str) -> dict[str | None, str]:
    """{file, or None for the examples: source with the page's line numbers}."""
    length = len(page.splitlines())
    sources: dict[str | None, list[str]] = {}
    for file, start, block in blocks(page):
        source = sources.setdefault(file, [""] * length)
        source[start : start + len(block)] = without_prompts(block)
    return {file: "\n".join(source).rstrip() + "\n" for file, source in sources.items()}


def write(folder: Path, pages: list[Path]) -> dict[Path, str]:
    """Write the modules of all pages and what they import into a folder; {module: name of its page}."""
    names: dict[Path, str] = {}
    for page in pages:
        name = page.relative_to(ROOT).as_posix()
        stem = re.sub(r"\W", "_", name.removesuffix(".md"))
        for file, source in modules(page.read_text(encoding="utf-8")).items():
            if file is None:
                path = folder / f"{stem}.py"
            else:               # docs/custom_measure.md names its files as they are called within viz/
                path = folder / ("" if file.startswith("rnncore/") else "rnncore/viz") / file
            if path.suffix == ".pyi":
                source = path.read_text(encoding="utf-8") + source
            else:
                names[path] = name
            path.write_text(source, encoding="utf-8")
    for file, source in STUBS.items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(source, encoding="utf-8")
    return names


def mypy(folder: Path, names: dict[Path, str]) -> list[str]:
    """What mypy finds: the examples as a user would have them checked, added files as strictly as the package."""
    config = folder / "mypy.ini"
    config.write_text("[mypy]\ncheck_untyped_defs = true\nfollow_imports = silent\nwarn_unused_ignores = true\n"
                      "[mypy-rnncore.*]\ndisallow_untyped_defs = true\ndisallow_incomplete_defs = true\n",
                      encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file", str(config), "--python-version", "3.11",
               "--no-error-summary", "--hide-error-context", "--no-color-output", "--no-pretty",
               *(str(path.relative_to(folder)) for path in names)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"mypy ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    found = []
    for line in done.stdout.splitlines():
        file, _, rest = line.partition(":")
        found.append(f"{names.get(folder / file, file)}:{rest}  (mypy)")
    return found


def pyright(folder: Path, names: dict[Path, str]) -> list[str]:
    """What pyright finds with its standard rules; an expression that stands alone is how an example shows a value."""
    config = {"include": [path.relative_to(folder).as_posix() for path in names], "pythonVersion": "3.11",
              "typeCheckingMode": "standard", "reportUnusedExpression": False, "reportMissingModuleSource": False}
    (folder / "pyrightconfig.json").write_text(json.dumps(config), encoding="utf-8")
    # With --outputjson the wrapper does not look for a newer pyright, so that this needs no network.
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable,
               "--project", str(folder)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    try:
        report = json.loads(done.stdout)
    except json.JSONDecodeError:
        sys.exit(f"pyright ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    found = []
    for item in report["generalDiagnostics"]:
        line = item["range"]["start"]["line"] + 1
        message = item["message"].replace("\n", "\n    ")
        found.append(f"{names.get(Path(item['file']), item['file'])}:{line}: {item['severity']}: {message}"
                     f"  [{item.get('rule', 'syntax')}]  (pyright)")
    if not found and report["summary"]["filesAnalyzed"] < len(names):
        sys.exit(f"pyright read {report['summary']['filesAnalyzed']} of {len(names)} modules")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("package", type=Path, help="folder with rnncore as it is installed, viz inside it")
    options = parser.parse_args()
    if not (options.package / "rnncore" / "viz").is_dir():
        parser.error(f"package is {options.package}, which has no rnncore/viz; `make lint` builds it")
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        shutil.copytree(options.package / "rnncore", folder / "rnncore")
        names = write(folder, pages)
        with ThreadPoolExecutor() as pool:
            checks = [pool.submit(check, folder, names) for check in (mypy, pyright)]
            found = [line for check in checks for line in check.result()]
    print("\n".join(found) if found else f"the examples of {len(set(names.values()))} pages type-check")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
