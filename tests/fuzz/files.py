"""Damaged and forged files: a correct result or a clear refusal, in two seconds and within a bound of memory.

A file is written, then damaged in one of two ways: as bytes (cut short, bits flipped, parts exchanged), which the
checksums must notice; or as a whole that somebody forged, with the checksums made right again, where names, shapes,
numbers and the structure of the JSON are something else.
"""

import json
import struct
import sys
import tempfile
import time
import warnings
import zlib
from collections import defaultdict
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import numpy as np
from crafted import save_crafted
from rnncore.viz.recorder import runfile
from support import make, same_bits

from fuzz.case import Draw, limit_memory
from fuzz.models import REAL, SYMBOLS, draw_model, draw_symbols, fit
from rnncore import data, models, nn, optim, train, viz
from rnncore.io.safetensors import load_arrays, save_arrays

SECONDS = 2
# What a reader may raise for a file that it refuses: OSError, or ValueError, of which DamagedFileError and
# TextError are kinds. A trainer raises FloatingPointError for losses that are not finite.
REFUSED = (OSError, ValueError, FloatingPointError)


# ---- files to damage: how each is written, and everything that reads it ---------------------------------------------

def new_trainer():
    model = nn.sequence_model("lstm", 4, hidden_size=3, embedding_size=2, dropout=0.5, num_layers=2, seed=0)
    window = np.arange(10).reshape(5, 2) % 4
    return train.Trainer(model, optim.Adam(model), [(window[:-1], window[1:])])


def write_checkpoint(path):
    new_trainer().fit(2, progress=False).save(path, {"notes": [1, "a"]})


def read_checkpoint(path):
    train.read_checkpoint(path)
    model, _ = train.load_model(path)
    model(np.zeros((2, 1), int))
    trainer = new_trainer()
    before = trainer.model.state_dict()
    try:
        trainer.resume(path)
    except REFUSED:
        same_bits(trainer.model.state_dict(), before, "weights after resume was refused")
        raise
    trainer.fit(1, progress=False)


def model_writer(kind, real=False):
    def write(path):
        draw = Draw(kind, 3, seen=defaultdict(dict))
        sequences = [draw.normal(30, 2).cumsum(0)] if real else draw_symbols(draw)[0]
        if kind == "SequenceClassifier":
            model = fit(models.SequenceClassifier("gru", 3, epochs=1, seed=0), ["ab", "ba"] * 10, ["x", "y"] * 10)
        else:
            model = fit(draw_model(draw, real, kind), sequences)
        model.save(path)

    return write


def read_model(path):
    model = models.load(path)
    type(model).load(path)
    if not hasattr(model, "kind_"):  # a chain whose parameters were set and that was not fitted
        return
    sequence = {"text": "ab", "ids": [0, 1], "real": np.zeros((2, 2))}[model.kind_]
    if isinstance(model, models.SequenceClassifier):
        model.predict([sequence])
    else:
        model.log_prob(sequence)
        model.predict(sequence)
        model.sample(2, sequence, seed=0)


def write_arrays(path):
    save_arrays(path, {"a": np.eye(3), "b": np.arange(4), "c": np.zeros((0, 2), "float32")}, {"x": [1, {"y": None}]})


def write_run(path):
    layer = make("lstm", 2, 3)
    with viz.Recorder(path, every=1, names="*", gradients="*.h", weights=True, steps=2, measures={}) as recorder:
        for update in range(3):
            tape = layer.record(np.ones((6, 2, 2)), lengths=[6, 4])
            recorder.record(tape, tape.backward(np.ones((6, 2, 3))), loss=1.0 / (1 + update), note="é")


def read_run(path):
    with viz.Run(path, upto_damage=False) as run:
        for name in run.series_names:
            run.series(name)
        for frame in run:
            for mapping, names in ((frame, frame.names()), (frame.grad, frame.grad), (frame.weights, frame.weights)):
                assert all(isinstance(mapping[name], np.ndarray) for name in names)
            _ = repr(frame), frame.T, frame.B, frame.mode, frame.lengths, frame.dtype, frame.units
        run.verify()
    with suppress(*REFUSED), viz.Recorder(path, resume=True):
        pass


