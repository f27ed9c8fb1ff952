"""Time of a call and of a training step: cell × shape × dtype × threads × instruction set."""

from .cases import CELLS, Case
from .suite import DTYPES, FLAG, ISAS, THREADS, layer_of, rnncore_with, update

SHAPES = ("1000,1,8,32", "100,1,256,256", "100,16,128,128", "20,64,512,512")  # T,B,I,H


class Layers:
    params = (CELLS, SHAPES, DTYPES, THREADS, ISAS)
    param_names = ("cell", "shape", "dtype", "threads", "isa")

    def setup(self, cell, shape, dtype, threads, isa):
        case = Case.parse(cell, shape + FLAG[dtype])
        self.layer, arrays, self.state = layer_of(rnncore_with(isa, threads), case)
        self.x, self.grad_output = arrays.x, arrays.grad_output

    def time_forward(self, *parameters):
        self.layer(self.x, self.state)

    def time_training(self, *parameters):
        update(self.layer)
        self.layer.record(self.x, self.state).backward(self.grad_output)


class Stacks:
    """Two layers, two directions, and rows of unequal length."""

    params = (CELLS, ("100,16,128,128,x2", "100,16,128,128,bi", "100,16,128,128"), (False, True))
    param_names = ("cell", "shape", "ragged")

    def setup(self, cell, shape, ragged):
        case = Case.parse(cell, shape)
        self.layer, arrays, self.state = layer_of(rnncore_with(), case)
        self.x, self.grad_output = arrays.x, arrays.grad_output
        self.lengths = [case.T * (row + 1) // case.B for row in range(case.B)] if ragged else None

    def time_forward(self, *parameters):
        self.layer(self.x, self.state, lengths=self.lengths)

    def time_training(self, *parameters):
        tape = self.layer.record(self.x, self.state, lengths=self.lengths)
        tape.backward(self.grad_output)
