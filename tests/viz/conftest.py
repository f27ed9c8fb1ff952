"""Pictures are drawn without a window, closed, and change no setting."""

import pytest


@pytest.fixture
def plt(monkeypatch):
    """pyplot, watched: a plot must not show, change rcParams or leave figures open."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    def refuse(*args, **kwargs):
        raise AssertionError("a plot called show")

    monkeypatch.setattr(plt, "show", refuse)
    monkeypatch.setattr("matplotlib.figure.Figure.show", refuse)
    plt.close("all")
    before = dict(matplotlib.rcParams)
    yield plt
    assert dict(matplotlib.rcParams) == before, "rcParams changed"
    assert len(plt.get_fignums()) <= 1, "figures left open"
    plt.close("all")
