"""Shared by the tests: all cells, random data, and comparisons."""

import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import twin
from twin import Twin

import rnncore as rc
from rnncore import _engine
from rnncore.recurrent.descriptions import of_kernel

# Every cell there is, with the options that choose it.
CELLS = {
    kernel.replace("_", "-"): (cell.mode, dict(cell.options))
    for kernel, cell in ((kernel, of_kernel(kernel)) for kernel in _engine.cell_names())
}
# An LSTM with projections is no cell of its own; `make` makes its h half as wide as c.
PROJECTED = "lstm-projected"
KINDS = [*CELLS, PROJECTED]
# The numbers the project promises: max|a−b| ≤ TOLERANCE·max|b| per array, b in float64.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def make(cell, input_size, hidden_size, num_layers=1, **options):
    """A layer with random weights, biases included; `seed` makes them differ."""
    if cell == PROJECTED:
        own = {"proj_size": hidden_size // 2, "seed": 7} | options
        return rc.LSTM(input_size, hidden_size, num_layers, **own)
    mode, own = CELLS[cell]
    return getattr(rc, mode)(input_size, hidden_size, num_layers, **({"seed": 7} | options), **own)


def parts(state):
    """(h,) or (h, c), whatever the layer's state is."""
    return state if isinstance(state, tuple) else (state,)


def whole(layer, arrays):
    """The inverse of `parts`: a state as a layer's call and backward take it."""
    return tuple(arrays) if len(layer.cell.states) > 1 else arrays[0]


def state_shape(layer, B):
    """Of every state, where there are no projections."""
    (shape,) = set(layer.structure.state_shapes(B))
    return shape


def random_state(layer, B, rng, K=()):
    shapes = layer.structure.state_shapes(B)
    return whole(layer, [rng.normal(size=(*K, *shape)).astype(layer.dtype) for shape in shapes])


def random_input(layer, T, B, rng):
    return rng.normal(size=(T, B, layer.input_size)).astype(layer.dtype)


def random_cotangents(layer, T, B, rng, K=()):
    """Random cotangents of the output and of the final state."""
    g = rng.normal(size=(*K, T, B, layer.structure.features)).astype(layer.dtype)
    return g, random_state(layer, B, rng, K)


def close(a, b, tol, noise=0):
    """max|a−b| ≤ tol·max|b|; `tol` a number or the name of a dtype."""
    a, b = np.asarray(a), np.asarray(b, np.float64)
    tol = TOLERANCE.get(str(tol), tol)
    assert a.shape == b.shape, f"shape {a.shape}, expected {b.shape}"
    if not b.size:
        return
    assert np.isfinite(b).all(), "the reference itself is not finite"
    error, bound = np.abs(a - b).max(), max(float(tol) * np.abs(b).max(), noise)
    assert error <= bound, f"error {error:.3g} above {bound:.3g}"


def all_close(got, expected, tol):
    """As `close`, for dicts and for states."""
    if not isinstance(expected, dict):
        got, expected = (dict(enumerate(parts(s))) for s in (got, expected))
    assert set(got) == set(expected)
    for k in expected:
        try:
            close(got[k], expected[k], tol)
        except AssertionError as e:
            raise AssertionError(f"{k}: {e}") from None


def judge_pass(layer, x, s0, lengths, cot):
    """Output, state and all gradients of a recorded pass against the twin's in float64."""
    tape = layer.record(x, s0, lengths=lengths)
    got = results(tape, tape.backward(*cot))
    judge_results(layer, got, lambda judge: twin_pass(judge, x, s0, lengths, cot))


def judge_results(layer, got, by_twin, slack=1):
    """Arrays by name against those that `by_twin` makes with a twin of the layer; `slack` widens the bounds.

    Where a few numbers cancel (two terms of one unit, 1 − h² near 1) no float32 holds 1e-5 of what
    is left: there the bound is twice what errors of 3 ulp, the most of a curve, do everywhere.
    """
    expected = by_twin(Twin.of(layer))
    assert list(got) == list(expected)
    noise, smallest = dict.fromkeys(got, 0), 100 * np.finfo(layer.dtype).tiny  # below it digits are lost
    for k, b in expected.items():
        try:
            close(got[k], b, slack * TOLERANCE[str(layer.dtype)], smallest)
        except AssertionError:
            if not any(noise.values()):
                noise = rounding_noise(layer, expected, by_twin)
            try:
                close(got[k], b, slack * TOLERANCE[str(layer.dtype)], 2 * 3 * slack * noise[k])
            except AssertionError as e:
                raise AssertionError(f"{k}: {e}") from None


def results(run, grads):
    out = {"output": run.output, "input": grads.input} | grads.parameters
    out |= {f"state {i}": a for i, a in enumerate(parts(run.state))}
    return out | {f"grad of state {i}": a for i, a in enumerate(parts(grads.state))}


def twin_pass(judge, x, s0, lengths, cot):
    run = judge.forward(x, None if s0 is None else parts(s0), lengths)
    return results(run, judge.backward(run, cot[0], parts(cot[1])))


def rounding_noise(layer, exact, by_twin):
    """By how much the exact results move when weights and each curve's argument and value are an ulp off."""
    rng, noise = np.random.default_rng(0), dict.fromkeys(exact, 0)

    def off(a):
        return a * (1 + np.finfo(layer.dtype).eps * rng.choice([-1, 1], size=a.shape))

    def shaken(curve):
        return lambda a: off(curve(off(a)))

    curves = {"sigmoid": shaken(twin.sigmoid), "tanh": shaken(twin.tanh)}
    with mock.patch.multiple(twin, **curves):
        for _ in range(8):
            judge = Twin.of(layer)
            judge.parameters = {name: off(w) for name, w in judge.parameters.items()}
            moved = by_twin(judge)
            noise = {k: max(v, np.abs(moved[k] - exact[k]).max()) for k, v in noise.items()}
    return noise


def same_bits(a, b, what=""):
    """Same shape, type and bytes (so −0 differs from 0, and NaN equals NaN)."""
    if isinstance(a, dict):
        assert list(a) == list(b)
        for k in a:
            same_bits(a[k], b[k], k)
        return
    if isinstance(a, tuple):
        for x, y in zip(a, b, strict=True):
            same_bits(x, y, what)
        return
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    assert (a.shape, a.dtype) == (b.shape, b.dtype), what
    if a.tobytes() != b.tobytes():
        different = np.argwhere(a.view(f"u{a.itemsize}") != b.view(f"u{a.itemsize}"))
        at = tuple(different[0])
        raise AssertionError(f"{what}: {len(different)} differ, first {at}: {a[at]} and {b[at]}")


def weights_of(grads):
    """The weights' gradients; none where their products were off."""
    return dict(grads.parameters or {})


def everything(tape, grads):
    """All numbers of a recorded and differentiated pass, by name."""
    out = {"output": tape.output, "input": grads.input} | weights_of(grads)
    out |= {f"state{i}": a for i, a in enumerate(parts(tape.state))}
    out |= {f"grad_state{i}": a for i, a in enumerate(parts(grads.state))}
    out |= {f"value {n}": tape[n] for n in tape.names("*")}
    return out | {f"grad {n}": tape.grad[n] for n in tape.names("*")}


def run_python(code, timeout=120, check=True, **env):
    """Run `code` in a fresh interpreter that imports the same rnncore and the same tests folder."""
    roots = [str(Path(rc.__file__).parents[1]), str(Path(__file__).parent)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(roots)} | env
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, timeout=timeout, capture_output=True, text=True
    )
    if check and done.returncode:
        raise AssertionError(f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done
