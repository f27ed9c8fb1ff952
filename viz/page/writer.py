"""The file of a page: networks, kernels, script and style sheet in one, and a policy that allows nothing else."""

from __future__ import annotations

import base64
import json
import tempfile
import webbrowser
import zlib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from rnncore.io.files import check_target, write_bytes
from rnncore.models import Recurrent, SequenceClassifier

from .._html import digest, document
from ..recorder.store import parse_bytes
from .networks import Arrays, network_of, runs_of
from .notebook import NotebookPage, in_notebook

if TYPE_CHECKING:
    from rnncore._typing import ArrayLike, PathLike
    from rnncore.nn import SequenceModel
    from rnncore.nn.record import SequenceRecord

    from .networks import Explored, Network, Recorded

TITLE = "Type, and watch the memory"
DEFAULT_TEXT = "The memory of a network is how far back it can look."
STEPS = 120  # rows of an example that nobody gave


@overload
def explore(
    runs: Explored | Mapping[str, Explored],
    path: PathLike,
    *,
    vocabulary: str | Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    examples: Mapping[str, str | ArrayLike] | None = None,
    max_bytes: int | str | None = None,
    title: str = TITLE,
) -> Path: ...
@overload
def explore(
    runs: Explored | Mapping[str, Explored],
    path: None = None,
    *,
    vocabulary: str | Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    examples: Mapping[str, str | ArrayLike] | None = None,
    max_bytes: int | str | None = None,
    title: str = TITLE,
) -> Path | NotebookPage: ...
def explore(
    runs: Explored | Mapping[str, Explored],
    path: PathLike | None = None,
    *,
    vocabulary: str | Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    examples: Mapping[str, str | ArrayLike] | None = None,
    max_bytes: int | str | None = None,
    title: str = TITLE,
) -> Path | NotebookPage:
    """Make a page that runs networks on what its reader types, and shows what they remember.

    It is one HTML file that needs no network. It holds the weights and the kernels of this package, compiled to
    WebAssembly, and computes in float32 what the instruction set "base" computes, to the bit.

    Parameters
    ----------
    runs : Recurrent, SequenceClassifier, SequenceModel, layer, tape, Recorder or Run, or a mapping of names to them
        Fitted models of text, sequence models, or layers alone, of any options. All of them read the same input: the
        same symbols, or rows of equally many numbers. A tape stands for its layer; its rows, cut where they were
        reset, are the examples, each with its initial state: the first 16 of these parts. A recorder that kept weights,
        or its run file, stands for the network at the first and at the last update that it kept: before and after
        training. A network in float64 is run as float32, and the page says so.
    path : path, optional
        Where to write the page, which appears there complete or not at all. Without it the page is opened: in a
        notebook as the result of the cell, in a frame of its own, and elsewhere in the browser, from a temporary file.
    vocabulary : str or sequence of str, optional
        For a sequence model of symbols: the character of each token, in their order.
    labels : sequence of str, optional
        For sequence models with a cross-entropy: what their outputs are called, one name for each. Without it, outputs
        at every step are taken for symbols if there are exactly as many as symbols or tokens: for the next one, or in
        two directions for labels of these names. All other outputs are labels, and are called by their numbers.
    examples : mapping of names to texts, or to arrays (T, I), optional
        What the reader can choose to begin with; the first is shown at first.
    max_bytes : int or str, optional
        Of a recorder or a run file show more updates than two, at equal distances, as long as their weights in float32
        do not take more bytes: 2_000_000 or "2 MB".
    title : str

    Returns
    -------
    pathlib.Path or NotebookPage
        The file; in a notebook, if no path is given, an object that displays itself.

    Raises
    ------
    ValueError
        The networks do not read the same input, or do not give the same labels, or the input of a tape is not finite.

    Notes
    -----
    The loss of a symbol or a label is −ln of its probability, without class weights and label smoothing.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from rnncore import viz
    >>> from rnncore.models import Recurrent
    >>> model = Recurrent("gru", 8, epochs=1, seed=0).fit(["hello world " * 20])
    >>> page = viz.explore(model, pathlib.Path(tempfile.mkdtemp()) / "page.html", examples={"": "hello"})
    >>> "://" in page.read_text(encoding="utf-8")
    False
    """
    if path is not None:
        check_target(path)
    content = page_of(runs, vocabulary=vocabulary, labels=labels, examples=examples, max_bytes=max_bytes, title=title)
    if path is None and in_notebook():
        return NotebookPage(content.decode("utf-8"))
    target = Path(tempfile.mkdtemp(prefix="rnncore-")) / "page.html" if path is None else Path(path)
    write_bytes(target, content)
    if path is None:
        webbrowser.open(target.as_uri())
    return target


