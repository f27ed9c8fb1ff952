"""rc.RNNCell, GRUCell, LSTMCell: one step, torch's names, a layer's bits, record and backward."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from support import CELLS, all_close, close, parts, same_bits
from twin import Twin

import rnncore as rc

H, I, B = 7, 3, 4


def make_cell(kind, dtype="float32", **options):
    mode, own = CELLS[kind]
    return getattr(rc, mode + "Cell")(I, H, dtype=dtype, **({"seed": 5} | options), **own)


def make_layer(kind, cell, bias=True):
    """The layer with the cell's weights."""
    mode, own = CELLS[kind]
    layer = getattr(rc, mode)(I, H, dtype=str(cell.dtype), bias=bias, **own)
    layer.load_state_dict({k + "_l0": v for k, v in cell.state_dict().items()})
    return layer


def data(kind, dtype, rng):
    x = rng.normal(size=(B, I)).astype(dtype)
    s = [rng.normal(size=(B, H)).astype(dtype) for _ in range(1 + (kind == "lstm"))]
    return x, tuple(s) if kind == "lstm" else s[0]


def deep(s):
    """A cell's state as its layer's."""
    return tuple(a[None] for a in s) if isinstance(s, tuple) else s[None]


def flat(s):
    return tuple(a[0] for a in s) if isinstance(s, tuple) else s[0]


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("bias", [True, False])
def test_weights_have_the_names_and_shapes_of_torchs_cells(kind, bias):
    G = {"RNN": 1, "GRU": 3, "LSTM": 4}[CELLS[kind][0]] * H
    expected = {"weight_ih": (G, I), "weight_hh": (G, H)} | (
        {"bias_ih": (G,), "bias_hh": (G,)} if bias else {}
    )
    cell = make_cell(kind, bias=bias)
    assert {k: v.shape for k, v in cell.state_dict().items()} == expected
    assert list(cell.parameters) == list(expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("kind", "bias"), itertools.product(CELLS, [True, False]))
def test_a_step_has_the_bits_of_a_layer_of_one_step(kind, bias, dtype, rng):
    cell = make_cell(kind, dtype, bias=bias)
    layer = make_layer(kind, cell, bias)
    x, s = data(kind, dtype, rng)
    new = cell(x, s)
    assert isinstance(new, tuple) == (kind == "lstm")
    y, expected = layer(x[None], deep(s))
    same_bits(new, flat(expected))
    same_bits(parts(new)[0], y[0])
    run = Twin.of(layer).forward(x[None], parts(deep(s)))
    for a, b in zip(parts(new), run.state, strict=True):
        close(a, b[0], dtype)


@pytest.mark.parametrize("kind", CELLS)
def test_state_defaults_to_zeros(kind, rng):
    cell = make_cell(kind)
    x, s = data(kind, "float32", rng)
    zeros = tuple(np.zeros_like(a) for a in parts(s))
    same_bits(cell(x), cell(x, zeros if kind == "lstm" else zeros[0]))


@pytest.mark.parametrize("kind", CELLS)
def test_a_row_without_a_batch_axis_has_the_bits_of_a_batch_of_one(kind, rng):
    cell = make_cell(kind)
    x, s = data(kind, "float32", rng)
    one = cell(x[0], tuple(a[0] for a in s) if kind == "lstm" else s[0])
    for a, b in zip(parts(one), parts(cell(x, s)), strict=True):
        same_bits(a, b[0])


@pytest.mark.parametrize("kind", CELLS)
def test_a_loop_of_steps_has_the_bits_of_the_layer(kind, rng):
    cell = make_cell(kind)
    layer = make_layer(kind, cell)
    x = rng.normal(size=(6, B, I)).astype("float32")
    _, s = data(kind, "float32", rng)
    y, end = layer(x, deep(s))
    for t in range(6):
        s = cell(x[t], s)
        same_bits(parts(s)[0], y[t])
    same_bits(s, flat(end))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", CELLS)
