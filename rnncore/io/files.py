"""Writing: the one way in which anything of ours becomes a file.

A file is written aside, in the same folder, flushed to the disk and renamed: whoever looks sees the
old file or the new one, never a part, and a write that fails leaves the old one whole.

what is at the path               what happens
nothing                           a new file; its mode follows the umask
a file                            replaced; keeps its permission bits and, where we may, its owner
a symbolic link                   followed: its target is replaced, the link stays
one of several hard links         this name gets the new content, the others keep the old
a terminal, /dev/null, /dev/full, a pipe somebody reads, /dev/stdout, /dev/fd/3
                                  written to as it is, never replaced
a folder, a disk, a socket, a pipe that nobody reads, a write-protected file,
a file that somebody has locked (`lock`), as a recorder does while it writes
                                  refused

What a killed process left behind (``.rnncore-….tmp``) is removed by the next write into the same
folder: a file that is being written is locked by its writer, one that is not has none. That lock is
a shared one, which `lock` respects and which does not keep others from replacing the file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_ASIDE = re.compile(r"\.rnncore-[0-9a-f]{16}\.tmp")
_DESCRIPTORS = re.compile(r"/proc/\d+(/task/\d+)?/fd")


def write_bytes(path, content: bytes) -> None:
    """Write `content` to `path`; the module says what that does to what is there.

    Raises
    ------
    OSError
        By the name of `path`, whatever failed.

    Examples
    --------
    >>> import os, pathlib, tempfile
    >>> from rnncore.io.files import write_bytes
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name) / "numbers"
    >>> write_bytes(path, b"1 2 3")
    >>> path.read_bytes(), os.listdir(folder.name)
    (b'1 2 3', ['numbers'])
    >>> folder.cleanup()
    """
    with replacing(path) as file:
        file.write(content)


@contextmanager
def replacing(path, *, locked: bool = False) -> Iterator[IO[bytes]]:
    """A file to write: what is in it when the block ends is what `path` holds, all at once.

    Parameters
    ----------
    path : path
    locked : bool
        The caller has the lock of what is at `path`. The new file is locked in the same way from its
        first byte on; a descriptor that is duplicated within the block keeps the lock beyond it.
    """
    path = Path(path)
    there = check_target(path, locked=locked)
    with named(path):
        opened = _descriptor(path)
        if opened or (there is not None and not stat.S_ISREG(there.st_mode)):
            with open(_open_in_place(path, opened), "wb") as file:
                yield file
            return
        target = os.path.realpath(path)
        _remove_leftovers(os.path.dirname(target))
        aside, descriptor = _open_aside(
            os.path.dirname(target), 0o666 if there is None else 0o600, shared=not locked
        )
        try:
            with open(descriptor, "w+b") as file:
                yield file
                file.flush()
                if there is not None:
                    _make_like(descriptor, there)
                os.fsync(descriptor)
                os.replace(aside, target)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(aside)
            raise
        _sync_folder(os.path.dirname(target))


def check_target(path, *, locked: bool = False) -> os.stat_result | None:
    """What is at `path` (None: nothing yet), refused where it could not be written: ask before work.

    Parameters
    ----------
    path : path
    locked : bool
        A file that is locked will do: the lock is the caller's.

    Raises
    ------
    OSError
        It is a folder, a disk or a socket, is write-protected or locked, or its folder is missing or
        may not be written to. Whether somebody reads a pipe is seen when it is written to.
    """
    path = Path(path)
    try:
        there = os.stat(path)
    except FileNotFoundError:
        there = None
    folder = os.path.dirname(os.path.realpath(path))
    if there is None:
        if _descriptor(path):
            raise FileNotFoundError(errno.ENOENT, "there is no such open file", str(path))
        if not os.path.isdir(folder):
            raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(path))
    elif stat.S_ISDIR(there.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder: give a file's name", str(path))
    elif stat.S_ISBLK(there.st_mode) or stat.S_ISSOCK(there.st_mode):
        kind = "disk" if stat.S_ISBLK(there.st_mode) else "socket"
        raise OSError(errno.EINVAL, f"is a {kind}: give a file's name", str(path))
    elif not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "is write-protected: give another name", str(path))
    elif not stat.S_ISREG(there.st_mode):
        return there  # written to where it is
    elif not locked and _is_locked(path):
        raise BlockingIOError(
            errno.EWOULDBLOCK, "somebody is writing to this file: close it, or give another name", str(path)
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "its folder may not be written to", str(path))
    if there is not None and not _may_be_replaced(there, os.stat(folder)):
        raise PermissionError(
            errno.EPERM, "is another user's, in a folder where only its owner may replace it", str(path)
        )
    return there


def is_same(path, other) -> bool:
    """Whether two paths are one file, by whatever links; None is no file."""
    try:
        return other is not None and os.path.samefile(path, other)
    except OSError:
        return False


def lock(file, *, shared: bool = False) -> bool | None:
    """Take the lock of an open file, without waiting, until it is closed (by forks, too).

    A shared lock is one of many that do not exclude each other, but do exclude one that is not.

    Returns
    -------
    bool or None
        True: it is ours. False: another process, or another open file of this one, has it.
        None: the file system has no locks.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def unlock(file) -> None:
    """Let go of the lock, also for forks that hold the file open."""
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def named(path) -> Iterator[None]:
    """An OSError of the block that names no file, or one of ours aside, names `path`."""
    try:
        yield
    except OSError as error:
        name = error.filename
        if error.errno is None or (name is not None and not _ASIDE.fullmatch(_base(name))):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _base(name) -> str:
    return os.path.basename(os.fsdecode(name)) if isinstance(name, (str, bytes)) else str(name)


