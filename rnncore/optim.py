"""Optimisers with torch's formulas, which update in place, and gradient clipping by the global norm.

An update writes directly into the module's weights (`Module._in_place`), which increments their version. All parameters
are updated in one compiled call, which allocates nothing of their size.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from rnncore import _engine
from rnncore._checks import as_array, as_flag, as_number, as_probability, as_real, as_size
from rnncore.module import LOCK, Module

if TYPE_CHECKING:
    from collections.abc import Callable

    from rnncore._typing import Array

PLAIN = (np.dtype("float32"), np.dtype("float64"))

__all__ = ["SGD", "Adam", "AdamW", "Optimiser", "clip_grad_norm"]


def __dir__() -> list[str]:
    return sorted(__all__)


class Optimiser:
    """The base class of the optimisers: options, and buffers by name.

    A subclass names its buffers, checks its options, and updates the parameters.
    """

    _buffer_names: tuple[str, ...] = ()
    _squares: tuple[str, ...] = ()  # prefixes of the names of buffers that hold sums or means of squares
    # Checks options from a user or from a file, and returns them in the form in which they are used.
    _checked_options: Callable[..., dict[str, Any]]

    def __init__(self, module: Module, **options: Any) -> None:
        self.module = _as_module(module)
        self.options = options
        self.steps = 0
        weights = module._updated()
        self._like = {name: (values.shape, values.dtype) for name, values in weights.items()}
        self.buffers = {
            f"{buffer}.{name}": np.zeros_like(values)
            for buffer in self._buffer_names
            for name, values in weights.items()
        }

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        size = sum(math.prod(shape) for shape, _ in self._like.values())
        return f"<{type(self).__name__} of {type(self.module).__name__} with {size:,} weights: {options}; " \
               f"{self.steps} steps done>"

    def __copy__(self) -> Self:
        """An optimiser of the same module, with copies of the options and buffers."""
        other = object.__new__(type(self))
        own = {name: value for name, value in self.__dict__.items() if name != "module"}
        other.__dict__.update(copy.deepcopy(own), module=self.module)
        return other

    @property
    def lr(self) -> float:
        """The learning rate; set it to follow a schedule."""
        rate: float = self.options["lr"]
        return rate

    @lr.setter
    def lr(self, value: float) -> None:
        self.options["lr"] = as_number(value, "lr", least=0)

    def step(self, grads: Mapping[str, Array]) -> None:
        """Update all parameters.

        Parameters
        ----------
        grads : mapping of str to ndarray
            The gradient of every parameter of the module, by name.
        """
        grads = self._check(grads)
        with LOCK, self.module._in_place() as parameters:
            self.steps += 1
            self._update(*self._in_order(parameters, grads))

    def _in_order(self, parameters: Mapping[str, Array], grads: Mapping[str, Array]) -> list[list[Array]]:
        """The weights, their gradients, and their buffers of each kind, as lists in the same order."""
        names = list(self._like)
        return [[parameters[name] for name in names], [grads[name] for name in names],
                *([self.buffers[f"{buffer}.{name}"] for name in names] for buffer in self._buffer_names)]

    def state_dict(self) -> dict[str, Any]:
        """``{"options": …, "steps": n, "buffers": {"exp_avg.layer.bias_ih_l0": array, …}}``, with copies."""
        return {
            "options": dict(self.options),
            "steps": self.steps,
            "buffers": {name: values.copy() for name, values in self.buffers.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set options, steps and buffers to those of a `state_dict`; nothing changes unless all of them fit.

        Raises
        ------
        KeyError
            Buffers are missing or unknown.
        ValueError, TypeError
            The options are those of another optimiser, or the constructor would refuse them; the steps are not a
            count; buffers have another shape or type, or values that would make weights NaN: not finite, or
            squares below 0.
        """
        self._take(*self._checked_state(state))

    def _checked_state(self, state: Mapping[str, Any]) -> tuple[dict[str, Any], int, dict[str, Array]]:
        """Options, steps and buffers of a `state_dict` that fits; nothing is changed."""
        compare_names("state", state, ("options", "steps", "buffers"))
        options, buffers = state["options"], state["buffers"]
        if not isinstance(options, Mapping) or set(options) != set(self.options):
            got = sorted(map(str, options)) if isinstance(options, Mapping) else options
            raise ValueError(
                f"state: got options {got}, expected {sorted(self.options)} of {type(self).__name__}"
            )
        options = self._checked_options(**options)
        steps = as_size(state["steps"], "steps", least=0)
        compare_names("state", buffers, self.buffers)
        found = {}
        for name, own in self.buffers.items():
            found[name] = as_real(buffers[name], f"state: {name}", own.dtype)
            if found[name].shape != own.shape:
                raise ValueError(
                    f"state: got {name} of shape {found[name].shape}, expected {own.shape}"
                )
            if not np.isfinite(found[name]).all():
                raise ValueError(f"state: got {name} with values that are not finite")
            if name.startswith(self._squares) and (found[name] < 0).any():
                raise ValueError(f"state: got {name} with values below 0, expected means of squares")
        return options, steps, found

    def _take(self, options: dict[str, Any], steps: int, buffers: Mapping[str, Array]) -> None:
        for name, values in self.buffers.items():
            values[...] = buffers[name]
        self.options, self.steps = options, steps

    def _update(self, values: list[Array], grads: list[Array], /, *buffers: list[Array]) -> None:
        """Update all parameters, and their buffers, in place."""
        raise NotImplementedError

    def _check(self, grads: Mapping[str, Array]) -> dict[str, Array]:
        """The gradients in the types of the weights."""
        if not isinstance(grads, Mapping) or grads.keys() != self._like.keys():
            compare_names("grads", grads, self._like)
        found = {}
        for name, (shape, dtype) in self._like.items():
            grad = grads[name]
            if type(grad) is not np.ndarray or grad.dtype != dtype or not grad.flags.carray:
                grad = np.require(as_real(grad, f"grads: {name}", dtype), requirements=["C", "A"])
            found[name] = grad
            if grad.shape != shape:
                raise ValueError(f"grads: got {name} of shape {grad.shape}, expected {shape}")
        return found


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
        Requires a momentum above 0.
    weight_decay : float
        λ; λ·w is added to the gradient before the update.

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
    ) -> None:
        options = self._checked_options(
            lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
        )
        self._buffer_names = ("momentum",) if options["momentum"] else ()
        super().__init__(module, **options)

    @staticmethod
    def _checked_options(*, lr: float, momentum: float, nesterov: bool, weight_decay: float) -> dict[str, Any]:
        nesterov, momentum = as_flag(nesterov, "nesterov"), as_number(momentum, "momentum", least=0)
        if nesterov and not momentum:
            raise ValueError("nesterov: got True without momentum, expected momentum > 0")
        return {
            "lr": as_number(lr, "lr", least=0),
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": as_number(weight_decay, "weight_decay", least=0),
        }

    def _checked_state(self, state: Mapping[str, Any]) -> tuple[dict[str, Any], int, dict[str, Array]]:
        options, steps, buffers = super()._checked_state(state)
        if bool(options["momentum"]) != bool(self._buffer_names):
            raise ValueError(
                f"state: got momentum={options['momentum']}, expected "
                f"{'more than 0' if self._buffer_names else '0'}, as this optimiser has"
            )
        return options, steps, buffers

    def _update(self, values: list[Array], grads: list[Array], /, *buffers: list[Array]) -> None:
        o = self.options
        _engine.update_sgd(values, grads, buffers[0] if buffers else [], o["lr"], o["momentum"], o["weight_decay"],
                           o["nesterov"])


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
        λ; λ·w is added to the gradient before the update.

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
    _squares = ("exp_avg_sq.",)
    _decoupled = False

    def __init__(
        self,
        module: Module,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            module,
            **self._checked_options(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay),
        )

    @staticmethod
    def _checked_options(
        *, lr: float, betas: tuple[float, float], eps: float, weight_decay: float
    ) -> dict[str, Any]:
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ValueError(f"betas: got {betas!r}, expected two numbers, 0 <= beta < 1")
        return {
            "lr": as_number(lr, "lr", least=0),
            "betas": tuple(as_probability(beta, "betas") for beta in betas),
            "eps": as_number(eps, "eps", least=0),
            "weight_decay": as_number(weight_decay, "weight_decay", least=0),
        }

    def _update(self, values: list[Array], grads: list[Array], /, *buffers: list[Array]) -> None:
        o, (exp_avg, exp_avg_sq) = self.options, buffers
        (beta1, beta2), decay = o["betas"], o["weight_decay"]
        keep, decay = (1 - o["lr"] * decay, 0.0) if self._decoupled else (1.0, decay)
        _engine.update_adam(values, grads, exp_avg, exp_avg_sq, keep, decay, beta1, beta2, o["eps"],
                            math.sqrt(1 - beta2**self.steps), o["lr"] / (1 - beta1**self.steps))


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019): w ← w·(1 − η·λ) before Adam's update.

    The parameters are those of `Adam`; the default of `weight_decay` is 0.01, as in torch.

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
    ) -> None:
        super().__init__(module, lr, betas, eps, weight_decay)


