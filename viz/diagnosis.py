"""What a tape shows about its network, in sentences with numbers, and what would help.

Each check is a function of the tape that yields findings; `diagnose` runs them all and sorts the
findings. Thresholds stand next to the sentences that depend on them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, TypeAlias, get_args, overload

import numpy as np

from ._door import as_whole_tape
from ._layers import some_rows
from ._tapes import gradient, has_gradients, is_reverse, layer_of, layers, part_of, valid_steps
from .measures.decay_rate import decay_rate
from .measures.jacobian_norms import jacobian_norms
from .measures.saturation import saturation
from .measures.step_share import step_share
from .measures.timescales import timescales
from .plots._decay import fate, readings
from .watches.moment import Moment
from .watches.nonfinite import locate

if TYPE_CHECKING:
    from rnncore._typing import Floats
    from rnncore.recurrent.tape import Tape

    from ._tapes import HasTape

__all__ = ["SEVERITIES", "Diagnosis", "Finding", "diagnose"]

Severity: TypeAlias = Literal["error", "warning", "note", "ok"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
_SHORTEST = 4  # steps: a shorter tape says nothing about memory
_ROWS = 4  # rows that are walked back: each costs as many adjoint steps as the state is wide


def __dir__() -> list[str]:
    return __all__


@dataclass(frozen=True)
class Finding:
    """One observation about a tape.

    Attributes
    ----------
    name : str
        "vanishes", "explodes", "holds", "nonfinite", "saturated", "dead", "timescales", …
    severity : {"error", "warning", "note", "ok"}
    sentence : str
        What was found, with its numbers.
    advice : str
        What would help; may be empty.
    numbers : dict
        The numbers of the sentence, to compute with.
    """

    name: str
    severity: Severity
    sentence: str
    advice: str = ""
    numbers: dict[str, Any] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return f"{self.severity}: {self.sentence}" + (f" → {self.advice}" if self.advice else "")


class Diagnosis(tuple[Finding, ...]):
    """Findings, the most severe first; printed one per line."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    def __repr__(self) -> str:
        return f"<Diagnosis: {', '.join(f'{finding.name} ({finding.severity})' for finding in self)}>"

    @overload
    def __getitem__(self, key: SupportsIndex | str) -> Finding: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Finding, ...]: ...
    def __getitem__(self, key: SupportsIndex | slice | str) -> Finding | tuple[Finding, ...]:
        """By number, or by name: the first finding with that name."""
        if not isinstance(key, str):
            return super().__getitem__(key)
        for finding in self:
            if finding.name == key:
                return finding
        raise KeyError(f"no finding {key!r}; there are {', '.join(f.name for f in self)}")

    def _ipython_key_completions_(self) -> list[str]:
        return self.names

    @property
    def names(self) -> list[str]:
        """The names of the findings, in their order."""
        return [finding.name for finding in self]


def diagnose(tape: Tape | HasTape, *, steps: int | None = None) -> Diagnosis:
    """What is wrong with the memory of a network, and what would help.

    Parameters
    ----------
    tape : Tape
        After `backward` the gradients are checked as well.
    steps : int, optional
        The length of the dependencies that the network should learn; by default that of the tape.

    Returns
    -------
    Diagnosis
        A tuple of `Finding`, the most severe first; ``print`` it.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> rnn = rc.RNN(2, 8, nonlinearity="sigmoid", seed=0)
    >>> x = np.random.default_rng(0).standard_normal((100, 1, 2))
    >>> found = viz.diagnose(rnn.record(x))
    >>> found["vanishes"].sentence
    'the gradient shrinks 6.8-fold per step: less than 1 % of it gets further back than 3 steps'
    """
    tape = as_whole_tape(tape)
    steps = int(np.max(tape.lengths, initial=0)) if steps is None else steps
    found = list(_nonfinite(tape))
    if not found:
        checks = (_input, _memory, _gates, _states, _timescales, _gradients, _step_share)
        for check in checks:
            found += check(tape, steps)
    if all(finding.severity in ("note", "ok") for finding in found):
        found.append(_nothing_found(tape))
    return Diagnosis(sorted(found, key=lambda f: SEVERITIES.index(f.severity)))


