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

    def take(self, size_t size):
        """A `Block` of at least `size` bytes, its contents undefined."""
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

    def pack(self, w_ih, w_hh, bias):
        """Pack for forward: torch's weight_ih, weight_hh, and bias as [slots, H] (see `layers`)."""
        cdef Array a
        cdef const void *src[4]
        cdef idx H = self.hidden_size
        cdef int s, g, block = 0
        take(bias, &a, 0)
        memcpy(self.bias, a.p, self.cell.slots * H * self.item)
        take(w_ih, &a, 0)
        for g in range(self.cell.gates):
            src[g] = a.p + self.cell.x_order[g] * H * self.input_size * self.item
        self.k.pack(&self.x, src, self.input_size)
        take(w_hh, &a, 0)
        for s in range(self.cell.stages):
            for g in range(self.cell.stage[s].groups):
                src[g] = a.p + self.cell.h_order[block] * H * H * self.item
                block += 1
            self.k.pack(&self.h[s], src, H)

    def pack_backward(self, w_ih, w_hh):
        """Pack the transposes, in the slots' order."""
        cdef Array a
        cdef idx H = self.hidden_size, I = self.input_size
        cdef int s, g, block = 0
        cdef size_t size = self.bytes_of(&self.xt), at = size
        if self.packed_t == NULL:
            for s in range(self.cell.stages):
                size += self.bytes_of(&self.ht[s])
            self.packed_t = memory(size, b"packed weights")
            self.xt.w = self.packed_t
            for s in range(self.cell.stages):
                self.ht[s].w = self.packed_t + at
                at += self.bytes_of(&self.ht[s])
        take(w_ih, &a, 0)
        for g in range(self.cell.gates):
            self.k.pack_rows(&self.xt, g * H, H, a.p + self.cell.x_order[g] * H * I * self.item, I)
        take(w_hh, &a, 0)
        for s in range(self.cell.stages):
            for g in range(self.cell.stage[s].groups):
                self.k.pack_rows(&self.ht[s], g * H, H, a.p + self.cell.h_order[block] * H * H * self.item, H)
                block += 1


def cell_info(str name):
    """What the kernels' table says of a cell: gates, slots, states, and the order of blocks by slot."""
    cdef const rnn_cell *c = find_cell(rnn_kernels_for(chosen_isa, 32), name.encode())
    return {
        "gates": c.gates, "slots": c.slots, "keep": bool(c.keep), "states": c.states, "x_slot": c.x_slot,
        "x_order": [c.x_order[g] for g in range(c.gates)],
        "h_order": [c.h_order[g] for g in range(c.gates)],
        "h_slot": [c.stage[s].slot + g for s in range(c.stages) for g in range(c.stage[s].groups)],
        "split_bias": bool(c.split_bias),
    }


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
