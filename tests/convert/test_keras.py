"""From Keras and back: every option of its recurrent layers, models, masks, and merge modes."""

import itertools

import numpy as np
import pytest
from support import close, parts, same_bits

import rnncore as rc
from rnncore import convert
from rnncore.convert import KerasLayer

keras = pytest.importorskip("keras")
layers = keras.layers


def built(layer, rng, inputs=3):
    """The layer with random weights, biases among them."""
    layer.build((None, None, inputs))
    layer.set_weights([rng.normal(size=w.shape).astype(w.dtype) for w in layer.get_weights()])
    return layer


def values(tensor):
    return keras.ops.convert_to_numpy(tensor)


def there_and_back(theirs, rng, tolerance=1e-5):
    """Converted, with the same outputs and states, and back with the same weights to the last bit."""
    layer = convert.from_keras(theirs)
    x = rng.normal(size=(2, 5, 3)).astype("float32")
    y, state = layer(x)
    expected = theirs(x)
    close(y, values(expected), tolerance)
    again = convert.to_keras(layer)
    close(values(again(x)), values(expected), tolerance)
    same_weights(again, theirs)
    return layer, state, x


def same_weights(got, expected):
    got, expected = got.get_weights(), expected.get_weights()
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        same_bits(a, b)


LAYERS = {
    "LSTM": lambda **o: layers.LSTM(4, return_sequences=True, **o),
    "GRU": lambda **o: layers.GRU(4, return_sequences=True, **o),
    "GRU, reset before": lambda **o: layers.GRU(4, return_sequences=True, reset_after=False, **o),
    "SimpleRNN": lambda **o: layers.SimpleRNN(4, return_sequences=True, **o),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_goes_there_and_back(kind, bias, rng):
    theirs = built(LAYERS[kind](use_bias=bias), rng)
    layer, state, x = there_and_back(theirs, rng)
    assert layer.batch_first
    assert layer.bias is bias
    theirs.return_state = True
    for a, b in zip(parts(state), theirs(x)[1:], strict=True):
        close(a[0], values(b), 1e-5)


def test_biases_are_kept_to_the_last_bit(rng):
    """A bias of −0 plus a zero would be 0."""
    theirs = layers.LSTM(2)
    theirs.build((None, None, 1))
    kernel, recurrent, bias = theirs.get_weights()
    theirs.set_weights([kernel, recurrent, np.full_like(bias, -0.0)])
    same_weights(convert.to_keras(convert.from_keras(theirs)), theirs)


@pytest.mark.parametrize("kind", LAYERS)
def test_float64(kind, rng):
    """Keras on torch keeps the states of some layers in float32, whatever their dtype."""
    theirs = built(LAYERS[kind](dtype="float64"), rng)
    layer = convert.from_keras(theirs)
    assert layer.dtype == "float64"
    x = rng.normal(size=(2, 5, 3))
    theirs.return_state = True
    _, state = layer(x)
    for a, b in zip(parts(state), theirs(keras.ops.convert_to_tensor(x, "float64"))[1:], strict=True):
        close(a[0], values(b), 1e-12 if kind in ("LSTM", "GRU") else 1e-6)
    assert convert.to_keras(layer).variable_dtype == "float64"


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16", "float16"])
def test_half_precision_becomes_float32(policy, rng):
    theirs = layers.GRU(4, dtype=policy, recurrent_initializer="uniform")
    theirs.build((None, None, 3))
    layer = convert.from_keras(theirs)
    assert layer.dtype == "float32"
    kernel = values(keras.ops.cast(theirs.cell.kernel, "float32"))
    z, r, n = np.split(kernel.T, 3)
    same_bits(layer.parameters["weight_ih_l0"], np.concatenate([r, z, n]))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "GRU, reset before", "SimpleRNN"])
@pytest.mark.parametrize("merge", ["concat", "sum", "ave", "mul"])
def test_merge_modes(kind, merge, rng):
    theirs = built(layers.Bidirectional(LAYERS[kind](), merge_mode=merge), rng)
    layer, _, _ = there_and_back(theirs, rng)
    assert isinstance(layer, KerasLayer) == (merge != "concat")
    assert (layer if merge == "concat" else layer.layer).bidirectional


