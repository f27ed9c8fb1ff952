"""rnncore: a stream in single steps, into arrays that exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import with_rnncore


class Peer(with_rnncore.Peer):
    """rnncore in this process."""

    def call(self, layer: Any, x: Any) -> Callable:
        y = np.empty((len(x), 1, layer.hidden_size), np.float32)
        stream = layer.stream()
        parts = list(zip(x, y, strict=True))

        def steps() -> Any:
            stream.reset()
            step = stream.step
            for given, out in parts:
                step(given, out)
            return y

        return steps
