# Updates of all parameters in one call, and the norm of all gradients beside them.
#
# The values of all arrays are taken in blocks of UPDATE_BLOCK, which threads divide. What is computed of each value
# depends on nothing else, and the squares of a block are added up by themselves, so no result depends on the threads.


cdef enum:
    UPDATE_BLOCK = 4096
    # Values from which two threads help: 0.1 ms of work, as for the thresholds in plan.pxi.
    THREADS_UPDATE = 1 << 17
    THREADS_ONE_ARRAY = 1 << 19     # where one array is read or scaled


cdef struct Piece:              # one array, and what is updated with it
    const rc_kernels *k
    idx item, size              # bytes of a value, and how many there are
    idx block                   # the number of its first block
    char *arrays[4]             # value, gradient, buffers; NULL: there is none


cdef struct Update:
    Piece *pieces
    idx count, blocks
    const rc_sgd *sgd           # one of these, or `squares`, or `factor`
    const rc_adam *adam
    double *squares             # of each block
    double factor


def update_sgd(list values, list grads, list momenta, double lr, double momentum, double weight_decay, bint nesterov):
    """One update of `optim.SGD`. `momenta` is empty where there is no momentum.

    Here and below, all arrays of a parameter are contiguous, of one type and of one size.
    """
    cdef rc_sgd o
    o.lr, o.momentum, o.weight_decay, o.nesterov = lr, momentum, weight_decay, nesterov
    run_update([values, grads, momenta] if momenta else [values, grads], &o, NULL)


def update_adam(list values, list grads, list exp_avg, list exp_avg_sq, double keep, double weight_decay,
                double beta1, double beta2, double eps, double root, double step):
    """One update of `optim.Adam` or, with `keep` below 1, of `optim.AdamW`: see `rc_adam` in kernels.h."""
    cdef rc_adam o
    o.keep, o.weight_decay, o.eps, o.root, o.step = keep, weight_decay, eps, root, step
    o.of_grad, o.beta2, o.of_square = 1 - beta1, beta2, 1 - beta2
    run_update([values, grads, exp_avg, exp_avg_sq], NULL, &o)


def sum_of_squares(list arrays):
    """The sum of the squares of all values, in float64."""
    cdef Update job
    cdef Memory memory_of_pieces = pieces_of([arrays], &job)
    cdef double total = 0
    cdef Memory squares
    cdef idx b
    try:
        squares = memory(job.blocks * sizeof(double), SCRATCH)
        job.squares = <double *>squares.p
        run_pieces(&job)
        for b in range(job.blocks):
            total += job.squares[b]
        give_back(squares)
    finally:
        give_back(memory_of_pieces)
    return total


def scale(list arrays, double factor):
    """Multiply all values, in place."""
    cdef Update job
    cdef Memory memory_of_pieces = pieces_of([arrays], &job)
    job.factor = factor
    run_pieces(&job)
    give_back(memory_of_pieces)


cdef int run_update(list arrays, const rc_sgd *sgd, const rc_adam *adam) except -1:
    cdef Update job
    cdef Memory memory_of_pieces = pieces_of(arrays, &job)
    job.sgd, job.adam = sgd, adam
    run_pieces(&job)
    give_back(memory_of_pieces)
    return 0


cdef Memory pieces_of(list arrays, Update *job) except *:
    """`arrays` has, for each kind of array, a list with one for each parameter."""
    cdef Memory m
    cdef Array a
    cdef Piece *piece
    cdef list of_kind
    cdef idx i, size
    cdef int kind
    memset(job, 0, sizeof(Update))
    job.count = len(arrays[0])
    m = memory(job.count * sizeof(Piece), SCRATCH)
    memset(m.p, 0, job.count * sizeof(Piece))
    job.pieces = <Piece *>m.p
    try:
        for kind, of_kind in enumerate(arrays):
            for i in range(job.count):
                piece = &job.pieces[i]
                size = take_flat(of_kind[i], &a)
                if kind == 0:
                    piece.k, piece.item, piece.size = rc_kernels_for(chosen_isa, <int>a.item * 8), a.item, size
                    piece.block = job.blocks
                    job.blocks += (size + UPDATE_BLOCK - 1) // UPDATE_BLOCK
                elif size != piece.size or a.item != piece.item:
                    raise ValueError(f"arrays: got {size} values of {a.item} bytes, expected {piece.size} of {piece.item}")
                piece.arrays[kind] = a.p
    except BaseException:
        give_back(m)
        raise
    return m


cdef idx take_flat(object a, Array *out) except -1:
    """As `take`, of a contiguous array; returns its number of values."""
    cdef Py_buffer b
    PyObject_GetBuffer(a, &b, PyBUF_C_CONTIGUOUS)
    out.p, out.item = <char *>b.buf, b.itemsize
    PyBuffer_Release(&b)
    return b.len // b.itemsize


cdef void run_pieces(Update *job) noexcept:
    cdef idx least = THREADS_UPDATE if job.sgd != NULL or job.adam != NULL else THREADS_ONE_ARRAY
    cdef int threads = rnncore_get_num_threads() if job.blocks * UPDATE_BLOCK > least else 1
    with nogil:
        rc_pool_run(update_thread, job, threads)


cdef void update_thread(void *context, int thread, int threads) noexcept nogil:
    cdef Update *j = <Update *>context
    cdef Piece *piece
    cdef idx block, stop, i, low, n
    split(j.blocks, 1, thread, threads, &block, &stop)
    for i in range(j.count):
        piece = &j.pieces[i]
        low = (block - piece.block) * UPDATE_BLOCK
        while block < stop and low < piece.size:
            n = min(UPDATE_BLOCK, piece.size - low)
            update_block(j, piece, low * piece.item, n, block)
            low, block = low + n, block + 1


cdef inline void update_block(const Update *j, Piece *piece, idx at, idx n, idx block) noexcept nogil:
    cdef const rc_kernels *k = piece.k
    cdef char **a = piece.arrays
    if j.adam != NULL:
        k.adam(j.adam, a[0] + at, a[1] + at, a[2] + at, a[3] + at, n)
    elif j.sgd != NULL:
        k.sgd(j.sgd, a[0] + at, a[1] + at, a[2] + at if a[2] != NULL else NULL, n)
    elif j.squares != NULL:
        j.squares[block] = k.sum_of_squares(a[0] + at, n)
    else:
        k.scale(a[0] + at, n, j.factor)