def clip_grad_norm(grads: Mapping[str, Array], max_norm: float) -> float:
    """Scale all gradients in place so that their joint 2-norm is at most `max_norm`.

    Parameters
    ----------
    grads : dict of str to ndarray
        Multiplied in place by min(1, max_norm/(norm + 1e-6)), as in torch (Pascanu 2013).
    max_norm : float
        ``math.inf`` computes the norm without clipping.

    Returns
    -------
    float
        The norm before clipping, summed in f64. Check that it is finite: gradients with NaN or infinite values cannot
        be clipped, and are left unchanged.

    Examples
    --------
    >>> import numpy as np
    >>> from rnncore.optim import clip_grad_norm
    >>> grads = {"a": np.array([3.0]), "b": np.array([4.0])}
    >>> clip_grad_norm(grads, 1.0), grads["a"].round(4).item()
    (5.0, 0.6)
    """
    max_norm = as_number(max_norm, "max_norm", least=0, finite=False)
    arrays = [grad if _is_plain(grad) else _seen_as_array(grad, f"grads[{name!r}]") for name, grad in grads.items()]
    ours = [grad for grad in arrays if _is_plain(grad)]
    others = [grad for grad in arrays if not _is_plain(grad)]
    squares = _engine.sum_of_squares([*ours, *(np.array(grad, np.float64, order="C") for grad in others)])
    norm = math.sqrt(squares)
    factor = max_norm / (norm + 1e-6)
    if factor < 1 and math.isfinite(norm):
        if any(not grad.flags.writeable for grad in others):            # before any of them is changed
            name = next(name for name, grad in zip(grads, arrays, strict=True) if not grad.flags.writeable)
            raise ValueError(f"grads[{name!r}]: got a read-only array, expected one that can be scaled in place; "
                             "make copies")
        _engine.scale(ours, factor)
        for grad in others:
            grad *= factor
    return norm


