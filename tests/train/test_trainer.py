"""The loop: it learns, carries state, ends cleanly, and resumes to the same bits."""

import math
import os
import signal
import threading
import time

import numpy as np
import pytest
from support import close, same_bits

import rnncore as rc
from rnncore.data import Corpus, batches, pad
from rnncore.io.safetensors import DamagedFileError, save_arrays
from rnncore.nn import CELLS, Linear, SequenceModel, sequence_model
from rnncore.optim import SGD, Adam
from rnncore.train import Trainer, evaluate, load_model

CORPUS = Corpus("the cat sat on the mat, and the rat sat on the cat. " * 30)


def make(cell="gru", seed=0, lr=0.01, corpus=CORPUS, optimiser=Adam, **options):
    model = sequence_model(
        cell, len(corpus.vocabulary), hidden_size=12, embedding_size=6, seed=seed, **options
    )
    return Trainer(
        model,
        optimiser(model, lr),
        batches(corpus.train, 4, 25),
        valid=batches(corpus.valid, 2, 25, drop_last=False),
    )


@pytest.mark.parametrize("cell", CELLS)
def test_training_lowers_the_loss(cell):
    trainer = make(cell)
    before = trainer.evaluate()
    trainer.fit(60, progress=False)
    assert trainer.updates == len(trainer.losses) == 60
    assert before > 0.8 * math.log2(len(CORPUS.vocabulary))
    assert trainer.evaluate() < before - 1


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_threads_do_not_change_the_bits(cell):
    """At a size where the engine uses several threads."""
    weights = []
    for threads in (1, 2):
        model = sequence_model(cell, len(CORPUS.vocabulary), hidden_size=128, seed=0)
        trainer = Trainer(model, Adam(model, 0.01), batches(CORPUS.train, 32, 16))
        with rc.threads(threads):
            weights.append(trainer.fit(4, progress=False).model.state_dict())
    same_bits(*weights)


@pytest.mark.parametrize("cell", ["rnn-relu", "gru", "lstm"])
@pytest.mark.parametrize("cut", [5, 14, 18])  # 14 windows a round: within, between, in the second
def test_resume_gives_the_bits_of_the_whole_run(tmp_path, cell, cut):
    path = tmp_path / "run.safetensors"
    options = {"dropout": 0.2, "num_layers": 2}
    whole = make(cell, **options).fit(22, progress=False)
    assert len(whole.batches) == 14
    make(cell, **options).fit(cut, progress=False, checkpoint=path)
    resumed = make(cell, seed=5, lr=99, **options).resume(path)  # only the file knows the seed
    resumed.fit(22 - cut, progress=False)
    same_bits(resumed.model.state_dict(), whole.model.state_dict())
    same_bits(resumed.optimiser.state_dict()["buffers"], whole.optimiser.state_dict()["buffers"])
    same_bits(resumed.state, whole.state)
    assert resumed.losses == whole.losses
    assert resumed.evaluate() == whole.evaluate()


def test_resume_of_a_model_built_from_the_file(tmp_path):
    path = tmp_path / "run.safetensors"
    first = make("lstm", dropout=0.2).fit(6, progress=False, checkpoint=path, notes={"a": 1})
    model, metadata = load_model(path)
    assert metadata["notes"] == {"a": 1}
    same_bits(model.state_dict(), first.model.state_dict())
    again = Trainer(model, Adam(model), first.batches, valid=first.valid).resume(path)
    same_bits(
        again.fit(5, progress=False).model.state_dict(),
        first.fit(5, progress=False).model.state_dict(),
    )


def test_the_state_is_carried_within_a_round_and_zero_at_its_start():
    trainer = make()
    seen = []
    record = trainer.model.record
    trainer.model.record = lambda x, state=None, **k: seen.append(state) or record(x, state, **k)
    states = []
    trainer.callbacks.append(lambda t: states.append(t.state))
    trainer.fit(16, progress=False)
    assert seen[0] is None
    assert seen[14] is None  # the second round
    for i in (1, 2, 13, 15):
        assert seen[i] is states[i - 1]


def test_a_carried_evaluation_is_that_of_the_whole_text():
    """Windows of 25 with the state carried give what one long window gives, to rounding."""
    trainer = make()
    whole = batches(CORPUS.valid, 2, len(CORPUS.valid), drop_last=False)
    assert len(whole) == 1
    assert len(trainer.valid) > 2
    model = trainer.model.astype("float64")
    close(evaluate(model, trainer.valid), evaluate(model, whole), "float64")


