"""What all rooms share: `import twin` and `import support` work from any folder; markers."""

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
def rng(request):
    """Its own random numbers for every test, the same on every run."""
    return np.random.default_rng(list(request.node.name.encode()))
