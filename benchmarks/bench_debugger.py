"""How much time the debugger adds to a training step of an LSTM with H = I = 128, B = 16, T = 100."""

import statistics
import time

import numpy as np

from .suite import rnncore_with

ROUNDS = 40


class TrainingStep:
    params = ("none", "nan", "all watches", "recorder")
    param_names = ("callback",)
    timeout = 300

    def setup(self, callback):
        rc = rnncore_with(threads=2)
        from rnncore import viz
        from rnncore.nn import Linear, SequenceModel
        from rnncore.optim import Adam
        from rnncore.train import Trainer

        rng = np.random.default_rng(0)
        x = rng.normal(size=(100, 16, 128)).astype("float32")
        batches = [(x, rng.normal(size=(100, 16, 1)).astype("float32"))]
        ignore = {"action": lambda hit, moments: None}
        made = {
            "none": list,
            "nan": lambda: [viz.Debugger(viz.NaN())],
            "all watches": lambda: [
                viz.Debugger(
                    viz.NaN(), viz.Vanish(), viz.Explode(), viz.Stuck(), viz.Spike(), **ignore
                )
            ],
            "recorder": lambda: [viz.Recorder(every=10, names="*.[hf]", measures={})],
        }

        def trainer(name):
            model = SequenceModel(
                None, rc.LSTM(128, 128, seed=0), Linear(128, 1, seed=1), loss="mse"
            )
            return Trainer(model, Adam(model), batches, callbacks=made[name](), carry=False)

        self.plain, self.with_callback = trainer("none"), trainer(callback)
        for _ in range(3):
            self.plain.update()
            self.with_callback.update()

    def time_update(self, callback):
        self.with_callback.update()

    def track_percent(self, callback):
        """The added time in percent of a step without callbacks; medians of interleaved steps."""
        plain, other = [], []
        for _ in range(ROUNDS):
            for trainer, times in ((self.plain, plain), (self.with_callback, other)):
                start = time.perf_counter()
                trainer.update()
                times.append(time.perf_counter() - start)
        return 100 * (statistics.median(other) / statistics.median(plain) - 1)

    track_percent.unit = "%"
