"""Time of one step of a stream, and of a cell, which receives and returns its state."""

import numpy as np

from .cases import CELLS, Arrays, Case
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


class Cells:
    params = (CELLS, SHAPES, DTYPES)
    param_names = ("cell", "shape", "dtype")

    def setup(self, cell, shape, dtype):
        rnncore, case = rnncore_with(), Case.parse(cell, shape + FLAG[dtype])
        arrays = Arrays.draw(case)
        self.cell = getattr(rnncore, f"{cell}Cell")(case.I, case.H, dtype=dtype)
        weights = arrays.parameters.items()
        self.cell.load_state_dict({name.removesuffix("_l0"): value for name, value in weights})
        state = tuple(part[0] for part in arrays.state)
        self.x, self.state = arrays.x[0], state if cell == "LSTM" else state[0]

    def time_step(self, *parameters):
        self.cell(self.x, self.state)
