"""Checkpoints of any origin: a resume uses all of one, or nothing, and names what is wrong."""

import json
import math
import time

import numpy as np
import pytest
import torch
from crafted import changed, changed_arrays, deep, read, save_crafted
from safetensors.numpy import save_file
from support import run_python, same_bits

from rnncore.data import Corpus, batches, fingerprint
from rnncore.io.fields import DamagedFileError
from rnncore.io.safetensors import load_arrays
from rnncore.nn import sequence_model
from rnncore.optim import SGD, Adam, AdamW
from rnncore.train import FORMATS, Trainer, evaluate, is_checkpoint, load_model

TEXT = "the cat sat on the mat, and the rat sat on the cat. " * 30
WINDOWS = batches(Corpus(TEXT).train, 4, 25)
TOKENS = len(Corpus(TEXT).vocabulary)


def make(cell="lstm", seed=0, optimiser=Adam, windows=WINDOWS, carry=None, **options):
    model = sequence_model(cell, TOKENS, hidden_size=5, embedding_size=3, seed=seed, dropout=0.3)
    return Trainer(model, optimiser(model, 0.01, **options), windows, carry=carry)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A checkpoint after a few updates: arrays and metadata."""
    path = tmp_path_factory.mktemp("run") / "run.safetensors"
    make().fit(4, progress=False, checkpoint=path, notes={"a": [1, {"b": None}]})
    return load_arrays(path)


def everything(trainer):
    """All that a resume may change."""
    optimiser = trainer.optimiser.state_dict()
    parts = () if trainer.state is None else trainer.state
    arrays = trainer.model.state_dict() | {f"b.{n}": a for n, a in optimiser.pop("buffers").items()}
    arrays |= {f"state.{i}": part.copy() for i, part in enumerate(parts)}
    dropout = trainer.model.dropout
    counts = [trainer.updates, list(trainer.losses), int(dropout.masks.seed), dropout.masks.passes]
    return arrays, repr([optimiser, counts])


def refused(tmp_path, arrays, metadata, error=DamagedFileError, message="", fresh=None):
    """A trainer that ran a little is exactly as it was; the message names the file."""
    path = tmp_path / "crafted.safetensors"
    save_crafted(path, arrays, metadata)
    trainer = (fresh or make(seed=3)).fit(2, progress=False)
    arrays, told = everything(trainer)
    with pytest.raises(error, match=message) as caught:
        trainer.resume(path)
    assert str(path) in str(caught.value)
    same_bits(everything(trainer)[0], arrays)
    assert everything(trainer)[1] == told


def with_change(metadata, **changes):
    metadata = json.loads(json.dumps(metadata))
    for place, value in changes.items():
        *owners, key = place.split("__")
        owner = metadata
        for name in owners:
            owner = owner[name]
        owner[key] = value
    return metadata


CHANGES = {
    "a rate that is no number": ({"optimiser__options__lr": math.nan}, "optimiser: lr: got nan"),
    "a negative rate": ({"optimiser__options__lr": -0.5}, "optimiser: lr: got -0.5"),
    "a rate of text": ({"optimiser__options__lr": "fast"}, "optimiser: lr: got 'fast'"),
    "an infinite rate": ({"optimiser__options__lr": math.inf}, "optimiser: lr: got inf"),
    "a beta of 1": ({"optimiser__options__betas": [0.9, 1.0]}, "optimiser: betas: got 1.0"),
    "three betas": ({"optimiser__options__betas": [0.9, 0.5, 0.5]}, "optimiser: betas: got"),
    "negative steps": ({"optimiser__steps": -1}, "optimiser.steps is -1"),
    "half a step": ({"optimiser__steps": 1.5}, "optimiser.steps is 1.5"),
    "no optimiser": ({"optimiser": None}, "optimiser is None"),
    "options that are a list": ({"optimiser__options": [1]}, "optimiser.options is a list of 1"),
    "negative updates": ({"updates": -4}, "updates is -4"),
    "other updates than losses": ({"updates": 3}, "losses is an array of float64 with shape"),
    "updates as text": ({"updates": "4"}, "updates is '4'"),
    "no windows": ({"windows": 0}, "windows is 0"),
    "masks of nobody": ({"masks": [[1, 2]]}, "masks is a list of 1, expected a list of 2"),
    "no masks": ({"masks": None}, "masks is None"),
    "half a mask": ({"masks": [[1], [3, 4]]}, r"masks\[0\] is a list of 1, expected a list of 2"),
    "a negative count": ({"masks": [[1, -2], [3, 4]]}, r"masks\[0\]\[1\] is -2"),
    "a seed beyond 64 bits": ({"masks": [[2**64, 2], [3, 4]]}, r"masks\[0\]\[0\] is 18446744073709551616"),
    "an unknown cell": ({"model__cell": "ELMAN"}, "model.cell is 'ELMAN', expected one of RNN, GRU"),
    "a cell that is a list": ({"model__cell": []}, "model.cell is a list of 0"),
    "an unknown loss": ({"model__loss": "hinge"}, "model.loss is 'hinge'"),
    "half a unit": ({"model__layer__hidden_size": 5.5}, "model.layer.hidden_size is 5.5"),
    "an option of another cell": ({"model__layer__reset_after": True}, "reset_after is unknown"),
    "all dropped": ({"model__dropout": 1.0}, "model.dropout is 1.0"),
    "a deep model": ({"model": deep()}, "nested more than 100 deep"),
    "data that is no text": ({"data": 3}, "data is 3"),
    "carry that is no flag": ({"carry": 1}, "carry is 1, expected true or false"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_wrong_metadata_are_refused(tmp_path, written, name):
    arrays, metadata = written
    changes, message = CHANGES[name]
    refused(tmp_path, arrays, with_change(metadata, **changes), message=message)


@pytest.mark.parametrize("name", ["model", "optimiser", "updates", "windows", "masks", "notes", "data", "carry"])
def test_missing_entries_are_named(tmp_path, written, name):
    arrays, metadata = written
    metadata = {key: value for key, value in metadata.items() if key != name}
    refused(tmp_path, arrays, metadata, message=f"{name} is missing")


ARRAYS = {
    "a weight that is missing": ("model.head.bias", None, "model.head.bias is missing"),
    "a weight of another shape": ("model.head.bias", np.ones(3, "f4"), "expected an array of float32"),
    "a weight of another type": ("model.head.bias", np.ones(TOKENS), "model.head.bias is an array of"),
    "a weight too many": ("model.more", np.ones(3, "f4"), "model.more is unknown"),
    "a buffer that is missing": ("optimiser.exp_avg.head.bias", None, "exp_avg.head.bias is missing"),
    "a complex buffer": (
        "optimiser.exp_avg.head.bias", np.ones(TOKENS, "c8"), "an array of complex64 with shape"),
    "a buffer of flags": ("optimiser.exp_avg.head.bias", np.ones(TOKENS, bool), "an array of bool"),
    "half a state": ("carry.1", None, "carry.1 is missing"),
    "a state of other rows": ("carry.0", np.ones((1, 3, 5), "f4"), "carry.0 is an array of float32"),
    "a state of another type": ("carry.0", np.ones((1, 4, 5)), "carry.0 is an array of float64"),
    "a third state": ("carry.2", np.ones((1, 4, 5), "f4"), "carry.2 is unknown"),
    "a state without a number": ("carry.x", np.ones((1, 4, 5), "f4"), "carry.x is unknown"),
    "fewer losses": ("losses", np.ones(3), "losses is an array of float64 with shape"),
    "losses of another type": ("losses", np.ones(4, "i8"), "losses is an array of int64"),
    "no losses": ("losses", None, "losses is missing"),
    "losses that are none": ("losses", np.array([1, np.nan, np.inf, 1]), "expected finite losses, or NaN"),
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_wrong_arrays_are_refused(tmp_path, written, name):
    arrays, metadata = written
    key, array, message = ARRAYS[name]
    arrays = {k: a for k, a in (arrays | {key: array}).items() if a is not None}
    refused(tmp_path, arrays, metadata, message=message)


def test_a_checkpoint_of_another_run_is_refused_and_changes_nothing(tmp_path, written):
    arrays, metadata = written
    for fresh, message in (
        (make("gru", seed=3), "its model is"),
        (make(seed=3, optimiser=AdamW), "its optimiser is Adam, this run's is AdamW"),
        (make(seed=3, windows=list(WINDOWS)[1:]), "its number of windows is 14, this run's is 13"),
    ):
        refused(tmp_path, arrays, metadata, ValueError, message, fresh)


def test_a_missing_carried_state_is_refused_within_a_round(tmp_path, written):
    arrays, metadata = written
    assert [k for k in arrays if k.startswith("carry.")] == ["carry.0", "carry.1"]
    bare = {k: a for k, a in arrays.items() if not k.startswith("carry.")}
    for one in (metadata, metadata | {"format": FORMATS[0]}):
        refused(tmp_path, bare, one, message="the carried state is missing, after update 4, at window")
    path = tmp_path / "fresh"
    make().fit(0, progress=False, checkpoint=path)  # a run that has not begun has none
    assert make(seed=3).resume(path).updates == 0
    alone = make(seed=3)
    alone.carry = False
    save_crafted(path, bare, metadata | {"carry": False})
    assert alone.resume(path).updates == 4


def test_a_checkpoint_of_a_run_with_another_carry_is_refused(tmp_path, written):
    arrays, metadata = written
    fresh = make(seed=3)
    fresh.carry = False
    refused(tmp_path, arrays, metadata, ValueError, "its carry is True, this run's is False", fresh)


@pytest.mark.parametrize(
    ("buffer", "value", "message"),
    [
        ("exp_avg", math.nan, "with values that are not finite"),
        ("exp_avg_sq", math.inf, "with values that are not finite"),
        ("exp_avg_sq", -1e-9, "with values below 0, expected means of squares"),
    ],
)
def test_buffers_that_would_make_weights_nan_are_refused(tmp_path, written, buffer, value, message):
    arrays, metadata = written
    name = f"optimiser.{buffer}.head.bias"
    changed = arrays[name].copy()
    changed[-1] = value
    refused(tmp_path, arrays | {name: changed}, metadata,
            message=f"optimiser: state: got {buffer}.head.bias {message}")  # fmt: skip


def test_a_checkpoint_with_another_momentum_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    make(optimiser=SGD, momentum=0.9).fit(2, progress=False, checkpoint=path)
    refused(tmp_path, *load_arrays(path), message="optimiser.momentum.embedding.weight is unknown",
            fresh=make(optimiser=SGD, seed=3))  # fmt: skip
    arrays, metadata = load_arrays(path)
    arrays = {name: a for name, a in arrays.items() if not name.startswith("optimiser.")}
    refused(tmp_path, arrays, metadata, message="optimiser: state: got momentum=0.9, expected 0",
            fresh=make(optimiser=SGD, seed=3))  # fmt: skip


def test_randomly_damaged_checkpoints_are_refused_or_work(tmp_path, written, rng):
    path, outcomes = tmp_path / "crafted.safetensors", {"read": 0, "refused": 0}
    trainer = make(seed=3).fit(2, progress=False)
    start = time.process_time()
    while sum(outcomes.values()) < 400:
        arrays, metadata = written
        if rng.random() < 0.7:
            metadata, what = changed(metadata, rng)
        else:
            arrays, what = changed_arrays(arrays, rng)
        save_crafted(path, arrays, metadata)
        before = everything(trainer)
        for reader in (load_model, trainer.resume):
            result = read(reader, path, what)
            outcomes["refused" if result is None else "read"] += 1
        if result is None:
            same_bits(everything(trainer)[0], before[0])
            assert everything(trainer)[1] == before[1], what
        else:
            trainer = make(seed=3).fit(2, progress=False)
    assert outcomes["refused"] > 200
    assert time.process_time() - start < 60


# -- sizes ------------------------------------------------------------------------------


def test_declared_sizes_without_weights_allocate_nothing(tmp_path, written):
    arrays, metadata = written
    layer = {"hidden_size": 8000, "input_size": 10**7, "num_layers": 10**9}
    for name, value in layer.items():
        path = tmp_path / f"{name}.safetensors"
        save_crafted(path, arrays, with_change(metadata, **{f"model__layer__{name}": value}))
        start = time.process_time()
        assert read(load_model, path, name, most=2**20) is None
        assert time.process_time() - start < 1
    for name in ("num_embeddings", "outputs"):
        path = tmp_path / f"{name}.safetensors"
        save_crafted(path, arrays, with_change(metadata, **{f"model__{name}": 10**8}))
        assert read(load_model, path, name, most=2**20) is None


def test_large_sizes_with_empty_weights_are_refused(tmp_path, written):
    """A matrix without rows can have any number of columns and takes no bytes."""
    arrays, metadata = written
    arrays = {name: a for name, a in arrays.items() if not name.startswith("model.")}
    H = 30_000
    arrays |= {
        "model.embedding.weight": np.zeros((TOKENS, 3), "f4"),
        "model.layer.weight_ih_l0": np.zeros((0, 3), "f4"),
        "model.layer.weight_hh_l0": np.zeros((0, H), "f4"),
        "model.head.weight": np.zeros((TOKENS, H), "f4"),
    }
    path = tmp_path / "crafted.safetensors"
    save_crafted(path, arrays, with_change(metadata, model__layer__hidden_size=H))
    assert read(load_model, path, "no rows", most=2**25) is None


def test_loading_a_checkpoint_has_a_bounded_peak_of_memory(tmp_path, written):
    """The memory of the process is measured, not only that of Python's allocator."""
    arrays, metadata = written
    path = tmp_path / "crafted.safetensors"
    save_crafted(path, arrays, with_change(metadata, model__layer__hidden_size=8000))
    assert path.stat().st_size < 20_000
    out = run_python(f"""
import resource
from rnncore.train import load_model
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    load_model({str(path)!r})
except ValueError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
""")
    assert int(out.stdout) < 50_000  # kB


