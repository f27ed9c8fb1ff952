"""Arrays of other libraries as input, state and weights: shared where their layout allows, else converted."""

import array

import numpy as np
import pytest
from support import make, parts, random_input, random_state, same_bits

import rnncore as rc
from rnncore._checks import as_array, as_rows

torch = pytest.importorskip("torch")
F32 = np.dtype("float32")


class DLPackAlone:
    """An array that has no protocol but DLPack."""

    def __init__(self, values):
        self._values = values

    def __dlpack__(self, **options):
        return self._values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._values.__dlpack_device__()


class Elsewhere:
    """An array in another memory than that of the CPU."""

    def __dlpack__(self, **options):
        raise BufferError("the array is on another device")

    def __dlpack_device__(self):
        return (2, 0)


def a_layer():
    rng = np.random.default_rng(3)
    layer = make("lstm", 3, 4, num_layers=2)
    return layer, random_input(layer, 5, 2, rng), random_state(layer, 2, rng)


SHARED = {
    "torch": lambda x: torch.from_numpy(x),
    "torch that needs gradients": lambda x: torch.from_numpy(x).requires_grad_(),
    "DLPack": DLPackAlone,
    "memoryview": memoryview,
}


@pytest.mark.parametrize("kind", SHARED)
def test_these_come_in_without_a_copy(kind):
    _, x, _ = a_layer()
    assert np.shares_memory(as_rows(SHARED[kind](x), "x", F32), x)


def test_a_transposed_tensor_comes_in_without_a_copy():
    """Where the rows along the last axis are contiguous, any strides of the others are read as they are."""
    x = torch.randn(2, 5, 3)
    assert np.shares_memory(as_rows(x.transpose(0, 1), "x", F32), x.numpy())
    assert not np.shares_memory(as_rows(x.transpose(1, 2), "x", F32), x.numpy())


def test_python_arrays_have_the_buffer_protocol():
    values = array.array("f", [1.0, 2.0, 3.0])
    assert np.shares_memory(as_array(values, "x"), np.asarray(values))


@pytest.mark.parametrize("kind", SHARED)
def test_x_and_state_and_weights_of_other_libraries(kind):
    convert = SHARED[kind]
    layer, x, state = a_layer()
    expected = layer(x, state)
    same_bits(layer(convert(x), tuple(map(convert, state))), expected)
    same_bits(layer.record(convert(x), tuple(map(convert, state))).output, expected[0])
    other = make("lstm", 3, 4, num_layers=2, seed=8)
    other.load_state_dict({name: convert(values) for name, values in layer.state_dict().items()})
    same_bits(other(x, state), expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_converted(dtype):
    """float32 has all values of both types, so that a layer computes with exactly these values."""
    layer, x, state = a_layer()
    halves = [torch.from_numpy(values).to(getattr(torch, dtype)).requires_grad_() for values in (x, *state)]
    exact = [half.detach().float().numpy() for half in halves]
    same_bits(layer(halves[0], tuple(halves[1:])), layer(exact[0], tuple(exact[1:])))
    weights = {name: torch.from_numpy(values).to(getattr(torch, dtype)) for name, values in layer.state_dict().items()}
    layer.load_state_dict(weights)
    same_bits(layer.state_dict(), {name: values.float().numpy() for name, values in weights.items()})


def test_arrays_of_bfloat16_in_numpy():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    layer, x, _ = a_layer()
    half = x.astype(ml_dtypes.bfloat16)
    same_bits(layer(half)[0], layer(half.astype(np.float32))[0])


def test_jax_arrays():
    jax = pytest.importorskip("jax")
    layer, x, state = a_layer()
    same_bits(layer(jax.numpy.asarray(x), tuple(map(jax.numpy.asarray, state))), layer(x, state))


def test_every_other_place_that_takes_arrays():
    """Cells, streams, lengths, resets, cotangents and heads take what layers take."""
    rng = np.random.default_rng(5)
    layer, x, state = a_layer()
    tensor = torch.from_numpy(x).requires_grad_()
    lengths, reset = torch.tensor([5, 2]), torch.from_numpy(rng.random((5, 2)) < 0.3)
    same_bits(layer(tensor, lengths=lengths, reset=reset), layer(x, lengths=[5, 2], reset=reset.numpy()))
    cell = rc.GRUCell(3, 4, seed=1)
    same_bits(cell(tensor[0]), cell(x[0]))
    s, t = layer.stream(2), layer.stream(2)
    same_bits(s.step(tensor[0]), t.step(x[0]))
    same_bits(s.block(tensor[1:]), t.block(x[1:]))
    g = rng.normal(size=(5, 2, 4)).astype("float32")
    theirs, ours = (layer.record(x).backward(values) for values in (torch.from_numpy(g).requires_grad_(), g))
    same_bits(theirs.input, ours.input)
    linear = rc.nn.Linear(3, 2, seed=0)
    same_bits(linear(tensor), linear(x))
    assert len(parts(layer(tensor, tuple(torch.from_numpy(part) for part in state))[1])) == 2


@pytest.mark.parametrize(("value", "why"), [
    (Elsewhere(), "on another device"),
    (torch.eye(3).to_sparse(), "Sparse"),
    (torch.eye(3, device="meta"), "meta"),
    (torch.eye(3, dtype=torch.complex64), "complex64 values"),
])
def test_what_cannot_be_read_is_refused_by_name(value, why):
    with pytest.raises(TypeError, match=r"^x: got") as caught:
        rc.RNN(3, 2, seed=0)(value)
    assert why in str(caught.value)
