"""Accuracy in ulp (units in the last place), compared with the numpy twin in extended precision.

The error of an array is max|a − b| divided by the spacing of floats at max|b|, which is one ulp of its
largest value. The tests state their bounds in the same norm; it does not become large only because a
gradient happens to be near zero.
"""

import numpy as np

from . import twin
from .cases import CELLS, Case
from .peers.with_rnncore import Peer
from .suite import DTYPES, FLAG, ISAS, rnncore_with

SHAPES = ("30,3,7,37", "200,2,16,64")  # T,B,I,H: sizes that no vector length divides; a long sequence


def ulps(got: np.ndarray, exact: np.ndarray) -> float:
    """max|a − b| in units of the last place of max|b|.

    Examples
    --------
    >>> ulps(np.array([1 + 2**-23], np.float32), np.array([1.0]))
    1.0
    """
    largest = np.abs(exact).max().astype(got.dtype)
    return float(np.abs(got - exact).max() / np.spacing(largest))


class Accuracy:
    params = (CELLS, SHAPES, DTYPES, ISAS)
    param_names = ("cell", "shape", "dtype", "isa")
    unit = "ulp"

    def setup(self, cell, shape, dtype, isa):
        rnncore_with(isa)
        case = Case.parse(cell, shape + FLAG[dtype])
        call, read = Peer(threads=1).prepare(case, "training")
        got, exact = read(call()), twin.numbers(case, "training", dtype=np.longdouble)
        self.errors = {name: ulps(got[name], exact[name]) for name in exact}

    def worst(self, *prefixes):
        return max(value for name, value in self.errors.items() if name.startswith(prefixes))

    def track_outputs(self, *parameters):
        return self.worst("output", "state")

    def track_grad_inputs(self, *parameters):
        return self.worst("grad.input", "grad.state")

    def track_grad_parameters(self, *parameters):
        return self.worst("grad.weight", "grad.bias")