# -- data -------------------------------------------------------------------------------


def test_another_text_with_as_many_windows_is_refused(tmp_path, written):
    arrays, metadata = written
    other = batches(Corpus(TEXT.replace("mat", "tam", 1)).train, 4, 25)
    assert len(other) == len(WINDOWS)
    refused(tmp_path, arrays, metadata, ValueError,
            r"its training data is another \(digest [0-9a-f]{12}…, this run's is [0-9a-f]{12}…\): pass",
            make(seed=3, windows=other))  # fmt: skip


def test_the_same_data_in_another_container_is_the_same(tmp_path):
    path = tmp_path / "run.safetensors"
    whole = make().fit(6, progress=False)
    make().fit(3, progress=False, checkpoint=path)
    resumed = make(seed=9, windows=list(WINDOWS), carry=True).resume(path).fit(3, progress=False)
    same_bits(resumed.model.state_dict(), whole.model.state_dict())


def test_windows_of_tensors_train_as_those_of_arrays(tmp_path):
    path, lengths = tmp_path / "run.safetensors", np.array([25, 3, 0, 17])
    windows = [(x, targets, lengths) for x, targets in WINDOWS]
    tensors = [tuple(map(torch.tensor, window)) for window in windows]
    trained = make(windows=tensors).fit(3, progress=False, checkpoint=path)
    same_bits(trained.model.state_dict(), make(windows=windows).fit(3, progress=False).model.state_dict())
    assert make(seed=9, windows=windows).resume(path).updates == 3
    assert evaluate(trained.model, tensors) == evaluate(trained.model, windows)


def test_checkpoints_of_format_1_are_read(tmp_path, written):
    arrays, metadata = written
    old = {k: v for k, v in metadata.items() if k != "data"} | {"format": FORMATS[0]}
    path = tmp_path / "old.safetensors"
    save_crafted(path, arrays, old)
    assert make(seed=3).resume(path).updates == 4
    save_crafted(path, arrays, old | {"data": 3, "carry": None})  # of no meaning in that format
    assert make(seed=3).resume(path).updates == 4
    save_crafted(path, arrays, metadata | {"format": "rnncore checkpoint 9"})
    with pytest.raises(DamagedFileError, match="is not a checkpoint of this version"):
        make().resume(path)


class Lazy:
    """Windows that are computed when they are asked for."""

    def __init__(self, count, window):
        self.count, self.window, self.asked = count, window, 0

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        self.asked += 1
        return self.window(i)


def test_fingerprints_differ_exactly_where_the_data_do():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 6, 2, 3)).astype("f4")
    y, lengths = rng.normal(size=(40, 6, 2, 1)), rng.integers(0, 7, size=(40, 2))
    windows = [(x[i], y[i], lengths[i]) for i in range(40)]
    own = fingerprint(windows)
    assert own == fingerprint([tuple(part.copy() for part in window) for window in windows])
    assert own == fingerprint([tuple(map(torch.tensor, window)) for window in windows])
    assert own == fingerprint(tuple((a.tolist() and np.asfortranarray(a), b, c) for a, b, c in windows))
    for k in (0, 17, 39):
        for part in range(3):
            changed = [list(window) for window in windows]
            changed[k][part] = changed[k][part].copy()
            changed[k][part].flat[-1] += 1
            assert fingerprint(changed) != own
    assert fingerprint(windows[::-1]) != own
    assert fingerprint(windows[:-1]) != own
    assert fingerprint([(a.astype("f8"), b, c) for a, b, c in windows]) != own
    assert fingerprint([(a[:0], b, None) for a, b, c in windows]) != own

    lazy = Lazy(10**6, lambda i: (np.full(3, i), np.zeros(2)))
    assert fingerprint(lazy) is None
    assert lazy.asked == 0