def test_evaluation_is_bits_per_character(rng):
    """All weights of the head 0: every character costs log2 of the vocabulary."""
    trainer = make()
    with trainer.model.writable() as weights:
        weights["head.weight"][...] = 0
        weights["head.bias"][...] = 0
    close(trainer.evaluate(), math.log2(len(CORPUS.vocabulary)), "float32")


def test_ragged_batches_can_be_trained_without_carry(rng):
    sequences = [rng.integers(0, 5, size=n) for n in (7, 3, 5, 2)]
    x, lengths = pad(sequences)
    data = [(x[:-1], x[1:], np.maximum(lengths - 1, 0))] * 3
    model = sequence_model("lstm", 5, hidden_size=4, embedding_size=3, seed=0)
    trainer = Trainer(model, Adam(model, 0.01), data, valid=data, carry=False)
    before = trainer.evaluate()
    assert trainer.fit(30, progress=False).evaluate() < before


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_model_of_real_values_learns_by_squared_error(rng, batch_first):
    """Ragged rows in both layouts, compared with a computation by hand."""
    layer = rc.GRU(2, 4, batch_first=batch_first, dtype="float64", seed=0)
    model = SequenceModel(None, layer, Linear(4, 1, dtype="float64", seed=1), loss="mse")
    x, wanted = rng.normal(size=(6, 3, 2)), rng.normal(size=(6, 3, 1))
    lengths = np.array([6, 2, 4])
    prediction = rc.GRU(2, 4, dtype="float64", seed=0)(x, lengths=lengths)[0]
    prediction = prediction @ model.parameters["head.weight"].T + model.parameters["head.bias"]
    inside = np.arange(6)[:, None] < lengths
    expected = np.mean((prediction - wanted)[inside] ** 2)
    if batch_first:
        x, wanted = x.swapaxes(0, 1), wanted.swapaxes(0, 1)
    trainer = Trainer(model, Adam(model, 0.05), [(x, wanted, lengths)], carry=False)
    trainer.valid = trainer.batches
    close(trainer.evaluate(), expected, "float64")
    close(trainer.update(), expected, "float64")
    assert trainer.fit(20, progress=False).evaluate() < expected


def test_callbacks_read_the_tape_and_stop_the_run():
    trainer = make()

    def look(t):
        assert t.record.tape.grad["l0.h"].shape == (25, 4, 12)
        assert t.losses[-1] > 0
        assert t.grad_norm > 0
        t.optimiser.lr = 0.5 / t.updates
        t.stop = t.updates == 3

    trainer.callbacks.append(look)
    assert trainer.fit(10, progress=False).updates == 3
    assert trainer.optimiser.lr == 0.5 / 3
    assert not trainer.interrupted


def test_gradients_are_clipped():
    trainer = make(optimiser=SGD, lr=1.0)
    trainer.max_norm = 1e-3
    before = trainer.model.state_dict()
    trainer.update()
    assert trainer.grad_norm > 1e-3
    after = trainer.model.state_dict()
    moved = math.sqrt(sum(float(((after[k] - before[k]) ** 2).sum()) for k in before))
    assert moved == pytest.approx(1e-3, rel=1e-2)  # f32: 1e-3 is some 10,000 ulp of the weights
    unclipped = make(optimiser=SGD, lr=1.0)
    unclipped.max_norm = None
    unclipped.update()
    assert unclipped.grad_norm == trainer.grad_norm


def test_a_loss_that_is_not_finite_leaves_the_weights():
    trainer = make().fit(2, progress=False)
    with trainer.model.writable() as weights:
        weights["head.bias"][0] = np.nan
    before = trainer.model.state_dict()
    with pytest.raises(FloatingPointError, match=r"update 3: the loss is nan.*lower lr"):
        trainer.fit(5, progress=False)
    same_bits(trainer.model.state_dict(), before)
    assert trainer.updates == 2


def test_ctrl_c_finishes_the_update_saves_and_returns(tmp_path):
    path = tmp_path / "run.safetensors"
    trainer = make()
    trainer.callbacks.append(
        lambda t: os.kill(os.getpid(), signal.SIGINT) if t.updates == 3 else None
    )
    before = signal.getsignal(signal.SIGINT)
    trainer.fit(22, progress=False, checkpoint=path)
    assert signal.getsignal(signal.SIGINT) is before
    assert trainer.interrupted
    assert trainer.updates in (3, 4)
    resumed = make().resume(path)
    assert resumed.updates == trainer.updates
    same_bits(
        resumed.fit(22 - resumed.updates, progress=False).model.state_dict(),
        make().fit(22, progress=False).model.state_dict(),
    )


