"""The run file: read lazily, refused when damaged, complete up to its last frame if the writer was killed."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from rnncore.viz.recorder import runfile

import rnncore as rc
from rnncore import viz
from rnncore.io.safetensors import DamagedFileError


@pytest.fixture
def lstm():
    return rc.LSTM(3, 4, 2, seed=0)


@pytest.fixture
def written(tmp_path, lstm, rng):
    """A file of four frames, and what was recorded."""
    path, tapes = tmp_path / "a.run", []
    with viz.Recorder(path, every=1, names=["*.f", "l1.c"], gradients="*.h") as recorder:
        for update in range(1, 5):
            tape = lstm.record(rng.standard_normal((6, 2, 3)), lengths=[6, 4])
            grads = tape.backward(rng.standard_normal((6, 2, 4)))
            recorder.record(tape, grads, loss=1 / update, epoch=update // 3, note=f"n{update}")
            tapes.append(tape)
    return path, tapes


def test_a_run_reads_back_what_was_recorded(written):
    path, tapes = written
    with viz.Run(path) as run:
        assert len(run) == 4
        assert not run.truncated
        run.verify()
        for number, (frame, tape) in enumerate(zip(run, tapes, strict=True), 1):
            assert (frame.update, frame.loss, frame.epoch, frame.note) == (
                number, 1 / number, number // 3, f"n{number}")  # fmt: skip
            assert frame.names() == ["l0.f", "l1.f", "l1.c"]
            assert frame.names("l1.*") == ["l1.f", "l1.c"]
            for name in frame.names():
                np.testing.assert_array_equal(frame[name], tape[name])
                assert frame[name].dtype == tape[name].dtype
            np.testing.assert_array_equal(frame.grad["l1.h"], tape.grad["l1.h"])
            assert frame.grad.keys() == ["l0.h", "l1.h"]
            assert (frame.T, frame.B, frame.mode, frame.lengths.tolist()) == (6, 2, "LSTM", [6, 4])
            assert frame.layer.num_layers == 2
        updates, losses = run.series("loss")
        np.testing.assert_array_equal(updates, [1, 2, 3, 4])
        np.testing.assert_array_equal(losses, [1, 1 / 2, 1 / 3, 1 / 4])
        assert (run.series("gradient_norm")[1] > 0).all()


def test_arrays_are_the_file_itself(written):
    path, _ = written
    array = viz.Run(path)[1]["l0.f"]
    assert not array.flags.writeable
    assert not array.flags.owndata
    while not isinstance(array, np.memmap):
        array = array.base
    assert array.filename == path


def test_arrays_outlive_their_run(written):
    path, tapes = written
    with viz.Run(path) as run:
        array = run[0]["l0.f"]
    np.testing.assert_array_equal(array, tapes[0]["l0.f"])


def test_a_name_that_was_not_recorded_is_refused_by_name(written):
    frame = viz.Run(written[0])[0]
    with pytest.raises(KeyError, match=r"'l0.i' was not recorded; this frame holds l0.f, l1.f"):
        frame["l0.i"]
    assert "l0.i" not in frame
    with pytest.raises(IndexError):
        viz.Run(written[0])[4]
    assert viz.Run(written[0])[-1].update == 4


def test_a_file_cut_anywhere_keeps_its_whole_frames(written, tmp_path):
    path, tapes = written
    content = path.read_bytes()
    ends = [offset + length for offset, length in viz.Run(path).places]
    cut = tmp_path / "cut.run"
    for end in [*range(64, len(content), 97), *ends]:
        cut.write_bytes(content[:end])
        run = viz.Run(cut)
        assert len(run) == sum(e <= end for e in ends)
        assert run.truncated == (end not in [64, *ends])
        for frame, tape in zip(run, tapes, strict=False):
            np.testing.assert_array_equal(frame["l1.c"], tape["l1.c"])


def test_every_changed_byte_is_noticed(written, tmp_path):
    path, _ = written
    content = bytearray(path.read_bytes())
    bad = tmp_path / "bad.run"
    for position in range(0, len(content), 41):
        changed = bytearray(content)
        changed[position] ^= 0x10
        bad.write_bytes(changed)
        with pytest.raises(DamagedFileError):
            viz.Run(bad).verify()


def test_the_error_of_a_damaged_file_names_the_place_and_the_way_out(written, tmp_path):
    path, tapes = written
    offset, _ = viz.Run(path).places[2]
    content = bytearray(path.read_bytes())
    content[offset + 5] ^= 1
    bad = tmp_path / "bad.run"
    bad.write_bytes(content)
    with pytest.raises(DamagedFileError, match=rf"damaged at byte {offset:,}, frame 2: .*upto_d"):
        viz.Run(bad)
    run = viz.Run(bad, upto_damage=True)
    assert [frame.update for frame in run] == [1, 2]
    np.testing.assert_array_equal(run[1]["l0.f"], tapes[1]["l0.f"])


def test_damaged_arrays_are_refused_when_read_and_no_others(written, tmp_path):
    path, tapes = written
    offset, length = viz.Run(path).places[1]
    content = bytearray(path.read_bytes())
    content[offset + length - 100] ^= 1
    bad = tmp_path / "bad.run"
    bad.write_bytes(content)
    run = viz.Run(bad)
    with pytest.raises(DamagedFileError, match=r"arrays of frame 1 \(update 2, .*the other frames"):
        run[1]["l0.f"]
    np.testing.assert_array_equal(run[2]["l0.f"], tapes[2]["l0.f"])


@pytest.mark.parametrize("content", [b"", b"RIFF", b"x" * 1000])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match="does not start as a run file"):
        viz.Run(path)


def test_an_index_that_points_outside_is_refused(tmp_path):
    parts = runfile.pack({"update": 1}, {"l0.h": np.zeros((2, 1, 3), "float32")})
    text = parts[1].replace(b"[2, 1, 3], 0]", b"[9, 9, 9], 0]")
    assert text != parts[1]
    import struct
    import zlib

    fields = list(runfile._HEAD.unpack(parts[0]))
    fields[3] = zlib.crc32(text)
    head = runfile._HEAD.pack(*fields)[:-4]
    path = tmp_path / "a.run"
    body = b"".join(bytes(p) for p in parts[2:])
    path.write_bytes(runfile.MAGIC + head + struct.pack("<I", zlib.crc32(head)) + text + body)
    with pytest.raises(DamagedFileError, match=r"'l0\.h' of frame 0 is not inside it"):
        viz.Run(path)[0]["l0.h"]


def test_the_file_of_a_killed_run_is_readable(tmp_path):
    path = tmp_path / "a.run"
    script = f"""
        import numpy as np, rnncore as rc
        from rnncore import viz
        recorder = viz.Recorder({str(path)!r}, every=1, names="*")
        tape = rc.LSTM(3, 8, seed=0).record(np.ones((50, 4, 3)))
        while True:
            recorder.record(tape)
            print(flush=True)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, cwd=tmp_path
    )
    for _ in range(5):
        process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    run = viz.Run(path)
    assert len(run) >= 5
    run.verify()


def test_resume_cuts_off_an_unfinished_frame(written, lstm):
    path, tapes = written
    content = path.read_bytes()
    path.write_bytes(content[:-10])
    with viz.Recorder(path, every=1, names="*.f", resume=True) as recorder:
        recorder.record(tapes[0])
    run = viz.Run(path)
    assert [frame.update for frame in run] == [1, 2, 3, 4]
    assert not run.truncated
    run.verify()


def test_an_existing_file_is_not_overwritten(written):
    with pytest.raises(FileExistsError, match=r"a.run' exists; pass resume=True"):
        viz.Recorder(written[0])
