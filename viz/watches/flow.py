"""Watches on gradients: vanish and explode step by step, and spikes from update to update."""

from collections import deque

import numpy as np

from rnncore._checks import as_number, as_size

from .._norms import gradient_norm, norm
from .._tapes import gradient, is_reverse, layers, part_of, valid_steps
from .moment import LEAD_UP, Hit, numbers
from .watch import Watch


class _GradientStep(Watch):
    """Vanish and Explode: the norm of the carry's gradient, walked from the end to the start."""

    def __init__(self, threshold, relative, names, **options):
        super().__init__(**options)
        self.threshold = as_number(threshold, "threshold", above=0)
        self.relative, self.names = relative, names

    def check(self, moment):
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
                sizes = sizes[:, ::-1]  # from here on axis 1 runs in the order of the walk back
            hit = self._walk(sizes, carry, layer, moment)
            if hit:
                return hit
        return None

    def _walk(self, sizes, carry, layer, moment):
        reached = np.maximum.accumulate(sizes > 0, axis=1)  # the loss has sent something here
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
            sentence += f"; on the steps after it (the walk goes back): {numbers(before)}"
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
    """Fire at the step where the gradient has become smaller than a threshold on its way back.

    The gradient is ∂L/∂s_t of one layer's whole state, s = [h; c] for an LSTM, per row. Steps that
    no loss has reached yet, and rows that have no loss, do not count.

    Parameters
    ----------
    below : float, default 1e-6
    relative : bool, default True
        Measure it against the norm at the first step the loss sends a gradient to, so that the
        answer does not depend on the loss's scale. False: the norm itself.
    names : str, optional
        A pattern of states, as "l0.*" or "*.h", instead of the whole state of every layer.

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

    def __init__(self, below=1e-6, *, relative=True, names=None, **options):
        super().__init__(below, relative, names, **options)

    def _over(self, sizes):
        return sizes < self.threshold


class Explode(_GradientStep):
    """Fire at the step where the gradient has grown above a threshold on its way back.

    Parameters
    ----------
    above : float, default 1e3
    relative, names
        As in `Vanish`.
    """

    _verb = "rose above"

    def __init__(self, above=1e3, *, relative=True, names=None, **options):
        super().__init__(above, relative, names, **options)

    def _over(self, sizes):
        return sizes > self.threshold


class Spike(Watch):
    """Fire on the update whose loss or gradient is `factor` times its running median.

    The gradient is that of all weights; its 2-norm is what counts.

    Parameters
    ----------
    of : {"gradient", "loss"}, default "gradient"
    factor : float, default 10
    window : int, default 50
        Updates in the median; the watch is silent for the first fifth of them.

    Examples
    --------
    >>> import numpy as np, rnncore as rc
    >>> from rnncore import viz
    >>> tape = rc.LSTM(2, 4, seed=0).record(np.zeros((3, 1, 2), "float32"))
    >>> spike = viz.Spike("loss", factor=5)
    >>> [bool(spike.look(tape, loss=loss)) for loss in [1.0] * 10 + [4.9, 5.1]].index(True)
    11
    """

    def __init__(self, of="gradient", factor=10.0, *, window=50, **options):
        super().__init__(**options)
        if of not in ("gradient", "loss"):
            raise ValueError(f"of: got {of!r}, expected 'gradient' or 'loss'")
        self.of, self.factor = of, as_number(factor, "factor", above=0)
        self._seen = deque(maxlen=as_size(window, "window"))

    def check(self, moment):
        value = moment.loss if self.of == "loss" else gradient_norm(moment.grads)
        if value is None:
            return None
        value = float(value)
        usual = float(np.median(self._seen)) if len(self._seen) >= self._seen.maxlen / 5 else None
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
