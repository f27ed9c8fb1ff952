"""The engine's plain twin: numpy, one step at a time, one equation a line, in float64.

Nothing here is fast and nothing is shared with the engine. Every cell has three functions side by
side: `step` (the equations), `tangent` (forward derivative, gives explicit Jacobians) and `adjoint`
(backward derivative, gives BPTT). Tangent and adjoint are written apart, so each checks the other;
torch checks both (tests/parity).

Shapes: x (T, B, I), states (layers·directions, B, H), cotangents may have one more leading axis K.
Weights: torch's names, rows i f g o for LSTM, r z n for GRU. All GRUs are h = (1−z)·n + z·h₋₁.
"""

from dataclasses import dataclass

import numpy as np


def sigmoid(a):
    e = np.exp(-np.abs(a))
    return np.where(a >= 0, 1 / (1 + e), e / (1 + e))


tanh = np.tanh


def softplus(a):
    return np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a)))


# ONNX's activations: φ(a) and φ′(a), and the defaults of the parameters p (alpha, beta) that they have.
ACTIVATIONS = {
    "sigmoid": (lambda a, p: sigmoid(a), lambda a, p: sigmoid(a) * sigmoid(-a), ()),
    "tanh": (lambda a, p: tanh(a), lambda a, p: 1 - tanh(a) ** 2, ()),
    "relu": (lambda a, p: np.maximum(a, 0), lambda a, p: (a > 0) * 1.0, ()),
    "affine": (lambda a, p: p[0] * a + p[1], lambda a, p: np.full_like(a, p[0]), (1, 0)),
    "leakyrelu": (
        lambda a, p: np.where(a >= 0, a, p[0] * a),
        lambda a, p: np.where(a > 0, 1, p[0]),  # at 0 as torch
        (0.01,),
    ),
    "thresholdedrelu": (
        lambda a, p: np.where(a >= p[0], a, 0),
        lambda a, p: (a >= p[0]) * 1.0,
        (1,),
    ),
    "scaledtanh": (
        lambda a, p: p[0] * tanh(p[1] * a),
        lambda a, p: p[0] * p[1] * (1 - tanh(p[1] * a) ** 2),
        (1, 1),
    ),
    "hardsigmoid": (
        lambda a, p: np.clip(p[0] * a + p[1], 0, 1),
        lambda a, p: np.where(np.abs(p[0] * a + p[1] - 0.5) < 0.5, p[0], 0),
        (0.2, 0.5),
    ),
    "elu": (
        lambda a, p: np.where(a >= 0, a, p[0] * np.expm1(np.minimum(a, 0))),
        lambda a, p: np.where(a > 0, 1, p[0] * np.exp(np.minimum(a, 0))),
        (1,),
    ),
    "softsign": (lambda a, p: a / (1 + np.abs(a)), lambda a, p: (1 + np.abs(a)) ** -2.0, ()),
    "softplus": (lambda a, p: softplus(a), lambda a, p: sigmoid(a), ()),
}


class Curve:
    """φ(clip(a)) and its slope in a: an activation, and the bound ±clip of what goes into it."""

    def __init__(self, activation, clip=None):
        name, *given = (activation,) if isinstance(activation, str) else activation
        self.value, self.derivative, defaults = ACTIVATIONS[name.lower()]
        self.p = (*given, *defaults[len(given) :])
        self.clip = np.inf if clip is None else clip

    def __call__(self, a):
        return self.value(np.clip(a, -self.clip, self.clip), self.p)

    def slope(self, a):
        return np.where(np.abs(a) < self.clip, self.derivative(a, self.p), 0)


@dataclass
class Weights:
    """One layer's, one direction's; biases are zeros where the layer has none."""

    ih: np.ndarray  # (G·H, I)
    hh: np.ndarray  # (G·H, H)
    b_ih: np.ndarray  # (G·H,)
    b_hh: np.ndarray
    p: np.ndarray  # (3·H,): peepholes of i, f, o; zeros where the layer has none
    hr: np.ndarray  # (P, H): the projection; (0, H) where the layer has none

    def gates(self, n):
        return [np.split(a, n) for a in (self.ih, self.hh, self.b_ih, self.b_hh)]


