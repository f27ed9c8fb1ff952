# Weights packed for the kernels.


cdef const rnn_cell *find_cell(const rnn_kernels *k, bytes name) except NULL:
    cdef const rnn_cell *cell = k.cells
    while cell.name != NULL:
        if cell.name == name:
            return cell
        cell += 1
    raise ValueError(f"cell: got {name.decode()!r}, expected one of the kernels' table")


@cython.no_gc
cdef class Weights:
    """The weights of one layer and direction, packed for the kernels: once made they never change.

    `pack_backward` adds the transposes, once, when a pass first goes backward.
    """
    cdef const rnn_kernels *k
    cdef const rnn_cell *cell
    cdef readonly Py_ssize_t input_size, hidden_size
    cdef idx item
    cdef rnn_pack x, xt
    cdef rnn_pack h[2]
    cdef rnn_pack ht[2]
    cdef char *bias             # [slots][H]: what each slot starts from
    cdef Memory packed
    cdef Memory packed_t        # p NULL: not packed for backward yet

    def __cinit__(self, str cell, w_ih, w_hh, b_ih=None, b_hh=None):
        """From torch's weight_ih, weight_hh, and both biases or none: contiguous arrays of one type."""
        cdef Array of_x, of_h, a
        cdef size_t size
        cdef int s, g, second
        take(w_ih, &of_x, 0)
        take(w_hh, &of_h, 0)
        self.item, self.input_size, self.hidden_size = of_x.item, of_x.last, of_h.last
        self.k = rnn_kernels_for(chosen_isa, <int>self.item * 8)
        self.cell = find_cell(self.k, cell.encode())
        self.x = self.shape(self.hidden_size, self.input_size, self.cell.gates)
        self.xt = self.shape(self.input_size, self.hidden_size * self.cell.gates, 1)
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
            for g in range(self.cell.gates):
                self.k.column_sums(self.bias + slot_of(self.cell, second, g) * size,
                                   a.p + block_of(self.cell, second, g) * size, 0, 1, 0, self.hidden_size)
        self.pack_matrices(of_x.p, of_h.p, &self.x, self.h, False)

    def __dealloc__(self):
        give_back(self.packed)
        give_back(self.packed_t)

    cdef rnn_pack shape(self, idx n, idx k, int groups) noexcept:
        cdef rnn_pack p
        p.n, p.k, p.groups, p.w = n, k, groups, NULL
        return p

    cdef size_t bytes_of(self, const rnn_pack *p) noexcept:
        return rounded(self.k.pack_size(p.n, p.k, p.groups) * self.item)

    cdef Memory room_for(self, rnn_pack *x, rnn_pack *h, size_t before) except *:
        """Memory for the input's matrix and each stage's, after `before` bytes for something else."""
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
        """Bytes that the packed copies hold."""
        return self.packed.size + self.packed_t.size

    def pack_backward(self, w_ih, w_hh):
        """Pack the transposes, in the slots' order, of the matrices that `Weights` was made of."""
        cdef Array of_x, of_h
        if self.packed_t.p == NULL:
            take(w_ih, &of_x, 0)
            take(w_hh, &of_h, 0)
            self.packed_t = self.room_for(&self.xt, self.ht, 0)
            self.pack_matrices(of_x.p, of_h.p, &self.xt, self.ht, True)

    cdef void pack_matrices(self, char *w_ih, char *w_hh, rnn_pack *x, rnn_pack *h, bint transposed) noexcept:
        cdef Packing job
        job.k, job.cell, job.item = self.k, self.cell, self.item
        job.I, job.H, job.x, job.h, job.transposed = self.input_size, self.hidden_size, x, h, transposed
        job.w_ih, job.w_hh = w_ih, w_hh
        # several threads from 0.1 ms on, as in plan.pxi
        cdef int threads = rnncore_get_num_threads() if job.H * job.cell.gates * (job.I + job.H) * job.item > 1 << 20 else 1
        rnn_pool_run(packing_thread, &job, threads)


