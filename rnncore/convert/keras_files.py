"""Weights out of Keras's ``.weights.h5`` files, read by h5py alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore._checks import as_array
from rnncore.io.fields import DamagedFileError, check_file
from rnncore.recurrent.cells import Cell

from .keras_layer import KerasLayer
from .optional import package
from .weights import from_kernels, plain_layer

if TYPE_CHECKING:
    from rnncore.recurrent.base import RecurrentLayer

# Where the variables of a cell stand: <layer>[/forward_layer]/cell[/cells/<name>]/vars. A file of one layer begins with
# what follows the layer.
_CELL = re.compile(r"(?P<layer>.*?)(?P<direction>(?:^|/)(?:forward|backward)_layer)?(?:^|/)cell"
                   r"(?:/cells/(?P<one>[^/]+))?")


class _Found:
    """The cells of one recurrent layer in a file, as groups of h5py, in the order of our layers and directions."""

    def __init__(self, path: str, name: str) -> None:
        self.path, self.name = path, name
        self.cells: list[tuple[tuple[Any, ...], Any]] = []

    def __str__(self) -> str:
        return self.name or self.path or "the only layer"

    def groups(self) -> list[Any]:
        return [group for _, group in sorted(self.cells, key=lambda item: item[0])]


def read_weights(path: str, into: Any) -> Any:
    """Set the weights of layers from a file; see `from_keras`."""
    h5py = package("h5py", "from_keras")
    check_file(path)
    with open(path, "rb"):              # the plain OSError, with its file name
        pass
    try:
        with h5py.File(path, "r") as file:
            found = _layers(h5py, file, path)
            if not isinstance(into, Mapping):
                fits = [one for one in found if _fits(one, into, path) is None]
                if len(fits) != 1:
                    what = "none fits" if not fits else f"{' and '.join(map(str, fits))} fit"
                    raise ValueError(f"into: got {into!r}, of which {what} in {path}, which has {_told(found)}; give a "
                                     "dict of names and layers")
                _load(fits[0], into, path)
                return into
            chosen = {name: _named(found, name, path) for name in into}
            for name, layer in into.items():
                why = _fits(chosen[name], layer, path)
                if why is not None:
                    raise ValueError(f"into: got {layer!r} for {name!r}, which does not fit: {why}")
            for name, layer in into.items():
                _load(chosen[name], layer, path)
            return into
    except OSError as error:
        raise DamagedFileError(f"{path} is not an HDF5 file that can be read: {error}") from None


def _layers(h5py: Any, file: Any, path: str) -> list[_Found]:
    """The recurrent layers of a file, by walking through the groups that are in the file itself."""
    found: dict[str, _Found] = {}

    def walk(group: Any, name: str, depth: int) -> None:
        if depth > 100:
            raise DamagedFileError(f"{path}: groups within each other are too deep at {name[:60]}…")
        for key in group:
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise DamagedFileError(f"{path}: {name}/{key} is a link to another place, which is not followed")
            inner = group[key]
            if not isinstance(inner, h5py.Group):
                continue
            if key == "vars":
                match = _CELL.fullmatch(name)
                if match:
                    add(match, inner)
                continue
            walk(inner, f"{name}/{key}".lstrip("/"), depth + 1)

    def add(match: re.Match[str], group: Any) -> None:
        layer = match["layer"]
        if layer not in found:
            own = file[f"{layer}/vars"] if f"{layer}/vars" in file else file.get("vars")
            found[layer] = _Found(layer, str(own.attrs.get("name", "")) if own is not None else "")
        number = re.search(r"(?:_(\d+))?$", match["one"] or "")
        place = int(number[1] or 0) if number else 0, (match["direction"] or "").strip("/") == "backward_layer"
        found[layer].cells.append((place, group))

    walk(file, "", 0)
    for layer in list(found):           # the group of a stack's own variables, which has none
        found[layer].cells = [(place, group) for place, group in found[layer].cells if len(group)]
    return [one for one in found.values() if one.cells]


def _told(found: list[_Found]) -> str:
    return ", ".join(map(str, found)) or "no recurrent layer"


def _named(found: list[_Found], name: str, path: str) -> _Found:
    for one in found:
        if name in (one.name, one.path):
            return one
    raise KeyError(f"into: got {name!r}, expected a recurrent layer of {path}: {_told(found)}")


def _fits(found: _Found, layer: Any, path: str) -> str | None:
    """Why the cells of a file do not have the shapes of a layer, or None; no array is read."""
    plain = _plain(layer)
    groups = found.groups()
    if len(groups) != len(plain.structure.parts):
        return f"{found} has {len(groups)} cells, and the layer {len(plain.structure.parts)} layers and directions"
    for group, shapes in zip(groups, plain.structure.shapes_by_part, strict=True):
        datasets = [group[key] for key in sorted(group, key=int)] if all(key.isdigit() for key in group) else []
        if not datasets or any(not hasattr(one, "shape") or one.dtype.kind != "f" or one.external for one in datasets):
            raise DamagedFileError(f"{path}: {group.name} holds something else than arrays of numbers in this file")
        got = [one.shape for one in datasets]
        widest = max(int(np.prod(shape)) for shape in got)
        if len(got) not in (2, 3) or widest > max(int(np.prod(shape)) for shape in shapes.values()):
            return f"{found} has arrays of {', '.join(map(str, got))}"
        try:
            ours = from_kernels(plain.mode, [np.broadcast_to(np.float32(0), shape) for shape in got])
        except (ValueError, IndexError):
            return f"{found} has arrays of {', '.join(map(str, got))}"
        mine = {name: array.shape for name, array in ours.items()}
        after = len(got) < 3 or (len(got[2]) == 2) == bool(getattr(plain, "reset_after", False))
        if list(mine.values()) != list(shapes.values()) or not after:
            return f"{found} has arrays of {', '.join(map(str, got))}"
    return None


def _load(found: _Found, layer: Any, path: str) -> None:
    plain = _plain(layer)
    state: dict[str, Any] = {}
    for group, part in zip(found.groups(), plain.structure.parts, strict=True):
        arrays = [as_array(group[key][()], f"{path}: {group.name}") for key in sorted(group, key=int)]
        state |= {name + part.suffix: array for name, array in from_kernels(plain.mode, arrays).items()}
    plain.load_state_dict(state)


def _plain(layer: RecurrentLayer | KerasLayer | Cell) -> RecurrentLayer:
    return plain_layer(layer.layer if isinstance(layer, KerasLayer) else layer, "from_keras")
