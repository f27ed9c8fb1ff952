"""Hidden Markov chains: forward, backward, posteriors and the best path, without the GIL.

Sequences lie end to end in one array with a row for each step; ``offsets`` says where each begins. A row holds the
states, padded to a multiple of four (`Chain.width`) with probability 0.

    this file                    the recursions over one sequence
    hidden_markov_emissions.pxi  how likely a row is in every state, and the sums that an M-step needs
    hidden_markov_passes.pxi     all sequences, in portions that threads may share

The fast recursion works with probabilities and rescales every step::

    u_t     = (alpha_{t-1} A) * b_t          c_t = sum(u_t)        alpha_t = u_t / c_t
    w_t     = b_t * beta_t / c_t             beta_{t-1} = A w_t    beta_{T-1} = 1
    gamma_t = alpha_t * beta_t               xi_t = alpha_{t-1}' w_t * A

Here ``*`` is elementwise, ``'`` a column, and everything else a matrix product; A is `trans`, c is `norm`. ``b_t`` is
the likelihood of the step in every state, divided by the largest. Where every transition has a probability of `DENSE`
or more, what underflows is negligible beside what remains. Where some have less, a state whose probability underflows
may be the only way to what comes later. `Chain.watch` notices such a sequence, which is then given up and
computed again in logarithms.
"""

from libc.math cimport INFINITY, exp, log
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_Import

from kernels cimport RC_MAX_THREADS, RC_STATE_VECTOR, rc_hidden_markov, rc_shared

import numpy as np


cdef extern from *:
    """
    /* The counter's value; it is one more for the next thread that asks. */
    static Py_ssize_t next_value(Py_ssize_t *counter) { return __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED); }
    """
    Py_ssize_t next_value(Py_ssize_t *counter) noexcept nogil


# The engine's threads and kernels, from the module that has them.
cdef const rc_shared *engine = <const rc_shared *>PyCapsule_Import("rnncore._engine.shared", 0)
cdef const rc_hidden_markov *kernels = engine.hidden_markov


# Where a transition has a probability below this, the fast recursion is watched step by step.
cdef double DENSE = 1e-90
# Watching: a probability u below TINY counts as lost. It does not matter for a state that other states reach with at
# least ARRIVE, since it is then at most 1e-290 / NORM / ARRIVE = 1e-40 of what they bring. A sequence with a norm below
# NORM is given up.
cdef double TINY = 1e-290
cdef double ARRIVE = 1e-150
cdef double NORM = 1e-100


