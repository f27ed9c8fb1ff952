"""The tools that the page's tests need. Without them its tests are skipped, and each skip says what was not tested."""

import os
import shutil
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE))  # base_cases, which also runs alone
PLAYWRIGHT = ROOT / "build" / "page" / "node_modules" / "playwright-core"


def missing(what, untested):
    pytest.skip(f"NOT TESTED: {untested}. {what}")


@pytest.fixture(scope="session")
def node():
    """The command that runs a page's script in Node.js."""
    found = shutil.which("node")
    if found is None:
        missing("There is no node: apt-get install nodejs", "the page's numbers, against the engine's")
    return [found, str(HERE / "run_page.mjs")]


@pytest.fixture(scope="session")
def browser(node):
    """The command that runs a page in Chromium: in_browser.mjs, with what it needs in its environment."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        missing("There is no Chromium: apt-get install chromium", "the page in a browser")
    if not PLAYWRIGHT.exists():
        missing("playwright-core is not installed: make page", "the page in a browser")
    environment = {"CHROMIUM": chromium, "PLAYWRIGHT": str(PLAYWRIGHT / "index.mjs")}
    environment["AXE"] = str(PLAYWRIGHT.parent / "axe-core" / "axe.min.js")
    return [node[0], str(HERE / "in_browser.mjs")], os.environ | environment
