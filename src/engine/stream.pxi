# One step at a time, with buffers bound once: a call checks its arrays, computes one step and returns.


@cython.no_gc_clear
cdef class Stepper:
    """Everything that one step of a stack of layers needs, prepared once: packed weights, buffers and states.

    A stream passes its states h and c, (layers, B, H), which are updated in place. A cell has one layer and passes its
    state at every step (`advance`). A step uses no threads.
    """
    cdef readonly list weights
    cdef object h, c                # they keep the memory of the states alive
    cdef Forward *jobs
    cdef readonly Py_ssize_t batch
    cdef Py_ssize_t layers, I, H
    cdef Memory buffers
    cdef char kind

    def __cinit__(self, list weights, Py_ssize_t batch, h=None, c=None):
        cdef Weights w
        cdef Forward *j
        cdef Array ah, ac
        cdef Share mine
        cdef Products *products
        cdef size_t state, slots, at
        cdef idx i
        w = weights[0]
        self.weights, self.h, self.c = weights, h, c
        self.layers, self.batch, self.H, self.I = len(weights), batch, w.hidden_size, w.input_size
        self.kind = c'f' if w.item == 4 else c'd'
        state = rounded(batch * self.H * w.item)
        slots = rounded(batch * w.cell.slots * self.H * w.item)
        at = rounded(self.layers * sizeof(Forward)) + rounded(self.layers * sizeof(Products))
        self.buffers = memory(at + self.layers * (3 * state + slots), SCRATCH)
        self.jobs = <Forward *>self.buffers.p
        memset(self.jobs, 0, self.layers * sizeof(Forward))
        products = <Products *>(self.buffers.p + rounded(self.layers * sizeof(Forward)))
        take(h, &ah, 1)
        take(c, &ac, 1)
        for i in range(self.layers):
            w = weights[i]
            j = &self.jobs[i]
            j.k, j.cell, j.x_pack, j.h_pack, j.bias = w.k, w.cell, &w.x, w.h, w.bias
            j.T, j.s1, j.rows.B = 1, 1, batch
            j.H, j.I, j.item = self.H, w.input_size, w.item
            j.h[0] = ah.p + i * ah.stride[0] if ah.p != NULL else NULL
            j.c = ac.p + i * ac.stride[0] if ac.p != NULL else NULL
            j.h[1], j.aux = self.buffers.p + at, self.buffers.p + at + state
            j.out.p = self.buffers.p + at + 2 * state
            j.slots.p = self.buffers.p + at + 3 * state
            j.slots.stride[1] = w.cell.slots * self.H * w.item
            j.slots.stride[0] = batch * j.slots.stride[1]
            j.x.stride[1] = w.input_size * w.item
            j.x.stride[0] = batch * j.x.stride[1]
            j.out.stride[1] = self.H * w.item
            j.out.stride[0] = batch * j.out.stride[1]
            j.plan.threads, j.plan.chunk = 1, 1
            if i > 0:
                j.x.p = self.jobs[i - 1].out.p
            mine = share_of(&j.plan, batch, self.H, 0, 1)
            j.products = products + i
            set_up_products(j, &mine, j.products)
            at += 3 * state + slots

    def __dealloc__(self):
        give_back(self.buffers)

    def run(self, x, out):
        """One step from x (B, I) into out (B, H). False: an array is not C-contiguous, or of another type or shape."""
        cdef Py_buffer bx, bo
        cdef Forward *top = &self.jobs[self.layers - 1]
        cdef char *own = top.out.p
        cdef idx i
        if not self.take_buffer(x, &bx, self.I, 2, False):
            return False
        if not self.take_buffer(out, &bo, self.H, 2, True):
            PyBuffer_Release(&bx)
            return False
        if self.batch > 0:
            self.jobs[0].x.p, top.out.p = <char *>bx.buf, <char *>bo.buf
            for i in range(self.layers):
                forward_thread(&self.jobs[i], 0, 1)
            top.out.p = own
        PyBuffer_Release(&bo)
        PyBuffer_Release(&bx)
        return True

    def advance(self, x, h, c, h_out, c_out):
        """One step of a cell, from x (B, I) and the state h, c (None: zeros) into h_out, c_out (None: it has none).

        Where B is 1, all of them may lack that axis. False: one is not C-contiguous, or of another type or shape.
        """
        cdef Py_buffer[5] b
        cdef tuple arrays = (x, h, c, h_out, c_out)
        cdef Forward *j = self.jobs
        cdef size_t size = self.batch * self.H * j.item
        cdef bint fits = True
        cdef int i, bound = 0, axes = x.ndim
        for i in range(5):
            if arrays[i] is None:
                memset(&b[i], 0, sizeof(Py_buffer))
            elif not self.take_buffer(arrays[i], &b[i], self.I if i == 0 else self.H, axes, i > 2):
                fits = False
                break
            bound += 1
        if fits and self.batch > 0:
            j.x.p, j.h[0], j.c = <char *>b[0].buf, <char *>b[3].buf, <char *>b[4].buf
            set_state(j.h[0], <char *>b[1].buf, size)
            if j.c != NULL:
                set_state(j.c, <char *>b[2].buf, size)
            forward_thread(j, 0, 1)
        for i in range(bound):
            PyBuffer_Release(&b[i])         # does nothing where there was no array
        return fits

    cdef bint take_buffer(self, a, Py_buffer *b, Py_ssize_t width, int axes, bint writable) noexcept:
        """Take a C-contiguous array of this type, (B, width) or, where `axes` is 1 and B is 1, (width,)."""
        try:
            PyObject_GetBuffer(a, b, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (PyBUF_WRITABLE if writable else 0))
        except (BufferError, TypeError, ValueError):
            return False
        if (b.ndim == axes and (b.shape[0] == self.batch if axes == 2 else self.batch == 1)
                and b.shape[axes - 1] == width and b.format[0] == self.kind and b.format[1] == 0):
            return True
        PyBuffer_Release(b)
        return False


cdef inline void set_state(char *state, const char *given, size_t size) noexcept nogil:
    if given == NULL:
        memset(state, 0, size)
    else:
        memcpy(state, given, size)