def test_a_recorded_step_and_its_gradients_are_those_of_a_layer_of_one_step(kind, dtype, rng):
    """The gradients of all inputs equal those of the numpy twin, from cotangents of the new state."""
    cell = make_cell(kind, dtype)
    layer = make_layer(kind, cell)
    x, s = data(kind, dtype, rng)
    _, g = data(kind, dtype, rng)
    twin = Twin.of(layer)
    run = twin.forward(x[None], parts(deep(s)))
    expected = twin.backward(run, None, parts(deep(g)))
    tape = cell.record(x, s)
    same_bits(tape.state, cell(x, s))
    grads = tape.backward(grad_state=g)
    close(grads.input, expected.input[0], dtype)
    all_close(
        grads.state, flat(tuple(expected.state)) if kind == "lstm" else expected.state[0][0], dtype
    )
    all_close(
        grads.parameters, {k.removesuffix("_l0"): v for k, v in expected.parameters.items()}, dtype
    )
    by_output = tape.backward(parts(g)[0])
    close(by_output.input, twin.backward(run, parts(g)[0][None]).input[0], dtype)


@pytest.mark.parametrize("kind", CELLS)
def test_backward_has_the_bits_of_the_layer(kind, rng):
    cell = make_cell(kind)
    layer = make_layer(kind, cell)
    x, s = data(kind, "float32", rng)
    _, g = data(kind, "float32", rng)
    mine = cell.record(x, s).backward(grad_state=g)
    theirs = layer.record(x[None], deep(s)).backward(grad_state=deep(g))
    same_bits(mine.input, theirs.input[0])
    same_bits(mine.state, flat(theirs.state))
    for k, v in mine.parameters.items():
        same_bits(v, theirs.parameters[k + "_l0"], k)


@pytest.mark.parametrize("kind", CELLS)
def test_gradients_by_name_are_those_of_the_layers_tape(kind, rng):
    """They equal the twin's in float64, and have the bits of the layer's tape, for one cotangent and for several."""
    cell = make_cell(kind, "float64")
    layer = make_layer(kind, cell)
    x, s = data(kind, "float64", rng)
    _, g = data(kind, "float64", rng)
    _, other = data(kind, "float64", rng)
    two = tuple(np.stack(pair) for pair in zip(parts(g), parts(other), strict=True))
    twin = Twin.of(layer)
    expected = twin.backward(twin.forward(x[None], parts(deep(s))), None, parts(deep(g))).values
    tape, whole = cell.record(x, s), layer.record(x[None], deep(s))
    tape.backward(grad_state=g)
    whole.backward(grad_state=deep(g))
    assert list(tape.grad) == tape.names() == [name.removeprefix("l0.") for name in whole.names()]
    for name, array in tape.grad.items():
        assert (array.shape, array.flags.writeable) == ((B, H), False)
        close(array, expected[f"l0.{name}"][0], "float64")
        same_bits(array, whole.grad[f"l0.{name}"][0], name)
    first = {name: array.copy() for name, array in tape.grad.items()}
    tape.backward(grad_state=two if kind == "lstm" else two[0])
    for name, array in tape.grad.items():
        assert array.shape == (2, B, H)
        same_bits(array[0], first[name], name)


@pytest.mark.parametrize("kind", CELLS)
def test_gradients_are_the_slopes_of_the_loss(kind, rng):
    """L = Σ g·s' by central differences of the biases: the gates' are those of weight_ih's blocks, summed over rows.

    Of a step of 1e-5 in float64 about 1e-10 of the slope are left as the error of the differences and of rounding.
    """
    cell = make_cell(kind, "float64")
    x, s = data(kind, "float64", rng)
    g = [rng.normal(size=(B, H)) for _ in parts(s)]
    tape = cell.record(x, s)
    tape.backward(grad_state=tuple(g) if kind == "lstm" else g[0])
    bias = cell.state_dict()["bias_ih"]

    def loss(change):
        with cell.writable() as w:
            w["bias_ih"][...] = bias + change
        return sum(np.sum(a * b) for a, b in zip(g, parts(cell(x, s)), strict=True))

    slopes = np.array([(loss(step) - loss(-step)) / 2e-5 for step in 1e-5 * np.eye(len(bias))])
    for name in cell.cell.blocks_ih:
        found = tape.grad[name]
        if name == "h":  # of h itself, not of the sum that its curve takes
            found = found * cell.cell.slope(tape["h"])
        close(found.sum(0), slopes[cell.cell.rows(name, H)], 1e-7)


