# All sequences, in portions. Included by _hidden_markov.pyx.
#
# A portion is some whole sequences in a row, with sums of its own. The portions depend only on the data, and their sums
# are added in a fixed order, so that results do not depend on the number of threads. Each thread takes the next portion
# that no thread has taken, until none is left.

cdef class Space:
    """Working arrays of one thread, as large as the longest sequence it has met."""

    cdef double *memory
    cdef char *missing
    cdef Py_ssize_t cells
    cdef Py_ssize_t width
    cdef double *b
    cdef double *u
    cdef double *gamma
    cdef double *norm
    cdef double *top
    cdef bint main                  # of the thread that Python called, which checks for signals

    def __dealloc__(self):
        free(self.memory)
        free(self.missing)

    cdef int reserve(self, Py_ssize_t steps, Py_ssize_t width) except -1:
        cdef Py_ssize_t rows = (steps + 3) // 4 * 4, cells = rows * (3 * width + 2)
        if cells > self.cells or width > self.width:
            free(self.memory)
            free(self.missing)
            self.cells = self.width = 0
            self.memory = <double *>malloc(cells * sizeof(double) + 1)
            self.missing = <char *>malloc(width + 1)
            if self.memory == NULL or self.missing == NULL:
                raise MemoryError(f"{cells * 8 / 1e6:.0f} MB for a sequence of {steps} steps")
            self.cells, self.width = cells, width
        self.b = self.memory
        self.u = self.b + rows * width
        self.gamma = self.u + rows * width
        self.norm = self.gamma + rows * width
        self.top = self.norm + rows
        return 0


cdef class Pass:
    """Base of `Smoothing` and `Filtering`: all sequences once, by `run`.

    Parameters
    ----------
    chain : Chain
    emission : Emission
    offsets : ndarray (sequences + 1,) int64
        Where sequences begin, and the number of rows.
    portions : ndarray (portions + 1,) int64
        The first sequence of every portion, and the number of sequences.
    """

    cdef Chain chain
    cdef Emission emission
    cdef const int64_t[::1] offsets
    cdef const int64_t[::1] portions
    cdef Py_ssize_t longest
    cdef Py_ssize_t taken
    cdef long long checked          # when signals were last checked for, ns
    cdef bint stop                  # a signal handler has raised, and the pass is given up
    cdef object raised

    def __init__(self, Chain chain, Emission emission, const int64_t[::1] offsets,
                 const int64_t[::1] portions):
        check_shape("emission", emission.width, 1, chain.width, 1)
        self.longest = check_steps("offsets", offsets, emission.rows)
        check_steps("portions", portions, offsets.shape[0] - 1)
        self.chain, self.emission = chain, emission
        self.offsets, self.portions = offsets, portions
        self.taken = 0

    def run(self, list spaces):
        """Work until no portion is left, on one thread for each `Space`."""
        cdef Job job
        cdef Space space
        cdef int i, threads = <int>min(len(spaces), self.portions.shape[0] - 1, RC_MAX_THREADS)
        for i in range(threads):
            space = spaces[i]
            space.reserve(self.longest, self.chain.width)
            space.main = i == 0
            job.spaces[i] = <void *>space
        self.checked = engine.now()
        job.run_portions = <void (*)(void *, void *) noexcept nogil><void *>run_portions
        job.work = <void *>self
        with nogil:
            engine.pool_run(run_thread, &job, threads)
        if self.stop:
            raise self.raised

    cdef void run_portions(self, Space space) noexcept nogil:
        cdef Py_ssize_t portion, s
        while True:
            portion = next_value(&self.taken)
            if portion >= self.portions.shape[0] - 1:
                return
            for s in range(self.portions[portion], self.portions[portion + 1]):
                if self.stopped(space):
                    return
                self.run_sequence(portion, s, self.offsets[s], self.offsets[s + 1] - self.offsets[s], space)

    cdef void run_sequence(self, Py_ssize_t portion, Py_ssize_t s, Py_ssize_t first, Py_ssize_t steps,
                  Space space) noexcept nogil:
        pass

    cdef bint stopped(self, Space space) noexcept nogil:
        """Whether the pass is given up; checks for signals (Ctrl-C) now and then."""
        if space.main and engine.now() - self.checked > CHECK_NS:
            self.check_signals()
        return self.stop

    cdef void check_signals(self) noexcept with gil:
        try:
            PyErr_CheckSignals()
        except BaseException as error:
            self.raised, self.stop = error, True
        self.checked = engine.now()


cdef enum:
    CHECK_NS = 20000000


cdef struct Job:                # what the threads of one `Pass.run` work on; `run` keeps the objects alive
    void (*run_portions)(void *work, void *space) noexcept nogil
    void *work
    void *spaces[RC_MAX_THREADS]


cdef void run_portions(Pass work, Space space) noexcept nogil:
    work.run_portions(space)


cdef void run_thread(void *context, int thread, int threads) noexcept nogil:
    cdef Job *job = <Job *>context
    job.run_portions(job.work, job.spaces[thread])