def test_writing_a_checkpoint_does_not_read_computed_windows(tmp_path):
    """With or without checkpoints, the run reads each window once."""

    def run(**options):
        rng = np.random.default_rng(0)

        def window(i):
            x = rng.integers(0, TOKENS, size=(9, 4))
            return x[:-1], x[1:]

        windows = Lazy(5, window)
        trainer = make(windows=windows).fit(7, progress=False, **options)
        assert windows.asked == 7
        return trainer.losses

    assert run() == run(checkpoint=tmp_path / "a", every=2)


def test_windows_changed_between_two_fits_are_other_data(tmp_path):
    """The file has the digest of the data at the time when it was written."""
    path, windows = tmp_path / "run.safetensors", [tuple(map(np.array, w)) for w in WINDOWS]
    trainer = make(windows=windows).fit(2, progress=False, checkpoint=path)
    windows[3][0][0, 0] = (windows[3][0][0, 0] + 1) % TOKENS
    with pytest.raises(ValueError, match="its training data is another"):
        make(windows=windows).resume(path)
    trainer.fit(2, progress=False, checkpoint=path)
    assert make(windows=windows).resume(path).updates == 4
    with pytest.raises(ValueError, match="its training data is another"):
        make().resume(path)


def test_batches_cannot_be_changed():
    windows = batches(np.arange(40), 2, 3)
    with pytest.raises(ValueError, match="read-only"):
        windows[0][0][0, 0] = 7
    for name in ("steps", "batch_size"):
        with pytest.raises(AttributeError, match=f"{name}: got 4.*make another one"):
            setattr(windows, name, 4)


