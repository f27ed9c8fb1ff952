"""Unusable arguments and files are reported in one line on stderr, with exit status 2, before any work is done."""

import os

import numpy as np
import pytest

from rnncore.command.cli import main
from rnncore.io.safetensors import save_arrays


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    contents = {
        "empty": b"",
        "binary": b"ab\0cd" * 1000,
        "latin": "Größe ".encode("latin-1") * 1000,
        "short": b"too short a text",
        "text": b"the cat sat on the mat, and the rat sat on the cat. " * 60,
        "damaged.safetensors": b"no tensors at all" * 10,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    save_arrays("weights.safetensors", {"w": np.eye(2)})
    (tmp_path / "folder").mkdir()
    return sorted([*contents, "weights.safetensors", "folder"])


@pytest.mark.parametrize("command", ["debug", "train"])
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "nowhere: No such file or directory"),
        ("folder", "folder is a directory: give a text file"),
        ("empty", "empty is empty: give a text"),
        ("binary", "binary is binary (NUL at byte 2): give a UTF-8 text"),
        ("latin", "latin is not UTF-8 (byte 2 is 0xf6)"),
        ("short", "short is too short: 14 characters to train on"),
        (os.devnull, "is a device, not a file"),
        ("", "is a directory: give a text file"),
    ],
)
def test_unusable_texts_are_refused_in_one_line(files, capsys, command, path, message):
    assert main([command, path]) == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert err.startswith(f"rnncore {command}: ")
    assert message in err
    assert out == ""
    assert sorted(os.listdir()) == files  # nothing was made


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["debug", "text", "--out", "empty"], "empty: File exists"),
        (["debug", "text", "--out", "empty/deeper"], "Not a directory"),
        (["train", "text", "--out", "folder"], "--out folder: give a file's name in a folder"),
        (["train", "text", "--out", "no/model"], "--out no/model: give a file's name in a folder"),
        (["train", "text", "--resume", "nowhere"], "nowhere: No such file or directory"),
        (["train", "text", "--resume", "damaged.safetensors"], "is not a complete safetensors file"),
        (["train", "text", "--resume", "weights.safetensors"], "is not a checkpoint"),
        (["sample", "nowhere"], "nowhere: No such file or directory"),
        (["sample", "folder"], "folder: Is a directory"),
        (["sample", "damaged.safetensors"], "is not a complete safetensors file"),
        (["sample", "weights.safetensors"], "is not a checkpoint"),
    ],
)
def test_unusable_outputs_and_checkpoints_are_refused_in_one_line(files, capsys, arguments, message):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert message in err
    assert out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["trian"], "invalid choice: 'trian'"),
        (["debug", "--steps", "0"], "argument --steps: got '0', expected a whole number of 1"),
        (["debug", "--hidden", "x"], "argument --hidden: got 'x', expected a whole number"),
        (["debug", "--threads", "-1"], "argument --threads: got '-1'"),
        (["debug", "--seed", "-1"], "argument --seed: got '-1', expected a whole number of 0"),
        (["train", "--lr", "nan"], "argument --lr: got 'nan', expected a number above 0"),
        (["train", "--dropout", "1"], "argument --dropout: got '1', expected a share"),
        (["train", "--cell", "elman"], "argument --cell: got 'elman', expected one of 'rnn', 'gru', 'lstm'"),
        (["sample"], "the following arguments are required: CHECKPOINT"),
        (["sample", "m", "--temperature", "-1"], "argument --temperature: got '-1'"),
        (["sample", "m", "--length", "-1"], "argument --length: got '-1'"),
    ],
)
def test_unusable_arguments_are_refused(capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission_is_refused(files, capsys):
    os.chmod("text", 0)
    assert main(["train", "text"]) == 2
    assert capsys.readouterr().err == "rnncore train: text: Permission denied\n"
