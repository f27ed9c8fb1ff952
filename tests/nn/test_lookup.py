"""A model whose tokens repeat looks the products of their vectors up, and says the same as one that does not."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import KINDS, all_close, close, make, parts, same_bits

import rnncore as rc
from rnncore.nn import Embedding, Linear, SequenceModel, sequence_model
from rnncore.recurrent import lookup
from rnncore.recurrent.ragged import Batch

V = 5
THROUGH_TABLE = ("embedding.weight", "layer.weight_ih_l0", "layer.weight_ih_l0_reverse")


class Plain(SequenceModel):
    """The same model without looking up."""

    _may_look_up = False


@pytest.fixture(autouse=True)
def small_nets_too(monkeypatch):
    monkeypatch.setattr(lookup, "LEAST_SAVED", 0)


def models(kind, dtype="float64", readout="steps", **options):
    """Two models with the same weights, of which the first looks up."""
    layer = make(kind, 4, 6, dtype=dtype, **options)
    embedding, head = Embedding(V, 4, dtype=dtype, seed=1), Linear(layer.structure.features, 3, dtype=dtype, seed=2)
    return [made(embedding, layer, head, readout=readout) for made in (SequenceModel, Plain)]


def passes(model, tokens, targets, **given):
    record = model.record(tokens, **given)
    grad = model.loss(record.output, targets)[1]
    return record, record.backward(grad)


def compare(kind, rng, T, B, dtype="float64", readout="steps", reset=False, ragged=False, **options):
    ours, plain = models(kind, dtype, readout, **options)
    shape = (B, T) if options.get("batch_first") else (T, B)
    tokens = rng.integers(0, V, shape)
    given = {"lengths": rng.integers(0, T + 1, B)} if ragged else {}
    if ragged and given["lengths"].sum() < 2 * V:
        given["lengths"][:] = T
    if reset:
        given["reset"] = rng.random(shape) < 0.2
    targets = rng.integers(0, 3, shape if readout == "steps" else B)
    record, grads = passes(ours, tokens, targets, **given)
    expected, plain_grads = passes(plain, tokens, targets, **given)
    assert record.tape.has_lookup
    assert not expected.tape.has_lookup
    same_bits(record.output, expected.output)
    same_bits(ours(tokens, **given)[0], expected.output)
    same_bits(parts(record.state), parts(expected.state))
    same_bits(parts(grads.state), parts(plain_grads.state))
    for name, found in grads.parameters.items():
        if name in THROUGH_TABLE:
            close(found, plain_grads.parameters[name], dtype)
        else:
            same_bits(found, plain_grads.parameters[name], name)
    assert grads.parameters.keys() == plain_grads.parameters.keys()
    for name in record.tape.names("*"):
        same_bits(record.tape.grad[name], expected.tape.grad[name], name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_bits_of_a_pass_and_all_gradients(rng, kind, dtype):
    compare(kind, rng, 9, 3, dtype, num_layers=2)
    compare(kind, rng, 9, 3, dtype, bidirectional=True, ragged=True, reset=True)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_with_any_options(data):
    draw = data.draw
    directions = draw(st.booleans())
    readout = draw(st.sampled_from(["steps", "last", "mean"]))
    T, B = draw(st.integers(4, 40)), draw(st.integers(3, 20))
    with rc.threads(draw(st.integers(1, 2))):
        compare(
            draw(st.sampled_from(KINDS)), np.random.default_rng(draw(st.integers(0, 99))), T, B, readout=readout,
            reset=draw(st.booleans()), ragged=draw(st.booleans()), num_layers=draw(st.integers(1, 2)),
            bidirectional=directions, batch_first=draw(st.booleans()), bias=draw(st.booleans()),
        )


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn-tanh"])
def test_gradients_equal_finite_differences(rng, cell):
    model = sequence_model(cell, V, hidden_size=3, embedding_size=2, dtype="float64", seed=1)
    tokens, targets = rng.integers(0, V, (2, 6, 2))
    grads = model.loss_and_grads(tokens, targets)[1]
    assert model.record(tokens).tape.has_lookup
    for name in THROUGH_TABLE[:2]:
        for place in np.ndindex(*grads[name].shape):
            losses = []
            for step in (1e-5, -1e-5):
                with model.writable() as weights:
                    weights[name][place] += step
                losses.append(model.loss(model(tokens)[0], targets)[0])
                with model.writable() as weights:
                    weights[name][place] -= step
            assert abs((losses[0] - losses[1]) / 2e-5 - grads[name][place]) < 1e-8


def test_gradients_equal_torch(rng):
    model = sequence_model("lstm", V, hidden_size=6, embedding_size=4, dtype="float64", seed=1)
    peer = torch.nn.ModuleDict(
        {"embedding": torch.nn.Embedding(V, 4), "layer": torch.nn.LSTM(4, 6), "head": torch.nn.Linear(6, V)}
    ).double()
    peer.load_state_dict({k: torch.tensor(v) for k, v in model.state_dict().items()})
    tokens, targets = rng.integers(0, V, (2, 12, 3))
    logits = peer["head"](peer["layer"](peer["embedding"](torch.tensor(tokens)))[0])
    torch.nn.functional.cross_entropy(logits.reshape(-1, V), torch.tensor(targets.reshape(-1))).backward()
    assert model.record(tokens).tape.has_lookup
    all_close(model.loss_and_grads(tokens, targets)[1],
              {k: v.grad for k, v in peer.named_parameters()}, "float64")


def test_padding_and_threads_do_not_change_a_bit(rng):
    (model, _), lengths = models("lstm", "float32"), rng.integers(5, 31, 4)
    tokens, grad = rng.integers(0, V, (40, 4)), rng.normal(size=(40, 4, 3)).astype("float32")
    expected = model.record(tokens[:30], lengths=lengths).backward(grad[:30]).parameters
    with rc.threads(2):
        found = model.record(tokens, lengths=lengths).backward(grad).parameters
    for name in expected:
        if not name.startswith("head"):     # which also reads what is past the ends
            same_bits(found[name], expected[name], name)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize(("T", "B", "H", "ragged"), [(60, 12, 128, False), (60, 12, 128, True), (80, 1, 384, False)])
def test_threads_look_up_their_own_rows_and_units(rng, cell, T, B, H, ragged):
    """Sizes at which two threads divide the rows, and at which they divide the units."""
    model = sequence_model(cell, V, hidden_size=H, embedding_size=16, seed=1)
    plain = Plain(model.embedding, model.layer, model.head)
    tokens, targets = rng.integers(0, V, (2, T, B))
    lengths = rng.integers(T // 2, T, B) if ragged else None
    with rc.threads(1):
        expected = plain.record(tokens, lengths=lengths)
        grads = model.loss_and_grads(tokens, targets, lengths=lengths)[1]
    with rc.threads(2):
        same_bits(model.record(tokens, lengths=lengths).output, expected.output)
        same_bits(model.loss_and_grads(tokens, targets, lengths=lengths)[1], grads)


@pytest.mark.parametrize(("rows", "E", "H", "T", "B"), [(300, 64, 128, 40, 32), (4200, 8, 16, 300, 32)])
def test_large_tables(rng, monkeypatch, rows, E, H, T, B):
    """Their gradients are summed in several chunks and spans, and on two threads."""
    monkeypatch.setattr(lookup, "IN_CACHE", 1 << 30)
    model = sequence_model("gru", rows, hidden_size=H, embedding_size=E, seed=1)
    wide = model.astype("float64")
    exact = Plain(wide.embedding, wide.layer, wide.head)
    tokens, targets = rng.integers(0, rows - 1, (2, T, B))
    with rc.threads(1):
        assert model.record(tokens).tape.has_lookup
        found = model.loss_and_grads(tokens, targets)[1]
    all_close(found, exact.loss_and_grads(tokens, targets)[1], "float32")
    with rc.threads(2):
        same_bits(model.loss_and_grads(tokens, targets)[1], found)


def test_rows_that_no_token_names_have_no_part(rng):
    """Not even where they are infinite."""
    (ours, plain), tokens, targets = models("lstm"), rng.integers(0, V - 1, (9, 3)), rng.integers(0, 3, (9, 3))
    with ours.embedding.writable() as weights:
        weights["weight"][V - 1] = np.inf
    _, grads = passes(ours, tokens, targets)
    _, expected = passes(plain, tokens, targets)
    all_close(grads.parameters, expected.parameters, "float64")
    assert not grads.parameters["embedding.weight"][V - 1].any()


def test_tokens_in_any_form(rng):
    model, _ = models("gru")
    tokens = rng.integers(0, V, (9, 3))
    expected = model(tokens)[0]
    for form in (torch.tensor(tokens), tokens.tolist(), tokens.astype("uint64"), np.asfortranarray(tokens)):
        same_bits(model(form)[0], expected)
        same_bits(model.record(form).output, expected)
    one = model(tokens[:, 0])[0], model.record(tokens[:, 0]).output
    same_bits(one, (expected[:, 0].copy(),) * 2)
    with pytest.raises(IndexError, match="tokens: got values from 0 to 5"):
        model(np.append(tokens, [[0, 0, 5]], axis=0))


def test_active_rows_alone(rng):
    """The steps of rows of unequal length, one after the other."""
    (model, plain), batch = models("lstm"), Batch(np.array([9, 2, 5]), 9)
    tokens = rng.integers(0, V, batch.N)
    same_bits(model(tokens, lengths=batch)[0], plain(tokens, lengths=batch)[0])


def test_long_sums_stay_exact():
    """One token 100,000 × 8 times: a float32 sum of so many equal terms would be off by a tenth of a percent."""
    model = SequenceModel(Embedding(1, 2, seed=1), rc.RNN(2, 2, seed=3), Linear(2, 1, seed=2), loss="mse")
    tokens, targets = np.zeros((100_000, 8), int), np.full((100_000, 8, 1), 0.3)
    exact = model.astype("float64").loss_and_grads(tokens, targets)[1]
    found = model.loss_and_grads(tokens, targets)[1]
    all_close(found, exact, 3e-6)


def test_changed_weights_are_refused(rng):
    model, _ = models("gru")
    tokens = rng.integers(0, V, (9, 3))
    record = model.record(tokens)
    with model.embedding.writable() as weights:
        weights["weight"][0] += 1
    with pytest.raises(RuntimeError, match="weights of Embedding changed"):
        record.backward(np.ones_like(record.output))


def test_who_looks_up(rng, monkeypatch):
    """Not an embedding of one's own, nor few repeats, a small gain, or a pass with checkpoints."""
    model, _ = models("lstm")
    few, many = rng.integers(0, V, (3, 3)), rng.integers(0, V, (4, 3))
    assert not model.record(few).tape.has_lookup
    assert model.record(many).tape.has_lookup
    assert not model.record(many, lengths=[3, 3, 3]).tape.has_lookup
    same_bits(model.record(many).tape.input, model.embedding(many))

    class OwnEmbedding(Embedding):
        def record(self, tokens, *, train=False):
            return super().record(tokens, train=train)

    own = SequenceModel(OwnEmbedding(V, 4, dtype="float64", seed=1), model.layer, model.head)
    assert not own.record(many).tape.has_lookup
    same_bits(own(many)[0], model(many)[0])

    class Doubled(rc.LSTM):
        """It may do anything with x, and need not know of lookups."""

        def call_on(self, packed, x, state=None, lengths=None, reset=None):
            return super().call_on(packed, 2 * x, state, lengths, reset)

        def record_on(self, packed, x, state=None, lengths=None, train=False, checkpoint_every=None, reset=None):
            return super().record_on(packed, 2 * x, state, lengths, train, checkpoint_every, reset)

    doubled = SequenceModel(model.embedding, Doubled(4, 6, dtype="float64", seed=1), model.head)
    record = doubled.record(many)
    same_bits(record.tape.input, 2 * model.embedding(many))
    same_bits(doubled(many)[0], record.output)
    table = lookup.Lookup(model.embedding.parameters["weight"], many)
    layer = model.layer
    assert not layer.record_on(layer.packed(), model.embedding(many), lookup=table, checkpoint_every=2).has_lookup
    monkeypatch.setattr(lookup, "LEAST_SAVED", (many.size - V) * 4 * 24 + 1)
    assert not model.record(many).tape.has_lookup


def test_nbytes_counts_the_table(rng):
    ours, plain = models("lstm")
    tokens = rng.integers(0, V, (9, 3))
    more = ours.record(tokens).tape.nbytes - plain.record(tokens).tape.nbytes
    assert more == ours.embedding.parameters["weight"].nbytes + tokens.nbytes
