"""Wrong arguments: a public function gives a result for any argument, or an error that names the wrong argument.

A call is made with arguments that fit, but for one or two that are junk. Nothing may crash, hang, or end in an error
that is a slip of ours (overflow, division by zero, an unbound name). Where `NAMED` says so, around the engine, an error
has to name an argument of the call by its parameter (or a part of it, as h0 of a state), so that a message of numpy's
own, raised somewhere inside, does not pass for one of ours.
"""

import inspect
import pickle
import re
import tempfile
import time
import warnings
from functools import cache
from pathlib import Path

import numpy as np
from support import make

import rnncore as rc
from fuzz.case import limit_memory
from rnncore import data, init, io, models, nn, optim, tasks, train, viz
from rnncore.command.sample import sample_text

SECONDS = 5

JUNK = {
    "None": None, "True": True, "-1": -1, "0": 0, "3": 3, "10**30": 10**30, "1.5": 1.5, "nan": float("nan"),
    "inf": float("inf"), "1j": 1j, "text": "abc", "no text": "", "bytes": b"abc", "list": [], "nested": [[]],
    "ragged": [[1], [1, 2]], "dict": {}, "set": {1, 2}, "tuple": (1, 2), "object": object(), "type": int,
    "function": len, "range": range(3), "slice": slice(2),
    "array": np.ones(3), "no rows": np.ones((0, 2)), "4 axes": np.ones((2, 3, 4, 5)), "a number": np.array(2.0),
    "booleans": np.ones((5, 2), bool), "complex": np.ones((5, 2, 2)) * 1j, "objects": np.array([None, 1], object),
    "strings": np.array(["a", "b"]), "NaNs": np.full((5, 2, 2), np.nan), "dates": np.array(["2020"], "M8[D]"),
    "huge": np.full((5, 2, 2), 1e308), "ints": np.arange(20).reshape(5, 2, 2), "uint64": np.full(2, 2**64 - 1, "u8"),
    "masked": np.ma.masked_array([1.0, 2.0], [True, False]), "structured": np.zeros(2, [("a", "f4")]),
}  # fmt: skip

# Parameters that take one of our objects, a path or a function: for another object Python's own error is enough, which
# names the attribute that it lacks.
OBJECTS = {"tape", "layer", "module", "model", "embedding", "head", "optimiser", "ax", "callbacks", "task", "network",
           "readout", "self", "batches", "valid", "runs", "run", "plot", "measures", "live", "path", "progress",
           "predicate", "trainer", "checkpoint", "grads_of", "arguments"}
# Limits of a duration: infinity is valid.
ENDLESS = {"updates", "seconds", "epochs", "n_iter", "n_init", "tested", "every", "points", "length",
           "width", "num_layers"}
# The calls whose errors have to name an argument.
NAMED = re.compile(r"(RNN|GRU|LSTM)(Cell)?$|(layer|gru|tape|stream|cell)\b(?!\.load)|Linear$|Embedding$|linear"
                    r"|embedding|record\.backward|(threads|cross_entropy|token_nll|mse|pad|viz\.memory_curve)$")
SLIPS = (ArithmeticError, MemoryError, RecursionError, NameError, AssertionError, NotImplementedError, SystemError,
         UnicodeError, StopIteration, EOFError, BufferError)
# Other words by which an error may name a parameter.
ALSO = {"state": ("h0", "c0", "h", "c"), "names": ("name",), "sequences": ("sequence",), "tokens": ("token",)}


@cache
def objects():
    """Valid arguments, by parameter."""
    layer = make("lstm", 2, 3, dtype="float64")
    x = np.random.default_rng(0).normal(size=(5, 2, 2))
    tape = layer.record(x)
    tape.backward(np.ones((5, 2, 3)))
    model = nn.sequence_model("gru", 3, hidden_size=3, embedding_size=2, seed=0)
    window = np.arange(10).reshape(5, 2) % 3
    batches = [(window, window)]
    return {
        "input_size": 2, "hidden_size": 3, "num_embeddings": 3, "embedding_dim": 2, "in_features": 2, "out_features": 3,
        "layer": layer, "tape": tape, "x": x, "x_t": x[0], "module": layer, "model": model, "batches": batches,
        "optimiser": optim.SGD(model), "grad_output": np.ones((5, 2, 3)), "state": None, "lengths": np.array([5, 3]),
        "embedding": nn.Embedding(3, 2, dtype="float64"), "head": nn.Linear(3, 4, dtype="float64"), "n": 1,
        "logits": x, "targets": window % 2, "pred": x, "target": x * 2, "steps": 6, "cell": "gru", "tokens": 3,
        "grads": {name: np.ones_like(w) for name, w in layer.state_dict().items()}, "max_norm": 1.0,
        "sequences": ["abcab", "ba"], "sequence": "ab", "text": "abcab", "vocabulary": "abc", "batch_size": 2,
        "direction": "forward", "loss": np.ones((5, 2, 3)), "logit": np.ones((5, 2, 3)), "sizes": np.ones((4, 4, 1)),
        "readout": np.ones((5, 2, 3)), "spectrum": [0.5, 0.0, -1.0], "share": np.ones((4, 1)) / 4, "sigma_w": 1.1,
        "prompt": "a", "length": 2, "network": model, "values": np.arange(5.0), "step": 1, "value": 0.5,
    }


def _fitted(model, *data):
    return model.fit(*data)


