"""What long calls show of how far they are."""

from __future__ import annotations

import sys


class progress_bar:
    """``with progress_bar(progress, total, label) as bar: bar.update(1, loss=0.3)``

    Parameters
    ----------
    progress : bool, None or callable
        True shows a tqdm bar, None does so where stderr is a terminal; a callable is called as
        ``progress(done, total, info)`` after every update; False does nothing.
    total : int
    label : str
    leave : bool
        Whether the bar stays when it has come to its end.
    """

    def __init__(self, progress, total: int, label: str | None = None, *, leave: bool = True):
        self.total, self.done, self._bar = total, 0, None
        self._call = progress if callable(progress) else None
        if progress is None:
            progress = hasattr(sys.stderr, "isatty") and sys.stderr.isatty()
        if progress and self._call is None:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, desc=label, leave=leave)

    def update(self, steps: int = 1, **info) -> None:
        self.done += steps
        if self._call is not None:
            self._call(self.done, self.total, info)
        if self._bar is not None:
            self._bar.set_postfix(info, refresh=False)
            self._bar.update(steps)

    def __enter__(self) -> progress_bar:
        return self

    def __exit__(self, *error) -> None:
        if self._bar is not None:
            self._bar.close()
