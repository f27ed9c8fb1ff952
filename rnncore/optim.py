"""Optimisers by torch's formulas, in place, and clipping by the global norm.

An update writes into the module's weights by their private path (`Module._in_place`), which makes a
new version of them. Work is done in one scratch buffer: an update allocates nothing of the size of
the weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from rnncore._checks import REAL_KINDS
from rnncore.module import Module


class Optimiser:
    """What the optimisers share: options, buffers by name, and the update's outer loop.

    A subclass names its buffers and writes one update of one array.
    """

    _buffer_names: tuple[str, ...] = ()

    def __init__(self, module: Module, **options):
        self.module = module
        self.options = options
        self.steps = 0
        weights = module.state_dict()
        self._shapes = {name: values.shape for name, values in weights.items()}
        self.buffers = {
            f"{buffer}.{name}": np.zeros_like(values)
            for buffer in self._buffer_names
            for name, values in weights.items()
        }
        largest = max((values.size for values in weights.values()), default=0)
        dtypes = {values.dtype for values in weights.values()}
        self._scratch = {dtype: np.empty(largest, dtype) for dtype in dtypes}

    @property
    def lr(self) -> float:
        """Learning rate; set it to follow a schedule."""
        return self.options["lr"]

    @lr.setter
    def lr(self, value: float) -> None:
        self.options["lr"] = not_negative(value, "lr")

    def step(self, grads: Mapping[str, np.ndarray]) -> None:
        """Update every parameter with ``grads[name]``; names and shapes are the module's."""
        self._check(grads)
        with self.module._in_place() as parameters:
            self.steps += 1
            for name, value in parameters.items():
                buffers = [self.buffers[f"{buffer}.{name}"] for buffer in self._buffer_names]
                scratch = self._scratch[value.dtype][: value.size].reshape(value.shape)
                self._update(value, grads[name], scratch, *buffers)

    def state_dict(self) -> dict:
        """``{"options": …, "steps": n, "buffers": {"exp_avg.layer.bias_ih_l0": array, …}}``."""
        return {
            "options": dict(self.options),
            "steps": self.steps,
            "buffers": {name: values.copy() for name, values in self.buffers.items()},
        }

    def load_state_dict(self, state: Mapping) -> None:
        """Take over what `state_dict` gave; wrong, missing and extra names are refused."""
        if set(state["options"]) != set(self.options):
            raise ValueError(
                f"state: got options {sorted(state['options'])}, expected "
                f"{sorted(self.options)} of {type(self).__name__}"
            )
        compare_names("state", state["buffers"], self.buffers)
        for name, values in self.buffers.items():
            if np.shape(state["buffers"][name]) != values.shape:
                raise ValueError(
                    f"state: got {name} of shape {np.shape(state['buffers'][name])}, "
                    f"expected {values.shape}"
                )
        for name, values in self.buffers.items():
            values[...] = state["buffers"][name]
        self.options = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in state["options"].items()
        }
        self.steps = int(state["steps"])

    def _update(self, value, grad, scratch, *buffers) -> None:
        raise NotImplementedError

    def _check(self, grads) -> None:
        compare_names("grads", grads, self._shapes)
        for name, shape in self._shapes.items():
            grad = np.asarray(grads[name])
            if grad.dtype.kind not in REAL_KINDS:
                raise TypeError(f"grads: got {name} of {grad.dtype}, expected real numbers")
            if grad.shape != shape:
                raise ValueError(f"grads: got {name} of shape {grad.shape}, expected {shape}")


class SGD(Optimiser):
    """Stochastic gradient descent: m ← μ·m + g, then w ← w − η·m (Nesterov: w − η·(g + μ·m)).

    Parameters
    ----------
    module : Module
    lr : float
        η.
    momentum : float
        μ.
    nesterov : bool
        Needs a momentum.
    weight_decay : float
        λ·w is added to the gradient first.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.nn import Linear
    >>> from rnncore.optim import SGD
    >>> linear = Linear(1, 1, bias=False, dtype="float64", seed=0)
    >>> before = linear.state_dict()["weight"]
    >>> SGD(linear, lr=0.5).step({"weight": np.ones((1, 1))})
    >>> (before - linear.parameters["weight"]).item()
    0.5
    """

    def __init__(
        self,
        module: Module,
        lr: float = 1e-3,
        momentum: float = 0.0,
        *,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ):
        if nesterov and not momentum:
            raise ValueError("nesterov: got True without momentum, expected momentum > 0")
        self._buffer_names = ("momentum",) if momentum else ()
        super().__init__(
            module,
            lr=not_negative(lr, "lr"),
            momentum=not_negative(momentum, "momentum"),
            nesterov=bool(nesterov),
            weight_decay=not_negative(weight_decay, "weight_decay"),
        )

    def _update(self, value, grad, scratch, momentum=None):
        o = self.options
        if o["weight_decay"]:
            np.multiply(value, o["weight_decay"], out=scratch)
            scratch += grad
        else:
            scratch[...] = grad
        if momentum is not None:
            momentum *= o["momentum"]
            momentum += scratch
            if o["nesterov"]:
                scratch += o["momentum"] * momentum
            else:
                scratch[...] = momentum
        scratch *= o["lr"]
        value -= scratch


