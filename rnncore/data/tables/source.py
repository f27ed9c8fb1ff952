"""A file as text, which comes in blocks: its encoding is found in the first one."""

from __future__ import annotations

import codecs
import hashlib
import importlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from rnncore._progress import progress_bar
from rnncore.data.text import TextError, utf_16

BLOCK = 2**18       # bytes that are read at once
SAMPLE_LINES = 200  # lines that the layout is found in
SAMPLE_BYTES = 2**26

# Files that hold tables, and are not text.
BINARY = {
    b"PK\x03\x04": "a zip archive, perhaps a workbook of Excel: save it as CSV",
    b"\x1f\x8b": "compressed by gzip: unpack it, for example with gunzip",
    b"PAR1": "a Parquet file: convert it to CSV",
    b"\x89HDF": "an HDF5 file: convert it to CSV",
    b"\xd0\xcf\x11\xe0": "a workbook of Excel: save it as CSV",
    b"ARROW1": "an Arrow file: convert it to CSV",
    b"%PDF": "a PDF document: give a table as text",
}


def load_pandas() -> Any:
    """The package pandas, imported when a table is read; an error says how to install it."""
    try:
        return importlib.import_module("pandas")
    except ImportError as error:
        raise ImportError("reading a table needs pandas, which cannot be imported: pip install 'rnncore[tables]', or "
                          f"pip install pandas ({error})") from error


class Source:
    """A table's text, read no further than what is asked for.

    Attributes
    ----------
    name : str
    sample : str
        The text of the first lines, which `lines` gives once more.
    encoding : str
    """

    def __init__(self, file: BinaryIO, name: str, bar: progress_bar) -> None:
        self._file, self._bar, self._digest, self.name = file, bar, hashlib.sha256(), name
        raw = self._block()
        if not raw:
            raise TextError(f"{name} is empty: give a table with a column of numbers")
        for start, what in BINARY.items():
            if raw.startswith(start):
                raise TextError(f"{name} is {what}")
        while raw.count(b"\n") + raw.count(b"\r") < SAMPLE_LINES and len(raw) < SAMPLE_BYTES:
            more = self._block()
            if not more:
                break
            raw += more
        self.encoding = _encoding(raw, name)
        self._decoder = codecs.getincrementaldecoder(self.encoding)("replace")
        self.sample = self._decoder.decode(raw)
        self._rest = self._blocks()

    def grow(self) -> bool:
        """Double the sample; False if that is not possible, or is more than a sample should be."""
        if len(self.sample) > SAMPLE_BYTES:
            return False
        size, more = len(self.sample), ""
        while len(more) < size and (block := next(self._rest, None)) is not None:
            more += block
        self.sample += more
        return bool(more)

    def _block(self) -> bytes:
        block = self._file.read(BLOCK)
        self._digest.update(block)
        self._bar.update(len(block))
        return block

    def _blocks(self) -> Iterator[str]:
        while block := self._block():
            yield self._decoder.decode(block)
        yield self._decoder.decode(b"", final=True)

    def lines(self, first: str) -> Reader:
        """The whole text behind a line `first`, as a file that can be read once."""
        return Reader(first, self.sample, self._rest)

    def sha256(self) -> str | None:
        """The digest of the file, None unless it was read to its end."""
        return None if self._file.read(1) else self._digest.hexdigest()


class Reader:
    """A file of text, as pandas reads it; a block may be longer than what was asked for."""

    def __init__(self, first: str, sample: str, rest: Iterator[str]) -> None:
        self._blocks = self._all(first, sample, rest)

    @staticmethod
    def _all(first: str, sample: str, rest: Iterator[str]) -> Iterator[str]:
        yield first
        yield from (sample[i : i + BLOCK] for i in range(0, len(sample), BLOCK))
        yield from rest

    def read(self, size: int = -1) -> str:
        """The next block, of any length; an empty text at the end."""
        return next((block for block in self._blocks if block), "")

    def __iter__(self) -> Iterator[str]:
        return self._blocks


def _encoding(raw: bytes, name: str) -> str:
    """UTF-8, UTF-16, or Windows-1252, which older versions of Excel write; bytes that are no text are refused."""
    if raw.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if encoding := utf_16(raw):
        return encoding
    if (at := raw.find(b"\0")) >= 0:
        raise TextError(f"{name} is binary (NUL at byte {at}): give a table as text")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(raw) - error.start > 3 or error.reason != "unexpected end of data":
            return "cp1252"
    return "utf-8"