cdef struct Packing:            # of one layer's matrices, or (transposed) of their transposes
    const rnn_kernels *k
    const rnn_cell *cell
    idx item, I, H
    rnn_pack *x
    rnn_pack *h
    bint transposed
    char *w_ih
    char *w_hh


cdef void packing_thread(void *context, int thread, int threads) noexcept nogil:
    cdef Packing *j = <Packing *>context
    cdef int s, block = 0
    pack_blocks(j, j.x, j.w_ih, j.I, j.cell.x_order, j.cell.gates, thread, threads)
    for s in range(j.cell.stages):
        pack_blocks(j, &j.h[s], j.w_hh, j.H, j.cell.h_order + block, j.cell.stage[s].groups, thread, threads)
        block += j.cell.stage[s].groups


cdef void pack_blocks(const Packing *j, rnn_pack *pack, const char *w, idx width, const int *order, int blocks,
                      int thread, int threads) noexcept nogil:
    """One thread's part of some blocks of H rows."""
    cdef const void *src[4]
    cdef idx start, stop
    cdef int g
    for g in range(blocks):
        src[g] = w + order[g] * j.H * width * j.item
    if j.transposed:
        share(j.H, 1, thread, threads, &start, &stop)
        for g in range(blocks):
            j.k.pack_rows(pack, g * j.H + start, stop - start, <char *>src[g] + start * width * j.item, width)
    else:
        share(j.H, 4 * j.k.lanes, thread, threads, &start, &stop)
        j.k.pack(pack, src, width, start, stop)


cdef inline int slot_of(const rnn_cell *cell, bint of_h, int g) noexcept nogil:
    """The slot of the g-th strip that the input's (of_h: the state's) products feed."""
    cdef int first = cell.stage[0].groups
    if not of_h:
        return cell.x_slot + g
    return cell.stage[0].slot + g if g < first else cell.stage[1].slot + g - first


cdef inline int block_of(const rnn_cell *cell, bint of_h, int g) noexcept nogil:
    """... and its block of H rows in torch's matrix and bias."""
    return cell.h_order[g] if of_h else cell.x_order[g]


def cell_names():
    """The rows of the kernels' table."""
    cdef const rnn_cell *c = rnn_kernels_for(chosen_isa, 32).cells
    names = []
    while c.name != NULL:
        names.append(c.name.decode())
        c += 1
    return names


def cell_info(str name):
    """What a row of the kernels' table says, by the names of its fields (see kernels.h)."""
    cdef const rnn_cell *c = find_cell(rnn_kernels_for(chosen_isa, 32), name.encode())
    cdef const rnn_stage *stage
    cdef int i, blocks = 0
    stages = []
    for i in range(c.stages):
        stage = &c.stage[i]
        stages.append({"slot": stage.slot, "groups": stage.groups, "from_aux": bool(stage.from_aux)})
        blocks += stage.groups
    return {"gates": c.gates, "slots": c.slots, "keep": bool(c.keep), "states": c.states, "x_slot": c.x_slot,
            "x_order": [c.x_order[i] for i in range(c.gates)], "h_order": [c.h_order[i] for i in range(blocks)],
            "stages": stages}


def activation(str name, x, out):
    """The kernels' "sigmoid" or "tanh" of a contiguous array, for the accuracy tests."""
    cdef Array a, b
    cdef Py_buffer view
    cdef const rnn_kernels *k
    PyObject_GetBuffer(x, &view, PyBUF_STRIDED_RO | PyBUF_FORMAT)
    cdef idx n = view.len // view.itemsize
    k = rnn_kernels_for(chosen_isa, <int>view.itemsize * 8)
    PyBuffer_Release(&view)
    take(x, &a, 0)
    take(out, &b, 0)
    k.activation(name == "tanh", a.p, b.p, n)
