# What the states emit, for one array of rows. Included by _hidden_markov.pyx.
#
# An emission writes likelihoods into rows of `width` padded states, and adds up the sums that an M-step needs: `n_sums`
# rows of `width` numbers.

cdef class Emission:
    """Base class. Subclasses implement `log_densities` and `add`, and `likelihood` where there is a faster way.

    Attributes
    ----------
    rows, width, n_sums : int
    """

    cdef readonly Py_ssize_t rows
    cdef readonly Py_ssize_t width
    cdef readonly Py_ssize_t n_sums
    cdef bint exact  # a likelihood of 0 is a true zero, not an underflow

    def log_likelihood(self):
        """Log likelihood of every row, (rows, width), -inf in padded states."""
        cdef double[:, ::1] out = np.empty((self.rows, self.width))
        if self.rows:
            with nogil:
                self.log_densities(0, self.rows, &out[0, 0])
        return np.asarray(out)

    cdef void log_densities(self, Py_ssize_t first, Py_ssize_t rows, double *out) noexcept nogil:
        pass

    cdef void likelihood(self, Py_ssize_t first, Py_ssize_t rows, double *b,
                         double *top) noexcept nogil:
        """Likelihoods divided by the largest of their row, whose log goes to `top`."""
        cdef Py_ssize_t t
        self.log_densities(first, rows, b)
        for t in range(rows):
            top[t] = kernels.subtract_max(b + t * self.width, self.width)
        kernels.exp(b, rows * self.width)

    cdef void add(self, Py_ssize_t first, Py_ssize_t rows, const double *gamma,
                  double *sums) noexcept nogil:
        pass


cdef class Symbols(Emission):
    """Integers 0 .. V - 1, looked up in a table; any other integer is a missing value.

    Sums: (V, width), expected counts.

    Parameters
    ----------
    x : ndarray (rows,) int64
    emissionprob : ndarray (n, V)
    """

    cdef const int64_t[::1] x
    cdef double[:, ::1] table       # (V + 1, width): likelihoods divided by the largest; last row: missing values
    cdef double[:, ::1] log_table
    cdef double[::1] top

    def __init__(self, const int64_t[::1] x, emissionprob):
        n, V = emissionprob.shape
        self.x, self.rows, self.exact = x, x.shape[0], True
        table = padded(np.concatenate([emissionprob.T, np.ones((1, n))]), 0)
        best = table.max(axis=1, keepdims=True)
        best[best == 0] = 1
        self.table, self.log_table, self.top = table / best, logs(table), np.log(best[:, 0])
        self.n_sums, self.width = V, table.shape[1]

    cdef Py_ssize_t row_of(self, Py_ssize_t t) noexcept nogil:
        return self.x[t] if 0 <= self.x[t] < self.n_sums else self.n_sums

    cdef void log_densities(self, Py_ssize_t first, Py_ssize_t rows, double *out) noexcept nogil:
        cdef Py_ssize_t t, n = self.width
        for t in range(rows):
            memcpy(out + t * n, &self.log_table[self.row_of(first + t), 0], n * sizeof(double))

    cdef void likelihood(self, Py_ssize_t first, Py_ssize_t rows, double *b,
                         double *top) noexcept nogil:
        cdef Py_ssize_t t, row, n = self.width
        for t in range(rows):
            row = self.row_of(first + t)
            memcpy(b + t * n, &self.table[row, 0], n * sizeof(double))
            top[t] = self.top[row]

    cdef void add(self, Py_ssize_t first, Py_ssize_t rows, const double *gamma,
                  double *sums) noexcept nogil:
        cdef Py_ssize_t t, j, symbol, n = self.width
        for t in range(rows):
            symbol = self.row_of(first + t)
            if symbol < self.n_sums:
                for j in range(n):
                    sums[symbol * n + j] += gamma[t * n + j]


