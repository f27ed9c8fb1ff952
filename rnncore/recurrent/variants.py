"""Variants of the cells: other activations, bounds, peepholes and coupled gates.

`Description.variant` holds the `Variant`; the kernels' equations for them are in src/kernels/*_variant.h. Activations
are named as in ONNX, whose LSTM, GRU and RNN operators define what they do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from rnncore import _engine
from rnncore._checks import as_flag, as_number, did_you_mean

if TYPE_CHECKING:
    from rnncore._typing import Array

ActivationsLike: TypeAlias = Sequence["str | Sequence[Any]"]

# The options that make a variant, with the values that leave the cell as it is.
DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {"peepholes": False, "coupled": False, "cell_clip": None, "gate_clip": None, "activations": None})
SHARES = ("sigmoid", "hardsigmoid")         # activations whose values lie between 0 and 1
LETTERS = "fgh"                             # ONNX's names of a cell's activations, in order


class _Function(NamedTuple):
    """An activation φ(a; α, β): the defaults of the parameters that it has, and what can be told from its value y."""

    defaults: tuple[float, ...]
    slope: Callable[[Array, float, float], Any]     # φ′(a) from y
    inverse: Callable[[Array, float, float], Any]   # a from y; NaN where several a have this y


_FUNCTIONS = {
    "sigmoid": _Function((), lambda y, α, β: y * (1 - y), lambda y, α, β: np.log(y) - np.log1p(-y)),
    "tanh": _Function((), lambda y, α, β: 1 - np.square(y), lambda y, α, β: np.arctanh(y)),
    "relu": _Function((), lambda y, α, β: np.where(np.isnan(y), y, y > 0),
                      lambda y, α, β: np.where(y > 0, y, np.nan)),
    "affine": _Function((1.0, 0.0), lambda y, α, β: np.full_like(y, α), lambda y, α, β: (y - β) / α),
    "leakyrelu": _Function(
        (0.01,), lambda y, α, β: np.where(y > 0, 1, α), lambda y, α, β: np.where(y > 0, y, y / α if α else np.nan)),
    "thresholdedrelu": _Function((1.0,), lambda y, α, β: y != 0, lambda y, α, β: np.where(y != 0, y, np.nan)),
    "scaledtanh": _Function(
        (1.0, 1.0), lambda y, α, β: α * β * (1 - np.square(y / α)) if α else np.zeros_like(y),
        lambda y, α, β: np.arctanh(y / α) / β),
    "hardsigmoid": _Function(
        (0.2, 0.5), lambda y, α, β: np.where((y > 0) & (y < 1), α, 0),
        lambda y, α, β: np.where((y > 0) & (y < 1), (y - β) / α, np.nan)),
    "elu": _Function(
        (1.0,), lambda y, α, β: np.where(y > 0, 1, y + α), lambda y, α, β: np.where(y > 0, y, np.log1p(y / α))),
    "softsign": _Function((), lambda y, α, β: np.square(1 - np.abs(y)), lambda y, α, β: y / (1 - np.abs(y))),
    "softplus": _Function((), lambda y, α, β: -np.expm1(-y), lambda y, α, β: y + np.log(-np.expm1(-y))),
}
if set(_FUNCTIONS) != set(_engine.ACTIVATIONS):
    raise ImportError(f"activations: got {sorted(_FUNCTIONS)}, expected those of the kernels: "
                      f"{sorted(_engine.ACTIVATIONS)}")


class Activation(NamedTuple):
    """One of ONNX's activation functions, φ(a), with a within ±clip.

    Attributes
    ----------
    name : str
        In lower case.
    alpha, beta : float
        0 where the function has no such parameter.
    clip : float
        The bound of what goes into it; infinity where there is none.
    """

    name: str
    alpha: float = 0.0
    beta: float = 0.0
    clip: float = math.inf

    @classmethod
    def of(cls, given: Any, argument: str) -> Activation:
        """Check a caller's activation: a name, (name, alpha) or (name, alpha, beta); the case of a name is ignored."""
        listed = [given] if isinstance(given, str) else list(given) if isinstance(given, Sequence) else []
        if not listed or not isinstance(listed[0], str):
            raise TypeError(f"{argument}: got {given!r:.60}, expected a name, (name, alpha) or (name, alpha, beta)")
        name, *parameters = listed
        if name.lower() not in _FUNCTIONS:
            raise ValueError(f"{argument}: got {name!r:.60}, expected one of {', '.join(map(repr, _FUNCTIONS))}"
                             f"{did_you_mean(name.lower(), _FUNCTIONS)}")
        name = name.lower()
        defaults = _FUNCTIONS[name].defaults
        if len(parameters) > len(defaults) and any(p is not None for p in parameters[len(defaults):]):
            has = ("no parameters", "only alpha", "alpha and beta")[len(defaults)]
            raise ValueError(f"{argument}: got {tuple(listed)!r:.60}, expected at most {len(defaults)} numbers after "
                             f"the name, since {name} has {has}")
        values = list(defaults)
        for n, value in enumerate(parameters[:len(defaults)]):
            if value is not None:
                least = 0 if name in ("leakyrelu", "elu") else -math.inf     # else two slopes would have one value
                values[n] = as_number(value, f"{argument}, {('alpha', 'beta')[n]} of {name}", least=least)
        return cls(name, *values)

    @property
    def spelled(self) -> str | tuple[Any, ...]:
        """The activation as an argument gives it: 'tanh' or ('leakyrelu', 0.01)."""
        count = len(_FUNCTIONS[self.name].defaults)
        return (self.name, *(self.alpha, self.beta)[:count]) if count else self.name

    def slope(self, y: Array, dtype: np.dtype[Any] | None = None) -> Array:
        """φ′(a) from y = φ(a), as the backward pass computes it: 0 where a was beyond the bound.

        `dtype` is the one in which y was computed, if it is not that of the array.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.asarray(_FUNCTIONS[self.name].slope(y, self.alpha, self.beta)).astype(y.dtype)
        if math.isfinite(self.clip):
            for end in self._ends(dtype or y.dtype):
                slope[y == end] = 0
        return slope

    def inverse(self, y: Array) -> Array:
        """A from y = φ(a): infinite where y was rounded to an end of its range, NaN where several a have this y."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(_FUNCTIONS[self.name].inverse(y, self.alpha, self.beta), y.dtype)

    def _ends(self, dtype: Any) -> Array:
        """φ(clip) and φ(−clip), as the kernels compute them."""
        ends = np.array([self.clip, -self.clip], dtype)
        out = np.empty_like(ends)
        _engine.activation(self[:3], ends, out)
        return out


