"""The texts in a picture: numbers in words, and the user's own texts unchanged."""

from __future__ import annotations

import numpy as np


def plain(text: object) -> str:
    """The user's text in the form that matplotlib shows unchanged.

    Every text of the user (names, labels, titles, tokens) passes through here exactly once before it
    is drawn: ``$`` would start a formula, a ``_`` at the start of a label would keep it out of the
    legend, and halves of surrogate pairs (from a file name that is not UTF-8) cannot be drawn.
    """
    shown = str(text).encode("utf-8", "replace").decode("utf-8").replace("$", r"\$")
    return "\u200b" + shown if shown.startswith("_") else shown  # a zero-width space


def of_run(label: str | None, name: str) -> str:
    """The user's label of a run, if there is one, followed by the name of a line."""
    return f"{label} {name}" if label else name


def number(value: float) -> str:
    """Two significant digits, without an exponent if that is short."""
    if not np.isfinite(value):
        return {np.inf: "∞", -np.inf: "−∞"}.get(value, "?")
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e4 or size < 1e-2:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.replace('-', '−')}·10" + superscript(int(exponent))
    if size >= 10:
        return f"{value:.0f}".replace("-", "−")
    return f"{value:.2g}".replace("-", "−")


def superscript(n: int) -> str:
    """12 -> "¹²"."""
    return str(n).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def between(low: float, high: float) -> str:
    """(0.062, 0.3) -> "0.062 to 0.3", or one number if the two read the same."""
    first, last = number(low), number(high)
    return first if first == last else f"{first} to {last}"


def share(low: float, high: float | None = None) -> str:
    """A ratio, or a range of ratios, as "3.1 %", "6 to 30 %", "2.0·10⁻⁹", "12-fold"."""
    high = low if high is None else high
    if low >= 1e-3 and high < 2:
        told = between(100 * low, 100 * high)
        return f"{told} %"
    told = between(low, high)
    return told.replace(" to ", "- to ") + "-fold" if high >= 2 else told


def at_least(value: float, more: bool) -> str:
    """A number in words, with "≥" before it if the data end before the true value is reached."""
    return f"≥ {number(value)}" if more else number(value)


def with_error(value: float, error: float) -> str:
    """(0.0553, 0.0112) -> "0.055 ± 0.011": the value to the digits that its error leaves, but at most five.

    >>> with_error(-0.6931472, 2e-15), with_error(4e-18, 2e-15)
    ('−0.6931 (error below 10⁻⁴)', '0 ± 2.0·10⁻¹⁵')
    """
    if not (np.isfinite(value) and 0 < error < 1e4):
        return number(value) + ("" if np.isnan(error) else f" ± {number(error)}")
    lead, exponent = f"{error:.0e}".split("e")
    decimals = max(0, (int(lead) < 3) - int(exponent))
    if abs(value) <= error < 1e-6:
        return f"0 ± {number(error)}"
    digits = decimals + int(f"{value:.0e}".split("e")[1]) + 1
    if digits > 5:
        decimals = max(0, decimals - digits + 4)
        if decimals > 8:
            return f"{number(value)} ± {number(error)}"
        told = f"{value:.{decimals}f}".replace("-", "−")
        return f"{told} (error below {f'10{superscript(-decimals)}' if decimals else '1'})"
    told = f"{value:.{decimals}f}".replace("-", "−")
    return f"{told.removeprefix('−') if float(f'{value:.{decimals}f}') == 0 else told} ± {error:.{decimals}f}"


def pace(rate: float) -> str:
    """nats per step -> "halves every 3.1 steps"."""
    if np.isnan(rate):
        return "is exactly 0"
    if abs(rate) < 1e-4:
        return "neither fades nor grows"
    steps = np.log(2) / abs(rate)
    verb = "halves" if rate < 0 else "doubles"
    if steps < 0.995:
        factor = np.exp(abs(rate))
        return f"{'shrinks' if rate < 0 else 'grows'} {number(factor)}-fold per step"
    return f"{verb} every {count_of(steps)}"


def pace_between(low: float, high: float) -> str | None:
    """Two rates in nats per step -> "halves every 2.5 to 6 steps"; None unless both have the same sign."""
    if not low * high > 0:
        return None
    slow, fast = sorted((abs(low), abs(high)))
    if fast < 1.02 * slow:
        return pace(float(np.copysign(np.sqrt(low * high), low)))
    least, most = np.log(2) / fast, np.log(2) / slow
    if most < 0.995:
        return f"{'shrinks' if low < 0 else 'grows'} {share(np.exp(slow), np.exp(fast))} per step"
    told = between(least, most)
    return f"{'halves' if low < 0 else 'doubles'} every {told} step" + ("" if told == "1" else "s")


def count_of(count: float, *, more: bool = False) -> str:
    """3 -> "3 steps"; with `more` "≥ 3 steps"."""
    told = at_least(count, more)
    return f"{told} step" + ("" if told in ("1", "≥ 1") else "s")


def of_rows(rows: int, row: int | None = None) -> str:
    """What a line shows of a batch: "median and range of 4 rows", "row 2"; nothing for a single row."""
    if rows < 2:
        return ""
    return f"median and range of {rows} rows" if row is None else f"row {row % rows} of {rows}"