def test_outputs_of_both_directions_apart(rng):
    """merge_mode=None: the same layer as "concat", whose output has both."""
    theirs = built(layers.Bidirectional(layers.GRU(4, return_sequences=True), merge_mode=None), rng)
    x = rng.normal(size=(2, 5, 3)).astype("float32")
    expected = np.concatenate([values(one) for one in theirs(x)], axis=-1)
    close(convert.from_keras(theirs)(x)[0], expected, 1e-5)


@pytest.mark.parametrize("kind", LAYERS)
def test_backwards(kind, rng):
    layer, _, _ = there_and_back(built(LAYERS[kind](go_backwards=True), rng), rng)
    assert isinstance(layer, KerasLayer)


@pytest.mark.parametrize("merge", ["concat", "sum"])
def test_a_bidirectional_whose_first_direction_goes_backwards(merge, rng):
    both = layers.Bidirectional(LAYERS["LSTM"](go_backwards=True), merge, backward_layer=LAYERS["LSTM"]())
    layer, _, _ = there_and_back(built(both, rng), rng)
    assert layer.go_backwards


@pytest.mark.parametrize("cell", ["LSTMCell", "GRUCell", "SimpleRNNCell"])
def test_stacks_of_cells(cell, rng):
    kind = getattr(layers, cell)
    layer, _, x = there_and_back(built(layers.RNN([kind(4), kind(4)], return_sequences=True), rng), rng)
    assert layer.num_layers == 2
    backwards = built(layers.RNN([kind(4), kind(4)], return_sequences=True, go_backwards=True), rng)
    there_and_back(backwards, rng)
    unequal = built(layers.RNN([kind(4), layers.LSTMCell(2)], return_sequences=True), rng)
    y = x
    found = convert.from_keras(unequal)
    assert len(found) == 2
    for _, one in found:
        y, _ = one(y)
    close(y, values(unequal(x)), 1e-5)


@pytest.mark.parametrize("cell", ["LSTMCell", "GRUCell", "SimpleRNNCell"])
def test_a_cell_goes_there_and_back(cell, rng):
    theirs = getattr(layers, cell)(4)
    theirs.build((None, 3))
    theirs.set_weights([rng.normal(size=w.shape) for w in theirs.get_weights()])
    ours = convert.from_keras(theirs)
    x = rng.normal(size=(2, 3)).astype("float32")
    zeros = [np.zeros((2, 4), "float32")] * (2 if cell == "LSTMCell" else 1)
    h = ours(x)
    close(parts(h)[0], values(theirs(x, zeros)[0]), 1e-5)
    again = convert.to_keras(ours)
    assert type(again) is type(theirs)
    same_weights(again, theirs)
    close(convert.from_keras(layers.RNN(theirs))(x[None])[0][0, :1], parts(h)[0][:1], 1e-5)


def test_a_stack_of_ours_becomes_a_sequential(rng):
    layer = rc.GRU(3, 4, 2, bidirectional=True, batch_first=True, seed=1)
    theirs = convert.to_keras(layer, name="top")
    assert [type(one).__name__ for one in theirs.layers] == ["Bidirectional"] * 2
    assert theirs.layers[-1].name == "top"
    x = rng.normal(size=(2, 5, 3)).astype("float32")
    close(values(theirs(x)), layer(x)[0], 1e-5)
    below, above = convert.from_keras(theirs)
    close(above.layer(below.layer(x)[0])[0], layer(x)[0], 1e-5)
    last = convert.to_keras(layer, return_sequences=False)
    close(values(last(x)), np.concatenate([layer(x)[0][:, -1, :4], layer(x)[0][:, 0, 4:]], axis=-1), 1e-5)
    turned = KerasLayer(layer, "sum", go_backwards=True)
    close(values(convert.to_keras(turned)(x)), turned(x)[0], 1e-5)


ACTIVATIONS = ["tanh", "sigmoid", "relu", "linear", "leaky_relu", "hard_sigmoid", "elu", "softsign", "softplus",
               layers.LeakyReLU(0.3), layers.ELU(0.7), layers.ReLU(threshold=0.4), keras.activations.softsign]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda one: getattr(one, "name", getattr(one, "__name__", one)))
