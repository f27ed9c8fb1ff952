"""Models train to the same losses with our modules as with torch's."""

import pytest
from torch_pairs import KINDS, pair, rnn, torch

TASKS = ["plain", "initial", "padded", "packed"]


class Model(torch.nn.Module):
    """A recurrent module and a readout of every step; in the task "initial" the initial state is learnt, too."""

    def __init__(self, recurrent, task, lengths):
        super().__init__()
        self.recurrent, self.task, self.lengths = recurrent, task, lengths
        width = recurrent.hidden_size * (1 + recurrent.bidirectional)
        torch.manual_seed(1)
        dtype = recurrent.weight_ih_l0.dtype
        self.readout = torch.nn.Linear(width, 2, dtype=dtype)
        shape = (recurrent.num_layers * (1 + recurrent.bidirectional), 1, recurrent.hidden_size)
        self.initial = torch.nn.ParameterList(
            torch.randn(shape, dtype=dtype) / 2 for _ in range(1 + (recurrent.mode == "LSTM")))

    def forward(self, x):
        batch_first = self.recurrent.batch_first
        B, T = x.shape[:2] if batch_first else x.shape[1::-1]
        if self.task == "packed":
            packed = rnn.pack_padded_sequence(x, self.lengths, batch_first=batch_first, enforce_sorted=False)
            y, _ = self.recurrent(packed)
            y, _ = rnn.pad_packed_sequence(y, batch_first=batch_first, total_length=T)
        elif self.task == "initial":
            state = tuple(part.expand(-1, B, -1) for part in self.initial)
            y, _ = self.recurrent(x, state if len(state) > 1 else state[0])
        else:
            y, _ = self.recurrent(x)
        return self.readout(y)


def losses(model, x, target, kept, optimiser):
    found = []
    for _ in range(50):
        optimiser.zero_grad()
        error = (model(x) - target).pow(2)
        loss = (error if kept is None else error * kept).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        found.append(loss.item())
    return found


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", KINDS)
def test_losses_equal_those_of_torch(kind, task, layers):
    """f64 within 1e-9, f32 within 1e-4 of the first loss, over 50 steps with clipping.

    In f64 by Adam; in f32 by momentum, since Adam makes whole steps of gradients that are nothing but rounding errors.
    """
    both, batch_first = layers % 2 == 1, task in ("padded", "packed")
    T, B = 9, 4
    lengths = torch.tensor([3, 9, 1, 7])
    kinds = [(torch.float64, 1e-9)]
    if (KINDS.index(kind) + TASKS.index(task) + layers) % 3 == 0:       # every two of cell, task and layers meet
        kinds.append((torch.float32, 1e-4))
    for dtype, tolerance in kinds:
        torch.manual_seed(0)
        modules = pair(kind, 3, 6, layers, bidirectional=both, batch_first=batch_first, dtype=dtype)
        x = torch.randn((B, T, 3) if batch_first else (T, B, 3), dtype=dtype)
        target = torch.randn((*x.shape[:2], 2), dtype=dtype)
        kept = (torch.arange(T) < lengths[:, None])[..., None] if task in ("padded", "packed") else None
        theirs, ours = (
            losses(model, x, target, kept, torch.optim.Adam(model.parameters(), 0.02) if dtype == torch.float64 else
                   torch.optim.SGD(model.parameters(), 0.03, momentum=0.9))
            for model in (Model(module, task, lengths) for module in modules))
        assert ours[-1] < ours[0]
        assert max(abs(a - b) for a, b in zip(theirs, ours, strict=True)) <= tolerance * theirs[0]


def test_truncated_training_carries_the_state():
    """The final state of a window, detached, starts the next; users may also change it in place."""
    theirs, ours = pair("LSTM", 3, 6)
    x = torch.randn(40, 2, 3, dtype=torch.float64)
    found = []
    for module in (theirs, ours):
        optimiser, state, own = torch.optim.SGD(module.parameters(), 0.1), None, []
        for window in x.split(10):
            y, state = module(window, state)
            y.pow(2).mean().backward()
            optimiser.step()
            optimiser.zero_grad()
            for part in state:
                part.detach_()
                part[:, 0] = 0              # the first row begins anew
            own.append(y.detach())
        found.append(torch.cat(own))
    torch.testing.assert_close(*found)
