"""The tasks: each is a stream of batches from a seed."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from rnncore._checks import as_seed, as_size
from rnncore.data import Window
from rnncore.nn import make_model

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rnncore._typing import Array, Bools, DTypeLike
    from rnncore.nn import SequenceModel


class Batch(NamedTuple):
    """One batch of a task.

    ``x`` is ``(T, B, I)`` real, or ``(T, B)`` symbols; ``target`` is ``(T, B, 1)`` real or
    ``(T, B)`` classes; ``mask`` is ``(T, B)``, True at the steps whose target is part of the loss.
    """

    x: Array
    target: Array
    mask: Bools

    @property
    def window(self) -> Window:
        """The same as a `Window`, for `rnncore.train.Trainer`."""
        return Window(self.x, self.target, counted=self.mask)


class Task:
    """The base class of the tasks.

    A subclass sets the attributes, keeps its settings under the names of its constructor's arguments, and
    defines ``_draw(rng, size)``, which returns a `Batch` of `size` sequences. ``tasks/__init__.py`` exports it.

    Attributes
    ----------
    steps : int
        Length of the input.
    symbols : int
        Number of input symbols; 0 if the input is real.
    features : int
        Width of a real input; 0 if the input is symbols.
    outputs : int
        Number of classes; 1 if the target is real.
    baseline : float
        The lowest expected loss of a prediction that ignores the input's past.
    seed : int
    """

    steps: int
    symbols: int = 0
    features: int = 0
    outputs: int
    baseline: float
    seed: int

    def _draw(self, rng: np.random.Generator, size: int) -> Batch:
        raise NotImplementedError

    def batch(self, batch_size: int, number: int = 0) -> Batch:
        """Batch `number` of the stream.

        Parameters
        ----------
        batch_size : int
        number : int

        Returns
        -------
        Batch
        """
        size, number = as_size(batch_size, "batch_size"), as_size(number, "number", least=0)
        return self._draw(np.random.default_rng([self.seed, number]), size)

    def batches(self, batch_size: int, count: int, start: int = 0) -> Iterator[Batch]:
        """Yields batches `start` … ``start + count - 1``."""
        for number in range(start, start + count):
            yield self.batch(batch_size, number)

    @property
    def loss_name(self) -> Literal["mse", "cross_entropy"]:
        """The loss of the task's networks."""
        return "mse" if self.outputs == 1 else "cross_entropy"

    def network(
        self,
        cell: str,
        hidden_size: int,
        *,
        embedding_size: int | None = None,
        seed: int | None = None,
        dtype: DTypeLike = "float32",
    ) -> SequenceModel:
        """A `SequenceModel` with this task's input and output.

        Parameters
        ----------
        cell : str
            "rnn", "gru", "lstm", or another name, see `rnncore.nn.make_layer`.
        hidden_size : int
        embedding_size : int, optional
            By default the number of symbols.
        """
        return make_model(
            cell, self.outputs,
            tokens=self.symbols or None,
            features=None if self.symbols else self.features,
            embedding_size=(embedding_size or self.symbols) if self.symbols else None,
            hidden_size=hidden_size, loss=self.loss_name, dtype=dtype, seed=seed)

    def __repr__(self) -> str:
        told = (f"{name}={getattr(self, name)!r}" for name in inspect.signature(type(self)).parameters)
        return f"{type(self).__name__}({', '.join(told)})"


