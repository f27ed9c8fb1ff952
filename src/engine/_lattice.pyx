"""Hidden Markov chains: forward, backward, posteriors and best path, without the GIL.

Sequences lie end to end in one array of rows, a row a step; ``offsets`` says where each begins.
A row holds the states, padded to a multiple of 4 (`Chain.width`) with probability 0.

The fast road works with probabilities and rescales every step::

    u_t     = (alpha_{t-1} A) * b_t          c_t = sum(u_t)        alpha_t = u_t / c_t
    w_t     = b_t * beta_t / c_t             beta_{t-1} = A w_t    beta_{T-1} = 1
    gamma_t = alpha_t * beta_t               xi_t = alpha_{t-1}' w_t * A

``b_t`` is the likelihood of the step in every state, divided by the largest. Where every
transition has a probability above `DENSE`, what underflows is at most 1e-120 of what stays. Where
some have none, a state whose share underflows may be the only way to what comes later; such a
sequence is noticed (`lost`), given up, and done again by `Chain.smooth_log`.
"""

from libc.math cimport INFINITY, exp, log
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

import numpy as np


cdef extern from "lattice.h" nogil:
    double lattice_forward(const double *u, double scale, const double *trans, const double *b,
                           Py_ssize_t n, double *next) noexcept
    void lattice_backward(const double *w, const double *trans_t, const double *b, double scale,
                          Py_ssize_t n, double *u, double *gamma, double *w_before) noexcept
    void lattice_viterbi(const double *v, const double *log_trans, const double *log_b,
                         Py_ssize_t n, double *next) noexcept
    void lattice_outer(Py_ssize_t steps, const double *x, Py_ssize_t ldx, Py_ssize_t p,
                       const double *y, Py_ssize_t n, double *sums) noexcept
    void lattice_moments(const double *x, const double *mean, const double *gamma,
                         Py_ssize_t features, int full, Py_ssize_t n, double *sums) noexcept
    double lattice_gaussian(const double *x, const double *mean, const double *whiten,
                            const double *constant, Py_ssize_t features, int full, Py_ssize_t n,
                            double *density) noexcept


# A bound on every transition, below which the road of probabilities is watched step by step.
cdef double DENSE = 1e-90
# Watched: a share below TINY is lost; it does not matter where others arrive with at least ARRIVE
# (then it is 1e-290 / NORM / ARRIVE = 1e-40 of theirs); a step's norm below NORM is given up.
cdef double TINY = 1e-290
cdef double ARRIVE = 1e-150
cdef double NORM = 1e-100


