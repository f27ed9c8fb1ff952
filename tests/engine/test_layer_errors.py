"""Errors name the argument, what was got and what was expected."""

import numpy as np
import pytest
from support import (
    CELLS,
    make,
    parts,
    random_cotangents,
    random_input,
    random_state,
    same_bits,
    state_shape,
    whole,
)

import rnncore as rc
from rnncore.nn import Embedding

REFUSED = (ValueError, TypeError)
T, B, I, H = 6, 4, 3, 5


@pytest.fixture(params=["rnn-tanh", "gru", "lstm"])
def layer(request):
    return make(request.param, I, H, 2)


def refused(call, *said):
    """The message has every one of `said`: a text, or a tuple of texts of which one will do."""
    with pytest.raises(REFUSED) as e:
        call()
    message = str(e.value)
    for text in said:
        options = text if isinstance(text, tuple) else (text,)
        assert any(str(o) in message for o in options), f"{text!r} is not in: {message}"


@pytest.mark.parametrize("shape", [(T, B, I + 1), (T, B, 0), (I,), (), (T, B, I, 1), (T, I + 1)])
def test_x_of_a_wrong_shape_is_refused(layer, shape):
    x = np.ones(shape, np.float32)
    expected = (str(I), "(T, B, ")
    for call in (layer, layer.record):
        refused(lambda call=call: call(x), "x", str(shape), expected)


def test_batch_first_is_in_the_message(rng):
    layer = make("gru", I, H, batch_first=True)
    refused(lambda: layer(np.ones((2, 3, 9))), "x", "(2, 3, 9)", "(B, T, ")


def test_masked_entries_are_refused(layer, rng):
    """What lies under a mask is no value; a mask that hides nothing is none."""
    x, s0 = random_input(layer, T, B, rng), random_state(layer, B, rng)
    tape = layer.record(x)
    hide = lambda a: np.ma.masked_array(a, np.arange(a.size).reshape(a.shape) == 1)  # noqa: E731
    same_bits(layer(np.ma.masked_array(x))[0], tape.output)
    for call in (layer, layer.record):
        refused(lambda call=call: call(hide(x)), "x: got an array with masked entries", ".filled(")
        refused(lambda call=call: call(x, whole(layer, [hide(a) for a in parts(s0)])), "masked", ("state", "h0"))
        refused(lambda call=call: call(x, lengths=hide(np.full(B, 2))), "lengths: got an array with masked")
        refused(lambda call=call: call(x, reset=hide(np.zeros((T, B), bool))), "reset: got an array with masked")
    refused(lambda: tape.backward(hide(tape.output)), "grad_output: got an array with masked")
    refused(lambda: Embedding(5, 2)(hide(np.ones(3, int))), "tokens: got an array with masked")


@pytest.mark.parametrize("kind", ["complex64", "complex128", "object", "U3", "S3", "datetime64[s]"])
def test_arguments_of_a_wrong_type_are_refused(layer, kind, rng):
    bad = lambda a: np.zeros(a.shape, kind)  # noqa: E731
    x, s0 = random_input(layer, T, B, rng), random_state(layer, B, rng)
    g, gs = random_cotangents(layer, T, B, rng)
    name = (np.dtype(kind).name, str(np.dtype(kind)))
    for call in (layer, layer.record):
        refused(lambda call=call: call(bad(x)), "x", name)
        refused(
            lambda call=call: call(x, whole(layer, [bad(a) for a in parts(s0)])),
            ("state", "h0"),
            name,
        )
        refused(lambda call=call: call(x, lengths=np.zeros(B, kind)), "lengths", name)
    tape = layer.record(x)
    refused(lambda: tape.backward(bad(g)), "grad_output", name)
    refused(lambda: tape.backward(g, whole(layer, [bad(a) for a in parts(gs)])), "grad_state", name)
    refused(lambda: tape.pullback(bad(np.zeros((1, B, H)))).__next__(), "v", name)


def test_object_arrays_of_numbers_are_refused_too(layer):
    refused(lambda: layer(np.ones((T, B, I)).astype(object)), "x", "object")


def state_shapes():
    return [(2, B + 1, H), (1, B, H), (2, B, H + 1), (B, H), (2, H), (2, B, H, 1), (3, B, H)]


@pytest.mark.parametrize("shape", state_shapes())
def test_a_state_of_a_wrong_shape_is_refused(layer, shape, rng):
    x = random_input(layer, T, B, rng)
    good = np.zeros((2, B, H))
    bad = np.zeros(shape)
    assert state_shape(layer, B) == good.shape
    refused(
        lambda: layer(x, whole(layer, [bad, bad])), ("state", "h0"), str(shape), str(good.shape)
    )
    if len(layer.cell.states) > 1:
        refused(lambda: layer(x, (good, bad)), ("state", "c0"), str(shape), str(good.shape))
        refused(lambda: layer(x, (bad, good)), ("state", "h0"), str(shape), str(good.shape))