class RNNCell:
    """h' = φ(a),  a = W x + b + U h + d"""

    gate_names = ()

    def __init__(self, activations, gate_clip=None):
        (self.phi,) = (Curve(each, gate_clip) for each in activations)

    def step(self, w, x, s):
        (h0,) = s
        a = x @ w.ih.T + w.b_ih + h0 @ w.hh.T + w.b_hh
        h = self.phi(a)
        return (h,), {"h": h, "a": a}

    def tangent(self, w, x, s, v, dx, ds):
        return (self.phi.slope(v["a"])[..., None] * (w.ih @ dx + w.hh @ ds[0]),)

    def adjoint(self, w, x, s, v, ds):
        da = ds[0] * self.phi.slope(v["a"])
        return da @ w.ih, (da @ w.hh,), {}, (da, x, da, s[0], None)


class LSTMCell:
    """c' = clip(f·c + i·g),  h' = o·φ_h(c');  i, f see p·c and o sees p·c' where there are peepholes

    Coupled: f = 1 − i.
    """

    gate_names = ("i", "f", "g", "o")

    def __init__(self, activations, gate_clip=None, cell_clip=None, coupled=False):
        self.phi_f, self.phi_g = (Curve(each, gate_clip) for each in activations[:2])
        self.phi_h = Curve(activations[2])
        self.keep = Curve("affine", cell_clip)  # c itself, within ±cell_clip
        self.coupled = coupled

    def step(self, w, x, s):
        h0, c0 = s
        p_i, p_f, p_o = np.split(w.p, 3)
        a_i, a_f, a_g, a_o = np.split(x @ w.ih.T + w.b_ih + h0 @ w.hh.T + w.b_hh, 4, axis=-1)
        a_i, a_f = a_i + p_i * c0, a_f + p_f * c0
        i, g = self.phi_f(a_i), self.phi_g(a_g)
        f = 1 - i if self.coupled else self.phi_f(a_f)
        sum_c = f * c0 + i * g
        c = self.keep(sum_c)
        a_o = a_o + p_o * c
        o = self.phi_f(a_o)
        h = o * self.phi_h(c)
        sums = {"a_i": a_i, "a_f": a_f, "a_g": a_g, "a_o": a_o, "sum_c": sum_c}
        return (h, c), {"h": h, "c": c, "i": i, "f": f, "g": g, "o": o, **sums}

    def slopes(self, v):
        phi_f, phi_g = self.phi_f, self.phi_g
        of_f = np.zeros_like(v["a_f"]) if self.coupled else phi_f.slope(v["a_f"])
        return phi_f.slope(v["a_i"]), of_f, phi_g.slope(v["a_g"]), phi_f.slope(v["a_o"])

    def tangent(self, w, x, s, v, dx, ds):
        dh0, dc0 = ds
        i, f, g, o, c, sum_c = (v[k][..., None] for k in ("i", "f", "g", "o", "c", "sum_c"))
        c0 = s[1][..., None]
        p_i, p_f, p_o = np.split(w.p[:, None], 3)
        to_i, to_f, to_g, to_o = (slope[..., None] for slope in self.slopes(v))
        a_i, a_f, a_g, a_o = np.split(w.ih @ dx + w.hh @ dh0, 4, axis=-2)
        di, dg = to_i * (a_i + p_i * dc0), to_g * a_g
        df = -di if self.coupled else to_f * (a_f + p_f * dc0)
        dc = self.keep.slope(sum_c) * (f * dc0 + c0 * df + g * di + i * dg)
        do = to_o * (a_o + p_o * dc)
        return self.phi_h(c) * do + o * self.phi_h.slope(c) * dc, dc

    def adjoint(self, w, x, s, v, ds):
        dh, dc = ds
        c0 = s[1]
        i, f, g, o, c = (v[k] for k in ("i", "f", "g", "o", "c"))
        p_i, p_f, p_o = np.split(w.p, 3)
        to_i, to_f, to_g, to_o = self.slopes(v)
        d_o = dh * self.phi_h(c) * to_o
        dc = dc + dh * o * self.phi_h.slope(c) + p_o * d_o  # total: through c' and through h'
        dsum = dc * self.keep.slope(v["sum_c"])
        gates = {
            "i": dsum * (g - c0 if self.coupled else g) * to_i,
            "f": dsum * c0 * to_f,
            "g": dsum * i * to_g,
            "o": d_o,
        }
        da = np.concatenate(list(gates.values()), axis=-1)
        dc0 = dsum * f + p_i * gates["i"] + p_f * gates["f"]
        terms = np.concatenate([gates["i"] * c0, gates["f"] * c0, gates["o"] * c], axis=-1)
        return da @ w.ih, (da @ w.hh, dc0), {**gates, "c": dc}, (da, x, da, s[0], terms)


