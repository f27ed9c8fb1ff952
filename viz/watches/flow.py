"""Watches on gradients: those that vanish or explode over the steps, and spikes from update to update."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal

import numpy as np

from rnncore._checks import as_number, as_size

from .._norms import gradient_norm, norm
from .._tapes import gradient, is_reverse, layers, part_of, valid_steps
from .moment import LEAD_UP, Hit, Moment, numbers
from .watch import Action, Watch

if TYPE_CHECKING:
    from rnncore._typing import Bools, Floats


class _GradientStep(Watch):
    """What `Vanish` and `Explode` share: the norm of the carry's gradient, from the last step to the first."""

    _verb = ""

    def __init__(
        self,
        threshold: float,
        relative: bool,
        names: str | None,
        *,
        every: int,
        action: Action | None,
    ) -> None:
        super().__init__(every=every, action=action)
        self.threshold = as_number(threshold, "threshold", above=0)
        self.relative, self.names = relative, names

    def _over(self, sizes: Floats) -> Bools:
        """Where a norm is beyond the threshold."""
        raise NotImplementedError

    def check(self, moment: Moment) -> Hit | None:
        tape = moment.tape
        for layer, parts in layers(tape).items():
            carry = [f"{layer}.{part}" for part in tape.cell.states if part in parts]
            if self.names is not None:
                carry = [name for name in carry if name in tape.names(self.names)]
            carry = [name for name in carry if gradient(tape, name) is not None]
            if not carry:
                continue
            sizes = norm(np.stack([norm(tape.grad[name]) for name in carry]), axis=0)
            sizes = sizes.reshape(-1, tape.T, tape.B)
            if not is_reverse(layer):
                sizes = sizes[:, ::-1]  # from here on axis 1 is in the order of the backward pass
            hit = self._walk(sizes, carry, layer, moment)
            if hit:
                return hit
        return None

    def _walk(self, sizes: Floats, carry: list[str], layer: str, moment: Moment) -> Hit | None:
        reached: Bools = np.maximum.accumulate(sizes > 0, axis=1)  # whether a loss has entered by then
        inside = valid_steps(moment.tape)
        if not is_reverse(layer):
            inside = inside[::-1]
        if self.relative:
            start = np.take_along_axis(sizes, np.argmax(reached, axis=1)[:, None], axis=1)
            sizes = sizes / np.where(start > 0, start, 1.0)
        over = self._over(sizes) & reached & inside
        walked = np.flatnonzero(over.any(axis=(0, 2)))
        if not len(walked):
            return None
        k = int(walked[0])
        cotangent, row = (int(i) for i in np.argwhere(over[:, k])[0])
        step = k if is_reverse(layer) else moment.tape.T - 1 - k
        before = sizes[cotangent, max(0, k - LEAD_UP) : k, row]
        value = float(sizes[cotangent, k, row])
        name = carry[0] if len(carry) == 1 else f"{layer}.[{'; '.join(moment.tape.cell.states)}]"
        of = " of its size at the loss" if self.relative else ""
        sentence = (
            f"the gradient {self._verb} {self.threshold:g}{of}: ‖∂L/∂{name}‖ is {value:.3g}{of} "
            f"at step {step}, row {row} ({int(over[:, k].any(0).sum())} of {over.shape[2]} rows)"
        )
        if len(before):
            sentence += f"; at the steps just before it in the backward pass: {numbers(before)}"
        gate = part_of(carry[0]) if len(carry) == 1 else None
        return Hit(
            self.name,
            moment.update,
            f"grad {name}",
            sentence,
            layer,
            gate,
            step,
            row,
            None,
            value,
            before,
        )


class Vanish(_GradientStep):
    """Fire at the step where the backpropagated gradient has become smaller than a threshold.

    The gradient is ∂L/∂s_t of one layer's whole state, s = [h; c] for an LSTM, per row. Steps after
    the last loss, and rows without any loss, do not count.

    Parameters
    ----------
    below : float, default 1e-6
    relative : bool, default True
        Divide the norm by that at the last step with a gradient, so that the result does not depend
        on the scale of the loss. False: use the norm itself.
    names : str, optional
        A pattern of states, such as ``"l0.*"`` or ``"*.h"``, instead of the whole state of every layer.
    every, action
        As in `Watch`.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> rnn = rc.RNN(2, 4, nonlinearity="sigmoid", dtype="float64", seed=0)
    >>> tape = rnn.record(np.zeros((50, 1, 2)))
    >>> grads = tape.backward(grad_state=np.ones((1, 1, 4)))
    >>> 0 < viz.Vanish(1e-6).look(tape).step < 49
    True
    """

    _verb = "fell below"

    def __init__(
        self,
        below: float = 1e-6,
        *,
        relative: bool = True,
        names: str | None = None,
        every: int = 1,
        action: Action | None = None,
    ) -> None:
        super().__init__(below, relative, names, every=every, action=action)

    def _over(self, sizes: Floats) -> Bools:
        return sizes < self.threshold


class Explode(_GradientStep):
    """Fire at the step where the backpropagated gradient has grown above a threshold.

    Parameters
    ----------
    above : float, default 1e3
    relative, names, every, action
        As in `Vanish`.
    """

    _verb = "rose above"

    def __init__(
        self,
        above: float = 1e3,
        *,
        relative: bool = True,
        names: str | None = None,
        every: int = 1,
        action: Action | None = None,
    ) -> None:
        super().__init__(above, relative, names, every=every, action=action)

    def _over(self, sizes: Floats) -> Bools:
        return sizes > self.threshold


class Spike(Watch):
    """Fire at the update whose loss or gradient norm is more than `factor` times its running median.

    The gradient norm is the 2-norm over all weights.

    Parameters
    ----------
    of : {"gradient", "loss"}, default "gradient"
    factor : float, default 10
    window : int, default 50
        Updates in the median; the watch is silent for the first fifth of them.
    every, action
        As in `Watch`.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> tape = rc.LSTM(2, 4, seed=0).record(np.zeros((3, 1, 2), "float32"))
    >>> spike = viz.Spike("loss", factor=5)
    >>> [bool(spike.look(tape, loss=loss)) for loss in [1.0] * 10 + [4.9, 5.1]].index(True)
    11
    """

    def __init__(
        self,
        of: Literal["gradient", "loss"] = "gradient",
        factor: float = 10.0,
        *,
        window: int = 50,
        every: int = 1,
        action: Action | None = None,
    ) -> None:
        super().__init__(every=every, action=action)
        if of not in ("gradient", "loss"):
            raise ValueError(f"of: got {of!r}, expected 'gradient' or 'loss'")
        self.of, self.factor = of, as_number(factor, "factor", above=0)
        self.window = as_size(window, "window")
        self._seen: deque[float] = deque(maxlen=self.window)

    def check(self, moment: Moment) -> Hit | None:
        value = moment.loss if self.of == "loss" else gradient_norm(moment.grads)
        if value is None:
            return None
        value = float(value)
        usual = float(np.median(self._seen)) if len(self._seen) >= self.window / 5 else None
        if usual is not None and not value <= self.factor * usual:
            what = "the loss" if self.of == "loss" else "the norm of the weights' gradient"
            times = value / usual if usual else np.inf
            sentence = f"{what} is {value:.4g}, {times:.3g} times its median of {usual:.4g}"
            return Hit(
                self.name,
                moment.update,
                self.of,
                sentence,
                value=value,
                before=np.array(list(self._seen)[-LEAD_UP:]),
            )
        self._seen.append(value)
        return None
