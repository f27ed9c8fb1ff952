"""The page in a real browser, with the network off: what is shown to a reader, and that nothing else happens."""

import base64
import json
import re
import struct
import subprocess
from xml.etree import ElementTree

import numpy as np
import pytest
from base_cases import ALPHABET, networks
from rnncore.viz.page.notebook import NotebookPage

import rnncore as rc
from rnncore import viz
from rnncore.nn import Embedding, Linear, SequenceModel, sequence_model, token_nll

pytestmark = pytest.mark.slow

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&amp;\u202eab\U0001f600e\u0301\x00c</textarea>"
TEXT = "abcdefghij klmnop qrs abc abc fed"


@pytest.fixture(scope="module")
def models():
    return {name: network for name, network in networks()[1].items() if name in ("lstm", "gru", "rnn-sigmoid")}


@pytest.fixture(scope="module")
def seen(browser, models, tmp_path_factory):
    """What a reader sees who uses the pages; one browser for all of them."""
    folder = tmp_path_factory.mktemp("page")
    text = viz.explore(models, folder / "page.html", vocabulary=ALPHABET, examples={"one": TEXT}, title=HOSTILE)
    nested = viz.explore(planted(), folder / "planted.html", vocabulary=BRACKETS, examples={"nested": NESTED})
    rows = np.random.default_rng(0).normal(size=(40, 2)).round(3)
    numbers = viz.explore(rc.GRU(2, 5, seed=0), folder / "rows.html", examples={"rows": rows})
    frames = "".join(NotebookPage(text.read_text(encoding="utf-8"))._repr_html_() for _ in range(2))
    (folder / "notebook.html").write_text(f"<!doctype html><title>two</title>{frames}", encoding="utf-8")
    of_labels = viz.explore(labelled(), folder / "labels.html", vocabulary=ALPHABET, examples={"one": TEXT})
    jobs = {"text": str(text), "hostile": HOSTILE, "planted": str(nested), "marks": bracket_marks(),
            "rows": str(numbers), "notebook": str(folder / "notebook.html"), "labels": str(of_labels)}
    (folder / "jobs.json").write_text(json.dumps(jobs))
    run, environment = browser
    script = run[1].replace("in_browser", "use_page")
    arguments = [str(folder / "jobs.json"), str(folder / "seen.json")]
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
    tokens = tokens_of(text)
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
    legend = "Colours from a ten-thousandth to all of the largest gradient"
    # three lanes, gradient, loss, Jacobians, h (a cell without gates), the cell and the unrolled network
    assert len(before["pictures"].keys() - {legend}) == 9
    for name, digest in before["pictures"].items():
        if name == legend:
            continue
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
    assert seen["entered"]["cell"].startswith("rnn-sigmoid at step 1: ")
    assert seen["focused"]["cell"].startswith("lstm at step 1: ")


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


def told(label):
    """The numbers of the cell's boxes, of its words for people who do not see it."""
    return {part.split()[0]: number(part.split()[-1]) for part in label.split(": ", 1)[1].split(", ")}


def test_the_cell_shows_the_values_of_the_engine(seen, models):
    tape = models["lstm"].record(tokens_of(TEXT + "abc")).tape
    for view, one in (("focused", np.mean), ("unit", None)):
        step = int(re.search(r"at step (\d+)", seen[view]["cell"])[1])
        if one is None:
            unit = int(re.search(r"unit (\d+)", seen["order"][12])[1])
            one = lambda values, unit=unit: values[unit]  # noqa: E731
        expected = {"f": tape["l0.f"][step], "i": tape["l0.i"][step], "g": tape["l0.g"][step], "o": tape["l0.o"][step],
                    "cₜ": tape["l0.c"][step], "hₜ": tape["l0.h"][step]}
        if step:
            expected |= {"cₜ₋₁": tape["l0.c"][step - 1], "hₜ₋₁": tape["l0.h"][step - 1]}
        shown = told(seen[view]["cell"])
        assert shown.keys() >= expected.keys()
        for name, values in expected.items():
            assert shown[name] == pytest.approx(one(values[0]), rel=6e-3, abs=1e-6), f"{view}: {name}"


def test_the_order_of_likeness_is_that_of_the_measure(seen, models):
    """Up to where the circle of angles begins, and its direction."""
    shown = [int(re.search(r"unit (\d+)", told)[1]) for told in seen["order"]]
    values = [number(told.split("= ")[1]) for told in seen["order"]]
    tape = models["lstm"].record(tokens_of(TEXT + "abc")).tape
    np.testing.assert_allclose(values, tape["l0.f"][0, 0, shown], rtol=6e-3)
    order = viz.unit_order(tape, by="likeness").tolist()
    assert sorted(shown) == sorted(order)
    turned = [order[k:] + order[:k] for k in range(len(order))]
    assert shown in turned or shown[::-1] in turned


