"""What happens when a watch fires: raise, call, record, open."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, cast

from .._tapes import gradient
from ..recorder import Recorder
from ..reports import report
from ..watches import Hit, Moment
from ..watches.watch import Action, OneAction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rnncore._typing import PathLike

__all__ = ["Breakpoint", "act"]


class Breakpoint(Exception):
    """Raised where a watch with the action "raise" fires.

    Attributes
    ----------
    hit : Hit
    moments : list of Moment
        The last few updates, oldest first; the last is the one at which the watch fired.
    """

    def __init__(self, hit: Hit, moments: list[Moment]) -> None:
        super().__init__(str(hit))
        self.hit = hit
        self.moments = moments


def _each(action: Action) -> Sequence[OneAction]:
    """The actions one by one."""
    return action if isinstance(action, (list, tuple)) else [cast("OneAction", action)]


def check_action(action: Action) -> Action:
    """Refuse an action that `act` cannot do, when it is given and not when it is needed."""
    for one in _each(action):
        if not callable(one) and one not in ("raise", "record", "open"):
            raise ValueError(
                f"action: got {one!r}, expected 'raise', 'record', 'open', a function of "
                "(hit, moments), or a list of them"
            )
    return action


def act(action: Action, hit: Hit, moments: list[Moment], folder: PathLike) -> None:
    """Do what `action` demands; "raise" comes last, so that all others are done first."""
    for one in sorted(_each(action), key=lambda a: a == "raise"):
        if one == "raise":
            raise Breakpoint(hit, moments)
        if one == "record":
            record(hit, moments, folder)
        elif one == "open":
            webbrowser.open(write_page(hit, moments, folder).as_uri())
        else:
            one(hit, moments)


def record(hit: Hit, moments: list[Moment], folder: PathLike) -> Path:
    """Write the complete moments, with gradients and weights, into a run file; return its path."""
    path = _path(hit, folder, ".run")
    for moment in moments:
        tape = moment.tape
        gradients = [name for name in tape.names("*") if gradient(tape, name) is not None]
        with Recorder(path, every=1, names="*", gradients=gradients, weights=True, limit=None,
                      measures={}, resume=True) as recorder:  # fmt: skip
            recorder.record(
                tape, moment.grads, loss=moment.loss, update=moment.update, weights=moment.weights,
                note=str(hit) if moment is moments[-1] else None,
            )  # fmt: skip
    return path


def write_page(hit: Hit, moments: list[Moment], folder: PathLike) -> Path:
    """Write a page about the moments, recorded again with their weights; return its path."""
    path = _path(hit, folder, ".html")
    report({f"update {moment.update}": moment.reopen() for moment in moments}, path, title=str(hit))
    return path


def _path(hit: Hit, folder: PathLike, suffix: str) -> Path:
    """folder/break-nan-000137.run, with a number appended if that exists."""
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    name = "".join(c if c.isalnum() else "-" for c in hit.watch.lower())
    stem = f"break-{name}-{hit.update:06d}"
    path, number = folder / f"{stem}{suffix}", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    return path
