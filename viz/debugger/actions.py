"""What happens when a watch fires: raise, call, record, open."""

import webbrowser
from pathlib import Path

from .._tapes import gradient
from ..recorder import Recorder
from ..reports import report

__all__ = ["Breakpoint", "act"]


class Breakpoint(Exception):
    """Raised where a watch with the action "raise" fires.

    Attributes
    ----------
    hit : Hit
    moments : list of Moment
        The last few updates, oldest first; the last is the one that fired.
    """

    def __init__(self, hit, moments):
        super().__init__(str(hit))
        self.hit = hit
        self.moments = moments


def check_action(action):
    """Refuse what `act` could not do, when it is said and not when it is needed."""
    for one in action if isinstance(action, (list, tuple)) else [action]:
        if not callable(one) and one not in ("raise", "record", "open"):
            raise ValueError(
                f"action: got {one!r}, expected 'raise', 'record', 'open', a function of "
                "(hit, moments), or a list of them"
            )
    return action


def act(action, hit, moments, folder):
    """Do what `action` says; what raises comes last, so that the rest is done."""
    actions = action if isinstance(action, (list, tuple)) else [action]
    for one in sorted(actions, key=lambda a: a == "raise"):
        if one == "raise":
            raise Breakpoint(hit, moments)
        if one == "record":
            record(hit, moments, folder)
        elif one == "open":
            webbrowser.open(write_page(hit, moments, folder).as_uri())
        else:
            one(hit, moments)


def record(hit, moments, folder):
    """Write the moments whole, with gradients and weights, into a run file; return its path."""
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


def write_page(hit, moments, folder):
    """Write a page of the moments, recorded again with their weights; return its path."""
    path = _path(hit, folder, ".html")
    report({f"update {moment.update}": moment.reopen() for moment in moments}, path, title=str(hit))
    return path


def _path(hit, folder, suffix):
    """folder/break-nan-000137.run, with a number behind it where that exists."""
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    name = "".join(c if c.isalnum() else "-" for c in hit.watch.lower())
    stem = f"break-{name}-{hit.update:06d}"
    path, number = folder / f"{stem}{suffix}", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    return path
