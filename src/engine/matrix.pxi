# A matrix on its own, as a linear layer has it, multiplied by the kernels of the recurrent layers: a row of the product
# has the same bits whatever other rows there are, which BLAS does not promise.


cdef struct RowsTimes:
    const rc_kernels *k
    rc_product p
    idx row0, row1


@cython.no_gc
cdef class Matrix:
    """W (n, k), packed for y = x·Wᵀ + b. What it holds never changes."""
    cdef const rc_kernels *k
    cdef rc_pack pack
    cdef char *bias
    cdef idx item
    cdef Memory packed

    def __cinit__(self, w, bias=None):
        """`w` and `bias` are contiguous arrays of one type."""
        cdef Array of_w, of_bias
        cdef size_t size
        cdef const void *src[1]
        take(w, &of_w, 0)
        take(bias, &of_bias, 0)
        self.item = of_w.item
        self.k = rc_kernels_for(chosen_isa, <int>self.item * 8)
        self.pack.n, self.pack.k, self.pack.groups = w.shape[0], of_w.last, 1
        size = rounded(self.k.pack_size(self.pack.n, self.pack.k, 1) * self.item)
        self.packed = memory(size + rounded(self.pack.n * self.item), PACKED_WEIGHTS)
        self.pack.w, self.bias = self.packed.p, NULL
        if bias is not None:
            self.bias = self.packed.p + size
            memcpy(self.bias, of_bias.p, self.pack.n * self.item)
        src[0] = of_w.p
        self.k.pack(&self.pack, src, self.pack.k, 0, self.pack.n)

    def __dealloc__(self):
        give_back(self.packed)

    def times(self, x, out):
        """Write x·Wᵀ + b for the rows of x (M, k) to out (M, n); both C-contiguous and of the type of W.

        Python may handle signals in between.
        """
        cdef RowsTimes job
        cdef Array of_x, of_out
        cdef idx M = x.shape[0], most
        cdef int threads = 1
        take(x, &of_x, 0)
        take(out, &of_out, 0)
        job.k, job.p = self.k, product_with(&self.pack)
        job.p.a, job.p.lda, job.p.c, job.p.ldc = of_x.p, self.pack.k, of_out.p, self.pack.n
        job.p.bias[0] = self.bias
        if 2.0 * M * self.pack.k * self.pack.n > THREADS_FORWARD:
            threads = rnncore_get_num_threads()
        most = max(self.k.tile_rows * threads, <idx>(FIRST_STRETCH / (<double>self.pack.k * self.pack.n)))
        job.row0 = 0
        while job.row0 < M:
            job.row1 = min(M, job.row0 + most)
            with nogil:
                rc_pool_run(rows_times_thread, &job, threads)
            job.row0 = job.row1
            if job.row0 < M:
                PyErr_CheckSignals()


cdef void rows_times_thread(void *context, int thread, int threads) noexcept nogil:
    cdef RowsTimes *j = <RowsTimes *>context
    cdef idx start, stop
    split(j.row1 - j.row0, j.k.tile_rows, thread, threads, &start, &stop)
    j.k.product(&j.p, j.row0 + start, j.row0 + stop, 0, j.p.pack.n)