def finding(model, text):
    """What the page says about a network that reads a text, and is asked for its last symbol: computed by numpy."""
    tokens = tokens_of(text)
    record = model.record(tokens)
    counted = np.zeros((len(text) - 1, 1), bool)
    counted[-1] = True
    _, grad = rc.nn.cross_entropy(record.output[:-1], tokens[1:], mask=counted)
    grad = np.concatenate([grad, np.zeros_like(record.output[-1:])])
    tape = record.tape
    grads = tape.backward(grad @ model.state_dict()["head.weight"])
    dependence = np.linalg.norm(grads.input[:, 0], axis=-1)
    step = len(text) - 2
    reach = step - int(np.argmax(dependence >= 0.01 * dependence.max()))
    state, h = ("c" if "l0.c" in tape.names() else "h"), tape["l0.h"][:, 0]
    g = tape.grad[f"l0.{state}"][:, 0]
    factor = {"lstm": lambda: tape["l0.f"][:, 0], "gru": lambda: tape["l0.z"][:, 0]}.get(
        tape.cell.kernel, lambda: h * (1 - h))()
    path = slice(step - reach if reach < step else 1, step + 1)
    path = np.linalg.norm(g * factor, axis=-1)[path] / np.linalg.norm(g, axis=-1)[path]
    return reach, float(np.exp(np.log(path).mean())), float(path.min()), step - len(path) + 1 + int(path.argmin())


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn-sigmoid"])
def test_the_sentence_about_a_network_has_the_numbers_of_the_engine(seen, models, name):
    reach, through, least, at = finding(models[name], TEXT)
    (sentence,) = [text for text in seen["first"]["findings"] if text.startswith(f"{name} ")]
    assert f"{reach} step{'' if reach == 1 else 's'}" in sentence
    shares = [number(share) / 100 for share in re.findall(r"([\d.]+) %", sentence)]
    assert any(share == pytest.approx(through, abs=0.0051) for share in shares), sentence
    if "and only" in sentence:
        assert shares[-1] == pytest.approx(least, abs=0.0051), sentence
        assert f"at step {at} " in sentence
    gate = {"lstm": "forget gate", "gru": "update gate", "rnn-sigmoid": "sigmoid"}[name]
    assert gate in sentence


def test_a_breakpoint_is_jumped_to(seen):
    assert "10⁻⁴ of the gradient is left" in seen["first"]["breakpoints"][0]
    step = re.match(r"step (\d+)", seen["first"]["breakpoints"][0])[1]
    assert f"at step {step}:" in seen["jumped"]["cell"]
    assert seen["first"]["cursor"] is None
    assert seen["jumped"]["cursor"]


def test_zoom_follows_the_cursor_and_play_moves_it(seen):
    assert seen["zoomed"]["pictures"] != seen["focused"]["pictures"]
    assert seen["panned"]["cursor"]  # the columns have moved so that it is still shown
    assert "at step 25:" in seen["panned"]["cell"]
    assert int(re.search(r"at step (\d+)", seen["played"]["cell"])[1]) >= 3


def test_the_key_tab_reaches_everything(seen):
    assert len(seen["reached"]) == seen["usable"]
    assert {"▶ play", "Zoom in", "Order of the units", "Which unit the cell shows"} <= set(seen["reached"])


def test_the_page_is_saved_as_it_is_seen(seen):
    svg = ElementTree.fromstring(base64.b64decode(seen["saved"]["SVG"]))
    of = {kind: [one for one in svg.iter() if one.tag.endswith(f"}}{kind}")] for kind in ("text", "path", "image")}
    texts = [one.text for one in of["text"]]
    for word in seen["dark"]["sentence"].split():
        assert word in texts
    assert {"10⁻⁴", "hₜ₋₁", "step"} <= set(texts)  # of the canvases
    assert len(of["path"]) > 50
    assert all(one.get("href").startswith("data:image/png;base64,") for one in of["image"])
    assert svg.find("{*}rect").get("fill") == "rgb(20, 24, 29)"  # it is dark
    png = base64.b64decode(seen["saved"]["PNG"])
    width, height = struct.unpack(">II", png[16:24])
    assert png.startswith(b"\x89PNG")
    assert (width, height) >= (2 * float(svg.get("width")) - 2, 1000)


def test_a_point_is_dragged(seen):
    before, after = (seen["dragged"][when].split("\n") for when in ("before", "after"))
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    ((old, new),) = changed
    assert sum(a != b for a, b in zip(old.split(), new.split(), strict=True)) == 1
    assert seen["dragged"]["said"] == []


def test_pages_live_side_by_side_in_a_notebook(seen):
    assert len(seen["framed"]["inside"]) == 2
    assert all(sentence.startswith("To predict “c”") for sentence in seen["framed"]["inside"])
    assert seen["framed"]["said"] == []


def tokens_of(text):
    return np.array([ALPHABET.index(symbol) for symbol in text])[:, None]


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


def bracket_marks():
    """On inside of brackets, off outside of them, nothing on the brackets themselves."""
    marks, depth = "", 0
    for symbol in NESTED:
        depth += (symbol == "(") - (symbol == ")")
        marks += "." if symbol in "()" else "+" if depth else "-"
    return marks


