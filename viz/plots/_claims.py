"""Parts of the sentences above the pictures: which row, a number with its range, the largest, what is not finite."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rnncore._typing import ArrayLike, Floats, Ints

from ._draw import visible
from ._words import number, plain


def of_row(row: int, rows: int) -> str:
    """ " of row 2", or nothing if there is only one."""
    return f" of row {row % rows}" if rows > 1 else ""


def counted(count: int, noun: str) -> str:
    """2, "step" -> "2 steps"."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def percent(share: float) -> str:
    """0.061 -> "6 %"."""
    if share < 0.01:
        return "0 %" if share == 0 else f"{number(100 * share)} %"
    return f"{100 * share:.0f} %"


def at_most(value: float) -> str:
    """Two digits, rounded towards 0, of a number that is reached: 0.9996 -> "0.99"."""
    if not np.isfinite(value) or value == 0:
        return number(value)
    step = 10.0 ** (np.floor(np.log10(abs(value))) - 1)
    return number(float(np.trunc(value / step * (1 + 1e-12)) * step))


def spread(values: ArrayLike, tell: Callable[[float], str]) -> str:
    """The median, and the range if it is another number: "6 % (3 % to 9 %)"."""
    values = np.asarray(values, np.float64)
    middle, low, high = (tell(float(f(values))) for f in (np.median, np.min, np.max))
    return middle if low == high else f"{middle} ({low} to {high})"


def named_step(step: int, tokens: Sequence[object] | None) -> str:
    """ "step 7", or " 'a' at step 7" if there is a token."""
    token = "" if tokens is None else visible(tokens[step])
    return f"{quoted(token)} at step {step}" if token else f"step {step}"


def quoted(token: object) -> str:
    """A token in quotation marks, of which it has none itself."""
    shown = plain(visible(token))
    return f'"{shown}"' if "'" in shown else f"'{shown}'"


def largest(sizes: Floats) -> Ints:
    """The steps at which the size is largest; more than one if they are equal, none if there is no number."""
    known = np.where(np.isnan(sizes), -np.inf, sizes)
    top = known.max(initial=-np.inf)
    return np.flatnonzero(known == top) if top > -np.inf else np.arange(0)


def and_others(steps: Ints) -> str:
    """ " and 2 other steps" after the first of steps that are equal."""
    return f" and as much on {counted(len(steps) - 1, 'other step')}" if len(steps) > 1 else ""


def not_finite(values: ArrayLike) -> str | None:
    """Where values (steps, …) are NaN or infinite: "from step 5 on"; None if they are finite."""
    values = np.asarray(values, np.float64)
    bad = ~np.isfinite(values.reshape(len(values), -1)).all(1)
    steps = np.flatnonzero(bad)
    if not steps.size:
        return None
    if steps.size == len(bad):
        return "at any step" if len(bad) > 1 else "at the only step"
    if bad[steps[0] :].all():
        return f"from step {steps[0]} on" if steps.size > 1 else f"at step {steps[0]}"
    if bad[: steps[-1] + 1].all():
        return f"up to step {steps[-1]}" if steps.size > 1 else f"at step {steps[0]}"
    if steps.size == 1:
        return f"at step {steps[0]}"
    return f"at {steps.size} of {len(bad)} steps, the first of them step {steps[0]}"


def larger_of(names: Sequence[str]) -> str:
    """What the largest over some states is called: "the larger of l0.h and l0.c"; nothing for one."""
    if len(names) < 2:
        return ""
    shown = [plain(name) for name in names]
    return f"the larger of {shown[0]} and {shown[1]}" if len(names) == 2 else f"the largest of {len(names)} states"


def compared(ratios: ArrayLike, here: str, there: str) -> str:
    """How large the gradient is in one place relative to another, with the range over rows."""
    ratios = np.asarray(ratios, np.float64)
    middle = float(np.median(ratios))
    if ratios.min() >= 0.9 and ratios.max() <= 1.1:
        return f"The gradient is about as large at {here} as at {there}"
    if middle >= 2:
        return f"The gradient at {here} is {spread(ratios, number)} times that at {there}"
    if middle < 0.01:
        return f"The gradient at {here} is {spread(1 / ratios, number)} times smaller than at {there}"
    return f"The gradient at {here} is {spread(ratios, percent)} of that at {there}"