class Adam(Optimiser):
    """Adam (Kingma & Ba 2015) with torch's order of operations.

    m ← m + (1−β₁)(g − m);  v ← β₂·v + (1−β₂)·g²;
    w ← w − η/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + ε)

    Parameters
    ----------
    module : Module
    lr : float
        η.
    betas : (float, float)
        β₁, β₂.
    eps : float
        ε.
    weight_decay : float
        λ·w is added to the gradient first.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.nn import Linear
    >>> from rnncore.optim import Adam
    >>> linear = Linear(1, 1, bias=False, dtype="float64", seed=0)
    >>> before = linear.state_dict()["weight"]
    >>> Adam(linear, lr=0.5).step({"weight": np.full((1, 1), 3.0)})    # the first step has size η
    >>> round((before - linear.parameters["weight"]).item(), 6)
    0.5
    """

    _buffer_names = ("exp_avg", "exp_avg_sq")
    _decoupled = False

    def __init__(
        self,
        module: Module,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas: got {betas}, expected two numbers, 0 <= beta < 1")
        super().__init__(
            module,
            lr=not_negative(lr, "lr"),
            betas=tuple(map(float, betas)),
            eps=not_negative(eps, "eps"),
            weight_decay=not_negative(weight_decay, "weight_decay"),
        )

    def _update(self, value, grad, scratch, exp_avg, exp_avg_sq):
        o = self.options
        (beta1, beta2), lr, decay = o["betas"], o["lr"], o["weight_decay"]
        if decay and self._decoupled:
            value *= 1 - lr * decay
        elif decay:
            grad = grad + decay * value
        np.subtract(grad, exp_avg, out=scratch)
        scratch *= 1 - beta1
        exp_avg += scratch
        np.square(grad, out=scratch)
        scratch *= 1 - beta2
        exp_avg_sq *= beta2
        exp_avg_sq += scratch
        np.sqrt(exp_avg_sq, out=scratch)
        scratch /= math.sqrt(1 - beta2**self.steps)
        scratch += o["eps"]
        np.divide(exp_avg, scratch, out=scratch)
        scratch *= lr / (1 - beta1**self.steps)
        value -= scratch


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019): w ← w·(1 − η·λ) first.

    The parameters are those of `Adam`; `weight_decay` is 0.01 unless given, as in torch.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.nn import Linear
    >>> from rnncore.optim import AdamW
    >>> linear = Linear(1, 1, bias=False, dtype="float64", seed=0)
    >>> before = linear.state_dict()["weight"]
    >>> AdamW(linear, lr=0.5, weight_decay=0.2).step({"weight": np.zeros((1, 1))})
    >>> round((linear.parameters["weight"] / before).item(), 6)
    0.9
    """

    _decoupled = True

    def __init__(
        self,
        module: Module,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ):
        super().__init__(module, lr, betas, eps, weight_decay)


def clip_grad_norm(grads: Mapping[str, np.ndarray], max_norm: float) -> float:
    """Scale all gradients in place so that their joint 2-norm is at most `max_norm`.

    Parameters
    ----------
    grads : dict of str to ndarray
        Multiplied in place by min(1, max_norm/(norm + 1e-6)), torch's factor (Pascanu 2013).
    max_norm : float
        ``math.inf`` measures and does not clip.

    Returns
    -------
    float
        The norm before clipping, summed in f64. Look whether it is finite: a gradient with NaN
        or infinite values cannot be clipped and is left as it is.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.optim import clip_grad_norm
    >>> grads = {"a": np.array([3.0]), "b": np.array([4.0])}
    >>> clip_grad_norm(grads, 1.0), grads["a"].round(4).item()
    (5.0, 0.6)
    """
    if not max_norm >= 0:
        raise ValueError(f"max_norm: got {max_norm}, expected a number of 0 or more")
    squares = (np.square(grad, dtype=np.float64).sum() for grad in grads.values())
    norm = math.sqrt(sum(float(square) for square in squares))
    factor = max_norm / (norm + 1e-6)
    if factor < 1 and math.isfinite(norm):
        for grad in grads.values():
            grad *= factor
    return norm


def not_negative(value: float, name: str) -> float:
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name}: got {value}, expected a finite number of 0 or more")
    return float(value)


def compare_names(what: str, got: Mapping, expected: Mapping) -> None:
    """Refuse `got` unless it has the names of `expected`, and say which are wrong."""
    missing, extra = sorted(set(expected) - set(got)), sorted(set(got) - set(expected))
    if missing or extra:
        raise KeyError(f"{what}: missing {missing}, unexpected {extra}")
