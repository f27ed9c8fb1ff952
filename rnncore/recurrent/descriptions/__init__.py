"""What a cell is, said once: its gates, its states, its weights, and the words for them.

A file in this folder describes the cells of one class of layers (`rnncore.RNN`, `GRU`, `LSTM`) and lists them in its
``CELLS``, the default first. The layers, the tape, the measures and plots of viz, the command:
whatever has to know a cell reads it from here, by ``layer.cell`` or ``tape.cell``. At import every description is
checked against the kernels' table.

A new cell is one header of equations, one row of the kernels' table, and one file here; docs/cells.md shows how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from os import listdir
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from rnncore import _engine
from rnncore._checks import as_flag

STATE_WORDS = {"h": "hidden state", "c": "cell state"}


class Saturated(NamedTuple):
    """What units do whose gate is at one end nearly always, and what changes that."""

    does: str
    advice: str


class Gate(NamedTuple):
    """What a cell keeps of every step besides its states.

    Attributes
    ----------
    name, words : str
        "f", "forget gate".
    slot : int
        Where the kernels put it, see kernels.h.
    curve : {"sigmoid", "tanh", None}
        What squashes it; None: nothing does. What a sigmoid squashes is a share between 0 and 1, for pictures, measures
        and watches alike; anything else has a sign and is drawn around 0.
    low, high : Saturated or None
        Of a gate that is shut, or wide open.
    """

    name: str
    words: str
    slot: int
    curve: str | None = None
    low: Saturated | None = None
    high: Saturated | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Description:
    """One cell: a row of the kernels' table, and what it means.

    Attributes
    ----------
    kernel : str
        Its name in the kernels' table.
    mode : str
        Its class of layers, "LSTM".
    name : str
        For commands and models, in small letters: "rnn-tanh".
    label : str
        For people, "RNN tanh".
    equations : str
        What a step computes.
    blocks_ih, blocks_hh : tuple of str
        What each block of H rows of weight_ih, and of weight_hh, adds to, in torch's order: a gate, or "h" for a
        state that no gate makes.
    order : tuple of str
        Gates and states as a step computes them.
    order_back : tuple of str
        Their gradients as the way back computes them; by default the other way round.
    gates : tuple of Gate
    states : tuple of str
        What is carried from step to step: ("h",) or ("h", "c").
    curve : {"tanh", "sigmoid", "relu"}
        Where h lies: what squashes it last.
    options : mapping
        The arguments of its class that choose this cell among those of its mode.
    operands : mapping of str to str
        Blocks of weight_hh that are multiplied by a gate times h, and not by h: ``{"hn": "r"}``.
    keeps, enters : str or None
        The gates that multiply what a unit held before, and what is new. Where a cell has one of them, the other share
        is 1 minus it; where it has none, all that a unit held goes through the weights.
    candidate : str
        What is new.
    growth : callable or None
        χ of one step for `viz.mean_field`, from arrays by name ("h0" and "c0" are the states before) and the
        variances σ_w² of the blocks of weight_hh by name; None: it has no formula.
    draw : callable or None
        Draws one step on a `Sheet`; None: boxes in a row.
    """

    kernel: str
    mode: str
    name: str
    label: str
    equations: str
    blocks_ih: tuple[str, ...]
    blocks_hh: tuple[str, ...]
    order: tuple[str, ...]
    order_back: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()
    states: tuple[str, ...] = ("h",)
    curve: str = "tanh"
    options: Mapping[str, Any] = field(default_factory=dict)
    operands: Mapping[str, str] = field(default_factory=dict)
    keeps: str | None = None
    enters: str | None = None
    candidate: str = "h"
    growth: Callable[[Mapping[str, np.ndarray], Mapping[str, float]], float] | None = None
    draw: Callable[[Any], None] | None = None

    def __post_init__(self):
        object.__setattr__(self, "order_back", self.order_back or self.order[::-1])
        for name in ("options", "operands"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __repr__(self):
        return f"<description of {self.kernel}>"

    def __reduce__(self):
        return of_kernel, (self.kernel,)        # a copy, or one of a pickle, is the description itself

    @cached_property
    def slots(self) -> dict[str, int]:
        """Where each gate lies on the tape."""
        return {gate.name: gate.slot for gate in self.gates}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All that a tape has of a layer: states, then gates."""
        return (*self.states, *self.slots)

    @cached_property
    def initial(self) -> tuple[str, ...]:
        """Names of the states that a pass starts from: ("h0", "c0")."""
        return tuple(f"{state}0" for state in self.states)

    @cached_property
    def sigmoids(self) -> tuple[str, ...]:
        """The gates between 0 and 1."""
        return tuple(gate.name for gate in self.gates if gate.curve == "sigmoid")

    @property
    def gated(self) -> bool:
        """Whether gates of its own decide what a unit keeps; else all that it held goes through the weights."""
        return self.keeps is not None or self.enters is not None

    def gate(self, name: str) -> Gate:
        """A gate by its name."""
        for gate in self.gates:
            if gate.name == name:
                return gate
        raise KeyError(f"{name!r}: got no gate of {self.label}, expected one of {', '.join(self.slots) or 'none'}")

    def curve_of(self, name: str) -> str | None:
        """What squashes a gate or a state; None where nothing does."""
        if name in self.states:
            return self.curve if name == "h" else None
        return self.gate(name).curve

    def is_share(self, name: str) -> bool:
        """Whether a gate or a state lies between 0 and 1."""
        return self.curve_of(name) == "sigmoid"

    def words_of(self, name: str) -> str:
        """A gate or a state for people: "forget gate"."""
        return STATE_WORDS[name] if name in self.states else self.gate(name).words

    def kept(self, values: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """The share of what a unit held that its own gate keeps, from gates by name; None: it has no such gate."""
        if self.keeps is not None:
            return values[self.keeps]
        return None if self.enters is None else 1 - values[self.enters]

    def shapes(self, input_size: int, hidden_size: int, bias: bool) -> dict[str, tuple[int, ...]]:
        """The parameters of one layer and direction, in torch's order."""
        rows = len(self.blocks_hh) * hidden_size
        weights = {"weight_ih": (rows, input_size), "weight_hh": (rows, hidden_size)}
        return weights | ({"bias_ih": (rows,), "bias_hh": (rows,)} if bias else {})

    def rows(self, gate: str, hidden_size: int) -> slice:
        """The rows of a gate in all weights and biases."""
        start = self.blocks_ih.index(gate) * hidden_size
        return slice(start, start + hidden_size)

    def slope(self, h: np.ndarray) -> np.ndarray:
        """The derivative of h's curve, from its value."""
        if self.curve == "relu":
            return (h > 0).astype(h.dtype)
        return 1 - h * h if self.curve == "tanh" else h * (1 - h)


def of_kernel(kernel: str) -> Description:
    """A cell by its name in the kernels' table."""
    if kernel not in _BY_KERNEL:
        raise ValueError(f"kernel: got {kernel!r}, expected one of {', '.join(_BY_KERNEL)}")
    return _BY_KERNEL[kernel]


def modes() -> tuple[str, ...]:
    """The classes of layers there are, those with the fewest weights first."""
    return tuple(dict.fromkeys(cell.mode for cell in _BY_KERNEL.values()))


def choices(mode: str) -> dict[str, tuple]:
    """The options that choose among the cells of a mode, and the values of each, the default first."""
    cells = _of_mode(mode)
    return {name: tuple(dict.fromkeys(cell.options[name] for cell in cells)) for name in cells[0].options}


def first(mode: str) -> Description:
    """The cell of a mode that is chosen where no option says otherwise."""
    return _of_mode(mode)[0]


def _of_mode(mode: str) -> list[Description]:
    found = [cell for cell in _BY_KERNEL.values() if cell.mode == mode]
    if not found:
        raise ValueError(f"mode: got {mode!r}, expected one of {', '.join(modes())}")
    return found


def named(name: str) -> Description:
    """A cell by its name, or by its mode, whose first cell it is then, in letters of any size.

    Whatever takes a cell by name asks here: the functions that make layers and models (see `rnncore.nn.make_layer`),
    the models, the tasks and the commands.

    Raises
    ------
    ValueError
        There is none.
    """
    found = {mode.lower(): first(mode) for mode in modes()} | CELLS
    if not isinstance(name, str) or name.lower() not in found:
        raise ValueError(f"cell: got {name!r}, expected one of {', '.join(map(repr, found))}")
    return found[name.lower()]


def find(mode: str, **options: Any) -> Description:
    """The cell of a mode that some options choose; what is left out is as in the first.

    Raises
    ------
    TypeError
        An option that the mode does not have, or that is no bool where it should be.
    ValueError
        Another value than those of `choices`.
    """
    known = choices(mode)
    for name, value in options.items():
        if name not in known:
            raise TypeError(f"{mode}: got {name}={value!r}, expected {' or '.join(known) or 'no option of this kind'}")
        if all(isinstance(choice, bool) for choice in known[name]):
            as_flag(value, name)
        elif not isinstance(value, str) or value not in known[name]:
            *most, last = map(repr, known[name])
            raise ValueError(f"{name}: got {value!r}, expected {', '.join(most) + ' or ' * bool(most)}{last}")
    chosen = dict(first(mode).options) | options
    for cell in _of_mode(mode):
        if cell.options == chosen:
            return cell
    told = ", ".join(f"{name}={value!r}" for name, value in options.items())
    raise ValueError(f"{mode}: got {told}, expected a combination for which there is a cell")


# ---- read at import -----------------------------------------------------------------------------


def _described() -> Iterator[Description]:
    """The cells of all files, those of one file together, the file whose first has the fewest weights first."""
    names = sorted(file.removesuffix(".py") for file in listdir(__path__[0]) if file.endswith(".py"))
    files = [import_module(f".{name}", __name__).CELLS for name in names if name != "__init__"]
    for cells in sorted(files, key=lambda cells: len(cells[0].blocks_hh)):
        yield from cells


def _check(cell: Description) -> None:
    """Refuse a description that is not what the kernels' table says.

    That the equations write each gate into its slot, the tests against the twin and other libraries show.
    """
    row = _engine.cell_info(cell.kernel)
    blocks = len(cell.blocks_ih), len(cell.blocks_hh)
    if blocks != (row["gates"], row["gates"]):
        raise ImportError(f"description of {cell.kernel}: its blocks of the weights is {cell.blocks_ih} and "
                          f"{cell.blocks_hh}, by the kernels' table {row['gates']} each")
    fed_by_x = {row["x_slot"] + place: cell.blocks_ih[block] for place, block in enumerate(row["x_order"])}
    fed_by_h, from_aux, order = {}, [], iter(row["h_order"])
    for stage in row["stages"]:
        for slot in range(stage["slot"], stage["slot"] + stage["groups"]):
            fed_by_h[slot] = cell.blocks_hh[next(order)]
            from_aux += [fed_by_h[slot]] * stage["from_aux"]
    slots = {slot: name for name, slot in cell.slots.items()} if row["slots_on_tape"] else {0: "h"}
    wrong = {
        "states": (cell.states, tuple(STATE_WORDS)[:row["states"]]),
        "slots": (sorted(cell.slots.values()), list(range(row["slots"])) if row["slots_on_tape"] else []),
        "blocks_ih": (fed_by_x, {slot: slots.get(slot) for slot in fed_by_x}),
        "blocks_hh": (fed_by_h, {slot: slots.get(slot) for slot in fed_by_h}),
        "operands": (sorted(cell.operands), sorted(from_aux)),
    }
    for what, (described, computed) in wrong.items():
        if described != computed:
            raise ImportError(f"description of {cell.kernel}: its {what} is {described}, by the kernels' table "
                              f"{computed}")
    _check_roles(cell)


def _check_roles(cell: Description) -> None:
    """Refuse names and roles that do not fit each other."""
    gates, blocks = set(cell.slots), set(cell.blocks_ih)
    pairs = list(zip(cell.blocks_hh, cell.blocks_ih, strict=True))
    expected = {
        "blocks_hh": (all(own == other or own not in blocks for own, other in pairs), f"the order of {cell.blocks_ih}"),
        "order": (sorted(cell.order) == sorted(cell.names), f"each of {cell.names} once"),
        "order_back": (sorted(cell.order_back) == sorted(cell.order), f"each of {cell.names} once"),
        "keeps": (cell.keeps is None or cell.keeps in gates & blocks, f"a gate of {cell.blocks_ih}, or None"),
        "enters": (cell.enters is None or cell.enters in gates & blocks, f"a gate of {cell.blocks_ih}, or None"),
        "candidate": (cell.candidate in blocks, f"one of {cell.blocks_ih}"),
        "operands": (set(cell.operands.values()) <= gates, f"gates of {tuple(cell.slots)}"),
        "curve": (cell.curve in ("tanh", "sigmoid", "relu"), "'tanh', 'sigmoid' or 'relu'"),
        "gates": ({gate.curve for gate in cell.gates} <= {"tanh", "sigmoid", None}, "curves 'tanh', 'sigmoid' or None"),
        "name": (cell.name == cell.name.lower(), "small letters"),
    }
    for what, (fits, told) in expected.items():
        if not fits:
            raise ImportError(f"description of {cell.kernel}: its {what} is {getattr(cell, what)}, expected {told}")


def _read() -> dict[str, Description]:
    cells = list(_described())
    found = {cell.kernel: cell for cell in cells}
    if len(found) < len(cells) or set(found) != set(_engine.cell_names()):
        raise ImportError(f"descriptions: got {[cell.kernel for cell in cells]}, expected one for each row of the "
                          f"kernels' table: {_engine.cell_names()}")
    names = [cell.name for cell in cells]
    for cell in cells:
        _check(cell)
        if names.count(cell.name) > 1:
            raise ImportError(f"description of {cell.kernel}: its name is {cell.name!r}, expected one of its own")
        if set(cell.options) != set(next(other for other in cells if other.mode == cell.mode).options):
            raise ImportError(f"description of {cell.kernel}: its options are {dict(cell.options)}, expected those of "
                              f"the other cells of {cell.mode}")
    return found


_BY_KERNEL = _read()
CELLS: dict[str, Description] = {cell.name: cell for cell in _BY_KERNEL.values()}
"""All cells by their names, the classes with the fewest weights first."""
