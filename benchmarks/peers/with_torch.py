"""PyTorch: ``torch.nn.LSTM``, ``GRU``, ``RNN``; ``no_grad`` for forward, autograd for training.

Rows of unequal length are padded: all T steps of every row are computed, as most training scripts do it, and what lies
past a row's end is cut off when the results are compared. `with_torch_packed` packs them instead.

Threads: ``torch.set_num_threads``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..cases import Arrays, Case
from ..twin import Numbers
from . import Unsupported


@dataclass
class Leaves:
    """A module with its inputs, what gradients are taken of, and a function that names the numbers of a result."""

    module: Any
    x: Any
    state: Any
    leaves: list[Any]
    grad_output: Any
    named: Callable[..., Numbers]


class Peer:
    """torch in this process."""

    pads = True

    def __init__(self, threads: int):
        import torch

        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)
        self.torch, self.version = torch, torch.__version__

    def prepare(self, case: Case, mode: str) -> tuple[Callable, Callable]:
        """A call to time, and a function that names the numbers it returns."""
        torch, leaves = self.torch, self.leaves(case, mode)
        run = self.runner(leaves.module, case)

        def forward() -> Any:
            with torch.no_grad():
                return run(leaves.x, leaves.state)

        def forward_backward() -> Any:
            output, final = run(leaves.x, leaves.state)
            return output, final, torch.autograd.grad(output, leaves.leaves, leaves.grad_output)

        return (forward_backward if mode == "training" else forward), lambda result: leaves.named(*result)

    def leaves(self, case: Case, mode: str, arrays: Arrays | None = None) -> Leaves:
        """The module of a case, and its tensors."""
        torch, training = self.torch, mode == "training"
        if case.ragged and case.bidirectional and self.pads:
            raise Unsupported("padded, its reverse direction begins in the padding")
        arrays = arrays or Arrays.draw(case)
        module = getattr(torch.nn, case.cell)(
            case.I,
            case.H,
            num_layers=case.layers,
            bidirectional=case.bidirectional,
            dtype=getattr(torch, case.dtype),
        )
        module.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.parameters.items()})
        module.train(training)
        x = torch.from_numpy(arrays.x).requires_grad_(training)
        parts = [torch.from_numpy(part).requires_grad_(training) for part in arrays.state]
        grad_output = torch.from_numpy(arrays.grad_output)
        if case.ragged:
            grad_output = self.cut(grad_output, case)
        names = list(arrays.parameters)
        leaves = [x, *parts, *(dict(module.named_parameters())[name] for name in names)]
        states = "hc"[: len(parts)]

        def named(output: Any, final: Any, grads: Any = ()) -> Numbers:
            final = final if case.cell == "LSTM" else (final,)
            named = {"output": output if case.lengths is None else self.cut(output, case)}
            named.update({f"state.{k}": v for k, v in zip(states, final, strict=True)})
            if case.ragged and self.pads:  # it went on after the rows' ends
                named.update({f"state.{k}": None for k in states})
            labels = [f"grad.{name}" for name in ["input", *(f"state.{k}" for k in states), *names]]
            named.update(zip(labels, grads, strict=False))
            return {name: None if value is None else value.detach().numpy() for name, value in named.items()}

        return Leaves(module, x, tuple(parts) if case.cell == "LSTM" else parts[0], leaves, grad_output, named)

    def runner(self, module: Any, case: Case) -> Callable:
        """The function that runs the module on x and a state."""
        return module

    def cut(self, output: Any, case: Case) -> Any:
        """The output with zeros past the rows' ends."""
        lengths = self.torch.from_numpy(case.lengths)
        return output * (self.torch.arange(case.T)[:, None] < lengths)[:, :, None]