cdef class Chain:
    """The hidden chain of a model: start and transition probabilities, padded.

    Parameters
    ----------
    startprob : ndarray (n,)
    transmat : ndarray (n, n)
        Row i: from state i. Rows sum to 1.

    Attributes
    ----------
    n_states, width : int
        n, and n padded to a multiple of 4.
    """

    cdef readonly Py_ssize_t n_states
    cdef readonly Py_ssize_t width
    cdef bint watched
    cdef double[::1] start
    cdef double[::1] log_start
    cdef double[:, ::1] trans
    cdef double[:, ::1] trans_t
    cdef double[:, ::1] log_trans

    def __init__(self, startprob, transmat):
        n = len(startprob)
        self.n_states = n
        self.width = (n + 3) // 4 * 4
        start = np.zeros(self.width)
        start[:n] = startprob
        trans = np.zeros((self.width, self.width))
        trans[:n, :n] = transmat
        self.log_start = logs(start[None])[0]
        self.log_trans = logs(trans)
        self.start = start
        self.trans = trans
        self.trans_t = np.ascontiguousarray(trans.T)
        self.watched = bool(np.min(transmat, initial=1.0) < DENSE)

    def __reduce__(self):
        n = self.n_states
        return Chain, (np.asarray(self.start)[:n], np.asarray(self.trans)[:n, :n])

    def forward(self, const int64_t[::1] offsets, const double[:, ::1] b, double[:, ::1] u,
                double[::1] norm, unsigned char[::1] lost, bint exact):
        """Filter every sequence: u (rows, width) unscaled, norm (rows,) = sums of u.

        `b` (rows, width) are likelihoods over the step's largest; `exact` says that a zero in it
        is a zero and no underflow. Sequences that need `smooth_log` are marked in `lost`.
        """
        cdef Py_ssize_t s, first, rows = check_rows(offsets, b.shape[0])
        check_shape("u", u.shape[0], u.shape[1], rows, self.width)
        check_shape("b", b.shape[0], b.shape[1], rows, self.width)
        check_shape("norm", norm.shape[0], 1, rows, 1)
        check_shape("lost", lost.shape[0], 1, offsets.shape[0] - 1, 1)
        with nogil:
            for s in range(offsets.shape[0] - 1):
                first = offsets[s]
                lost[s] = 0
                if offsets[s + 1] > first:
                    lost[s] = not self.forward_one(
                        &b[first, 0], &u[first, 0], &norm[first], offsets[s + 1] - first, exact)

    def smooth(self, const int64_t[::1] offsets, double[:, ::1] b, double[:, ::1] u,
               double[::1] norm, const double[::1] top, double[:, ::1] gamma,
               double[:, ::1] pairs, double[::1] starts, double[::1] log_prob,
               unsigned char[::1] lost, bint exact):
        """Posteriors gamma (rows, width), and what EM sums over steps and sequences.

        Set, not added to: ``pairs`` (width, width), the expected number of transitions;
        ``starts`` (width,), the sum of gamma over first steps; ``log_prob`` (sequences,), with
        the logs `top` of what `b` was divided by. `b` is overwritten by w, `u` by alpha. Lost
        sequences add nothing.
        """
        cdef Py_ssize_t s, i, j, first, steps, rows = check_rows(offsets, b.shape[0])
        cdef Py_ssize_t n = self.width
        check_shape("u", u.shape[0], u.shape[1], rows, n)
        check_shape("b", b.shape[0], b.shape[1], rows, n)
        check_shape("gamma", gamma.shape[0], gamma.shape[1], rows, n)
        check_shape("pairs", pairs.shape[0], pairs.shape[1], n, n)
        check_shape("starts", starts.shape[0], 1, n, 1)
        check_shape("norm", norm.shape[0], 1, rows, 1)
        check_shape("top", top.shape[0], 1, rows, 1)
        check_shape("log_prob", log_prob.shape[0], 1, offsets.shape[0] - 1, 1)
        check_shape("lost", lost.shape[0], 1, offsets.shape[0] - 1, 1)
        pairs[:, :] = 0
        starts[:] = 0
        with nogil:
            for s in range(offsets.shape[0] - 1):
                first = offsets[s]
                steps = offsets[s + 1] - first
                lost[s] = 0
                log_prob[s] = 0
                if steps == 0:
                    continue
                if not self.forward_one(&b[first, 0], &u[first, 0], &norm[first], steps, exact):
                    lost[s] = 1
                    continue
                log_prob[s] = sum_of_logs(&norm[first], steps)
                for i in range(first, first + steps):
                    log_prob[s] += top[i]
                self.backward_one(&b[first, 0], &u[first, 0], &norm[first], steps,
                                  &gamma[first, 0])
                for j in range(n):
                    starts[j] += gamma[first, j]
                if steps > 1:
                    lattice_outer(steps - 1, &u[first, 0], n, n, &b[first + 1, 0], n,
                                  &pairs[0, 0])
            for i in range(n):
                for j in range(n):
                    pairs[i, j] *= self.trans[i, j]

    def viterbi(self, const double[:, ::1] log_b, double[:, ::1] v, int64_t[::1] path):
        """The most probable path of one sequence, and its log probability (0 for no step).

        `log_b` (rows, width) with -inf in padded states; `v` (rows, width) is working space. Of
        equally probable paths the one hmmlearn takes: the lowest last state, and from there back
        the highest.
        """
        cdef Py_ssize_t t, j, rows = log_b.shape[0], n = self.width
        check_shape("log_b", log_b.shape[0], log_b.shape[1], rows, n)
        check_shape("v", v.shape[0], v.shape[1], rows, n)
        check_shape("path", path.shape[0], 1, rows, 1)
        if rows == 0:
            return 0.0
        with nogil:
            for j in range(n):
                v[0, j] = self.log_start[j] + log_b[0, j]
            for t in range(1, rows):
                lattice_viterbi(&v[t - 1, 0], &self.log_trans[0, 0], &log_b[t, 0], n, &v[t, 0])
            path[rows - 1] = best_state(&v[rows - 1, 0], NULL, 0, self.n_states)
            for t in range(rows - 2, -1, -1):
                path[t] = best_state(&v[t, 0], &self.log_trans[0, path[t + 1]], n, self.n_states)
        return v[rows - 1, path[rows - 1]]

    def smooth_log(self, const double[:, ::1] log_b, double[:, ::1] log_alpha,
                   double[:, ::1] gamma, double[:, ::1] pairs, double[::1] log_norm):
        """`forward` and `smooth` of one sequence in logarithms: slow, never underflows.

        `log_norm` (rows,) are log p(x_t | x_<t); `gamma` as in `smooth`, and `pairs` is added
        to. Returns False when the sequence is impossible: then `log_norm` is -inf from
        the first impossible step on, and nothing is added.
        """
        cdef Py_ssize_t t, i, j, rows = log_b.shape[0], n = self.n_states
        cdef double above
        check_shape("log_b", log_b.shape[0], log_b.shape[1], rows, self.width)
        check_shape("log_alpha", log_alpha.shape[0], log_alpha.shape[1], rows, self.width)
        check_shape("gamma", gamma.shape[0], gamma.shape[1], rows, self.width)
        check_shape("pairs", pairs.shape[0], pairs.shape[1], self.width, self.width)
        check_shape("log_norm", log_norm.shape[0], 1, rows, 1)
        with nogil:
            for t in range(rows):
                for j in range(n):
                    if t == 0:
                        log_alpha[t, j] = self.log_start[j] + log_b[t, j]
                    else:
                        log_alpha[t, j] = log_b[t, j] + log_sum(
                            &log_alpha[t - 1, 0], &self.log_trans[0, j], self.width, n)
                log_norm[t] = log_sum(&log_alpha[t, 0], NULL, 0, n)
                if log_norm[t] == -INFINITY:
                    for i in range(t, rows):
                        log_norm[i] = -INFINITY
                    with gil:
                        return False
                for j in range(n):
                    log_alpha[t, j] -= log_norm[t]
            for t in range(rows - 1, -1, -1):  # gamma holds log beta, and log w a step later
                for i in range(n, self.width):
                    gamma[t, i] = 0
                for i in range(n):
                    gamma[t, i] = 0 if t == rows - 1 else log_sum(
                        &gamma[t + 1, 0], &self.log_trans[i, 0], 1, n)
                if t < rows - 1:
                    for i in range(n):
                        for j in range(n):
                            above = log_alpha[t, i] + self.log_trans[i, j] + gamma[t + 1, j]
                            if above > -745:
                                pairs[i, j] += exp(above)
                    self.to_posterior(&log_alpha[t + 1, 0], &log_b[t + 1, 0], log_norm[t + 1],
                                      &gamma[t + 1, 0])
                for i in range(n):  # log w = log b + log beta - log c
                    gamma[t, i] += log_b[t, i] - log_norm[t]
            if rows:
                self.to_posterior(&log_alpha[0, 0], &log_b[0, 0], log_norm[0], &gamma[0, 0])
        return True

    # ------------------------------------------------------------------ one sequence, no GIL
    cdef void to_posterior(self, const double *log_alpha, const double *log_b, double log_norm,
                           double *w) noexcept nogil:
        """gamma = alpha beta from log w, in place."""
        cdef Py_ssize_t i
        for i in range(self.n_states):
            if log_alpha[i] == -INFINITY:
                w[i] = 0
            else:
                w[i] = exp(log_alpha[i] + w[i] - log_b[i] + log_norm)

    cdef bint forward_one(self, const double *b, double *u, double *norm, Py_ssize_t steps,
                          bint exact) noexcept nogil:
        """False when the sequence must be done in logarithms."""
        cdef Py_ssize_t t, j, n = self.width
        cdef double scale, total = 0
        cdef unsigned char *missing = NULL
        cdef bint ok = True
        if self.watched:
            missing = <unsigned char *>calloc(n + 1, 1)  # a flag a state, and one for any
            if missing == NULL:
                return False
        for j in range(n):
            u[j] = self.start[j] * b[j]
            total += u[j]
        norm[0] = total
        if self.watched:
            self.watch(NULL, 0, b, u, missing, exact)
        for t in range(1, steps):
            if not total >= NORM:
                break
            scale = 1 / total
            total = lattice_forward(u, scale, &self.trans[0, 0], b + n, n, u + n)
            if self.watched and not self.watch(u, scale, b + n, u + n, missing, exact):
                ok = False
                break
            b += n
            u += n
            norm[t] = total
        free(missing)
        return ok and total >= NORM

    cdef bint watch(self, const double *before, double scale, const double *b, double *u,
                    unsigned char *missing, bint exact) noexcept nogil:
        """False when a share lost at the step before could matter now; marks what is lost now."""
        cdef Py_ssize_t i, j, n = self.n_states
        cdef double arrives
        cdef bint any_missing = missing[n]
        if any_missing:
            for j in range(n):
                for i in range(n):
                    if missing[i] and self.trans[i, j] > 0:
                        break
                else:
                    continue
                if self.arriving(before, scale, j) < ARRIVE:
                    return False
        missing[n] = 0
        for j in range(n):
            missing[j] = 0
            if u[j] >= TINY:
                continue
            u[j] = 0
            if exact and b[j] == 0:
                continue
            arrives = self.start[j] if before == NULL else self.arriving(before, scale, j)
            if arrives > 0:
                missing[j] = missing[n] = 1
        return True

    cdef double arriving(self, const double *u, double scale, Py_ssize_t j) noexcept nogil:
        """Probability of state j before its step is seen."""
        cdef Py_ssize_t i
        cdef double s = 0
        for i in range(self.n_states):
            s += u[i] * scale * self.trans[i, j]
        return s

    cdef void backward_one(self, double *b, double *u, const double *norm, Py_ssize_t steps,
                           double *gamma) noexcept nogil:
        cdef Py_ssize_t t, j, n = self.width, last = (steps - 1) * n
        cdef double scale = 1 / norm[steps - 1]
        for j in range(last, last + n):  # beta = 1
            u[j] *= scale
            gamma[j] = u[j]
            b[j] *= scale
            if u[j] == 0:
                b[j] = 0
        for t in range(steps - 2, -1, -1):
            last -= n
            lattice_backward(b + last + n, &self.trans_t[0, 0], b + last, 1 / norm[t], n,
                             u + last, gamma + last, b + last)
            if self.watched:  # a state that cannot be reached may have any beta, even inf
                for j in range(last, last + n):
                    if u[j] == 0:
                        gamma[j] = b[j] = 0