def write_text(path):
    path.write_text("the cat sät on the mat\n" * 3, encoding="utf-8")


KINDS = {
    "arrays": (write_arrays, load_arrays),
    "checkpoint": (write_checkpoint, read_checkpoint),
    "run": (write_run, read_run),
    "text": (write_text, data.Corpus.from_file),
}
KINDS |= {kind: (model_writer(kind), read_model) for kind in (*SYMBOLS, "SequenceClassifier")}
KINDS |= {f"{kind}, real": (model_writer(kind, real=True), read_model) for kind in REAL}


@cache
def content(kind):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        KINDS[kind][0](path)
        return path.read_bytes()


# ---- damage to bytes ------------------------------------------------------------------------------------------------

def damaged(draw, raw):
    how = draw.one_of("damage", ("cut", "flip", "flip early", "splice", "zero", "insert", "append"))
    raw, at = bytearray(raw), draw.size("at", 0, len(raw) - 1)
    if how == "cut":
        del raw[at:]
    elif how.startswith("flip"):
        most = min(len(raw), 200) if how == "flip early" else len(raw)
        for _ in range(draw.size("flips", 1, 3)):
            raw[draw.size("byte", 0, most - 1)] ^= 1 << draw.size("bit", 0, 7)
    elif how == "splice":
        start, length = draw.size("from", 0, len(raw) - 1), draw.size("length", 1, 64)
        raw[at : at + length] = raw[start : start + length]
    elif how == "zero":
        raw[at : at + draw.size("length", 1, 64)] = bytes(16)
    elif how == "insert":
        raw[at:at] = draw.rng.bytes(draw.size("length", 1, 16))
    else:
        raw += draw.rng.bytes(draw.size("length", 1, 80))
    return bytes(raw)


# ---- forgery: the structure is changed, and the checksums are made right --------------------------------------------

NUMBERS = (-1, 0, 1, 3, 8000, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf"))
ODD = (*NUMBERS, None, True, "", "a", "é" * 50, "lstm", "float64", [], [[]], {}, {"array": "nowhere"},
       {"dict": [[1, 2]]}, {"list": {}}, {"x": 1, "y": 2})
SHAPES = ((0,), (1,), (2, 3), (1, 1, 1), (5000,), (3, 0))


def places(value, path=()):
    """Every place within a JSON value, as a path of keys and indices."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inside:
        yield from places(part, (*path, key))


def forged_json(draw, value):
    """A JSON value that differs in one place: a number, something odd, nothing, another part of it, or very deep."""
    whole = {"": json.loads(json.dumps(value))}
    found = list(places(whole))[1:]
    how = draw.one_of("json", ("number", "larger", "odd", "odd", "gone", "renamed", "elsewhere", "deep"))
    numbers = [path for path in found if type(at(whole, path)) in (int, float)]
    *before, last = draw.pick("place", numbers if how in ("number", "larger") and numbers else found)
    parent = at(whole, before)
    if how == "number":
        parent[last] = draw.pick("number", NUMBERS)
    elif how == "larger" and numbers:
        parent[last] *= 4000
    elif how == "gone":
        del parent[last]
    elif how == "renamed" and isinstance(parent, dict):
        parent["other"] = parent.pop(last)
    elif how == "elsewhere":
        parent[last] = json.loads(json.dumps(at(whole, draw.pick("copied", found))))
    elif how == "deep":
        parent[last] = nested(draw.one_of("depth", (10, 3000)))
    else:
        parent[last] = draw.pick("odd", ODD)
    return whole.get("")


def at(value, path):
    for key in path:
        value = value[key]
    return value


def nested(depth):
    value = []
    for _ in range(depth // 2):
        value = {"list": [value]}
    return value


@contextmanager
def deep_json():
    """A deeply nested JSON text, made without recursion: Python's limit is meant to be met by the reader."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10**5)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def forged_arrays(draw, arrays):
    """One of the arrays gone, renamed, of another shape or type, or with odd values."""
    arrays, name = dict(arrays), draw.pick("array", arrays)
    a, how = arrays[name], draw.one_of("array is", ("gone", "renamed", "shape", "type", "values", "scalar", "swapped"))
    if how in ("gone", "renamed"):
        del arrays[name]
    if how == "renamed":
        arrays[draw.pick("new name", ("", "a/../b", "é", name + ".", name.upper()))] = a
    elif how == "shape":
        arrays[name] = np.resize(a, draw.pick("shape", SHAPES)) if a.size else np.ones(3)
    elif how == "type":
        arrays[name] = np.nan_to_num(a).astype(draw.one_of("type", ("float16", "float64", "int8", "uint64", "bool")))
    elif how == "values":
        arrays[name] = a.copy()
        if a.size:
            kinds = (np.nan, np.inf, -1e30, 1e9, -1, 0) if a.dtype.kind == "f" else (-1, 10**6, 0)
            arrays[name].flat[draw.size("element", 0, a.size - 1)] = draw.pick("value", kinds)
    elif how == "scalar":
        arrays[name] = np.array(a.ravel()[0] if a.size else 1.0)
    elif how == "swapped":
        other = draw.pick("other", arrays)
        arrays[name], arrays[other] = arrays[other], a
    return arrays


def forge_tensors(draw, path, raw):
    """A safetensors file in our format, with other content."""
    path.write_bytes(raw)
    arrays, value = load_arrays(path)
    if draw.flag("forge arrays") and arrays:
        arrays = forged_arrays(draw, arrays)
    else:
        value = forged_json(draw, value)
    save_crafted(path, arrays, value)


def forge_header(draw, path, raw):
    """The safetensors header itself: types that numpy lacks, sizes that do not fit, text that is not JSON."""
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    if draw.flag("odd type"):
        name = sorted(set(header) - {"__metadata__"})[0]
        header[name]["dtype"] = draw.one_of("stored type", ("BF16", "F8_E4M3", "F8_E5M2", "I4", "F64", ""))
    else:
        header = forged_json(draw, header)
    text = json.dumps(header).encode()
    if draw.flag("no metadata of ours") and isinstance(header, dict):
        text = json.dumps({k: v for k, v in header.items() if k != "__metadata__"}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])


