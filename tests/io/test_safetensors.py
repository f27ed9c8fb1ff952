"""Files: whole or not at all, exact, readable by others, refused when damaged."""

import contextlib
import os
import stat

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support import same_bits

from rnncore.io import safetensors as files
from rnncore.io.safetensors import DamagedFileError, load_arrays, save_arrays


@pytest.fixture
def arrays(rng):
    return {
        "w": rng.normal(size=(3, 4)),
        "strided": rng.normal(size=(6, 4)).astype(np.float32)[::2].T,
        "tokens": np.arange(5, dtype=np.int32),
        "scalar": np.array(2.5),
        "empty": np.zeros((0, 3)),
    }


def test_what_is_written_is_read(tmp_path, arrays):
    path = tmp_path / "a.safetensors"
    metadata = {"text": 'µ\n"', "list": [1, 2.5, None]}
    save_arrays(path, arrays, metadata)
    got, read = load_arrays(path)
    same_bits(dict(sorted(got.items())), dict(sorted(arrays.items())))
    assert read == metadata
    assert os.listdir(tmp_path) == [path.name]
    same_bits(load_file(path)["w"], arrays["w"])  # the format is everybody's


def test_a_foreign_file_is_read(tmp_path, arrays):
    path = tmp_path / "a.safetensors"
    save_file({"w": arrays["w"]}, path)
    got, metadata = load_arrays(path)
    same_bits(got["w"], arrays["w"])
    assert metadata is None


def test_every_damaged_byte_is_noticed(tmp_path, arrays):
    path = tmp_path / "a.safetensors"
    save_arrays(path, arrays, {"steps": 3})
    whole = path.read_bytes()
    believed = []
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with contextlib.suppress(DamagedFileError):
            believed.append(load_arrays(path))
    # A changed name of our own header entry makes a foreign file of it: no metadata, no checkpoint.
    assert all(metadata is None for _, metadata in believed)
    assert len(believed) <= len("rnncore.json")


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 60, -1])
def test_a_file_cut_short_is_refused(tmp_path, arrays, kept):
    path = tmp_path / "a.safetensors"
    save_arrays(path, arrays)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DamagedFileError, match="is not a whole safetensors file"):
        load_arrays(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_text("not at all " * 100)
    with pytest.raises(DamagedFileError, match="is not a whole safetensors file"):
        load_arrays(path)
    with pytest.raises(FileNotFoundError):
        load_arrays(tmp_path / "nowhere")
    with pytest.raises(IsADirectoryError):
        load_arrays(tmp_path)


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file(tmp_path, arrays, monkeypatch, broken):
    path = tmp_path / "a.safetensors"
    save_arrays(path, arrays, "old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files.os, broken, fail)
        with pytest.raises(OSError, match="No space left"):
            save_arrays(path, arrays, "new")
    assert load_arrays(path)[1] == "old"
    assert os.listdir(tmp_path) == [path.name]


def test_a_link_is_followed_and_the_mode_is_the_users(tmp_path, arrays):
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    save_arrays(link, arrays)
    assert link.is_symlink()
    load_arrays(target)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask
