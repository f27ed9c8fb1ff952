"""The torch model of `with_torch`, with the layer of ``rnncore.torch`` in place of torch's."""

from __future__ import annotations

from typing import Any

from . import with_torch


class Peer(with_torch.Peer):
    """torch and rnncore in one process, with the same number of threads."""

    def __init__(self, threads: int):
        super().__init__(threads)
        import rnncore
        import rnncore.torch

        rnncore.set_num_threads(threads)
        self.ours = rnncore.torch
        info = rnncore.build_info()
        self.version = f"{info['version']} ({info['isa']})"

    def layers(self) -> Any:
        return self.ours
