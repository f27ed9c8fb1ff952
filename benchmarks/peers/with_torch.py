"""PyTorch: ``torch.nn.LSTM``, ``GRU``, ``RNN``; ``no_grad`` for forward, autograd for training.

Threads: ``torch.set_num_threads``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..cases import Arrays, Case
from ..twin import Numbers


class Peer:
    """torch in this process."""

    def __init__(self, threads: int):
        import torch

        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)
        self.torch, self.version = torch, torch.__version__

    def prepare(self, case: Case, mode: str) -> tuple[Callable, Callable]:
        """A call to time, and a function that names the numbers it returns."""
        torch, training = self.torch, mode == "training"
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
        names = list(arrays.parameters)
        leaves = [x, *parts, *(dict(module.named_parameters())[name] for name in names)]

        def forward() -> Any:
            with torch.no_grad():
                return module(x, state)

        def forward_backward() -> Any:
            output, final = module(x, state)
            return output, final, torch.autograd.grad(output, leaves, grad_output)

        def read(result: Any) -> Numbers:
            output, final, *grads = result
            final = final if case.cell == "LSTM" else (final,)
            named = {"output": output}
            named.update({f"state.{k}": v for k, v in zip("hc", final, strict=False)})
            if grads:
                states = [f"state.{k}" for k in "hc"[: len(parts)]]
                labels = [f"grad.{name}" for name in ["input", *states, *names]]
                named.update(zip(labels, grads[0], strict=True))
            return {name: value.detach().numpy() for name, value in named.items()}

        return (forward_backward if training else forward), read