def forge_run(draw, path, raw):
    """A run file whose last frame has another header, with correct checksums."""
    path.write_bytes(raw)
    with viz.Run(path) as run:
        offset, length = run.places[-1]
    head = struct.Struct("<4sIQIII")
    _, text_length, body_length, _, body_sum, _ = head.unpack(raw[offset : offset + head.size])
    body = raw[offset + head.size + text_length : offset + length]
    header = json.loads(raw[offset + head.size : offset + head.size + text_length])
    text = json.dumps(forged_json(draw, header)).encode()
    new = head.pack(b"FRM\n", len(text), body_length, zlib.crc32(text), body_sum, 0)[:-4]
    path.write_bytes(raw[:offset] + new + struct.pack("<I", zlib.crc32(new)) + text + body)
    assert raw[: len(runfile.MAGIC)] == runfile.MAGIC


def forge(draw, kind, path, raw):
    if kind == "run":
        forge_run(draw, path, raw)
    elif draw.one_of("forged", ("content", "content", "header")) == "content":
        forge_tensors(draw, path, raw)
    else:
        forge_header(draw, path, raw)


def files(draw):
    """One damaged or forged file, and its readers."""
    limit_memory()
    kind = draw.in_turn("file", KINDS)
    raw, read = content(kind), KINDS[kind][1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        if kind == "text" or draw.one_of("how", ("damaged", "forged", "forged")) == "damaged":
            path.write_bytes(damaged(draw, raw))
        else:
            with deep_json():
                forge(draw, kind, path, raw)
        begun = time.process_time()
        try:
            # odd values may give a warning or be used as they are; the readers check types, names and shapes
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read(path)
        except REFUSED as error:
            assert path.read_bytes() != raw, f"a file that nobody changed was refused: {error}"
            assert not isinstance(error, UnicodeError), f"a raw {type(error).__name__}: {error}"
            assert names_a_place(error, path), f"the message names neither the file nor what in it: {error!r}"
        taken = time.process_time() - begun
        assert taken < SECONDS, f"it took {taken:.1f} s"


def names_a_place(error, path):
    """Whether a message names a file, tensor or setting; those of numpy or Python itself do not."""
    text = str(error)
    return str(path) in text or isinstance(error, OSError) or ": " in text
