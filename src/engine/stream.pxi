# Some steps at a time, with buffers bound once: a call checks its arrays, computes the steps and returns.


cdef void set_up_one_step(const Forward *j, rc_step *step) noexcept nogil:
    """Fill in what does not change from one call of `one_step` to the next."""
    step.h_size, step.slots, step.aux, step.variant = j.H, j.slots.p, j.aux, j.variant
    step.ldslots, step.ldprev, step.ldout = j.slots.stride[1] // j.item, j.H, j.out.stride[1] // j.item
    j.products.of_x.lda, j.products.of_x.c = j.I, j.slots.p + j.cell.x_slot * j.H * j.item


cdef inline void product_of_step(const Forward *j, const rc_product *p) noexcept nogil:
    if p.prepared.count > 0:
        j.k.product_again(p, 0)
    else:
        j.k.product(p, 0, j.rows.B, 0, j.H)


cdef void one_step(const Forward *j, rc_step *step, char *x, char *out) noexcept nogil:
    """One step of a layer: what `forward_thread` does where a call has one step, without what serves several.

    The equations write the new h in the place of the old one, which the products have read by then, and which the
    equations of a unit read before they write it. This needs all units in one part (see `all_alike`), and a layer without
    projection.
    """
    cdef const rc_stage *stage
    cdef rc_product *p = &j.products.of_x
    cdef int s
    step.prev = step.h = j.h[0]
    step.c, step.h_out = j.c, out
    p.a = x
    product_of_step(j, p)
    if j.rows.B == 1 and steps_at_once(j):
        if j.H <= j.k.lanes:
            j.cell.steps(&j.products.of_h.p, step, 0, 1, 0, 0, 0)
        else:                                   # the new h lies elsewhere: see `rc_steps_fn`
            step.h = j.h[1]
            j.cell.steps(&j.products.of_h.p, step, 0, 1, 0, 0, 0)
            memcpy(j.h[0], j.h[1], j.H * j.item)
        return
    for s in range(j.cell.stages):
        stage = &j.cell.stage[s]
        p = &j.products.of_h[s].p
        p.a = step.aux if stage.from_aux else j.h[0]
        p.c, p.prepared = j.slots.p + j.products.of_h[s].offset, j.products.of_h[s].prepared
        product_of_step(j, p)
        stage.forward(step, 0, j.rows.B, 0, j.H)


@cython.auto_pickle(False)
cdef class Steps:
    """What a `recurrent.Stream` runs at every step, so that a step runs no Python code."""
    cdef readonly Stepper _steps        # None before `_use`
    cdef readonly object _version       # of the layer's weights that it has
    cdef dict attributes                # the layer's

    def _use(self, Stepper steps not None, layer, version):
        """Run steps with weights of this version of the layer from now on."""
        if self._steps is not None:
            self._steps.refuse_if_busy()
        self._steps, self.attributes, self._version = steps, layer.__dict__, version

    cdef inline int _bind_again(self) except -1:
        """Bind the layer's present weights, where none or others are bound."""
        if self._steps is None:
            self._bind()
        version = self.attributes["_version"]
        if version is not self._version and version != self._version:
            self._bind()
        return 0

    def step(self, x_t, out=None):
        """Run one step.

        Parameters
        ----------
        x_t : array_like, (B, I)
        out : ndarray, (B, H), of the layer's dtype, C-contiguous, optional
            The output is written into this array, and the call allocates nothing.

        Returns
        -------
        ndarray, (B, H)

        Examples
        --------
        >>> import numpy as np, rnncore as rc
        >>> s = rc.LSTM(3, 4, seed=0).stream(batch_size=2)
        >>> s.step(np.ones((2, 3))).shape
        (2, 4)
        """
        cdef Stepper steps
        self._bind_again()
        steps = self._steps
        if out is None:
            out = steps.new_output()
        if not steps.step(x_t, out):
            self._convert(x_t, out, "x_t", ())
        return out

    def block(self, x, out=None):
        """Run N steps at once. A block that is interrupted or refused leaves the state as it was.

        Parameters
        ----------
        x : array_like, (N, B, I)
        out : ndarray, (N, B, H), of the layer's dtype, C-contiguous, optional
            The output is written into this array, and the call allocates nothing if `x` is a C-contiguous array of the
            layer's dtype, too. It may be `x` itself, where I is H.

        Returns
        -------
        ndarray, (N, B, H)

        Raises
        ------
        RuntimeError
            Another thread computes a block of this stream.

        Examples
        --------
        >>> import numpy as np, rnncore as rc
        >>> s = rc.LSTM(3, 4, seed=0).stream(batch_size=2)
        >>> s.block(np.ones((5, 2, 3))).shape
        (5, 2, 4)
        """
        cdef Stepper steps          # kept alive: other threads may bind others meanwhile
        self._bind_again()
        if out is None:
            x, out = self._with_output(x)
        steps = self._steps
        if not steps.block(x, out):
            self._convert(x, out, "x", ("N",))
        return out


