"""Time of the measures that propagate cotangents back through a tape, at typical sizes."""

import numpy as np

from .suite import DTYPES, rnncore_with


class Measures:
    """H = 128; 1,000 steps, and 300 for the measures of every step against every other."""

    params = (("LSTM", "GRU", "RNN"), DTYPES)
    param_names = ("cell", "dtype")
    timeout = 300

    def setup(self, cell, dtype):
        rc = rnncore_with(threads=1)
        from rnncore import viz

        self.viz = viz
        rng = np.random.default_rng(0)
        self.layer = getattr(rc, cell)(32, 128, dtype=dtype, seed=0)
        self.x = rng.normal(size=(1000, 1, 32)).astype(dtype)
        self.long, self.short = self.layer.record(self.x), self.layer.record(self.x[:300])
        self.g = rng.normal(size=(300, 1, 128)).astype(dtype)

    def time_jacobian_norms(self, *parameters):
        self.viz.jacobian_norms(self.long)

    def time_lyapunov_spectrum(self, *parameters):
        self.viz.lyapunov_spectrum(self.layer, self.x)

    def time_dependency_map(self, *parameters):
        self.viz.dependency_map(self.short, self.g)

    def time_connectivity(self, *parameters):
        self.viz.connectivity(self.short, self.g)
