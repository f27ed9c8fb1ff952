"""The commands, as a user types them."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from support import run_python, same_bits

import rnncore as rc
from rnncore.command.cli import main
from rnncore.train import load_model, read_checkpoint

TEXT = "the cat sat on the mat, and the rat sat on the cat.\n" * 60
SMALL = ["--hidden", "12", "--batch", "4", "--window", "25"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text(TEXT)
    threads = rc.num_threads()
    yield tmp_path
    rc.set_num_threads(threads)


def train(*arguments):
    return main(["train", "text", *arguments])


def test_train_reports_its_result_and_the_checkpoint(folder, capsys):
    assert train(*SMALL, "--steps", "30", "--cell", "gru", "--out", "gru.safetensors") == 0
    out, _ = capsys.readouterr()
    assert re.search(
        r"text: 3,120 characters, \d+ different, 312 held out, sha256 [0-9a-f]{64}", out
    )
    assert re.search(r"30 updates, \d\.\d{3} bits per character on 312 held-out characters", out)
    assert f"checkpoint: {folder / 'gru.safetensors'}" in out
    model, metadata = load_model("gru.safetensors")
    assert (model.layer.mode, model.layer.hidden_size) == ("GRU", 12)
    assert metadata["notes"]["vocabulary"] == "".join(sorted(set(TEXT)))


def test_resume_gives_the_bits_of_the_whole_run(capsys):
    options = [*SMALL, "--dropout", "0.2", "--layers", "2", "--seed", "3"]
    assert train(*options, "--steps", "20", "--out", "whole") == 0
    assert train(*options, "--steps", "8", "--out", "part") == 0
    assert train("--resume", "part", "--steps", "20", "--out", "resumed") == 0
    for name in ("whole", "resumed"):
        assert read_checkpoint(name)[1]["updates"] == 20
    same_bits(read_checkpoint("resumed")[0], read_checkpoint("whole")[0])
    assert read_checkpoint("part")[1]["updates"] == 8
    assert train("--resume", "part", "--steps", "20") == 0  # back into the same file
    same_bits(read_checkpoint("part")[0], read_checkpoint("whole")[0])


def test_resume_refuses_other_options_and_other_texts(folder, capsys):
    train(*SMALL, "--steps", "3", "--out", "part")
    (folder / "other").write_text(TEXT + "!")
    capsys.readouterr()
    for arguments, message in (
        (["other", "--resume", "part"], "part was trained on another text (text, sha256"),
        (["text", "--resume", "part", "--hidden", "13"], "--hidden 13: part has 12; leave it out"),
        (["text", "--resume", "part", "--cell", "gru"], "--cell gru: part has lstm; leave it out"),
        (["text", "--resume", "part", "--steps", "3"], "part has 3 updates: give --steps more"),
    ):
        assert main(["train", *arguments]) == 2
        assert message in capsys.readouterr().err
    assert train("--resume", "part", "--steps", "4", "--lr", "0.5", "--hidden", "12") == 0
    assert read_checkpoint("part")[1]["optimiser"]["options"]["lr"] == 0.5


def test_ctrl_c_saves_and_the_run_can_be_resumed(capsys):
    command = [sys.executable, "-m", "rnncore.command.cli", "train", "text", *SMALL, "--every", "1"]
    run = subprocess.Popen(
        [*command, "--steps", "1000000", "--out", "part"], stderr=subprocess.PIPE
    )
    while not os.path.exists("part") and run.poll() is None:
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130
    assert err == b""
    done = read_checkpoint("part")[1]["updates"]
    assert done > 0
    total = str(done + 5)
    assert train("--resume", "part", "--steps", total) == 0
    assert train(*SMALL, "--steps", total, "--out", "whole") == 0
    same_bits(read_checkpoint("part")[0], read_checkpoint("whole")[0])


def test_sample_draws_from_the_model(capsys):
    train(*SMALL, "--steps", "300", "--out", "model", "--lr", "0.01")
    capsys.readouterr()

    def sample(*arguments):
        assert main(["sample", "model", *arguments]) == 0
        return capsys.readouterr().out

    text = sample("--length", "60", "--seed", "1")
    assert len(text) == 61
    assert set(text) <= set(TEXT)
    assert sample("--length", "60", "--seed", "1") == text
    assert sample("--length", "60", "--seed", "2") != text
    likeliest = sample("--length", "40", "--temperature", "0", "--seed", "1")
    assert likeliest == sample("--length", "40", "--temperature", "0", "--seed", "2")
    assert "the" in likeliest
    assert (
        sample("--length", "1", "--temperature", "0", "--prompt", "and the rat sat on th") == "e\n"
    )
    assert sample("--length", "0") == "\n"
    for prompt, message in (("Ünknown", "the vocabulary lacks 'kÜ'"), ("", "prompt: got an empty")):
        assert main(["sample", "model", "--prompt", prompt]) == 2
        assert message in capsys.readouterr().err.replace("w", "")


def test_sample_ends_quietly_when_its_pipe_is_closed():
    train(*SMALL, "--steps", "1", "--out", "model")
    run = subprocess.Popen(
        [sys.executable, "-m", "rnncore.command.cli", "sample", "model", "--length", "20000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    run.stdout.read(10)
    run.stdout.close()
    assert run.stderr.read() == b""
    run.stderr.close()
    run.wait(timeout=60)


def test_info_shows_the_machine_and_the_build(capsys):
    assert main(["info", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    build = rc.build_info()
    for line in (
        rf"rnncore: +{re.escape(build['version'])}\n",
        r"CPU: +\S",
        rf"instruction set: +{build['isa']} \(of .*{build['isa']}",
        r"threads: +1 \(of \d+ processors\)",
        r"compiler: +\S",
    ):
        assert re.search(line, out), line


def test_help_imports_no_large_packages():
    """No subcommand's libraries are loaded for --help, nor by importing the package."""
    code = (
        "import sys, rnncore, rnncore.command.cli\n"
        "try: rnncore.command.cli.main(['--help'])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "heavy = {'matplotlib', 'tqdm', 'safetensors', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    out = run_python(code).stdout
    for command in ("debug", "train", "sample", "info"):
        assert f"    {command} " in out


@pytest.mark.parametrize("module", ["numpy", "rnncore._engine", "rnncore.command.options", "rnncore.data.text",
                                    "pandas"])
@pytest.mark.parametrize("script", ["/usr/bin/rnncore", "C:/rnncore.exe", "other"])
def test_ctrl_c_while_the_command_starts_ends_without_a_traceback(folder, module, script):
    """The signal is sent when `module` is about to be imported; another program sees its KeyboardInterrupt."""
    (folder / "a.csv").write_text("x\n1\n")
    code = f"""
import os, signal, sys

class Hook:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Hook())
sys.argv = [{script!r}, "compare", "a.csv"]
from rnncore.command.cli import main
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if script == "other" and module != "rnncore.data.text" and module != "pandas":
        assert "KeyboardInterrupt" in done.stderr
        return
    assert done.returncode == 130
    assert done.stderr in ("", "rnncore compare: interrupted\n")
