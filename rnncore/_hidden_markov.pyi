"""Types of src/engine/_hidden_markov.pyx: C order arrays, float64 unless it says otherwise."""

from numpy import float64, int64
from numpy.typing import NDArray

Floats = NDArray[float64]
Steps = NDArray[int64]

class Chain:
    n_states: int
    width: int
    def __init__(self, startprob: Floats, transmat: Floats) -> None: ...
    def viterbi(self, log_b: Floats, v: Floats, path: Steps) -> float: ...

class Emission:
    rows: int
    width: int
    n_sums: int
    def log_likelihood(self) -> Floats: ...

class Symbols(Emission):
    def __init__(self, x: Steps, emissionprob: Floats) -> None: ...

class Vectors(Emission):
    def __init__(self, x: Floats, means: Floats, whiten: Floats, constant: Floats) -> None: ...

class Given(Emission):
    def __init__(self, x: Floats, log_b: Floats, centre: Floats) -> None: ...

class Space: ...

class Pass:
    def run(self, spaces: list[Space]) -> None: ...

class Smoothing(Pass):
    log_prob: Floats
    starts: Floats
    pairs: Floats
    sums: Floats
    gamma: Floats | None
    def __init__(
        self, chain: Chain, emission: Emission, offsets: Steps, portions: Steps, posteriors: bool = ...
    ) -> None: ...

class Filtering(Pass):
    log_norm: Floats
    alpha: Floats
    def __init__(
        self, chain: Chain, emission: Emission, offsets: Steps, portions: Steps
    ) -> None: ...
