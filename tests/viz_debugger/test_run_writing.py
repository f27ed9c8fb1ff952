"""Run files: one writer, whole frames whatever fails, and every field checked when a file is read."""

import gc
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import textwrap
import time
import zlib

import numpy as np
import pytest
from crafted import changed, read
from rnncore.viz.recorder import runfile, store

import rnncore as rc
from rnncore import viz
from rnncore.io.fields import DamagedFileError


@pytest.fixture
def tape(rng):
    tape = rc.LSTM(3, 4, seed=0).record(rng.standard_normal((9, 2, 3)), lengths=[9, 4])
    tape.backward(rng.standard_normal((9, 2, 4)))
    return tape


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.run"


def recorder(path, **options):
    return viz.Recorder(path, **{"every": 1, "names": "*", "measures": {}} | options)


def updates(path):
    with viz.Run(path) as run:
        run.verify()
        assert not run.truncated
        return [frame.update for frame in run]


# -- one writer -----------------------------------------------------------------------


def test_a_second_recorder_of_the_file_is_refused(path, tape):
    with recorder(path) as first:
        first.record(tape)
        with pytest.raises(BlockingIOError, match=r"another recorder writes to .* give another.*a\.run"):
            recorder(path, resume=True)
        first.record(tape)
        assert updates(path) == [1, 2]  # reading needs no lock
    with recorder(path, resume=True) as second:
        second.record(tape)
    assert updates(path) == [1, 2, 3]


def in_another_process(path):
    code = f"""
        from rnncore import viz
        try:
            viz.Recorder({str(path)!r}, resume=True).close()
            print("taken")
        except BlockingIOError:
            print("refused")
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("full", ["thin", "ring"])
def test_the_lock_stays_when_the_file_is_replaced(path, tape, full):
    inodes = set()
    with recorder(path, full=full, limit="30 kB") as first:
        for _ in range(30):
            first.record(tape)
            inodes.add(path.stat().st_ino)
            with pytest.raises(BlockingIOError):
                recorder(path, resume=True)
        assert in_another_process(path) == "refused"
    assert len(inodes) > 1
    assert in_another_process(path) == "taken"


def test_a_recorder_that_waited_for_a_replaced_file_gets_the_new_one(path, tape, monkeypatch):
    """If the file at the path is replaced between opening and locking, the path is opened again."""
    with recorder(path) as first:
        first.record(tape)
    lock, opened = store.lock, []

    def late(file):
        if not opened:
            opened.append(file)
            with recorder(path.with_name("b.run")) as other:
                other.record(tape, update=7)
            os.replace(path.with_name("b.run"), path)
        return lock(file)

    monkeypatch.setattr(store, "lock", lambda file: late(file) if file.name == str(path) else lock(file))
    with recorder(path, resume=True) as second:
        second.record(tape)
    assert updates(path) == [7, 8]


def test_the_file_is_free_once_its_recorder_is_gone(path, tape):
    kept = recorder(path)
    kept.record(tape)
    file = kept._store._file
    del kept
    gc.collect()
    file.close()
    recorder(path, resume=True).close()


def test_a_killed_writer_leaves_no_lock(path, tape):
    code = f"""
        import time
        import numpy as np, rnncore as rc
        from rnncore import viz
        recorder = viz.Recorder({str(path)!r}, every=1, measures={{}})
        recorder.record(rc.GRU(2, 3, seed=0).record(np.ones((4, 1, 2))))
        print("now", flush=True)
        time.sleep(600)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)
    process.stdout.readline()
    with pytest.raises(BlockingIOError):
        recorder(path, resume=True)
    process.kill()
    process.wait()
    process.stdout.close()
    with recorder(path, resume=True) as second:
        second.record(tape)
    assert updates(path) == [1, 2]


def in_fork(act):
    """The exit status of a forked child that calls `act`."""
    child = os.fork()
    if not child:
        status = 1
        try:
            act()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_child_cannot_write_the_file(path, tape):
    first = recorder(path)
    first.record(tape)

    def child():
        with pytest.raises(ValueError, match=r"is recorded by process \d+, and this is a fork of it"):
            first.record(tape)
        first.close()
        with pytest.raises(BlockingIOError):
            recorder(path, resume=True)

    assert in_fork(child) == 0
    first.record(tape)
    with pytest.raises(BlockingIOError):  # the child's exit did not release the lock
        recorder(path, resume=True)
    first.close()
    assert updates(path) == [1, 2]


