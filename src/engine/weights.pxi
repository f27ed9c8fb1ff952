# Weights packed for the kernels.


@cython.no_gc
cdef class Weights:
    """The weights of one layer and direction, packed for the kernels. What it holds never changes.

    Forward needs the matrices, and backward their transposes, which `pack_backward` adds when they are first needed.
    """
    cdef const rc_kernels *k
    cdef const rc_cell *cell
    cdef readonly Py_ssize_t input_size, hidden_size
    cdef idx item
    cdef rc_pack x, xt
    cdef rc_pack h[RC_MAX_STAGES]
    cdef rc_pack ht[RC_MAX_STAGES]
    cdef char *bias             # [slots][H]: what the sum in each slot starts from
    cdef Memory packed
    cdef Memory packed_t        # p NULL: not packed for backward yet

    def __cinit__(self, str cell, w_ih, w_hh, b_ih=None, b_hh=None):
        """Pack weight_ih and weight_hh, and both biases or none, laid out as torch's: contiguous arrays of one type."""
        cdef Array of_x, of_h, a
        cdef size_t size
        cdef int s, g, second
        cdef rc_blocks one
        one.first, one.resumes, one.pauses, one.overwrite = 1, False, False, False
        take(w_ih, &of_x, 0)
        take(w_hh, &of_h, 0)
        self.item, self.input_size, self.hidden_size = of_x.item, of_x.last, of_h.last
        self.k = rc_kernels_for(chosen_isa, <int>self.item * 8)
        self.cell = find_cell(self.k, cell.encode())
        self.x = self.shape(self.hidden_size, self.input_size, self.cell.blocks)
        self.xt = self.shape(self.input_size, self.hidden_size * self.cell.blocks, 1)
        for s in range(self.cell.stages):
            self.h[s] = self.shape(self.hidden_size, self.hidden_size, self.cell.stage[s].groups)
            self.ht[s] = self.shape(self.hidden_size, self.hidden_size * self.cell.stage[s].groups, 1)
        size = self.cell.slots * self.hidden_size * self.item
        self.packed = self.room_for(&self.x, self.h, rounded(size))
        self.bias = self.packed.p
        memset(self.bias, 0, size)
        size = self.hidden_size * self.item
        for second in range(2 if b_ih is not None else 0):
            take(b_hh if second else b_ih, &a, 0)
            for g in range(self.cell.blocks):
                # column sums of one row: adds the bias to that of the slot
                self.k.column_sums(self.bias + slot_of(self.cell, second, g) * size, NULL,
                                   a.p + block_of(self.cell, second, g) * size, 0, 1, &one, 0, self.hidden_size)
        self.pack_matrices(of_x.p, of_h.p, &self.x, self.h, False)

    def __dealloc__(self):
        give_back(self.packed)
        give_back(self.packed_t)

    cdef rc_pack shape(self, idx n, idx k, int groups) noexcept:
        cdef rc_pack p
        p.n, p.k, p.groups, p.w = n, k, groups, NULL
        return p

    cdef size_t bytes_of(self, const rc_pack *p) noexcept:
        return rounded(self.k.pack_size(p.n, p.k, p.groups) * self.item)

    cdef Memory room_for(self, rc_pack *x, rc_pack *h, size_t before) except *:
        """Memory for the input's matrix and that of each stage, after `before` bytes that are left free."""
        cdef size_t size = before + self.bytes_of(x)
        cdef Memory m
        cdef int s
        for s in range(self.cell.stages):
            size += self.bytes_of(&h[s])
        m = memory(size, PACKED_WEIGHTS)
        x.w = m.p + before
        before += self.bytes_of(x)
        for s in range(self.cell.stages):
            h[s].w = m.p + before
            before += self.bytes_of(&h[s])
        return m

    @property
    def nbytes(self):
        """Bytes of the packed copies."""
        return self.packed.size + self.packed_t.size

    def pack_backward(self, w_ih, w_hh):
        """Pack the transposes of the same matrices, their blocks in the order of the slots."""
        cdef Array of_x, of_h
        if self.packed_t.p == NULL:
            take(w_ih, &of_x, 0)
            take(w_hh, &of_h, 0)
            self.packed_t = self.room_for(&self.xt, self.ht, 0)
            self.pack_matrices(of_x.p, of_h.p, &self.xt, self.ht, True)

    cdef void pack_matrices(self, char *w_ih, char *w_hh, rc_pack *x, rc_pack *h, bint transposed) noexcept:
        cdef Packing job
        job.k, job.cell, job.item = self.k, self.cell, self.item
        job.I, job.H, job.x, job.h, job.transposed = self.input_size, self.hidden_size, x, h, transposed
        job.w_ih, job.w_hh = w_ih, w_hh
        pack_on_threads(&job)