def _descriptor(path: Path) -> Path | None:
    """/proc/7/fd/1 where the path is a name of an open file: /dev/stdout, /dev/fd/1, a link to one."""
    while True:
        path = Path(os.path.realpath(path.parent), path.name)
        if _DESCRIPTORS.fullmatch(str(path.parent)):
            return path
        if not path.is_symlink():
            return None
        path = path.parent / os.readlink(path)


def _open_in_place(path: Path, opened: Path | None) -> int:
    """A descriptor that adds to what is there; a pipe that nobody reads is an error, not a wait."""
    if opened and str(opened).startswith(f"/proc/{os.getpid()}/"):
        return os.dup(int(opened.name))  # ours: goes on where the program is
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY)
    os.set_blocking(descriptor, True)
    return descriptor


def _open_aside(folder: str, mode: int, *, shared: bool) -> tuple[str, int]:
    """A new file of ours in `folder`, locked: its name and descriptor."""
    while True:
        aside = os.path.join(folder, f".rnncore-{secrets.token_hex(8)}.tmp")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        descriptor = os.open(aside, flags, mode)
        # Before the lock was ours, another writer could take the file for a leftover and remove it.
        if lock(descriptor, shared=shared) is not False and os.path.exists(aside):
            return aside, descriptor
        os.close(descriptor)


def _is_locked(path: Path) -> bool:
    """Whether somebody keeps the lock of a file; of one that we may not read nothing is known."""
    with suppress(OSError), open(path, "rb") as file:
        for wait in (0.001, 0.01, 0.05, 0):
            if lock(file, shared=True) is not False:
                return False
            time.sleep(wait)  # who looks for leftovers has it for a moment, of a file that was one of them
        return True
    return False


def _may_be_replaced(there: os.stat_result, folder: os.stat_result) -> bool:
    """In a sticky folder, as /tmp is, only the owner of a file or of the folder may."""
    user = os.geteuid()
    return not folder.st_mode & stat.S_ISVTX or user in (0, there.st_uid, folder.st_uid)


def _remove_leftovers(folder: str) -> None:
    """Remove what writers that are no more have left: ours by name, and locked by nobody."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not (_ASIDE.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)):
                continue
            with suppress(OSError):
                descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                with open(descriptor, "rb") as file:
                    if lock(file) is True:
                        os.unlink(entry.path)


def _make_like(descriptor: int, there: os.stat_result) -> None:
    """The owner and the permission bits of the file that is replaced."""
    mode, own = stat.S_IMODE(there.st_mode), os.fstat(descriptor)
    if (own.st_uid, own.st_gid) != (there.st_uid, there.st_gid):
        for owner in (there.st_uid, -1):
            with suppress(PermissionError):
                os.fchown(descriptor, owner, there.st_gid)
                break
        else:  # another group: it may not do more than everybody may
            mode = mode & 0o707 | (mode & 0o007) << 3
    with suppress(PermissionError):  # a file system without modes
        os.fchmod(descriptor, mode)


def _sync_folder(folder: str) -> None:
    """The rename itself, where a folder can be flushed to the disk."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