def _nothing_found(tape: Tape) -> Finding:
    """What was checked; that a network has learnt something is not seen on a tape."""
    checked = ["finite values", "the size of the input"]
    checked += ["the reach of the gradient"] if np.max(tape.lengths, initial=0) >= _SHORTEST else []
    checked += ["gates" if tape.cell.gated else "states"]
    checked += ["steps without a gradient"] if has_gradients(tape) else []
    return Finding(
        "checked", "note",
        f"no problem was found with {', '.join(checked[:-1])} and {checked[-1]}; whether the network has learnt its "
        "task is not checked here: that is shown by its loss on held-out data",
    )  # fmt: skip


def _nonfinite(tape: Tape) -> Iterator[Finding]:
    hit = locate(Moment(tape))
    if hit:
        yield Finding(
            "nonfinite", "error", hit.sentence,
            "viz.Debugger(viz.NaN()) stops training at the update where this first happens",
            {"tensor": hit.tensor, "step": hit.step, "row": hit.row, "unit": hit.unit},
        )  # fmt: skip


def _input(tape: Tape, steps: int) -> Iterator[Finding]:
    """Inputs far from unit scale saturate every gate."""
    x = np.asarray(tape.input, np.float64)[valid_steps(tape)]
    size = float(np.sqrt(np.square(x).mean())) if x.size else 0.0
    if size > 10:
        yield Finding(
            "input", "warning", f"the input's root mean square is {size:.3g}",
            "scale it to about 1: gates saturate on large inputs", {"rms": size},
        )  # fmt: skip


# ---------------------------------------------------------------- how far the effect of a state reaches


def _memory(tape: Tape, steps: int) -> Iterator[Finding]:
    """The product of Jacobians: whether it vanishes, explodes, or holds."""
    if np.max(tape.lengths, initial=0) < _SHORTEST:
        return
    norms = jacobian_norms(some_rows(tape, _ROWS))
    rate = median(decay_rate(norms))
    reach, more = readings(norms)["horizon"]
    longest = int(np.nanmax(np.isfinite(norms).sum(0))) - 1
    how = fate(norms)
    pace = f" {how.short}:" if how.exponential else ""
    numbers: dict[str, Any] = {"rate": rate, "horizon": reach, "lags": longest, "norms": norms}
    if not (norms[1:] > 0).any() or math.isnan(rate):
        yield Finding(
            "vanishes", "error", "no gradient passes from a step to the one before it: it is exactly 0",
            _to_hold(tape, steps), numbers | {"horizon": 0.0},
        )  # fmt: skip
        return
    numbers["half_life"] = math.log(2) / abs(rate) if rate else math.inf
    with np.errstate(divide="ignore", invalid="ignore"):
        growth = median(np.log(np.array([row[np.isfinite(row)][-1] for row in norms.T if np.isfinite(row).any()])))
    if growth > math.log(100):  # a hundredfold over the tape
        factor = f"{math.exp(min(growth, 700)):.0e}".replace("e+", "e")
        yield Finding(
            "explodes", "error" if growth > math.log(1e4) else "warning",
            f"the gradient{pace}{' it' if pace else ''} grows by a factor of {factor} over {longest} steps",
            _to_calm(tape), numbers | {"growth": growth},
        )  # fmt: skip
    elif not more:
        short = reach < min(steps, longest)
        yield Finding(
            "vanishes", "warning" if short else "note",
            f"{f'the gradient{pace} less than 1 % of it' if pace else 'less than 1 % of the gradient'} gets further "
            f"back than {reach:.0f} steps",
            _to_hold(tape, steps) if short else "", numbers,
        )  # fmt: skip
    else:
        yield Finding(
            "holds", "ok",
            f"the state of the first step still has an effect after all {longest} steps: at least 1 % of that of a "
            "state one step back",
            "", numbers,
        )  # fmt: skip


