"""Shared by the example scripts: networks by their label, the machine, tables, learning curves."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import rnncore as rc
from rnncore.nn import SequenceModel
from rnncore.tasks import Task

Curves: TypeAlias = Mapping[str, tuple[Sequence[float], Sequence[float]]]   # {label: (seconds, values)}

DOCS = Path(__file__).resolve().parent.parent
# Colours by Okabe and Ito. Each has a marker as well, so that curves can be told apart without colour.
STYLES = {"tanh RNN": ("#D55E00", "s"), "GRU": ("#009E73", "^"), "LSTM": ("#0072B2", "o"),
          "LSTM, chrono": ("#CC79A7", "D")}


def network(task: Task, label: str, hidden: int, seed: int, steps: int) -> SequenceModel:
    """The network of a row of the table; with chrono initialisation its time scales reach up to `steps`."""
    cell = {"tanh RNN": "rnn-tanh", "GRU": "gru"}.get(label, "lstm")
    model = task.network(cell, hidden, seed=seed)
    return rc.init.chrono(model, steps, seed=seed) if label.endswith("chrono") else model


def machine() -> str:
    """One line: the machine, the build and the date of a measurement."""
    names = [line.partition(":")[2].strip() for line in _cpu_lines() if "model name" in line]
    build, threads = rc.build_info(), rc.num_threads()
    return (f"{names[0] if names else platform.machine()}, {os.cpu_count()} processors, "
            f"{threads} thread{'s' * (threads != 1)}, {build['isa']}, rnncore {build['version']}, "
            f"{datetime.date.today().isoformat()}")


def _cpu_lines() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def markdown(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def draw(path: Path, panels: Sequence[tuple[str, str, Curves, Mapping[str, float]]]) -> None:
    """Draw curves against seconds of training, the values on a logarithmic scale.

    Parameters
    ----------
    path : Path
    panels : list of (title, y label, {label: (seconds, values)}, marks)
        Marks are horizontal lines with a text: ``{"goal": 0.01}``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4 * len(panels), 4.4), layout="constrained")
    for axes, (title, ylabel, curves, marks) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for label, (seconds, values) in curves.items():
            colour, marker = STYLES[label]
            axes.plot(seconds, values, color=colour, marker=marker, linewidth=1.2, markersize=4,
                      markevery=max(1, len(values) // 12), label=label)
        for text, height in marks.items():
            axes.axhline(height, color="black", linestyle=":", linewidth=1)
            axes.annotate(text, (0.99, height), xycoords=("axes fraction", "data"),
                          xytext=(0, 3), textcoords="offset points", ha="right", fontsize=8)
        axes.set_yscale("log")
        axes.set_xlabel("seconds of training")
        axes.set_ylabel(ylabel)
        axes.set_title(title, fontsize=10)
        axes.legend(fontsize=8, frameon=False)
        axes.grid(alpha=0.25)
    figure.savefig(path, dpi=130)
