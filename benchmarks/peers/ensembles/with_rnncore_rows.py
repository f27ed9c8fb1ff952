"""rnncore: one layer, whose batch has the rows of all nets. It does the same work with the weights of one net."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ...ensembles import Nets, numbers
from .. import with_rnncore


class Peer(with_rnncore.Peer):
    """rnncore in this process."""

    def prepare(self, case: Nets, mode: str) -> tuple[Callable, Callable]:
        """A call to time, and a function that names the numbers that it does not compute."""
        one = replace(case.case, B=case.count * case.case.B)
        call, _ = super().prepare(one, mode)
        names = numbers(replace(case, count=1), mode)
        return call, lambda result: dict.fromkeys(names)