def median(values: Floats) -> float:
    """The median over the rows that have a number; NaN if none has."""
    values = values[~np.isnan(values)]
    return float(np.median(values)) if len(values) else math.nan


def _to_hold(tape: Tape, steps: int) -> str:
    """Advice against a vanishing gradient, for this cell."""
    cell = tape.cell
    if steps > 2 and cell.keeps_share:
        bias = math.log(steps - 1)
        set_it = f"rnncore.init.forget_bias(layer, {bias:.1f})"
        spread = f"or rnncore.init.chrono(layer, {steps}) for time scales spread up to that length"
        if cell.keeps is None:
            return f"{set_it} would hold for {steps} steps, {spread}"
        gate = cell.gate(cell.keeps).words.replace(" ", "-")
        a = "an" if gate[0] in "aeiou" else "a"
        return f"{a} {gate} bias of ln(T−1) = {bias:.1f} would hold for {steps} steps: {set_it}, {spread}"
    if cell.curve == "sigmoid":
        return (
            "a sigmoid passes at most a quarter of the gradient per step: use an LSTM or a GRU, or the "
            "nonlinearity tanh or relu"
        )
    start = "identity(layer)" if cell.curve == "relu" else "orthogonal(layer)"
    return f"initialise with rnncore.init.{start}, or use an LSTM or a GRU"


