"""An HTML page about some runs, in a single file that needs no network.

It begins with the page of `viz.explore`, which runs the networks, if these can run there. Below it there are a
diagnosis, tables and pictures, which are PNG data. All text is escaped, and the page's content security policy forbids
loading anything else.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from rnncore.io.files import check_target, is_same, write_bytes
from rnncore.models import Recurrent, SequenceClassifier
from rnncore.nn import SequenceModel

from . import style
from ._door import described, held_tape, way_to_a_tape
from ._html import document
from ._layers import some_rows
from ._tapes import is_tape
from .diagnosis import diagnose
from .measures.jacobian_norms import jacobian_norms
from .page.writer import live_part, recorded_example
from .plots._decay import fate, readings
from .plots.jacobian_norms import plot_jacobian_norms
from .plots.overview import overview
from .plots.series import plot_series
from .plots.side_by_side import side_by_side
from .recorder.frame import Frame, NamedSeries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rnncore._typing import Floats, PathLike
    from rnncore.recurrent.tape import Tape

    from ._tapes import HasTape

__all__ = ["report"]

Reported: TypeAlias = "Tape | HasTape | NamedSeries | Recurrent | SequenceClassifier | SequenceModel"


def __dir__() -> list[str]:
    return __all__


_STYLE = """
:root { color-scheme: light dark; }
body { margin: 0; }
.report { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; padding: 0 1rem; max-width: 62rem; }
.report h1, .report h2, .report h3 { line-height: 1.2; font-size: revert; display: block; margin: revert; }
.report section { border-top: 1px solid #8886; margin-top: 2rem; }
.report table { border-collapse: collapse; margin: 1rem 0; }
.report th, .report td { padding: .2rem .8rem; border-bottom: 1px solid #8884; text-align: right; }
.report :is(th, td):first-child { text-align: left; overflow-wrap: anywhere; min-width: 8ch; }
.table { overflow-x: auto; }
.table + p { font-size: .9em; opacity: .8; }
.report img { max-width: 100%; background: #fff; }
.report figure { margin: 1rem 0; }
.report ul { list-style: none; padding: 0; }
.report li { font-size: inherit; color: inherit; margin: 0; }
.report .error::before { content: "✖ "; } .report .warning::before { content: "▲ "; }
.report .note::before { content: "· "; } .report .ok::before { content: "✔ "; }
.report .error, .report .warning { font-weight: 600; }
.report .advice { font-weight: 400; opacity: .8; }
"""
_ROWS = 4  # rows of a tape that are walked back
_MEANING = (
    "<p>Medians over the rows of the norm of ∂s(T)/∂s(T−k), which limits how much of a gradient gets k steps back. "
    "Half-life: the first lag with less than half of its value at lag 1; horizon: the last lag with a hundredth of "
    "it; centroid: the mean lag, weighted by it. ≥: the recorded steps end before the true value. Gradient: its rate "
    "if all rows have one, or else what is left at the last lag.</p>"
)


def report(
    runs: Reported | Mapping[str, Reported],
    path: PathLike,
    *,
    vocabulary: str | Sequence[str] | None = None,
    title: str = "rnncore report",
) -> Path:
    """Write a page about some tapes, models or recorded runs, compare them, and let the reader try them.

    Parameters
    ----------
    runs : Tape, Recurrent, SequenceClassifier, SequenceModel, Recorder, Run, or a mapping of names to them
        The record of a model stands for its tape. For a tape the page shows a diagnosis, a table and pictures; for
        a recorder or a run file its series. A fitted model is recorded on the sequence with which its page begins. Two
        or more tapes are first compared in one table and one picture. If all networks read the same input, the page
        begins with what `viz.explore` makes of them; otherwise it says why not.
    path : path
        Where to write the page, which appears there complete or not at all. The file of a run that
        is reported is refused.
    vocabulary : str or sequence of str, optional
        For a sequence model of symbols, and for a recorder of one: the character of each token, in their order.
    title : str

    Returns
    -------
    pathlib.Path

    Examples
    --------
    >>> import numpy as np, pathlib, rnncore as rc, tempfile
    >>> from rnncore import viz
    >>> x = np.random.default_rng(0).standard_normal((30, 1, 2))
    >>> tapes = {"GRU": rc.GRU(2, 4, seed=0).record(x), "LSTM": rc.LSTM(2, 4, seed=0).record(x)}
    >>> page = viz.report(tapes, pathlib.Path(tempfile.mkdtemp()) / "report.html")
    >>> "://" in page.read_text(encoding="utf-8")
    False
    """
    given = {str(name): run for name, run in runs.items()} if isinstance(runs, Mapping) else {"run": runs}
    if not given:
        raise ValueError("runs: got none, expected at least one tape, model or recorded run")
    for name, reported in given.items():
        if is_same(path, getattr(reported, "path", None)):
            raise ValueError(
                f"path: got {str(path)!r}, the run file of {name!r}, which the page would replace; give "
                "another path"
            )
    check_target(path)
    tapes: dict[str, Tape] = {}
    recorded: dict[str, NamedSeries] = {}
    for name, reported in given.items():
        run: Any = held_tape(reported)
        if isinstance(run, (Recurrent, SequenceClassifier, SequenceModel)):
            run = recorded_example(name, run, vocabulary).tape
        if is_tape(run) and not isinstance(run, Frame):
            tapes[name] = run
        elif hasattr(run, "series_names"):
            recorded[name] = run
        else:
            raise TypeError(
                f"runs: got {described(run)} for {name!r}, expected a tape, the record of a model, a fitted model, a "
                f"Recorder or a Run{way_to_a_tape(run)}"
            )
    norms = {name: jacobian_norms(some_rows(tape, _ROWS)) for name, tape in tapes.items()}
    parts = [_comparison(tapes, norms)] if len(tapes) > 1 else []
    for name in given:
        parts.append(_tape(name, tapes[name], norms[name]) if name in tapes else _recorded(name, recorded[name]))
    path = Path(path)
    write_bytes(path, _page(title, given, vocabulary, parts).encode(errors="replace"))
    return path


def _page(
    title: str, given: Mapping[str, Any], vocabulary: str | Sequence[str] | None, parts: Iterable[str]
) -> str:
    """The whole page: the part that runs the networks, if there is one, and the others."""
    sections = "\n".join(parts)
    with_weights = {
        name: run for name, run in given.items()
        if not hasattr(run, "series_names") or any(frame.weights.keys() for frame in run.frames)
    }  # fmt: skip
    why = ""
    if with_weights:
        try:
            live = live_part(with_weights, vocabulary=vocabulary, title=title)
        except (ValueError, TypeError, RuntimeError) as error:
            why = f"<p>The networks cannot be run here. {escape(str(error))}</p>\n"
        else:
            body = f'{live.body}\n<div class="report">\n{sections}\n</div>\n<script>{live.script}</script>'
            return document(title, f"img-src data:; script-src {live.sources}", live.style + _STYLE, body)
    body = f'<div class="report">\n<h1>{escape(title)}</h1>\n{why}{sections}\n</div>'
    return document(title, "img-src data:", _STYLE, body)


# ---------------------------------------------------------------- sections


Fact: TypeAlias = tuple[str, str]  # what it is, and its value


def _comparison(tapes: dict[str, Tape], norms: dict[str, Floats]) -> str:
    facts = {name: [*_facts(tape), *_numbers(norms[name])] for name, tape in tapes.items()}
    heads = ["run", *(what for what, _ in next(iter(facts.values())))]
    rows = [heads, *([name, *(value for _, value in row)] for name, row in facts.items())]
    figure = side_by_side(norms, plot_jacobian_norms, fit=False)
    image = _image(figure, "Jacobian norm against lag for every run")
    return _section("Comparison", _table(rows), _MEANING, image)


def _tape(name: str, tape: Tape, norms: Floats) -> str:
    found = diagnose(tape)
    items = "".join(
        f'<li class="{escape(f.severity)}">{escape(f.sentence)}'
        + (f' <span class="advice">→ {escape(f.advice)}</span>' if f.advice else "")
        + "</li>"
        for f in found
    )
    figure = overview(tape)
    image = _image(figure, f"Overview of {name}")
    return _section(name, _table([*_facts(tape), *_numbers(norms)]), _MEANING, f"<ul>{items}</ul>", image)


def _recorded(name: str, run: NamedSeries) -> str:
    import matplotlib.pyplot as plt

    names = run.series_names
    if not names:
        return _section(name, "<p>No series was recorded.</p>")
    with style.context():
        size = (8, 2.2 * len(names))
        figure, axes = plt.subplots(len(names), 1, sharex=True, squeeze=False, figsize=size)
    axes = axes[:, 0]
    rows = [["", "first value", "last value", "last update"]]
    for key, ax in zip(names, axes, strict=True):
        updates, values = run.series(key)
        plot_series(run, ax, name=key)
        ax.set_xlabel("update" if ax is axes[-1] else "")
        rows.append([key, f"{values[0]:.4g}", f"{values[-1]:.4g}", str(updates[-1])])
    return _section(name, _table(rows), _image(figure, f"Series of {name}"))


def _facts(tape: Tape) -> list[Fact]:
    layer = tape.layer
    return [
        ("cell", tape.cell.label),
        ("layers × units", f"{layer.num_layers} × {layer.hidden_size}"),
        ("steps × rows", f"{tape.T} × {tape.B}"),
        ("dtype", np.dtype(tape.dtype).name),
    ]


def _numbers(norms: Floats) -> list[Fact]:
    found = readings(norms)
    told = {name: f"{'≥ ' if more else ''}{steps:.3g}" for name, (steps, more) in found.items()}
    names = ("half-life", "horizon", "centroid")
    return [*((f"{name} (steps)", told[name]) for name in names), ("gradient", fate(norms).short)]


# ---------------------------------------------------------------- HTML


def _section(title: str, *parts: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def _table(rows: Iterable[Iterable[object]]) -> str:
    cells = ("".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows)
    return '<div class="table"><table>' + "".join(f"<tr>{row}</tr>" for row in cells) + "</table></div>"


def _image(figure: Figure, alt: str) -> str:
    import matplotlib.pyplot as plt

    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=100)
    plt.close(figure)
    encoded = base64.b64encode(data.getvalue()).decode()
    return f'<figure><img alt="{escape(alt)}" src="data:image/png;base64,{encoded}"></figure>'