cdef class Smoothing(Pass):
    """Posteriors of every sequence, added up as EM needs them.

    Attributes
    ----------
    log_prob : ndarray (sequences,)
        -inf for an impossible sequence, which adds nothing.
    starts : ndarray (width,)
        Posterior of the first states.
    pairs : ndarray (width, width)
        Expected number of transitions.
    sums : ndarray (n_sums, width)
        What the emission adds up.
    gamma : ndarray (rows, width) or None
        The posteriors themselves, where ``posteriors=True`` asks for them.
    """

    cdef double[::1] log_probs
    cdef double[:, ::1] starts_of
    cdef double[:, :, ::1] products_of  # sums of alpha_{t-1}' w_t, not yet times A
    cdef double[:, :, ::1] pairs_of     # of the sequences in logarithms, times A
    cdef double[:, :, ::1] sums_of
    cdef double[:, ::1] gammas
    cdef bint posteriors

    def __init__(self, chain, emission, offsets, portions, posteriors=False):
        super().__init__(chain, emission, offsets, portions)
        n, count = self.chain.width, self.portions.shape[0] - 1
        self.log_probs = np.zeros(self.offsets.shape[0] - 1)
        self.starts_of = np.zeros((count, n))
        self.products_of = np.zeros((count, n, n))
        self.pairs_of = np.zeros((count, n, n))
        # a gap between portions: they are written at every step, and no cache line may have two writers
        self.sums_of = np.zeros((count, self.emission.n_sums + 2, n))
        self.posteriors = posteriors
        self.gammas = np.zeros((self.emission.rows if posteriors else 0, n))

    @property
    def log_prob(self):
        return np.asarray(self.log_probs)

    @property
    def starts(self):
        return np.add.reduce(self.starts_of, axis=0)

    @property
    def pairs(self):
        return (np.add.reduce(self.products_of, axis=0) * self.chain.trans
                + np.add.reduce(self.pairs_of, axis=0))

    @property
    def sums(self):
        return np.add.reduce(self.sums_of, axis=0)[:self.emission.n_sums]

    @property
    def gamma(self):
        return np.asarray(self.gammas) if self.posteriors else None

    cdef void run_sequence(self, Py_ssize_t portion, Py_ssize_t s, Py_ssize_t first, Py_ssize_t steps,
                  Space space) noexcept nogil:
        cdef Py_ssize_t t, n = self.chain.width
        cdef double log_prob = 0        # added up here: in log_probs it shares a cache line with other threads' sums
        if steps == 0:
            return
        self.emission.likelihood(first, steps, space.b, space.top)
        if self.stopped(space):
            return
        if self.chain.forward(space.b, space.u, space.norm, steps, self.emission.exact,
                              space.missing):
            if self.stopped(space):
                return
            log_prob = sum_of_logs(space.norm, steps)
            for t in range(steps):
                log_prob += space.top[t]
            self.chain.backward(space.b, space.u, space.norm, steps, space.gamma)
            if self.stopped(space):
                return
            kernels.outer(steps - 1, space.u, n, n, space.b + n, n,
                          &self.products_of[portion, 0, 0])
        else:
            self.emission.log_densities(first, steps, space.b)
            if self.chain.forward_log(space.b, space.u, space.norm, steps):
                if self.stopped(space):
                    return
                self.chain.backward_log(space.b, space.u, space.norm, steps, space.gamma,
                                        &self.pairs_of[portion, 0, 0])
            else:
                memset(space.gamma, 0, steps * n * sizeof(double))
            for t in range(steps):
                log_prob += space.norm[t]
        if self.stopped(space):
            return
        self.log_probs[s] = log_prob
        for t in range(n):
            self.starts_of[portion, t] += space.gamma[t]
        self.emission.add(first, steps, space.gamma, &self.sums_of[portion, 0, 0])
        if self.posteriors:
            memcpy(&self.gammas[first, 0], space.gamma, steps * n * sizeof(double))


cdef class Filtering(Pass):
    """The probability of every step and of its states, given the steps before.

    Attributes
    ----------
    log_norm : ndarray (rows,)
        log p(x_t | x_<t); -inf from the first impossible step on.
    alpha : ndarray (rows, width)
        p(state | x_<=t); zeros from the first impossible step on.
    """

    cdef double[::1] log_norms
    cdef double[:, ::1] alphas

    def __init__(self, chain, emission, offsets, portions):
        super().__init__(chain, emission, offsets, portions)
        self.log_norms = np.zeros(self.emission.rows)
        self.alphas = np.zeros((self.emission.rows, self.chain.width))

    @property
    def log_norm(self):
        return np.asarray(self.log_norms)

    @property
    def alpha(self):
        return np.asarray(self.alphas)

    cdef void run_sequence(self, Py_ssize_t portion, Py_ssize_t s, Py_ssize_t first, Py_ssize_t steps,
                  Space space) noexcept nogil:
        cdef Py_ssize_t t, j, n = self.chain.width
        if steps == 0:
            return
        self.emission.likelihood(first, steps, space.b, space.top)
        if self.stopped(space):
            return
        if self.chain.forward(space.b, space.u, space.norm, steps, self.emission.exact,
                              space.missing):
            for t in range(steps):
                self.log_norms[first + t] = log(space.norm[t]) + space.top[t]
                for j in range(n):
                    self.alphas[first + t, j] = space.u[t * n + j] / space.norm[t]
            return
        self.emission.log_densities(first, steps, space.b)
        self.chain.forward_log(space.b, space.u, space.norm, steps)
        for t in range(steps):
            self.log_norms[first + t] = space.norm[t]
            for j in range(n):
                if space.norm[t] > -INFINITY:
                    self.alphas[first + t, j] = exp(space.u[t * n + j])


cdef Py_ssize_t check_steps(name, const int64_t[::1] steps, Py_ssize_t last) except -1:
    """Check that integers rise from 0 to `last` (equal neighbours allowed); return the largest step."""
    cdef Py_ssize_t i, largest = 0
    cdef bint good = steps.shape[0] > 1 and steps[0] == 0 and steps[steps.shape[0] - 1] == last
    for i in range(steps.shape[0] - 1):
        good = good and steps[i] <= steps[i + 1]
        largest = max(largest, steps[i + 1] - steps[i])
    if not good:
        raise ValueError(f"{name}: got {np.asarray(steps)}, expected integers from 0 to {last} "
                         "that never fall")
    return largest