@cython.no_gc_clear
cdef class Stepper:
    """Everything that steps of a stack of layers need, prepared once: packed weights, buffers and states.

    A stream passes its states h and c, (layers, B, P or H), which are updated in place. A cell has one layer, without a
    projection, and passes its state at every step (`advance`). Steps use no threads.
    """
    cdef readonly list weights
    cdef object h, c                # they keep the memory of the states alive
    cdef Array of_h, of_c
    cdef Forward *jobs              # one for each layer, of a step, and then of several
    cdef rc_step *one               # one for each layer, for `one_step`; NULL: a step is computed as several are
    cdef readonly Py_ssize_t batch
    cdef Py_ssize_t layers, I, P
    cdef idx chunk                  # the most steps that all layers compute before the lowest goes on
    cdef size_t state               # bytes of one state of one layer
    cdef bint busy                  # a block is being computed, without the GIL
    cdef Memory buffers
    cdef int kind                   # numpy's number of the type

    def __cinit__(self, list weights, Py_ssize_t batch, h=None, c=None):
        cdef Weights w
        cdef Forward *j
        cdef Share mine
        cdef Products *products
        cdef char *at
        cdef size_t state, out, slots, steps
        cdef idx i, H
        w = first_of(weights)
        self.weights, self.h, self.c = weights, h, c
        H = w.hidden_size
        self.layers, self.batch, self.P, self.I = len(weights), batch, w.output_size, w.input_size
        self.kind = kind_of(w.item)
        self.chunk = 1 if h is None or batch == 0 else max(1, FORWARD_CHUNK // batch)
        self.state = batch * H * w.item
        take(h, &self.of_h, 1)
        take(c, &self.of_c, 1)
        state, out = rounded(self.state), rounded(self.chunk * batch * self.P * w.item)
        slots = rounded(self.chunk * w.cell.slots * self.state)
        steps = rounded(self.layers * sizeof(rc_step))
        self.buffers = memory(rounded(2 * self.layers * sizeof(Forward)) + rounded(2 * self.layers * sizeof(Products))
                              + steps + self.layers * (2 * state + out + slots), SCRATCH)
        self.jobs = <Forward *>self.buffers.p
        memset(self.jobs, 0, 2 * self.layers * sizeof(Forward))
        products = <Products *>(self.buffers.p + rounded(2 * self.layers * sizeof(Forward)))
        at = <char *>products + rounded(2 * self.layers * sizeof(Products))
        self.one = <rc_step *>at
        memset(self.one, 0, steps)
        at += steps
        for i in range(self.layers):
            w = weights[i]
            j = &self.jobs[i]
            j.k, j.cell, j.x_pack, j.h_pack, j.bias = w.k, w.cell, &w.x, w.h, w.bias
            j.r_pack, j.variant = w.projection(False), w.variant_or_null()
            j.T, j.s1, j.rows.B = 1, 1, batch
            j.H, j.P, j.I, j.item = H, self.P, w.input_size, w.item
            j.h[0] = self.of_h.p + i * self.of_h.stride[0] if self.of_h.p != NULL else NULL
            j.c = self.of_c.p + i * self.of_c.stride[0] if self.of_c.p != NULL else NULL
            j.h[1], j.aux, j.out.p, j.slots.p = at, at + state, at + 2 * state, at + 2 * state + out
            j.slots.stride[1] = w.cell.slots * H * w.item
            j.slots.stride[0] = batch * j.slots.stride[1]
            j.x.stride[1] = w.input_size * w.item
            j.x.stride[0] = batch * j.x.stride[1]
            j.out.stride[1] = self.P * w.item
            j.out.stride[0] = batch * j.out.stride[1]
            j.plan.threads, j.plan.chunk = 1, 1
            if i > 0:
                j.x.p = self.jobs[i - 1].out.p
            mine = share_of(&j.plan, batch, H, self.P, 0, 1)
            j.products = products + i
            set_up_products(j, &mine, j.products)
            if self.one != NULL:
                if j.r_pack == NULL and all_alike(j, j.products.of_h, &mine):
                    set_up_one_step(j, &self.one[i])
                else:
                    self.one = NULL
            self.jobs[self.layers + i] = j[0]
            j = &self.jobs[self.layers + i]
            j.plan.chunk, j.products = self.chunk, products + self.layers + i
            set_up_products(j, &mine, j.products)
            at += 2 * state + out + slots

    def __dealloc__(self):
        give_back(self.buffers)

    cpdef bint step(self, x, out) except -1:
        """One step from x (B, I) into out (B, P). False: an array is not C-contiguous, or of another type or shape."""
        if self.fits(x, self.I, 2, False) < 0 or self.fits(out, self.P, 2, True) < 0:
            return False
        self.refuse_if_busy()
        if self.batch > 0:
            self.run_step(address(x), address(out))
        return True

    def predict(self, tokens, table, LinearWeights head not None, x, h, out):
        """A step of tokens (B,), whose x are rows of a table (V, I), and of a head, into out (B, O).

        `x` (B, I) and `h` (B, P) are room for what is in between. False, and nothing is done: `tokens` is no C-contiguous
        array (B,) of intp, or one of them is no row of the table. The other arrays are not checked.
        """
        cdef PyArrayObject *array = <PyArrayObject *>tokens
        cdef PyArrayObject *rows = <PyArrayObject *>table
        cdef idx n, width = self.jobs.x.stride[1]
        cdef const idx *token
        cdef Linear job
        if not PyArray_Check(tokens) or PyArray_NDIM(array) != 1 or PyArray_TYPE(array) != NPY_INTP:
            return False
        if not PyArray_ISCARRAY_RO(array) or PyArray_DIMS(array)[0] != self.batch:
            return False
        token = <const idx *>address(tokens)
        if not within(token, self.batch, PyArray_DIMS(rows)[0]):
            return False
        for n in range(self.batch):
            memcpy(address(x) + n * width, address(table) + token[n] * width, width)
        self.step(x, h)
        set_linear_weights(&job, head)
        job.x, job.y = address(h), address(out)
        run_linear_forward(&job, self.batch)
        return True

    cdef object new_output(self):
        """An uninitialised array for the output of a step."""
        cdef Py_ssize_t[2] shape
        shape[0], shape[1] = self.batch, self.P
        return PyArray_SimpleNew(2, shape, self.kind)

    cpdef bint block(self, x, out) except -1:
        """N steps from x (N, B, I) into out (N, B, P).

        False: an array is not C-contiguous, or of another type or shape, or the outputs of some steps would be written
        over the x of later ones.
        """
        cdef Pace pace
        cdef Weights w = self.weights[self.layers - 1]
        cdef char *src
        cdef char *dst
        cdef idx of_x = self.jobs.x.stride[0], of_out = self.jobs[self.layers - 1].out.stride[0]
        cdef idx N = self.fits(x, self.I, 3, False)
        if N < 0 or self.fits(out, self.P, 3, True) != N:
            return False
        src, dst = address(x), address(out)
        if src < dst < src + N * of_x or dst < src < dst + N * of_out or (src == dst and of_out > of_x):
            return False
        self.refuse_if_busy()
        if self.batch == 0 or N == 0:
            return True
        pace = first_stretch(w, N, &self.jobs.rows, False, <double>self.layers)
        kept = None if pace.s1 == N else [part if part is None else part.copy() for part in (self.h, self.c)]
        self.busy = True
        try:
            while True:
                with nogil:
                    self.run_chunks(src + pace.s0 * of_x, dst + pace.s0 * of_out, pace.s1 - pace.s0)
                if not next_stretch(&pace):
                    break
        except BaseException:               # Ctrl-C among others: as if there had been no step
            for part, earlier in zip((self.h, self.c), kept):
                if part is not None:
                    part[...] = earlier
            raise
        finally:
            self.busy = False
        return True

    cdef void run_chunks(self, char *x, char *out, idx steps) noexcept nogil:
        """Divide the steps into chunks of one length, but for the last, so that products are prepared once for all."""
        cdef idx chunks = (steps + self.chunk - 1) // self.chunk, size = (steps + chunks - 1) // chunks, s = 0
        while s < steps:
            self.run(self.jobs + self.layers, x + s * self.jobs.x.stride[0],
                     out + s * self.jobs[self.layers - 1].out.stride[0], min(size, steps - s))
            s += size

    cdef void run(self, Forward *jobs, char *x, char *out, idx steps) noexcept nogil:
        """Compute some steps, layer by layer."""
        cdef Forward *top = &jobs[self.layers - 1]
        cdef char *own = top.out.p
        cdef idx i
        jobs.x.p, top.out.p = x, out
        for i in range(self.layers):
            jobs[i].T = jobs[i].s1 = steps
            forward_thread(&jobs[i], 0, 1)
        top.out.p = own

    cdef inline void run_step(self, char *x, char *out) noexcept nogil:
        """Compute one step, layer by layer."""
        cdef Forward *j = self.jobs
        cdef idx i
        if self.one == NULL:
            self.run(j, x, out, 1)
            return
        for i in range(self.layers):
            one_step(j, &self.one[i], x, out if i == self.layers - 1 else j.out.p)
            x = j.out.p
            j += 1

    cdef inline int refuse_if_busy(self) except -1:
        if self.busy:
            raise RuntimeError("stream: got a step while another thread computes a block, expected one call at a time; "
                               "open a stream for each thread")
        return 0

    def advance(self, x, h, c, h_out, c_out):
        """One step of a cell, from x (B, I) and the state h, c (None: zeros) into h_out, c_out (None: it has none).

        Where B is 1, all of them may lack that axis. False: one is not C-contiguous, or of another type or shape.
        """
        cdef Forward *j = self.jobs
        cdef int axes = PyArray_NDIM(<PyArrayObject *>x)
        if self.fits(x, self.I, axes, False) < 0 or self.fits(h_out, self.P, axes, True) < 0:
            return False
        if h is not None and self.fits(h, self.P, axes, False) < 0:
            return False
        if c is not None and self.fits(c, self.P, axes, False) < 0:
            return False
        if c_out is not None and self.fits(c_out, self.P, axes, True) < 0:
            return False
        if self.batch > 0:
            j.h[0], j.c = address(h_out), address(c_out)
            set_state(j.h[0], address(h), self.state)
            if j.c != NULL:
                set_state(j.c, address(c), self.state)
            self.run_step(address(x), j.out.p)
        return True

    cdef inline idx fits(self, a, Py_ssize_t width, int axes, bint writable) noexcept:
        """The length of a C-contiguous array of this type, (…, B, width) or, where `axes` is 1 and B is 1, (width,).

        -1: it is not one.
        """
        cdef PyArrayObject *array = <PyArrayObject *>a
        cdef Py_ssize_t *shape
        if not PyArray_Check(a) or PyArray_NDIM(array) != axes or PyArray_TYPE(array) != self.kind:
            return -1
        if not (PyArray_ISCARRAY(array) if writable else PyArray_ISCARRAY_RO(array)):
            return -1
        shape = PyArray_DIMS(array)
        if shape[axes - 1] != width or self.batch != (shape[axes - 2] if axes > 1 else 1):
            return -1
        return shape[0]


cdef inline char *address(a) noexcept:
    """Where the values of an array begin; NULL: there is no array."""
    return NULL if a is None else <char *>PyArray_DATA(<PyArrayObject *>a)


cdef inline void set_state(char *state, const char *given, size_t size) noexcept nogil:
    if given == NULL:
        memset(state, 0, size)
    else:
        memcpy(state, given, size)