class GRUCell:
    """r, z = φ_f(…),  n = φ_g(W x + b + r·(U h + d)); reset before: φ_g(W x + b + U (r·h) + d)"""

    gate_names = ("r", "z", "n", "hn")

    def __init__(self, activations, gate_clip=None, reset_after=True):
        self.phi_f, self.phi_g = (Curve(each, gate_clip) for each in activations)
        self.reset_after = reset_after

    def step(self, w, x, s):
        (h0,) = s
        (wr, wz, wn), (ur, uz, un), (br, bz, bn), (dr, dz, dn) = w.gates(3)
        a_r = x @ wr.T + br + h0 @ ur.T + dr
        a_z = x @ wz.T + bz + h0 @ uz.T + dz
        r, z = self.phi_f(a_r), self.phi_f(a_z)
        if self.reset_after:
            hn = h0 @ un.T + dn
            a_n = x @ wn.T + bn + r * hn
        else:
            hn = (r * h0) @ un.T + dn
            a_n = x @ wn.T + bn + hn
        n = self.phi_g(a_n)
        h = (1 - z) * n + z * h0
        return (h,), {"h": h, "r": r, "z": z, "n": n, "hn": hn, "a_r": a_r, "a_z": a_z, "a_n": a_n}

    def slopes(self, v):
        return self.phi_f.slope(v["a_r"]), self.phi_f.slope(v["a_z"]), self.phi_g.slope(v["a_n"])

    def tangent(self, w, x, s, v, dx, ds):
        (wr, wz, wn), (ur, uz, un), _, _ = w.gates(3)
        (dh0,) = ds
        r, z, n, hn, h0 = (a[..., None] for a in (v["r"], v["z"], v["n"], v["hn"], s[0]))
        to_r, to_z, to_n = (slope[..., None] for slope in self.slopes(v))
        dr = to_r * (wr @ dx + ur @ dh0)
        dz = to_z * (wz @ dx + uz @ dh0)
        dhn = r * (un @ dh0) + dr * hn if self.reset_after else un @ (dr * h0 + r * dh0)
        dn = to_n * (wn @ dx + dhn)
        return ((1 - z) * dn - dz * n + dz * h0 + z * dh0,)

    def adjoint(self, w, x, s, v, ds):
        (dh,) = ds
        (h0,) = s
        r, z, n, hn = (v[k] for k in self.gate_names)
        to_r, to_z, to_n = self.slopes(v)
        un = w.gates(3)[1][2]
        an = dh * (1 - z) * to_n
        az = dh * (h0 - n) * to_z
        ahn = an * r if self.reset_after else an
        back = ahn @ un  # cotangent of h0, or of r·h0 when reset comes before
        ar = (an * hn if self.reset_after else back * h0) * to_r
        da_x = np.concatenate([ar, az, an], axis=-1)
        da_h = np.concatenate([ar, az, ahn], axis=-1)
        H = h0.shape[-1]
        dh0 = dh * z + da_h[..., : 2 * H] @ w.hh[: 2 * H] + (back if self.reset_after else back * r)
        seen = h0 if self.reset_after else (h0, r * h0)
        gates = {"r": ar, "z": az, "n": an, "hn": ahn}
        return da_x @ w.ih, (dh0,), gates, (da_x, x, da_h, seen, None)