class Adding(Task):
    """Add the two numbers that are marked (Hochreiter & Schmidhuber 1997).

    Each step has a number, U(0, 1), and a mark, which is 1 at one step of the first half
    and at one of the second. The target after the last step is the sum of the marked numbers. Its
    variance is 2/12, so the constant prediction 1 has a mean squared error of 1/6.

    Parameters
    ----------
    steps : int
        T, at least 2.
    seed : int

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.tasks import Adding
    >>> x, target, mask = Adding(6, seed=0).batch(2)
    >>> x.shape, mask.sum(axis=0)
    ((6, 2, 2), array([1, 1]))
    >>> bool(np.allclose((x[..., 0] * x[..., 1]).sum(axis=0), target[-1, :, 0]))
    True
    """

    features, outputs = 2, 1
    baseline = 1 / 6

    def __init__(self, steps: int = 200, *, seed: int = 0) -> None:
        self.steps, self.seed = as_size(steps, "steps", least=2), as_seed(seed)

    def _draw(self, rng: np.random.Generator, size: int) -> Batch:
        half, rows = self.steps // 2, np.arange(size)
        x = np.zeros((self.steps, size, 2), np.float32)
        x[..., 0] = rng.random((self.steps, size))
        first, second = rng.integers(half, size=size), rng.integers(half, self.steps, size=size)
        x[first, rows, 1] = x[second, rows, 1] = 1.0
        target, mask = np.zeros((self.steps, size, 1), np.float32), _at_the_end(self.steps, size)
        target[-1, :, 0] = x[first, rows, 0] + x[second, rows, 0]
        return Batch(x, target, mask)


class CopyMemory(Task):
    """Repeat 10 symbols after T steps (Hochreiter & Schmidhuber 1997; Arjovsky 2016).

    The input is 10 symbols, each one of 8 (1 … 8), T − 1 blanks (0), a go sign (9) and 10 blanks. The
    target is blank until the go sign has been read, and then the 10 symbols. All steps are part of the
    loss: blanks and a uniform guess among 8 cost 10·ln 8 / (T + 20) nats per step.

    Parameters
    ----------
    delay : int
        T, at least 1.
    seed : int

    Examples
    --------
    >>> from rnncore.tasks import CopyMemory
    >>> x, target, mask = CopyMemory(3, seed=0).batch(1)
    >>> x[:13, 0]
    array([7, 6, 5, 3, 3, 1, 1, 1, 2, 7, 0, 0, 9])
    >>> target[-10:, 0]
    array([7, 6, 5, 3, 3, 1, 1, 1, 2, 7])
    """

    symbols, outputs = 10, 9
    length, kinds = 10, 8

    def __init__(self, delay: int = 100, *, seed: int = 0) -> None:
        self.delay, self.seed = as_size(delay, "delay"), as_seed(seed)
        self.steps = self.delay + 2 * self.length
        self.baseline = self.length * math.log(self.kinds) / self.steps

    def _draw(self, rng: np.random.Generator, size: int) -> Batch:
        x, target = np.zeros((2, self.steps, size), np.int64)
        x[: self.length] = target[-self.length :] = rng.integers(
            1, self.kinds + 1, size=(self.length, size))
        x[self.length + self.delay - 1] = self.kinds + 1
        return Batch(x, target, np.ones((self.steps, size), bool))


class TemporalOrder(Task):
    """Classify the order of two relevant symbols (Hochreiter & Schmidhuber 1997, experiment 6a).

    A step in [T/10, 2T/10) and one in [5T/10, 6T/10) show A or B (0, 1); all others show one of four
    distractors (2 … 5). The target after the last step is the class 2·first + second; a guess costs ln 4.

    Parameters
    ----------
    steps : int
        T, at least 10.
    seed : int

    Examples
    --------
    >>> from rnncore.tasks import TemporalOrder
    >>> x, target, mask = TemporalOrder(20, seed=0).batch(3)
    >>> [x[x[:, b] < 2, b].tolist() for b in range(3)], target[-1]
    ([[1, 0], [1, 1], [1, 0]], array([2, 3, 2]))
    """

    symbols, outputs = 6, 4
    baseline = math.log(4)

    def __init__(self, steps: int = 100, *, seed: int = 0) -> None:
        self.steps, self.seed = as_size(steps, "steps", least=10), as_seed(seed)

    def _draw(self, rng: np.random.Generator, size: int) -> Batch:
        rows = np.arange(size)
        x = rng.integers(2, 6, size=(self.steps, size))
        first, second = rng.integers(2, size=(2, size))
        for shown, tenth in ((first, 1), (second, 5)):
            begin, end = tenth * self.steps // 10, (tenth + 1) * self.steps // 10
            x[rng.integers(begin, end, size=size), rows] = shown
        target, mask = np.zeros_like(x), _at_the_end(self.steps, size)
        target[-1] = 2 * first + second
        return Batch(x, target, mask)


