"""DistributedDataParallel over gloo: two processes train as one does on both their batches."""

import pytest
from support import run_python
from torch_pairs import torch

pytestmark = pytest.mark.slow

TRAIN = """
import sys
import torch
import rnncore.torch as rt

def worker(rank, world, path, queue=None):
    if world > 1:
        torch.distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=world)
    torch.manual_seed(0)
    model = torch.nn.ModuleDict({
        "lstm": rt.LSTM(3, 6, 2, bidirectional=True, dtype=torch.float64),
        "head": torch.nn.Linear(12, 1, dtype=torch.float64)})
    x, target = torch.randn(7, 4, 3, dtype=torch.float64), torch.randn(7, 4, 1, dtype=torch.float64)

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = model

        def forward(self, x):
            return self.parts["head"](self.parts["lstm"](x)[0])

    run = Model()
    if world > 1:
        run = torch.nn.parallel.DistributedDataParallel(run)
    optimiser = torch.optim.Adam(run.parameters(), 0.02)
    rows = slice(rank * 4 // world, (rank + 1) * 4 // world)
    for _ in range(20):
        optimiser.zero_grad()
        (run(x[:, rows]) - target[:, rows]).pow(2).mean().backward()
        optimiser.step()
    torch.save(model.state_dict(), f"{path}.{world}.{rank}")
    if world > 1:
        torch.distributed.destroy_process_group()

if __name__ == "__main__":
    path = sys.argv[1]
    worker(0, 1, path)
    torch.multiprocessing.spawn(worker, args=(2, path), nprocs=2)
"""


def test_two_processes_train_as_one(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(TRAIN, encoding="utf-8")
    run_python(f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, {str(script)!r}, "
               f"{str(tmp_path / 'store')!r}]).returncode)", timeout=300)
    alone, *both = (torch.load(tmp_path / f"store.{name}") for name in ("1.0", "2.0", "2.1"))
    for found in both:
        for name, tensor in alone.items():
            torch.testing.assert_close(found[name], tensor, rtol=1e-9, atol=1e-12)
