"""What is measured: a cell with its sizes, arrays drawn from a seed, and the number of operations.

All libraries get the arrays of the same :class:`Case`, so that their results can be compared before
they are timed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

CELLS = ("LSTM", "GRU", "RNN")
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
MODES = ("forward", "training")


@dataclass(frozen=True)
class Case:
    """One cell at one size.

    Parameters
    ----------
    cell : {"LSTM", "GRU", "RNN"}
        RNN means tanh; the GRU applies its reset gate after the product, as torch does.
    T, B, I, H : int
        Steps, batch, input and hidden size.
    layers : int
    bidirectional : bool
    dtype : {"float32", "float64"}
    ragged : bool
        Whether the rows have unequal lengths; see `lengths`.

    Examples
    --------
    >>> case = Case.parse("LSTM", "100,4,16,32,x2,f64")
    >>> case.layers, case.dtype, case.label
    (2, 'float64', '100,4,16,32,x2,f64')
    >>> Case("RNN", T=10, B=2, I=3, H=5).flops("forward")    # 2·10·2·1·5·(3 + 5)
    1600
    """

    cell: str
    T: int
    B: int
    I: int
    H: int
    layers: int = 1
    bidirectional: bool = False
    dtype: str = "float32"
    ragged: bool = False

    @classmethod
    def parse(cls, cell: str, text: str) -> Case:
        """Read ``T,B,I,H`` followed by any of ``x2`` (layers), ``bi``, ``f64``, ``ragged``."""
        how = "write T,B,I,H and then any of xN (layers), bi, f64, ragged, as in 100,16,128,128,x2"
        if cell not in CELLS:
            raise ValueError(f"cell is {cell!r}; expected one of {', '.join(CELLS)}")
        parts = [part.strip() for part in text.split(",")]
        try:
            sizes = [int(part) for part in parts[:4]]
        except ValueError:
            raise ValueError(f"shape is {text!r}; {how}") from None
        if len(sizes) < 4 or min(sizes) < 1:
            raise ValueError(f"shape is {text!r}; expected four positive sizes: {how}")
        case = cls(cell, *sizes)
        for part in parts[4:]:
            if part == "bi":
                case = replace(case, bidirectional=True)
            elif part == "f64":
                case = replace(case, dtype="float64")
            elif part == "ragged":
                case = replace(case, ragged=True)
            elif part[:1] == "x" and part[1:].isdigit() and int(part[1:]) > 0:
                case = replace(case, layers=int(part[1:]))
            else:
                raise ValueError(f"shape is {text!r}, with {part!r} in it; {how}")
        return case

    @property
    def label(self) -> str:
        """The text that :meth:`parse` reads."""
        parts = [self.T, self.B, self.I, self.H]
        parts += [f"x{self.layers}"] if self.layers > 1 else []
        parts += ["bi"] if self.bidirectional else []
        parts += ["f64"] if self.dtype == "float64" else []
        parts += ["ragged"] if self.ragged else []
        return ",".join(map(str, parts))

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def suffixes(self) -> list[str]:
        """Suffixes of the parameters' names as in torch, in its order: l0, l0_reverse, l1, ..."""
        ends = ("", "_reverse")[: self.directions]
        return [f"l{layer}{end}" for layer in range(self.layers) for end in ends]

    @property
    def lengths(self) -> np.ndarray | None:
        """The number of steps of each row (B,), evenly from T/10 to T, in random order; None: all have T.

        So 0.55 of the steps of a batch exist, whatever its size.

        Examples
        --------
        >>> Case.parse("LSTM", "100,8,4,4,ragged").lengths.tolist()
        [49, 100, 74, 36, 61, 10, 87, 23]
        """
        if not self.ragged:
            return None
        rng = np.random.Generator(np.random.PCG64(9))
        ends = (max(1, self.T // 10), self.T) if self.B > 1 else (0.55 * self.T,) * 2
        return rng.permutation(np.linspace(*ends, self.B).round().astype(np.int64))

    def flops(self, mode: str) -> int:
        """Number of floating-point operations of the matrix products; activations are not counted.

        forward: 2·T·B·G·H·(I + H) for each layer and direction, where G is 4, 3, 1 for
        LSTM, GRU, RNN, and I of an upper layer is the output size of the layer below.
        training: three times that, since backward has two products for each one of forward: one for
        the gradients of state and input, one for those of the weights. For rows of unequal length
        T·B is the sum of the lengths.
        """
        total = 0
        for layer in range(self.layers):
            width = self.I if layer == 0 else self.H * self.directions
            total += self.directions * GATES[self.cell] * self.H * (width + self.H)
        steps = self.T * self.B if self.lengths is None else int(self.lengths.sum())
        return 2 * steps * total * (3 if mode == "training" else 1)


@dataclass(frozen=True)
class Arrays:
    """The arrays of one case, time-major, with torch's names and gate order.

    ``state`` has h, and c for an LSTM, each (layers·directions, B, H).
    """

    x: np.ndarray  # (T, B, I)
    state: tuple[np.ndarray, ...]
    parameters: dict[str, np.ndarray]
    grad_output: np.ndarray  # (T, B, directions·H)

    @classmethod
    def draw(cls, case: Case, seed: int = 4) -> Arrays:
        """Weights are U(±1/√H), as in torch; x and the output gradient are normal, states half as large."""
        rng = np.random.Generator(np.random.PCG64(seed))
        dtype, H, D = np.dtype(case.dtype), case.H, case.directions

        def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
            values = rng.standard_normal(shape, dtype=np.float32)
            values *= scale  # in place, so that no second array adds to the peak memory
            return values.astype(dtype, copy=False)

        def uniform(*shape: int) -> np.ndarray:
            return ((2 * rng.random(shape, dtype=np.float32) - 1) / H**0.5).astype(dtype)

        rows, parameters = GATES[case.cell] * H, {}
        for index, suffix in enumerate(case.suffixes):
            width = case.I if index < D else H * D
            parameters[f"weight_ih_{suffix}"] = uniform(rows, width)
            parameters[f"weight_hh_{suffix}"] = uniform(rows, H)
            parameters[f"bias_ih_{suffix}"] = uniform(rows)
            parameters[f"bias_hh_{suffix}"] = uniform(rows)
        carries = 2 if case.cell == "LSTM" else 1
        return cls(
            x=normal(case.T, case.B, case.I),
            state=tuple(normal(case.layers * D, case.B, H, scale=0.5) for _ in range(carries)),
            parameters=parameters,
            grad_output=normal(case.T, case.B, D * H),
        )
