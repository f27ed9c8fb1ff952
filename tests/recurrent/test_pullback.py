"""A pullback of a block of state cotangents equals the product with explicit Jacobians."""

import numpy as np
import pytest
from support import KINDS, close, make, parts, random_input, random_state, same_bits, whole
from twin import Twin

import rnncore as rc

DIRECTIONS = {"forward": 0, "reverse": 1}


def width(layer):
    return layer.num_layers * sum(shape[-1] for shape in layer.structure.state_shapes(1))


def true(carry):
    return carry.value.astype(np.float64) * np.exp(carry.log_scale)[..., None]


def setting(cell, rng, T=7, B=3, layers=2, both=False, lengths=None, dtype="float64", **options):
    layer = make(cell, 3, 4, layers, bidirectional=both, dtype=dtype)
    x, s0 = random_input(layer, T, B, rng), random_state(layer, B, rng)
    v = rng.normal(size=(5, B, width(layer))).astype(dtype)
    run = Twin.of(layer).forward(x, parts(s0), lengths)
    return layer, layer.record(x, s0, lengths=lengths, **options), run, v


def explicit(layer, run, v, direction="forward"):
    """[v·J_last, v·J_last·J_before, …]"""
    out = []
    for J in Twin.of(layer).jacobians(run, DIRECTIONS[direction])[::-1]:
        v = np.einsum("kbs,bsr->kbr", v, J)
        out.append(v)
    return out


@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("every", [1, 3, 7, 50])
def test_a_pullback_is_the_product_of_the_jacobians(cell, layers, every, rng):
    layer, tape, run, v = setting(cell, rng, layers=layers)
    expected, walked = explicit(layer, run, v), 0
    for carry in tape.pullback(v, every=every):
        walked = min(walked + every, 7)
        assert carry.step == 7 - walked
        assert carry.value.shape == v.shape
        assert carry.log_scale.shape == v.shape[:2]
        assert carry.log_scale.dtype == np.float64
        same_bits(np.asarray(carry.lag, np.int64), np.full(3, walked))
        close(true(carry), expected[walked - 1], 1e-12)
    assert walked == 7


@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("layers", [1, 2])
def test_one_direction_of_a_bidirectional_layer_is_walked(cell, direction, layers, rng):
    layer, tape, run, v = setting(cell, rng, both=True, layers=layers)
    expected = explicit(layer, run, v, direction)
    carries = [(c.lag.copy(), true(c)) for c in tape.pullback(v, direction=direction)]
    assert len(carries) == 7
    for k, (lag, value) in enumerate(carries):
        assert (lag == k + 1).all()
        close(value, expected[k], 1e-12)


@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_ragged_rows_start_at_their_own_end(cell, direction, rng):
    lengths = np.array([3, 7, 0, 5])
    layer, tape, run, v = setting(cell, rng, B=4, both=True, layers=1, lengths=lengths)
    expected = explicit(layer, run, v, direction)
    for k, carry in enumerate(tape.pullback(v, direction=direction), 1):
        close(true(carry), expected[k - 1], 1e-12)
        if direction == "forward":
            same_bits(np.asarray(carry.lag, np.int64), np.maximum(0, lengths - carry.step))
        else:
            same_bits(np.asarray(carry.lag, np.int64), np.minimum(k, lengths))
    assert (carry.lag == lengths).all()


@pytest.mark.parametrize("cell", KINDS)
def test_the_default_cotangents_are_the_identity(cell, rng):
    layer, tape, run, _ = setting(cell, rng)
    S = width(layer)
    eye = np.broadcast_to(np.eye(S)[:, None], (S, 3, S))
    given, default = list(map(true, tape.pullback(eye))), list(map(true, tape.pullback()))
    assert default[0].shape == (S, 3, S)
    for a, b, c in zip(given, default, explicit(layer, run, eye), strict=True):
        same_bits(a, b)
        close(b, c, 1e-12)


@pytest.mark.parametrize("cell", KINDS)
def test_the_last_carry_equals_the_state_gradient_of_backward(cell, rng):
    layer, tape, *_ = setting(cell, rng)
    gs = random_state(layer, 3, rng)
    flat = lambda s: np.concatenate([row for a in parts(s) for row in a], axis=-1)  # noqa: E731
    *_, last = tape.pullback(flat(gs)[None], every=2)
    close(true(last)[0], flat(tape.backward(grad_state=gs).state), 1e-12)


