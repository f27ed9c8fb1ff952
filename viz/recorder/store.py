"""Where frames go: a run file or memory, kept within a number of bytes.

Both drop frames by one rule when the next does not fit ("thin", "ring" or "stop"); only what
dropping means differs.
"""

import os
import re
from pathlib import Path

import numpy as np

from .frame import Frame, series
from .runfile import MAGIC, Run, pack

_UNITS = {"": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
FULL = ("thin", "ring", "stop")


class Store:
    """Frames in the order they came.

    Parameters
    ----------
    limit : int or None
        Bytes of all frames together.
    full : {"thin", "ring", "stop"}
        What gives way when the next frame does not fit: every second frame, the oldest, or the new
        one.
    """

    def __init__(self, limit, full):
        if full not in FULL:
            raise ValueError(f"full: got {full!r}, expected one of {', '.join(map(repr, FULL))}")
        self.limit, self.full = limit, full
        self.headers, self.sizes = [], []
        self.thinned = 0  #: how often every second frame was dropped
        self.refused = 0  #: how many frames were not taken

    def append(self, header, arrays):
        """Take one frame; True unless it was refused."""
        size = self._size(header, arrays)
        if self.limit is not None:
            if size > self.limit:
                raise ValueError(
                    f"limit: got {self.limit:,} bytes, expected room for one frame of {size:,}; "
                    "record fewer names, rows, units or steps, or raise limit"
                )
            while sum(self.sizes) + size > self.limit:
                if self.full == "stop" or not self._give_way(size, header):
                    self.refused += 1
                    return False
        self._put(header, arrays)
        self.headers.append(header)
        self.sizes.append(size)
        return True

    def _give_way(self, size, header):
        """Drop some frames; True where the new one may still come."""
        wanted = True
        if self.full == "ring":
            room, first = self._ring_room(size), len(self.sizes)
            while first and (room := room - self.sizes[first - 1]) >= 0:
                first -= 1
            kept = list(range(max(first, 1), len(self.sizes)))
        else:
            heavy = [k for k, old in enumerate(self.headers) if not old.get("measured")]
            thinned = heavy if len(heavy) > 1 else list(range(len(self.sizes)))
            kept = sorted(set(range(len(self.sizes))) - set(thinned[1::2] or thinned))
            wanted = bool(header.get("measured")) or len(heavy) % 2 == 0  # the next in the row
            self.thinned += 1
        self._keep(kept)
        self.headers = [self.headers[k] for k in kept]
        self.sizes = [self.sizes[k] for k in kept]
        return wanted

    def series(self, name):
        """(updates, values) of "loss" or of a measure."""
        return series(self.headers, name)

    def close(self):
        """Nothing to close in memory."""


class MemoryStore(Store):
    """Frames as arrays in memory."""

    def __init__(self, limit, full):
        super().__init__(limit, full)
        self._arrays = []

    def _size(self, header, arrays):
        return sum(array.nbytes for array in arrays.values())

    def _ring_room(self, size):
        return self.limit - size

    def _put(self, header, arrays):
        self._arrays.append([np.array(array) for array in arrays.values()])
        header["arrays"] = [[name] for name in arrays]

    def _keep(self, kept):
        self._arrays = [self._arrays[k] for k in kept]

    @property
    def frames(self):
        pairs = zip(self.headers, self._arrays, strict=True)
        return [Frame(header, arrays.__getitem__) for header, arrays in pairs if arrays]


class FileStore(Store):
    """Frames in a run file. Dropping some writes the others aside and renames."""

    def __init__(self, path, limit, full, resume=False):
        super().__init__(limit and max(limit - len(MAGIC), 1), full)
        self.path = Path(path)
        self._packed = None
        if self.path.exists():
            if not resume:
                raise FileExistsError(
                    f"path: {str(self.path)!r} exists; pass resume=True to append, or another path"
                )
            with Run(self.path) as run:
                self.headers = [frame.header for frame in run]
                self.sizes = [length for _, length in run.places]
            self._open(self.sizes)
        else:
            self._file = open(self.path, "xb", buffering=0)  # noqa: SIM115
            self._write([MAGIC])

    def _open(self, sizes):
        """Go on after the last whole frame; what an interrupted write left behind is cut off."""
        self._file = open(self.path, "r+b", buffering=0)  # noqa: SIM115
        end = len(MAGIC) + sum(sizes)
        self._file.truncate(end)
        self._file.seek(end)

    def _size(self, header, arrays):
        self._packed = pack(header, arrays)
        return sum(len(part) for part in self._packed)

    def _ring_room(self, size):
        return (self.limit - size) // 2  # half at once, so that the file is not rewritten each time

    def _put(self, header, arrays):
        self._write(self._packed)
        self._packed = None
        header["arrays"] = [[name] for name in arrays]

    def _write(self, parts):
        view = memoryview(b"".join(parts))
        while len(view):
            view = view[self._file.write(view) :]

    def _keep(self, kept):
        aside = self.path.with_name(self.path.name + ".part")
        starts = len(MAGIC) + np.cumsum([0, *self.sizes])
        with open(self.path, "rb") as old, open(aside, "wb") as new:
            new.write(MAGIC)
            for k in kept:
                old.seek(starts[k])
                new.write(old.read(self.sizes[k]))
        self._file.close()
        os.replace(aside, self.path)
        self._open([self.sizes[k] for k in kept])

    @property
    def frames(self):
        return Run(self.path).frames

    def close(self):
        self._file.close()


def parse_bytes(limit):
    """64_000_000, "64 MB" or None -> a number of bytes or None."""
    if limit is None or (isinstance(limit, int) and limit > 0):
        return limit
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKMG]i?B)?", str(limit).strip())
    size = int(float(match[1]) * _UNITS.get(match[2] or "", 0)) if match else 0
    if size <= 0:
        raise ValueError(
            f"limit: got {limit!r}, expected a number of bytes, as 64_000_000 or '64 MB'"
        )
    return size
