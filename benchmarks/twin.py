"""The three cells and their adjoints in plain numpy, one step at a time.

The results of all libraries, rnncore included, are compared with this code, so it is written to be
read and not to be fast. All functions compute in the dtype that they are given, up to ``numpy.longdouble``.

Shapes for one direction: x (T, B, I), h (B, H), W (G·H, I), U (G·H, H), biases (G·H,).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .cases import Arrays, Case

Numbers = dict[str, np.ndarray]


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * a))


def rnn_step(xW: np.ndarray, hU: np.ndarray, carry: tuple) -> tuple[tuple, Any]:
    h = np.tanh(xW + hU)
    return (h,), h


def rnn_adjoint(grad: tuple, carry: tuple, saved: Any) -> tuple[np.ndarray, np.ndarray, tuple]:
    (grad_h,), h = grad, saved
    grad_a = grad_h * (1 - h * h)
    return grad_a, grad_a, (0,)


def gru_step(xW: np.ndarray, hU: np.ndarray, carry: tuple) -> tuple[tuple, Any]:
    (h,) = carry
    xr, xz, xn = np.split(xW, 3, axis=1)
    hr, hz, hn = np.split(hU, 3, axis=1)
    r = sigmoid(xr + hr)
    z = sigmoid(xz + hz)
    n = np.tanh(xn + r * hn)
    return ((1 - z) * n + z * h,), (r, z, n, hn)


def gru_adjoint(grad: tuple, carry: tuple, saved: Any) -> tuple[np.ndarray, np.ndarray, tuple]:
    (grad_h,), (h,), (r, z, n, hn) = grad, carry, saved
    grad_n = grad_h * (1 - z) * (1 - n * n)
    grad_z = grad_h * (h - n) * z * (1 - z)
    grad_r = grad_n * hn * r * (1 - r)
    through_x = np.concatenate([grad_r, grad_z, grad_n], axis=1)
    through_h = np.concatenate([grad_r, grad_z, grad_n * r], axis=1)
    return through_x, through_h, (grad_h * z,)


def lstm_step(xW: np.ndarray, hU: np.ndarray, carry: tuple) -> tuple[tuple, Any]:
    _, c = carry
    i, f, g, o = np.split(xW + hU, 4, axis=1)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    c = f * c + i * g
    return (o * np.tanh(c), c), (i, f, g, o, c)


def lstm_adjoint(grad: tuple, carry: tuple, saved: Any) -> tuple[np.ndarray, np.ndarray, tuple]:
    (grad_h, grad_c), (_, c_before), (i, f, g, o, c) = grad, carry, saved
    tanh_c = np.tanh(c)
    grad_c = grad_c + grad_h * o * (1 - tanh_c * tanh_c)
    grad_a = np.concatenate(
        [
            grad_c * g * i * (1 - i),
            grad_c * c_before * f * (1 - f),
            grad_c * i * (1 - g * g),
            grad_h * tanh_c * o * (1 - o),
        ],
        axis=1,
    )
    return grad_a, grad_a, (0, grad_c * f)


CELL: dict[str, tuple[Callable, Callable]] = {
    "RNN": (rnn_step, rnn_adjoint),
    "GRU": (gru_step, gru_adjoint),
    "LSTM": (lstm_step, lstm_adjoint),
}


class Direction:
    """One layer in one direction; the forward pass keeps what the backward pass needs."""

    def __init__(self, cell: str, parameters: Numbers, suffix: str, has_step: np.ndarray):
        self.step, self.adjoint = CELL[cell]
        self.suffix, self.reverse = suffix, suffix.endswith("_reverse")
        self.has_step = has_step  # (T, B, 1): a row without the step keeps its state, and its output is zero
        self.W, self.U, self.b, self.d = (
            parameters[f"{name}_{suffix}"]
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )

    def forward(self, x: np.ndarray, carry: tuple) -> tuple[np.ndarray, tuple]:
        self.x, self.carries, self.saved = x, [], {}
        T = len(x)
        y = np.empty((T, *carry[0].shape), x.dtype)
        xW = x @ self.W.T + self.b
        self.order = range(T - 1, -1, -1) if self.reverse else range(T)
        for t in self.order:
            self.carries.append(carry)
            after, self.saved[t] = self.step(xW[t], carry[0] @ self.U.T + self.d, carry)
            carry = tuple(np.where(self.has_step[t], new, old) for new, old in zip(after, carry, strict=True))
            y[t] = np.where(self.has_step[t], carry[0], 0)
        return y, carry

    def backward(self, grad_y: np.ndarray) -> tuple[np.ndarray, tuple, Numbers]:
        T, B = grad_y.shape[:2]
        through_x = np.empty((T, B, len(self.W)), grad_y.dtype)
        through_h = np.empty_like(through_x)
        h_before = np.empty_like(grad_y)
        grad = tuple(np.zeros_like(part) for part in self.carries[0])
        for t, carry in zip(reversed(self.order), reversed(self.carries), strict=True):
            has = self.has_step[t]
            total = (grad[0] + grad_y[t], *grad[1:])
            of_x, of_h, before = self.adjoint(total, carry, self.saved[t])
            through_x[t], through_h[t] = np.where(has, of_x, 0), np.where(has, of_h, 0)
            before = (before[0] + through_h[t] @ self.U, *before[1:])
            grad = tuple(np.where(has, new, old) for new, old in zip(before, grad, strict=True))
            h_before[t] = carry[0]
        steps_and_rows = (0, 1)
        grads = {
            "weight_ih": np.tensordot(through_x, self.x, (steps_and_rows, steps_and_rows)),
            "weight_hh": np.tensordot(through_h, h_before, (steps_and_rows, steps_and_rows)),
            "bias_ih": through_x.sum(steps_and_rows),
            "bias_hh": through_h.sum(steps_and_rows),
        }
        return through_x @ self.W, grad, {f"{k}_{self.suffix}": v for k, v in grads.items()}


def numbers(case: Case, mode: str, arrays: Arrays | None = None, dtype: Any = None) -> Numbers:
    """The outputs of one case and, for training, its gradients, by name.

    Parameters
    ----------
    case : Case
    mode : {"forward", "training"}
    arrays : Arrays, optional
        Drawn by `Arrays.draw` if not given.
    dtype : dtype, optional
        The type to compute in; float64 by default.

    Returns
    -------
    dict
        "output", "state.h", "state.c"; in training also "grad.input", "grad.state.h",
        "grad.state.c" and "grad." with each parameter's name.

    Examples
    --------
    >>> case = Case("LSTM", T=3, B=2, I=4, H=5)
    >>> numbers(case, "training")["grad.weight_ih_l0"].shape
    (20, 4)
    """
    arrays = arrays or Arrays.draw(case)
    dtype = np.dtype(dtype or np.float64)
    parameters = {name: value.astype(dtype) for name, value in arrays.parameters.items()}
    state = tuple(part.astype(dtype) for part in arrays.state)
    D = case.directions
    lengths = np.full(case.B, case.T) if case.lengths is None else case.lengths
    has_step = (np.arange(case.T)[:, None] < lengths)[:, :, None]
    stack = [Direction(case.cell, parameters, suffix, has_step) for suffix in case.suffixes]

    y, final = arrays.x.astype(dtype), []
    for layer in range(case.layers):
        halves = []
        for index in range(layer * D, layer * D + D):
            half, carry = stack[index].forward(y, tuple(part[index] for part in state))
            halves.append(half)
            final.append(carry)
        y = np.concatenate(halves, axis=2)
    out = {"output": y, **by_name("state", final)}
    if mode == "forward":
        return out

    grad, grad_initial = arrays.grad_output.astype(dtype), [()] * len(stack)
    for layer in reversed(range(case.layers)):
        halves = np.split(grad, D, axis=2)
        grad = 0
        for index, half in enumerate(halves, start=layer * D):
            grad_x, grad_initial[index], grads = stack[index].backward(half)
            grad = grad + grad_x
            out.update({f"grad.{name}": value for name, value in grads.items()})
    return {**out, "grad.input": grad, **by_name("grad.state", grad_initial)}


def by_name(prefix: str, carries: list[tuple]) -> Numbers:
    """The states of a stack in torch's layout: {prefix.h: (layers·directions, B, H), ...}."""
    return {
        f"{prefix}.{name}": np.stack(parts)
        for name, parts in zip("hc", zip(*carries, strict=True), strict=False)
    }