def as_activations(given: Any, count: int, mode: str) -> tuple[tuple[Activation, ...], ...]:
    """Check a caller's activations: those of each direction, or of one for both, `count` each."""
    letters = ", ".join(LETTERS[:count])
    expected = f"{count} of them ({letters}), or {2 * count} for a bidirectional {mode}"
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise TypeError(f"activations: got {given!r:.60}, expected a list of {expected}")
    if len(given) not in (count, 2 * count):
        raise ValueError(f"activations: got {len(given)} of them, expected {expected}")
    parsed = [Activation.of(each, f"activations[{n}]") for n, each in enumerate(given)]
    found = tuple(tuple(parsed[n:n + count]) for n in range(0, len(parsed), count))
    return found[:1] if found[0] == found[-1] else found


@dataclass(frozen=True)
class Variant:
    """What is different from the cell itself.

    Attributes
    ----------
    activations : tuple of tuple of Activation
        In ONNX's order, for each direction, or once for all; their bound is `gate_clip`.
    own : bool
        Whether the activations are those of the cell itself.
    peepholes, coupled : bool
    cell_clip, gate_clip : float or None
    """

    activations: tuple[tuple[Activation, ...], ...]
    own: bool
    peepholes: bool
    coupled: bool
    cell_clip: float | None
    gate_clip: float | None

    @classmethod
    def of(cls, own: tuple[str, ...], mode: str, options: Mapping[str, Any]) -> Variant | None:
        """Check a caller's options, those of `DEFAULTS`, for a cell with its own activations.

        None if they change nothing.
        """
        given = {**DEFAULTS, **options}
        peepholes, coupled = (as_flag(given[name], name) for name in ("peepholes", "coupled"))
        cell_clip, gate_clip = (None if given[name] is None else as_number(given[name], name, above=0, also="None")
                                for name in ("cell_clip", "gate_clip"))
        itself: tuple[tuple[Activation, ...], ...] = (tuple(map(Activation, own)),)
        found = itself
        if given["activations"] is not None:
            found = as_activations(given["activations"], len(own), mode)
        if found == itself and not (peepholes or coupled or cell_clip or gate_clip):
            return None
        clip = gate_clip or math.inf
        bounded = tuple(tuple(each._replace(clip=clip) for each in direction) for direction in found)
        return cls(bounded, found == itself, peepholes, coupled, cell_clip, gate_clip)

    @property
    def options(self) -> dict[str, Any]:
        """The options that differ from `DEFAULTS`, in a form that gives the same variant again."""
        activations = None if self.own else tuple(
            each.spelled for direction in self.activations for each in direction)
        found = {name: getattr(self, name) for name in DEFAULTS} | {"activations": activations}
        return {name: value for name, value in found.items() if value != DEFAULTS[name]}

    @property
    def words(self) -> str:
        """What is different, for titles and equations."""
        names = dict.fromkeys(each.name for direction in self.activations for each in direction)
        told = ["peepholes"] * self.peepholes + ["f = 1 − i"] * self.coupled
        told += [f"c within ±{self.cell_clip:g}"] if self.cell_clip is not None else []
        told += [f"sums within ±{self.gate_clip:g}"] if self.gate_clip is not None else []
        told += [] if self.own else [f"activations {', '.join(names)}"]
        return ", ".join(told)

    def of_direction(self, direction: int) -> tuple[Activation, ...]:
        """The activations of one direction, in ONNX's order."""
        return self.activations[direction if len(self.activations) > 1 else 0]

    def for_engine(self, direction: int) -> tuple[Any, ...]:
        """The variant as `_engine.Weights` takes it."""
        clips = (clip or math.inf for clip in (self.gate_clip, self.cell_clip))
        return (tuple(each[:3] for each in self.of_direction(direction)), *clips, self.coupled)
