"""Progress of long calls: a bar, or a callback."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from ._typing import Progress


class progress_bar:
    """``with progress_bar(progress, total, label) as bar: bar.update(1, loss=0.3)``

    Parameters
    ----------
    progress : bool, None or callable
        True shows a tqdm bar, None shows one if stderr is a terminal, and False shows nothing. A callable is called as
        ``progress(done, total, info)`` after every update.
    total : int
        The value of ``done`` at the end.
    label : str
        Text in front of the bar.
    leave : bool
        Whether the bar stays on the screen after its end.
    """

    def __init__(self, progress: Progress, total: int, label: str | None = None, *, leave: bool = True) -> None:
        self.total, self.done = total, 0
        self._bar: Any = None
        self._call = progress if callable(progress) else None
        if progress is None:
            progress = hasattr(sys.stderr, "isatty") and sys.stderr.isatty()
        if progress and self._call is None:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, desc=label, leave=leave)

    def update(self, steps: int = 1, **info: Any) -> None:
        self.done += steps
        if self._call is not None:
            self._call(self.done, self.total, info)
        if self._bar is not None:
            self._bar.set_postfix(info, refresh=False)
            self._bar.update(steps)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()
