"""The run file: what a recorder writes while a network trains, and how it is read back.

    file    = magic (64 bytes), frame, frame, …
    frame   = head (28 bytes), JSON (padded to 64), arrays (each at a multiple of 64)
    head    = b"FRM\\n", length of the JSON, length of the arrays, checksums (CRC-32) of the JSON,
              of the arrays and of the head itself; little endian

Frames are only ever appended, so the file of a run that was killed is complete up to its last frame:
an unfinished frame at the end is left out and reported (`run.truncated`). Anything else that does not
match its checksum is refused, and so is a frame whose JSON is not of the form that a recorder writes.
Opening a file reads the heads; the arrays stay in the file, mapped into memory, and those of a frame
are checked when the first of them is read. Nothing in a file is executed: there is no pickle.
"""

from __future__ import annotations

import json
import math
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from rnncore.io.fields import DamagedFileError, Field, check_file, read_json
from rnncore.io.layers import check_variant
from rnncore.nn.losses import LOSSES
from rnncore.nn.readout import READOUTS
from rnncore.recurrent.descriptions import choices, modes

from .frame import Frame, Header, series, series_names

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

    from rnncore._typing import Array, Floats, Ints, PathLike

_ALIGN = 64
MAGIC = b"rnncore run 1".ljust(_ALIGN, b"\0")
_HEAD = struct.Struct("<4sIQIII")
_MARK = b"FRM\n"
_DTYPES = ("bool", "float32", "float64", "int64")
_NAME = re.compile(r"(grad )?l\d{1,4}(\.reverse)?\.\w+")
_AXES = ("steps", "rows", "lengths", "units")


def pack(header: Header, arrays: dict[str, Array]) -> list[bytes | memoryview]:
    """One frame, as a list of buffers.

    Parameters
    ----------
    header : dict
        Anything that can be written as JSON.
    arrays : dict of str to numpy.ndarray
    """
    index: list[list[Any]] = []
    parts: list[bytes | memoryview] = []
    offset = checksum = 0
    for name, array in arrays.items():
        if array.dtype.name not in _DTYPES:
            raise TypeError(
                f"{name}: got dtype {array.dtype}, expected one of {', '.join(_DTYPES)}"
            )
        index.append([name, array.dtype.name, list(array.shape), offset])
        padding = bytes(-array.nbytes % _ALIGN)
        for part in (np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, padding):
            checksum = zlib.crc32(part, checksum)
            parts.append(part)
            offset += len(part)
    text = json.dumps({**header, "arrays": index}).encode()
    text += b" " * (-(_HEAD.size + len(text)) % _ALIGN)
    head = _HEAD.pack(_MARK, len(text), offset, zlib.crc32(text), checksum, 0)[:-4]
    return [head + struct.pack("<I", zlib.crc32(head)), text, *parts]