def test_runs_on_random_windows_can_be_resumed(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "run.safetensors"

    def window(i):
        x = rng.integers(0, TOKENS, size=(9, 4))
        return x[:-1], x[1:]

    make(windows=Lazy(5, window)).fit(3, progress=False, checkpoint=path)
    assert make(windows=Lazy(5, window)).resume(path).updates == 3


# -- arguments -----------------------------------------------------------------------------


@pytest.mark.parametrize("none", [[], (), np.zeros((0, 2))])
def test_an_empty_sequence_of_batches_is_refused(none):
    with pytest.raises(ValueError, match="batches: got none, expected at least one"):
        make(windows=none)
    trainer = make()
    with pytest.raises(ValueError, match="valid: got none, expected at least one"):
        trainer.valid = none
    with pytest.raises(ValueError, match="batches: got none"):
        trainer.batches = none
    with pytest.raises(ValueError, match="batches: got no step that counts"):
        evaluate(trainer.model, none)


def test_iterators_as_batches_are_refused():
    with pytest.raises(TypeError, match="batches: got generator, expected a sequence"):
        make(windows=(window for window in WINDOWS))


X = np.zeros((3, 4), int)
ODD_WINDOWS = {
    "one part": ([(X,)], r"\[0\]: got a tuple of 1"),
    "four parts": (((X, X, None, None),), r"\[0\]: got a tuple of 4"),
    "an array": ([X], r"\[0\]: got a ndarray"),
    "None": ([None], r"\[0\]: got a NoneType"),
    "a text": ("abc", ": got str"),
    "bytes": (b"abc", ": got bytes"),
    "a dict": ({0: (X, X)}, ": got dict"),
}


@pytest.mark.parametrize("name", ODD_WINDOWS)
def test_batches_that_are_not_windows_are_refused(name):
    windows, message = ODD_WINDOWS[name]
    expected = r", expected .*\(x, targets\) or \(x, targets, lengths\)"
    with pytest.raises(TypeError, match=f"^batches{message}{expected}"):
        make(windows=windows)
    trainer = make()
    with pytest.raises(TypeError, match=f"^valid{message}{expected}"):
        trainer.valid = windows


@pytest.mark.parametrize("wrong", [(X,), X, None, "ab"])
def test_a_later_batch_that_is_not_a_window_is_named(wrong):
    for windows in ([WINDOWS[0], wrong], Lazy(2, [WINDOWS[0], wrong].__getitem__)):
        trainer = make(windows=windows)
        with pytest.raises(TypeError, match=r"^batches\[1\]: got a .*, expected \(x, targets\) or"):
            trainer.fit(2, progress=False)
        assert trainer.updates == 1
        with pytest.raises(TypeError, match=r"^batches\[1\]: got a .*, expected \(x, targets\) or"):
            evaluate(trainer.model, windows)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"carry": "no"}, "carry: got 'no', expected True or False"),
        ({"callbacks": [print, 3]}, r"callbacks: got \[<built-in function print>, 3\], expected a list of"),
        ({"callbacks": 3}, "callbacks: got 3, expected a list of functions"),
        ({"callbacks": print}, "callbacks: got <built-in function print>, expected a list"),
    ],
)
def test_wrong_options_are_refused_by_the_constructor(option, message):
    trainer = make()
    with pytest.raises(TypeError, match=message):
        Trainer(trainer.model, trainer.optimiser, WINDOWS, **option)


