"""Every table that comes with statsmodels goes through `rnncore compare`, with a small budget of training."""

import json
from pathlib import Path

import pytest
from statsmodels import datasets

from rnncore.command.cli import main
from rnncore.command.compare import series
from rnncore.data import read_table

TABLES = sorted(Path(datasets.__file__).parent.glob("*/*.csv"))
# What counts time in these tables, and is not modelled.
INDEX = {"co2": "date", "elec_equip": "DATE", "data": "period", "macrodata": "year with quarter", "nile": "year",
         "E6": "year with quarter", "elnino": "YEAR", "sunspots": "YEAR"}


@pytest.mark.slow
@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_a_table_gives_a_result_and_says_what_it_is_worth(path, tmp_path, capsys):
    status = main(["compare", str(path), "--out", str(tmp_path), "--limit", "200", "--hidden", "4", "--epochs", "3"])
    out, err = capsys.readouterr()
    if status == 2:
        assert err.startswith("rnncore compare: ")
        assert err.count("\n") == 1
        assert "too short" in err
        assert len(path.read_bytes().splitlines()) <= series.SHORTEST
        return
    assert status == 0
    told = json.loads((tmp_path / "compare.json").read_text())
    assert told["data"]["index"] == INDEX.get(path.stem, "")
    assert not {"year", "quarter", "YEAR", "date", "DATE", "period", "TIME"} & set(told["data"]["columns"])
    losses = {row["name"]: row["scaled_error"] for row in told["models"]}
    simple = min(loss for name, loss in losses.items() if "ersistence" in name)
    best = min(loss for name, loss in losses.items() if "ersistence" not in name)
    if best < simple:
        assert "predicts best: its error is" in out
    else:
        assert "No model predicts better than" in out


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_the_index_is_found(path):
    table = read_table(path)
    known = INDEX | {"longley": "YEAR", "copper": "YEAR", "spector": "OBS"}      # these are too short to be compared
    assert table.index == known.get(path.stem, "")
    assert table.index not in table.columns
