"""Writing files: there is either the old file or the new one, never a part, and only files are replaced."""

import errno
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import pytest
from support import run_python

from rnncore.io import files
from rnncore.io.files import check_target, lock, replacing, write_bytes

NEW = b"new " * 1000
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "file"
    found.write_bytes(b"old")
    return found


def names(folder):
    return sorted(os.listdir(folder))


# -- what is kept ---------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o755, 0o400, 0o666])
def test_the_mode_of_a_file_is_kept(path, mode):
    path.chmod(mode)
    write_bytes(path, NEW)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_bytes() == NEW


@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
def test_a_new_file_follows_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_bytes(tmp_path / "new", NEW)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o666 & ~umask


def test_a_private_file_cannot_be_read_by_others_while_it_is_written(path, tmp_path):
    path.chmod(0o600)
    with replacing(path) as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600


@as_root
def test_the_owner_is_kept(path):
    os.chown(path, 1234, 2345)
    path.chmod(0o640)
    write_bytes(path, NEW)
    there = path.stat()
    assert (there.st_uid, there.st_gid, stat.S_IMODE(there.st_mode)) == (1234, 2345, 0o640)


def as_somebody(code, status=0):
    """Run Python as user 4321."""
    program = f"import os; os.setgroups([]); os.setgid(4321); os.setuid(4321)\n{code}"
    program = "import rnncore.io.files\n" + program  # before it becomes the other user, while it may read the source
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done.stderr


@pytest.fixture
def open_folder():
    """A folder that another user may enter; pytest's may not be."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@as_root
def test_if_the_group_cannot_be_kept_its_permissions_are_dropped(open_folder):
    """Another user's file in a folder that everybody may write to."""
    path = open_folder / "file"
    path.write_bytes(b"old")
    open_folder.chmod(0o777)
    os.chown(path, 1234, 2345)
    path.chmod(0o662)
    as_somebody(f"from rnncore.io.files import write_bytes; write_bytes({str(path)!r}, b'new')")
    there = path.stat()
    assert path.read_bytes() == b"new"
    assert (there.st_uid, stat.S_IMODE(there.st_mode)) == (4321, 0o622)


# -- links ------------------------------------------------------------------------


def test_chains_of_links_are_followed(tmp_path):
    (tmp_path / "deep").mkdir()
    target, first, second = tmp_path / "deep" / "target", tmp_path / "first", tmp_path / "second"
    target.write_bytes(b"old")
    first.symlink_to("deep/target")
    second.symlink_to(first)
    write_bytes(second, NEW)
    assert first.is_symlink()
    assert second.is_symlink()
    assert target.read_bytes() == NEW
    assert names(tmp_path / "deep") == ["target"]


def test_writing_to_a_dangling_link_makes_its_target(tmp_path):
    (tmp_path / "link").symlink_to("target")
    write_bytes(tmp_path / "link", NEW)
    assert (tmp_path / "target").read_bytes() == NEW
    (tmp_path / "lost").symlink_to("no/where")
    with pytest.raises(FileNotFoundError, match="lost"):
        write_bytes(tmp_path / "lost", NEW)


def test_a_loop_of_links_is_an_error(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match=r"'.*/a'") as caught:
        write_bytes(tmp_path / "a", NEW)
    assert caught.value.errno == errno.ELOOP


def test_other_hard_links_keep_the_old_content(path, tmp_path):
    os.link(path, tmp_path / "other")
    write_bytes(path, NEW)
    assert (tmp_path / "other").read_bytes() == b"old"


# -- devices, pipes, folders -----------------------------------------------------------------


def test_a_full_device_is_reported_and_stays(devices):
    full = devices / "full"
    device = os.stat(full)
    with pytest.raises(OSError, match=f"No space left on device: '{full}'"):
        write_bytes(full, NEW)
    assert os.path.samestat(device, os.stat(full))
    write_bytes(devices / "null", NEW)
    assert stat.S_ISCHR(os.stat(devices / "null").st_mode)
    assert check_target(full) is not None
    if devices != Path("/dev"):
        assert names(devices) == ["full", "null"]


@as_root
def test_disks_are_refused(tmp_path):
    try:
        os.mknod(tmp_path / "disk", 0o666 | stat.S_IFBLK, os.makedev(240, 0))
    except PermissionError:
        pytest.skip("no device nodes can be made here")
    with pytest.raises(OSError, match=r"is a disk: give a file's name: .*disk'"):
        write_bytes(tmp_path / "disk", NEW)
    assert stat.S_ISBLK((tmp_path / "disk").stat().st_mode)
    assert names(tmp_path) == ["disk"]


