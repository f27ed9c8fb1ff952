"""The page as the result of a notebook's cell."""

from __future__ import annotations

import sys
from html import escape

HEIGHT = 900  # pixels; the reader can change it


class NotebookPage:
    """A page that a notebook displays in a frame of its own.

    The frame is isolated: neither does the page reach the notebook, nor another page beside it, nor the reverse. It
    belongs to the notebook's file, which therefore still shows it when it is opened again.

    Parameters
    ----------
    html : str
        The whole page.
    """

    def __init__(self, html: str) -> None:
        self.html = html

    def __repr__(self) -> str:
        return f"<NotebookPage of {len(self.html.encode(errors='replace')):,} bytes>"

    def _repr_html_(self) -> str:
        return (
            f'<iframe sandbox="allow-scripts allow-downloads" srcdoc="{escape(self.html)}" title="rnncore" '
            f'style="width: 100%; height: {HEIGHT}px; border: 0; resize: vertical; overflow: auto"></iframe>'
        )


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, which displays results as HTML."""
    shell = sys.modules.get("IPython")
    get = getattr(shell, "get_ipython", None)
    return hasattr(get() if get else None, "kernel")