def test_a_planted_unit_is_found(seen):
    found = seen["found"]
    (first, score), (_, second) = found["byKeys"][:2]
    assert first == "unit 5"
    assert number(score.removeprefix("score ")) > 0.5 > number(second.removeprefix("score "))
    assert found["pinned"] == [["unit 5", ""]]  # a pin stays when the marks are cleared
    assert found["cleared"] == []
    assert len(found["byMouse"]) == 4
    assert found["said"] == []


# ---------------------------------------------------------------- labels, and two directions


def labelled():
    """Networks that give one of four labels: to what was read so far, to the whole sequence, and to each step."""
    kinds = {"last": ("last", rc.GRU, False), "whole": ("last", rc.LSTM, True), "tags": ("steps", rc.LSTM, True)}
    found = {}
    for seed, (name, (readout, layer_class, both)) in enumerate(kinds.items()):
        layer = layer_class(7, 10, 2, bidirectional=both, seed=seed)
        head = Linear(layer.structure.features, 4, seed=seed)
        found[name] = SequenceModel(Embedding(len(ALPHABET), 7, seed=seed), layer, head, readout=readout)
    return found


def of_step(model, step, label):
    """The loss of a label at one step of TEXT, the tape with its gradients, and the gradient of the input."""
    record = model.record(tokens_of(TEXT))
    counted = np.zeros((len(TEXT), 1), bool)
    counted[step] = True
    loss, grad = rc.nn.cross_entropy(record.output, np.full((len(TEXT), 1), label), mask=counted)
    return loss, record.tape, record.tape.backward(grad @ model.state_dict()["head.weight"]).input


def test_nothing_is_said_about_labels(seen):
    assert seen["labelled"]["said"] == []


@pytest.mark.parametrize(("view", "name", "later"), [("forward", "l0", -1), ("reverse", "l0.reverse", 1)])
def test_the_cell_of_a_direction_has_the_values_of_the_engine(seen, view, name, later):
    shown = seen["labelled"][view]
    assert shown["inside"].startswith(f"Inside tags, {view}, at step 3 “{TEXT[3]}”")
    tape = labelled()["tags"].record(tokens_of(TEXT)).tape
    values = told(shown["cell"])
    before = "ₜ₋₁" if later < 0 else "ₜ₊₁"
    expected = {"f": ("f", 3), "g": ("g", 3), "cₜ": ("c", 3), "hₜ": ("h", 3), f"c{before}": ("c", 3 + later),
                f"h{before}": ("h", 3 + later)}  # fmt: skip
    for key, (part, step) in expected.items():
        assert values[key] == pytest.approx(tape[f"{name}.{part}"][step, 0].mean(), rel=6e-3, abs=1e-5), key


def test_a_direction_is_picked(seen):
    forward, reverse = (seen["labelled"][view] for view in ("first", "reverse"))
    assert forward["reaches"][0] == reverse["reaches"][0]  # a GRU of one direction
    assert re.fullmatch(r"\d+ steps? back|to the start", forward["reaches"][1])
    assert re.fullmatch(r"\d+ steps? ahead|to the end", reverse["reaches"][1])
    assert "state s of the reverse direction" in reverse["lags"]
    assert "nothing to remember" in reverse["findings"][2]  # the last step is looked at


def test_a_label_is_chosen_for_a_step(seen):
    assert seen["labelled"]["chosen"]["sentence"].startswith("For the label “2” at step 32, ")
    looked = seen["labelled"]["looked"]
    assert looked["sentence"].startswith("For the label “2” at step 3, ")
    assert [place for place, (kind, _) in enumerate(looked["coloured"]) if kind == "target"] == [3]
    coloured = [bool(colour) for _, colour in looked["coloured"]]
    assert any(coloured[:3])
    assert any(coloured[4:])
    loss, tape, grad_input = of_step(labelled()["tags"], 3, 2)
    (line,) = [line.split() for line in looked["readout"].splitlines() if line.startswith("tags")]
    shown = [number(cell) for cell in line[1:]]
    norms = [np.linalg.norm(tape.grad[f"l0.reverse.{state}"][3, 0]) for state in "hc"]
    np.testing.assert_allclose(shown, [loss, *norms, np.linalg.norm(grad_input[3, 0])], rtol=6e-2)


def test_the_label_of_a_whole_sequence_does_not_depend_on_the_step(seen):
    lines = [line for view in ("chosen", "looked") for line in seen["labelled"][view]["readout"].splitlines()
             if line.startswith("whole")]  # fmt: skip
    assert lines[0] == lines[1]


def test_limits_of_breakpoints_are_set_and_kept_in_the_address(seen):
    looked, limited, linked = (seen["labelled"][view] for view in ("looked", "limited", "linked"))
    assert "less than 10⁻⁴ of the gradient" in " ".join(looked["breakpoints"])
    assert "less than 0.01 of the gradient" in " ".join(limited["breakpoints"])
    for view in (limited, linked):
        view.pop("lags")  # perhaps unfinished
    assert linked == limited