@pytest.mark.parametrize("kind", LAYERS)
def test_activations(kind, activation, rng):
    theirs = built(LAYERS[kind](activation=activation), rng)
    there_and_back(theirs, rng, 3e-5)
    if kind != "SimpleRNN":
        there_and_back(built(LAYERS[kind](recurrent_activation=activation), rng), rng, 3e-5)


def test_activations_of_the_two_directions_may_differ(rng):
    both = layers.Bidirectional(layers.GRU(4, return_sequences=True, activation="relu"), backward_layer=layers.GRU(
        4, return_sequences=True, go_backwards=True, recurrent_activation="hard_sigmoid"))
    layer, _, _ = there_and_back(built(both, rng), rng)
    assert len(layer.activations) == 4


# ---- masks --------------------------------------------------------------------------------------


def masked(theirs, x, mask):
    theirs.return_sequences, theirs.return_state, theirs.zero_output_for_mask = True, True, True
    found = [values(one) for one in theirs(x, mask=mask)]
    return found[0], found[1:]


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("padding", ["post", "pre", "anywhere"])
def test_masks(kind, padding, rng):
    theirs = built(LAYERS[kind](), rng)
    x = rng.normal(size=(4, 6, 3)).astype("float32")
    ends = np.array([[6], [4], [1], [3]])
    mask = {"post": np.arange(6) < ends, "pre": np.arange(6) >= ends - 1, "anywhere": rng.random((4, 6)) < 0.6}[padding]
    layer = convert.from_keras(theirs)
    front, lengths = convert.drop_masked(x, mask)
    y, state = layer(front, lengths=lengths)
    expected, states = masked(theirs, x, mask)
    close(convert.spread_masked(y, mask), expected, 1e-5)
    for a, b in zip(parts(state), states, strict=True):
        close(a[0], b, 1e-5)
    if padding == "post":
        same_bits(layer(x, lengths=mask.sum(axis=1))[0], y)


@pytest.mark.parametrize("merge", ["concat", "sum", "ave", "mul"])
def test_masks_of_both_directions(merge, rng):
    theirs = built(layers.Bidirectional(LAYERS["LSTM"](), merge), rng)
    x, mask = rng.normal(size=(3, 6, 3)).astype("float32"), rng.random((3, 6)) < 0.6
    front, lengths = convert.drop_masked(x, mask)
    y, _ = convert.from_keras(theirs)(front, lengths=lengths)
    close(convert.spread_masked(y, mask), values(theirs(x, mask=mask)), 1e-5)


def test_lengths_of_a_layer_that_goes_backwards(rng):
    """Keras puts the padding first, which it skips; here a row's own steps come first, as always with lengths."""
    theirs = built(LAYERS["GRU"](go_backwards=True), rng)
    x, lengths = rng.normal(size=(3, 6, 3)).astype("float32"), np.array([6, 2, 4])
    y, state = convert.from_keras(theirs)(x, lengths=lengths)
    expected, (h,) = masked(theirs, x, np.arange(6) < lengths[:, None])
    for row, n in enumerate(lengths):
        close(y[row, :n], expected[row, 6 - n:], 1e-5)
        assert not y[row, n:].any()
    close(state[0], h, 1e-5)


def test_wrong_masks():
    with pytest.raises(ValueError, match=r"^mask: got shape \(2, 3\), expected \(2, 4\)"):
        convert.drop_masked(np.zeros((2, 4, 1)), np.ones((2, 3), bool))
    with pytest.raises(ValueError, match=r"^x: got shape \(4, 1\), expected \(B, T, I\)"):
        convert.drop_masked(np.zeros((4, 1)), np.ones(4, bool))
    with pytest.raises(ValueError, match=r"^y: got shape \(4, 1\), expected \(B, T, H\)"):
        convert.spread_masked(np.zeros((4, 1)), np.ones(4, bool))


# ---- KerasLayer ---------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [None, [6, 2, 4]])
@pytest.mark.parametrize("merge", ["concat", "sum", "ave", "mul"])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_gradients_of_a_keras_layer(merge, backwards, batch_first, lengths, rng):
    """Finite differences in f64, of x, of the state and of a weight."""
    layer = rc.GRU(2, 3, bidirectional=True, batch_first=batch_first, dtype="float64", seed=4)
    ours = KerasLayer(layer, merge, backwards)
    shape = (3, 6) if batch_first else (6, 3)
    x, h = rng.normal(size=(*shape, 2)), rng.normal(size=(2, 3, 3))
    tape = ours.record(x, h, lengths)
    y, new = ours(x, h, lengths)
    same_bits(tape.output, y)
    same_bits(tape.state, new)
    g, g_state = rng.normal(size=y.shape), rng.normal(size=new.shape)
    grads = tape.backward(g, g_state)

    def loss(x, h):
        y, new = ours(x, h, lengths)
        return (y * g).sum() + (new * g_state).sum()

    for given, grad in ((0, grads.input), (1, grads.state)):
        direction = rng.normal(size=(x, h)[given].shape)
        shifted = [[a + sign * 1e-6 * direction if k == given else a for k, a in enumerate((x, h))] for sign in (1, -1)]
        slope = (loss(*shifted[0]) - loss(*shifted[1])) / 2e-6
        assert abs(slope - (grad * direction).sum()) <= 1e-7 * max(1, abs(slope))
    direction = rng.normal(size=(9, 3))
    moved = []
    for sign in (1, -1):
        with layer.writable() as weights:
            weights["weight_hh_l0_reverse"] += sign * 1e-6 * direction
        moved.append(loss(x, h))
        with layer.writable() as weights:
            weights["weight_hh_l0_reverse"] -= sign * 1e-6 * direction
    slope = (moved[0] - moved[1]) / 2e-6
    assert abs(slope - (grads.parameters["weight_hh_l0_reverse"] * direction).sum()) <= 1e-7 * max(1, abs(slope))


def a_keras_layer(merge, backwards, batch_first=False, kind=rc.GRU):
    both = merge is not None
    layer = kind(2, 3, bidirectional=both, batch_first=batch_first, dtype="float64", seed=4)
    return KerasLayer(layer, merge or "concat", backwards)


@pytest.mark.parametrize("shape", ["one sequence", "one sequence with lengths", "batch", "batch with lengths"])
@pytest.mark.parametrize("merge", [None, "concat", "sum", "ave", "mul"])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_many_cotangents_at_once_are_as_one_by_one(merge, backwards, batch_first, shape, rng):
    """The products are the same; only their order inside a sum may differ, by a few ulp of float64."""
    lengths = {"one sequence with lengths": 4, "batch with lengths": [6, 2, 4]}.get(shape)
    ours = a_keras_layer(merge, backwards, batch_first, rc.LSTM)
    B = () if shape.startswith("one") else (3,)
    tape = ours.record(rng.normal(size=((*B, 6, 2) if batch_first or not B else (6, *B, 2))), lengths=lengths)
    g = rng.normal(size=(4, *tape.output.shape))
    g_state = tuple(rng.normal(size=(4, *part.shape)) for part in tape.state)
    for parameters in (None, True):
        many = tape.backward(g, g_state, parameters=parameters)
        assert bool(many.parameters) is bool(parameters)
        for k in range(4):
            one = tape.backward(g[k], tuple(part[k] for part in g_state))
            close(many.input[k], one.input, 1e-14)
            for a, b in zip(many.state, one.state, strict=True):
                close(a[k], b, 1e-14)
            for name in many.parameters:
                close(many.parameters[name][k], one.parameters[name], 1e-14)
    states_alone = tape.backward(grad_state=g_state)
    close(states_alone.input[1], tape.backward(grad_state=tuple(part[1] for part in g_state)).input, 1e-14)
    assert tape.backward(g[0], parameters=False).parameters == {}


@pytest.mark.parametrize("merge", ["concat", "sum"])
def test_lengths_that_change_after_the_pass(merge, rng):
    lengths = np.array([6, 2, 4])
    tape = a_keras_layer(merge, True).record(rng.normal(size=(6, 3, 2)), lengths=lengths)
    before = tape.backward(np.ones_like(tape.output)).input
    lengths[:] = [1, 6, 3]
    same_bits(tape.backward(np.ones_like(tape.output)).input, before)


@pytest.mark.parametrize("lengths", [None, [7, 5, 3, 0]])
@pytest.mark.parametrize("merge", [None, "concat", "mul"])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_resets_cut_a_row_into_sequences_of_their_own(merge, backwards, batch_first, lengths, rng):
    """Marks at step 0 and past a row's end, also right behind it, have no effect."""
    ours = a_keras_layer(merge, backwards, batch_first)
    x, reset = rng.normal(size=(4, 7, 2)), np.zeros((4, 7), bool)
    for row, steps in enumerate([(0, 2, 6), (1, 5, 6), (3, 4), (0,)]):
        reset[row, list(steps)] = True

    def laid_out(array):
        return array if batch_first else array.swapaxes(0, 1)

    y, new = ours(laid_out(x), None, lengths, laid_out(reset))
    tape = ours.record(laid_out(x), lengths=lengths, reset=laid_out(reset))
    same_bits(tape.output, y)
    same_bits(tape.state, new)
    g = rng.normal(size=laid_out(y).shape)
    grads = tape.backward(laid_out(g))
    y, grad_x = laid_out(y), laid_out(grads.input)
    for row, n in enumerate(lengths or [7] * 4):
        cuts = [0, *(t for t in np.flatnonzero(reset[row]) if 0 < t < n), n]
        begin = 0
        for first, end in sorted(itertools.pairwise(cuts), reverse=backwards):
            piece = ours.record(x[row, first:end])
            steps = slice(begin, begin + end - first)
            close(y[row, steps], piece.output, 1e-13)
            close(grad_x[row, first:end], piece.backward(g[row, steps]).input, 1e-13)
            begin = steps.stop
        assert begin == n
        alone = ours(x[row, :n], reset=reset[row, :n])
        close(y[row, :n], alone[0], 1e-13)
        close(new[:, row], alone[1], 1e-13)


def test_a_keras_layer_of_one_sequence_and_wrong_arguments(rng):
    ours = KerasLayer(rc.GRU(3, 4, seed=0), go_backwards=True)
    x = rng.normal(size=(5, 3))
    same_bits(ours(x)[0], ours.layer(x[::-1])[0])
    assert "go_backwards=True" in repr(ours)
    assert "KerasTape" in repr(ours.record(x))
    with pytest.raises(ValueError, match=r"^merge: got 'max', expected one of concat, sum, ave, mul"):
        KerasLayer(ours.layer, "max")
    with pytest.raises(ValueError, match=r"^merge: got 'sum' for a layer of one direction"):
        KerasLayer(ours.layer, "sum")
    with pytest.raises(ValueError, match=r"^x: got shape"):
        ours(np.zeros((2, 2, 2, 3)))
    both = KerasLayer(rc.GRU(3, 4, bidirectional=True, seed=0), "sum").record(x)
    with pytest.raises(ValueError, match=r"^grad_output: got shape \(5, 8\), expected \(5, 4\)"):
        both.backward(np.zeros((5, 8)))
    with pytest.raises(ValueError, match=r"expected \(5, 4\), or \(K, \*\(5, 4\)\) for K cotangents"):
        both.backward(np.zeros((2, 2, 5, 4)))
    with pytest.raises(TypeError, match=r"^grad_output: got complex128 values"):
        both.backward(np.zeros((5, 4), complex))
    with pytest.raises(TypeError, match=r"^parameters: got 1, expected True or False"):
        both.backward(np.zeros((5, 4)), parameters=1)
    with pytest.raises(ValueError, match=r"^reset: got shape \(4,\), expected \(5,\)"):
        ours(x, reset=np.zeros(4, bool))
    for given in (None, rc.LSTMCell(3, 4), rc.GRU, ours):
        with pytest.raises(TypeError, match=rf"^layer: got {type(given).__name__}, expected a layer of rnncore"):
            KerasLayer(given)


# ---- models and refusals ------------------------------------------------------------------------


def a_model():
    inner = keras.Sequential([layers.Input((None, 8)), layers.GRU(5, return_sequences=True, name="gru")], name="inner")
    x = layers.Input((None,), name="tokens")
    y = layers.Embedding(10, 3)(x)
    y = layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="both")(y)
    y = inner(y)
    y = layers.RNN([layers.GRUCell(3, name="low"), layers.LSTMCell(2, name="high")], name="stack")(y)
    return keras.Model(x, layers.Dense(10)(y))


def test_a_model_gives_named_layers():
    found = convert.from_keras(a_model())
    assert [name for name, _ in found] == ["both", "inner/gru", "stack/low", "stack/high"]
    assert [type(layer) for _, layer in found] == [rc.LSTM, rc.GRU, rc.GRU, rc.LSTM]
    with pytest.raises(ValueError, match=r"^source: got a Dense without a recurrent layer"):
        convert.from_keras(layers.Dense(3))
    timed = keras.Sequential([layers.Input((2, 5, 3)), layers.TimeDistributed(layers.GRU(4, name="one"))])
    assert [name for name, _ in convert.from_keras(timed)] == [f"{timed.layers[0].name}/one"]


class Doubled(layers.LSTMCell):
    def call(self, inputs, states, training=False):
        return super().call(2 * inputs, states, training)


class Own(layers.Layer):
    state_size = 4

    def call(self, inputs, states):
        return inputs, states


class OwnLayer(layers.GRU):
    def call(self, sequences, **options):
        return 2 * super().call(sequences, **options)


@pytest.mark.parametrize(("make", "why"), [
    (lambda: layers.LSTM(4, activation="silu"), "got the activation silu"),
    (lambda: layers.LSTM(4, activation=lambda x: x), "got the activation <lambda>"),
    (lambda: layers.GRU(4, recurrent_activation=layers.ReLU(6.0)), "got the activation re_lu"),
    (lambda: layers.RNN(Doubled(4)), "got the cell Doubled"),
    (lambda: layers.RNN(Own()), "got the cell Own"),
    (lambda: OwnLayer(4), "got a OwnLayer, which has a call of its own"),
    (lambda: layers.Bidirectional(layers.GRU(4), backward_layer=layers.GRU(3, go_backwards=True)), "unequal layers"),
    (lambda: layers.Bidirectional(layers.GRU(4), backward_layer=layers.LSTM(4, go_backwards=True)), "unequal layers"),
    (lambda: layers.Bidirectional(layers.RNN([layers.GRUCell(4), layers.GRUCell(4)])), "of a stack of cells"),
    (lambda: layers.RNN([layers.GRUCell(4), layers.GRUCell(3)], go_backwards=True), "stack of unequal cells"),
])
def test_what_cannot_be_is_refused_by_name(make, why):
    layer = make()
    layer.build((None, None, 3))
    with pytest.raises(NotImplementedError, match=why):
        convert.from_keras(layer)


def test_convolutions_are_refused_by_name():
    with pytest.raises(NotImplementedError, match="ConvLSTM1D"):
        convert.from_keras(layers.ConvLSTM1D(4, 3))


def test_other_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match="got a LSTMCell without weights yet"):
        convert.from_keras(layers.LSTM(4))
    with pytest.raises(TypeError, match=r"^source: got int"):
        convert.from_keras(3)
    with pytest.raises(TypeError, match=r"^into: got LSTM with a LSTM"):
        convert.from_keras(layers.LSTM(4), into=rc.LSTM(2, 3))
    with pytest.raises(TypeError, match=r"^to_keras: got int"):
        convert.to_keras(3)


@pytest.mark.parametrize("options", [
    {"units": 9}, {"use_bias": False}, {"dtype": "float64"}, {"activation": "relu"}, {"recurrent_activation": "relu"},
    {"reset_after": False}, {"go_backwards": True}, {"merge_mode": "sum"},
], ids=lambda one: next(iter(one)))
def test_options_that_the_layer_determines_are_refused(options):
    (name, value), = options.items()
    for layer in (rc.GRU(3, 4), rc.GRU(3, 4, 2, bidirectional=True), rc.GRUCell(3, 4), KerasLayer(rc.GRU(3, 4))):
        with pytest.raises(TypeError, match=f"^{name}: got {value!r}, expected none: to_keras sets it"):
            convert.to_keras(layer, name="mine", **options)