cdef class Vectors(Emission):
    """Gaussian vectors. Sums: moments about each state's own mean, as `moments` in kernels.h.

    Parameters
    ----------
    x : ndarray (rows, F)
        A row with a NaN is missing.
    means : ndarray (n, F)
    whiten : ndarray (n, F) or (n, F (F + 1) / 2)
        Per state W_ff, or the lower triangle of W by rows; |W (x - mean)|² is the squared distance.
    constant : ndarray (n,)
        Log density at the mean.
    """

    cdef const double[:, ::1] x
    cdef Py_ssize_t n_states, features
    cdef bint full
    cdef double[:, ::1] mean
    cdef double[:, ::1] whiten
    cdef double[::1] constant

    def __init__(self, const double[:, ::1] x, means, whiten, constant):
        self.n_states, self.features = means.shape
        cdef Py_ssize_t n = self.n_states, F = self.features
        if n < 1 or F < 1:
            raise ValueError(f"means: got shape {means.shape}, expected at least (1, 1)")
        self.x, self.rows, self.exact = x, x.shape[0], False
        self.full = whiten.shape[1] != F
        self.width = padded_width(n)
        self.n_sums = 1 + F + (F * (F + 1) // 2 if self.full else F)
        check_shape("x", x.shape[0], x.shape[1], x.shape[0], F)
        check_shape("whiten", whiten.shape[0], whiten.shape[1], n, self.n_sums - 1 - F)
        self.mean, self.whiten = padded(means.T, 0), padded(whiten.T, 0)
        self.constant = padded(constant[None], -np.inf)[0]

    cdef void log_densities(self, Py_ssize_t first, Py_ssize_t rows, double *out) noexcept nogil:
        cdef Py_ssize_t t, j, n = self.width
        for t in range(rows):
            if is_known(&self.x[first + t, 0], self.features):
                kernels.gaussian(&self.x[first + t, 0], &self.mean[0, 0], &self.whiten[0, 0],
                                 &self.constant[0], self.features, self.full, n, out + t * n)
            else:
                for j in range(n):  # a missing value has log likelihood 0 in every state
                    out[t * n + j] = 0 if j < self.n_states else -INFINITY

    cdef void add(self, Py_ssize_t first, Py_ssize_t rows, const double *gamma,
                  double *sums) noexcept nogil:
        add_moments(self.x, first, rows, self.mean, self.full, gamma, self.width, sums)


cdef class Given(Emission):
    """Log densities computed elsewhere. Sums: all second moments of `x` about `centre`.

    Parameters
    ----------
    x : ndarray (rows, D)
        A row with a NaN adds nothing.
    log_b : ndarray (rows, width)
        -inf in padded states.
    centre : ndarray (D,)
    """

    cdef const double[:, ::1] x
    cdef const double[:, ::1] log_b
    cdef double[:, ::1] mean

    def __init__(self, const double[:, ::1] x, const double[:, ::1] log_b, centre):
        cdef Py_ssize_t D = x.shape[1]
        self.x, self.log_b, self.rows, self.exact = x, log_b, x.shape[0], False
        self.width, self.n_sums = log_b.shape[1], 1 + D + D * (D + 1) // 2
        check_shape("log_b", log_b.shape[0], log_b.shape[1] % RC_STATE_VECTOR, x.shape[0], 0)
        check_shape("centre", centre.shape[0], 1, D, 1)
        self.mean = np.repeat(centre[:, None], self.width, axis=1)

    cdef void log_densities(self, Py_ssize_t first, Py_ssize_t rows, double *out) noexcept nogil:
        memcpy(out, &self.log_b[first, 0], rows * self.width * sizeof(double))

    cdef void add(self, Py_ssize_t first, Py_ssize_t rows, const double *gamma,
                  double *sums) noexcept nogil:
        add_moments(self.x, first, rows, self.mean, True, gamma, self.width, sums)


cdef void add_moments(const double[:, ::1] x, Py_ssize_t first, Py_ssize_t rows,
                      double[:, ::1] mean, bint full, const double *gamma, Py_ssize_t n,
                      double *sums) noexcept nogil:
    cdef Py_ssize_t t, F = x.shape[1]
    for t in range(rows):
        if is_known(&x[first + t, 0], F):
            kernels.moments(&x[first + t, 0], &mean[0, 0], gamma + t * n, F, full, n, sums)


cdef bint is_known(const double *x, Py_ssize_t n) noexcept nogil:
    """Whether no element is NaN."""
    cdef Py_ssize_t i
    for i in range(n):
        if x[i] != x[i]:
            return False
    return True


cdef padded(rows, fill):
    """`rows` (k, n) with n padded to a multiple of four."""
    k, n = rows.shape
    out = np.full((k, padded_width(n)), fill, dtype=np.float64)
    out[:, :n] = rows
    return out
