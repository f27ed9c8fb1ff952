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
        return f"{mantissa}·10" + superscript(int(exponent))
    if size >= 10:
        return f"{value:.0f}".replace("-", "−")
    return f"{value:.2g}".replace("-", "−")


def superscript(n: int) -> str:
    """12 -> "¹²"."""
    return str(n).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


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


def count_of(count: float) -> str:
    """3 -> "3 steps"."""
    told = number(count)
    return f"{told} step" + ("" if told == "1" else "s")