@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_many_cotangents_have_the_bits_of_one_by_one(cell, dtype, rng):
    _, tape, _, v = setting(cell, rng, T=40, dtype=dtype)
    v *= 10.0 ** np.arange(-4, 6, 2).reshape(5, 1, 1)  # scales of their own
    together = [(c.value.copy(), c.log_scale.copy()) for c in tape.pullback(v, every=3)]
    for k in range(5):
        alone = [(c.value.copy(), c.log_scale.copy()) for c in tape.pullback(v[k : k + 1], every=3)]
        for (a, la), (b, lb) in zip(together, alone, strict=True):
            same_bits(a[k : k + 1], b)
            same_bits(la[k : k + 1], lb)


@pytest.mark.parametrize("cell", KINDS)
def test_a_row_has_the_bits_of_the_row_alone(cell, rng):
    layer = make(cell, 3, 9, 2)
    x, s0 = random_input(layer, 12, 13, rng), random_state(layer, 13, rng)
    v = rng.normal(size=(3, 13, width(layer))).astype("float32")
    tape = layer.record(x, s0)
    alone = layer.record(x[:, 4:5], whole(layer, [a[:, 4:5] for a in parts(s0)]))
    for a, b in zip(tape.pullback(v), alone.pullback(v[:, 4:5]), strict=True):
        same_bits(a.value[:, 4:5], b.value)
        same_bits(a.log_scale[:, 4:5], b.log_scale)


@pytest.mark.parametrize("cell", KINDS)
def test_a_carry_that_is_changed_is_walked_on_with(cell, rng):
    """The value is orthogonalised, a row that was zero is set, and a scale is changed."""
    layer, tape, run, v = setting(cell, rng)
    v[4] = 0
    jacobians = Twin.of(layer).jacobians(run)[::-1]
    reference = v.copy()
    new = rng.normal(size=v.shape[1:])
    for k, carry in enumerate(tape.pullback(v)):
        reference = np.einsum("kbs,bsr->kbr", reference, jacobians[k])
        close(true(carry), reference, 1e-12)
        assert not carry.value[4].any() or k >= 4
        assert np.isfinite(carry.log_scale).all()
        if k == 2:
            for b in range(3):
                q = np.linalg.qr(true(carry)[:4, b].T)[0].T
                carry.value[:4, b], carry.log_scale[:4, b], reference[:4, b] = q, 0, q
        if k == 3:
            carry.value[4], reference[4] = new, new
        if k == 4:
            carry.log_scale[0] += np.log(3)
            reference[0] *= 3


# A matrix, a left eigenvector, its eigenvalue; the states of h' = relu(1 + U·h) stay positive.
GROWS = 3 * np.array([[1, -1], [-1, 1]]), np.array([1, -1]), 6
SHRINKS = np.eye(2) / 3, np.array([0, 1]), 1 / 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", [GROWS, SHRINKS], ids=["grows", "shrinks"])
def test_long_products_neither_overflow_nor_underflow(case, dtype):
    """2,000 steps, whose product lies far outside the range of both types."""
    u, v, rate = case
    layer = make("rnn-relu", 1, 2, dtype=dtype, bias=False)
    with layer.writable() as p:
        p["weight_ih_l0"][:], p["weight_hh_l0"][:] = 1, u
    tape = layer.record(np.ones((2000, 1, 1)))
    for carry in tape.pullback(v.reshape(1, 1, 2), every=200):
        assert 1e-20 < np.abs(carry.value).max() < 1e20
        log_norm = np.log(np.linalg.norm(carry.value.astype(float))) + carry.log_scale[0, 0]
        k, start = carry.lag[0], np.log(np.linalg.norm(v))
        # a step rounds the value (and ⅓ was rounded), and may round the sum of its logs
        rounding = 2 * np.finfo(dtype).eps + np.finfo(float).eps * abs(log_norm)
        assert abs(log_norm - start - k * np.log(rate)) <= k * rounding + 1e-14


def test_the_given_cotangents_are_not_written_to(rng):
    _, tape, _, v = setting("lstm", rng)
    before = v.copy()
    for carry in tape.pullback(v):
        carry.value[:] *= 2
    same_bits(v, before)
    v.flags.writeable = False
    next(tape.pullback(v)).value[:] = 0