def test_asking_for_a_gradient_before_backward_is_an_error(rng):
    tape = make_cell("gru").record(*data("gru", "float32", rng))
    assert not tape.grad
    assert list(tape.grad) == []
    with pytest.raises(KeyError, match=r"z: no gradient yet; call tape\.backward"):
        _ = tape.grad["z"]
    tape.backward(np.ones((B, H)))
    for arrays in (tape, tape.grad):
        with pytest.raises(KeyError, match=r"got 'l0\.z', expected one of h, r, z, n, hn"):
            _ = arrays["l0.z"]
        with pytest.raises(TypeError, match="name: got 0, expected one of h, r, z, n, hn"):
            _ = arrays[0]


@pytest.mark.parametrize("kind", ["rnn-tanh", "rnn-relu", "gru", "lstm"])
def test_steps_equal_those_of_torchs_cells(kind, rng):
    torch = pytest.importorskip("torch")
    mode, own = CELLS[kind]
    own = {k: v for k, v in own.items() if k == "nonlinearity"}
    cell = make_cell(kind)
    theirs = getattr(torch.nn, mode + "Cell")(I, H, dtype=torch.float64, **own)
    theirs.load_state_dict({k: torch.tensor(v) for k, v in cell.state_dict().items()})
    x, s = data(kind, "float32", rng)
    tensors = [torch.tensor(a, dtype=torch.float64) for a in parts(s)]
    expected = theirs(
        torch.tensor(x, dtype=torch.float64), tuple(tensors) if kind == "lstm" else tensors[0]
    )
    for a, b in zip(parts(cell(x, s)), parts(expected), strict=True):
        close(a, b.detach().numpy(), "float32")
    cell.load_state_dict(theirs.state_dict())


@pytest.mark.parametrize("kind", CELLS)
def test_a_batch_without_rows_has_an_answer(kind):
    cell = make_cell(kind)
    new = cell(np.zeros((0, I)))
    assert all(a.shape == (0, H) for a in parts(new))


@pytest.mark.parametrize("kind", ["rnn-relu", "gru", "lstm"])
def test_wrong_arguments_are_named(kind, rng):
    cell = make_cell(kind)
    x, s = data(kind, "float32", rng)
    pair = lambda a: (a, a) if kind == "lstm" else a  # noqa: E731
    cases = [
        (lambda: cell(np.ones((B, I + 1))), ["x", "(4, 4)", "3"]),
        (lambda: cell(np.ones((2, B, I))), ["x", "(2, 4, 3)"]),
        (lambda: cell(x * 1j), ["x", "complex"]),
        (lambda: cell(x, pair(np.ones((B, H + 1)))), ["(4, 8)", "(4, 7)"]),
        (lambda: cell(x, pair(np.ones((B + 1, H)))), ["(5, 7)", "(4, 7)"]),
        (lambda: cell.load_state_dict({"weight_ih": np.ones(3)}), ["weight_hh"]),
        (lambda: getattr(rc, CELLS[kind][0] + "Cell")(I, 0), ["hidden_size", "0"]),
    ]
    for call, said in cases:
        with pytest.raises((ValueError, TypeError, KeyError)) as e:
            call()
        assert all(text in str(e.value) for text in said), (said, str(e.value))
    assert parts(s)


