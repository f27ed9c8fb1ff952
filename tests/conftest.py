"""Shared by all test folders: `import twin` and `import support` work from each; fixtures; the order of tests."""

import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))


def pytest_ignore_collect(collection_path, config):
    """With `-m timing`, files that have no such test are not even imported: all of them together take long."""
    if config.option.markexpr == "timing" and collection_path.match("test_*.py"):
        return "mark.timing" not in collection_path.read_text("utf-8") or None
    return None


def pytest_collection_modifyitems(config, items):
    """Where processes share the tests, files with slow ones come first: none should begin when little else is left."""
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def devices(tmp_path_factory):
    """A folder with device nodes `full` and `null`, so that a fault cannot destroy those of /dev when run as root."""
    folder = tmp_path_factory.mktemp("dev")
    try:
        for name, minor in (("full", 7), ("null", 3)):
            os.mknod(folder / name, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
            (folder / name).write_bytes(b"")
    except PermissionError:
        if os.geteuid() == 0:
            pytest.skip("no device nodes can be made here")
        return Path("/dev")  # only root could replace these
    return folder


@pytest.fixture
def rng(request):
    """Random numbers that differ between tests and are the same on every run."""
    return np.random.default_rng(list(request.node.name.encode()))
