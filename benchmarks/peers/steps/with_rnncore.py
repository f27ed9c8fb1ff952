"""rnncore: one call for the whole sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...cases import Case
from ...steps import arrays_of
from .. import with_rnncore


class Peer(with_rnncore.Peer):
    """rnncore in this process."""

    def prepare(self, case: Case, mode: str) -> tuple[Callable, Callable]:
        """A call to time, and a function that names the numbers it returns."""
        arrays = arrays_of(case)
        return self.call(self.layer(case, arrays), arrays.x), lambda y: {"output": y}

    def call(self, layer: Any, x: Any) -> Callable:
        """A function that returns the outputs for x."""
        return lambda: layer(x)[0]
