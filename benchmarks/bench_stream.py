"""Time of one streaming step."""

import numpy as np

from .cases import CELLS, Case
from .suite import DTYPES, FLAG, ISAS, layer_of, rnncore_with

SHAPES = ("1,1,8,32", "1,1,64,256", "1,16,64,256")  # T,B,I,H


class Stream:
    params = (CELLS, SHAPES, DTYPES, ISAS)
    param_names = ("cell", "shape", "dtype", "isa")

    def setup(self, cell, shape, dtype, isa):
        case = Case.parse(cell, shape + FLAG[dtype])
        layer, arrays, _ = layer_of(rnncore_with(isa), case)
        if not hasattr(layer, "stream"):
            raise NotImplementedError("this version has no stream()")
        self.stream, self.x = layer.stream(batch_size=case.B), arrays.x[0]
        self.out = np.empty((case.B, case.H), dtype)

    def time_step(self, *parameters):
        self.stream.step(self.x)

    def time_step_out(self, *parameters):
        self.stream.step(self.x, out=self.out)