@cache
def calls():
    """{name: (function, valid arguments)} of all public functions."""
    layer, model = objects()["layer"], objects()["model"]
    found = {}

    def add(name, function, /, **given):
        parameters = inspect.signature(function).parameters.values()
        fits = {}
        for p in parameters:
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                continue
            if p.name in given:
                fits[p.name] = given[p.name]
            elif p.default is not p.empty:
                fits[p.name] = p.default
            elif p.name in objects():
                fits[p.name] = objects()[p.name]
            else:
                raise AssertionError(f"{name}: no valid argument for {p.name!r}; give one to add(), or to objects()")
        found[name] = function, fits

    for kind in ("RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell"):
        add(kind, getattr(rc, kind))
    add("threads", lambda n: rc.threads(n).__enter__(), n=rc.num_threads())
    for owner, name in ((layer, "layer"), (make("gru", 2, 3), "gru")):
        add(name, owner.__call__)
        add(f"{name}.record", owner.record)
        add(f"{name}.stream", owner.stream)
        add(f"{name}.load_state_dict", pickle.loads(pickle.dumps(owner)).load_state_dict, state=owner.state_dict())
    tape = layer.record(objects()["x"])
    add("tape.backward", tape.backward, grad_output=np.ones((5, 2, 3)))
    add("tape.pullback", lambda v, every, direction: list(tape.pullback(v, every=every, direction=direction)), v=None,
        every=1)
    add("tape.names", tape.names)
    add("tape[name]", lambda name: tape[name], name="l0.h")
    stream = layer.stream(2)
    add("stream.step", stream.step)
    add("stream.reset", stream.reset)
    add("stream.state", lambda state: setattr(stream, "state", state), state=stream.state)
    cell = rc.LSTMCell(2, 3)
    add("cell", cell.__call__, x=np.ones((2, 2)))
    add("cell.record", cell.record, x=np.ones((2, 2)))
    add("cell tape.backward", cell.record(np.ones((2, 2))).backward, grad_output=np.ones((2, 3)))
    for kind in ("Embedding", "Linear", "Dropout", "SequenceModel", "sequence_model", "make_layer"):
        given = {"dropout": None, "loss": "mse"} if kind == "SequenceModel" else {}
        add(kind, getattr(nn, kind), **given)
    linear, embedding = objects()["head"], objects()["embedding"]
    add("linear", linear.__call__, x=np.ones((4, 3)))
    add("linear.record", linear.record, x=np.ones((4, 3)))
    add("record.backward", linear.record(np.ones((4, 3))).backward, grad_output=np.ones((4, 4)))
    add("embedding", embedding.__call__, tokens=[1, 2])
    add("embedding.record", embedding.record, tokens=[1, 2])
    add("dropout.record", nn.Dropout(0.5).record)
    for name in ("cross_entropy", "token_nll", "mse", "length_mask"):
        add(name, getattr(nn, name))
    window = np.arange(10).reshape(5, 2) % 3
    add("model", model.__call__, x=window)
    add("model.record", model.record, x=window)
    add("model.loss_and_grads", model.loss_and_grads, x=window, targets=window)
    add("model.astype", model.astype, dtype="float64")
    updated = make("lstm", 2, 3, dtype="float64")  # the others' weights stay: a case depends on its seed alone
    for kind in ("SGD", "Adam", "AdamW"):
        add(kind, getattr(optim, kind), module=updated)
        optimiser = getattr(optim, kind)(updated, lr=0.0)
        add(f"{kind}.step", optimiser.step)
        add(f"{kind}.load_state_dict", optimiser.load_state_dict, state=optimiser.state_dict())
    add("clip_grad_norm", optim.clip_grad_norm, grads={"a": np.ones(3)})
    add("Trainer", train.Trainer)
    trained = nn.sequence_model("gru", 3, hidden_size=3, embedding_size=2, seed=0)
    trainer = train.Trainer(trained, optim.SGD(trained), objects()["batches"])
    add("trainer.fit", trainer.fit, updates=1, progress=False)
    add("evaluate", train.evaluate)
    add("sample_text", lambda **given: "".join(sample_text(**given)))
    found["sample_text"] = (found["sample_text"][0], {"model": model, "vocabulary": "abc", "length": 2, "prompt": "a",
                                                      "temperature": 1.0, "seed": 0})
    add("Corpus", data.Corpus)
    add("Alphabet", data.Alphabet, characters="abc")
    add("alphabet.encode", data.Alphabet("abc").encode)
    add("alphabet.decode", data.Alphabet("abc").decode, tokens=[0, 2])
    add("batches", data.batches, tokens=np.arange(30))
    add("pad", data.pad, sequences=[[1, 2], [3]])
    add("buckets", data.buckets)
    series = np.random.default_rng(0).normal(size=(40, 2))
    add("windows", data.windows, series=series, steps=4, valid=0.2)
    parts = data.windows(series, 4, targets=0)
    add("windows.encode", parts.encode, series=series)
    add("windows.inverse", parts.inverse, prediction=np.ones((3, 1)))
    add("windows.train.shuffled", parts.train.shuffled)
    for kind in ("Adding", "CopyMemory", "TemporalOrder", "DelayedXOR", "Dyck"):
        small = {"Adding": {"steps": 6}, "TemporalOrder": {"steps": 12}, "DelayedXOR": {"steps": 9}}.get(kind, {})
        add(kind, getattr(tasks, kind), **small)
    add("task.batch", tasks.Dyck(6).batch)
    add("learn", tasks.learn, task=tasks.Dyck(4), network=tasks.Dyck(4).network("gru", 3), updates=2, every=1, tested=4)
    for name in ("orthogonal", "identity", "forget_bias", "chrono"):
        add(name, getattr(init, name), module=make("lstm", 2, 3), steps=9)
    add("save_arrays", lambda arrays, metadata: _in_a_folder(io.safetensors.save_arrays, arrays, metadata),
        arrays={"a": np.ones(2)}, metadata=None)
    _add_models(add)
    _add_viz(add, found)
    return found


def _in_a_folder(function, *given):
    with tempfile.TemporaryDirectory() as folder:
        return function(Path(folder) / "file", *given)


