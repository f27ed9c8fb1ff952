"""PyTorch: ``torch.nn.LSTM``, ``GRU``, ``RNN``; ``no_grad`` for forward, autograd for training.

Rows of unequal length are padded: all T steps of every row are computed, as most training scripts do it, and what lies
past a row's end is cut off when the results are compared. `with_torch_packed` packs them instead.

Threads: ``torch.set_num_threads``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..cases import Arrays, Case
from ..twin import Numbers
from . import Unsupported


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
        torch, training = self.torch, mode == "training"
        if case.ragged and case.bidirectional and self.pads:
            raise Unsupported("padded, its reverse direction begins in the padding")
        arrays = Arrays.draw(case)
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
        state = tuple(parts) if case.cell == "LSTM" else parts[0]
        grad_output = torch.from_numpy(arrays.grad_output)
        if case.ragged:
            grad_output = self.cut(grad_output, case)
        names = list(arrays.parameters)
        leaves = [x, *parts, *(dict(module.named_parameters())[name] for name in names)]

        run = self.runner(module, case)

        def forward() -> Any:
            with torch.no_grad():
                return run(x, state)

        def forward_backward() -> Any:
            output, final = run(x, state)
            return output, final, torch.autograd.grad(output, leaves, grad_output)

        def read(result: Any) -> Numbers:
            output, final, *grads = result
            final = final if case.cell == "LSTM" else (final,)
            named = {"output": output if case.lengths is None else self.cut(output, case)}
            named.update({f"state.{k}": v for k, v in zip("hc", final, strict=False)})
            if case.ragged and self.pads:  # it went on after the rows' ends
                named.update({f"state.{k}": None for k in "hc"[: len(parts)]})
            if grads:
                states = [f"state.{k}" for k in "hc"[: len(parts)]]
                labels = [f"grad.{name}" for name in ["input", *states, *names]]
                named.update(zip(labels, grads[0], strict=True))
            return {name: None if value is None else value.detach().numpy() for name, value in named.items()}

        return (forward_backward if training else forward), read

    def runner(self, module: Any, case: Case) -> Callable:
        """The function that runs the module on x and a state."""
        return module

    def cut(self, output: Any, case: Case) -> Any:
        """The output with zeros past the rows' ends."""
        lengths = self.torch.from_numpy(case.lengths)
        return output * (self.torch.arange(case.T)[:, None] < lengths)[:, :, None]