cdef enum:
    MOST_PAIRS = 20000000   # pairs of states in a stretch of `Chain.viterbi`, about 20 ms


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
        n, and n padded to a multiple of four.
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
        if n == 0 or np.shape(transmat) != (n, n):
            raise ValueError(f"transmat: got shape {np.shape(transmat)}, expected {(n, n)}, not "
                             "empty")
        self.n_states = n
        self.width = padded_width(n)
        start = np.zeros(self.width)
        start[:n] = startprob
        trans = np.zeros((self.width, self.width))
        trans[:n, :n] = transmat
        self.log_start = logs(start[None])[0]
        self.log_trans = logs(trans)
        self.start = start
        self.trans = trans
        self.trans_t = np.ascontiguousarray(trans.T)
        self.watched = bool(np.min(transmat) < DENSE)

    def viterbi(self, const double[:, ::1] log_b, double[:, ::1] v, int64_t[::1] path):
        """Write the most probable path of one sequence to `path`; return its log probability (0 for no step).

        `log_b` (rows, width) has -inf in padded states; `v` (rows, width) is working space. Of equally probable paths
        it is the one that hmmlearn returns: the lowest last state and, going back from there, the highest one.
        """
        cdef Py_ssize_t t, j, start, stop = 1, rows = log_b.shape[0], n = self.width
        check_shape("log_b", log_b.shape[0], log_b.shape[1], rows, n)
        check_shape("v", v.shape[0], v.shape[1], rows, n)
        check_shape("path", path.shape[0], 1, rows, 1)
        if rows == 0:
            return 0.0
        for j in range(n):
            v[0, j] = self.log_start[j] + log_b[0, j]
        while stop < rows:  # in stretches, between which a signal (Ctrl-C) is handled
            start, stop = stop, min(rows, stop + 1 + MOST_PAIRS // (n * n))
            with nogil:
                for t in range(start, stop):
                    kernels.viterbi(&v[t - 1, 0], &self.log_trans[0, 0], &log_b[t, 0], n, &v[t, 0])
            PyErr_CheckSignals()
        with nogil:
            path[rows - 1] = best_state(&v[rows - 1, 0], NULL, 0, self.n_states)
            for t in range(rows - 2, -1, -1):
                path[t] = best_state(&v[t, 0], &self.log_trans[0, path[t + 1]], n, self.n_states)
        return v[rows - 1, path[rows - 1]]

    # ------------------------------------------------------------------ in probabilities
    cdef bint forward(self, const double *b, double *u, double *norm, Py_ssize_t steps,
                      bint exact, char *missing) noexcept nogil:
        """u and c of one sequence. False: it must be computed in logarithms.

        `exact`: a zero in b is a true zero, not an underflow. `missing`: working space, n + 1.
        """
        cdef Py_ssize_t t, j, n = self.width
        cdef double scale, total = 0
        for j in range(n):
            u[j] = self.start[j] * b[j]
            total += u[j]
        norm[0] = total
        missing[self.n_states] = 0
        if self.watched:
            self.watch(NULL, 0, b, u, missing, exact)
        for t in range(1, steps):
            if not total >= NORM:
                return False
            scale = 1 / total
            total = kernels.forward(u, scale, &self.trans[0, 0], b + n, n, u + n)
            if self.watched and not self.watch(u, scale, b + n, u + n, missing, exact):
                return False
            b += n
            u += n
            norm[t] = total
        return total >= NORM

    cdef bint watch(self, const double *before, double scale, const double *b, double *u,
                    char *missing, bint exact) noexcept nogil:
        """Set probabilities below TINY to 0 and mark their states. False: one lost a step before could matter now."""
        cdef Py_ssize_t i, j, n = self.n_states
        cdef double arrives
        if missing[n]:  # any
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
        """Probability of state j before its emission is taken into account."""
        cdef Py_ssize_t i
        cdef double s = 0
        for i in range(self.n_states):
            s += u[i] * scale * self.trans[i, j]
        return s

    cdef void backward(self, double *b, double *u, const double *norm, Py_ssize_t steps,
                       double *gamma) noexcept nogil:
        """gamma of one sequence. b is overwritten by w, and u by alpha."""
        cdef Py_ssize_t t, j, n = self.width, last = (steps - 1) * n
        cdef double scale = 1 / norm[steps - 1]
        for j in range(last, last + n):  # beta = 1
            u[j] *= scale
            gamma[j] = u[j]
            b[j] = b[j] * scale if u[j] > 0 else 0
        for t in range(steps - 2, -1, -1):
            last -= n
            kernels.backward(b + last + n, &self.trans_t[0, 0], b + last, 1 / norm[t], n,
                             u + last, gamma + last, b + last)
            if self.watched:  # a state that cannot be reached may have any beta, even inf
                for j in range(last, last + n):
                    if u[j] == 0:
                        gamma[j] = b[j] = 0

    # ------------------------------------------------------------------ in logarithms
    cdef bint forward_log(self, const double *log_b, double *log_alpha, double *log_norm,
                          Py_ssize_t steps) noexcept nogil:
        """log alpha and log c of one sequence. False: impossible; from there on log c is -inf, log alpha not set."""
        cdef Py_ssize_t t, j, n = self.width
        for t in range(steps):
            for j in range(n):
                if j >= self.n_states:
                    log_alpha[j] = -INFINITY
                elif t == 0:
                    log_alpha[j] = self.log_start[j] + log_b[j]
                else:
                    log_alpha[j] = log_b[j] + log_sum(log_alpha - n, &self.log_trans[0, j], n,
                                                      self.n_states)
            log_norm[t] = log_sum(log_alpha, NULL, 0, self.n_states)
            if log_norm[t] == -INFINITY:
                for t in range(t, steps):
                    log_norm[t] = -INFINITY
                return False
            for j in range(self.n_states):
                log_alpha[j] -= log_norm[t]
            log_alpha += n
            log_b += n
        return True

    cdef void backward_log(self, const double *log_b, const double *log_alpha,
                           const double *log_norm, Py_ssize_t steps, double *gamma,
                           double *pairs) noexcept nogil:
        """gamma of one sequence, and pairs += sum of xi. Until a step is done, its gamma holds log w."""
        cdef Py_ssize_t t, i, j, n = self.width
        cdef double above
        cdef double *w
        for t in range(steps - 1, -1, -1):
            w = gamma + t * n
            memset(w, 0, n * sizeof(double))  # log beta
            if t < steps - 1:
                for i in range(self.n_states):
                    w[i] = log_sum(w + n, &self.log_trans[i, 0], 1, self.n_states)
                    for j in range(self.n_states):
                        above = log_alpha[t * n + i] + self.log_trans[i, j] + w[n + j]
                        if above > -745:        # exp is 0 below
                            pairs[i * n + j] += exp(above)
                self.to_posterior(log_alpha + (t + 1) * n, log_b + (t + 1) * n, log_norm[t + 1],
                                  w + n)
            for i in range(self.n_states):
                w[i] += log_b[t * n + i] - log_norm[t]
        self.to_posterior(log_alpha, log_b, log_norm[0], gamma)

    cdef void to_posterior(self, const double *log_alpha, const double *log_b, double log_norm,
                           double *w) noexcept nogil:
        """gamma = alpha beta, from log w and in its place."""
        cdef Py_ssize_t i
        for i in range(self.n_states):
            if log_alpha[i] == -INFINITY:
                w[i] = 0
            else:
                w[i] = exp(log_alpha[i] + w[i] - log_b[i] + log_norm)


include "hidden_markov_emissions.pxi"
include "hidden_markov_passes.pxi"


# ------------------------------------------------------------------------------------- helpers
cdef logs(const double[:, ::1] x):
    """The C library's log, -inf for 0. numpy's differs in the last bits, and those decide between equal paths."""
    cdef Py_ssize_t i, j
    cdef double[:, ::1] out = np.empty((x.shape[0], x.shape[1]))
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = log(x[i, j])
    return out


cdef double sum_of_logs(const double *x, Py_ssize_t n) noexcept nogil:
    """sum(log(x)) for x in [NORM, 1], with one logarithm for many factors."""
    cdef double product = 1, total = 0
    cdef Py_ssize_t i
    for i in range(n):
        product *= x[i]
        if product < NORM:
            total += log(product)
            product = 1
    return total + log(product)


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


cdef Py_ssize_t best_state(const double *v, const double *arrow, Py_ssize_t stride,
                           Py_ssize_t n) noexcept nogil:
    """The state with the largest v, and of equals the lowest. With `arrow`: of v + arrow, and of equals the highest."""
    cdef Py_ssize_t i, best = 0
    for i in range(1, n):
        if arrow == NULL:
            if v[i] > v[best]:
                best = i
        elif v[i] + arrow[i * stride] >= v[best] + arrow[best * stride]:
            best = i
    return best


cdef Py_ssize_t padded_width(Py_ssize_t n) noexcept:
    """n states, padded to whole vectors of the kernels."""
    return (n + RC_STATE_VECTOR - 1) // RC_STATE_VECTOR * RC_STATE_VECTOR


cdef int check_shape(name, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t want_rows,
                     Py_ssize_t want_columns) except -1:
    if rows != want_rows or columns != want_columns:
        raise ValueError(f"{name}: got ({rows}, {columns}), expected ({want_rows}, "
                         f"{want_columns})")
    return 0
