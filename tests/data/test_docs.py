"""The examples of docs/data.md run, one after the other, and do what the page says."""

import re
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "data.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not installed with the package")
def test_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 4
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    bits, _, forecast = capsys.readouterr().out.partition(" bits per character")
    assert float(bits) < np.log2(len(names["corpus"].vocabulary)) - 1
    expected = 20 + 5 * np.sin(np.arange(1000, 1004) / 8)
    assert np.abs(np.array(forecast.strip(" \n[]").split(), float) - expected).max() < 1
