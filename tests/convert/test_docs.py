"""The examples of the pages on conversion run and print what the pages say, and every cell of the table is true."""

import doctest
import importlib
import re
from pathlib import Path

import pytest
from support import close

import rnncore as rc
from rnncore import convert

DOCS = Path(__file__).resolve().parents[2] / "docs"
pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="the documentation is not installed with the package")
for name in ("torch", "keras", "onnx"):
    pytest.importorskip(name)


def run(page, tmp_path, monkeypatch, capsys):
    """All blocks of a page, one after the other; what each printed, in one list."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(DOCS / page), "exec"), names)
    return capsys.readouterr().out.splitlines(), names


def test_coming_from_keras(tmp_path, monkeypatch, capsys):
    printed, names = run("from_keras.md", tmp_path, monkeypatch, capsys)
    assert printed == ["LSTM(3, 8, batch_first=True, dtype='float32')", "True", "both KerasLayer", "top LSTM",
                       "(2, 10, 8) (10, 2, 8)"]
    assert not names["y"][0, :2].any()
    model, top = names["model"], names["top"]
    same = dict(convert.from_keras(model))["top"].state_dict()
    assert all((top.state_dict()[key] == same[key]).all() for key in same)
    expected = model.get_layer("both").forward_layer(names["embedded"], mask=names["mask"])
    close(names["y"], expected.detach().numpy(), 1e-5)


def test_from_onnx(tmp_path, monkeypatch, capsys):
    printed, _ = run("from_onnx.md", tmp_path, monkeypatch, capsys)
    assert printed[:2] == ["['prediction', 'h_n']", "True"]
    assert printed[-1] == "(15, 4, 8)"


def test_audio(tmp_path, monkeypatch, capsys):
    printed, names = run("audio.md", tmp_path, monkeypatch, capsys)
    text = (DOCS / "audio.md").read_text("utf-8")
    assert f"# {printed[0]}" in text
    assert names["y"].shape == (4800,)
    assert names["loss"] < 1


def test_the_examples_of_docstrings_run():
    tested = 0
    for path in sorted(Path(convert.__file__).parent.glob("*.py")):
        module = importlib.import_module(f"rnncore.convert.{path.stem}")
        found = doctest.testmod(module)
        assert found.failed == 0, path.name
        tested += found.attempted
    assert tested >= 30


# ---- the table ----------------------------------------------------------------------------------

# For each row of the table a layer with the option.
ROWS = {
    "several layers": lambda: rc.LSTM(3, 4, 2, seed=0),
    "both directions": lambda: rc.GRU(3, 4, bidirectional=True, seed=0),
    "backwards only": lambda: convert.KerasLayer(rc.GRU(3, 4, seed=0), go_backwards=True),
    "outputs of both directions merged": lambda: convert.KerasLayer(rc.GRU(3, 4, bidirectional=True, seed=0), "sum"),
    "no bias": lambda: rc.LSTM(3, 4, bias=False, seed=0),
    "batch first": lambda: rc.LSTM(3, 4, batch_first=True, seed=0),
    "rows of unequal length": lambda: rc.GRU(3, 4, seed=0),
    "GRU, reset after the product": lambda: rc.GRU(3, 4, seed=0),
    "GRU, reset before the product": lambda: rc.GRU(3, 4, reset_after=False, seed=0),
    "RNN with relu": lambda: rc.RNN(3, 4, nonlinearity="relu", seed=0),
    "RNN with a sigmoid": lambda: rc.RNN(3, 4, nonlinearity="sigmoid", seed=0),
    "LSTM, projection of h": lambda: rc.LSTM(3, 4, proj_size=2, seed=0),
    "LSTM, peepholes": lambda: rc.LSTM(3, 4, peepholes=True, seed=0),
    "LSTM, f = 1 − i": lambda: rc.LSTM(3, 4, coupled=True, seed=0),
    "LSTM, bound of c": lambda: rc.LSTM(3, 4, cell_clip=0.2, seed=0),
    "bound of what goes into the gates": lambda: rc.GRU(3, 4, gate_clip=0.3, seed=0),
    "other activations": lambda: rc.GRU(3, 4, activations=["softsign", "relu"], seed=0),
    "activations that differ by direction": lambda: rc.GRU(
        3, 4, activations=["sigmoid", "relu", "sigmoid", "softsign"], bidirectional=True, seed=0),
}


def table():
    lines = [line.strip("|").split("|") for line in (DOCS / "conversions.md").read_text("utf-8").splitlines()
             if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line] for line in lines]
    assert head == ["option", "torch", "Keras", "ONNX", "rnncore"]
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


def by_torch(layer, x):
    import torch

    module = convert.to_torch(layer)
    with torch.no_grad():
        return module(torch.from_numpy(x))[0].numpy()


def by_keras(layer, x):
    import keras

    first = layer.layer.batch_first if isinstance(layer, convert.KerasLayer) else layer.batch_first
    y = keras.ops.convert_to_numpy(convert.to_keras(layer)(x if first else x.swapaxes(0, 1)))
    return y if first else y.swapaxes(0, 1)


def by_onnx(layer, x):
    import onnxruntime as ort

    session = ort.InferenceSession(convert.to_onnx(layer).SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


BY = {"torch": by_torch, "Keras": by_keras, "ONNX": by_onnx}
# Read from ONNX, and not written to it: tests/convert/test_onnx.py.
READ_ALONE = {("backwards only", "ONNX")}


def test_the_table_has_these_rows():
    assert list(table()) == list(ROWS)


@pytest.mark.parametrize("library", BY)
@pytest.mark.parametrize("row", ROWS)
def test_a_cell_of_the_table(row, library, rng):
    layer, cell = ROWS[row](), table()[row][library]
    assert table()[row]["rnncore"] != "—"
    x = rng.normal(size=(5, 2, 3)).astype("float32")
    if cell == "—":
        with pytest.raises((NotImplementedError, TypeError), match=rf"^to_{library.lower()}: got"):
            BY[library](layer, x)
    elif (row, library) not in READ_ALONE:
        close(BY[library](layer, x), layer(x)[0], 1e-5)