class DelayedXOR(Task):
    """The XOR of the bits `delay` and ``delay + 1`` steps ago, at every step.

    Neither bit alone gives any information on the target, and all bits since then have to be
    remembered. A guess costs ln 2.

    Parameters
    ----------
    steps : int
        T, more than ``delay + 1``.
    delay : int
        At least 0.
    seed : int

    Examples
    --------
    >>> from rnncore.tasks import DelayedXOR
    >>> x, target, mask = DelayedXOR(7, delay=2, seed=1).batch(1)
    >>> x[:, 0], target[3:, 0], mask[:, 0].astype(int)
    (array([0, 1, 1, 1, 0, 0, 1]), array([1, 0, 0, 1]), array([0, 0, 0, 1, 1, 1, 1]))
    """

    symbols = outputs = 2
    baseline = math.log(2)

    def __init__(self, steps: int = 100, delay: int = 5, *, seed: int = 0) -> None:
        self.delay = as_size(delay, "delay", least=0)
        self.steps = as_size(steps, "steps", least=self.delay + 2)
        self.seed = as_seed(seed)

    def _draw(self, rng: np.random.Generator, size: int) -> Batch:
        x = rng.integers(2, size=(self.steps, size))
        target, mask = np.zeros_like(x), np.zeros(x.shape, bool)
        first = self.delay + 1
        target[first:] = x[: self.steps - first] ^ x[1 : self.steps - first + 1]
        mask[first:] = True
        return Batch(x, target, mask)


class Dyck(Task):
    """Which bracket does this one close? Balanced words with `kinds` kinds of brackets.

    The opening brackets are 0 … k − 1; the symbol k closes a bracket, of whichever kind. The target
    there is its kind: the top of a stack with up to `depth` entries. A guess costs ln k.
    If both are possible, a bracket is opened or closed with equal probability.

    Parameters
    ----------
    steps : int
        T, an even number: all brackets are closed at the end.
    kinds : int
        k, at least 2.
    depth : int
        The deepest nesting, at least 1.
    seed : int

    Examples
    --------
    >>> from rnncore.tasks import Dyck
    >>> task = Dyck(12, seed=0)
    >>> x, target, mask = task.batch(1)
    >>> task.write(x[:, 0], target[:, 0])
    '[[[(()())]]]'
    """

    def __init__(self, steps: int = 40, kinds: int = 2, depth: int = 8, *, seed: int = 0) -> None:
        self.steps, self.kinds = as_size(steps, "steps", least=2), as_size(kinds, "kinds", least=2)
        self.depth, self.seed = as_size(depth, "depth"), as_seed(seed)
        if self.steps % 2:
            raise ValueError(f"steps: got {steps}, expected an even number: every opened bracket is closed")
        self.symbols, self.outputs = self.kinds + 1, self.kinds
        self.baseline = math.log(self.kinds)

    def _draw(self, rng: np.random.Generator, size: int) -> Batch:
        x = rng.integers(self.kinds, size=(self.steps, size))
        closes, coins = np.zeros(x.shape, bool), rng.random(x.shape) < 0.5
        target, rows = np.zeros_like(x), np.arange(size)
        stack, high = np.zeros((self.depth + 1, size), np.int64), np.zeros(size, np.int64)
        for t in range(self.steps):
            must = (high == self.steps - t) | (high == self.depth)
            close = closes[t] = (high > 0) & (must | coins[t])
            target[t, close] = stack[high[close] - 1, rows[close]]
            stack[high[~close], rows[~close]] = x[t, ~close]
            high += np.where(close, -1, 1)
        return Batch(np.where(closes, self.kinds, x), target, closes)

    def write(self, x: Iterable[int], target: Iterable[int]) -> str:
        """One word as text, from its symbols and targets; for up to four kinds of brackets."""
        return "".join(")]}>"[kind] if symbol == self.kinds else "([{<"[symbol]
                       for symbol, kind in zip(x, target, strict=True))


def _at_the_end(steps: int, size: int) -> Bools:
    """A mask of the last step."""
    mask = np.zeros((steps, size), bool)
    mask[-1] = True
    return mask
