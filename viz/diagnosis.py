"""What a tape says about its network, in sentences with numbers, and what would help.

Each check is a function of the tape that yields findings; `diagnose` runs them all and sorts what
they say. Thresholds stand beside the sentence they decide about.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ._layers import some_rows
from ._tapes import gradient, has_gradients, is_reverse, layer_of, layers, part_of, valid_steps
from .measures.decay_rate import decay_rate
from .measures.horizon import horizon
from .measures.jacobian_norms import jacobian_norms
from .measures.saturation import saturation
from .measures.step_share import step_share
from .measures.timescales import timescales
from .watches.moment import Moment
from .watches.nonfinite import locate

SEVERITIES = ("error", "warning", "note", "ok")
_ROWS = 4  # rows that are walked back: each costs as many adjoints as the state is wide


@dataclass(frozen=True)
class Finding:
    """One thing that a tape shows.

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
        The same numbers to compute with.
    """

    name: str
    severity: str
    sentence: str
    advice: str = ""
    numbers: dict = field(default_factory=dict)

    def __str__(self):
        return f"{self.severity}: {self.sentence}" + (f" → {self.advice}" if self.advice else "")


class Diagnosis(tuple):
    """Findings, the gravest first; printed, one a line."""

    __slots__ = ()

    def __str__(self):
        return "\n".join(map(str, self))

    def __getitem__(self, key):
        """By number; or by name: the first finding called so."""
        if not isinstance(key, str):
            return super().__getitem__(key)
        for finding in self:
            if finding.name == key:
                return finding
        raise KeyError(f"no finding {key!r}; there are {', '.join(f.name for f in self)}")

    @property
    def names(self):
        return [finding.name for finding in self]


def diagnose(tape, *, steps: int | None = None) -> Diagnosis:
    """What is wrong with the memory of a network, and what would help.

    Parameters
    ----------
    tape : Tape
        After `backward` the gradients are looked at, too.
    steps : int, optional
        How long a dependency should be learnt; the length of the tape by default.

    Returns
    -------
    Diagnosis
        A tuple of `Finding`, the gravest first; ``print`` it.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> rnn = rc.RNN(2, 8, nonlinearity="sigmoid", seed=0)
    >>> x = np.random.default_rng(0).standard_normal((100, 1, 2))
    >>> found = viz.diagnose(rnn.record(x))
    >>> found["vanishes"].sentence
    'the gradient halves every 0.4 steps: dependencies beyond 3 steps cannot be learnt'
    """
    steps = int(np.max(tape.lengths, initial=0)) if steps is None else steps
    found = list(_nonfinite(tape))
    if not found:
        checks = (_input, _memory, _gates, _states, _timescales, _gradients, _step_share)
        for check in checks:
            found += check(tape, steps)
    if all(finding.severity in ("note", "ok") for finding in found):
        found.append(Finding("healthy", "ok", "nothing stands out"))
    return Diagnosis(sorted(found, key=lambda f: SEVERITIES.index(f.severity)))


def _nonfinite(tape) -> Iterator[Finding]:
    hit = locate(Moment(tape))
    if hit:
        yield Finding(
            "nonfinite", "error", hit.sentence,
            "what was computed just before it is in the sentence; viz.Debugger(viz.NaN()) stops "
            "training there",
            {"tensor": hit.tensor, "step": hit.step, "row": hit.row, "unit": hit.unit},
        )  # fmt: skip


def _input(tape, steps) -> Iterator[Finding]:
    """Inputs far from unit scale drive every gate to its ends."""
    x = np.asarray(tape.input, np.float64)[valid_steps(tape)]
    size = float(np.sqrt(np.square(x).mean())) if x.size else 0.0
    if size > 10:
        yield Finding(
            "input", "warning", f"the input's root mean square is {size:.3g}",
            "scale it to about 1: gates saturate on large inputs", {"rms": size},
        )  # fmt: skip


# ---------------------------------------------------------------- how far the state is felt


def _memory(tape, steps) -> Iterator[Finding]:
    """The product of Jacobians: vanishing, exploding, or holding."""
    if np.max(tape.lengths, initial=0) < 4:
        return
    norms = jacobian_norms(some_rows(tape, _ROWS))
    rate = median(decay_rate(norms))
    reach = median(horizon(norms))
    longest = int(np.nanmax(np.isfinite(norms).sum(0))) - 1
    numbers = {"rate": rate, "horizon": reach, "lags": longest, "norms": norms}
    if not (norms[1:] > 0).any() or math.isnan(rate):
        yield Finding(
            "vanishes", "error", "no gradient passes from one step to the one before: it is 0",
            _to_hold(tape, steps), numbers | {"horizon": 0.0},
        )  # fmt: skip
        return
    numbers["half_life"] = math.log(2) / abs(rate) if rate else math.inf
    growth = rate * longest
    if growth > math.log(100):  # a hundredfold over the tape
        factor = f"{math.exp(min(growth, 700)):.0e}".replace("e+", "e")
        yield Finding(
            "explodes", "error" if growth > math.log(1e4) else "warning",
            f"the gradient doubles every {numbers['half_life']:.1f} steps: {factor} times over "
            f"{longest} steps",
            _to_calm(tape), numbers | {"growth": growth},
        )  # fmt: skip
    elif reach < longest:
        short = reach < min(steps, longest)
        yield Finding(
            "vanishes", "warning" if short else "note",
            f"the gradient halves every {numbers['half_life']:.1f} steps: dependencies beyond "
            f"{reach:.0f} steps cannot be learnt",
            _to_hold(tape, steps) if short else "", numbers,
        )  # fmt: skip
    else:
        yield Finding(
            "holds", "ok", f"the state of the first step is still felt after all {longest} steps",
            "", numbers,
        )  # fmt: skip


def median(values):
    """Of the rows that have a number; NaN where none has."""
    values = values[~np.isnan(values)]
    return float(np.median(values)) if len(values) else math.nan


def _to_hold(tape, steps):
    """Advice against vanishing for this cell."""
    cell = tape.cell
    if steps > 2 and cell.gated:
        bias = math.log(steps - 1)
        set_it = f"rnncore.init.forget_bias(layer, {bias:.1f})"
        spread = f"or rnncore.init.chrono(layer, {steps}) for a spread up to it"
        if cell.keeps is None:
            return f"{set_it} would hold {steps}, {spread}"
        gate = cell.gate(cell.keeps).words.replace(" ", "-")
        return f"{gate} bias ln(T−1) = {bias:.1f} would hold {steps}: {set_it}, {spread}"
    if cell.curve == "sigmoid":
        return "a sigmoid passes at most a quarter a step: take an LSTM or a GRU, or tanh or relu"
    start = "identity(layer)" if cell.curve == "relu" else "orthogonal(layer)"
    return f"start from rnncore.init.{start}, or take an LSTM or a GRU"


def _to_calm(tape):
    """Advice against exploding: clip, and scale the recurrent weights."""
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
            f"{largest:.2f}), or start from rnncore.init.orthogonal(layer)"
        )
    return f"{advice}, or start from rnncore.init.orthogonal(layer)"


# ---------------------------------------------------------------- gates and states

_STUCK, _OFTEN = 0.99, 0.95  # a gate beyond 0.99 (under 0.01) on 95 % of the steps


def _gates(tape, steps) -> Iterator[Finding]:
    """Units whose gate is at one end nearly always."""
    for name, shares in saturation(tape, 1 - _STUCK, _STUCK).items():
        gate = part_of(name)
        for side, share in (("low", shares.low), ("high", shares.high)):
            units = np.flatnonzero(share >= _OFTEN)
            said = getattr(tape.cell.gate(gate), side)
            if not len(units) or said is None:
                continue
            sign = f"> {_STUCK}" if side == "high" else f"< {1 - _STUCK:.2f}"
            yield Finding(
                "saturated", "warning" if len(units) > len(share) / 4 else "note",
                f"{_units(units, len(share), name)} {said.does}: {gate} {sign} on "
                f"{100 * share[units].min():.0f} % of steps",
                said.advice,
                {"gate": name, "side": side, "units": units.tolist(), "shares": share[units]},
            )  # fmt: skip


def _states(tape, steps) -> Iterator[Finding]:
    """Units of a plain RNN that are dead (ReLU) or at the ends of their curve."""
    if tape.cell.gated:
        return
    curve, inside = tape.cell.curve, valid_steps(tape)
    low = {"tanh": -_STUCK, "sigmoid": 1 - _STUCK, "relu": 0.0}[curve]
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
                f"{_units(units, len(share), layer)} "
                + ("are dead: 0 on every step" if dead else
                   f"are saturated: |h| at its end on {100 * share[units].min():.0f} % of steps"),
                "lower the learning rate or start with smaller weights" if dead
                else "start with smaller weights, or scale the input down",
                {"layer": layer, "units": units.tolist(), "shares": share[units]},
            )  # fmt: skip


def _units(units, total, name):
    """ "units 3, 17 of l0" """
    shown = ", ".join(map(str, units[:6])) + (
        f" … ({len(units)} of {total})" if len(units) > 6 else ""
    )
    return f"{'unit' if len(units) == 1 else 'units'} {shown} of {layer_of(name) or name}"


def _timescales(tape, steps) -> Iterator[Finding]:
    """How long the gates alone would keep what is in the cells."""
    if not tape.cell.gated:
        return
    for layer, tau in timescales(tape).items():
        tau = tau[np.isfinite(tau)]
        if len(tau):
            middle, longest = float(np.median(tau)), float(tau.max())
            yield Finding(
                "timescales", "note",
                f"the gates of {layer} keep for {middle:.1f} steps (median), {longest:.1f} at most",
                "", {"layer": layer, "median": middle, "longest": longest},
            )  # fmt: skip


# ---------------------------------------------------------------- after backward


def _gradients(tape, steps) -> Iterator[Finding]:
    """Steps whose gradient is exactly 0 though the loss lies after them."""
    for layer, parts in layers(tape).items():
        grads = [gradient(tape, f"{layer}.{part}") for part in tape.cell.states if part in parts]
        none = [(grad == 0).all(-1) for grad in grads if grad is not None and grad.ndim == 3]
        if len(none) < len(grads):
            return
        nothing = np.all(none, axis=0)
        back = slice(None) if is_reverse(layer) else slice(None, None, -1)       # the way of the gradient through time
        reached = np.maximum.accumulate(~nothing[back], axis=0)[back]
        lost = (nothing & reached & valid_steps(tape)).any(1)
        if lost.any():
            yield Finding(
                "underflow", "warning",
                f"the gradient of {layer} is exactly 0 on {int(lost.sum())} of {tape.T} steps "
                "though the loss lies after them",
                "it fell below the smallest number, or every unit is shut: record with "
                'dtype="float64" to tell' if tape.dtype == np.float32 else "",
                {"layer": layer, "steps": np.flatnonzero(lost)},
            )  # fmt: skip


def _step_share(tape, steps) -> Iterator[Finding]:
    """Weights are shared over time; their gradient may still come from a few steps only."""
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