def page_of(
    runs: Explored | Mapping[str, Explored],
    *,
    vocabulary: str | Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    examples: Mapping[str, str | ArrayLike] | None = None,
    max_bytes: int | str | None = None,
    title: str = TITLE,
) -> bytes:
    """The content of the file that `explore` writes."""
    live = live_part(runs, vocabulary=vocabulary, labels=labels, examples=examples, max_bytes=max_bytes, title=title)
    body = f"{live.body}\n<script>{live.script}</script>"
    page = document(str(title), f"script-src {live.sources}", live.style, body)
    return page.encode("utf-8", "replace")


class Live(NamedTuple):
    """What a page needs to run networks.

    Attributes
    ----------
    body : str
        The elements that the script reads and fills.
    script, style : str
        `script` stands in an element after `body`.
    sources : str
        The script's part of the policy.
    """

    body: str
    script: str
    style: str
    sources: str


def live_part(
    runs: Explored | Mapping[str, Explored],
    *,
    vocabulary: str | Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    examples: Mapping[str, str | ArrayLike] | None = None,
    max_bytes: int | str | None = None,
    title: str = TITLE,
) -> Live:
    """The part of a page that runs the networks; the arguments are those of `explore`."""
    named = {str(name): run for name, run in runs.items()} if isinstance(runs, Mapping) else {None: runs}
    most = parse_bytes(max_bytes, "max_bytes")
    given: dict[str, Explored] = {}
    for name, run in named.items():
        given |= runs_of(name, run, most)
    if not given:
        raise ValueError("runs: got none, expected at least one network")
    arrays = Arrays()
    symbols = None if vocabulary is None else _symbols(vocabulary)
    called = None if labels is None else [str(label) for label in labels]
    networks = [network_of(name, run, symbols, arrays, called) for name, run in given.items()]
    if called is not None and not any(network.labels for network in networks):
        raise ValueError(f"labels: got {len(called)} names, expected none: no network gives labels")
    _check_same_input(dict(zip(given, networks, strict=True)))
    description = {
        "title": str(title),
        "symbols": networks[0].symbols,
        "labels": next((network.labels for network in networks if network.labels), None),
        "examples": _examples(networks, examples, arrays),
        "runs": [network.entry for network in networks],
    }
    return _live(description, arrays.content())


def _symbols(vocabulary: str | Sequence[str]) -> list[str]:
    symbols = list(vocabulary)
    wrong = [symbol for symbol in symbols if not isinstance(symbol, str) or len(symbol) != 1]
    if not symbols or wrong or len(set(symbols)) != len(symbols):
        got = f"{wrong[0]!r}" if wrong else f"{len(symbols)} symbols, of which {len(set(symbols))} differ"
        raise ValueError(f"vocabulary: got {got}, expected different single characters, one per token")
    return symbols


def _check_same_input(networks: Mapping[str, Network]) -> None:
    (first, one), *others = networks.items()
    for name, network in others:
        if (network.symbols, network.inputs) != (one.symbols, one.inputs):
            raise ValueError(
                f"runs: got {first!r}, which reads {_input(one)}, and {name!r}, which reads {_input(network)}, "
                "expected networks that read the same; write a page for each"
            )
    labelled = [(name, network.labels) for name, network in networks.items() if network.labels]
    for name, labels in labelled[1:]:
        if labels != labelled[0][1]:
            raise ValueError(
                f"runs: got {labelled[0][0]!r} and {name!r}, whose labels differ, expected networks with the same "
                "labels; write a page for each"
            )


def _input(network: Network) -> str:
    what = "numbers per step" if network.symbols is None else "symbols"
    return f"{network.inputs} {what}"