class Projected:
    """h' = W_hr m,  where m is what the cell within has as h'"""

    def __init__(self, cell):
        self.cell, self.gate_names = cell, cell.gate_names

    def step(self, w, x, s):
        (m, c), values = self.cell.step(w, x, s)
        h = m @ w.hr.T
        return (h, c), {**values, "h": h, "m": m}

    def tangent(self, w, x, s, v, dx, ds):
        dm, dc = self.cell.tangent(w, x, s, v, dx, ds)
        return w.hr @ dm, dc

    def adjoint(self, w, x, s, v, ds):
        dh, dc = ds
        *found, products = self.cell.adjoint(w, x, s, v, (dh @ w.hr, dc))
        return *found, (*products, (dh, v["m"]))


OWN = {"RNN": ("tanh",), "GRU": ("sigmoid", "tanh"), "LSTM": ("sigmoid", "tanh", "tanh")}


def make_cell(mode, nonlinearity="tanh", activations=None, **options):
    """The cell of one direction; other options as the cell's arguments."""
    own = (nonlinearity,) if mode == "RNN" else OWN[mode]
    cell = {"RNN": RNNCell, "GRU": GRUCell, "LSTM": LSTMCell}[mode]
    return cell(own if activations is None else activations, **options)


def weight_products(da_x, x, da_h, seen, terms, projected=None):
    """One step's untied gradients (..., G·H, I), (..., G·H, P), (..., G·H) twice; (..., 3·H), (..., P, H) or zero."""
    grad_ih = np.einsum("...bg,bi->...gi", da_x, x)
    if isinstance(seen, tuple):  # GRU, reset before: the candidate's rows saw r·h
        H = seen[0].shape[-1]
        parts = [
            np.einsum("...bg,bh->...gh", da_h[..., : 2 * H], seen[0]),
            np.einsum("...bg,bh->...gh", da_h[..., 2 * H :], seen[1]),
        ]
        grad_hh = np.concatenate(parts, axis=-2)
    else:
        grad_hh = np.einsum("...bg,bh->...gh", da_h, seen)
    grad_p = 0 if terms is None else terms.sum(-2)
    grad_hr = 0 if projected is None else np.einsum("...bp,bh->...ph", *projected)
    return grad_ih, grad_hh, da_x.sum(-2), da_h.sum(-2), grad_p, grad_hr


@dataclass
class Scan:
    """One layer in one direction: the inputs and results of its steps, by input time."""

    cell: object
    w: Weights
    order: list  # input times in the order they were walked
    steps: dict  # t -> (x, s, values)
    h: np.ndarray  # (T, B, H), zeros past a row's end
    final: tuple
    cut: np.ndarray  # (T, B): the state before this step, in the order of the walk, is zero


@dataclass
class TwinPass:
    """A recorded pass: `values["l0.reverse.f"]` (T, B, H), `valid` (T, B), output and state."""

    output: np.ndarray
    state: tuple
    values: dict
    valid: np.ndarray
    scans: list  # [layer][direction]
    masks: dict


@dataclass
class Grads:
    input: np.ndarray
    state: tuple
    parameters: dict
    values: dict