def test_a_pipe_is_written_to_if_it_has_a_reader(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="pipe'") as caught:  # at once, without waiting for a reader
        write_bytes(pipe, NEW)
    assert caught.value.errno == errno.ENXIO
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    content, large = bytearray(), os.urandom(2**20)  # more than a pipe holds

    def read():
        while len(content) < len(large):  # empty until there is a writer
            content.extend(os.read(reader, 2**16))

    thread = threading.Thread(target=read)
    thread.start()
    write_bytes(pipe, large)
    thread.join()
    os.close(reader)
    assert content == large
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_folders_and_sockets_are_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match="folder'"):
        write_bytes(tmp_path / "folder", NEW)
    with pytest.raises(IsADirectoryError):
        write_bytes("", NEW)
    place = os.getcwd()
    os.chdir(tmp_path)  # a socket's name has to be short
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind("socket")
            with pytest.raises(OSError, match="is a socket: give a file's name: 'socket'"):
                write_bytes("socket", NEW)
    finally:
        os.chdir(place)
    assert names(tmp_path) == ["folder", "socket"]


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
@pytest.mark.parametrize("to_file", [False, True])
def test_writing_to_the_name_of_an_open_file_appends(tmp_path, name, to_file):
    """Output that the program has written before stays, also if it goes to a file."""
    (tmp_path / "link").symlink_to("/dev/stdout")
    code = f"""
        import sys
        from rnncore.io.files import write_bytes
        print("first", flush=True)
        write_bytes({name!r}, b"second\\n")
        print("third", flush=True)
    """
    with open(tmp_path / "out", "wb") as file:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, check=True,
            stdout=file if to_file else subprocess.PIPE,
        )  # fmt: skip
    out = (tmp_path / "out").read_bytes() if to_file else done.stdout
    assert out == b"first\nsecond\nthird\n"
    assert names(tmp_path) == ["link", "out"]


# -- failures ---------------------------------------------------------------------


def test_missing_folders_are_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no such folder: '.*no/where'"):
        write_bytes(tmp_path / "no" / "where", NEW)
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(NotADirectoryError, match="file/under'"):
        write_bytes(tmp_path / "file" / "under", NEW)


@as_root
def test_write_protected_files_and_folders_are_refused(open_folder):
    (open_folder / "file").write_bytes(b"old")
    write = "from rnncore.io.files import write_bytes\nwrite_bytes({!r}, b'new')"
    for name in ("file", "new"):
        told = as_somebody(write.format(str(open_folder / name)), status=1)
        assert f"PermissionError: [Errno 13] {'is write-protected' if name == 'file' else 'its'}" in told
        assert f"{open_folder / name}'" in told
    open_folder.chmod(0o777)
    told = as_somebody(write.format(str(open_folder / "file")), status=1)
    assert "is write-protected: give another name" in told
    assert (open_folder / "file").read_bytes() == b"old"
    assert names(open_folder) == ["file"]


def limited(code, size):
    """Run Python with a limit on the size of files, which acts as a full disk."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return subprocess.run(
        [sys.executable, "-B", "-c", textwrap.dedent(code)], capture_output=True, text=True,
        preexec_fn=limit,
    )  # fmt: skip


@pytest.mark.parametrize("pieces", [1, 50])
def test_a_full_disk_leaves_the_old_file(path, tmp_path, pieces):
    code = f"""
        from rnncore.io.files import replacing
        with replacing({str(path)!r}) as file:
            for _ in range({pieces}):
                file.write(bytes(100_000 // {pieces}))
    """
    done = limited(code, 50_000)
    assert f"OSError: [Errno 27] File too large: '{path}'" in done.stderr
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("broken", ["fsync", "replace", "fchmod"])
def test_whatever_fails_is_named_and_leaves_the_old_file(path, tmp_path, monkeypatch, broken):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(files.os, broken, fail)
        with pytest.raises(OSError, match=r"Input/output error: '.*/file'"):
            write_bytes(path, NEW)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_errors_of_the_block_are_not_changed(path, tmp_path):

    def write(act):
        with replacing(path) as file:
            file.write(b"half")
            act()

    with pytest.raises(ZeroDivisionError):
        write(lambda: 1 // 0)
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        write((tmp_path / "elsewhere").read_bytes)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_names_of_the_maximum_length_can_be_written(tmp_path):
    path = tmp_path / ("n" * 255)
    write_bytes(path, NEW)
    write_bytes(path, NEW)
    assert names(tmp_path) == [path.name]


# -- temporary files of killed writers ----------------------------------------------------------------


def killed_while_writing(path):
    """Kill a process in the middle of a write; returns the name of its temporary file."""
    code = f"""
        import time
        from rnncore.io.files import replacing
        with replacing({str(path)!r}) as file:
            file.write(b"half")
            file.flush()
            print("now", flush=True)
            time.sleep(600)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE
    )
    process.stdout.readline()
    return process


def test_the_next_write_removes_temporary_files_of_killed_writers(path, tmp_path):
    first, living = killed_while_writing(path), killed_while_writing(tmp_path / "other")
    try:
        first.kill()
        first.wait()
        assert len(names(tmp_path)) == 3
        write_bytes(path, NEW)
        left = [name for name in names(tmp_path) if name != "file"]
        assert len(left) == 1  # that of the running writer
        assert (tmp_path / left[0]).read_bytes() == b"half"
    finally:
        for process in (first, living):
            process.kill()
            process.wait()
            process.stdout.close()
    write_bytes(path, NEW)
    assert names(tmp_path) == ["file"]


def test_files_that_only_look_like_temporary_ones_stay(tmp_path):
    """Links, folders and pipes with such a name, and files with other names."""
    (tmp_path / "target").write_bytes(b"mine")
    (tmp_path / ".rnncore-0000000000000000.tmp").symlink_to("target")
    (tmp_path / ".rnncore-0000000000000001.tmp").mkdir()
    os.mkfifo(tmp_path / ".rnncore-0000000000000002.tmp")
    (tmp_path / ".rnncore-notes.tmp").write_bytes(b"mine")
    (tmp_path / ".file.tmp").write_bytes(b"mine")
    before = names(tmp_path)
    write_bytes(tmp_path / "file", NEW)
    assert names(tmp_path) == sorted([*before, "file"])


def test_a_planted_link_is_not_followed(tmp_path, monkeypatch):
    """An attacker who knew the temporary name in advance could have made the link."""
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / f".rnncore-{'0' * 16}.tmp").symlink_to("victim")
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "0" * 16)
    with pytest.raises(FileExistsError):
        write_bytes(tmp_path / "file", NEW)
    assert (tmp_path / "victim").read_bytes() == b"mine"


