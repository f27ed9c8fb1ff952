"""Writes the report: results.json, the figures and a page that shows them, in one self-contained folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import rnncore
from rnncore.command.all_cells.figures import NAMES, draw_all
from rnncore.command.all_cells.training import LATER, NORM_TITLES, Budget, TrainedCell
from rnncore.command.options import write_folder
from rnncore.data import Corpus

if TYPE_CHECKING:
    from rnncore._typing import PathLike

# The files of a report, and the entries of its results.json.
FILES = ("results.json", "index.html", "networks.html", *(f"{name}.png" for name in NAMES))
TYPED = 240  # characters of held-out text with which the page of networks begins
KEYS = ("version", "build", "text", "budget", "cells", "files")

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'">
<title>rnncore debug</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto }}
table {{ border-collapse: collapse }}
th, td {{ padding: .3rem .9rem; border-bottom: 1px solid #8886; text-align: right }}
th:first-child, td:first-child {{ text-align: left }}
img {{ max-width: 100%; background: white; border-radius: 4px }}
figure {{ margin: 2rem 0 }}
code {{ overflow-wrap: anywhere }}
</style>
<h1>Where the gradient dies</h1>
<p><a href="networks.html">Type, and watch the memory</a>: a page that runs these five networks on what you type.</p>
<p>{text}</p>
<p>{budget}</p>
<table>
<tr><th>cell<th>parameters<th>bits per character<th>{norm_titles}<th>seconds</tr>
{rows}
</table>
<p>Bits per character are those of held-out text. The norm at lag k is the Jacobian norm
‖∂s<sub>T</sub>/∂s<sub>T−k</sub>‖: a gradient that goes back k steps is multiplied by at most this; below 1 it shrinks,
above 1 it can grow. Its half-life is the first lag at which the norm is less than half of that at lag 1. Norms that
fall at first and then stay level have a short half-life, and much is left at lag {later}. All are of the median over
the stretches of text. All numbers are in <a href="results.json">results.json</a>.</p>
{figures}
</html>
"""


def write_report(out: PathLike, corpus: Corpus, budget: Budget, trained: list[TrainedCell]) -> list[Path]:
    """Write results.json, the figures, networks.html and index.html into the folder `out`.

    Returns
    -------
    list of Path
        The files, index.html last.
    """
    figures = draw_all(trained)
    contents = {name: png for name, (png, _) in figures.items()}
    contents["networks.html"] = _networks(corpus, trained)
    contents["index.html"] = _page(corpus, budget, trained, figures).encode()
    return write_folder(Path(out), FILES[0], as_json(corpus, budget, trained), contents)


def _networks(corpus: Corpus, trained: list[TrainedCell]) -> bytes:
    """The page that runs the trained networks on what its reader types."""
    from rnncore.viz.page.writer import page_of

    runs = {one.label: one.model for one in trained}
    return page_of(runs, vocabulary=corpus.vocabulary, examples={"held-out text": corpus.decode(corpus.valid[:TYPED])})


def as_json(corpus: Corpus, budget: Budget, trained: list[TrainedCell]) -> dict[str, Any]:
    """All results, as plain JSON values."""
    return {
        "version": rnncore.__version__,
        "build": rnncore.build_info(),
        "text": {
            "name": corpus.name,
            "sha256": corpus.sha256,
            "characters": len(corpus.train) + len(corpus.valid),
            "held_out": len(corpus.valid),
            "vocabulary": len(corpus.vocabulary),
        },
        "budget": asdict(budget),
        "cells": [
            {
                "cell": one.cell,
                "label": one.label,
                "parameters": one.parameters,
                "bits_per_character": _finite([one.bits])[0],
                "gradient_half_life": one.half_life,
                "seconds": one.seconds,
                "jacobian_norms": _finite(one.decay),
                "losses_in_nats": _finite(one.losses),
            }
            for one in trained
        ],
    }


def _finite(values: Iterable[float]) -> list[float | None]:
    """`values` with None, which is null in JSON, in place of NaN and infinity, which JSON does not have."""
    return [float(value) if np.isfinite(value) else None for value in values]


def _page(
    corpus: Corpus, budget: Budget, trained: list[TrainedCell], figures: Mapping[str, tuple[bytes, str]]
) -> str:
    rows = "\n".join(
        f"<tr><td>{escape(one.label)}<td>{one.parameters:,}<td>{one.bits_text}"
        f"<td>{'<td>'.join(one.norm_texts)}<td>{one.seconds:.1f}</tr>"
        for one in trained
    )
    pictures = "\n".join(
        f'<figure><img src="{escape(name)}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for name, (_, caption) in figures.items()
    )
    return _PAGE.format(
        text=f"Text: {escape(str(corpus))}.",
        budget=f"Every cell: {budget.updates:,} updates of {budget.batch_size} rows × "
        f"{budget.window} steps, {budget.hidden_size} hidden units, Adam at {budget.lr:g}, "
        f"seed {budget.seed}.",
        later=LATER,
        norm_titles="<th>".join(NORM_TITLES),
        rows=rows,
        figures=pictures,
    )