# --------------------------------------------------------------------------- rows of many steps
def counts(const int64_t[::1] symbols, const double[:, ::1] gamma, double[:, ::1] sums):
    """sums (symbols, width)[x_t] += gamma_t in order; negative symbols are missing."""
    cdef Py_ssize_t t, j, rows = symbols.shape[0], n = gamma.shape[1]
    cdef int64_t symbol
    check_shape("gamma", gamma.shape[0], 1, rows, 1)
    check_shape("sums", sums.shape[1], 1, n, 1)
    with nogil:
        for t in range(rows):
            symbol = symbols[t]
            if 0 <= symbol < sums.shape[0]:
                for j in range(n):
                    sums[symbol, j] += gamma[t, j]


def moments(const double[:, ::1] x, const double[:, ::1] mean, const double[:, ::1] gamma,
            bint full, double[:, ::1] sums):
    """Moments of x (rows, F) about every state's mean (F, width), weighted by gamma.

    ``sums`` (1 + F + F, width), or (1 + F + F (F + 1) / 2, width) when full, are added to, in the
    order of the rows: gamma, gamma d, and gamma d² or the lower triangle of gamma d d', with
    d = x - mean. Rows with a NaN are missing and left out.
    """
    cdef Py_ssize_t t, rows = x.shape[0], F = x.shape[1], n = gamma.shape[1]
    check_shape("gamma", gamma.shape[0], n % 4, rows, 0)
    check_shape("mean", mean.shape[0], mean.shape[1], F, n)
    check_shape("sums", sums.shape[0], sums.shape[1],
                1 + F + (F * (F + 1) // 2 if full else F), n)
    check_positive(F, n)
    with nogil:
        for t in range(rows):
            if is_known(&x[t, 0], F):
                lattice_moments(&x[t, 0], &mean[0, 0], &gamma[t, 0], F, full, n, &sums[0, 0])


def gaussian(const double[:, ::1] x, const double[:, ::1] mean, const double[:, ::1] whiten,
             const double[::1] constant, double[:, ::1] density, double[::1] top):
    """Log densities of x (rows, F) in every state less the row's largest, which goes to `top`.

    `mean` (F, width); `whiten` (F, width): W_ff, or (F (F + 1) / 2, width): W_00, W_10, W_11 …
    with |W (x - mean)|^2 the squared distance; `constant` (width,), -inf in padded states. A row
    with a NaN is missing: equally likely in every state, `top` 0.
    """
    cdef Py_ssize_t t, j, rows = x.shape[0], F = x.shape[1], n = constant.shape[0]
    cdef bint full = whiten.shape[0] != F
    check_shape("mean", mean.shape[0], mean.shape[1], F, n)
    check_shape("whiten", whiten.shape[0], whiten.shape[1], F * (F + 1) // 2 if full else F, n)
    check_shape("density", density.shape[0], density.shape[1], rows, n)
    check_shape("top", top.shape[0], n % 4, rows, 0)
    check_positive(F, n)
    with nogil:
        for t in range(rows):
            if is_known(&x[t, 0], F):
                top[t] = lattice_gaussian(&x[t, 0], &mean[0, 0], &whiten[0, 0], &constant[0], F,
                                          full, n, &density[t, 0])
            else:
                top[t] = 0
                for j in range(n):
                    density[t, j] = 0 if constant[j] > -INFINITY else -INFINITY


# ------------------------------------------------------------------------------------- helpers
cdef bint is_known(const double *x, Py_ssize_t n) noexcept nogil:
    """Whether no element is NaN."""
    cdef Py_ssize_t i
    cdef double total = 0
    for i in range(n):
        total += x[i]
    return total == total


cdef logs(const double[:, ::1] x):
    """The C library's log, -inf of 0. numpy's has other last bits, which decide between equals."""
    cdef Py_ssize_t i, j
    cdef double[:, ::1] out = np.empty((x.shape[0], x.shape[1]))
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = log(x[i, j])
    return out


cdef double sum_of_logs(const double *x, Py_ssize_t n) noexcept nogil:
    """sum(log(x)) for x in [1e-100, 1]: one log for many factors."""
    cdef double product = 1, total = 0
    cdef Py_ssize_t i
    for i in range(n):
        product *= x[i]
        if product < 1e-100:
            total += log(product)
            product = 1
    return total + log(product)


cdef Py_ssize_t best_state(const double *v, const double *arrow, Py_ssize_t stride,
                           Py_ssize_t n) noexcept nogil:
    """The lowest of the largest v; with `arrow` the highest of the largest v + arrow."""
    cdef Py_ssize_t i, best = 0
    for i in range(1, n):
        if arrow == NULL:
            if v[i] > v[best]:
                best = i
        elif v[i] + arrow[i * stride] >= v[best] + arrow[best * stride]:
            best = i
    return best


cdef double log_sum(const double *x, const double *y, Py_ssize_t stride,
                    Py_ssize_t n) noexcept nogil:
    """log(sum(exp(x + y))); y may be NULL."""
    cdef double s, most = -INFINITY, total = 0
    cdef Py_ssize_t i
    for i in range(n):
        s = x[i] if y == NULL else x[i] + y[i * stride]
        if s > most:
            most = s
    if most == -INFINITY:
        return most
    for i in range(n):
        s = x[i] if y == NULL else x[i] + y[i * stride]
        total += exp(s - most)
    return most + log(total)


cdef Py_ssize_t check_rows(const int64_t[::1] offsets, Py_ssize_t rows) except -1:
    cdef Py_ssize_t s
    if offsets.shape[0] < 1 or offsets[0] != 0:
        raise ValueError("offsets: expected (sequences + 1,) integers that begin with 0")
    for s in range(offsets.shape[0] - 1):
        if offsets[s + 1] < offsets[s]:
            raise ValueError(f"offsets: got {offsets[s + 1]} after {offsets[s]}, expected no "
                             "decrease")
    if offsets[offsets.shape[0] - 1] != rows:
        raise ValueError(f"offsets: got {offsets[offsets.shape[0] - 1]} at the end, expected the "
                         f"number of rows, {rows}")
    return rows


cdef int check_positive(Py_ssize_t features, Py_ssize_t states) except -1:
    if features < 1 or states < 1:
        raise ValueError(f"got {features} features and {states} states, expected at least one")
    return 0


cdef int check_shape(name, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t want_rows,
                     Py_ssize_t want_columns) except -1:
    if rows != want_rows or columns != want_columns:
        raise ValueError(f"{name}: got ({rows}, {columns}), expected ({want_rows}, "
                         f"{want_columns})")
    return 0
