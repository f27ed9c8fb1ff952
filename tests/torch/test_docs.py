"""The examples of docs/from_torch.md run, one after the other, and print what the page says."""

import re
from pathlib import Path

import pytest
from torch_pairs import torch

import rnncore.torch as rt

PAGE = Path(__file__).resolve().parents[2] / "docs" / "from_torch.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not installed with the package")
def test_the_page_runs(tmp_path, monkeypatch, capsys):
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 6
    names: dict = {}
    printed = []
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
        printed.append(capsys.readouterr().out)
    plt.close("all")
    assert printed[0].strip() in text
    gate, shape = printed[2].splitlines()
    assert 0.3 < float(gate) < 0.7              # new weights: half open
    assert shape in text
    loss, restored = printed[4].splitlines()
    assert float(loss) < 1.2                    # from ln 5 = 1.61
    assert restored == "rnncore.torch.restore: 1 restored: 'lstm' (LSTM)"
    assert type(names["model"].lstm) is torch.nn.LSTM
    assert type(names["gru"]) is rt.GRU
    name, layer = printed[5].strip().split(" ", 1)
    assert name == "lstm"
    assert layer.startswith("LSTM(16, 32, num_layers=2")


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell"])
def test_the_page_names_all_modules(kind):
    assert f"`rt.{kind}`" in PAGE.read_text("utf-8")


def test_the_examples_of_docstrings_run():
    import doctest
    import importlib

    failed = tested = 0
    for name in ("modules", "cells", "swapping"):
        found = doctest.testmod(importlib.import_module(f"rnncore.torch.{name}"))
        failed, tested = failed + found.failed, tested + found.attempted
    assert failed == 0
    assert tested >= 15
