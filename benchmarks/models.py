"""Whole models: embedding, recurrent layer, linear head and loss, and their training step in plain numpy.

All libraries get the arrays of the same :class:`Model`. Before they are timed, the losses of their first updates and
the gradients of the first one are compared with `numbers`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from . import twin
from .cases import Arrays, Case
from .twin import Numbers

BATCHES = 4     # that training goes through, again and again
UPDATES = 3     # that are compared
LR, BETAS, EPS, MAX_NORM = 1e-3, (0.9, 0.999), 1e-8, 1.0
IGNORED = -100  # the target of a step that a row does not have


@dataclass(frozen=True)
class Model:
    """A model at one size.

    Parameters
    ----------
    name : str
    cell : {"LSTM", "GRU", "RNN"}
    inputs : int
        The number of symbols, or of values in a step where `embedding` is None.
    embedding : int or None
        The length of a symbol's vector.
    outputs : int
        Classes, or values of a prediction.
    T, B, H, layers, bidirectional
        As in `Case`.
    loss : {"cross_entropy", "mse"}
    readout : {"steps", "last"}
        A prediction at every step, or one for a sequence, from the last state of each direction.
    rows : {"full", "padded", "packed"}
        Rows of unequal length are given as they are, with padding, or as a PackedSequence.

    Examples
    --------
    >>> MODELS[0].label
    'characters: 103 symbols, E 64, H 128, B 32, T 64'
    """

    name: str
    cell: str
    inputs: int
    embedding: int | None
    H: int
    B: int
    T: int
    outputs: int
    layers: int = 1
    bidirectional: bool = False
    loss: str = "cross_entropy"
    readout: str = "steps"
    rows: str = "full"
    dtype = "float32"

    @property
    def label(self) -> str:
        """The sizes, in words."""
        sizes = [f"{self.inputs:,} values"] if self.embedding is None else [
            f"{self.inputs:,} symbols", f"E {self.embedding}"]
        sizes += [f"{self.layers} layers"] if self.layers > 1 else []
        sizes += ["both directions"] if self.bidirectional else []
        sizes += [f"H {self.H}", f"B {self.B}", f"T {self.T}"]
        sizes += [self.rows] if self.rows != "full" else []
        return f"{self.name}: {', '.join(sizes)}"

    @property
    def case(self) -> Case:
        """The recurrent layer alone."""
        width = self.inputs if self.embedding is None else self.embedding
        return Case(self.cell, self.T, self.B, width, self.H, self.layers, self.bidirectional,
                    ragged=self.rows != "full")


MODELS = (
    Model("characters", "LSTM", 103, 64, 128, 32, 64, 103),
    Model("characters", "GRU", 103, 64, 128, 32, 64, 103),
    Model("two layers", "LSTM", 103, 64, 256, 64, 100, 103, layers=2),
    Model("words", "LSTM", 5000, 128, 256, 20, 35, 5000),
    Model("small", "LSTM", 60, 16, 32, 8, 32, 60),
    Model("classifier", "LSTM", 5000, 64, 128, 32, 100, 5, bidirectional=True, readout="last"),
    Model("series", "GRU", 8, None, 64, 32, 100, 1, loss="mse"),
    Model("many words", "LSTM", 20_000, 128, 256, 20, 35, 20_000),
    Model("two layers", "GRU", 103, 64, 256, 64, 100, 103, layers=2),
    Model("large", "LSTM", 103, 64, 512, 32, 64, 103),
)
# The models of a torch user: its layer is torch's or ours.
TORCH_MODELS = (
    *MODELS[:3],
    Model("characters", "RNN", 103, 64, 128, 32, 64, 103),
    MODELS[4],
    MODELS[5],
    *(Model("long rows", cell, 103, 64, 128, 32, 1000, 103, rows=rows)
      for cell in ("LSTM", "GRU") for rows in ("padded", "packed")),
    *(replace(Model("rows", cell, 103, 64, 64, 16, 200, 103), rows=rows)
      for cell in ("LSTM", "GRU") for rows in ("padded", "packed")),
)


@dataclass(frozen=True)
class ModelArrays:
    """Batches and initial weights; the names are those of a torch module with embedding, layer and head."""

    x: list[np.ndarray]         # each (T, B) int64, or (T, B, I)
    targets: list[np.ndarray]   # (T, B) or (B,) int64, or (T, B, O)
    parameters: dict[str, np.ndarray]

    @classmethod
    def draw(cls, model: Model, seed: int = 4) -> ModelArrays:
        """Random batches and weights."""
        rng = np.random.Generator(np.random.PCG64(seed))
        steps = (model.T, model.B)
        shape = steps if model.readout == "steps" else (model.B,)
        x: list[np.ndarray] = []
        targets: list[np.ndarray] = []
        for _ in range(BATCHES):
            x.append(rng.standard_normal((*steps, model.inputs), np.float32) if model.embedding is None
                     else rng.integers(0, model.inputs, steps))
            targets.append(rng.standard_normal((*shape, model.outputs), np.float32) if model.loss == "mse"
                           else rng.integers(0, model.outputs, shape))
            if model.case.lengths is not None:
                targets[-1][np.arange(model.T)[:, None] >= model.case.lengths] = IGNORED
        parameters = {f"layer.{name}": value for name, value in Arrays.draw(model.case, seed).parameters.items()}
        if model.embedding is not None:
            table = rng.standard_normal((model.inputs, model.embedding), np.float32)
            parameters = {"embedding.weight": table, **parameters}
        width = model.H * model.case.directions
        for name, sizes in (("weight", (model.outputs, width)), ("bias", (model.outputs,))):
            parameters[f"head.{name}"] = ((2 * rng.random(sizes, np.float32) - 1) / width**0.5).astype("float32")
        return cls(x, targets, parameters)


def numbers(model: Model, mode: str = "training") -> Numbers:
    """The losses of the first updates, and norm and gradients of the first one before clipping, in float64.

    Examples
    --------
    >>> found = numbers(Model("tiny", "GRU", 5, 3, 4, 2, 3, 5))
    >>> found["losses"].shape, found["grad.head.weight"].shape
    ((3,), (5, 4))
    """
    arrays = ModelArrays.draw(model)
    p = {name: value.astype(np.float64) for name, value in arrays.parameters.items()}
    first, second = ({name: np.zeros_like(value) for name, value in p.items()} for _ in range(2))
    losses, found = [], {}
    for k in range(UPDATES):
        loss, grads = loss_and_grads(model, p, arrays.x[k], arrays.targets[k])
        losses.append(loss)
        norm = np.sqrt(sum(float(np.square(g).sum()) for g in grads.values()))
        if k == 0:
            found = {"norm": np.array(norm), **{f"grad.{name}": g for name, g in grads.items()}}
        clip = min(1.0, MAX_NORM / (norm + 1e-6))
        for name, g in grads.items():
            g = g * clip
            first[name] = BETAS[0] * first[name] + (1 - BETAS[0]) * g
            second[name] = BETAS[1] * second[name] + (1 - BETAS[1]) * g * g
            root = np.sqrt(second[name] / (1 - BETAS[1] ** (k + 1))) + EPS
            p[name] = p[name] - LR * first[name] / (1 - BETAS[0] ** (k + 1)) / root
    return {"losses": np.array(losses), **found}


def loss_and_grads(model: Model, p: Numbers, x: np.ndarray, target: np.ndarray) -> tuple[float, Numbers]:
    """The mean loss and its gradients by the names of the parameters."""
    case, D = model.case, model.case.directions
    read = p["embedding.weight"][x] if model.embedding is not None else x.astype(np.float64)
    state = tuple(np.zeros((case.layers * D, case.B, case.H)) for _ in range(2 if case.cell == "LSTM" else 1))
    layer = {name.removeprefix("layer."): value for name, value in p.items() if name.startswith("layer.")}
    arrays = Arrays(read, state, layer, np.zeros((case.T, case.B, D * case.H)))
    out = twin.numbers(case, "forward", arrays)
    y = out["output"] if model.readout == "steps" else np.concatenate(list(out["state.h"][-D:]), axis=1)
    loss, grad = (squared_error if model.loss == "mse" else cross_entropy)(
        y @ p["head.weight"].T + p["head.bias"], target)
    over = tuple(range(grad.ndim - 1))
    grads = {"head.weight": np.tensordot(grad, y, (over, over)), "head.bias": grad.sum(over)}
    back = grad @ p["head.weight"]
    if model.readout == "last":     # the forward direction ends at the last step, the other one at the first
        arrays.grad_output[-1, :, : case.H] = back[:, : case.H]
        arrays.grad_output[0, :, case.H :] = back[:, case.H :]
    else:
        arrays.grad_output[:] = back
    out = twin.numbers(case, "training", arrays)
    grads |= {f"layer.{name}": out[f"grad.{name}"] for name in layer}
    if model.embedding is not None:
        grads["embedding.weight"] = np.zeros_like(p["embedding.weight"])
        np.add.at(grads["embedding.weight"], x, out["grad.input"])
    return loss, grads


def cross_entropy(logits: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean over the targets that are not `IGNORED`, and its gradient."""
    rest = logits - logits.max(-1, keepdims=True)
    log_p = rest - np.log(np.exp(rest).sum(-1, keepdims=True))
    counted = target != IGNORED
    at = np.where(counted, target, 0)[..., None]
    loss = -np.take_along_axis(log_p, at, -1)[..., 0]
    grad = np.exp(log_p)
    np.put_along_axis(grad, at, np.take_along_axis(grad, at, -1) - 1, -1)
    return float(loss[counted].mean()), grad * counted[..., None] / counted.sum()


def squared_error(prediction: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean over all values, and its gradient."""
    off = prediction - target
    return float(np.square(off).mean()), 2 * off / off.size


def first_updates(update: Callable[[], float], grads: Callable[[], Numbers]) -> Numbers:
    """What a library's first updates give: `update()` is a loss, `grads()` those of the last update before clipping."""
    losses = [update()]
    seen = {f"grad.{name}": np.array(value) for name, value in grads().items()}
    norm = np.sqrt(sum(float(np.square(value, dtype=np.float64).sum()) for value in seen.values()))
    losses += [update() for _ in range(UPDATES - 1)]
    return {"losses": np.array(losses), "norm": np.array(norm), **seen}
