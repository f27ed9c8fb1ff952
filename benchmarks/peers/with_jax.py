"""JAX: a jitted ``lax.scan`` over time, and its vector-Jacobian product for training.

Threads: when XLA's CPU client starts, it sizes its pool by ``NPROC`` and by the CPUs that the
process may use. Both are set before JAX is imported (see ``benchmarks/machine.py``).

The scan can be written in several forms: the product with the input as one product before the loop
or inside every step, the loop rolled or, where a step is short, unrolled. Which form is fastest
depends on the size, by up to 3× either way, so all are compiled and the fastest is timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..cases import Arrays, Case
from ..twin import Numbers

UNROLL = {"forward": 8, "training": 4}  # more takes XLA ten seconds to compile and gains little
WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
SHORT_STEP = 2_000_000  # operations; above this, unrolling was never faster and takes long to compile


class Peer:
    """JAX in this process."""

    def __init__(self, threads: int):
        import jax

        self.jax, self.version = jax, jax.__version__

    def prepare(self, case: Case, mode: str) -> tuple[Callable, Callable]:
        """A call to time, and a function that names the numbers it returns."""
        self.jax.config.update("jax_enable_x64", case.dtype == "float64")
        arrays = Arrays.draw(case)
        return self.fastest(case, mode, arrays.x, arrays.state, arrays.parameters, arrays.grad_output)

    def fastest(
        self, case: Case, mode: str, x: Any, state: Any, parameters: Any, grad_output: Any,
        over: Callable[[Callable], Callable] = lambda function: function,
    ) -> tuple[Callable, Callable]:
        """The call in the form that is fastest; `over` transforms the function before it is compiled."""
        jax, has_step = self.jax, None
        if case.lengths is not None:
            has_step = (np.arange(case.T)[:, None] < case.lengths)[:, :, None]
        inputs = jax.device_put((x, state, parameters))
        grad_output = jax.device_put(grad_output)

        def compiled(hoist: bool, unroll: int) -> Callable:
            def forward(x: Any, state: tuple, parameters: dict) -> tuple:
                return stack(jax, case, hoist, unroll, has_step, x, state, parameters)

            def training(grad_output: Any, *inputs: Any) -> tuple:
                output, back, final = jax.vjp(forward, *inputs, has_aux=True)
                return (output, final), back(grad_output)

            if mode == "forward":
                call = jax.jit(over(forward))
                return lambda: jax.block_until_ready(call(*inputs))
            call = jax.jit(over(training))
            return lambda: jax.block_until_ready(call(grad_output, *inputs))

        return min((compiled(*form) for form in forms(case, mode)), key=best_of_three), by_name(mode)


def forms(case: Case, mode: str) -> list[tuple[bool, int]]:
    """The forms of the scan: whether the product with the input comes before it, and how many steps are unrolled."""
    short = case.flops("forward") / case.T < SHORT_STEP
    return [(hoist, unroll) for unroll in ((1, UNROLL[mode]) if short else (1,)) for hoist in (True, False)]


def best_of_three(call: Callable) -> float:
    call()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def stack(
    jax: Any, case: Case, hoist: bool, unroll: int, has_step: Any, x: Any, state: tuple, p: dict
) -> tuple:
    """All layers and directions: (T, B, I) → output (T, B, D·H), final states."""
    jnp, finals, D = jax.numpy, [], case.directions
    scan = partial(scanned, jax, STEPS[case.cell], hoist, unroll, has_step)
    for layer in range(case.layers):
        halves = []
        for index in range(layer * D, layer * D + D):
            suffix = case.suffixes[index]
            weights = tuple(p[f"{name}_{suffix}"] for name in WEIGHTS)
            carry = tuple(part[index] for part in state)
            carry, half = scan(x, carry, weights, suffix.endswith("_reverse"))
            halves.append(half)
            finals.append(carry)
        x = jnp.concatenate(halves, axis=2) if D == 2 else halves[0]
    return x, tuple(jnp.stack(parts) for parts in zip(*finals, strict=True))


def scanned(
    jax: Any,
    step: Callable,
    hoist: bool,
    unroll: int,
    has_step: Any,
    x: Any,
    carry: tuple,
    weights: tuple,
    reverse: bool,
) -> tuple:
    """One layer in one direction: final carry, outputs (T, B, H).

    Where `has_step` (T, B, 1) is false, a row keeps its state and its output is zero; None: all rows have all steps.
    """
    W, U, b, d = weights

    def project(x: Any) -> Any:
        return x @ W.T + b

    def body(carry: tuple, given: tuple) -> tuple:
        x_t, has = given
        xW = x_t if hoist else project(x_t)
        after = step(jax, xW, carry[0] @ U.T + d, carry)
        if has is None:
            return after, after[0]
        where = jax.numpy.where
        carry = tuple(where(has, new, old) for new, old in zip(after, carry, strict=True))
        return carry, where(has, carry[0], 0)

    steps = project(x) if hoist else x, has_step
    return jax.lax.scan(body, carry, steps, reverse=reverse, unroll=unroll)


def lstm(jax: Any, xW: Any, hU: Any, carry: tuple) -> tuple:
    i, f, g, o = jax.numpy.split(xW + hU, 4, axis=1)
    sigmoid, tanh = jax.nn.sigmoid, jax.numpy.tanh
    c = sigmoid(f) * carry[1] + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def gru(jax: Any, xW: Any, hU: Any, carry: tuple) -> tuple:
    xr, xz, xn = jax.numpy.split(xW, 3, axis=1)
    hr, hz, hn = jax.numpy.split(hU, 3, axis=1)
    r, z = jax.nn.sigmoid(xr + hr), jax.nn.sigmoid(xz + hz)
    n = jax.numpy.tanh(xn + r * hn)
    return ((1 - z) * n + z * carry[0],)


def rnn(jax: Any, xW: Any, hU: Any, carry: tuple) -> tuple:
    return (jax.numpy.tanh(xW + hU),)


STEPS = {"LSTM": lstm, "GRU": gru, "RNN": rnn}


def by_name(mode: str) -> Callable[[Any], Numbers]:
    def read(result: Any) -> Numbers:
        (output, final), grads = (result, None) if mode == "forward" else result
        named = {"output": output, **{f"state.{k}": v for k, v in zip("hc", final, strict=False)}}
        if grads is not None:
            grad_x, grad_state, grad_parameters = grads
            named["grad.input"] = grad_x
            named.update({f"grad.state.{k}": v for k, v in zip("hc", grad_state, strict=False)})
            named.update({f"grad.{k}": v for k, v in grad_parameters.items()})
        return named

    return read
