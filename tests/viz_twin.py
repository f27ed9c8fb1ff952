"""Plain numpy twins of the measures: explicit Jacobians, one product at a time, nothing batched."""

import numpy as np
from twin import Twin


class Explicit:
    """A recorded pass with explicit Jacobians; s = [h of all layers, c of all layers]."""

    def __init__(self, layer, x, state=None, lengths=None, direction="forward"):
        self.layer, self.reverse = layer, direction == "reverse"
        self.twin = Twin.of(layer)
        parts = None if state is None else (state if isinstance(state, tuple) else (state,))
        self.run = self.twin.forward(x, parts, lengths)
        self.T, self.B = x.shape[:2]
        self.lengths = np.full(self.B, self.T) if lengths is None else np.asarray(lengths)
        self.J = self.twin.jacobians(self.run, int(self.reverse))  # in the order of the backward walk
        self.S = self.J.shape[-1]
        H, L = self.twin.width, layer.num_layers
        self.top = slice((L - 1) * H, L * H)

    def step(self, t):
        """Position of input time t in the order of the backward walk."""
        return self.T - 1 - t if self.reverse else t

    def product(self, b, k):
        """∂s_T/∂s_{T-k} of row b, from its own last step (past it the Jacobian is the identity)."""
        M = np.eye(self.S)
        last = self.T if self.reverse else self.lengths[b]
        for t in range(last - 1, last - 1 - k, -1):
            M = M @ self.J[t, b]
        return M

    def norms(self):
        out = np.full((self.T, self.B), np.nan)
        for b in range(self.B):
            for k in range(self.lengths[b]):
                out[k, b] = np.linalg.norm(self.product(b, k), 2)
        return out

    def dependency(self, g):
        """‖∂L_s/∂s_t‖ from ∂L_s/∂y_s, (T, B, D·H)."""
        H = self.twin.width
        g = g[..., H:] if self.reverse else g[..., :H]
        out = np.full((self.T, self.T, self.B), np.nan)
        for b in range(self.B):
            for s in range(self.lengths[b]):
                v = np.zeros(self.S)
                v[self.top] = g[s, b]
                sources = range(s, self.lengths[b]) if self.reverse else range(s, -1, -1)
                for t in sources:
                    out[s, t, b] = np.linalg.norm(v)
                    v = v @ self.J[self.step(t), b]
        return out

    def preservation(self, g, final=None):
        """‖δ·J‖/‖δ‖ of every step, δ the gradient for the carry of L = Σ g·y + final·s_T."""
        H = self.twin.width
        g = g[..., H:] if self.reverse else g[..., :H]
        out = np.full((self.T, self.B), np.nan)
        for b in range(self.B):
            n = self.lengths[b]
            delta = np.zeros(self.S) if final is None else np.array(final[b])
            for t in range(n) if self.reverse else range(n - 1, -1, -1):
                delta[self.top] += g[t, b]
                before = np.linalg.norm(delta)
                delta = delta @ self.J[self.step(t), b]
                out[t, b] = np.linalg.norm(delta) / before
        return out

    def lyapunov(self, warmup=0):
        """QR of the explicit Jacobians, one per step, backward in time as in the measure."""
        align = min(warmup, (self.T - warmup) // 2)
        start = np.linalg.qr(np.random.default_rng(0).normal(size=(self.S, self.S)))[0]
        total = np.zeros((self.B, self.S))
        for b in range(self.B):
            Q = start
            for k, t in enumerate(range(self.T - 1, warmup - 1, -1)):
                Q, R = np.linalg.qr(self.J[t, b].T @ Q)
                if k >= align:
                    size = np.abs(np.diag(R))
                    size[size < self.S * np.finfo(float).eps * size.max()] = 0  # a rank below S leaves rounding here
                    with np.errstate(divide="ignore"):
                        total[b] += np.log(size)
        return np.sort(total.mean(0) / (self.T - warmup - align))[::-1]
