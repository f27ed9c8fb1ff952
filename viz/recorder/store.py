"""Where frames are kept: in a run file or in memory, within a number of bytes.

Both follow the same rule for dropping frames when the next one does not fit ("thin", "ring" or
"stop"); they differ in how frames are dropped.
"""

from __future__ import annotations

import errno
import os
import re
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from rnncore.io.fields import DamagedFileError, check_file
from rnncore.io.files import lock, named, replacing, unlock

from .frame import Frame, Header, series
from .runfile import MAGIC, Run, pack

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path

    from rnncore._typing import Array, Floats, Ints

Full: TypeAlias = Literal["thin", "ring", "stop"]
_UNITS = {"": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
FULL: tuple[Full, ...] = get_args(Full)


class Store:
    """Frames in the order in which they came.

    Parameters
    ----------
    limit : int or None
        Bytes of all frames together.
    full : {"thin", "ring", "stop"}
        What is dropped when the next frame does not fit: every second frame, the oldest frames, or
        the new one.
    """

    def __init__(self, limit: int | None, full: Full) -> None:
        if full not in FULL:
            raise ValueError(f"full: got {full!r}, expected one of {', '.join(map(repr, FULL))}")
        self.limit, self.full = limit, full
        self.headers: list[Header] = []
        self.sizes: list[int] = []
        self.thinned = 0  #: how often every second frame was dropped

    # ---- what a kind of store does in its own way

    def _size(self, header: Header, arrays: dict[str, Array]) -> int:
        """The bytes that this frame takes."""
        raise NotImplementedError

    def _ring_room(self, limit: int, size: int) -> int:
        """The bytes of old frames that "ring" keeps when a frame of `size` bytes comes."""
        raise NotImplementedError

    def _put(self, header: Header, arrays: dict[str, Array]) -> None:
        """Keep one more frame."""
        raise NotImplementedError

    def _keep(self, kept: Sequence[int]) -> None:
        """Drop all frames but these."""
        raise NotImplementedError

    # ---- what all share

    def append(self, header: Header, arrays: dict[str, Array]) -> None:
        """Take one frame, or leave it out under the rule of "stop" or "thin"."""
        size = self._size(header, arrays)
        if self.limit is not None:
            if size > self.limit:
                raise ValueError(
                    f"limit: got {self.limit:,} bytes, expected room for one frame of {size:,}; "
                    "record fewer names, rows, units or steps, or raise limit"
                )
            while sum(self.sizes) + size > self.limit:
                if self.full == "stop" or not self._give_way(self.limit, size, header):
                    return
        self._put(header, arrays)
        self.headers.append(header)
        self.sizes.append(size)

    def _give_way(self, limit: int, size: int, header: Header) -> bool:
        """Drop some frames; returns whether the new one is still wanted."""
        wanted = True
        if self.full == "ring":
            room, first = self._ring_room(limit, size), len(self.sizes)
            while first and (room := room - self.sizes[first - 1]) >= 0:
                first -= 1
            kept = list(range(max(first, 1), len(self.sizes)))
        else:
            heavy = [k for k, old in enumerate(self.headers) if not old.get("measured")]
            thinned = heavy if len(heavy) > 1 else list(range(len(self.sizes)))
            kept = sorted(set(range(len(self.sizes))) - set(thinned[1::2] or thinned))
            wanted = bool(header.get("measured")) or len(heavy) % 2 == 0  # whether it is its turn
        self._keep(kept)
        self.thinned += self.full == "thin"
        self.headers = [self.headers[k] for k in kept]
        self.sizes = [self.sizes[k] for k in kept]
        return wanted

    def series(self, name: str) -> tuple[Ints, Floats]:
        """(updates, values) of "loss" or of a measure."""
        return series(self.headers, name)

    def close(self) -> None:
        """Nothing to close in memory."""


class MemoryStore(Store):
    """Frames as arrays in memory."""

    def __init__(self, limit: int | None, full: Full) -> None:
        super().__init__(limit, full)
        self._arrays: list[list[Array]] = []

    def _size(self, header: Header, arrays: dict[str, Array]) -> int:
        return sum(array.nbytes for array in arrays.values())

    def _ring_room(self, limit: int, size: int) -> int:
        return limit - size

    def _put(self, header: Header, arrays: dict[str, Array]) -> None:
        self._arrays.append([np.array(array) for array in arrays.values()])
        header["arrays"] = [[name] for name in arrays]

    def _keep(self, kept: Sequence[int]) -> None:
        self._arrays = [self._arrays[k] for k in kept]

    @property
    def frames(self) -> list[Frame]:
        """Those that hold arrays, oldest first."""
        pairs = zip(self.headers, self._arrays, strict=True)
        return [Frame(header, arrays.__getitem__) for header, arrays in pairs if arrays]


class FileStore(Store):
    """Frames in a run file. To drop some, the others are written to a new file that replaces it.

    Nothing more is written once the file at the path is another one, or gone.

    The file is locked while the store is open, so that there is one writer; reading needs no lock.
    In a forked child the store is closed.
    """

    def __init__(self, path: Path, limit: int | None, full: Full, resume: bool = False) -> None:
        super().__init__(limit and max(limit - len(MAGIC), 1), full)
        self.path = path
        self._packed: list[bytes | memoryview] = []  # the frame whose size was asked for
        self._owner = os.getpid()
        if resume and self.path.exists():
            self._file = self._open()
            try:
                with Run(self.path) as run:
                    self.headers = [frame.header for frame in run]
                    self.sizes = [length for _, length in run.places]
                with named(self.path):
                    self._file.truncate(self._end)  # remove what an interrupted write left behind
            except BaseException:
                self._file.close()
                raise
        else:
            self._file = self._create()
        _open_stores.add(self)

    def _create(self) -> FileIO:
        try:
            file = open(self.path, "xb+", buffering=0)  # noqa: SIM115
        except FileExistsError:
            raise FileExistsError(
                f"path: {str(self.path)!r} exists; pass resume=True to append, or another path"
            ) from None
        try:
            self._lock(file)
            with named(self.path):
                _write_all(file, MAGIC)
        except BaseException:
            file.close()
            self.path.unlink()
            raise
        return file

    def _open(self) -> FileIO:
        """The file at the path, locked; opened again if it was replaced while waiting for the lock."""
        while True:
            check_file(self.path)
            file = open(self.path, "r+b", buffering=0)  # noqa: SIM115
            self._lock(file)
            if self._is_there(file):
                return file
            file.close()

    def _is_there(self, file: FileIO) -> bool:
        """Whether this open file is the one at the path."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), os.stat(self.path))
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _lock(self, file: FileIO) -> None:
        if lock(file) is False:
            file.close()
            raise BlockingIOError(
                errno.EWOULDBLOCK,
                "another recorder writes to this run file; close it, or give another path",
                str(self.path),
            )

    @property
    def _end(self) -> int:
        return len(MAGIC) + sum(self.sizes)

    def append(self, header: Header, arrays: dict[str, Array]) -> None:
        """Take one frame, or leave it out under the rule of "stop" or "thin"."""
        if self._file.closed:
            raise ValueError(
                f"path: {str(self.path)!r} "
                + (
                    "is closed, expected an open recorder; make one with resume=True"
                    if self._owner == os.getpid()
                    else f"is recorded by process {self._owner}, and this is a fork of it; make a "
                    "recorder with a path of its own here"
                )
            )
        if not self._is_there(self._file):
            raise FileNotFoundError(
                errno.ENOENT,
                "this run file was moved, removed or replaced while it was recorded; put it back, or "
                "make a recorder with another path",
                str(self.path),
            )
        super().append(header, arrays)

    def _size(self, header: Header, arrays: dict[str, Array]) -> int:
        self._packed = pack(header, arrays)
        return sum(len(part) for part in self._packed)

    def _ring_room(self, limit: int, size: int) -> int:
        return (limit - size) // 2  # drop half at once, so that the file is not rewritten each time

    def _put(self, header: Header, arrays: dict[str, Array]) -> None:
        """Write a whole frame; if that fails, the file is as before."""
        frame, self._packed = b"".join(self._packed), []
        try:
            with named(self.path):
                self._file.seek(self._end)
                _write_all(self._file, frame)
        except BaseException:
            with suppress(OSError):
                self._file.truncate(self._end)
            raise
        header["arrays"] = [[name] for name in arrays]

    def _keep(self, kept: Sequence[int]) -> None:
        starts = len(MAGIC) + np.cumsum([0, *self.sizes])
        file: FileIO | None = None
        try:
            with replacing(self.path, locked=True) as new:
                new.write(MAGIC)
                for k in kept:
                    self._file.seek(starts[k])
                    _copy(self._file, new, self.sizes[k])
                # The same open file, and so the same lock, which stays held throughout.
                file = os.fdopen(os.dup(new.fileno()), "r+b", buffering=0)
        except BaseException:
            if file is not None:
                file.close()
            raise
        self._file.close()
        self._file = file

    @property
    def frames(self) -> list[Frame]:
        """Those that hold arrays, oldest first."""
        return Run(self.path).frames

    def close(self) -> None:
        """Close the file and release its lock."""
        if not self._file.closed:
            unlock(self._file)
            self._file.close()


_open_stores: weakref.WeakSet[FileStore] = weakref.WeakSet()


def _close_in_fork() -> None:
    """The parent continues to write; the child's copy of the descriptor would keep the lock."""
    for store in _open_stores:
        store._file.close()


os.register_at_fork(after_in_child=_close_in_fork)


def _write_all(file: FileIO, content: bytes) -> None:
    view = memoryview(content)
    while len(view):
        view = view[file.write(view) :]


def _copy(old: FileIO, new: IO[bytes], size: int) -> None:
    """Copy `size` bytes from the position of `old`, a piece at a time."""
    while size:
        piece = old.read(min(size, 2**20))
        if not piece:
            raise DamagedFileError(f"{old.name}: frames that were written have been cut off by another process")
        new.write(piece)
        size -= len(piece)


def parse_bytes(limit: int | str | None, name: str = "limit") -> int | None:
    """64_000_000, "64 MB" or None -> a number of bytes or None."""
    if limit is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKMG]i?B)?", str(limit).strip())
    size = int(float(match[1]) * _UNITS.get(match[2] or "", 0)) if match else 0
    if size <= 0:
        raise ValueError(
            f"{name}: got {limit!r}, expected a number of bytes, as 64_000_000 or '64 MB'"
        )
    return size
