# Losses: softmax cross-entropy of many rows (which of them count, their losses, and the gradient), and squared error;
# draws of a class.


cdef enum:
    # Logits from which two threads help: 0.1 ms of work, as for the thresholds in plan.pxi.
    THREADS_LOGITS = 1 << 17
    # Values from which two threads help with their squared errors.
    THREADS_SQUARES = 1 << 18
    # Logits between two looks for signals.
    LOGITS_STRETCH = 1 << 24


cdef struct CrossEntropy:
    const rc_kernels *k
    rc_cross_entropy p
    idx row0, row1              # the rows to compute now


def cross_entropy(logits, targets, counted, idx ignored, steps, of_class, own, every, loss, grad):
    """The loss of every row, and the gradient of their mean; returns the sum of the weights of the rows that count.

    Parameters
    ----------
    logits : (M, C), contiguous
    targets : (M,) of intp, contiguous
    counted : (M,) of bool, contiguous, or None
        False where a row does not count; nor does it where its target is `ignored`. Its loss and gradient are 0.
    steps : (M,) of float64 or None
        The weight of each row; None: 1.
    of_class : (C,) of float64 or None
        The weight in the mean of a row with this target; None: 1.
    own : (C,) of float64, every : (C,) of the type of the logits, or both None
        See `rc_cross_entropy` in kernels.h; None: 1, and 0.
    loss : (M,) of float64
        Filled in.
    grad : as the logits, or None
        Filled in, unless the sum of the weights is 0.

    Returns
    -------
    float
        Or -1.0, and nothing is filled in, where a row counts whose target is not a class.
    """
    cdef CrossEntropy job
    cdef Array x, of_targets, of_counted, of_steps, weights, of_own, of_every, of_loss, of_grad
    cdef idx M = logits.shape[0], C = logits.shape[1], rows, row
    cdef double total, sum = 0
    cdef Memory scratch
    take(logits, &x, 0)
    take(targets, &of_targets, 0)
    take(counted, &of_counted, 0)
    take(steps, &of_steps, 0)
    take(of_class, &weights, 0)
    take(own, &of_own, 0)
    take(every, &of_every, 0)
    take(loss, &of_loss, 0)
    take(grad, &of_grad, 0)
    if M == 0:
        return 0.0
    scratch = memory(M * sizeof(idx), SCRATCH)
    try:
        with nogil:
            total = choose_rows(<const idx *>of_targets.p, <const char *>of_counted.p, ignored,
                                <const double *>of_steps.p, <const double *>weights.p, M, C, <idx *>scratch.p)
        if total < 0:
            return total
        job.k = rc_kernels_for(chosen_isa, <int>x.item * 8)
        job.p.classes, job.p.logits, job.p.target = C, x.p, <idx *>scratch.p
        job.p.step, job.p.own, job.p.every = <double *>of_steps.p, <double *>of_own.p, of_every.p
        job.p.every_sum = 0
        if every is not None:
            job.p.every_sum = every.sum(dtype="float64")
        job.p.loss, job.p.grad = <double *>of_loss.p, of_grad.p if total > 0 else NULL
        job.p.scale = 1 / total if total > 0 else 0
        rows, job.row1 = max(1, LOGITS_STRETCH // max(C, 1)), 0
        while job.row1 < M:
            if job.row1 > 0:
                PyErr_CheckSignals()
            job.row0, job.row1 = job.row1, min(M, job.row1 + rows)
            with nogil:
                rc_pool_run(cross_entropy_thread, &job,
                            rnncore_get_num_threads() if (job.row1 - job.row0) * C > THREADS_LOGITS else 1)
    finally:
        give_back(scratch)
    return total


cdef double choose_rows(const idx *targets, const char *counted, idx ignored, const double *steps,
                        const double *of_class, idx M, idx C, idx *chosen) noexcept nogil:
    """The target of each row, or -1 where it does not count; returns the sum of their weights, or -1 (see above)."""
    cdef double total = 0
    cdef idx row, t
    for row in range(M):
        t = targets[row]
        if t == ignored or counted != NULL and not counted[row]:
            chosen[row] = -1
            continue
        if not 0 <= t < C:
            return -1
        chosen[row] = t
        total += (steps[row] if steps != NULL else 1) * (of_class[t] if of_class != NULL else 1)
    return total


cdef void cross_entropy_thread(void *context, int thread, int threads) noexcept nogil:
    cdef CrossEntropy *j = <CrossEntropy *>context
    cdef idx start, stop
    split(j.row1 - j.row0, 1, thread, threads, &start, &stop)
    j.k.cross_entropy(&j.p, j.row0 + start, j.row0 + stop)


cdef extern from *:
    """
    /* Squared error of the values start .. stop of (M, F), for predictions of type real and targets of type given: returns
     * the sum of the squares, times the weights of their rows, and writes the gradient.  The sum has SQUARES accumulators,
     * of which value i is added to number i % SQUARES, and which are added up in pairs. */
    enum { SQUARES = 8 };
    static double rc_add_up(double *sums)
    {
        for (int half = SQUARES / 2; half > 0; half /= 2)
            for (int i = 0; i < half; i++) sums[i] += sums[i + half];
        return sums[0];
    }
    #define RC_SQUARED_ERROR(NAME, real, given)                                                                         \
        static double NAME(const void *predicted, const void *targets, const char *counted, int by_value,              \
                           const double *step, Py_ssize_t F, Py_ssize_t start, Py_ssize_t stop, void *grad, double c)  \
        {                                                                                                              \
            const real *x = (const real *)predicted, scale = (real)c;                                                  \
            const given *t = (const given *)targets;                                                                   \
            real *g = (real *)grad;                                                                                    \
            double sums[SQUARES] = {0};                                                                                \
            Py_ssize_t i = start, row = F ? start / F : 0, f = start - row * F;                                        \
            if (!counted && !step) {                                                                                   \
                for (; i + SQUARES <= stop; i += SQUARES)                                                              \
                    for (int k = 0; k < SQUARES; k++) {                                                                \
                        const real e = (real)(x[i + k] - t[i + k]);                                                    \
                        sums[k] += (double)e * (double)e;                                                              \
                        if (g) g[i + k] = e * scale;                                                                   \
                    }                                                                                                  \
                for (; i < stop; i++) {                                                                                \
                    const real e = (real)(x[i] - t[i]);                                                                \
                    sums[i % SQUARES] += (double)e * (double)e;                                                        \
                    if (g) g[i] = e * scale;                                                                           \
                }                                                                                                      \
                return rc_add_up(sums);                                                                                \
            }                                                                                                          \
            for (; i < stop; i++) {                                                                                    \
                if (counted && !counted[by_value ? i : row]) {                                                         \
                    if (g) g[i] = 0;                                                                                   \
                } else {                                                                                               \
                    const real e = (real)(x[i] - t[i]);                                                                \
                    sums[i % SQUARES] += (double)e * (double)e * (step ? step[row] : 1);                               \
                    if (g) g[i] = (step ? e * (real)step[row] : e) * scale;                                            \
                }                                                                                                      \
                if (++f == F) row++, f = 0;                                                                            \
            }                                                                                                          \
            return rc_add_up(sums);                                                                                    \
        }
    RC_SQUARED_ERROR(rc_squared_error_f32, float, float)
    RC_SQUARED_ERROR(rc_squared_error_f32_f64, float, double)
    RC_SQUARED_ERROR(rc_squared_error_f64, double, double)
    """
    double rc_squared_error_f32(const void *, const void *, const char *, bint, const double *, idx, idx, idx, void *,
                                double) noexcept nogil
    double rc_squared_error_f32_f64(const void *, const void *, const char *, bint, const double *, idx, idx, idx,
                                    void *, double) noexcept nogil
    double rc_squared_error_f64(const void *, const void *, const char *, bint, const double *, idx, idx, idx, void *,
                                double) noexcept nogil


ctypedef double (*squared_error_fn)(const void *, const void *, const char *, bint, const double *, idx, idx, idx,
                                    void *, double) noexcept nogil


cdef enum:
    # Values whose squares are summed from zero; these sums are added in their order, whatever the number of threads.
    SQUARES_BLOCK = 4096


cdef struct SquaredError:
    squared_error_fn f
    Array x, targets, counted, steps, grad
    bint by_value
    idx F, size
    double scale
    double *sums                # of each block


def squared_error(predicted, targets, counted, steps, grad):
    """The sum of squared errors times their weights, the sum of the weights, and the gradient of their quotient.

    Parameters
    ----------
    predicted : (M, F), contiguous
    targets : (M, F), contiguous, of the type of `predicted` or of float64
    counted : (M, F) or (M,) of bool, contiguous, or None
        False where a value, or a whole row, does not count. Its gradient is 0.
    steps : (M,) of float64 or None
        The weight of each row; None: 1.
    grad : as `predicted`, or None
        Filled in.

    Returns
    -------
    squares, total : float
    """
    cdef SquaredError job
    cdef idx M = predicted.shape[0], row, blocks, block, n
    cdef double squares = 0, total = 0
    cdef Memory scratch
    take(predicted, &job.x, 0)
    take(targets, &job.targets, 0)
    take(counted, &job.counted, 0)
    take(steps, &job.steps, 0)
    take(grad, &job.grad, 0)
    job.F, job.by_value = predicted.shape[1], counted is not None and counted.ndim == 2
    job.size = M * job.F
    if job.size == 0:
        return 0.0, 0.0
    job.f = (rc_squared_error_f64 if job.x.item == 8 else
             rc_squared_error_f32 if job.targets.item == 4 else rc_squared_error_f32_f64)
    blocks = (job.size + SQUARES_BLOCK - 1) // SQUARES_BLOCK
    scratch = memory(blocks * sizeof(double), SCRATCH)
    job.sums = <double *>scratch.p
    with nogil:
        for row in range(M):
            n = job.F
            if job.counted.p != NULL:
                n = count_in_row(job.counted.p + (row * job.F if job.by_value else row), job.F, job.by_value)
            total += n * ((<double *>job.steps.p)[row] if job.steps.p != NULL else 1)
        job.scale = 2 / (total if total > 0 else 1)
        rc_pool_run(squared_error_thread, &job, rnncore_get_num_threads() if job.size > THREADS_SQUARES else 1)
        for block in range(blocks):
            squares += job.sums[block]
    give_back(scratch)
    return squares, total


cdef inline idx count_in_row(const char *counted, idx F, bint by_value) noexcept nogil:
    cdef idx f, n = 0
    if not by_value:
        return F if counted[0] else 0
    for f in range(F):
        n += counted[f] != 0            # another type's bytes, seen as bool, need not be 0 or 1
    return n


cdef void squared_error_thread(void *context, int thread, int threads) noexcept nogil:
    cdef SquaredError *j = <SquaredError *>context
    cdef idx start, stop, block
    split((j.size + SQUARES_BLOCK - 1) // SQUARES_BLOCK, 1, thread, threads, &start, &stop)
    for block in range(start, stop):
        j.sums[block] = j.f(j.x.p, j.targets.p, j.counted.p, j.by_value, <double *>j.steps.p, j.F,
                            block * SQUARES_BLOCK, min(j.size, (block + 1) * SQUARES_BLOCK), j.grad.p, j.scale)


def draw(logits, double temperature, random):
    """A class with the probabilities softmax(logits / temperature): the first whose cumulative probability is above
    a number in [0, 1), which `random()` returns. At temperature 0 it is the first of the most likely classes.

    `logits` are contiguous and of float32 or float64; all is computed in float64. `random` is called at most once, and
    only after the logits are found to be right, so that a refused call leaves a generator as it was.
    """
    cdef Array a
    cdef Memory scratch
    cdef double top = -INFINITY, total = 0, uniform
    cdef idx n, i, likeliest = -1
    cdef bint known = True
    if not is_plain(logits, NPY_FLOAT) and not is_plain(logits, NPY_DOUBLE):
        raise TypeError(f"logits: got {type(logits).__name__}, expected an aligned C-contiguous array of float32 or float64")
    take(logits, &a, 0)
    n = a.last
    if n == 0:
        raise ValueError("logits: got none, expected one for each class, at least one")
    scratch = memory(n * sizeof(double), SCRATCH)
    cdef double *cumulative = <double *>scratch.p       # first the logits
    for i in range(n):
        cumulative[i] = (<float *>a.p)[i] if a.item == 4 else (<double *>a.p)[i]
        known &= cumulative[i] < INFINITY           # NaN is not
        if cumulative[i] > top:
            top, likeliest = cumulative[i], i
    if not known or likeliest < 0 or temperature == 0:
        give_back(scratch)
        if known and likeliest >= 0:
            return likeliest
        raise ValueError(f"logits: got {'-inf for every class' if known else 'NaN or infinity'}, expected finite numbers, "
                         "or -inf for classes that are impossible, at least one of them finite; if they are a model's, "
                         "its weights or its inputs are not finite")
    try:
        uniform = random()
    except BaseException:
        give_back(scratch)
        raise
    for i in range(n):              # at a tiny temperature all but the most likely become 0
        total += exp((cumulative[i] - top) / temperature)
        cumulative[i] = total
    i = 0
    while i < n - 1 and cumulative[i] <= uniform * total:
        i += 1
    give_back(scratch)
    return i