def test_a_state_that_is_not_a_pair_is_refused(rng):
    x = np.ones((T, B, I))
    good = np.zeros((2, B, H))
    lstm, gru = make("lstm", I, H, 2), make("gru", I, H, 2)
    refused(lambda: lstm(x, good), "state", ("pair", "tuple", "(h, c)", "(h0, c0)"))
    refused(lambda: lstm(x, (good,)), "state", ("pair", "tuple", "(h, c)", "(h0, c0)"))
    refused(lambda: lstm(x, (good, good, good)), "state", ("pair", "tuple", "(h, c)", "(h0, c0)"))
    refused(lambda: gru(x, (good, good)), ("state", "h0"))


def test_a_state_must_be_batched_as_x_is(layer):
    flat, full = np.zeros((2, H)), np.zeros((2, 1, H))
    refused(
        lambda: layer(np.ones((T, I)), whole(layer, [full, full])),
        ("state", "h0"),
        "(2, 1, 5)",
        "(2, 5)",
    )
    refused(
        lambda: layer(np.ones((T, 1, I)), whole(layer, [flat, flat])),
        ("state", "h0"),
        "(2, 5)",
        "(2, 1, 5)",
    )


LENGTHS = {
    "negative": ([1, 2, -3, 4], ["-3"]),
    "too long": ([1, 2, 3, T + 1], [str(T + 1), str(T)]),
    "far too long": (np.array([1, 2, 3, 2**63], np.uint64), [str(2**63), str(T)]),
    "one too few": ([1, 2, 3], ["3", str(B)]),
    "one too many": ([1, 2, 3, 4, 5], ["5", str(B)]),
    "a table": ([[1, 2, 3, 4]], ["(1, 4)", str(B)]),
    "a number": (3, [str(B)]),
    "not a number": ([1.0, np.nan, 3.0, 4.0], ["nan"]),
    "infinite": ([1.0, np.inf, 3.0, 4.0], ["inf"]),
    "half a step": ([1.0, 2.5, 3.0, 4.0], ["2.5"]),
    "text": (["1", "2", "3", "4"], []),
    "None": ([1, None, 3, 4], []),
    "complex": ([1, 2, 3, 4j], ["complex"]),
}


@pytest.mark.parametrize("case", LENGTHS)
def test_wrong_lengths_are_refused(layer, case):
    bad, said = LENGTHS[case]
    x = np.ones((T, B, I))
    for call in (layer, layer.record):
        refused(lambda call=call: call(x, lengths=bad), "lengths", *said)


def test_lengths_with_batch_first_are_compared_with_the_time_axis():
    layer = make("gru", I, H, batch_first=True)
    refused(lambda: layer(np.ones((2, 9, I)), lengths=[10, 1]), "lengths", "10", "9")
    layer(np.ones((2, 9, I)), lengths=[9, 3])


@pytest.mark.parametrize(
    "shape", [(T, B, H + 1), (T + 1, B, H), (T, B + 1, H), (B, H), (2, 2, T, B, H), (B, T, H)]
)
def test_grad_output_of_a_wrong_shape_is_refused(layer, shape, rng):
    tape = layer.record(random_input(layer, T, B, rng))
    refused(lambda: tape.backward(np.ones(shape)), "grad_output", str(shape), str((T, B, H)))


@pytest.mark.parametrize("shape", [(2, B, H + 1), (1, B, H), (2, B + 1, H), (B, H)])
def test_grad_state_of_a_wrong_shape_is_refused(layer, shape, rng):
    tape = layer.record(random_input(layer, T, B, rng))
    bad = np.ones(shape)
    refused(
        lambda: tape.backward(None, whole(layer, [bad, bad])),
        "grad_state",
        str(shape),
        str((2, B, H)),
    )


def test_leading_axes_that_differ_are_refused(layer, rng):
    tape = layer.record(random_input(layer, T, B, rng))
    g, _ = random_cotangents(layer, T, B, rng, (3,))
    _, gs = random_cotangents(layer, T, B, rng, (2,))
    refused(lambda: tape.backward(g, gs), ("grad_state", "grad_output"), "3", "2")


@pytest.mark.parametrize("shape", [(1, B, 3), (B, 10), (1, B + 1, 10), (2, 10)])
def test_cotangents_of_a_wrong_shape_are_refused_by_pullback(shape, rng):
    layer = make("gru", I, H, 2)  # S = 10
    tape = layer.record(random_input(layer, T, B, rng))
    refused(lambda: next(tape.pullback(np.ones(shape))), "v", str(shape), "10")


def test_wrong_arguments_of_pullback_are_refused(rng):
    tape = make("gru", I, H).record(np.ones((T, B, I)))
    for every in (0, -1, 1.5):
        refused(lambda every=every: next(tape.pullback(every=every)), "every", str(every))
    refused(lambda: next(tape.pullback(direction="sideways")), "direction", "sideways", "forward")
    refused(lambda: next(tape.pullback(direction="reverse")), "direction")  # there is only one


