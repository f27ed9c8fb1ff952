"""The page in a real browser, with the network off: what is shown to a reader, and that nothing else happens."""

import json
import subprocess

import numpy as np
import pytest
from base_cases import ALPHABET, networks

import rnncore as rc
from rnncore import viz
from rnncore.nn import SequenceModel, sequence_model, token_nll

pytestmark = pytest.mark.slow

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&amp;\u202eab\U0001f600e\u0301\x00c</textarea>"
TEXT = "abcdefghij klmnop qrs abc abc fed"


@pytest.fixture(scope="module")
def models():
    return {name: network for name, network in networks()[1].items() if name in ("lstm", "gru", "rnn-sigmoid")}


@pytest.fixture(scope="module")
def seen(browser, models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    page = viz.explore(models, folder / "page.html", vocabulary=ALPHABET, examples={"one": TEXT}, title=HOSTILE)
    run, environment = browser
    script = run[1].replace("in_browser", "use_page")
    arguments = [str(page), str(folder / "seen.json"), json.dumps(HOSTILE)]
    subprocess.run([run[0], script, *arguments], check=True, env=environment)
    return json.loads((folder / "seen.json").read_text())


def number(text):
    """A number as the page writes it."""
    for ours, theirs in (("−", "-"), ("·10", "e"), ("⁻", "-"), *zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789", strict=True)):
        text = text.replace(ours, theirs)
    return float(text)


def table(readout):
    return {line.split()[0]: [number(cell) for cell in line.split()[1:]]
            for line in readout.splitlines() if line.split()[:1] and line.split()[0] in ("lstm", "gru", "rnn-sigmoid")}


def by_engine(model, text, target, step):
    """The readout's numbers: the loss of symbol `step`, and norms of the gradient of the loss of symbol `target`."""
    tokens = np.array([ALPHABET.index(symbol) for symbol in text])[:, None]
    record = model.record(tokens)
    nll = token_nll(record.output[:-1], tokens[1:])[:, 0]
    counted = np.zeros((len(text) - 1, 1), bool)
    counted[target - 1] = True
    _, grad = rc.nn.cross_entropy(record.output[:-1], tokens[1:], mask=counted)
    record.backward(np.concatenate([grad, np.zeros_like(record.output[-1:])]))
    flow = viz.gradient_flow(record.tape)
    norms = [flow["l0.h"][step, 0]] + ([flow["l0.c"][step, 0]] if "l0.c" in flow else [])
    return [nll[step - 1], *norms]


def test_nothing_is_said_or_asked_for(seen):
    assert seen["said"] == []
    assert [url for url in seen["requests"] if not url.startswith("file:")] == []
    assert len(seen["requests"]) == 2  # the page, and the page again by its link
    assert seen["elements"] == 0  # the hostile text made none


def test_no_serious_barrier_is_found(seen):
    assert [barrier for barrier in seen["barriers"] if barrier.startswith(("serious", "critical"))] == []


def test_the_first_picture_comes_soon(seen):
    assert seen["firstPicture"] < 10_000  # ms; a machine that runs other tests meanwhile is no measure of 2 s
    assert seen["first"]["names"] == ["lstm", "gru", "rnn-sigmoid"]


def test_typing_changes_every_view(seen):
    before, after = seen["first"], seen["typed"]
    assert "".join(symbol for symbol, *_ in after["coloured"]) == TEXT + "abc"
    for name in ("sentence", "note", "readout", "predictions"):
        assert before[name] != after[name], name
    assert before["pictures"].keys() == after["pictures"].keys()
    assert len(before["pictures"]) == 7  # three lanes, gradient, loss, Jacobians, and h: a cell without gates
    for name, digest in before["pictures"].items():
        assert digest != after["pictures"][name], name


def test_a_click_in_the_text_looks_at_the_symbol_left_of_the_caret(seen):
    marked = [i for i, (_, kind, _) in enumerate(seen["looked"]["coloured"]) if kind == "target"]
    assert marked == [4]
    coloured = [bool(colour) for _, _, colour in seen["looked"]["coloured"]]
    assert any(coloured[:4])
    assert not any(coloured[4:])


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn-sigmoid"])
def test_the_readout_has_the_numbers_of_the_engine(seen, models, name):
    for view, target, step in (("looked", 4, 3), ("moved", 4, 1), ("entered", 1, 1)):
        shown = table(seen[view]["readout"])[name][:-1]  # without the gradient of the input
        expected = by_engine(models[name], TEXT + "abc", target, step)
        np.testing.assert_allclose(shown, expected, rtol=6e-2, err_msg=f"{view}: two digits are shown of small numbers")
        large = [(got, want) for got, want in zip(shown, expected, strict=True) if abs(want) >= 1e-3]
        np.testing.assert_allclose(*zip(*large, strict=True), rtol=5.1e-3)


def test_the_keyboard_moves_the_cursor_and_chooses(seen):
    assert seen["looked"]["cursor"] is None
    assert seen["moved"]["cursor"]
    assert [i for i, (_, kind, _) in enumerate(seen["entered"]["coloured"]) if kind == "target"] == [1]
    assert "rnn-sigmoid" not in seen["focused"]["readout"].splitlines()[-1]
    assert seen["focused"]["readout"].splitlines()[-1].startswith("lstm")


def test_dark_is_drawn_in_other_colours(seen):
    light, dark = seen["focused"]["pictures"], seen["dark"]["pictures"]
    assert all(light[name] != dark[name] for name in light)


def test_a_link_shows_the_same(seen):
    assert "look=1" in seen["address"]
    same = ("sentence", "readout", "predictions", "coloured", "names", "pictures")
    lags = "Norm of the Jacobian of the state against the lag, logarithmic, for each network"  # perhaps unfinished
    for view in (seen["dark"], seen["linked"]):
        view["pictures"].pop(lags)
    assert {name: seen["linked"][name] for name in same} == {name: seen["dark"][name] for name in same}


def test_unknown_symbols_are_marked_and_not_read(seen):
    shown = seen["hostile"]
    unknown = [symbol for symbol, kind, _ in shown["coloured"] if kind == "unknown"]
    assert {"<", "\U0001f600", "\u202e"} <= set(unknown)
    known = [symbol for symbol in HOSTILE if symbol in ALPHABET]
    assert f"{len(known)} steps" in shown["note"]
    assert "never learnt" in shown["note"]
    assert shown["overflow"] <= 0


def test_short_and_long_texts(seen):
    assert "998,000 more are left out" in seen["long"]["note"]
    assert "at least two" in seen["empty"]["note"]
    assert "at least two" in seen["one"]["note"]


def planted():
    """A network in which unit 5 counts open brackets: h' = relu(h + 1) at "(" and relu(h − 1) at ")"."""
    model = sequence_model("rnn", len(BRACKETS), hidden_size=9, embedding_size=4, seed=2)
    model = SequenceModel(model.embedding, rc.RNN(4, 9, nonlinearity="relu", seed=3), model.head)
    with model.writable() as weights:
        weights["embedding.weight"][:, :2] = 0
        weights["embedding.weight"][BRACKETS.index("("), 0] = 1
        weights["embedding.weight"][BRACKETS.index(")"), 1] = 1
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            weights[f"layer.{name}_l0"][5] = 0
        weights["layer.weight_ih_l0"][5, :2] = 1, -1
        weights["layer.weight_hh_l0"][5, 5] = 1
    return model


BRACKETS = "()abc "
NESTED = "ab (ca (b) ac) ab (c) bab (ac (ab (c) b)) ca"


def test_a_planted_unit_is_found(browser, tmp_path):
    marks, depth = "", 0
    for symbol in NESTED:
        depth += (symbol == "(") - (symbol == ")")
        marks += "." if symbol in "()" else "+" if depth else "-"
    page = viz.explore(planted(), tmp_path / "page.html", vocabulary=BRACKETS, examples={"nested": NESTED})
    run, environment = browser
    script = run[1].replace("in_browser", "find_unit")
    subprocess.run([run[0], script, str(page), str(tmp_path / "found.json"), marks], check=True, env=environment)
    found = json.loads((tmp_path / "found.json").read_text())
    (first, score), (_, second) = found["byKeys"][:2]
    assert first == "unit 5"
    assert number(score.removeprefix("score ")) > 0.5 > number(second.removeprefix("score "))
    assert found["cleared"] == []
    assert len(found["byMouse"]) == 4
    assert found["said"] == []
