# One step at a time, with buffers bound once: a call checks its array, runs one step, and returns.


cdef class Steps:
    """The step loop's buffers, bound once: packed weights and states of every layer, no threads."""
    cdef list packs
    cdef object h, c                # keep the state's memory alive
    cdef Forward *jobs
    cdef Py_ssize_t layers, B, I, H
    cdef char *buffers
    cdef char kind

    def __cinit__(self, list packs, h, c):
        cdef Weights w
        cdef Forward *j
        cdef Array ah, ac
        cdef Part part
        cdef Products *products
        cdef idx state, gates, own, at, i
        w = packs[0]
        self.packs, self.h, self.c = packs, h, c
        self.layers, self.B, self.H, self.I = len(packs), h.shape[1], w.hidden_size, w.input_size
        self.kind = c'f' if w.item == 4 else c'd'
        state = rounded(self.B * self.H * w.item)
        gates = rounded(self.B * w.cell.slots * self.H * w.item)
        own = rounded(self.layers * sizeof(Forward)) + rounded(self.layers * sizeof(Products))
        self.buffers = memory(own + self.layers * (3 * state + gates), b"a stream")
        self.jobs = <Forward *>self.buffers
        memset(self.jobs, 0, self.layers * sizeof(Forward))
        products = <Products *>(self.buffers + rounded(self.layers * sizeof(Forward)))
        at = own
        take(h, &ah, 1)
        take(c, &ac, 1)
        for i in range(self.layers):
            w = packs[i]
            j = &self.jobs[i]
            j.k, j.cell, j.x_pack, j.h_pack, j.bias = w.k, w.cell, &w.x, w.h, w.bias
            j.T, j.B, j.H, j.item = 1, self.B, self.H, w.item
            j.h[0] = ah.p + i * ah.ld[0]
            if ac.p != NULL:
                j.c = ac.p + i * ac.ld[0]
            j.h[1], j.aux, j.out.p = self.buffers + at, self.buffers + at + state, self.buffers + at + 2 * state
            j.gates.p = self.buffers + at + 3 * state
            j.gates.ld[1] = w.cell.slots * self.H * w.item
            j.gates.ld[0] = self.B * j.gates.ld[1]
            j.x.ld[1] = w.input_size * w.item
            j.x.ld[0] = self.B * j.x.ld[1]
            j.out.ld[1] = self.H * w.item
            j.out.ld[0] = self.B * j.out.ld[1]
            j.plan.threads, j.plan.chunk = 1, 1
            if i > 0:
                j.x.p = self.jobs[i - 1].out.p
            part = part_of(&j.plan, self.B, self.H, 0, 1)
            j.products = products + i
            prepare(j, &part, j.products)
            at += 3 * state + gates

    def __dealloc__(self):
        free(self.buffers)

    def run(self, x, out):
        """One step from x (B, I) into out (B, H). False: the arrays are not C-contiguous ones of this type."""
        cdef Py_buffer bx, bo
        cdef bint fits
        cdef idx i
        cdef Forward *top = &self.jobs[self.layers - 1]
        cdef char *kept = top.out.p
        try:
            PyObject_GetBuffer(x, &bx, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
        except (BufferError, TypeError, ValueError):
            return False
        try:
            PyObject_GetBuffer(out, &bo, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE)
        except (BufferError, TypeError, ValueError):
            PyBuffer_Release(&bx)
            return False
        fits = (bx.ndim == 2 and bx.shape[0] == self.B and bx.shape[1] == self.I and self.is_kind(bx.format)
                and bo.ndim == 2 and bo.shape[0] == self.B and bo.shape[1] == self.H and self.is_kind(bo.format))
        if fits and self.B > 0:
            self.jobs[0].x.p = <char *>bx.buf
            top.out.p = <char *>bo.buf
            for i in range(self.layers):
                forward_thread(&self.jobs[i], 0, 1)
            top.out.p = kept
        PyBuffer_Release(&bo)
        PyBuffer_Release(&bx)
        return fits

    cdef bint is_kind(self, const char *format) noexcept:
        return format[0] == self.kind and format[1] == 0
