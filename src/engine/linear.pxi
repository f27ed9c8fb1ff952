# A linear layer: y = x Wᵀ + b on rows, forward and backward, with the products of the recurrent layers.
#
# Rows do not depend on each other, nor anything on the number of threads. The gradients of the weight and the bias are
# sums over rows, in the chunks, blocks and spans of sums.pxi, from the first row to the last: every row is a step.


cdef enum:
    # Multiply-adds between two looks for signals; with a large matrix a chunk of rows may take more.
    LINEAR_STRETCH = 300000000


@cython.no_gc
cdef class LinearWeights:
    """The weight (O, I) and the bias (O,) of a linear layer, packed for the kernels. What it holds never changes.

    Forward needs the matrix, and backward its transpose, which `pack_backward` adds when it is first needed.
    """
    cdef const rc_kernels *k
    cdef readonly Py_ssize_t in_features, out_features
    cdef idx item
    cdef rc_pack w, wt
    cdef char *bias             # NULL: none
    cdef Memory packed
    cdef Memory packed_t        # p NULL: not packed for backward yet

    def __cinit__(self, weight, bias=None):
        """Pack contiguous arrays of one type."""
        cdef Array of_w, of_bias
        cdef size_t size
        take(weight, &of_w, 0)
        take(bias, &of_bias, 0)
        self.item, self.out_features, self.in_features = of_w.item, weight.shape[0], of_w.last
        self.k = rc_kernels_for(chosen_isa, <int>self.item * 8)
        self.w.n, self.w.k, self.w.groups = self.out_features, self.in_features, 1
        self.wt.n, self.wt.k, self.wt.groups = self.in_features, self.out_features, 1
        size = rounded(self.out_features * self.item) if bias is not None else 0
        self.packed = memory(size + bytes_of_pack(&self.w, self.k), PACKED_WEIGHTS)
        self.w.w = self.packed.p + size
        if bias is not None:
            self.bias = self.packed.p
            memcpy(self.bias, of_bias.p, self.out_features * self.item)
        self.pack_matrix(of_w.p, False)

    def __dealloc__(self):
        give_back(self.packed)
        give_back(self.packed_t)

    @property
    def nbytes(self):
        """Bytes of the packed copies."""
        return self.packed.size + self.packed_t.size

    def pack_backward(self, weight):
        """Pack the transpose of the same matrix."""
        cdef Array of_w
        if self.packed_t.p == NULL:
            take(weight, &of_w, 0)
            self.packed_t = memory(bytes_of_pack(&self.wt, self.k), PACKED_WEIGHTS)
            self.wt.w = self.packed_t.p
            self.pack_matrix(of_w.p, True)

    cdef void pack_matrix(self, char *weight, bint transposed) noexcept:
        cdef LinearPacking job
        cdef idx size = self.in_features * self.out_features * self.item
        job.k, job.item, job.I, job.O, job.transposed, job.weight = (
            self.k, self.item, self.in_features, self.out_features, transposed, weight)
        job.pack = &self.wt if transposed else &self.w
        with nogil:
            rc_pool_run(linear_packing_thread, &job, rnncore_get_num_threads() if size > PACK_ON_THREADS else 1)


cdef struct LinearPacking:
    const rc_kernels *k
    const rc_pack *pack
    idx item, I, O
    bint transposed
    char *weight


cdef void linear_packing_thread(void *context, int thread, int threads) noexcept nogil:
    cdef LinearPacking *j = <LinearPacking *>context
    cdef const void *src = j.weight
    cdef idx start, stop
    if j.transposed:
        split(j.O, 1, thread, threads, &start, &stop)
        j.k.pack_rows(j.pack, start, stop - start, j.weight + start * j.I * j.item, j.I)
    else:
        split(j.O, RC_PANEL_VECTORS * j.k.lanes, thread, threads, &start, &stop)
        j.k.pack(j.pack, &src, j.I, start, stop)


cdef struct Linear:
    const rc_kernels *k
    const rc_pack *w
    const rc_pack *wt
    char *bias
    idx I, O, item
    int blocks                  # the weight's rows are so many blocks, of which block[g] belongs to part g of y
    int block[RC_MAX_SLOTS]
    idx row0, row1              # the rows to compute now
    char *x                     # (M, I)
    char *y                     # (M, O), in backward its gradient
    char *grad_x                # (M, I); NULL: not wanted
    Summing sums                # of the weight (its `w_ih`) and of the bias (its `slots`)
    rc_pack packed_x[2]         # of two chunks in turns
    rc_barrier barrier
    bint few_rows               # threads divide units and not rows


