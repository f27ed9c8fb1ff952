"""What the documentation shows works: the custom measure and plot; and the gallery draws every plot."""

import re
import runpy
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import rnncore
from rnncore import viz

ROOT = Path(__file__).resolve().parents[2]
GALLERY = ROOT / "docs" / "gallery"


def test_a_measure_and_a_plot_are_one_file_each(tmp_path):
    """The files of docs/custom_measure.md, dropped into a copy of viz and nothing else changed."""
    text = (ROOT / "docs" / "custom_measure.md").read_text(encoding="utf-8")
    files = re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", text, re.DOTALL)
    assert [name for name, _ in files] == [
        "measures/effective_dimension.py", "plots/effective_dimension.py"]  # fmt: skip
    shutil.copytree(Path(viz.__file__).parent, tmp_path / "viz")
    for name, source in files:
        (tmp_path / "viz" / name).write_text(source, encoding="utf-8")
    script = f"""
        import rnncore
        rnncore.__path__.insert(0, {str(tmp_path)!r})
        import numpy as np
        from matplotlib.figure import Figure
        from rnncore import viz
        assert viz.__file__.startswith({str(tmp_path)!r}), viz.__file__
        assert "effective_dimension" in viz.__all__ and "plot_effective_dimension" in viz.__all__
        x = np.random.default_rng(0).normal(size=(50, 4, 3))
        tape = rnncore.LSTM(3, 8, 2, seed=0).record(x)
        found = viz.effective_dimension(tape)
        h = tape["l0.h"].reshape(-1, 8).astype("float64")
        spectrum = np.linalg.eigvalsh(np.cov(h.T))
        np.testing.assert_allclose(found["l0"], spectrum.sum() ** 2 / (spectrum ** 2).sum())
        ax = viz.plot_effective_dimension(tape, Figure().subplots())
        assert [bar.get_height() for bar in ax.patches] == list(found.values())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True,
        cwd=tmp_path, env={"MPLBACKEND": "Agg", "PATH": "/usr/bin:/bin",
                           "PYTHONPATH": str(Path(rnncore.__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_gallery_draws_every_plot():
    found = []
    for name in ("pictures", "models"):
        found += runpy.run_path(str(GALLERY / f"{name}.py"))["drawn"]()
    assert sorted(found) == sorted(viz.plots.__all__)


@pytest.mark.slow
def test_the_gallery_runs(tmp_path):
    done = subprocess.run(
        [sys.executable, str(GALLERY), "--out", str(tmp_path), "--updates", "4"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = {path.stem for path in tmp_path.iterdir()}
    shown = set()
    for page in ("gallery.md", "memory.md"):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        shown |= set(re.findall(r"\(img/(\w+)\.png\)", text))
    assert shown == names
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_numbers_of_the_book_are_measured():
    """The paces in the table of docs/memory.md, from the networks that its pictures draw."""
    text = (ROOT / "docs" / "memory.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .+? \| .+? \| .+? \| (.*every [\d.]+.*) \| (.*) \|$", text, re.M)
    assert len(rows) == 5
    runs = runpy.run_path(str(GALLERY / "memory.py"))["at_the_start"]()
    for column, name in enumerate(("memory_lstm", "memory_gru")):
        for row, (label, norms) in zip(rows, runs[name][1].items(), strict=True):
            said = row[column].removesuffix(" steps")
            verb, _, steps = said.rpartition("every ")
            rate = np.median(viz.decay_rate(norms))
            assert (rate > 0) == ("doubles" in verb), label
            assert abs(np.log(2) / rate) == pytest.approx(float(steps), rel=0.02), label


@pytest.mark.parametrize(("page", "pictures"), [("models.md", 9), ("memory.md", 5)])
@pytest.mark.filterwarnings("ignore:HiddenMarkov. fitted 47 parameters")  # to eight names, to show the interface
def test_the_examples_of_the_book_run(page, pictures, monkeypatch):
    """One after the other, as a reader would; those with `>>>` print what their test file checks."""
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    drawn = []
    for name in viz.plots.__all__:
        monkeypatch.setattr(viz, name, _counting(getattr(viz, name), drawn))
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    names: dict = {}
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        if not block.startswith(">>>"):
            exec(compile(block, page, "exec"), names)
            plt.close("all")
    assert len(drawn) == pictures


def _counting(function, calls):
    def counted(*args, **options):
        calls.append(function.__name__)
        return function(*args, **options)

    return counted


def test_pictures_that_the_book_shows_are_there():
    for page in (ROOT / "docs").glob("*.md"):
        for name in re.findall(r"\((img/[\w/]+\.png)\)", page.read_text(encoding="utf-8")):
            assert (ROOT / "docs" / name).exists(), f"{page.name}: {name}"