def _examples(
    networks: Sequence[Network], given: Mapping[str, str | ArrayLike] | None, arrays: Arrays
) -> list[dict[str, Any]]:
    """What payload.ts calls the examples; initial states go to `arrays`."""
    one = networks[0]
    if given:
        return [{"name": str(name), "input": _checked(name, value, one)} for name, value in given.items()]
    if one.symbols is not None:
        return [{"name": "a sentence", "input": known_text(one.symbols)}]
    recorded = next((network.examples for network in networks if network.examples), [])
    if recorded:
        return [_recorded(place, example, networks, arrays) for place, example in enumerate(recorded)]
    rows = np.random.default_rng(0).standard_normal((STEPS, one.inputs)).round(3)
    return [{"name": "noise", "input": rows.tolist()}]


def _recorded(place: int, example: Recorded, networks: Sequence[Network], arrays: Arrays) -> dict[str, Any]:
    """One recorded sequence, and the initial states of all networks that were recorded on it."""
    if not np.isfinite(example.rows).all():
        raise ValueError(
            f"runs: got a tape with nan or inf in the input of {example.name}, expected finite numbers; pass examples= "
            "to begin with others"
        )
    found: dict[str, Any] = {"name": example.name, "input": example.rows}
    own = [network.examples[place] if place < len(network.examples) else None for network in networks]
    initial = [one.initial if one is not None and one.rows == example.rows else None for one in own]
    if any(state is not None for state in initial):
        found["initial"] = [None if state is None else arrays.add(state) for state in initial]
    return found


def recorded_example(
    name: str, model: Recurrent | SequenceClassifier | SequenceModel, vocabulary: str | Sequence[str] | None = None
) -> SequenceRecord:
    """A pass over the sequence that a model's page begins with, and the gradient of the sum of its last output."""
    arrays = Arrays()
    network = network_of(name, model, None if vocabulary is None else _symbols(vocabulary), arrays)
    example = _examples([network], None, arrays)[0]["input"]
    inner = model.network_ if isinstance(model, (Recurrent, SequenceClassifier)) else model
    if network.symbols is None:
        x = np.asarray(example, inner.layer.dtype)[:, None]
    else:
        x = np.array([network.symbols.index(symbol) for symbol in example])[:, None]
    record = inner.record(x.swapaxes(0, 1) if inner.layer.batch_first else x)
    grad = np.zeros_like(record.output)
    last = grad if inner.readout != "steps" else grad[:, -1] if inner.layer.batch_first else grad[-1]
    last[...] = 1
    record.backward(grad)
    return record


def known_text(symbols: Sequence[str]) -> str:
    """A text to begin with, of these symbols."""
    known = set(symbols)
    return "".join(symbol for symbol in DEFAULT_TEXT if symbol in known) or "".join(symbols)


def _checked(name: str, value: str | ArrayLike, network: Network) -> str | list[list[float]]:
    if network.symbols is not None:
        if not isinstance(value, str):
            raise TypeError(f"examples: got {type(value).__name__} for {name!r}, expected a text")
        return value
    rows = np.asarray(value, np.float64)
    if rows.ndim != 2 or rows.shape[1] != network.inputs or not np.isfinite(rows).all():
        raise ValueError(f"examples: got an array of shape {rows.shape} for {name!r}, expected finite numbers of shape "
                         f"(T, {network.inputs})")
    found: list[list[float]] = rows.tolist()
    return found


# ---------------------------------------------------------------- HTML


def _live(description: Mapping[str, Any], arrays: bytes) -> Live:
    built = resources.files(__package__) / "built"
    script, sheet = ((built / name).read_text(encoding="utf-8") for name in ("page.js", "page.css"))
    # In JSON a < can only be part of a text, where this escape means the same; so no text can end the element.
    told = json.dumps(description, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")
    body = f"""<main id="page">
<p id="sentence">This page needs a browser with WebAssembly: Chrome 97, Firefox 113 or Safari 16.4.</p>
</main>
<script id="description" type="application/json">{told}</script>
<script id="arrays" type="text/plain">{_deflated(arrays)}</script>
<script id="kernels" type="text/plain">{_deflated((built / "kernels.wasm").read_bytes())}</script>"""
    return Live(body, script, sheet, f"'{digest(script)}' 'wasm-unsafe-eval'")


def _deflated(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 9)).decode()