def _add_models(add):
    """Settings are checked by fit, so a model is made with junk and fitted at once."""
    real = [np.random.default_rng(0).normal(size=(30, 2)).cumsum(0)]
    made = {
        "Markov": ({}, ["abcab", "ba"]), "AutoRegressive": ({}, real), "HiddenMarkov": ({"n_iter": 1}, ["abcab", "ba"]),
        "HiddenMarkov gaussian": ({"n_iter": 1, "emission": "gaussian"}, real),
        "SwitchingAutoRegressive": ({"n_iter": 1}, real),
        "Recurrent": ({"hidden_size": 2, "epochs": 1, "window": 3}, ["abcab", "ba"]),
        "Recurrent of numbers": ({"hidden_size": 2, "epochs": 1, "window": 3}, real),
        "SequenceClassifier": ({"hidden_size": 2, "epochs": 1}, ["ab", "ba"] * 3),
    }  # fmt: skip
    for name, (given, sequences) in made.items():
        kind = getattr(models, name.split()[0])
        answers = (np.arange(6) % 2,) if name == "SequenceClassifier" else ()

        def make_and_fit(kind=kind, sequences=sequences, answers=answers, **settings):
            return kind(**settings).fit(sequences, *answers)

        make_and_fit.__signature__ = inspect.signature(kind)
        add(name, make_and_fit, **given)
        model = make_and_fit(**given)
        if name == "SequenceClassifier":
            add(f"{name}.fit", kind(**given).fit, X=sequences, y=answers[0])
            add(f"{name}.predict", model.predict, X=sequences)
            continue
        fits = {"sequence": sequences[0], "context": sequences[0], "sequences": sequences, "length": 2}
        add(f"{name}.fit", kind(**given).fit, sequences=sequences)
        for method in ("log_prob", "predict", "sample", "perplexity", "score", "one_step", "mean_squared_error"):
            if method != "mean_squared_error" or model.kind_ == "real":
                add(f"{name}.{method}", getattr(model, method), **fits)
        other = ("beam", "forecast_proba") if model.kind_ == "real" else ("forecast",)     # for the other kind only
        for method in ("posteriors", "decode", "forecast", "forecast_proba", "beam"):
            if hasattr(model, method) and method not in other:
                add(f"{name}.{method}", getattr(model, method), **fits, steps=2)


