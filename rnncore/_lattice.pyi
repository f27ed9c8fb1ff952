"""Types of src/engine/_lattice.pyx: C order arrays, float64 unless it says otherwise."""

from numpy import bool_, float64, int64, uint8
from numpy.typing import NDArray

Floats = NDArray[float64]

class Chain:
    n_states: int
    width: int
    def __init__(self, startprob: Floats, transmat: Floats) -> None: ...
    def forward(
        self,
        offsets: NDArray[int64],
        b: Floats,
        u: Floats,
        norm: Floats,
        lost: NDArray[uint8],
        exact: bool | bool_,
    ) -> None: ...
    def smooth(
        self,
        offsets: NDArray[int64],
        b: Floats,
        u: Floats,
        norm: Floats,
        top: Floats,
        gamma: Floats,
        pairs: Floats,
        starts: Floats,
        log_prob: Floats,
        lost: NDArray[uint8],
        exact: bool | bool_,
    ) -> None: ...
    def smooth_log(
        self,
        log_b: Floats,
        log_alpha: Floats,
        gamma: Floats,
        pairs: Floats,
        log_norm: Floats,
    ) -> bool: ...
    def viterbi(self, log_b: Floats, v: Floats, path: NDArray[int64]) -> float: ...

def moments(x: Floats, mean: Floats, gamma: Floats, full: bool, sums: Floats) -> None: ...
def counts(symbols: NDArray[int64], gamma: Floats, sums: Floats) -> None: ...
def gaussian(
    x: Floats, mean: Floats, whiten: Floats, constant: Floats, density: Floats, top: Floats
) -> None: ...
