"""Output files: no file that the command reads, and none of other origin, is lost."""

import json
import os

import numpy as np
import pytest

from rnncore.command.all_cells import page
from rnncore.command.cli import main
from rnncore.command.compare import report as compare_report
from rnncore.io.safetensors import load_arrays, save_arrays
from rnncore.models import Markov
from rnncore.train import is_checkpoint

TEXT = "the cat sat on the mat, and the rat sat on the cat.\n" * 60
SMALL = ["--hidden", "6", "--batch", "4", "--window", "25", "--steps", "2"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.txt").write_text(TEXT)
    return tmp_path


def everything(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def refused(folder, capsys, arguments, message):
    """One line, exit status 2, and not a byte has changed."""
    before = everything(folder)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert everything(folder) == before


@pytest.mark.parametrize("out", ["t.txt", "./t.txt", "../{}/t.txt", "link", "hard", "deep/link"])
@pytest.mark.parametrize("text", ["t.txt", "link"])
def test_train_does_not_replace_its_text(folder, capsys, out, text):
    os.symlink("t.txt", "link")
    os.link("t.txt", "hard")
    os.mkdir("deep")
    os.symlink("../link", "deep/link")
    out = out.format(folder.name)
    refused(folder, capsys, ["train", text, *SMALL, "--out", out],
            f"--out {os.path.normpath(out)}: this is the text that is read")  # fmt: skip


def test_a_resumed_run_does_not_replace_its_text(folder, capsys):
    assert main(["train", "t.txt", *SMALL, "--out", "run"]) == 0
    capsys.readouterr()
    resume = ["train", "t.txt", "--resume", "run", "--steps", "4"]
    refused(folder, capsys, [*resume, "--out", "t.txt"], "this is the text that is read")
    refused(folder, capsys, ["train", "t.txt", "--resume", "t.txt"], "this is the text that is read")
    assert main([*resume, "--out", "./run"]) == 0


def test_train_replaces_only_checkpoints(folder, capsys):
    (folder / "notes.txt").write_text("three years of work")
    np.save("numbers.npy", np.ones(3))
    Markov(1).fit(["abab"]).save("markov.safetensors")
    save_arrays("arrays.safetensors", {"a": np.ones(3)}, {"format": "another"})
    (folder / "model.safetensors").write_text("by the default name")
    for name in ("notes.txt", "numbers.npy", "markov.safetensors", "arrays.safetensors"):
        refused(folder, capsys, ["train", "t.txt", *SMALL, "--out", name],
                f"--out {name}: exists, is not a checkpoint of rnncore and would be lost")  # fmt: skip
    refused(folder, capsys, ["train", "t.txt", *SMALL], "--out model.safetensors: exists, is no")
    (folder / "empty").touch(0o600)
    for _ in range(2):  # an empty file, then the checkpoint
        assert main(["train", "t.txt", *SMALL, "--out", "empty"]) == 0
        assert is_checkpoint("empty")
        assert (folder / "empty").stat().st_mode & 0o777 == 0o600


def test_train_replaces_only_checkpoints_of_its_text(folder, capsys):
    (folder / "b.txt").write_text(TEXT.replace("mat", "tam"))
    assert main(["train", "t.txt", *SMALL]) == 0
    capsys.readouterr()
    message = "--out {}: exists, is not a checkpoint of {} and would be lost; give another"
    refused(folder, capsys, ["train", "b.txt", *SMALL], message.format("model.safetensors", "b.txt"))
    (folder / "same.txt").write_text(TEXT)
    assert main(["train", "same.txt", *SMALL]) == 0
    assert main(["train", "b.txt", *SMALL, "--out", "b"]) == 0
    capsys.readouterr()
    resume = ["train", "b.txt", "--resume", "b", "--steps", "4"]
    refused(folder, capsys, [*resume, "--out", "model.safetensors"], message.format("model.safetensors", "b.txt"))
    for notes in (None, [1], {"text": "t.txt"}, {"text": {"name": "t.txt"}}):
        arrays, metadata = load_arrays("model.safetensors")
        save_arrays("mine", arrays, metadata | {"notes": notes})
        refused(folder, capsys, ["train", "t.txt", *SMALL, "--out", "mine"], message.format("mine", "t.txt"))


def test_full_disks_and_missing_folders_are_reported(folder, devices, capsys):
    assert main(["train", "t.txt", *SMALL, "--out", str(devices / "full")]) == 2
    assert f"{devices / 'full'}: No space left on device" in capsys.readouterr().err
    assert main(["train", "t.txt", *SMALL, "--out", str(devices / "null")]) == 0
    capsys.readouterr()
    os.mkfifo("pipe")
    refused(folder, capsys, ["sample", "pipe"], "pipe is a device or a pipe: give a file")
    refused(folder, capsys, ["train", "t.txt", "--out", "t.txt/model"], "give a file's name in a folder")


def test_debug_replaces_only_its_own_report(folder, capsys):
    small = ["--steps", "2", "--hidden", "4"]
    for name in ("index.html", "loss.png", "results.json"):
        (folder / "site").mkdir(exist_ok=True)
        (folder / "site" / name).write_text('{"text": "my own"}')
        refused(folder, capsys, ["debug", "t.txt", *small, "--out", "site"],
                f"--out site: {name} in it was not written by this command")  # fmt: skip
        (folder / "site" / name).unlink()
    os.rmdir("site")
    (folder / "index.html").write_text(TEXT)
    refused(folder, capsys, ["debug", "index.html", *small, "--out", "."],
            "--out .: index.html in it is the file that is read")  # fmt: skip
    os.remove("index.html")
    for _ in range(2):
        assert main(["debug", "t.txt", *small, "--out", "."]) == 0
    assert {path.name for path in folder.iterdir()} == {"t.txt", *page.FILES}
    assert set(json.loads((folder / "results.json").read_text())) == set(page.KEYS)
    capsys.readouterr()
    (folder / "results.json").write_text("{}")
    refused(folder, capsys, ["debug", "t.txt", *small, "--out", "."], "results.json in it was not")


def test_a_report_that_was_changed_is_not_replaced(folder, capsys):
    debug = ["debug", "t.txt", "--steps", "2", "--hidden", "4", "--out", "site"]
    assert main(debug) == 0
    capsys.readouterr()
    page, picture, victim = folder / "site/index.html", folder / "site/loss.png", folder / "victim"
    was = page.read_bytes()
    victim.write_bytes(picture.read_bytes())
    message = "--out site: {} in it was not written by this command, or was changed, and would be lost"
    page.write_bytes(was + b"<p>my own words")
    refused(folder, capsys, debug, message.format("index.html"))
    page.unlink()
    picture.unlink()
    picture.symlink_to(victim)  # of the same content
    refused(folder, capsys, debug, message.format("loss.png"))
    picture.unlink()
    picture.mkdir()
    refused(folder, capsys, debug, message.format("loss.png"))
    picture.rmdir()
    for name in ("loss.png", "results.json"):
        kept = folder / "site" / name
        if kept.exists():
            kept.rename(folder / "elsewhere.json")
        os.mkfifo(kept)  # whose reader is not waited for
        refused(folder, capsys, debug, "was not written by this command")
        kept.unlink()
    os.replace("elsewhere.json", "site/results.json")
    os.rename("site/results.json", "elsewhere.json")
    os.symlink("../elsewhere.json", "site/results.json")
    refused(folder, capsys, debug, message.format("results.json"))
    os.replace("elsewhere.json", "site/results.json")
    assert main(debug) == 0
    assert page.exists()
    assert picture.exists()


def test_compare_replaces_only_its_own_results(folder, capsys):
    table = "".join(f"{np.sin(0.3 * t):.3f}\n" for t in range(200))
    (folder / "compare.json").write_text(table)
    small = ["--hidden", "4", "--epochs", "1"]
    refused(folder, capsys, ["compare", "compare.json", "--kind", "series", "--out", "."],
            "--out .: compare.json in it is the file that is read")  # fmt: skip
    os.rename("compare.json", "a.csv")
    (folder / "compare.png").write_text("mine")
    refused(folder, capsys, ["compare", "a.csv", "--out", "."], "compare.png in it was not written")
    os.remove("compare.png")
    for _ in range(2):
        assert main(["compare", "a.csv", *small, "--out", "."]) == 0
    assert set(json.loads((folder / "compare.json").read_text())) == set(compare_report.KEYS)
    assert (folder / "compare.png").read_bytes().startswith(b"\x89PNG")


# -- crafted checkpoints --------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda notes: notes.clear(), "has no vocabulary: it is not a model of text"),
        (lambda notes: notes.update(vocabulary=3), "notes.vocabulary is 3, expected a text"),
        (lambda notes: notes.update(vocabulary="ab"), "expected one character for each of the model's"),
        (lambda notes: notes.update(vocabulary="x" * len(set(TEXT))), "characters in order, each once"),
    ],
)
def test_vocabularies_that_do_not_suit_the_model_are_refused(folder, capsys, change, message):
    assert main(["train", "t.txt", *SMALL, "--out", "run"]) == 0
    capsys.readouterr()
    arrays, metadata = load_arrays("run")
    change(metadata["notes"])
    save_arrays("run", arrays, metadata)
    refused(folder, capsys, ["sample", "run"], message)
    refused(folder, capsys, ["train", "t.txt", "--resume", "run", "--steps", "4"], message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["notes"].pop("text"), "run was not written by `rnncore train`"),
        (lambda m: m["notes"].update(text=[1]), "run: notes.text is a list of 1"),
        (lambda m: m["notes"].update(options=3), "run: notes.options is 3"),
        (lambda m: m["notes"]["options"].update(batch=0), "run: notes.options.batch is 0"),
        (lambda m: m["notes"]["options"].update(more=1), "run: notes.options.more is unknown"),
        (lambda m: m["notes"]["options"].pop("window"), "run: notes.options.window is missing"),
        (lambda m: m["notes"]["options"].update(window=24), "run: its number of windows is"),
        (lambda m: m["optimiser"].update(kind="SGD"), "run: its optimiser is SGD, this run's is Adam"),
        (lambda m: m["optimiser"]["options"].update(lr=-1), "run: optimiser: lr: got -1"),
        (lambda m: m.update(data="0" * 64), "run: its training data is another (digest 000000000000…"),
        (lambda m: m.update(notes=None), "run has no vocabulary"),
        (lambda m: m.update(notes=[1, 2]), "run has no vocabulary"),
    ],
)
def test_checkpoints_that_cannot_be_resumed_are_refused(folder, capsys, change, message):
    assert main(["train", "t.txt", *SMALL, "--out", "run"]) == 0
    capsys.readouterr()
    arrays, metadata = load_arrays("run")
    change(metadata)
    save_arrays("run", arrays, metadata)
    refused(folder, capsys, ["train", "t.txt", "--resume", "run", "--steps", "4"], message)
