"""At run time a new measure or plot takes one file in its folder, with no change elsewhere."""

import sys

import numpy as np
import pytest
from rnncore.viz._discover import public_names

from rnncore import viz

MEASURE = '''
import numpy as np
__all__ = ["loudest"]
def loudest(tape):
    """(T, B): the largest |h| of every step."""
    return np.abs(tape["l0.h"]).max(-1)
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty package on the path."""
    package = tmp_path / "some_measures"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    for name in [n for n in sys.modules if n.startswith("some_measures")]:
        del sys.modules[name]


def test_a_new_measure_takes_one_file(folder):
    (folder / "loudest.py").write_text(MEASURE)
    (folder / "_private.py").write_text("raise RuntimeError")
    namespace = {}
    assert public_names("some_measures", [str(folder)], namespace) == ["loudest"]

    class Tape(dict):
        pass

    tape = Tape({"l0.h": np.array([[[1.0, -3.0]]])})
    assert namespace["loudest"](tape).tolist() == [[3]]


def test_one_name_twice_is_refused(folder):
    (folder / "a.py").write_text(MEASURE)
    (folder / "b.py").write_text(MEASURE)
    with pytest.raises(ImportError, match=r"'loudest' is defined in some_measures\.a already"):
        public_names("some_measures", [str(folder)], {})


def test_viz_exports_the_names_of_its_packages():
    assert set(viz.measures.__all__) | set(viz.plots.__all__) <= set(dir(viz))
    for name in viz.__all__:
        assert getattr(viz, name) is not None
    # a module and its function may share a name: the function wins
    assert callable(viz.horizon)
    assert callable(viz.measures.horizon)
    with pytest.raises(AttributeError, match="no attribute 'horizont'"):
        _ = viz.horizont
