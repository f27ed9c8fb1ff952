"""rnncore: ``layer(x, state)`` for forward; for training ``record`` and ``backward``.

A training call begins by marking the weights as changed, as an optimiser does, so that the time
includes packing them again. Threads: ``rnncore.set_num_threads``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..cases import Arrays, Case
from ..twin import Numbers


class Peer:
    """rnncore in this process."""

    def __init__(self, threads: int):
        import rnncore

        rnncore.set_num_threads(threads)
        info = rnncore.build_info()
        self.rnncore, self.version = rnncore, f"{info['version']} ({info['isa']})"

    def prepare(self, case: Case, mode: str) -> tuple[Callable, Callable]:
        """A call to time, and a function that names the numbers it returns."""
        arrays = Arrays.draw(case)
        state = arrays.state if case.cell == "LSTM" else arrays.state[0]
        return passes(self.layer(case, arrays), mode, arrays.x, state, case.lengths, arrays.grad_output)

    def layer(self, case: Case, arrays: Arrays | None = None) -> Any:
        """The layer of a case, with the weights of `arrays`."""
        layer = getattr(self.rnncore, case.cell)(
            case.I,
            case.H,
            num_layers=case.layers,
            bidirectional=case.bidirectional,
            dtype=case.dtype,
        )
        if arrays is not None:
            layer.load_state_dict(arrays.parameters)
        return layer


def passes(
    layer: Any, mode: str, x: Any, state: Any, lengths: Any, grad_output: Any
) -> tuple[Callable, Callable]:
    """A call of a layer or of an ensemble, and a function that names the numbers it returns."""

    def forward() -> Any:
        return layer(x, state, lengths)

    def training() -> Any:
        with layer._in_place():  # marks the weights as changed, so that they are packed again
            pass
        tape = layer.record(x, state, lengths)
        return tape.output, tape.state, tape.backward(grad_output)

    return (training if mode == "training" else forward), read


def read(result: Any) -> Numbers:
    output, final, *grads = result
    named = {"output": output, **by_carry("state", final)}
    for grad in grads:
        named["grad.input"] = grad.input
        named.update(by_carry("grad.state", grad.state))
        named.update({f"grad.{name}": value for name, value in grad.parameters.items()})
    return named


def by_carry(prefix: str, state: Any) -> Numbers:
    parts = state if isinstance(state, tuple) else (state,)
    return {f"{prefix}.{name}": part for name, part in zip("hc", parts, strict=False)}
