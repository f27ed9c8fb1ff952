"""viz/page/built is what its sources build, is small, and is all of the page that is installed."""

import importlib.util
import re
import subprocess
import sys
import zlib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BUILT = ROOT / "viz" / "page" / "built"
# Script, style sheet and WebAssembly together, in bytes.
LIMIT = 250_000


def build_page():
    """tools/build_page.py as a module."""
    spec = importlib.util.spec_from_file_location("build_page", ROOT / "tools" / "build_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_built_files_are_what_their_sources_build(node, tmp_path):
    tool = build_page()
    try:
        tool.check_tools()
    except tool.Missing as missing:
        pytest.skip(f"NOT TESTED: whether viz/page/built is what its sources build. {missing}")
    if not (tool.TOOLS / "node_modules").exists():
        pytest.skip("NOT TESTED: whether viz/page/built is what its sources build. Tools are not installed: make page")
    tool.build(tmp_path)
    assert tool.differing(tmp_path) == []


def test_a_missing_tool_is_named_with_the_way_to_get_it(monkeypatch):
    tool = build_page()
    monkeypatch.setattr(tool.shutil, "which", lambda name: None)
    monkeypatch.setattr(tool.metadata, "version", lambda name: tool.pinned_compiler())
    with pytest.raises(tool.Missing, match=r"node: not found, expected .*: apt-get install nodejs npm"):
        tool.check_tools()

    def none(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(tool.metadata, "version", none)
    with pytest.raises(tool.Missing, match=r"compiler: got ziglang none, expected [\d.]+: pip install 'ziglang=="):
        tool.check_tools()


def test_the_page_is_small():
    sizes = {path.name: path.stat().st_size for path in BUILT.iterdir()}
    assert sizes.keys() == {"kernels.wasm", "page.js", "page.css"}
    assert sum(sizes.values()) <= LIMIT, sizes
    assert len(zlib.compress((BUILT / "kernels.wasm").read_bytes(), 9)) < 40_000


def test_the_built_files_name_no_address_and_no_machine():
    script = (BUILT / "page.js").read_text(encoding="utf-8") + (BUILT / "page.css").read_text(encoding="utf-8")
    assert re.findall(r"https?:|//[a-z]+\.|/home/|/root/|/tmp/", script) == []
    assert re.findall(rb"/home/|/root/|/tmp/|\.cache|zig", (BUILT / "kernels.wasm").read_bytes()) == []


def test_the_lock_file_names_no_registry():
    for name in ("package-lock.json", "package.json"):
        assert "://" not in (BUILT.parent / name).read_text(encoding="utf-8").replace('"url": "https://', "")


def test_make_page_says_what_is_missing(tmp_path):
    """On a machine without Node.js, in one line."""
    command = [sys.executable, str(ROOT / "tools" / "build_page.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": str(tmp_path)})
    assert done.returncode == 2
    assert re.fullmatch(r"make page: (node|npm|compiler): .*\n", done.stderr)
