"""Descriptions of the cells: their gates, states and weights, and what these are called.

Each file in this folder describes the cells of one class of layers (`rnncore.RNN`, `GRU`, `LSTM`) and lists them in its
``CELLS``, the default first. Code that depends on the kind of cell (layers, tapes, the measures and plots of viz, the
command) takes it from the description, which is ``layer.cell`` or ``tape.cell``. At import every description is checked
against the kernels' table of cells (`_engine.cell_info`).

A new cell is one header of equations, one row of the kernels' table, and one file here; docs/cells.md shows how.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from os import listdir
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

from rnncore import _engine
from rnncore._checks import as_flag, did_you_mean

from ..variants import DEFAULTS, SHARES, Activation, Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np

    from rnncore._typing import Array
    from rnncore.viz.plots._sheet import Sheet

_VARIANTS: WeakValueDictionary[tuple[str, Variant], Description] = WeakValueDictionary()
_LOCK = Lock()                              # held while `_VARIANTS` is read and changed
STATE_WORDS = {"h": "hidden state", "c": "cell state"}


class Saturated(NamedTuple):
    """What it means for a unit that a gate of it is nearly always at one end of its range; `viz.diagnose` reports it.

    Attributes
    ----------
    does : str
        What such units do, as the predicate of a sentence: "never forget".
    advice : str
        How to change that.
    """

    does: str
    advice: str


class Gate(NamedTuple):
    """A value that a cell computes and records at each step besides its states: a gate proper, or a candidate.

    Attributes
    ----------
    name, words : str
        Its name on a tape and its name in texts, such as "f" and "forget gate".
    slot : int
        The index of the slot in which the kernels store it, see the glossary in kernels.h.
    curve : str or None
        Its nonlinearity, or None: "sigmoid" or "tanh", in a variant of the cell any activation of `variants`. Plots,
        measures and watches treat a value with a sigmoid as a share between 0 and 1. Any other may be negative, and is
        drawn around 0.
    low, high : Saturated or None
        What it means that the gate is always near 0, or always near 1. None if that is not worth a report.
    """

    name: str
    words: str
    slot: int
    curve: str | None = None
    low: Saturated | None = None
    high: Saturated | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Description:
    """The description of one cell, which is one row of the kernels' table of cells.

    Attributes
    ----------
    kernel : str
        Its name in the kernels' table.
    mode : str
        The name of its class of layers, such as "LSTM".
    name : str
        Its name in commands and models, in lower case, such as "rnn-tanh".
    label : str
        Its name in tables and figures, such as "RNN tanh".
    equations : str
        What a step computes, for help texts and titles.
    blocks_ih, blocks_hh : tuple of str
        For each block of H rows of weight_ih, and of weight_hh, in torch's order: the gate to whose pre-activation its
        product is added. In a cell without gates it is "h", since the nonlinearity of the pre-activation gives h.
    order : tuple of str
        Gates and states in the order in which a step computes them.
    order_back : tuple of str
        Gates and states in the order in which the backward pass computes their gradients; by default `order`
        reversed.
    gates : tuple of Gate
    states : tuple of str
        The values that are passed from one step to the next: ("h",) or ("h", "c").
    curve : str or None
        The nonlinearity that determines the range of h: "tanh", "sigmoid" or "relu", in a variant of the cell any
        activation of `variants`. In a cell without gates it is applied to the pre-activation of h. None in a variant
        whose directions have different ones.
    options : mapping
        The arguments of its class that choose this cell among those of its mode.
    operands : mapping of str to str
        The blocks of weight_hh that multiply the product of a gate and h, and not h: ``{"hn": "r"}`` for U·(r·h).
    keeps, enters : str or None
        A step replaces part of a unit's old state by its candidate: `keeps` is the gate that multiplies the old state,
        and `enters` the one that multiplies the candidate. If only one is given, the other factor is 1 minus that gate.
        If both are None, the old state acts through the weights only.
    candidate : str
        The gate, or "h" in a cell without gates, that holds the candidate.
    growth : callable or None
        Computes χ for `viz.mean_field`: the factor by which the mean square of a gradient grows in one step. Its
        arguments are the recorded arrays by name, with "h0" and "c0" for the states before the step, and the variances
        σ_w² of the blocks of weight_hh by name. None if there is no formula.
    draw : callable or None
        Draws one step on a `Sheet`. If None, the gates are drawn as boxes in a row.
    variants : tuple of str
        The options of `variants.DEFAULTS` that the equations of the cell's variants have; none if it has no variants.
    peepholes : mapping of str to str
        For each block of H values of weight_peephole in a variant: the gate to whose pre-activation it adds a state,
        times these weights, and the state: ``{"i": "c0", "o": "c"}``, where "c0" is c before the step.
    activated : tuple of tuple of str
        For each activation of a variant, in ONNX's order: the gates that are its values, and "h" for the one that gives
        `curve`.
    variant : Variant or None
        What is different in this variant of the cell; None in the cell itself.
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
    curve: str | None = "tanh"
    options: Mapping[str, Any] = field(default_factory=dict)
    operands: Mapping[str, str] = field(default_factory=dict)
    keeps: str | None = None
    enters: str | None = None
    candidate: str = "h"
    growth: Callable[[Mapping[str, Array], Mapping[str, float]], float] | None = None
    draw: Callable[[Sheet], None] | None = None
    variants: tuple[str, ...] = ()
    peepholes: Mapping[str, str] = field(default_factory=dict)
    activated: tuple[tuple[str, ...], ...] = ()
    variant: Variant | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "order_back", self.order_back or self.order[::-1])
        for name in ("options", "operands", "peepholes"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __repr__(self) -> str:
        return f"<Description of {self.label}: {self.equations}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _variant_of, (self.kernel, self.variant)     # copying or unpickling gives the same object

    @cached_property
    def slots(self) -> dict[str, int]:
        """The slot of each gate on the tape."""
        return {gate.name: gate.slot for gate in self.gates}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All names that a tape has for a layer: states, then gates."""
        return (*self.states, *self.slots)

    @cached_property
    def initial(self) -> tuple[str, ...]:
        """Names of the initial states: ("h0",) or ("h0", "c0")."""
        return tuple(f"{state}0" for state in self.states)

    @cached_property
    def sigmoids(self) -> tuple[str, ...]:
        """The gates with a sigmoid, which lie between 0 and 1."""
        return tuple(gate.name for gate in self.gates if gate.curve in SHARES)

    @property
    def gated(self) -> bool:
        """Whether a gate determines how much of its old state a unit keeps.

        Otherwise the old state acts through the weights only.
        """
        return self.keeps is not None or self.enters is not None

    @property
    def keeps_share(self) -> bool:
        """Whether the factor of `kept` lies between 0 and 1: in a variant it may be any number."""
        gate = self.keeps or self.enters
        return gate is not None and self.is_share(gate)

    def gate(self, name: str) -> Gate:
        """A gate by its name."""
        for gate in self.gates:
            if gate.name == name:
                return gate
        raise KeyError(f"{name!r}: got no gate of {self.label}, expected one of {', '.join(self.slots) or 'none'}")

    def curve_of(self, name: str) -> str | None:
        """The nonlinearity of a gate or of h (see `curve`); None if it has none, as c."""
        if name in self.states:
            return self.curve if name == "h" else None
        return self.gate(name).curve

    def is_share(self, name: str) -> bool:
        """Whether a gate or a state lies between 0 and 1, because its nonlinearity is a sigmoid."""
        return self.curve_of(name) in SHARES

    def activation_of(self, name: str, direction: int = 0) -> Activation | None:
        """The nonlinearity of a gate, or of h in a cell without gates, with its parameters.

        None if it has none, as the gate that is 1 minus another one in coupled gates.
        """
        if self.variant is not None and self.variant.coupled and name == of_kernel(self.kernel).keeps:
            return None
        if self.variant is not None:
            found = zip(self.activated, self.variant.of_direction(direction), strict=True)
            return next((activation for names, activation in found if name in names), None)
        curve = self.curve_of(name)
        return None if curve is None else Activation(curve)

    def words_of(self, name: str) -> str:
        """The name of a gate or a state in texts, such as "forget gate"."""
        return STATE_WORDS[name] if name in self.states else self.gate(name).words

    def kept(self, values: Mapping[str, Array]) -> Array | None:
        """The factor by which a step multiplies a unit's old state, from the values of the gates by name.

        None if the cell has no gate for it.
        """
        if self.keeps is not None:
            return values[self.keeps]
        return None if self.enters is None else 1 - values[self.enters]

    def shapes(self, input_size: int, hidden_size: int, bias: bool, proj_size: int = 0) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameters of one layer and direction, in torch's order."""
        rows = len(self.blocks_hh) * hidden_size
        found: dict[str, tuple[int, ...]] = {"weight_ih": (rows, input_size),
                                             "weight_hh": (rows, proj_size or hidden_size)}
        if bias:
            found |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if proj_size:
            found["weight_hr"] = (proj_size, hidden_size)
        if self.variant is not None and self.variant.peepholes:
            found["weight_peephole"] = (len(self.peepholes) * hidden_size,)
        return found

    def rows(self, gate: str, hidden_size: int) -> slice:
        """The rows of weight_ih and bias_ih that belong to a gate, which are also the rows of weight_hh and bias_hh."""
        start = self.blocks_ih.index(gate) * hidden_size
        return slice(start, start + hidden_size)

    def slope(self, h: Array, direction: int = 0, dtype: np.dtype[Any] | None = None) -> Array:
        """φ′(a) for a cell without gates, where h = φ(a); computed from h, not from a: see `Activation.slope`."""
        activation = self.activation_of("h", direction)
        assert activation is not None           # a cell without gates has one
        return activation.slope(h, dtype)


def of_kernel(kernel: str) -> Description:
    """Find a cell by its name in the kernels' table."""
    if kernel not in _BY_KERNEL:
        raise ValueError(f"kernel: got {kernel!r}, expected one of {', '.join(_BY_KERNEL)}")
    return _BY_KERNEL[kernel]


def modes() -> tuple[str, ...]:
    """The names of the classes of layers, those with the fewest weights first."""
    return tuple(dict.fromkeys(cell.mode for cell in _BY_KERNEL.values()))


def choices(mode: str) -> dict[str, tuple[Any, ...]]:
    """The options that choose among the cells of a mode, and the possible values of each, the default first."""
    cells = _of_mode(mode)
    return {name: tuple(dict.fromkeys(cell.options[name] for cell in cells)) for name in cells[0].options}


def first(mode: str) -> Description:
    """The default cell of a mode."""
    return _of_mode(mode)[0]


def _of_mode(mode: str) -> list[Description]:
    """All cells of a mode, the default first."""
    found = [cell for cell in _BY_KERNEL.values() if cell.mode == mode]
    if not found:
        raise ValueError(f"mode: got {mode!r}, expected one of {', '.join(modes())}")
    return found


def named(name: str) -> Description:
    """Find a cell by its name, or the default cell of a mode by the mode's name; case is ignored.

    Whatever accepts a cell by name uses this function: the functions that make layers and models (see
    `rnncore.nn.make_layer`), the models, the tasks and the commands.

    Raises
    ------
    ValueError
        No cell has this name.
    """
    found = {mode.lower(): first(mode) for mode in modes()} | CELLS
    if not isinstance(name, str) or name.lower() not in found:
        raise ValueError(f"cell: got {name!r:.60}, expected one of {', '.join(map(repr, found))}"
                         f"{did_you_mean(name, found)}")
    return found[name.lower()]


def option_names(mode: str) -> tuple[str, ...]:
    """The options of a mode: those of `choices`, and those that make a variant of its cells."""
    return (*choices(mode), *first(mode).variants)


def find(mode: str, **options: Any) -> Description:
    """The cell of a mode that the options choose; an option that is not given is as in the default cell.

    Options of `variants.DEFAULTS` make it a variant of this cell.

    Raises
    ------
    TypeError
        The mode does not have the option, or its value should be a bool and is not.
    ValueError
        The value is not among those of `choices`.
    """
    known, of_variant = choices(mode), {}
    for name, value in options.items():
        if name in first(mode).variants:
            of_variant[name] = value
        elif name not in known:
            expected = " or ".join(option_names(mode)) or "no option of this kind"
            raise TypeError(f"{mode}: got {name}={value!r}, expected {expected}")
        elif all(isinstance(choice, bool) for choice in known[name]):
            as_flag(value, name)
        elif not isinstance(value, str) or value not in known[name]:
            *most, last = map(repr, known[name])
            raise ValueError(f"{name}: got {value!r}, expected {', '.join(most) + ' or ' * bool(most)}{last}")
    given = {name: value for name, value in options.items() if name in known}
    chosen = dict(first(mode).options) | given
    for cell in _of_mode(mode):
        if cell.options == chosen:
            return _found(cell, of_variant)
    told = ", ".join(f"{name}={value!r}" for name, value in given.items())
    raise ValueError(f"{mode}: got {told}, expected a combination for which there is a cell")


def _found(cell: Description, options: Mapping[str, Any]) -> Description:
    """The variant of a cell that these options make, or another cell of its mode that already has these activations."""
    variant = Variant.of(_activations(cell), cell.mode, options)
    if variant is None:
        return cell
    if not variant.own and "nonlinearity" in cell.options:
        others = [other for other in _of_mode(cell.mode)
                  if Variant.of(_activations(other), cell.mode, {"activations": options["activations"]}) is None]
        if cell is not first(cell.mode):
            raise ValueError(f"activations: got {options['activations']!r:.60} with nonlinearity="
                             f"{cell.options['nonlinearity']!r}, expected one of the two; activations replace it")
        if others:
            return _found(others[0], {name: value for name, value in options.items() if name != "activations"})
    return _variant_of(cell.kernel, variant)


def _activations(cell: Description) -> tuple[str, ...]:
    """A cell's own activations, in ONNX's order."""
    return tuple(str(cell.curve_of(names[0])) for names in cell.activated)


def _variant_of(kernel: str, variant: Variant | None) -> Description:
    """The description of a variant of a cell: one object for each, as long as it is in use."""
    cell = of_kernel(kernel)
    if variant is None:
        return cell
    with _LOCK:
        found = _VARIANTS.get((kernel, variant))
        if found is None:
            found = _VARIANTS[kernel, variant] = _described_variant(cell, variant)
    return found


def _described_variant(cell: Description, variant: Variant) -> Description:
    curves: dict[str, str | None] = {}
    for n, names in enumerate(cell.activated):
        each = {activations[n].name for activations in variant.activations}
        curves |= dict.fromkeys(names, each.pop() if len(each) == 1 else None)
    if variant.coupled and cell.keeps is not None and curves[cell.keeps] not in SHARES:
        curves[cell.keeps] = None           # 1 − i is a share only if i is one
    return replace(
        cell,
        label=f"{cell.label} ({variant.words})",
        equations=f"{cell.equations}, with {variant.words}",
        gates=tuple(gate._replace(curve=curves.get(gate.name)) for gate in cell.gates),
        curve=curves["h"],
        options={**cell.options, **variant.options},
        keeps=None if variant.coupled else cell.keeps,
        growth=None,
        draw=None if cell.gates else cell.draw,     # the drawings of cells with gates say which curves these have
        variant=variant,
    )


# ---- read at import -----------------------------------------------------------------------------


def _described() -> Iterator[Description]:
    """The cells of all files. Files are sorted by the number of weights of their first cell."""
    names = sorted(file.removesuffix(".py") for file in listdir(__path__[0]) if file.endswith(".py"))
    files = [import_module(f".{name}", __name__).CELLS for name in names if name != "__init__"]
    for cells in sorted(files, key=lambda cells: len(cells[0].blocks_hh)):
        yield from cells


def _check(cell: Description) -> None:
    """Refuse a description that does not agree with the kernels' table.

    The table does not tell which gate the equations store in which slot. Tests compare this with an implementation in
    numpy and with other libraries.
    """
    row = _engine.cell_info(cell.kernel)
    blocks = len(cell.blocks_ih), len(cell.blocks_hh)
    if blocks != (row["blocks"], row["blocks"]):
        raise ImportError(f"description of {cell.kernel}: got blocks_ih {cell.blocks_ih} and blocks_hh "
                          f"{cell.blocks_hh}, expected {row['blocks']} each, as in the kernels' table")
    fed_by_x = {row["x_slot"] + place: cell.blocks_ih[block] for place, block in enumerate(row["x_order"])}
    fed_by_h: dict[int, str] = {}
    from_aux: list[str] = []
    order = iter(row["h_order"])
    for stage in row["stages"]:
        for slot in range(stage["slot"], stage["slot"] + stage["groups"]):
            fed_by_h[slot] = cell.blocks_hh[next(order)]
            from_aux += [fed_by_h[slot]] * stage["from_aux"]
    slots = {slot: name for name, slot in cell.slots.items()} if row["slots_on_tape"] else {0: "h"}
    compared: dict[str, tuple[object, object]] = {
        "states": (cell.states, tuple(STATE_WORDS)[:row["states"]]),
        "slots": (sorted(cell.slots.values()), list(range(row["slots"])) if row["slots_on_tape"] else []),
        "blocks_ih": (fed_by_x, {slot: slots.get(slot) for slot in fed_by_x}),
        "blocks_hh": (fed_by_h, {slot: slots.get(slot) for slot in fed_by_h}),
        "operands": (sorted(cell.operands), sorted(from_aux)),
        "variants": (bool(cell.variants), row["variants"]),
        "peepholes": (len(cell.peepholes), _engine.PEEPHOLES if "peepholes" in cell.variants else 0),
    }
    for what, (described, computed) in compared.items():
        if described != computed:
            raise ImportError(f"description of {cell.kernel}: got {what} {described}, expected {computed}, as in the "
                              "kernels' table")
    _check_roles(cell)


def _check_roles(cell: Description) -> None:
    """Refuse a description whose fields contradict each other."""
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
        "variants": (set(cell.variants) <= set(DEFAULTS), f"options of {tuple(DEFAULTS)}"),
        "activated": (bool(cell.activated) == bool(cell.variants) and {*sum(cell.activated, ())} <= {"h", *gates},
                      f"gates of {tuple(cell.slots)} or 'h' if the cell has variants"),
        "gates": ({gate.curve for gate in cell.gates} <= {"tanh", "sigmoid", None}, "curves 'tanh', 'sigmoid' or None"),
        "name": (cell.name == cell.name.lower(), "lower case"),
    }
    for what, (fits, told) in expected.items():
        if not fits:
            raise ImportError(f"description of {cell.kernel}: got {what} {getattr(cell, what)}, expected {told}")


def _read() -> dict[str, Description]:
    """All cells by their names in the kernels' table, after all checks."""
    cells = list(_described())
    found = {cell.kernel: cell for cell in cells}
    if len(found) < len(cells) or set(found) != set(_engine.cell_names()):
        raise ImportError(f"descriptions: got {[cell.kernel for cell in cells]}, expected one for each row of the "
                          f"kernels' table: {_engine.cell_names()}")
    names = [cell.name for cell in cells]
    for cell in cells:
        _check(cell)
        if names.count(cell.name) > 1:
            raise ImportError(f"description of {cell.kernel}: got name {cell.name!r}, which another cell has, expected "
                              "a name of its own")
        if set(cell.options) != set(next(other for other in cells if other.mode == cell.mode).options):
            raise ImportError(f"description of {cell.kernel}: got options {dict(cell.options)}, expected the same "
                              f"options as the other cells of {cell.mode}")
    return found


_BY_KERNEL = _read()
CELLS: dict[str, Description] = {cell.name: cell for cell in _BY_KERNEL.values()}
"""All cells by name; those of the classes of layers with the fewest weights come first."""