def _seen_as_array(grad: Any, name: str) -> Array:
    """A gradient that may be a tensor, as an array on the same memory."""
    found = as_array(grad, name) if isinstance(grad, np.ndarray) or hasattr(grad, "detach") else None
    if found is None or found.dtype.kind != "f":
        raise TypeError(f"{name}: got {type(grad).__name__ if found is None else found.dtype}, expected an array of "
                        "floating-point numbers, which is scaled in place")
    if found.size and hasattr(grad, "data_ptr") and grad.data_ptr() != found.ctypes.data:       # it had to be copied
        raise TypeError(f"{name}: got a tensor of {grad.dtype} on {grad.device}, expected float16, float32 or float64 "
                        "in the memory of a CPU, scaled in place; torch.nn.utils.clip_grad_norm_ takes others")
    return found


def _is_plain(array: Array) -> bool:
    """Whether the compiled loops can change an array in place."""
    return type(array) is np.ndarray and array.dtype in PLAIN and array.flags.carray


def _as_module(module: Any) -> Module:
    """The module itself; what users of other libraries give instead is refused with the way out."""
    if isinstance(module, Module):
        return module
    expected = "expected the model or the layer itself, as in Adam(model)"
    if isinstance(module, Mapping):
        raise TypeError(f"module: got a dict of {len(module)} arrays, which are copies of the weights, {expected}")
    if isinstance(module, (list, tuple)):
        raise TypeError(f"module: got a {type(module).__name__} of {len(module)}, {expected}; several layers are "
                        "trained together as one rnncore.nn.SequenceModel, or as an rnncore.Ensemble")
    if type(module).__module__.startswith("torch") or any(
            base.__module__.startswith("torch.") for base in type(module).__mro__):
        raise TypeError(f"module: got {type(module).__name__} of torch, expected a module of rnncore; convert it with "
                        "rnncore.convert.from_torch, or train it by torch's own optimiser")
    raise TypeError(f"module: got a {type(module).__name__}, {expected}")


def compare_names(what: str, got: Mapping[str, Any], expected: Collection[str]) -> None:
    """Refuse `got` unless it has exactly the names of `expected`; the message lists the wrong ones."""
    if not isinstance(got, Mapping):
        raise TypeError(f"{what}: got {type(got).__name__}, expected a dict with {sorted(expected)}")
    missing, extra = sorted(set(expected) - set(got)), sorted(set(got) - set(expected), key=str)
    if missing or extra:
        raise KeyError(f"{what}: missing {missing}, unexpected {extra}")
