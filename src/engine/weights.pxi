# Arrays from Python, scratch memory, and weights packed for the kernels.


cdef struct Array:
    char *p                     # NULL: not given
    idx ld[3]                   # byte strides of the leading axes


cdef int take(object a, Array *out, int axes) except -1:
    """Address and leading strides of an array that the caller keeps alive. None gives NULL."""
    cdef Py_buffer b
    cdef int i
    out.p = NULL
    out.ld[0] = out.ld[1] = out.ld[2] = 0
    if a is None:
        return 0
    PyObject_GetBuffer(a, &b, PyBUF_STRIDED_RO)
    out.p = <char *>b.buf
    for i in range(axes):
        out.ld[i] = b.strides[i]
    PyBuffer_Release(&b)
    return 0


cdef extern from *:
    """
    #if defined(__linux__)
    #include <sys/mman.h>
    static void rnn_want_huge_pages(void *p, size_t size) { madvise(p, size, MADV_HUGEPAGE); }
    #else
    static void rnn_want_huge_pages(void *p, size_t size) { (void)p; (void)size; }
    #endif
    """
    void rnn_want_huge_pages(void *p, size_t size) nogil


cdef enum:
    HUGE_PAGE = 1 << 21


cdef char *memory(size_t size, bytes what) except NULL:
    """Fresh memory, aligned for whole vectors, and a vector longer than asked for.

    From 2 MB on in huge pages where the system has them, which saves page faults and lookups.
    """
    cdef void *p = NULL
    if posix_memalign(&p, HUGE_PAGE if size >= HUGE_PAGE else 64, size + 64):
        raise MemoryError(f"{size} bytes for {what.decode()}")
    if size >= HUGE_PAGE:
        rnn_want_huge_pages(p, size)
    return <char *>p


cdef class Scratch:
    """Memory that a call borrows; it only grows, and a second caller at the same time gets its own."""
    cdef char *p
    cdef size_t size
    cdef bint lent

    def __dealloc__(self):
        free(self.p)

    cdef char *borrow(self, size_t size) except NULL:
        cdef char *fresh
        if not self.lent and size <= self.size:
            self.lent = True
            return self.p
        fresh = memory(size, b"scratch")
        if not self.lent:
            free(self.p)
            self.p, self.size, self.lent = fresh, size, True
        return fresh

    cdef void give_back(self, char *p) noexcept:
        if p == self.p:
            self.lent = False
        else:
            free(p)


cdef class Arena:
    """Memory for the tapes of one layer, used again when a tape is gone.

    Fresh pages cost more than the steps that fill them (measured: 40 % of a training step at T 100,
    B 32, H 256), so the last `KEPT_BLOCKS` blocks that came back are kept for the next pass of that size.
    """
    cdef list blocks                # (size, address) of what came back

    def __cinit__(self):
        self.blocks = []

    def __dealloc__(self):
        for _, address in self.blocks:
            free(<void *><uintptr_t>address)

    def carve(self, dtype, tuple shapes):
        """Arrays of these shapes (None: no array) on one block, each on its own cache lines, their contents undefined.

        With four axes, the last two are a row of slots, and rows may lie apart: see `row_bytes`.
        """
        cdef idx item = dtype.itemsize, row = 0
        cdef size_t size = 0, at = 0
        cdef list arrays = []
        cdef object shape, strides
        for shape in shapes:
            if shape is not None:
                size += rounded(extent(shape, item, &row))
        cdef Block block = self.take(size)
        for shape in shapes:
            if shape is None:
                arrays.append(None)
                continue
            size = extent(shape, item, &row)
            strides = (shape[1] * row, row, shape[3] * item, item) if row else None
            arrays.append(ndarray(shape, dtype, block, at, strides))
            at += rounded(size)
        return arrays

    cdef Block take(self, size_t size):
        """At least `size` bytes."""
        cdef size_t own
        cdef uintptr_t address
        cdef Block block = Block.__new__(Block)
        cdef Py_ssize_t i
        block.arena = self
        for i in range(len(self.blocks)):
            own, address = self.blocks[i]
            if size <= own <= size + size // 4:
                del self.blocks[i]
                block.size, block.p = own, <char *>address
                return block
        block.size, block.p = size, memory(size, b"a tape")
        return block

    cdef void give_back(self, size_t size, char *p):
        self.blocks.append((size, <uintptr_t>p))
        if len(self.blocks) > KEPT_BLOCKS:
            _, address = self.blocks.pop(0)
            free(<void *><uintptr_t>address)


cdef idx extent(tuple shape, idx item, idx *row) except -1:
    """Bytes of an array, and of a row of slots, 0 without."""
    cdef idx size = item, n
    for n in shape:
        size *= n
    row[0] = 0
    if len(shape) == 4:
        row[0] = row_bytes(<idx>shape[2] * <idx>shape[3] * item)
        size = <idx>shape[0] * <idx>shape[1] * row[0]
    return size


cdef enum:
    KEPT_BLOCKS = 3                 # a tape, its gradients, and those of the weights


cdef class Block:
    """Memory from an arena; arrays on it keep it alive, and it goes back when the last one is gone."""
    cdef Arena arena
    cdef char *p
    cdef size_t size

    def __dealloc__(self):
        if self.p != NULL:
            self.arena.give_back(self.size, self.p)

    @property
    def nbytes(self):
        return self.size

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.p, <Py_ssize_t>self.size, 0, flags)


cdef inline size_t rounded(size_t bytes) noexcept nogil:
    return (bytes + 63) // 64 * 64