def test_a_second_ctrl_c_does_not_wait():
    trainer = make()

    def twice(t):
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(0.05)
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(0.05)

    trainer.callbacks.append(twice)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(5, progress=False)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_training_works_in_another_thread():
    trainer = make()
    thread = threading.Thread(target=trainer.fit, args=(3,), kwargs={"progress": False})
    thread.start()
    thread.join()
    assert trainer.updates == 3


def test_the_progress_bar_shows_the_loss(capsys):
    trainer = make()
    trainer.callbacks.append(lambda t: time.sleep(0.06))  # the bar is drawn every 0.1 s at most
    trainer.fit(5, progress=True)
    assert "bits" in capsys.readouterr().err
    make().fit(3)  # stderr is no terminal here: no bar
    assert capsys.readouterr().err == ""


def test_checkpoints_are_saved_every_n_updates(tmp_path):
    path = tmp_path / "run.safetensors"
    trainer = make()
    kept = []
    trainer.save = lambda p, notes=None: kept.append(trainer.updates)
    trainer.fit(7, progress=False, checkpoint=path, every=3)
    assert kept == [3, 6, 7]


def test_resume_refuses_checkpoints_of_other_runs(tmp_path):
    path = tmp_path / "run.safetensors"
    make().fit(2, progress=False, checkpoint=path)
    with pytest.raises(ValueError, match=r"its model is .*'GRU'.*, this run's is .*'LSTM'"):
        make("lstm").resume(path)
    with pytest.raises(ValueError, match="its optimiser is Adam, this run's is SGD"):
        make(optimiser=SGD).resume(path)
    other = make()
    other.batches = list(other.batches)[1:]
    with pytest.raises(ValueError, match="its number of windows is 14, this run's is 13"):
        other.resume(path)
    save_arrays(path, {"w": np.ones(3)})
    with pytest.raises(DamagedFileError, match="is not a checkpoint"):
        make().resume(path)


def test_wrong_arguments_are_refused():
    trainer = make()
    other = SequenceModel.from_config(trainer.model.config)
    with pytest.raises(ValueError, match="optimiser: got the optimiser of another module"):
        Trainer(other, trainer.optimiser, trainer.batches)
    trainer.valid = None
    with pytest.raises(ValueError, match="valid: got None"):
        trainer.evaluate()


def test_parts_of_a_trainer_of_the_wrong_kind_are_refused_with_the_way_out(rng):
    """In the wrong order, a layer for the model, a class for a callback, all the parts of a series."""
    trainer = make()
    model, optimiser, windows = trainer.model, trainer.optimiser, trainer.batches
    order = r"the arguments are Trainer\(model, optimiser, batches\)"
    series = rc.data.windows(rng.normal(size=60), 5, valid=0.2)
    for arguments, message in (
        ((model, windows, optimiser), f"optimiser: got Batches, expected an optimiser, .*; {order}"),
        ((optimiser, model, windows), f"model: got Adam, expected a SequenceModel, which has a loss; {order}"),
        ((model.layer, Adam(model.layer), windows), r"model: got GRU, expected .*SequenceModel\(None, layer"),
        ((model, optimiser, series), r"batches: got SeriesWindows .*Trainer\(model, optimiser, w\.train"),
    ):
        with pytest.raises(TypeError, match=message):
            Trainer(*arguments)
    with pytest.raises(TypeError, match=r"callbacks: got the class Recorder, .*call it first: Recorder\(\)"):
        Trainer(model, optimiser, windows, callbacks=[rc.viz.Recorder])


@pytest.mark.parametrize("options", [
    {"activations": ["tanh", ("HardSigmoid", 0.3), "softsign"]}, {"peepholes": True, "coupled": True},
    {"cell_clip": 2, "gate_clip": 1.5}, {"proj_size": 2},
], ids=str)  # fmt: skip
def test_a_model_whose_layer_has_options_is_resumed(tmp_path, options):
    def trainer():
        layer = rc.LSTM(3, 4, seed=1, **options)
        head = Linear(layer.structure.output_size, 5, seed=1)
        model = SequenceModel(rc.nn.Embedding(5, 3, seed=1), layer, head)
        windows = [(np.arange(8).reshape(4, 2) % 5, np.arange(1, 9).reshape(4, 2) % 5)]
        return Trainer(model, Adam(model, lr=0.01), windows)

    whole, first, second = trainer(), trainer(), trainer()
    whole.fit(4, progress=False)
    first.fit(2, progress=False)
    first.save(tmp_path / "run")
    second.resume(tmp_path / "run")
    second.fit(2, progress=False)
    same_bits(whole.model.state_dict(), second.model.state_dict())