def test_a_forked_child_does_not_keep_the_lock(path, tape):
    first = recorder(path)
    first.record(tape)
    child = os.fork()
    if not child:
        time.sleep(600)
        os._exit(0)
    try:
        first.close()
        recorder(path, resume=True).close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_closed_recorder_refuses_to_record(path, tape):
    first = recorder(path)
    first.close()
    first.close()
    with pytest.raises(ValueError, match=r"a\.run' is closed, expected an open recorder"):
        first.record(tape)


# -- what fails -------------------------------------------------------------------------


class Disk:
    """A raw file on a disk with room for a given number of bytes: what fits is written."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, content):
        if not self.room:
            raise OSError(28, "No space left on device")
        done = self.file.write(content[: self.room])
        self.room -= done
        return done

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 1, 28, 500, 1500])
def test_after_a_full_disk_the_file_is_whole_and_goes_on(path, tape, room):
    first = recorder(path)
    first.record(tape)
    size = path.stat().st_size
    disk = first._store._file = Disk(first._store._file, room)
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.run'"):
        first.record(tape)
    assert path.stat().st_size == size
    assert updates(path) == [1]
    disk.room = 10**9
    first.record(tape)
    first.close()
    assert updates(path) == [1, 3]


def test_a_limit_of_the_system_on_file_sizes_leaves_a_whole_file(path, tmp_path):
    """The same with a limit that the operating system enforces."""
    code = f"""
        import resource, signal
        import numpy as np, rnncore as rc
        from rnncore import viz
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        recorder = viz.Recorder({str(path)!r}, every=1, names="*", measures={{}})
        tape = rc.GRU(2, 8, seed=0).record(np.ones((30, 2, 2)))
        recorder.record(tape)
        resource.setrlimit(resource.RLIMIT_FSIZE, (15_000, resource.RLIM_INFINITY))
        for _ in range(3):
            try:
                recorder.record(tape)
                raise SystemExit("it was written")
            except OSError as error:
                assert error.filename == {str(path)!r}, error
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        recorder.record(tape)
        recorder.close()
    """
    subprocess.run([sys.executable, "-B", "-c", textwrap.dedent(code)], check=True)
    assert updates(path) == [1, 5]
    assert os.listdir(tmp_path) == [path.name]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_an_interrupt_within_a_frame_leaves_no_part(path, tape):
    class Interrupted(Disk):
        def write(self, content):
            self.file.write(content[:100])
            raise KeyboardInterrupt

    first = recorder(path)
    first.record(tape)
    file = first._store._file
    first._store._file = Interrupted(file, 0)
    with pytest.raises(KeyboardInterrupt):
        first.record(tape)
    first._store._file = file
    first.record(tape)
    first.close()
    assert updates(path) == [1, 3]


@pytest.mark.parametrize("full", ["thin", "ring"])
def test_if_dropping_frames_fails_none_is_dropped(path, tape, tmp_path, monkeypatch, full):
    with recorder(path, full=full, limit="30 kB") as first:
        first.record(tape)
        size = path.stat().st_size
        while path.stat().st_size + size < 30_000:
            first.record(tape)
        before = updates(path)

        def fail(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", fail)
            for _ in range(3):
                with pytest.raises(OSError, match=r"No space left on device: '.*a\.run'"):
                    first.record(tape)
        assert updates(path) == before
        assert os.listdir(tmp_path) == [path.name]
        assert first._store.thinned == 0
        with pytest.raises(BlockingIOError):
            recorder(path, resume=True)
        first.record(tape)
        assert updates(path)[-1] > before[-1] - 1


def test_a_file_that_cannot_be_begun_is_removed(path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_write_all", fail)
    with pytest.raises(OSError, match="No space left"):
        recorder(path)
    assert not path.exists()


# -- what is at the path ------------------------------------------------------------------


def test_dropping_frames_keeps_mode_and_links(path, tape, tmp_path):
    link, victim = tmp_path / "link.run", tmp_path / "victim"
    link.symlink_to(path)
    victim.write_bytes(b"mine")
    for name in (".part", ".tmp"):  # names that other programs use for temporary files
        (tmp_path / (path.name + name)).symlink_to(victim)
        (tmp_path / (link.name + name)).symlink_to(victim)
    recorder(path).close()
    path.chmod(0o600)
    with recorder(link, resume=True, limit="30 kB") as first:
        for _ in range(30):
            first.record(tape)
        assert first._store.thinned
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o600
    assert victim.read_bytes() == b"mine"
    assert updates(path)[0] == 1


def test_a_file_that_is_no_run_file_is_not_touched(tmp_path, devices, tape):
    for name, content in {"text": b"a text\n" * 50, "empty": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FileExistsError):
            recorder(tmp_path / name)
        with pytest.raises(DamagedFileError, match=name):
            recorder(tmp_path / name, resume=True)
        assert (tmp_path / name).read_bytes() == content
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", "/dev/zero"):  # reading these would never end
        for read_it in (viz.Run, lambda place: recorder(place, resume=True)):
            with pytest.raises(DamagedFileError, match=f"{place} is a device or a pipe: give a file"):
                read_it(place)
    for place in (devices / "null", devices / "full", tmp_path):
        with pytest.raises((OSError, DamagedFileError)):
            recorder(place, resume=True)


def move(path):
    path.rename(path.with_name("b.run"))


def replace_by_link(path):
    path.with_name("mine").write_bytes(b"mine")
    path.unlink()
    path.symlink_to("mine")


def replace_by_file(path):
    path.with_name("mine").write_bytes(b"mine")
    path.with_name("mine").replace(path)


@pytest.mark.parametrize("full", ["thin", "ring", "stop"])
@pytest.mark.parametrize("change", [os.unlink, move, replace_by_link, replace_by_file])
def test_a_file_that_is_no_longer_there_is_not_written_to(path, tape, change, full):
    with recorder(path, full=full, limit="30 kB") as first:
        first.record(tape)
        change(path)
        before = path.read_bytes() if path.exists() else None
        for _ in range(20):  # enough for frames to be dropped
            with pytest.raises(FileNotFoundError, match=r"was moved, removed or replaced.*a\.run"):
                first.record(tape)
        assert (path.read_bytes() if path.exists() else None) == before
    if change is move:  # all that was written before
        path.with_name("b.run").rename(path)
        assert updates(path) == [1]


def test_the_file_stays_the_same_in_another_working_folder(path, tape, monkeypatch):
    monkeypatch.chdir(path.parent)
    with recorder(path.name, limit="30 kB") as first:
        first.record(tape)
        monkeypatch.chdir("/")
        for _ in range(20):
            first.record(tape)
        assert first._store.thinned
    assert updates(path)[0] == 1


# -- crafted files --------------------------------------------------------------------------


def frame(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-(runfile._HEAD.size + len(text)) % 64)
    head = struct.pack("<4sIQII", b"FRM\n", len(text), len(body), zlib.crc32(text), zlib.crc32(body))
    return head + struct.pack("<I", zlib.crc32(head)) + text + body


@pytest.fixture
def parts(path, tape):
    """The header and the arrays of a whole frame."""
    with recorder(path, gradients="*", weights=True) as first:
        first.record(tape, loss=0.5, epoch=1, note="a")
    content = path.read_bytes()[64:]
    _, text_length, *_ = runfile._HEAD.unpack(content[: runfile._HEAD.size])
    start = runfile._HEAD.size
    return json.loads(content[start : start + text_length]), content[start + text_length :]


def use(path):
    """Everything that can be read from a run."""
    with viz.Run(path) as run:
        run.verify()
        for name in run.series_names:
            run.series(name)
        for found in run:
            assert isinstance(found.update, int)
            if found.header["arrays"]:
                assert len(found.steps) == found.T
                assert found.B == len(found.rows) == len(found.lengths)
                assert found.mode in ("RNN", "GRU", "LSTM")
                assert found.dtype in (np.float32, np.float64)
            for name in found._index:
                found[name].sum()
            str(found)
        return len(run)


def test_hundreds_of_crafted_frames_are_read_or_refused(path, parts, rng):
    header, body = parts
    for _ in range(400):
        bad, what = changed(header, rng)
        path.write_bytes(runfile.MAGIC + frame(bad, body) + frame(header, body))
        read(use, path, what, most=2**22)
    path.write_bytes(runfile.MAGIC + frame(header, body) * 2)
    assert use(path) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(update=None), "frame 0: update is None"),
        (lambda h: h.update(update=float("nan")), "frame 0: update is nan"),
        (lambda h: h.update(update=2**70), "frame 0: update is 118"),
        (lambda h: h.update(loss="low"), "frame 0: loss is 'low'"),
        (lambda h: h.update(values=[1]), "frame 0: values is a list of 1"),
        (lambda h: h.update(values=None), "frame 0: values is None"),
        (lambda h: h.update(values={"a": 10**400}), "frame 0: values.a is 1000"),
        (lambda h: h.update(note=3), "frame 0: note is 3"),
        (lambda h: h.update(arrays={"a": 1}), "frame 0: arrays is a dict"),
        (lambda h: h.update(layer=None), "frame 0: layer is None"),
        (lambda h: h["layer"].update(hidden_size=10**12), "frame 0: layer.hidden_size is"),
        (lambda h: h["layer"].update(mode="ELMAN"), "frame 0: layer.mode is 'ELMAN'"),
        (lambda h: h.pop("layer"), "frame 0: layer is missing"),
        (lambda h: h["arrays"].append(h["arrays"][0]), "a name that no other array of the frame has"),
        (lambda h: h["arrays"][0].pop(), r"frame 0: arrays\[0\] is a list of 3, expected a list of 4"),
        (lambda h: h["arrays"][0].__setitem__(1, "object"), r"arrays\[0\]\[1\] is 'object', expected"),
        (lambda h: h["arrays"][0].__setitem__(2, [10**9] * 3), "an array that can exist"),
        (lambda h: h["arrays"][0].__setitem__(2, [9, 2, -4]), r"arrays\[0\]\[2\]\[2\] is -4"),
        (lambda h: h["arrays"][0].__setitem__(2, [9, 2, 2**40, 0]), "that can exist|does not fit"),
        (lambda h: h["arrays"][0].__setitem__(2, [9, 2, 400]), "'l0.h' of frame 0 is not inside it"),
        (lambda h: h["arrays"][0].__setitem__(3, -64), r"arrays\[0\]\[3\] is -64"),
        (lambda h: h["arrays"][0].__setitem__(3, 2), "of frame 0 is not inside it"),
        (lambda h: h["arrays"][0].__setitem__(3, 2**62), "of frame 0 is not inside it"),
        (lambda h: h["arrays"][0].__setitem__(0, "state"), "'state' is not the name of an array of a tape"),
        (lambda h: h["arrays"][0].__setitem__(2, [2, 9, 4]), "does not fit the frame's axes"),
        (lambda h: h["arrays"].pop(-2), "'axis rows' is missing"),
    ],
)
def test_every_field_of_a_frame_is_checked(path, parts, change, message):
    header, body = parts
    if not isinstance(header["arrays"], list):
        raise AssertionError(header)
    change(header)
    path.write_bytes(runfile.MAGIC + frame(header, body))
    with pytest.raises(DamagedFileError, match=message) as caught:
        viz.Run(path)
    assert str(path) in str(caught.value)
    assert len(viz.Run(path, upto_damage=True)) == 0
    with pytest.raises(DamagedFileError):
        recorder(path, resume=True)


@pytest.mark.parametrize("text", [b"{", b"[1]", b"null", b'"a"', b"[" * 10**5, b"\xff", b"1" * 5000])
def test_a_frame_that_is_not_a_dict_is_refused(path, text):
    path.write_bytes(runfile.MAGIC + frame(text))
    assert read(use, path, text[:9]) is None


def test_values_that_could_not_be_read_back_are_not_recorded(path, tape):
    with recorder(path) as first:
        for options, message in (
            ({"update": 1.5}, "update: got 1.5"),
            ({"update": -1}, "update: got -1"),
            ({"epoch": "first"}, "epoch: got 'first'"),
            ({"note": 3}, "note: got 3, expected a text"),
        ):
            with pytest.raises((ValueError, TypeError), match=message):
                first.record(tape, **options)
        first.record(tape, update=np.int64(4), epoch=np.int32(2), loss=np.float32("nan"))
    assert updates(path) == [4]