def test_two_walks_of_a_tape_are_independent(rng):
    """Two pullbacks and a backward of one tape, interleaved; pullbacks do not change `tape.grad`."""
    layer, tape, _, v = setting("gru", rng)
    alone = [true(c) for c in tape.pullback(v)]
    tape.backward(tape.output)
    grad = tape.grad["l0.h"].copy()
    a, b = tape.pullback(v), tape.pullback(2 * v)
    for k in range(7):
        one, two = next(a), next(b)
        if k == 3:
            tape.backward(2 * tape.output)
            tape.backward(tape.output)
        close(true(one), alone[k], 1e-14)
        close(true(two), 2 * alone[k], 1e-14)
    same_bits(tape.grad["l0.h"], grad)
    assert layer.version == layer.version


@pytest.mark.parametrize("cell", KINDS)
def test_pullbacks_of_empty_sequences_have_an_answer(cell, rng):
    layer = make(cell, 3, 4)
    assert list(layer.record(random_input(layer, 0, 2, rng)).pullback()) == []
    carries = layer.record(random_input(layer, 3, 0, rng)).pullback()
    S = width(layer)
    assert [(c.step, c.value.shape) for c in carries] == [(t, (S, 0, S)) for t in (2, 1, 0)]


@pytest.mark.parametrize("cell", KINDS)
def test_threads_change_no_bit(cell, rng):
    layer, tape, _, v = setting(cell, rng, T=11, lengths=[11, 4, 8])
    ends = []
    for threads in (1, 2):
        with rc.threads(threads):
            *_, last = tape.pullback(v, every=2)
        ends.append((last.value.copy(), last.log_scale.copy()))
    same_bits(*ends)
    assert layer.hidden_size == 4


@pytest.mark.parametrize("cell", KINDS)
def test_under_checkpoints_the_same_bits_or_a_clear_refusal(cell, rng):
    layer, tape, _, v = setting(cell, rng, T=11, lengths=[11, 4, 8])
    sparse = layer.record(tape.input, tape.initial, lengths=tape.lengths, checkpoint_every=3)
    *_, last = tape.pullback(v, every=2)
    try:
        *_, other = sparse.pullback(v, every=2)
    except ValueError as e:
        assert "checkpoint_every" in str(e)  # noqa: PT017
    else:
        same_bits((last.value, last.log_scale), (other.value, other.log_scale))


@pytest.mark.parametrize("cell", KINDS)
def test_dropout_is_walked_through(cell, rng):
    layer = make(cell, 3, 6, 3, dropout=0.5, dtype="float64")
    tape = layer.record(random_input(layer, 6, 2, rng), train=True)
    gs = random_state(layer, 2, rng)
    flat = lambda s: np.concatenate([row for a in parts(s) for row in a], axis=-1)  # noqa: E731
    *_, last = tape.pullback(flat(gs)[None])
    close(true(last)[0], flat(tape.backward(grad_state=gs).state), 1e-12)


def test_cotangents_are_converted_to_the_tapes_dtype(rng):
    """v of another real type is converted; the carry's value has the dtype of the tape."""
    layer, tape, _, v = setting("gru", rng, dtype="float32")
    same_bits(next(tape.pullback(v.astype(np.float64))).value, next(tape.pullback(v)).value)
    assert next(tape.pullback(v)).value.dtype == np.float32
    assert isinstance(next(tape.pullback(v)).step, int)
    assert layer.dtype == np.float32


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_carry_refuses_values_of_another_shape(cell, rng):
    """Other types are converted; setting the shape or type of its array does not affect the walk."""
    layer, tape, _, v = setting(cell, rng, dtype="float32")
    reference = tape.pullback(2 * v)
    for carry in tape.pullback(v):
        value = carry.value
        for wrong in (value[:1], value.ravel(), np.ones((len(v) + 1, *v.shape[1:])), value[..., None], 1.0):
            with pytest.raises(ValueError, match="value: got shape"):
                carry.value = wrong
        with pytest.raises(TypeError, match="value: got complex"):
            carry.value = value * 1j
        with pytest.raises(ValueError, match="log_scale: got shape"):
            carry.log_scale = np.zeros(1)
        carry.value.shape = (-1,)
        carry.value.dtype = np.uint8
        carry.log_scale.shape = (-1,)
        same_bits(carry.value, value)
        if carry.step == tape.T - 1:
            carry.value = (2 * value).astype(np.float64)
        expected = next(reference)
        same_bits(carry.value, expected.value)
        same_bits(carry.log_scale, expected.log_scale)
    assert layer.dtype == np.float32
