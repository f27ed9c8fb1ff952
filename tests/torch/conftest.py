"""Fixtures of the tests of rnncore.torch, which need torch."""

import pytest

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def _seeded(request):
    """torch's generator, different for each test and the same on every run."""
    torch.manual_seed(sum(request.node.name.encode()))
