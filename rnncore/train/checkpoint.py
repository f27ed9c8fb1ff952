"""Checkpoints: weights, optimiser, position in the data, carried state and dropout counters of a run, in one file.

A run that is resumed from its checkpoint has the same bits as an uninterrupted one. The file also has a digest of the
data (see `rnncore.data.fingerprint`). The whole file is checked before any of it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from rnncore.data import fingerprint
from rnncore.data.window import as_window
from rnncore.io.fields import DamagedFileError, Field, named_errors
from rnncore.io.safetensors import as_json, load_arrays, load_metadata, save_arrays
from rnncore.module import Module, prefixed
from rnncore.nn import SequenceModel
from rnncore.nn.configuration import read_config
from rnncore.recurrent.dropout import Masks
from rnncore.recurrent.layout import Layout, parts_of
from rnncore.train.carry import carry_of_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rnncore._typing import Array, PathLike, State
    from rnncore.train.loop import Trainer

# Format 2 adds a digest of the data, and whether the state was carried (null: where a window's ``fresh`` says so).
FORMATS = ("rnncore checkpoint 1", "rnncore checkpoint 2")


def write_checkpoint(trainer: Trainer, path: PathLike, notes: object = None) -> None:
    """See `Trainer.save`."""
    check_notes(notes)
    optimiser = trainer.optimiser.state_dict()
    arrays = prefixed("model", trainer.model.state_dict())
    arrays |= prefixed("optimiser", optimiser.pop("buffers"))
    arrays |= {f"carry.{i}": array for i, array in enumerate(_as_tuple(trainer.state))}
    arrays["losses"] = np.array(trainer.losses, np.float64)
    metadata = {
        "format": FORMATS[-1],
        "model": trainer.model.config,
        "optimiser": optimiser | {"kind": type(trainer.optimiser).__name__},
        "updates": trainer.updates,
        "windows": len(trainer.batches),
        "carry": carry_of_run(trainer.model, trainer.batches, trainer.carry),
        "data": fingerprint(trainer.batches),
        "masks": [[int(masks.seed), masks.passes] for masks in _masks(trainer.model)],
        "notes": notes,
    }
    epoch, position = divmod(trainer.updates, len(trainer.batches))
    if trainer.position != position:            # other batches were set during the run
        metadata["position"] = trainer.position
    if trainer.epoch != epoch:
        metadata["epoch"] = trainer.epoch
    save_arrays(path, arrays, metadata)


def take_checkpoint(trainer: Trainer, path: PathLike) -> None:
    """See `Trainer.resume`."""
    arrays, metadata = read_checkpoint(path)
    head = Field(metadata, path)
    written: dict[str, tuple[Any, Any]] = {
        "model": (read_config(head["model"]), read_config(Field(trainer.model.config, "model"))),
        "optimiser": (metadata["optimiser"]["kind"], type(trainer.optimiser).__name__),
        "number of windows": (metadata["windows"], len(trainer.batches)),
    }
    for what, (got, expected) in written.items():
        if got != expected:
            raise ValueError(f"{path}: its {what} is {got}, this run's is {expected}")
    if metadata["format"] != FORMATS[0]:
        _check_data(trainer, path, metadata["data"])
        carry = carry_of_run(trainer.model, trainer.batches, trainer.carry)
        if metadata["carry"] != carry:
            raise ValueError(
                f"{path}: its carry is {metadata['carry']}, this run's is {carry}: construct the Trainer with "
                f"carry={metadata['carry']} and with batches like those that the run was made with"
            )
    weights = _fitting(path, "model", arrays, trainer.model.parameters)
    buffers = _fitting(path, "optimiser", arrays, trainer.optimiser.buffers)
    with named_errors(head["optimiser"]):
        options, steps = metadata["optimiser"]["options"], metadata["optimiser"]["steps"]
        state = trainer.optimiser._checked_state(
            {"options": options, "steps": steps, "buffers": buffers}
        )
    updates, windows = metadata["updates"], metadata["windows"]
    position = head["position"].whole(0, windows - 1) if "position" in head else updates % windows
    epoch = head["epoch"].whole() if "epoch" in head else updates // windows
    carried = _fitting_carry(trainer, path, arrays, updates, position)
    own_masks = _masks(trainer.model)
    pairs = [pair.items(2) for pair in head["masks"].items(len(own_masks))]
    masks = [(seed.whole(0, 2**64 - 1), passes.whole()) for seed, passes in pairs]

    trainer.model.load_state_dict(weights)
    trainer.optimiser._take(*state)
    trainer.state = None if not carried else carried if len(carried) > 1 else carried[0]
    trainer.updates, trainer.position, trainer.epoch = updates, position, epoch
    trainer.losses = arrays["losses"].tolist()
    for own, (seed, passes) in zip(own_masks, masks, strict=True):
        own.seed, own.passes = np.uint64(seed), passes


def _check_data(trainer: Trainer, path: PathLike, written: str | None) -> None:
    own = None if written is None else fingerprint(trainer.batches)
    if own and written and own != written:
        raise ValueError(
            f"{path}: its training data is another (digest {written[:12]}…, this run's is "
            f"{own[:12]}…): pass the batches that the run was made with"
        )


def _fitting_carry(
    trainer: Trainer, path: PathLike, arrays: Mapping[str, Array], updates: int, position: int
) -> tuple[Array, ...]:
    """The state after the last window, checked against the state that the model has for a window of that shape."""
    if not _under("carry", arrays):
        if position and carry_of_run(trainer.model, trainer.batches, trainer.carry):
            raise DamagedFileError(
                f"{path}: the carried state is missing, after update {updates}, at window {position} of "
                f"{len(trainer.batches)}"
            )
        return ()
    last = (position - 1) % len(trainer.batches)
    x = np.asarray(as_window(trainer.batches[last], f"batches[{last}]").x)
    if trainer.model.embedding is not None:
        x = x[..., None]
    layout = Layout.of(x, trainer.model.layer.batch_first)
    nothing = layout.as_given(layout.time_major(x)[:0])
    if trainer.model.embedding is not None:
        nothing = nothing[..., 0]
    states = _as_tuple(trainer.model(nothing)[1])
    own = {str(i): state for i, state in enumerate(states)}
    return tuple(_fitting(path, "carry", arrays, own).values())


def read_checkpoint(path: PathLike) -> tuple[dict[str, Array], dict[str, Any]]:
    """``(arrays, metadata)`` of a checkpoint; any other file is refused.

    This checks the file by itself; `Trainer.resume` checks that it fits a run.
    """
    arrays, metadata = load_arrays(path)
    if not _is_ours(metadata):
        raise DamagedFileError(f"{path} is not a checkpoint of this version of rnncore")
    head = Field(metadata, path)
    read_config(head["model"])
    optimiser = head["optimiser"]
    optimiser["kind"].text()
    optimiser["options"].keys()
    optimiser["steps"].whole()
    head["windows"].whole(1)
    head["masks"].items()
    head.require(["notes"])  # anything
    if metadata["format"] != FORMATS[0]:
        if head["carry"].value is not None:
            head["carry"].flag()
        if head["data"].value is not None:
            head["data"].text()
    losses = Field(arrays, path)["losses"]
    if np.isinf(losses.array((head["updates"].whole(),), np.float64, finite=False)).any():
        raise losses.refuse("finite losses, or NaN for windows in which nothing counted")
    return arrays, metadata


def is_checkpoint(path: PathLike) -> bool:
    """Whether a file declares that it is a checkpoint of rnncore; the rest of it is not read."""
    try:
        return _is_ours(load_metadata(path))
    except (OSError, DamagedFileError):
        return False


def _is_ours(metadata: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(metadata, dict) and metadata.get("format") in FORMATS


def load_model(path: PathLike) -> tuple[SequenceModel, dict[str, Any]]:
    """The trained model of a checkpoint, and the metadata of the file; ``metadata["notes"]`` has your notes."""
    arrays, metadata = read_checkpoint(path)
    config = Field(metadata, path)["model"]
    return SequenceModel.from_file(config, _under("model", arrays)), metadata


def check_notes(notes: object) -> None:
    """Refuse notes that a file cannot hold, nested as deep as they will be in it."""
    as_json({"notes": notes}, "notes")


def _masks(module: Module) -> list[Masks]:
    """The masks of all modules in `module` that apply dropout in training."""
    found = [module.masks] if hasattr(module, "masks") else []
    for child in module._modules.values():
        found += _masks(child)
    return found


def _fitting(
    path: PathLike, prefix: str, arrays: Mapping[str, Array], own: Mapping[str, Array]
) -> dict[str, Array]:
    """The arrays under `prefix`, refused unless they have the names, shapes and dtypes of `own`."""
    found = Field(_under(prefix, arrays), path, prefix)
    found.only(own)
    return {
        name: found[name].array(values.shape, values.dtype, finite=False)
        for name, values in own.items()
    }


def _as_tuple(state: State | None) -> tuple[Array, ...]:
    return () if state is None else parts_of(state)


def _under(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    start = prefix + "."
    return {name[len(start) :]: a for name, a in arrays.items() if name.startswith(start)}