def _add_viz(add, found):
    """Measures, plots and the debugger's parts."""
    layer, tape = objects()["layer"], objects()["tape"]
    g = np.ones((5, 2, 3))
    linear = models.AutoRegressive(1).fit([np.arange(30.0) % 7])
    weights = (("weight_hh_l0", (0, 0)), ("bias_ih_l0", (0,)))
    convergence = viz.lyapunov_convergence(layer, objects()["x"])
    plane = {"inputs": objects()["x"], "loss": lambda y: float(np.square(y).sum()), "along": weights, "x": [0.5, 1.0],
             "y": [0.0, 0.2]}
    given = {
        "loss_plane": plane, "plot_loss_plane": {"plane": viz.loss_plane(layer, **plane)},
        "lyapunov_error": {"convergence": convergence}, "plot_clipping": {"run": [0.5, 2.0, 1.0], "max_norm": 1.0},
        "plot_forecast": {"forecast": linear.forecast(np.arange(5.0), 3)},
        "coefficients": {"model": linear, "sequences": [np.arange(30.0) % 7]}, "plot_coefficients": {"model": linear},
        "plot_hidden_states": {"model": ([0, 1], np.full((2, 2), 0.5))},
        "plot_transition_matrix": {"model": np.full((2, 2), 0.5)},
        "plot_transition_graph": {"model": np.full((2, 2), 0.5)},
        "context_cut": {"loss": lambda y: np.square(y).sum(-1)}, "memory_curve": {"steps": 60, "washout": 5, "lags": 4},
        "memory_capacity": {"lags": 3}, "integrated_gradients": {"readout": g, "points": 2},
        "plot_connectivity": {"connectivity": viz.connectivity(tape, g)}, "plot_dependency_map": {"loss": g},
        "plot_context_cut": {"cut": (np.arange(1, 4), np.ones((3, 2)))},
        "plot_integrated_gradients": {"attribution": viz.integrated_gradients(layer, objects()["x"], g, points=2)},
        "plot_lyapunov_convergence": {"convergence": convergence},
        "plot_memory_capacity": {"curve": np.array([0.9, 0.5, 0.1])}, "plot_omission": {"change": np.ones((5, 2))},
        "plot_text": {"tokens": list("abcde")}, "side_by_side": {"runs": {"a": tape, "b": tape}},
        "Recorder": {"path": None},
    }  # fmt: skip
    skipped = {"Breakpoint", "Diagnosis", "Finding", "Hit", "Moment", "Run", "When", "report", "explore", "replay",
               "plot_series", "Debugger"}
    for name in viz.__all__:
        function = getattr(viz, name)
        named_tuple = isinstance(function, type) and issubclass(function, tuple)
        if callable(function) and name not in skipped and not named_tuple:
            add(f"viz.{name}", function, **given.get(name, {}))
    recorder = viz.Recorder(every=1)
    add("recorder.record", recorder.record)
    for watch in ("NaN", "Explode", "Vanish", "Spike", "Stuck"):
        add(f"Debugger({watch})", lambda watch=watch, **options: viz.Debugger(getattr(viz, watch)(**options)))
        signature = inspect.signature(getattr(viz, watch)).parameters.values()
        found[f"Debugger({watch})"] = (found[f"Debugger({watch})"][0],
                                       {p.name: p.default for p in signature if p.default is not p.empty})


EXPECTED = (ValueError, TypeError, KeyError, IndexError, RuntimeError, OSError, FloatingPointError)


class Unnamed(AssertionError):
    """An error that does not name the wrong argument; its place is the function, parameter and type of error."""

    def __init__(self, name, parameters, error, junk):
        super().__init__(f"{name}({junk}): {type(error).__name__}: {error}")
        self.place = f"{type(error).__name__} of {name}({', '.join(parameters)})"


def arguments(draw):
    """A call in which one or two arguments are junk."""
    limit_memory()
    warnings.simplefilter("ignore")  # warnings of numpy or matplotlib about junk are expected
    name = draw.in_turn("call", calls())
    function, fits = calls()[name]
    free = [p for p in fits if p not in OBJECTS]
    if not free:
        return
    given = dict(fits)
    chosen = sorted({free[draw.rng.integers(len(free))] for _ in range(draw.one_of("wrong", (1, 1, 2)))})
    for parameter in chosen:
        junk = draw.one_of("junk", JUNK)
        draw.told[-1] = f"{parameter}={junk}"
        if parameter not in ENDLESS or junk not in ("10**30", "inf"):
            given[parameter] = JUNK[junk]
    before, begun = rc.num_threads(), time.process_time()
    words = {word for p in fits for word in (p, *ALSO.get(p, ()))}
    try:
        function(**given)
    except Exception as error:
        said = any(re.search(rf"(?<![A-Za-z]){re.escape(word)}", str(error)) for word in words)
        named = said and isinstance(error, EXPECTED)
        slip = isinstance(error, SLIPS) and not isinstance(error, FloatingPointError)
        if slip or (NAMED.match(name) and not named):
            raise Unnamed(name, chosen, error, ", ".join(draw.told[-len(chosen):])) from error
    finally:
        rc.set_num_threads(before)
        if name.startswith("viz.plot") or name in ("viz.overview", "viz.side_by_side"):
            import matplotlib.pyplot as plt

            plt.close("all")
    taken = time.process_time() - begun
    assert taken < SECONDS, f"{name} took {taken:.1f} s"
