"""Hidden Markov models with 8 states: EM and inference on 100 sequences of 1,000 steps.

``track_ratio_*`` runs in turn with hmmlearn in one process, so that a busy machine slows down both; it
is skipped if hmmlearn is not installed.
"""

import time

import numpy as np

from .suite import THREADS, rnncore_with

EMISSIONS = ("categorical", "gaussian")
N, SEQUENCES, STEPS, SYMBOLS, FEATURES = 8, 100, 1000, 20, 3
EM_STEPS = 20


def problem(emission):
    """All sequences one after the other in one array, and initial parameters."""
    rng = np.random.default_rng(8)
    values = {"startprob_": rng.dirichlet(np.ones(N)), "transmat_": rng.dirichlet(np.ones(N), N)}
    if emission == "categorical":
        return rng.integers(0, SYMBOLS, SEQUENCES * STEPS), values | {
            "emissionprob_": rng.dirichlet(np.ones(SYMBOLS), N)
        }
    return rng.normal(size=(SEQUENCES * STEPS, FEATURES)), values | {
        "means_": rng.normal(size=(N, FEATURES)),
        "covars_": np.ones((N, FEATURES)),
    }


def start(model, values):
    for name, value in values.items():
        setattr(model, name, value.copy())
    return model


class EM:
    params = (EMISSIONS, THREADS)
    param_names = ("emission", "threads")
    timeout = 300

    def setup(self, emission, threads):
        self.models = rnncore_with(threads=threads).models
        self.emission = emission
        data, self.values = problem(emission)
        self.data = data
        self.sequences = np.split(data, SEQUENCES)
        self.fit()

    def fit(self):
        return start(
            self.models.HiddenMarkov(N, self.emission, n_iter=EM_STEPS, tol=-np.inf), self.values
        ).fit(self.sequences)

    def fit_hmmlearn(self):
        try:
            from hmmlearn import hmm
        except ImportError:
            raise NotImplementedError("hmmlearn is not installed") from None
        options = {
            "n_iter": EM_STEPS,
            "tol": -np.inf,
            "init_params": "",
            "implementation": "scaling",  # the faster of its two implementations
        }
        lengths = [STEPS] * SEQUENCES
        if self.emission == "categorical":
            model = start(hmm.CategoricalHMM(N, n_features=SYMBOLS, **options), self.values)
            return model.fit(self.data[:, None], lengths)
        return start(hmm.GaussianHMM(N, **options), self.values).fit(self.data, lengths)

    def time_20_steps(self, emission, threads):
        self.fit()

    def track_ratio_to_hmmlearn(self, emission, threads):
        took = np.array([[seconds(self.fit_hmmlearn), seconds(self.fit)] for _ in range(3)])
        return float(np.divide(*np.median(took, axis=0)))

    track_ratio_to_hmmlearn.unit = "times faster"

    def track_difference_to_hmmlearn(self, emission, threads):
        ours, theirs = self.fit(), self.fit_hmmlearn()
        names = {name: name for name in self.values}
        if "covars_" in names:
            names["covars_"] = "_covars_"  # hmmlearn's covars_ are full matrices
        return max(
            float(np.abs(getattr(ours, name) - getattr(theirs, their)).max())
            for name, their in names.items()
        )

    track_difference_to_hmmlearn.unit = "largest absolute difference"


class Inference:
    params = (EMISSIONS, THREADS)
    param_names = ("emission", "threads")

    def setup(self, emission, threads):
        models = rnncore_with(threads=threads).models
        data, values = problem(emission)
        self.model = start(models.HiddenMarkov(N, emission), values)
        self.sequences = np.split(data, SEQUENCES)
        self.long = data

    def time_score_100_sequences(self, emission, threads):
        self.model.score(self.sequences)

    def time_posteriors_100_000_steps(self, emission, threads):
        self.model.posteriors(self.long)

    def time_decode_100_000_steps(self, emission, threads):
        self.model.decode(self.long)

    def time_filter_1000_steps(self, emission, threads):
        f = self.model.filter()
        for x in self.long[:1000]:
            f.step(x)


def seconds(call):
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin
