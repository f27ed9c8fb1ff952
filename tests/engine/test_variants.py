"""Variants of cells: activations, bounds, peepholes and coupled gates, against the twin and against the cell itself."""

import copy
import doctest
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import (
    all_close,
    close,
    everything,
    parts,
    random_cotangents,
    random_input,
    random_state,
    same_bits,
    whole,
)
from twin import ACTIVATIONS, OWN, Twin

import rnncore as rc
from rnncore import _engine

PARAMETERS = {  # for activations that have parameters, others than the defaults
    "affine": (0.6, 0.2),
    "leakyrelu": (0.3,),
    "thresholdedrelu": (0.4,),
    "scaledtanh": (1.3, 0.7),
    "hardsigmoid": (0.3, 0.4),
    "elu": (0.7,),
}
EVERY = [(name, *PARAMETERS.get(name, ())) for name in ACTIVATIONS]
ALL_OF_LSTM = {
    "peepholes": True,
    "coupled": True,
    "cell_clip": 0.4,
    "gate_clip": 0.8,
    "activations": ["hardsigmoid", "softsign", ("elu", 0.7)],
}
VARIANTS = {
    "lstm peepholes": ("LSTM", {"peepholes": True}),
    "lstm coupled": ("LSTM", {"coupled": True}),
    "lstm cell_clip": ("LSTM", {"cell_clip": 0.4}),
    "lstm gate_clip": ("LSTM", {"gate_clip": 0.6}),
    "lstm activations": ("LSTM", {"activations": ["hardsigmoid", "relu", "softplus"]}),
    "lstm all": ("LSTM", ALL_OF_LSTM),
    "lstm projected": ("LSTM", ALL_OF_LSTM | {"proj_size": 3}),
    "gru": ("GRU", {"gate_clip": 0.7, "activations": ["hardsigmoid", "softsign"]}),
    "gru before": ("GRU", {"reset_after": False, "gate_clip": 0.7, "activations": ["softsign", ("elu", 0.8)]}),
    "rnn": ("RNN", {"gate_clip": 0.7, "activations": ["softsign"]}),
    "rnn clip": ("RNN", {"gate_clip": 0.7, "nonlinearity": "sigmoid"}),
}
some = pytest.mark.parametrize("name", VARIANTS)
one_of_each = pytest.mark.parametrize("name", ["lstm all", "lstm projected", "gru", "gru before", "rnn"])


def make(name, *sizes, **options):
    mode, own = VARIANTS[name]
    return getattr(rc, mode)(*sizes, **{"seed": 7} | own | options)


def judge(layer, rng, T=7, B=4, lengths=None, reset=None):
    """Every number of a tape and of its backward pass against the twin."""
    x, s0 = 2 * random_input(layer, T, B, rng), random_state(layer, B, rng)
    cot = random_cotangents(layer, T, B, rng)
    twin = Twin.of(layer)
    run = twin.forward(x, parts(s0), lengths, reset=reset)
    expected = twin.backward(run, cot[0], parts(cot[1]))
    tape = layer.record(x, s0, lengths, reset=reset)
    grads = tape.backward(*cot)
    close(tape.output, run.output, layer.dtype)
    all_close(tape.state, run.state, layer.dtype)
    close(grads.input, expected.input, layer.dtype)
    all_close(grads.state, expected.state, layer.dtype)
    all_close(grads.parameters, expected.parameters, layer.dtype)
    steps = run.valid[..., None]
    for name in tape.names("*"):
        close(tape[name] * steps, run.values[name] * steps, layer.dtype)
        close(tape.grad[name], expected.values[name], layer.dtype)
    return run


@some
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_and_gradients_equal_the_twins(name, dtype, rng):
    judge(make(name, 3, 19, 2, bidirectional=True, dtype=dtype), rng, lengths=np.array([5, 0, 7, 2]))


@pytest.mark.parametrize("activation", EVERY, ids=lambda each: each[0])
def test_every_activation_in_every_place_equals_the_twins(activation, rng):
    for mode, names in OWN.items():
        for place in range(len(names)):
            chosen = [*names[:place], activation, *names[place + 1 :]]
            judge(getattr(rc, mode)(3, 5, activations=chosen, dtype="float64", seed=3), rng)


@given(st.data())
def test_any_options_and_shapes_equal_the_twins(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    mode = data.draw(st.sampled_from(list(OWN)))
    both, chosen = data.draw(st.booleans()), {}
    if mode == "LSTM":
        chosen = {flag: data.draw(st.booleans()) for flag in ("peepholes", "coupled")}
        # never the same as gate_clip: coupled gates between two equal values give that value, at the bound or not
        chosen["cell_clip"] = data.draw(st.none() | st.floats(0.1, 2).map(lambda bound: bound + np.pi / 100))
    elif mode == "GRU":
        chosen["reset_after"] = data.draw(st.booleans())
    chosen["gate_clip"] = data.draw(st.none() | st.floats(0.1, 2))
    count = len(OWN[mode]) * data.draw(st.sampled_from([0, 1, 1 + both]))
    if count:
        chosen["activations"] = data.draw(st.lists(st.sampled_from(EVERY), min_size=count, max_size=count))
    T, B, I, H = (data.draw(st.integers(1, most)) for most in (5, 3, 3, 18))
    layer = getattr(rc, mode)(
        I, H, bias=data.draw(st.booleans()), bidirectional=both, dtype="float64", seed=1, **chosen
    )
    lengths = data.draw(st.none() | st.lists(st.integers(0, T), min_size=B, max_size=B).map(np.array))
    reset = rng.random((T, B)) < 0.2 if data.draw(st.booleans()) else None
    judge(layer, rng, T, B, lengths, reset)


def test_bounds_bind_in_these_tests(rng):
    """Otherwise the tests above would not see them."""
    run = judge(make("lstm all", 3, 19), rng)
    steps = run.scans[0][0].steps.values()
    for sum_of, bound in (("a_i", 0.8), ("a_g", 0.8), ("a_o", 0.8), ("sum_c", 0.4)):
        beyond = np.mean([np.abs(values[sum_of]) > bound for *_, values in steps])
        assert 0.02 < beyond < 0.9, sum_of


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", OWN)
def test_a_bound_that_nothing_reaches_changes_no_bit(mode, dtype, rng):
    for own in ({"reset_after": False}, {"reset_after": True}) if mode == "GRU" else ({},):
        plain = getattr(rc, mode)(3, 21, 2, dtype=dtype, seed=5, **own)
        clips = {"gate_clip": 1e4} | ({"cell_clip": 1e4} if mode == "LSTM" else {})
        variant = getattr(rc, mode)(3, 21, 2, dtype=dtype, seed=5, **own, **clips)
        x, s0 = random_input(plain, 9, 4, rng), random_state(plain, 4, rng)
        cot = random_cotangents(plain, 9, 4, rng)
        tapes = [layer.record(x, s0) for layer in (plain, variant)]
        same_bits(*(everything(tape, tape.backward(*cot)) for tape in tapes))


def test_zero_peepholes_change_no_bit(rng):
    plain, variant = (rc.LSTM(3, 21, seed=5, peepholes=each) for each in (False, True))
    with variant.writable() as weights:
        weights["weight_peephole_l0"] = np.zeros(63)
    x, cot = random_input(plain, 9, 4, rng), random_cotangents(plain, 9, 4, rng)
    plain_tape, tape = plain.record(x), variant.record(x)
    of_plain, grads = (everything(each, each.backward(*cot)) for each in (plain_tape, tape))
    assert np.abs(grads.pop("weight_peephole_l0")).min() > 0
    same_bits(of_plain, grads)


@one_of_each
def test_call_record_stream_block_and_cell_have_the_same_bits(name, rng):
    layer = make(name, 3, 21)
    x, s0 = random_input(layer, 11, 4, rng), random_state(layer, 4, rng)
    y, state = layer(x, s0)
    tape = layer.record(x, s0)
    same_bits((y, *parts(state)), (tape.output, *parts(tape.state)))
    one_by_one, block = layer.stream(4), layer.stream(4)
    for stream in (one_by_one, block):
        stream.state = s0
    same_bits(np.stack([one_by_one.step(x_t) for x_t in x]), y)
    same_bits(block.block(x), y)
    same_bits(parts(block.state), parts(state))
    mode, own = VARIANTS[name]
    if "proj_size" in own:  # a cell has no projection
        return
    cell = getattr(rc, f"{mode}Cell")(3, 21, **own)
    cell.load_state_dict({key.removesuffix("_l0"): a for key, a in layer.state_dict().items()})
    now = whole(layer, [part[0] for part in parts(s0)])
    for x_t in x:
        now = cell(x_t, now)
    same_bits(parts(now), tuple(part[0] for part in parts(state)))


@one_of_each
def test_rows_checkpoints_threads_and_cotangents_change_no_bit(name, rng):
    layer = make(name, 5, 70, 2, bidirectional=True)
    T, B = 23, 18
    x, s0 = random_input(layer, T, B, rng), random_state(layer, B, rng)
    cot = random_cotangents(layer, T, B, rng)
    lengths, reset = rng.integers(0, T + 1, size=B), rng.random((T, B)) < 0.1
    tape = layer.record(x, s0, lengths, reset=reset)
    expected = everything(tape, tape.backward(*cot))
    tape = layer.record(x, s0, lengths, reset=reset, checkpoint_every=4)
    same_bits(everything(tape, tape.backward(*cot)), expected)
    with rc.threads(2):
        tape = layer.record(x, s0, lengths, reset=reset)
        same_bits(everything(tape, tape.backward(*cot)), expected)
    pair = [np.stack([a, 2 * a]) for a in (cot[0], *parts(cot[1]))]
    many = tape.backward(pair[0], whole(layer, pair[1:]), parameters=True)
    same_bits(many.input[0], expected["input"])
    same_bits({key: a[0] for key, a in many.parameters.items()}, {key: expected[key] for key in many.parameters})
    row = int(np.argmax(lengths))
    alone = layer.record(
        x[:, [row]], whole(layer, [part[:, [row]] for part in parts(s0)]), lengths[[row]], reset=reset[:, [row]]
    )
    same_bits(alone.output[:, 0], tape.output[:, row])


@one_of_each
def test_long_sums_have_the_bits_of_their_windows(name, rng):
    """More than one span of rows (src/engine/sums.pxi), in one window and in many."""
    layer = make(name, 2, 9, dtype="float64")
    x = random_input(layer, 600, 8, rng)
    whole_pass, windows = layer.record(x), layer.record(x, checkpoint_every=37)
    g = rng.normal(size=whole_pass.output.shape).astype(layer.dtype)
    same_bits(whole_pass.backward(g).parameters, windows.backward(g).parameters)
    twin = Twin.of(layer)
    all_close(windows.backward(g).parameters, twin.backward(twin.forward(x), g).parameters, layer.dtype)


@one_of_each
def test_an_ensembles_nets_have_the_bits_of_the_nets_alone(name, rng):
    layers = [make(name, 3, 13, 2, seed=seed) for seed in range(3)]
    alone = [copy.deepcopy(layer) for layer in layers]
    e = rc.Ensemble(layers)
    x = rng.normal(size=(3, 6, 4, 3)).astype("float32")
    lengths = rng.integers(0, 7, size=(3, 4))
    tape = e.record(x, lengths=lengths)
    g = rng.normal(size=tape.output.shape).astype("float32")
    grads = tape.backward(g)
    for n, layer in enumerate(alone):
        own = layer.record(x[n], lengths=lengths[n])
        expected = own.backward(g[n])
        same_bits(own.output, tape.output[n])
        same_bits(expected.parameters, {key: a[n] for key, a in grads.parameters.items()})


def test_the_gradient_of_a_sum_beyond_the_bound_is_zero():
    layer = rc.LSTM(1, 2, gate_clip=0.5, dtype="float64", seed=0)
    tape = layer.record(np.full((1, 1, 1), 1e3))
    tape.backward(np.ones_like(tape.output))
    for gate in "ifgo":
        assert (tape.grad[f"l0.{gate}"] == 0).all()
    np.testing.assert_allclose(np.abs(tape["l0.g"]), np.tanh(0.5), rtol=1e-15)
    np.testing.assert_allclose(np.abs(tape["l0.i"] - 0.5), 1 / (1 + np.exp(-0.5)) - 0.5, rtol=1e-14)


def test_coupled_gates_sum_to_one_and_the_rows_of_f_do_nothing(rng):
    layer = rc.LSTM(3, 5, coupled=True, peepholes=True, dtype="float64", seed=0)
    x = random_input(layer, 6, 2, rng)
    tape = layer.record(x)
    grads = tape.backward(random_cotangents(layer, 6, 2, rng)[0])
    close(tape["l0.f"], 1 - tape["l0.i"], 1e-15)
    for grad in grads.parameters.values():
        assert (grad[5:10] == 0).all()
        assert np.abs(grad[:5]).min() > 0
    with layer.writable() as weights:
        for weight in weights.values():
            weight[5:10] += 1
    same_bits(layer(x)[0], tape.output)


@pytest.mark.parametrize("activation", EVERY, ids=lambda each: each[0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations_are_accurate_over_the_whole_range(activation, dtype):
    x = np.concatenate([np.linspace(-30, 30, 4001), np.geomspace(1e-30, 1e30, 999), -np.geomspace(1e-30, 1e30, 999)])
    x, out = x.astype(dtype), np.empty(len(x), dtype)
    value, _, defaults = ACTIVATIONS[activation[0]]
    p = [float(np.dtype(dtype).type(each)) for each in activation[1:] or defaults]
    _engine.activation((activation[0], *p, *[0.0] * (2 - len(p))), x, out)
    exact = np.asarray(value(x.astype(np.longdouble), p), np.longdouble)
    # a few roundings, relative to the largest term of the sum where there is one (affine, hardsigmoid)
    size = np.maximum(np.abs(exact), abs(p[-1]) if activation[0] in ("affine", "hardsigmoid") else 0)
    bound = 8 * np.finfo(dtype).eps * size + 2 * np.finfo(dtype).tiny
    assert (np.abs(out - exact) <= bound).all(), x[np.argmax(np.abs(out - exact) / bound)]


def test_nan_passes_through_every_activation():
    for activation in EVERY:
        for dtype in ("float32", "float64"):
            x, out = np.full(5, np.nan, dtype), np.zeros(5, dtype)
            _engine.activation((activation[0], 0.5, 0.5), x, out)
            assert np.isnan(out).all(), activation


# ---- arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "options", "message"),
    [
        ("LSTM", {"activations": ["tanh"]}, r"activations: got 1 of them, expected 3 of them \(f, g, h\), or 6"),
        ("GRU", {"activations": "tanh"}, "activations: got 'tanh', expected a list of 2"),
        ("RNN", {"activations": ["tan"]}, r"activations\[0\]: got 'tan'.*did you mean 'tanh'"),
        ("RNN", {"activations": [("tanh", 1.0)]}, r"activations\[0\].*tanh has no parameters"),
        ("RNN", {"activations": [("elu", 1.0, 2.0)]}, r"activations\[0\].*elu has only alpha"),
        ("RNN", {"activations": [("leakyrelu", -1.0)]}, "alpha of leakyrelu: got -1.0, expected a finite number >= 0"),
        ("RNN", {"activations": ["relu"], "nonlinearity": "sigmoid"}, "activations.*nonlinearity='sigmoid'"),
        ("RNN", {"activations": ["relu", "softsign"]}, "two directions for a layer with one"),
        ("GRU", {"gate_clip": 0}, "gate_clip: got 0, expected a finite number above 0, or None"),
        ("LSTM", {"cell_clip": -1}, "cell_clip: got -1"),
        ("LSTM", {"peepholes": 1}, "peepholes: got 1"),
        ("GRU", {"peepholes": True}, "peepholes"),
    ],
)
def test_wrong_options_are_refused(mode, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        getattr(rc, mode)(2, 3, **options)


def test_options_that_change_nothing_give_the_cell_itself():
    assert rc.LSTM(2, 3, activations=["Sigmoid", "TANH", "tanh"]).cell is rc.LSTM(2, 3).cell
    assert rc.RNN(2, 3, activations=["Relu"]).cell is rc.RNN(2, 3, nonlinearity="relu").cell
    assert rc.RNN(2, 3, activations=["sigmoid"], gate_clip=2).nonlinearity == "sigmoid"
    assert rc.GRU(2, 3, bidirectional=True, activations=["sigmoid", "tanh"] * 2).activations is None


@some
def test_options_copies_and_pickles_give_the_same_layer(name, rng):
    layer = make(name, 3, 4)
    again = type(layer)(**layer.options, seed=7)
    assert again.cell is layer.cell is copy.deepcopy(layer).cell
    assert repr(again) == repr(layer)
    x = random_input(layer, 5, 2, rng)
    same_bits(layer(x)[0], again(x)[0])
    same_bits(layer(x)[0], copy.deepcopy(layer)(x)[0])


def test_the_repr_shows_what_differs():
    layer = rc.LSTM(3, 4, peepholes=True, activations=["sigmoid", ("leakyrelu", 0.2), "Softsign"])
    assert repr(layer) == (
        "LSTM(3, 4, peepholes=True, activations=('sigmoid', ('leakyrelu', 0.2), 'softsign'), dtype='float32')"
    )
    assert layer.activations == ("sigmoid", ("leakyrelu", 0.2), "softsign")
    assert (layer.coupled, layer.cell_clip, layer.gate_clip) == (False, None, None)


def test_a_changed_peephole_is_used_at_once_and_ends_old_tapes(rng):
    layer = make("lstm peepholes", 3, 4)
    x = random_input(layer, 5, 2, rng)
    tape, stream = layer.record(x), layer.stream(2)
    before = stream.step(x[0])
    with layer.writable() as weights:
        weights["weight_peephole_l0"] += 1
    assert not (layer(x)[0] == tape.output).all()
    stream.reset()
    assert not (stream.step(x[0]) == before).all()
    with pytest.raises(RuntimeError, match="weights changed"):
        tape.backward(np.ones_like(tape.output))


def test_directions_may_have_activations_of_their_own(rng):
    chosen = [*("sigmoid", "tanh", "tanh"), *("hardsigmoid", "softsign", "relu")]
    layer = rc.LSTM(3, 5, bidirectional=True, activations=chosen, dtype="float64", seed=0)
    judge(layer, rng)
    assert layer.cell.curve_of("g") is None
    assert layer.cell.is_share("i") is False
    one = layer.cell.activation_of("g", 1)
    assert one is not None
    assert one.name == "softsign"


def test_pairs_of_options_equal_the_twins(rng):
    for a, b in itertools.combinations(ALL_OF_LSTM, 2):
        judge(rc.LSTM(3, 5, dtype="float64", seed=2, **{key: ALL_OF_LSTM[key] for key in (a, b)}), rng)


def test_the_page_about_options_is_right():
    page = Path(__file__).parents[2] / "docs" / "options.md"
    failed, tried = doctest.testfile(str(page), module_relative=False)
    assert (failed, tried > 5) == (0, True)
