"""Shared by all test folders: `import twin` and `import support` work from each; markers; fixtures."""

import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "timing: measures time; run it alone (-m timing) when a machine is busy"
    )


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