cdef const rnn_cell *find_cell(const rnn_kernels *k, bytes name) except NULL:
    cdef const rnn_cell *cell = k.cells
    while cell.name != NULL:
        if cell.name == name:
            return cell
        cell += 1
    raise ValueError(f"cell: got {name.decode()!r}, expected one of the kernels' table")


cdef class Weights:
    """The weights of one layer and direction, packed once per change.

    `pack` serves forward; `pack_backward` adds the transposes, made when a tape first goes backward.
    """
    cdef const rnn_kernels *k
    cdef const rnn_cell *cell
    cdef readonly Py_ssize_t input_size, hidden_size
    cdef idx item
    cdef rnn_pack x, xt
    cdef rnn_pack h[2]
    cdef rnn_pack ht[2]
    cdef char *bias             # [slots][H]: what each slot starts from
    cdef char *packed
    cdef char *packed_t         # NULL: not packed for backward yet
    cdef Scratch scratch

    def __cinit__(self, str cell, int bits, Py_ssize_t input_size, Py_ssize_t hidden_size):
        cdef const rnn_stage *stage
        cdef int s
        cdef size_t size, at
        self.k = rnn_kernels_for(chosen_isa, bits)
        self.cell = find_cell(self.k, cell.encode())
        self.item = bits // 8
        self.input_size, self.hidden_size = input_size, hidden_size
        self.scratch = Scratch()
        self.x = self.shape(hidden_size, input_size, self.cell.gates)
        self.xt = self.shape(input_size, hidden_size * self.cell.gates, 1)
        for s in range(self.cell.stages):
            stage = &self.cell.stage[s]
            self.h[s] = self.shape(hidden_size, hidden_size, stage.groups)
            self.ht[s] = self.shape(hidden_size, hidden_size * stage.groups, 1)
        size = self.bytes_of(&self.x) + rounded(self.cell.slots * hidden_size * self.item)
        for s in range(self.cell.stages):
            size += self.bytes_of(&self.h[s])
        self.packed = memory(size, b"packed weights")
        self.x.w = self.packed
        at = self.bytes_of(&self.x)
        for s in range(self.cell.stages):
            self.h[s].w = self.packed + at
            at += self.bytes_of(&self.h[s])
        self.bias = self.packed + at

    def __dealloc__(self):
        free(self.packed)
        free(self.packed_t)

    cdef rnn_pack shape(self, idx n, idx k, int groups) noexcept:
        cdef rnn_pack p
        p.n, p.k, p.groups, p.w = n, k, groups, NULL
        return p

    cdef size_t bytes_of(self, const rnn_pack *p) noexcept:
        return rounded(self.k.pack_size(p.n, p.k, p.groups) * self.item)

    @property
    def nbytes(self):
        """Bytes that the packed copies hold."""
        cdef size_t size = rounded(self.cell.slots * self.hidden_size * self.item) + self.bytes_of(&self.x)
        cdef int s
        for s in range(self.cell.stages):
            size += self.bytes_of(&self.h[s])
        return size * (2 if self.packed_t != NULL else 1)

    def pack(self, w_ih, w_hh, b_ih=None, b_hh=None):
        """Pack for forward: torch's weight_ih, weight_hh, and both biases or none."""
        cdef Array a
        cdef idx size = self.hidden_size * self.item
        cdef int g, of_h
        memset(self.bias, 0, self.cell.slots * size)
        for of_h in range(2 if b_ih is not None else 0):
            take(b_hh if of_h else b_ih, &a, 0)
            for g in range(self.cell.gates):
                self.k.column_sums(self.bias + slot_of(self.cell, of_h, g) * size,
                                   a.p + block_of(self.cell, of_h, g) * size, 0, 1, 0, self.hidden_size)
        self.pack_matrices(w_ih, w_hh, &self.x, self.h, False)

    def pack_backward(self, w_ih, w_hh):
        """Pack the transposes, in the slots' order."""
        cdef int s
        cdef size_t size = self.bytes_of(&self.xt), at = size
        if self.packed_t == NULL:
            for s in range(self.cell.stages):
                size += self.bytes_of(&self.ht[s])
            self.packed_t = memory(size, b"packed weights")
            self.xt.w = self.packed_t
            for s in range(self.cell.stages):
                self.ht[s].w = self.packed_t + at
                at += self.bytes_of(&self.ht[s])
        self.pack_matrices(w_ih, w_hh, &self.xt, self.ht, True)

    cdef int pack_matrices(self, w_ih, w_hh, rnn_pack *x, rnn_pack *h, bint transposed) except -1:
        cdef Packing job
        cdef Array a
        job.k, job.cell, job.item = self.k, self.cell, self.item
        job.I, job.H, job.x, job.h, job.transposed = self.input_size, self.hidden_size, x, h, transposed
        take(w_ih, &a, 0)
        job.w_ih = a.p
        take(w_hh, &a, 0)
        job.w_hh = a.p
        # several threads from 0.1 ms on, as in plan.pxi
        cdef int threads = rnncore_get_num_threads() if job.H * job.cell.gates * (job.I + job.H) * job.item > 1 << 20 else 1
        rnn_pool_run(packing_thread, &job, threads)     # with the GIL: nobody runs on weights half packed
        return 0


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


def cell_info(str name):
    """What the kernels' table says of a cell: gates, slots, whether a tape keeps those, states."""
    cdef const rnn_cell *c = find_cell(rnn_kernels_for(chosen_isa, 32), name.encode())
    return {"gates": c.gates, "slots": c.slots, "keep": bool(c.keep), "states": c.states}


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