class Run:
    """A run file, read lazily: a sequence of `Frame`, one for every recorded update.

    Parameters
    ----------
    path : path
    upto_damage : bool, default False
        Read a damaged file up to the damage instead of refusing it.

    Attributes
    ----------
    truncated : bool
        Whether the last frame was unfinished (the run was killed while writing) and is left out.

    Raises
    ------
    DamagedFileError
        The file is not a run file, or its content is not what was written.

    Examples
    --------
    >>> import numpy as np, pathlib, rnncore as rc, tempfile
    >>> from rnncore import viz
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.run"
    >>> lstm = rc.LSTM(2, 4, seed=0)
    >>> with viz.Recorder(path, every=1, names="*.f") as recorder:
    ...     recorder.record(lstm.record(np.ones((20, 3, 2), "float32")), loss=0.5)
    >>> run = viz.Run(path)
    >>> len(run), run[0].names(), run[0]["l0.f"].shape
    (1, ['l0.f'], (20, 3, 4))
    >>> run.series("loss")
    (array([1]), array([0.5]))
    """

    def __init__(self, path: PathLike, *, upto_damage: bool = False) -> None:
        self.path = Path(path)
        self.truncated = False
        self.places: list[tuple[int, int]] = []  # (offset, length) of every frame
        self._headers: list[Header] = []
        self._checked: set[int] = set()
        check_file(self.path)
        with open(self.path, "rb") as file:
            size = self.path.stat().st_size
            if file.read(len(MAGIC)) != MAGIC:
                raise DamagedFileError(
                    f"path: got {str(self.path)!r} of {size} bytes, which does not start as a run file does"
                )
            try:
                self._scan(file, size)
            except DamagedFileError:
                if not upto_damage:
                    raise
            mapped = np.memmap(file, np.uint8, mode="r", shape=(self._end,))
        mapped.filename = cast(Any, self.path.resolve())  # numpy sets an unresolved str for an open file
        self._map: NDArray[np.uint8] = mapped

    def __repr__(self) -> str:
        updates = [header["update"] for header in self._headers]
        told = f"{len(updates)} frames" + (f" of updates {updates[0]} to {updates[-1]}" if updates else "")
        return f"<Run {str(self.path)!r}: {told}{', truncated' if self.truncated else ''}>"

    def _scan(self, file: IO[bytes], size: int) -> None:
        """Read the heads; of a file that is still being written, those of the finished frames."""
        while (offset := self._end) < size:
            file.seek(offset)
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                break
            mark, text_length, body_length, text_sum, _, head_sum = _HEAD.unpack(head)
            if mark != _MARK or zlib.crc32(head[:-4]) != head_sum:
                raise self._damaged(offset, "no complete frame starts where one should")
            length = _HEAD.size + text_length + body_length
            if offset + length > size:
                break
            text = file.read(text_length)
            if zlib.crc32(text) != text_sum:
                raise self._damaged(offset, "a frame's index does not match its checksum")
            self._headers.append(_read_header(text, body_length, self.path, len(self.places)))
            self.places.append((offset, length))
        self.truncated = self._end < size

    @property
    def _end(self) -> int:
        """The position behind the last frame that was read."""
        return sum(self.places[-1]) if self.places else len(MAGIC)

    def _bytes(self, offset: int, length: int) -> bytes:
        return self._map[offset : offset + length].tobytes()

    def _damaged(self, offset: int, what: str) -> DamagedFileError:
        return DamagedFileError(
            f"{self.path} is damaged at byte {offset:,}, frame {len(self.places)}: {what}; "
            "Run(path, upto_damage=True) reads what lies before"
        )

    def _read(self, number: int, k: int) -> Array:
        """Array k of a frame."""
        if number not in self._checked:
            self.verify(number)
        offset, length = self.places[number]
        text_length = _HEAD.unpack(self._bytes(offset, _HEAD.size))[1]
        body = self._map[offset + _HEAD.size + text_length : offset + length]
        _, dtype, shape, start = self._headers[number]["arrays"][k]
        size = math.prod(shape) * np.dtype(dtype).itemsize
        array: Array = np.asarray(body[start : start + size]).view(dtype).reshape(shape)
        return array

    def verify(self, number: int | None = None) -> None:
        """Check the arrays of one frame, or of all, against their checksums."""
        for n in range(len(self)) if number is None else [number]:
            offset, length = self.places[n]
            _, text_length, _, _, checksum, _ = _HEAD.unpack(self._bytes(offset, _HEAD.size))
            body = self._map[offset + _HEAD.size + text_length : offset + length]
            if zlib.crc32(body.data) != checksum:
                raise DamagedFileError(
                    f"{self.path} is damaged: the arrays of frame {n} (update "
                    f"{self._headers[n].get('update')}, byte {offset:,}) do not match their "
                    "checksum; the other frames can be read"
                )
            self._checked.add(n)

    def __len__(self) -> int:
        return len(self._headers)

    def __getitem__(self, number: int) -> Frame:
        number = range(len(self))[number]
        return Frame(self._headers[number], lambda k: self._read(number, k))

    def __iter__(self) -> Iterator[Frame]:
        return (self[n] for n in range(len(self)))

    @property
    def frames(self) -> list[Frame]:
        """The frames that hold arrays, without those that hold only measures."""
        return [frame for frame in self if frame.header["arrays"]]

    def series(self, name: str) -> tuple[Ints, Floats]:
        """(updates, values) of "loss" or of a measure that was taken during training."""
        return series(self._headers, name)

    @property
    def series_names(self) -> list[str]:
        """The names of all series."""
        return series_names(self._headers)

    def close(self) -> None:
        """Release the file; arrays that were read stay valid."""
        self._map, self._headers, self.places = np.empty(0, np.uint8), [], []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _read_header(text: bytes, body_length: int, path: Path, number: int) -> Header:
    """The JSON of a frame, checked to be what `Recorder` writes; `body_length` bytes of arrays follow."""
    source = f"{path}, frame {number}"
    header: Header = read_json(text, source)
    fields = Field(header, source)
    fields["update"].whole()
    for key, check in _OPTIONAL.items():
        if key in fields and not (key in _NULLABLE and fields[key].value is None):
            check(fields[key])
    shapes: dict[str, tuple[int, ...]] = {}
    for entry in fields["arrays"].items():
        name, dtype, shape, start = entry.items(4)
        if name.text() in shapes:
            raise name.refuse("a name that no other array of the frame has")
        size = np.dtype(dtype.text(_DTYPES)).itemsize
        lengths = shapes[name.value] = tuple(n.whole(0, 2**40) for n in shape.items())
        if len(lengths) > 8 or math.prod(max(n, 1) for n in lengths) > 2**50:
            raise shape.refuse("at most 8 lengths, of an array that can exist")
        if start.whole() + math.prod(lengths) * size > body_length or start.value % size:
            raise DamagedFileError(f"{path}: {name.value!r} of frame {number} is not inside it")
    if shapes:
        _check_axes(fields, shapes, source)
    return header