@pytest.mark.parametrize("kind", CELLS)
def test_a_step_uses_the_new_weights_after_a_change(kind, rng):
    cell = make_cell(kind)
    x, s = data(kind, "float32", rng)
    tape = cell.record(x, s)
    with cell.writable() as p:
        for a in p.values():
            a *= -1.5
    y, _ = make_layer(kind, cell)(x[None], deep(s))
    same_bits(parts(cell(x, s))[0], y[0])
    with pytest.raises((RuntimeError, ValueError), match="record"):
        tape.backward(grad_state=s)


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_lean_step_has_the_bits_of_the_layer(kind, dtype, rng):
    """Also for arrays with strides or of other types, for read-only arrays, and for lists."""
    cell = make_cell(kind, dtype)
    x, s = data(kind, dtype, rng)
    expected = flat(make_layer(kind, cell)(x[None], deep(s))[1])
    wide = np.zeros((B, 2 * I), dtype)
    wide[:, ::2] = x
    frozen = x.copy()
    frozen.setflags(write=False)
    for given in (x, wide[:, ::2], frozen, np.asfortranarray(x), x.astype(x.dtype.newbyteorder()), x.tolist()):
        same_bits(cell(given, s), expected)
    as_lists = tuple(a.tolist() for a in parts(s))
    same_bits(cell(x, as_lists if kind == "lstm" else as_lists[0]), expected)
    for got, b in ((parts(cell(x, s)), B), (parts(cell(x[:1], flat(tuple(a[None, :1] for a in parts(s)))
                                                         if kind == "lstm" else s[:1])), 1)):  # fmt: skip
        for a in got:
            assert a.flags.owndata
            assert a.flags.writeable
            assert len(a) == b


@pytest.mark.parametrize("kind", CELLS)
def test_large_batches_take_the_way_of_the_layer(kind, rng):
    """Batches that are too large for the lean step have the same bits."""
    mode, own = CELLS[kind]
    cell = getattr(rc, mode + "Cell")(64, 128, seed=5, **own)
    x = rng.normal(size=(300, 64)).astype("float32")
    whole = parts(cell(x))
    for k in (0, 150, 299):
        for a, b in zip(parts(cell(x[k])), whole, strict=True):
            same_bits(a, b[k])


@pytest.mark.parametrize("kind", CELLS)
def test_an_unpickled_cell_runs_on_the_weights_that_it_shows(kind, tmp_path, rng):
    """joblib maps large arrays read-only from the file, and pickle 5 passes buffers that belong to others."""
    joblib = pytest.importorskip("joblib")
    mode, own = CELLS[kind]
    cell = getattr(rc, mode + "Cell")(16, 32, seed=5, **own)
    x = rng.normal(size=(2, 16)).astype("float32")
    expected, buffers = cell(x), []
    joblib.dump(cell, tmp_path / "cell.joblib")
    text = pickle.dumps(cell, 5, buffer_callback=buffers.append)
    bytes_of = [bytearray(b.raw()) for b in buffers]
    for other in (
        joblib.load(tmp_path / "cell.joblib", mmap_mode="r"),
        pickle.loads(text, buffers=[bytes(b) for b in bytes_of]),
        pickle.loads(text, buffers=bytes_of),
        copy.copy(cell),
        copy.deepcopy(cell),
    ):
        for b in bytes_of:
            b[:] = bytes(len(b))
        same_bits(other(x), expected)
        same_bits(other.state_dict(), cell.state_dict())
        with other.writable() as p:
            for a in p.values():
                a *= -1.5
        fresh = getattr(rc, mode + "Cell")(16, 32, **own)
        fresh.load_state_dict(other.state_dict())
        same_bits(other(x), fresh(x))
        same_bits(cell(x), expected)
        rc.optim.SGD(other, lr=0.1).step({n: np.ones_like(a) for n, a in other.parameters.items()})
        bytes_of = [bytearray(b.raw()) for b in buffers]


def test_wrong_cotangents_and_names_of_a_tape_are_refused_by_name(rng):
    tape = rc.LSTMCell(2, 3, seed=0).record(rng.normal(size=(2, 2)).astype("float32"))
    ragged = [[1], [1, 2]]
    for given in ({"grad_output": ragged}, {"grad_state": ragged}, {"grad_state": (ragged, None)}):
        with pytest.raises(ValueError, match=f"^{next(iter(given))}"):
            tape.backward(**given)
    for name in ("", "x"):
        with pytest.raises(KeyError, match=f"name: got '{name}', expected one of h, c"):
            tape[name]