cdef inline int linear_threads(idx M, idx I, idx O, double passes, bint *few_rows) noexcept:
    """How many threads a pass uses that takes `passes` times the flops of forward, and what they divide."""
    cdef int n = rnncore_get_num_threads()
    few_rows[0] = M < 16 * n
    return n if n > 1 and 2.0 * M * I * O * passes > (THREADS_FORWARD if passes == 1 else THREADS_BACKWARD) else 1


cdef inline idx linear_stretch(idx I, idx O, idx passes) noexcept:
    """How many rows are computed between two looks for signals: whole chunks."""
    return max(1, LINEAR_STRETCH // (I * O * passes) // SUM_CHUNK) * SUM_CHUNK


def linear_forward(LinearWeights w not None, x, y):
    """y (M, O) = x (M, I) Wᵀ + b; both arrays are contiguous and of the type of the weights."""
    cdef Linear job
    set_linear(&job, w, x, y)
    run_linear_forward(&job, x.shape[0])


cdef int run_linear_forward(Linear *job, idx M) except -1:
    cdef idx stretch = linear_stretch(job.I, job.O, 1)
    cdef int threads = linear_threads(M, job.I, job.O, 1, &job.few_rows)
    job.row1 = 0
    while job.row1 < M:
        if job.row1 > 0:
            PyErr_CheckSignals()
        job.row0, job.row1 = job.row1, min(M, job.row1 + stretch)
        with nogil:
            rc_pool_run(linear_forward_thread, job, threads)
    return 0


cdef int set_linear(Linear *job, LinearWeights w, x, y) except -1:
    cdef Array a
    take(x, &a, 0)
    job.x = a.p
    take(y, &a, 0)
    job.y = a.p
    set_linear_weights(job, w)
    return 0


cdef inline void set_linear_weights(Linear *job, LinearWeights w) noexcept:
    job.k, job.w, job.wt, job.bias = w.k, &w.w, &w.wt, w.bias
    job.I, job.O, job.item = w.in_features, w.out_features, w.item
    job.blocks, job.block[0] = 1, 0


cdef void linear_forward_thread(void *context, int thread, int threads) noexcept nogil:
    cdef Linear *j = <Linear *>context
    multiply_rows(j, j.w, j.bias, j.x, j.y, j.row0, j.row1, thread, threads)


cdef void multiply_rows(const Linear *j, const rc_pack *pack, const void *bias, char *a, char *c, idx row0, idx row1,
                        int thread, int threads) noexcept nogil:
    """This thread's part of the rows row0 .. row1 of a (M, k) times a packed matrix, into c (M, groups·n).

    So many rows at once that they stay in L2 while they meet all of the matrix.
    """
    cdef rc_product p = product_with(pack)
    cdef idx start, stop, unit0 = 0, unit1 = pack.n, low, high, part, parts
    cdef int g
    p.lda, p.gc, p.ldc = pack.k, pack.n, pack.groups * pack.n
    for g in range(pack.groups if bias != NULL else 0):
        p.bias[g] = <char *>bias + g * pack.n * j.item
    start, stop = row0, row1
    if j.few_rows:
        split(pack.n, RC_PANEL_VECTORS * j.k.lanes, thread, threads, &unit0, &unit1)
    else:
        split(row1 - row0, j.k.tile_rows, thread, threads, &start, &stop)
        start, stop = row0 + start, row0 + stop
    parts = (stop - start + SUM_CHUNK - 1) // SUM_CHUNK
    p.a, p.c = a, c
    for part in range(parts):       # of equal size: each reads all of the matrix, whatever its number of rows
        split(stop - start, j.k.tile_rows, <int>part, <int>parts, &low, &high)
        j.k.product(&p, start + low, start + high, unit0, unit1)


def linear_backward(LinearWeights w not None, x, grad_y, grad_x, grad_weight, grad_bias=None):
    """From grad_y (M, O) the gradients of x (M, I), which may be None, of the weight (O, I) and of the bias (O,).

    All arrays are contiguous and of the type of the weights; the gradients need not be initialised. For a gradient of x,
    `LinearWeights.pack_backward` must have been called before.
    """
    cdef Linear job
    set_linear(&job, w, x, grad_y)
    run_linear_backward(&job, x.shape[0], grad_x, grad_weight, grad_bias)


cdef int run_linear_backward(Linear *job, idx M, grad_x, grad_weight, grad_bias) except -1:
    cdef Array a
    cdef Memory scratch
    cdef idx I = job.I, O = job.O, stretch = linear_stretch(I, O, 2)
    cdef size_t of_chunk, of_weight = 0, of_bias = 0
    cdef int threads = linear_threads(M, I, O, 2, &job.few_rows), i
    memset(&job.sums, 0, sizeof(job.sums))
    memset(&job.barrier, 0, sizeof(job.barrier))
    take(grad_x, &a, 0)
    job.grad_x = a.p
    job.sums.k, job.sums.numbering.B, job.sums.numbering.T = job.k, 1, M
    job.sums.last_span = last_span(&job.sums.numbering)
    take(grad_weight, &a, 0)
    job.sums.w_ih.sum, job.sums.w_ih.size = a.p, O * I
    take(grad_bias, &a, 0)
    job.sums.slots.sum, job.sums.slots.size = a.p, O if a.p != NULL else 0
    if M == 0:
        memset(job.sums.w_ih.sum, 0, O * I * job.item)
        memset(job.sums.slots.sum, 0, job.sums.slots.size * job.item)
        return 0
    for i in range(2):
        job.packed_x[i].n, job.packed_x[i].k, job.packed_x[i].groups = I, min(M, SUM_CHUNK), 1
    of_chunk = rounded(job.k.pack_size(I, min(M, SUM_CHUNK), 1) * job.item)
    if job.sums.last_span > 0:
        of_weight, of_bias = rounded(O * I * 8), rounded(job.sums.slots.size * 8)
    scratch = memory(2 * of_chunk + of_weight + of_bias, SCRATCH)
    try:
        job.packed_x[0].w, job.packed_x[1].w = scratch.p, scratch.p + of_chunk
        job.sums.w_ih.total = <double *>(scratch.p + 2 * of_chunk)
        job.sums.slots.total = <double *>(scratch.p + 2 * of_chunk + of_weight)
        job.row1 = 0
        while job.row1 < M:
            if job.row1 > 0:
                PyErr_CheckSignals()
            job.row0, job.row1 = job.row1, min(M, job.row1 + stretch)
            memset(&job.barrier, 0, sizeof(job.barrier))
            with nogil:
                rc_pool_run(linear_backward_thread, job, threads)
        if job.sums.last_span > 0:
            round_part(&job.sums, &job.sums.w_ih)
            round_part(&job.sums, &job.sums.slots)
    finally:
        give_back(scratch)
    return 0


cdef void linear_backward_thread(void *context, int thread, int threads) noexcept nogil:
    """The chunks of a stretch, one after the other: this thread's part of each gradient.

    Two packed chunks in turns need one barrier each: who packs into the one of two chunks ago has met the others after
    they had used it.
    """
    cdef Linear *j = <Linear *>context
    cdef Share mine
    cdef rc_pack pack
    cdef idx low, high = j.row0, start, stop
    mine.thread, mine.threads, mine.by_units = thread, threads, False
    mine.rows = mine.units = 0
    while high < j.row1:
        low, high = high, min(j.row1, high + SUM_CHUNK)
        pack = j.packed_x[low // SUM_CHUNK & 1]
        pack.k = high - low
        split(high - low, 1, mine.thread, mine.threads, &start, &stop)
        j.k.pack_rows(&pack, start, stop - start, j.x + (low + start) * j.I * j.item, j.I)
        if meet(&j.barrier, &mine, True):
            return
        if j.grad_x != NULL:
            multiply_rows(j, j.wt, NULL, j.y, j.grad_x, low, high, mine.thread, mine.threads)
        add_chunk(j, &pack, low, high, mine.thread, mine.threads)


cdef void add_chunk(const Linear *j, const rc_pack *pack, idx low, idx high, int thread, int threads) noexcept nogil:
    """Add the rows low .. high to the gradients of this thread's rows of the weight."""
    cdef rc_weight_gradient o
    cdef rc_blocks blocks = blocks_of(&j.sums.numbering, low, high, True)
    cdef idx H = j.O // j.blocks, m0, m1
    cdef int g
    split(H, j.k.lanes, thread, threads, &m0, &m1)
    if ends_span(&j.sums.numbering, low, high, True):
        end_span(&j.sums, j.I, H, 0, low, True, m0, m1, 0, 0)
    o.ldd, o.blocks = j.O, &blocks
    o.pack[0], o.pack[1], o.partial[0], o.ldc[0] = pack, NULL, NULL, j.I
    for g in range(j.blocks):
        o.d = j.y + (low * j.O + g * H) * j.item
        o.c[0] = j.sums.w_ih.sum + j.block[g] * H * j.I * j.item
        j.k.weight_gradient(&o, m0, m1)
    if j.sums.slots.size > 0:           # of one block
        j.k.column_sums(j.sums.slots.sum, NULL, o.d, j.O, high - low, &blocks, m0, m1)