def _check_axes(fields: Field, shapes: dict[str, tuple[int, ...]], source: str) -> None:
    """Check that the arrays fit the frame's axes: steps, rows and, where some were chosen, units."""
    dtypes = {entry[0]: entry[1] for entry in fields["arrays"].value}
    axes: dict[str, int] = {}
    for name in _AXES:
        full = f"axis {name}"
        if full not in shapes and name == "units":
            continue
        if len(shapes.get(full, ())) != 1 or dtypes[full] != "int64":
            raise DamagedFileError(f"{source}: {full!r} is missing or does not hold whole numbers")
        (axes[name],) = shapes[full]
    _check_layer(fields["layer"])
    layer = fields["layer"]
    units = axes.get("units", layer["hidden_size"].value)
    width_of_h = layer["proj_size"].value if "proj_size" in layer else units
    if axes["lengths"] != axes["rows"]:
        raise DamagedFileError(f"{source}: got {axes['lengths']} lengths for {axes['rows']} rows")
    for name, shape in shapes.items():
        if name.startswith(("axis ", "weight ", "around ")):
            continue
        if not _NAME.fullmatch(name):
            raise DamagedFileError(f"{source}: {name!r} is not the name of an array of a tape")
        width = width_of_h if name.endswith(".h") else units
        if len(shape) not in (3, 4) or shape[-3:] != (axes["steps"], axes["rows"], width):
            raise DamagedFileError(
                f"{source}: {name!r} has shape {shape}, which does not fit the frame's axes"
            )


def _check_layer(layer: Field) -> None:
    layer["mode"].text(modes())
    layer["dtype"].text(("float32", "float64"))
    for name in ("input_size", "hidden_size", "num_layers"):
        layer[name].whole(1, 2**24)
    if "proj_size" in layer:
        layer["proj_size"].whole(1, layer["hidden_size"].value - 1)
    layer["bidirectional"].flag()
    layer["batch_first"].flag()
    check_variant(layer["mode"].value, layer)
    for name, values in choices(layer["mode"].value).items():
        if isinstance(values[0], bool):
            if name in layer:  # older files have no flags
                layer[name].flag()
        else:
            layer[name].text(values)


def _check_model(model: Field) -> None:
    for name, known in (("loss", LOSSES), ("readout", READOUTS)):
        if name in model:
            model[name].text(known)


def _check_values(field: Field) -> None:
    for value in field.entries().values():
        value.number(finite=False)


# What a frame's JSON may hold besides its update and its arrays.
_OPTIONAL: dict[str, Callable[[Field], object]] = {
    "epoch": Field.whole,
    "loss": lambda field: field.number(finite=False),
    "note": Field.text,
    "values": _check_values,
    "measured": Field.flag,
    "layer": _check_layer,
    "model": _check_model,
}
_NULLABLE = ("epoch", "loss", "note")