@pytest.mark.parametrize("norm", [0, 0.0, -1.0, math.nan, "1", True, 1j, 10**400])
def test_a_max_norm_of_0_or_less_is_refused(norm):
    trainer = make()
    with pytest.raises(ValueError, match=r"max_norm: got .*, expected a number above 0, or None"):
        Trainer(trainer.model, trainer.optimiser, WINDOWS, max_norm=norm)
    with pytest.raises(ValueError, match="max_norm: got"):
        trainer.max_norm = norm
    assert trainer.max_norm == 1.0
    for fine in (None, math.inf, 0.5, 2):
        trainer.max_norm = fine


@pytest.mark.parametrize(
    ("updates", "options", "message"),
    [
        (-1, {}, "updates: got -1"),
        (1.5, {}, "updates: got 1.5"),
        (True, {}, "updates: got True"),
        (2, {"every": 0}, "every: got 0"),
        (2, {"every": -3}, "every: got -3"),
        (2, {"every": 0.5}, "every: got 0.5"),
    ],
)
def test_wrong_counts_are_refused_by_fit(tmp_path, updates, options, message):
    trainer = make()
    with pytest.raises(ValueError, match=message):
        trainer.fit(updates, progress=False, checkpoint=tmp_path / "a", **options)
    assert trainer.updates == 0
    trainer.fit(0, progress=False, checkpoint=tmp_path / "a")
    assert is_checkpoint(tmp_path / "a")


def test_a_checkpoint_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    trainer = make()
    for place in (tmp_path, tmp_path / "no" / "where"):
        with pytest.raises(OSError, match=str(place)):
            trainer.fit(2, progress=False, checkpoint=place)
    assert trainer.updates == 0


@pytest.mark.parametrize("notes", [np.int64(3), {1, 2}, {"a": 1, 2: 3}, deep(99)])
def test_notes_that_a_file_cannot_hold_are_refused_before_the_work(tmp_path, notes):
    path = tmp_path / "run.safetensors"
    trainer = make().fit(1, progress=False, checkpoint=path, notes=deep(98))
    before = path.read_bytes()
    for act in (
        lambda: trainer.fit(2, progress=False, checkpoint=path, notes=notes),
        lambda: trainer.save(path, notes),
    ):
        with pytest.raises((TypeError, ValueError), match="notes: got a value that a file cannot hold"):
            act()
    assert trainer.updates == 1
    assert path.read_bytes() == before
    assert load_model(path)[1]["notes"] == deep(98)


def test_every_without_a_checkpoint_is_refused():
    trainer = make()
    with pytest.raises(IsADirectoryError):
        trainer.fit(2, progress=False, checkpoint="")
    with pytest.raises(ValueError, match="every: got 2 without checkpoint, expected a path to save to"):
        trainer.fit(2, progress=False, every=2)
    assert trainer.updates == 0


def test_replacing_a_checkpoint_keeps_the_mode_of_the_file(tmp_path):
    path = tmp_path / "run.safetensors"
    trainer = make().fit(1, progress=False, checkpoint=path)
    path.chmod(0o600)
    trainer.fit(1, progress=False, checkpoint=path, every=1)
    assert path.stat().st_mode & 0o777 == 0o600


def test_is_checkpoint_recognises_checkpoints_only(tmp_path, written):
    for name, content in {"empty": b"", "text": b"a text", "torn": b"\x08\0\0\0\0\0\0\0{"}.items():
        (tmp_path / name).write_bytes(content)
        assert not is_checkpoint(tmp_path / name)
    save_file({"a": np.ones(3)}, tmp_path / "foreign")
    save_crafted(tmp_path / "arrays", {"a": np.ones(3)}, {"format": "another"})
    save_crafted(tmp_path / "ours", *written)
    found = {path.name for path in tmp_path.iterdir() if is_checkpoint(path)}
    assert found == {"ours"}
    assert not is_checkpoint(tmp_path)
    assert not is_checkpoint(tmp_path / "nowhere")
