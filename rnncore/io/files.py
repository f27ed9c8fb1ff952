"""Writing files: every file that the package writes is written by this module.

The content goes to a temporary file in the same folder, which is flushed to the disk and renamed.
Readers therefore see either the old file or the new one, never a part of it, and a write that fails
leaves the old file unchanged.

what is at the path               what happens
nothing                           a new file is made; its mode follows the umask
a file                            it is replaced; the new one has its permission bits and, if allowed, its owner
a symbolic link                   it is followed: its target is replaced, the link stays
one of several hard links         this name gets the new content, the others keep the old
a terminal, /dev/null, /dev/full, a pipe that is being read, /dev/stdout, /dev/fd/3
                                  it is written to directly, never replaced
a folder, a disk, a socket, a pipe without a reader, a write-protected file,
a file that is locked (`lock`), as a recorder's is while it writes
                                  the write is refused

Temporary files (``.rnncore-….tmp``) of processes that were killed are removed by the next write into
the same folder. A writer holds a lock on its temporary file, so one without a lock is left over. That
lock is a shared one: `lock` respects it, and it does not prevent the file from being replaced.
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
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from rnncore._typing import PathLike

_ASIDE = re.compile(r"\.rnncore-[0-9a-f]{16}\.tmp")
_DESCRIPTORS = re.compile(r"/proc/\d+(/task/\d+)?/fd")


def write_bytes(path: PathLike, content: bytes) -> None:
    """Write `content` to `path`; the module's docstring lists what happens to an existing file.

    Raises
    ------
    OSError
        The write failed; the error names `path`, whichever file the failure concerned.

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
def replacing(path: PathLike, *, locked: bool = False) -> Iterator[IO[bytes]]:
    """A file to write to; when the block ends, it replaces the file at `path` in one step.

    Parameters
    ----------
    path : path
    locked : bool
        The caller holds the lock of the file at `path`. The new file is locked in the same way before
        anything is written; a descriptor that is duplicated within the block keeps the lock after it.
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


def check_target(path: PathLike, *, locked: bool = False) -> os.stat_result | None:
    """The status of the file at `path` (None if there is none), refused if it could not be written.

    Long computations call this before they start.

    Parameters
    ----------
    path : path
    locked : bool
        A locked file is accepted: the lock is the caller's.

    Raises
    ------
    OSError
        It is a folder, a disk or a socket, is write-protected or locked, or its folder is missing or
        cannot be written to. Whether a pipe has a reader is only found out by writing to it.
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
        return there  # a device or a pipe, which is written to directly
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


def is_same(path: PathLike, other: PathLike | None) -> bool:
    """Whether two paths lead to one file, also through links; False if `other` is None."""
    try:
        return other is not None and os.path.samefile(path, other)
    except OSError:
        return False


def lock(file: IO[bytes] | int, *, shared: bool = False) -> bool | None:
    """Take the lock of an open file, without waiting, until it is closed (in forked processes too).

    Several shared locks can be held at once; a lock that is not shared excludes all others.

    Returns
    -------
    bool or None
        True: the lock was taken. False: another process, or another open file of this process, holds it.
        None: the file system has no locks.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def unlock(file: IO[bytes] | int) -> None:
    """Release the lock, also for forked processes that have the file open."""
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def named(path: PathLike) -> Iterator[None]:
    """An OSError of the block that names no file, or a temporary file of this module, names `path` instead."""
    try:
        yield
    except OSError as error:
        name = error.filename
        if error.errno is None or (name is not None and not _ASIDE.fullmatch(_base(name))):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _base(name: object) -> str:
    return os.path.basename(os.fsdecode(name)) if isinstance(name, (str, bytes)) else str(name)


def _descriptor(path: Path) -> Path | None:
    """For a path that names an open file (/dev/stdout, /dev/fd/1, a link to one) its /proc/7/fd/1, else None."""
    while True:
        path = Path(os.path.realpath(path.parent), path.name)
        if _DESCRIPTORS.fullmatch(str(path.parent)):
            return path
        if not path.is_symlink():
            return None
        path = path.parent / os.readlink(path)


def _open_in_place(path: Path, opened: Path | None) -> int:
    """A descriptor that appends to the file at `path`; a pipe without a reader is an error and does not block."""
    if opened and str(opened).startswith(f"/proc/{os.getpid()}/"):
        return os.dup(int(opened.name))  # open in this process: continue at its position
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY)
    os.set_blocking(descriptor, True)
    return descriptor


def _open_aside(folder: str, mode: int, *, shared: bool) -> tuple[str, int]:
    """A new, locked temporary file in `folder`: its name and descriptor."""
    while True:
        aside = os.path.join(folder, f".rnncore-{secrets.token_hex(8)}.tmp")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        descriptor = os.open(aside, flags, mode)
        # Before the lock was taken, another writer could take the file for a leftover and remove it.
        if lock(descriptor, shared=shared) is not False and os.path.exists(aside):
            return aside, descriptor
        os.close(descriptor)


def _is_locked(path: Path) -> bool:
    """Whether the lock of a file is held; False for a file that cannot be opened."""
    with suppress(OSError), open(path, "rb") as file:
        for wait in (0.001, 0.01, 0.05, 0):
            if lock(file, shared=True) is not False:
                return False
            time.sleep(wait)  # `_remove_leftovers` of another process holds a lock for a moment
        return True
    return False


def _may_be_replaced(there: os.stat_result, folder: os.stat_result) -> bool:
    """Whether this user may replace a file: in a sticky folder, as /tmp is, its owner and the folder's may."""
    user = os.geteuid()
    return not folder.st_mode & stat.S_ISVTX or user in (0, there.st_uid, folder.st_uid)


def _remove_leftovers(folder: str) -> None:
    """Remove temporary files that killed writers have left: they have our pattern of names and no lock."""
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
    """Give the new file the owner and the permission bits of the file that it replaces."""
    mode, own = stat.S_IMODE(there.st_mode), os.fstat(descriptor)
    if (own.st_uid, own.st_gid) != (there.st_uid, there.st_gid):
        for owner in (there.st_uid, -1):
            with suppress(PermissionError):
                os.fchown(descriptor, owner, there.st_gid)
                break
        else:  # the group could not be kept: the new one gets no more permissions than everybody has
            mode = mode & 0o707 | (mode & 0o007) << 3
    with suppress(PermissionError):  # a file system without modes
        os.fchmod(descriptor, mode)


def _sync_folder(folder: str) -> None:
    """Flush the rename itself to the disk, on systems where a folder can be flushed."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