def _to_calm(tape: Tape) -> str:
    """Advice against an exploding gradient: clip it, and scale the recurrent weights."""
    largest = max(
        float(np.abs(np.linalg.eigvals(np.asarray(block, np.float64))).max())
        for name, weight in tape.layer.parameters.items()
        if "weight_hh" in name
        for block in np.split(weight, len(weight) // weight.shape[1])
    )
    advice = "clip the gradient's norm (Trainer(max_norm=1.0))"
    if not tape.cell.gated and largest > 1:
        return (
            f"{advice} and scale weight_hh by {1 / largest:.2f} (its spectral radius is "
            f"{largest:.2f}), or initialise with rnncore.init.orthogonal(layer)"
        )
    return f"{advice}, or initialise with rnncore.init.orthogonal(layer)"


# ---------------------------------------------------------------- gates and states

_STUCK, _OFTEN = 0.99, 0.95  # a gate beyond 0.99 (under 0.01) on 95 % of the steps


def _gates(tape: Tape, steps: int) -> Iterator[Finding]:
    """Units whose gate is nearly always at one end."""
    for name, shares in saturation(tape, 1 - _STUCK, _STUCK).items():
        gate = part_of(name)
        described = tape.cell.gate(gate)
        for side, share, meaning in (("low", shares.low, described.low), ("high", shares.high, described.high)):
            units = np.flatnonzero(share >= _OFTEN)
            if not len(units) or meaning is None:
                continue
            sign = f"> {_STUCK}" if side == "high" else f"< {1 - _STUCK:.2f}"
            yield Finding(
                "saturated", "warning" if len(units) > len(share) / 4 else "note",
                f"{_units(units.tolist(), len(share), name)} {meaning.does}: {gate} {sign} on "
                f"{100 * share[units].min():.0f} % of steps",
                meaning.advice,
                {"gate": name, "side": side, "units": units.tolist(), "shares": share[units]},
            )  # fmt: skip


def _states(tape: Tape, steps: int) -> Iterator[Finding]:
    """Units of a plain RNN that are dead (ReLU) or saturated."""
    lows = {"tanh": -_STUCK, "sigmoid": 1 - _STUCK, "relu": 0.0}
    curve, inside = tape.cell.curve, valid_steps(tape)
    if tape.cell.gated or curve not in lows:
        return
    low = lows[curve]
    for layer in layers(tape):
        h = tape[f"{layer}.h"][inside]
        if not len(h):
            continue
        ends = h == 0 if curve == "relu" else (h < low) | (h > _STUCK)
        share = ends.mean(0)
        units = np.flatnonzero(share >= (1.0 if curve == "relu" else _OFTEN))
        if len(units):
            dead = curve == "relu"
            yield Finding(
                "dead" if dead else "saturated",
                "warning" if len(units) > len(share) / 4 else "note",
                f"{_units(units.tolist(), len(share), layer)} "
                + ("are dead: h is 0 at every step" if dead else
                   f"are saturated: h is near its limits on {100 * share[units].min():.0f} % of steps"),
                "lower the learning rate, or initialise with smaller weights" if dead
                else "initialise with smaller weights, or scale the input down",
                {"layer": layer, "units": units.tolist(), "shares": share[units]},
            )  # fmt: skip


def _units(units: Sequence[int], total: int, name: str) -> str:
    """ "units 3, 17 of l0" """
    shown = ", ".join(map(str, units[:6])) + (
        f" … ({len(units)} of {total})" if len(units) > 6 else ""
    )
    return f"{'unit' if len(units) == 1 else 'units'} {shown} of {layer_of(name) or name}"


def _timescales(tape: Tape, steps: int) -> Iterator[Finding]:
    """How long the gates alone keep the units' values."""
    if not tape.cell.keeps_share:
        return
    for layer, tau in timescales(tape).items():
        tau = tau[np.isfinite(tau)]
        if len(tau):
            middle, longest = float(np.median(tau)), float(tau.max())
            yield Finding(
                "timescales", "note",
                f"by its gates alone, {layer} keeps its values for {middle:.1f} steps (median over "
                f"units), and for {longest:.1f} at most",
                "", {"layer": layer, "median": middle, "longest": longest},
            )  # fmt: skip


# ---------------------------------------------------------------- after backward


def _gradients(tape: Tape, steps: int) -> Iterator[Finding]:
    """Steps whose gradient is exactly 0 although the loss lies after them."""
    for layer, parts in layers(tape).items():
        grads = [gradient(tape, f"{layer}.{part}") for part in tape.cell.states if part in parts]
        none = [(grad == 0).all(-1) for grad in grads if grad is not None and grad.ndim == 3]
        if len(none) < len(grads):
            return
        nothing = np.all(none, axis=0)
        back = slice(None) if is_reverse(layer) else slice(None, None, -1)       # the order of the backward pass
        reached = np.maximum.accumulate(~nothing[back], axis=0)[back]
        lost = (nothing & reached & valid_steps(tape)).any(1)
        if lost.any():
            yield Finding(
                "underflow", "warning",
                f"the gradient of {layer} is exactly 0 on {int(lost.sum())} of {tape.T} steps "
                "although the loss lies after them",
                "either it fell below the smallest float32, or no unit passes it on: record with "
                'dtype="float64" to find out' if tape.dtype == np.float32 else "",
                {"layer": layer, "steps": np.flatnonzero(lost)},
            )  # fmt: skip


def _step_share(tape: Tape, steps: int) -> Iterator[Finding]:
    """All steps share the weights, but their gradient may come from only a few of them."""
    if tape.T < 20 or not has_gradients(tape):
        return
    for weight, share in step_share(tape).items():
        if not weight.startswith("weight_hh"):
            continue
        share = np.sort(share.mean(1) / max(share.mean(1).sum(), 1e-300))[::-1]
        few = int(np.searchsorted(np.cumsum(share), 0.9)) + 1
        if few <= tape.T / 10:
            yield Finding(
                "step share", "note",
                f"90 % of the gradient of {weight} comes from {few} of {tape.T} steps",
                "", {"weight": weight, "steps": few},
            )  # fmt: skip
