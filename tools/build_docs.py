"""Build the book: run the lesson and the gallery, generate the reference, and let Sphinx put it together.

    python tools/build_docs.py                 # into build/docs/html, warnings are errors
    python tools/build_docs.py --links         # ask the external addresses of the pages instead
    python tools/build_docs.py --quick         # the pages as they are in the checkout: nothing is run

The pages are copied to build/docs/source first, so that the checkout does not change: what the lesson and the gallery
measure and draw is in the copy. `make lesson` and `make gallery` renew the numbers and pictures of the checkout.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "docs"
SOURCE, HTML = BUILD / "source", BUILD / "html"

# What the reference documents: every module whose `__all__` is the list of its public names, and what it is for.
MODULES = {
    "rnncore": "layers, cells and settings",
    "rnncore.viz": "the debugger: measures, plots, watches, recorder",
    "rnncore.viz.style": "the look of the pictures",
    "rnncore.models": "models of sequences with one interface",
    "rnncore.nn": "the other parts of a model, and losses",
    "rnncore.optim": "optimisers",
    "rnncore.train": "the training loop and its files",
    "rnncore.data": "reading texts, tables and series; windows",
    "rnncore.tasks": "the classic memory tasks",
    "rnncore.init": "initialisers for recurrent weights",
    "rnncore.io": "reading files",
    "rnncore.torch": "modules for a torch model",
    "rnncore.convert": "models of other libraries, in and out",
}
# What public calls return, which has no public name of its own.
RETURNED = ["rnncore.recurrent.tape.Tape", "rnncore.recurrent.tape.Gradients", "rnncore.recurrent.stream.Stream"]


def public(module: str) -> list[str]:
    """The public names of a module, without modules, which have pages of their own, and without constants."""
    home = importlib.import_module(module)
    return [name for name in home.__all__ if callable(getattr(home, name))]


def constants(module: str) -> list[str]:
    home = importlib.import_module(module)
    names = (name for name in home.__all__ if not callable(getattr(home, name)))
    return [name for name in names if not hasattr(getattr(home, name), "__spec__")]


def title(text: str, line: str = "=") -> str:
    return f"{text}\n{line * len(text)}\n"


def table(names: list[str]) -> str:
    return ".. autosummary::\n   :toctree: generated\n\n" + "".join(f"   {name}\n" for name in names)


def groups(module: str) -> dict[str, list[str]]:
    """The public names under headings; viz has too many for one list."""
    names = public(module)
    if module == "rnncore.viz":
        viz = importlib.import_module(module)
        parts = {"Measures": viz.measures.__all__, "Plots": viz.plots.__all__}
        parts["Watches, recorder, pages"] = [n for n in names if not any(n in part for part in parts.values())]
        return {heading: [n for n in part if n in names] for heading, part in parts.items()}
    return {"": names}


def write_reference(folder: Path) -> None:
    """A page for every module, with a table of its names; autosummary makes a page for each name."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (module, purpose) in enumerate(MODULES.items()):
        page = title(module) + f"\n{purpose[0].upper()}{purpose[1:]}.\n\n.. currentmodule:: {module}\n"
        for heading, names in groups(module).items():
            page += ("\n" + title(heading, "-") if heading else "") + "\n" + table(names)
        for name in constants(module):
            value = repr(getattr(importlib.import_module(module), name)).replace(str(ROOT), "…")
            page += f"\n.. py:data:: {name}\n\n   ``{value if len(value) < 200 else type(value).__name__}``\n"
        (folder / f"{number:02}_{module}.rst").write_text(page, encoding="utf-8")
    page = title("Tapes, gradients, streams") + "\nWhat the calls of layers return.\n\n" + table(RETURNED)
    (folder / f"{len(MODULES):02}_returned.rst").write_text(page, encoding="utf-8")


def copy_pages() -> None:
    shutil.rmtree(SOURCE, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", "_*", "conf.py")
    shutil.copytree(ROOT / "docs", SOURCE / "docs", ignore=ignored)
    for page in ("README.md", "benchmarks/README.md"):
        (SOURCE / page).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / page, SOURCE / page)


def run_pages(updates: int) -> None:
    """The lesson and the gallery, side by side, each with one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    commands = [[sys.executable, str(ROOT / "docs" / "lesson"), "--out", str(SOURCE / "docs"), "--jobs", "1"],
                [sys.executable, str(ROOT / "docs" / "gallery"), "--out", str(SOURCE / "docs" / "img"),
                 "--updates", str(updates)]]  # fmt: skip
    running = [subprocess.Popen(command, env=environment) for command in commands]
    statuses = [process.wait() for process in running]
    if any(statuses):
        sys.exit("a page of the lesson or the gallery failed")


def sphinx(builder: str, out: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-j", "2", "-b", builder,
               "-c", str(ROOT / "docs"), "-d", str(BUILD / "doctrees"), str(SOURCE), str(out)]
    done = subprocess.run(command, check=False, env=os.environ | {"MPLBACKEND": "Agg"})
    if done.returncode:
        sys.exit(done.returncode)


def missing() -> list[str]:
    """The public names that the built reference does not have."""
    from sphinx.util.inventory import InventoryFile

    with (HTML / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", lambda base, uri: uri)
    known = {name for kind in inventory.values() for name in kind}
    names = [f"{module}.{name}" for module in MODULES for name in public(module) + constants(module)]
    return [name for name in names if name not in known]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--links", action="store_true", help="check the external addresses of the pages")
    parser.add_argument("--quick", action="store_true", help="run neither lesson nor gallery")
    parser.add_argument("--updates", type=int, default=1500, help="of each network of the gallery (%(default)s)")
    options = parser.parse_args()
    start = time.perf_counter()
    copy_pages()
    if not (options.quick or options.links):
        run_pages(options.updates)
    write_reference(SOURCE / "docs" / "api")
    if options.links:
        return sphinx("linkcheck", BUILD / "links")
    sphinx("html", HTML)
    for figure in (SOURCE / "docs" / "lesson").glob("*.html"):
        shutil.copy(figure, HTML / "docs" / "lesson")
    (HTML / "index.html").write_text('<!doctype html><meta http-equiv="refresh" content="0; url=docs/index.html">\n',
                                     encoding="utf-8")
    if absent := missing():
        sys.exit(f"public names that are not in the reference: {', '.join(absent)}")
    print(f"{time.perf_counter() - start:.0f} s; open {HTML / 'index.html'}")


if __name__ == "__main__":
    main()