BAD_SIZES = [0, -1, 2.5, np.nan, "7", None, 2**40]


@pytest.mark.parametrize("name", ["input_size", "hidden_size", "num_layers"])
@pytest.mark.parametrize("value", BAD_SIZES[:-1])
@pytest.mark.parametrize("mode", ["RNN", "GRU", "LSTM"])
def test_sizes_must_be_positive_whole_numbers(mode, name, value):
    args = {"input_size": I, "hidden_size": H, "num_layers": 1} | {name: value}
    refused(lambda: getattr(rc, mode)(**args), name, str(value))


@pytest.mark.parametrize("value", [-0.1, 1.5, np.nan, "half", None])
@pytest.mark.parametrize("mode", ["RNN", "GRU", "LSTM"])
def test_dropout_must_be_a_probability_below_1(mode, value):
    refused(lambda: getattr(rc, mode)(I, H, 2, dropout=value), "dropout", str(value))


@pytest.mark.parametrize(
    "value", ["float16", "int32", "complex64", "float", object, "nonsense", None]
)
@pytest.mark.parametrize("mode", ["RNN", "GRU", "LSTM"])
def test_other_dtypes_are_refused(mode, value):
    if value == "float":  # numpy's name of float64
        assert getattr(rc, mode)(I, H, dtype=value).dtype == np.float64
        return
    refused(lambda: getattr(rc, mode)(I, H, dtype=value), "dtype", "float32", "float64")


def test_dtypes_are_accepted_in_all_their_spellings():
    for value in ("float32", np.float32, np.dtype("float32"), "f4"):
        assert rc.GRU(I, H, dtype=value).dtype == np.float32


def test_an_unknown_nonlinearity_is_refused():
    refused(
        lambda: rc.RNN(I, H, nonlinearity="elu"), "nonlinearity", "elu", "tanh", "relu", "sigmoid"
    )


@pytest.mark.parametrize("cell", CELLS)
def test_unknown_options_are_refused(cell):
    with pytest.raises(TypeError, match="projection_size"):
        make(cell, I, H, projection_size=2)


@pytest.mark.parametrize("n", [0, -2, 1.5, "two"])
def test_numbers_of_threads_must_be_positive_whole_numbers(n):
    before = rc.num_threads()
    refused(lambda: rc.set_num_threads(n), ("n", "threads"), str(n))
    assert rc.num_threads() == before


LARGE = 2**62
MANY = 10**15       # of bytes more than any machine has, and fewer than an address has room for: 4e15 < 2**63


@pytest.mark.parametrize(("make", "error", "named"), [
    (lambda: rc.LSTM(1, LARGE), ValueError, "hidden_size"),
    (lambda: rc.GRU(3, LARGE, 2, bidirectional=True), ValueError, "hidden_size"),
    (lambda: rc.RNN(LARGE, 2), ValueError, "input_size"),
    (lambda: rc.RNN(MANY, 1), MemoryError, "input_size"),
    (lambda: rc.RNN(1, 1, LARGE), ValueError, "num_layers"),        # they used to be made until memory was full
    (lambda: rc.RNN(1, 1, MANY // 4), MemoryError, "num_layers"),
    (lambda: rc.LSTM(1, LARGE, proj_size=2), ValueError, "hidden_size"),
    (lambda: rc.GRUCell(1, LARGE), ValueError, "hidden_size"),
    (lambda: rc.nn.Linear(LARGE, 3), ValueError, "in_features"),
    (lambda: rc.nn.Linear(3, MANY), MemoryError, "out_features"),
    (lambda: rc.nn.Embedding(LARGE, 3), ValueError, "num_embeddings"),
    (lambda: rc.nn.Embedding(3, MANY), MemoryError, "embedding_dim"),
    (lambda: rc.nn.sequence_model("gru", 5, hidden_size=LARGE), ValueError, "hidden_size"),
    (lambda: rc.GRU(1, 2).stream(LARGE), ValueError, "batch_size"),
    (lambda: rc.GRU(1, 2).stream(MANY), MemoryError, "batch_size"),
    (lambda: rc.nn.sequence_model("gru", 5, hidden_size=2).stream(LARGE), ValueError, "batch_size"),
])  # fmt: skip
def test_sizes_that_do_not_fit_into_memory_are_named(make, error, named):
    with pytest.raises(error, match=f"^{named}: got {LARGE if error is ValueError else '[0-9]+'}, expected a size with "
                                    r"which the (weights|states) fit into memory; with .*=.* they take .* GB$"):
        make()


def test_the_number_of_weights_is_that_of_the_arrays():
    for layer in (rc.RNN(3, 5), rc.LSTM(3, 5, 3, bidirectional=True, proj_size=2, peepholes=True),
                  rc.GRU(4, 2, 2, bias=False)):
        assert layer.structure.count_weights() == sum(array.size for array in layer.parameters.values())
