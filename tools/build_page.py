"""Builds viz/page/built from its sources: the kernels as WebAssembly, the script, and the style sheet.

    make page

It needs the pinned compiler (the wheel `ziglang`, extra "page") and Node.js with npm, which installs the pinned tools
of viz/page/package-lock.json into build/page. The same sources and tools give the same bytes; `--check` builds into
another folder and says which files of viz/page/built differ. `--tools` only installs the tools; then `make test`
compares the files, too, and opens the page in Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "viz" / "page"
BUILT = PAGE / "built"
TOOLS = ROOT / "build" / "page"  # where npm installs; outside of viz, which is a package
FILES = ("kernels.wasm", "page.js", "page.css")

# The flags of setup.py that numbers depend on, and what WebAssembly needs: 128-bit SIMD as every browser has it (not
# the relaxed kind), and no library.
COMPILE = [
    "-target", "wasm32-freestanding", "-mcpu=generic+simd128+bulk_memory", "-std=gnu11", "-O3", "-fno-math-errno",
    "-fno-trapping-math", "-ffp-contract=off", "-fno-sanitize=undefined", "-fvisibility=hidden", "-nostdlib", "-g0",
    "-Wall", "-Wextra", "-Wl,--no-entry", "-Wl,--export-dynamic", "-Wl,--gc-sections", "-Wl,--strip-all",
]  # fmt: skip


class Missing(Exception):
    """A tool is not installed; the message says which, and how to get it."""


def pinned_compiler() -> str:
    """The version of ziglang that pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for requirement in project["project"]["optional-dependencies"]["page"]:
        name, _, version = requirement.partition("==")
        if name == "ziglang":
            return version
    raise AssertionError("pyproject.toml: the extra page has no ziglang==…")


def check_tools() -> None:
    """Raise `Missing` unless everything that the build needs is there."""
    wanted = pinned_compiler()
    try:
        found = metadata.version("ziglang")
    except metadata.PackageNotFoundError:
        found = "none"
    if found != wanted:
        raise Missing(f"compiler: got ziglang {found}, expected {wanted}: pip install 'ziglang=={wanted}'")
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            raise Missing(f"{tool}: not found, expected Node.js 20 or newer with npm: apt-get install nodejs npm")


def install() -> None:
    """Install the tools of package-lock.json into build/page, unless they are there."""
    lock, stamp = PAGE / "package-lock.json", TOOLS / "installed"
    if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
        return
    TOOLS.mkdir(parents=True, exist_ok=True)
    for name in (".npmrc", "package.json", "package-lock.json"):
        shutil.copyfile(PAGE / name, TOOLS / name)
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=TOOLS, check=True)
    stamp.write_bytes(lock.read_bytes())


def build(out: Path) -> None:
    """Write all files of the page into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    compiler = [sys.executable, "-m", "ziglang", "cc", *COMPILE]
    subprocess.run([*compiler, "-o", str(out / "kernels.wasm"), "src/kernels/page.c"], cwd=ROOT, check=True)
    tools = TOOLS / "node_modules" / ".bin"
    subprocess.run([tools / "tsc", "-p", "."], cwd=PAGE, check=True)
    bundle = [tools / "esbuild", "--bundle", "--minify", "--charset=utf8", "--log-level=warning", "--target=es2022"]
    subprocess.run([*bundle, "--format=iife", "src/main.ts", f"--outfile={out / 'page.js'}"], cwd=PAGE, check=True)
    subprocess.run([*bundle, "src/page.css", f"--outfile={out / 'page.css'}"], cwd=PAGE, check=True)


def differing(out: Path) -> list[str]:
    """The files of viz/page/built that are not those in the folder `out`."""
    return [
        name for name in FILES
        if not (BUILT / name).exists() or (BUILT / name).read_bytes() != (out / name).read_bytes()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Build viz/page/built from its sources.")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--check", action="store_true", help="say whether viz/page/built is what its sources build")
    only.add_argument("--tools", action="store_true", help="install the tools, and build nothing")
    arguments = parser.parse_args()
    try:
        check_tools()
    except Missing as missing:
        print(f"make page: {missing}", file=sys.stderr)
        return 2
    install()
    if arguments.tools:
        return 0
    if not arguments.check:
        build(BUILT)
        sizes = ", ".join(f"{name} {(BUILT / name).stat().st_size:,} bytes" for name in FILES)
        print(f"viz/page/built: {sizes}")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder))
        wrong = differing(Path(folder))
    if wrong:
        print(f"viz/page/built: {', '.join(wrong)} are not what their sources build: run make page", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
