"""Peak memory of calls and recorded passes; the reference has the same arrays and computes nothing."""

import inspect

from .cases import CELLS, Case
from .suite import layer_of, rnncore_with

SHAPES = ("20000,1,8,64", "500,16,64,128")  # T,B,I,H


class Memory:
    params = (CELLS, SHAPES)
    param_names = ("cell", "shape")

    def setup(self, cell, shape):
        case = Case.parse(cell, shape)
        self.layer, arrays, self.state = layer_of(rnncore_with(), case)
        self.x, self.grad_output = arrays.x, arrays.grad_output

    def peakmem_reference(self, *parameters):
        pass

    def peakmem_forward(self, *parameters):
        self.layer(self.x, self.state)

    def peakmem_record(self, *parameters):
        self.layer.record(self.x, self.state)

    def peakmem_training(self, *parameters):
        self.layer.record(self.x, self.state).backward(self.grad_output)

    def peakmem_training_checkpointed(self, *parameters):
        if "checkpoint_every" not in inspect.signature(self.layer.record).parameters:
            raise NotImplementedError("this version keeps every step")
        steps = round(len(self.x) ** 0.5)
        tape = self.layer.record(self.x, self.state, checkpoint_every=steps)
        tape.backward(self.grad_output)