class Twin:
    """A stack of layers. `parameters` by torch's names; missing biases are zeros."""

    def __init__(self, mode, parameters, num_layers=1, bidirectional=False, **options):
        self.parts = 2 if mode == "LSTM" else 1
        self.num_layers, self.directions = num_layers, 2 if bidirectional else 1
        self.parameters = {k: self.array(v) for k, v in parameters.items()}
        self.width = self.parameters["weight_hh_l0"].shape[1]  # of h
        self.hidden_size = self.parameters.get("weight_hr_l0", self.parameters["weight_hh_l0"]).shape[1]
        self.cells = self._cells(mode, **options)
        if "weight_hr_l0" in parameters:
            self.cells = [Projected(cell) for cell in self.cells]
        self.cell = self.cells[0]

    def _cells(self, mode, activations=None, **options):
        """The cell of each direction: `activations` may be those of both, or one direction's after the other's."""
        if activations is None or len(activations) == len(OWN[mode]):
            return [make_cell(mode, activations=activations, **options)] * self.directions
        n = len(OWN[mode])
        return [make_cell(mode, activations=activations[k : k + n], **options) for k in (0, n)]

    @classmethod
    def of(cls, layer):
        """The twin of an rnncore layer, from its public attributes and its state_dict."""
        names = ("nonlinearity", "reset_after", "activations", "gate_clip", "cell_clip", "coupled")
        options = {k: getattr(layer, k) for k in names if hasattr(layer, k)}
        return cls(layer.mode, layer.state_dict(), layer.num_layers, layer.bidirectional, **options)

    def weights(self, layer, direction):
        end = f"_l{layer}" + "_reverse" * direction
        ih, hh = self.parameters["weight_ih" + end], self.parameters["weight_hh" + end]
        none = np.zeros(len(ih))
        return Weights(
            ih,
            hh,
            self.parameters.get("bias_ih" + end, none),
            self.parameters.get("bias_hh" + end, none),
            self.parameters.get("weight_peephole" + end, np.zeros(3 * self.hidden_size)),
            self.parameters.get("weight_hr" + end, np.zeros((0, self.hidden_size))),
        )

    def prefix(self, layer, direction):
        return f"l{layer}." + "reverse." * direction

    def zeros(self, B):
        parts = self.num_layers * self.directions
        return tuple(np.zeros((parts, B, width)) for width in self.widths)

    @property
    def widths(self):
        """Of h, and of c."""
        return (self.width, self.hidden_size)[: self.parts]

    @staticmethod
    def array(a):
        return np.asarray(a, np.float64)

    def forward(self, x, state=None, lengths=None, masks=None, reset=None):
        """masks: layer -> (T, B, D·H), what that layer's input is multiplied by (dropout); reset (T, B)."""
        x = self.array(x)
        T, B, _ = x.shape
        state = self.zeros(B) if state is None else tuple(self.array(s) for s in state)
        lengths = np.full(B, T) if lengths is None else np.asarray(lengths)
        valid = np.arange(T)[:, None] < lengths
        masks = masks or {}
        marks = valid & (False if reset is None else np.asarray(reset))
        cuts = marks, np.concatenate([marks[1:], np.zeros_like(marks[:1])])
        values, scans, finals = {}, [], []
        inp = np.where(valid[..., None], x, 0)
        for layer in range(self.num_layers):
            inp = inp * masks.get(layer, 1)
            scans.append([])
            for d in range(self.directions):
                s0 = tuple(s[layer * self.directions + d] for s in state)
                w = self.weights(layer, d)
                scan = self._scan(self.cells[d], w, inp, s0, valid, cuts[d], reverse=d)
                scans[-1].append(scan)
                finals.append(scan.final)
                names = (
                    ("h", "c", *self.cell.gate_names)
                    if self.parts == 2
                    else ("h", *self.cell.gate_names)
                )
                for name in names:
                    rows = [scan.steps[t][2][name] for t in range(T)]
                    width = self.width if name == "h" else self.hidden_size
                    values[self.prefix(layer, d) + name] = np.array(rows).reshape(T, B, width)
            inp = np.concatenate([scan.h for scan in scans[-1]], axis=-1)
        final = tuple(np.stack([f[p] for f in finals]) for p in range(self.parts))
        return TwinPass(inp, final, values, valid, scans, masks)

    def _scan(self, cell, w, x, s, valid, cut, reverse):
        T, B, _ = x.shape
        order = list(range(T))[::-1] if reverse else list(range(T))
        steps, h = {}, np.zeros((T, B, self.width))
        for t in order:
            s = tuple(np.where(cut[t][:, None], 0, a) for a in s)
            new, values = cell.step(w, x[t], s)
            steps[t] = (x[t], s, values)
            row = valid[t][:, None]
            s = tuple(np.where(row, b, a) for a, b in zip(s, new, strict=True))
            h[t] = np.where(row, new[0], 0)
        return Scan(cell, w, order, steps, h, s, cut)

    def backward(self, run, grad_output=None, grad_state=None):
        T, B, _ = run.output.shape
        given = [self.array(g) for g in (grad_output, *(grad_state or ())) if g is not None]
        K = given[0].shape[:-3]
        L, D, width = self.num_layers, self.directions, self.width
        grad_out = np.zeros((*K, T, B, D * width)) if grad_output is None else self.array(grad_output)
        if grad_state is None:
            grad_state = tuple(np.zeros((*K, L * D, B, own)) for own in self.widths)
        initial = [None] * (L * D)
        parameters, values = {}, {}
        for layer in reversed(range(L)):
            grad_in = 0
            for d in range(D):
                scan, pos = run.scans[layer][d], layer * D + d
                ds = tuple(self.array(g)[..., pos, :, :] for g in grad_state)
                part = grad_out[..., d * width : (d + 1) * width]
                dx, initial[pos], named, untied = self._scan_back(scan, part, ds, run.valid)
                grad_in = grad_in + dx
                values |= {self.prefix(layer, d) + k: v for k, v in named.items()}
                parameters |= self._named(layer, d, scan.w, untied, K)
            grad_out = grad_in * run.masks.get(layer, 1)
        state = tuple(np.stack([s[p] for s in initial], axis=-3) for p in range(self.parts))
        return Grads(grad_out, state, {k: parameters[k] for k in self.parameters}, values)

    def _scan_back(self, scan, grad_h, ds, valid):
        T, B, _ = scan.h.shape
        K = grad_h.shape[:-3]
        dx = np.zeros((*K, T, B, scan.w.ih.shape[1]))
        names = ("h", *(("c",) if self.parts == 2 else ()), *self.cell.gate_names)
        named = {
            k: np.zeros((*K, T, B, self.width if k == "h" else self.hidden_size)) for k in names
        }
        untied = []
        for t in reversed(scan.order):
            row = valid[t][:, None]
            x, s, values = scan.steps[t]
            total = (
                np.where(row, ds[0] + grad_h[..., t, :, :], 0),
                *(np.where(row, d, 0) for d in ds[1:]),
            )
            dx_t, ds_prev, gates, products = scan.cell.adjoint(scan.w, x, s, values, total)
            dx[..., t, :, :] = dx_t
            for name, g in {"h": total[0], **gates}.items():
                named[name][..., t, :, :] = g
            untied.append(weight_products(*products))
            ds = tuple(np.where(row, b, a) for a, b in zip(ds, ds_prev, strict=True))
            ds = tuple(np.where(scan.cut[t][:, None], 0, a) for a in ds)
        return dx, ds, named, untied

    def _named(self, layer, d, w, untied, K):
        shapes = [a.shape for a in (w.ih, w.hh, w.b_ih, w.b_hh, w.p, w.hr)]
        sums = [sum((u[i] for u in untied), np.zeros((*K, *shapes[i]))) for i in range(6)]
        end = f"_l{layer}" + "_reverse" * d
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_peephole", "weight_hr")
        return {name + end: a for name, a in zip(names, sums, strict=True)}

    def jacobians(self, run, direction=0):
        """(T, B, S, S): ∂s_t/∂s_{t-1} of one direction's whole stack, in the order of its walk.

        s = [h of every layer, then c of every layer]. Where a row does not step: the identity.
        """
        L, widths = self.num_layers, self.widths
        T, B, _ = run.output.shape
        starts = [L * sum(widths[:p]) for p in range(self.parts)]
        S = L * sum(widths)
        out = np.zeros((T, B, S, S))
        # this direction's columns of the next layer's input
        here = slice(direction * self.width, (direction + 1) * self.width)
        for pos, t in enumerate(run.scans[0][direction].order):
            eye = np.broadcast_to(np.eye(S), (B, S, S))
            new, below = np.empty((B, S, S)), None
            for layer in range(L):
                own = [
                    slice(start + layer * width, start + (layer + 1) * width)
                    for start, width in zip(starts, widths, strict=True)
                ]
                scan = run.scans[layer][direction]
                x, s, values = scan.steps[t]
                dx = np.zeros((B, x.shape[1], S))
                if below is not None:
                    mask = run.masks[layer][t][:, here, None] if layer in run.masks else 1
                    dx[:, here] = below * mask
                ds = scan.cell.tangent(scan.w, x, s, values, dx, tuple(eye[:, part] for part in own))
                for part, d in zip(own, ds, strict=True):
                    new[:, part] = d
                below = ds[0]
            out[pos] = np.where(run.valid[t][:, None, None], new, np.eye(S))
        return out