def test_many_writers_of_one_file_leave_one_complete_content(tmp_path):
    """Each content is complete, no file of a running writer is removed, and no temporary file stays."""
    path = tmp_path / "file"
    contents = [bytes([65 + k]) * 50_000 for k in range(4)]
    failed, stop = [], time.monotonic() + 1.5

    def write(content):
        try:
            while time.monotonic() < stop:
                write_bytes(path, content)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    while time.monotonic() < stop:
        if path.exists():
            assert path.read_bytes() in contents
    for thread in threads:
        thread.join()
    assert not failed
    assert names(tmp_path) == ["file"]


def test_a_lock_belongs_to_the_open_file(path):
    with open(path, "rb") as one, open(path, "rb") as other:
        assert lock(one) is True
        assert lock(one) is True
        assert lock(other) is False
        files.unlock(one)
        assert lock(other) is True


def test_a_locked_file_is_not_replaced(path, tmp_path):
    (tmp_path / "link").symlink_to(path)
    with open(path, "rb") as holder:
        assert lock(holder) is True
        for name in (path, tmp_path / "link"):
            for ask in (check_target, lambda name: write_bytes(name, NEW)):
                with pytest.raises(BlockingIOError, match=r"somebody is writing to this file.*another name"):
                    ask(name)
        assert check_target(path, locked=True).st_size == 3
    assert path.read_bytes() == b"old"
    write_bytes(path, NEW)


def test_the_file_that_replaces_a_locked_one_is_locked(path):
    with open(path, "rb") as holder:
        assert lock(holder) is True
        with replacing(path, locked=True) as file:
            file.write(NEW)
            kept = os.dup(file.fileno())
    with pytest.raises(BlockingIOError):
        write_bytes(path, b"more")
    os.close(kept)
    write_bytes(path, b"more")


@as_root
def test_in_a_sticky_folder_another_users_file_is_refused_in_advance(open_folder):
    path = open_folder / "file"
    path.write_bytes(b"old")
    path.chmod(0o666)
    open_folder.chmod(0o1777)
    told = as_somebody(f"from rnncore.io.files import check_target; check_target({str(path)!r})", status=1)
    assert "PermissionError: [Errno 1] is another user's, in a folder where only its owner" in told
    os.chown(path, 4321, 4321)
    as_somebody(f"from rnncore.io.files import write_bytes; write_bytes({str(path)!r}, b'new')")
    assert path.read_bytes() == b"new"


def test_descriptors_that_are_not_open_are_refused_in_advance():
    with pytest.raises(FileNotFoundError, match="there is no such open file: '/dev/fd/9999'"):
        check_target("/dev/fd/9999")


def test_check_target_refuses_what_a_write_would_refuse(path, tmp_path):
    assert check_target(path).st_size == 3
    assert check_target(tmp_path / "new") is None
    assert names(tmp_path) == ["file"]
    with pytest.raises(IsADirectoryError):
        check_target(tmp_path)


def test_writing_imports_no_package_but_numpy():
    """The command checks its output files before it imports anything large."""
    run_python("import sys, rnncore.io.files; assert 'safetensors' not in sys.modules")
