# Weights packed for the kernels.


@cython.no_gc
cdef class Weights:
    """The weights of one layer and direction, packed for the kernels. What it holds never changes.

    Forward needs the matrices, and backward their transposes, which `pack_backward` adds when they are first needed.

    Made without arguments it is empty, for `pack_nets` to fill, or for `Unpacked`, which needs the sizes alone.
    """
    cdef const rc_kernels *k
    cdef const rc_cell *cell
    cdef readonly Py_ssize_t input_size, hidden_size, output_size       # of h: H, or P where there is a projection
    cdef idx item
    cdef rc_pack x, xt
    cdef rc_pack h[RC_MAX_STAGES]
    cdef rc_pack ht[RC_MAX_STAGES]
    cdef rc_pack r, rt          # of the projection; without one, of no values
    cdef char *bias             # [slots][H]: what the sum in each slot starts from
    cdef rc_variant variant     # with its peepholes, which follow the bias; used where the cell is `variant_cell`
    cdef bint has_peepholes
    cdef rc_cell variant_cell   # the row of the table, with the functions of variants in the place of the cell's own
    cdef Memory packed
    cdef Memory packed_t        # p NULL: not packed for backward yet
    cdef object shared, shared_t        # the memory belongs to these and serves several nets; None: it is our own

    def __cinit__(self, str cell=None, w_ih=None, w_hh=None, b_ih=None, b_hh=None, w_hr=None, *, peepholes=None,
                  variant=None):
        """Pack weight_ih and weight_hh, both biases or none, and weight_hr, which makes it a cell with a projection.

        They are laid out as torch's: contiguous arrays of one type.

        `variant` makes it a variant of the cell: see `take_variant`. Its peepholes are those of i, f and o, or None.
        """
        cdef Array of_x, of_h, of_r, x_bias, h_bias, of_c
        cdef Packing job
        if cell is None:
            return
        take(w_ih, &of_x, 0)
        take(w_hh, &of_h, 0)
        take(b_ih, &x_bias, 0)
        take(b_hh, &h_bias, 0)
        take(w_hr, &of_r, 0)
        take(peepholes, &of_c, 0)
        self.set_up(cell, &of_x, &of_h, &of_r, variant, of_c.p != NULL)
        self.packed = memory(self.size_of(False), PACKED_WEIGHTS)
        job = self.begin(of_x.p, of_h.p, of_r.p, x_bias.p, h_bias.p, of_c.p)
        pack_on_threads(&job)

    def __dealloc__(self):
        if self.shared is None:
            give_back(self.packed)
        if self.shared_t is None:
            give_back(self.packed_t)

    cdef int set_up(self, str cell, const Array *w_ih, const Array *w_hh, const Array *w_hr, variant,
                    bint peepholes) except -1:
        cdef bint projected = w_hr.p != NULL
        cdef idx H = w_hr.last if projected else w_hh.last, P = w_hh.last
        cdef int s
        self.item, self.input_size, self.hidden_size, self.output_size = w_ih.item, w_ih.last, H, P
        self.k = rc_kernels_for(chosen_isa, <int>self.item * 8)
        self.cell = find_cell(self.k, cell.encode())
        if variant is not None:
            self.variant = take_variant(variant)
            self.has_peepholes = peepholes
            self.variant_cell = cell_of_variants(self.cell)
            self.cell = &self.variant_cell
        self.x = self.shape(H, self.input_size, self.cell.blocks)
        self.xt = self.shape(self.input_size, H * self.cell.blocks, 1)
        for s in range(self.cell.stages):
            self.h[s] = self.shape(H, P, self.cell.stage[s].groups)
            self.ht[s] = self.shape(P, H * self.cell.stage[s].groups, 1)
        self.r, self.rt = self.shape(P if projected else 0, H, 1), self.shape(H, P if projected else 0, 1)
        return 0

    cdef Packing begin(self, char *w_ih, char *w_hh, char *w_hr, char *b_ih, char *b_hh, char *peepholes) noexcept:
        """Add up the biases, copy the peepholes, and return the job that packs the matrices. The memory is there."""
        self.bias = self.packed.p
        add_biases(self.k, self.cell, self.hidden_size, self.item, self.bias, b_ih, b_hh)
        if peepholes != NULL:
            self.variant.peepholes = self.bias + self.cell.slots * self.hidden_size * self.item
            memcpy(<void *>self.variant.peepholes, peepholes, RC_PEEPHOLES * self.hidden_size * self.item)
        return self.packing(w_ih, w_hh, w_hr, False)

    cdef size_t bytes_of_vectors(self) noexcept:
        """Bytes of the bias and the peepholes, which lie before the matrices."""
        cdef idx blocks = self.cell.slots + (RC_PEEPHOLES if self.has_peepholes else 0)
        return rounded(blocks * self.hidden_size * self.item)

    cdef inline const rc_variant *variant_or_null(self) noexcept:
        return &self.variant if self.cell == &self.variant_cell else NULL

    cdef rc_pack shape(self, idx n, idx k, int groups) noexcept:
        cdef rc_pack p
        p.n, p.k, p.groups, p.w = n, k, groups, NULL
        return p

    cdef size_t size_of(self, bint transposed) noexcept:
        """Bytes of the packed matrices, the biases and the peepholes, or of the transposed matrices."""
        cdef const rc_pack *h = &self.ht[0] if transposed else &self.h[0]
        cdef size_t size = bytes_of_pack(&self.xt if transposed else &self.x, self.k)
        cdef int s
        size += bytes_of_pack(&self.rt if transposed else &self.r, self.k)
        for s in range(self.cell.stages):
            size += bytes_of_pack(&h[s], self.k)
        return size + (0 if transposed else self.bytes_of_vectors())

    @property
    def input_blocks(self):
        """How many slots the input adds to."""
        return 0 if self.cell == NULL else self.cell.blocks

    @property
    def nbytes(self):
        """Bytes of the packed copies."""
        return self.packed.size + self.packed_t.size

    def pack_backward(self, w_ih, w_hh, w_hr=None):
        """Pack the transposes of the same matrices, their blocks in the order of the slots."""
        cdef Array of_x, of_h, of_r
        cdef Packing job
        if self.packed_t.p == NULL:
            take(w_ih, &of_x, 0)
            take(w_hh, &of_h, 0)
            take(w_hr, &of_r, 0)
            self.packed_t = memory(self.size_of(True), PACKED_WEIGHTS)
            job = self.packing(of_x.p, of_h.p, of_r.p, True)
            pack_on_threads(&job)

    def holds(self, w_ih, w_hh, w_hr=None):
        """Whether it was packed from these values, to the last bit: −0 differs from 0, and NaN equals itself.

        The arrays are as they are taken by the constructor. Panel by panel is packed again, and compared, until one
        differs.
        """
        cdef Array of_x, of_h, of_r
        cdef Comparison job
        cdef idx s, most, size
        cdef Memory scratch
        packed_weights(self)
        size = self.hidden_size * self.cell.blocks * (self.input_size + self.output_size) * self.item
        take(w_ih, &of_x, 0)
        take(w_hh, &of_h, 0)
        take(w_hr, &of_r, 0)
        job.packing = self.packing(of_x.p, of_h.p, of_r.p, False)
        job.differs, job.threads = 0, rnncore_get_num_threads() if size > PACK_ON_THREADS else 1
        most = max(panel_bytes(&job.packing, &self.x), panel_bytes(&job.packing, &self.r))
        for s in range(self.cell.stages):
            most = max(most, panel_bytes(&job.packing, &self.h[s]))
        job.of_thread = rounded(most)
        scratch = memory(job.threads * job.of_thread, SCRATCH)
        job.scratch = scratch.p
        with nogil:
            rc_pool_run(comparison_thread, &job, job.threads)
        give_back(scratch)
        return not job.differs

    def unpack(self, w_ih, w_hh, w_hr=None):
        """Write the values that were packed to these contiguous arrays.

        Where each of them lies is found by packing their numbers, so that it stands in one place: pack.h.
        """
        cdef Weights places
        cdef list given = [w_ih, w_hh] if w_hr is None else [w_ih, w_hh, w_hr], numbers = []
        cdef idx count = 0
        cdef int s
        for array in given:
            numbers.append(arange(count + 1, count + array.size + 1, dtype=f"u{self.item}").view(array.dtype)
                           .reshape(array.shape))
            count += array.size
        places = Weights(self.cell.name.decode(), numbers[0], numbers[1], None, None,
                         None if w_hr is None else numbers[2])
        self.unpack_one(&self.x, &places.x, w_ih, 1)
        for s in range(self.cell.stages):
            self.unpack_one(&self.h[s], &places.h[s], w_hh, 1 + w_ih.size)
        if w_hr is not None:
            self.unpack_one(&self.r, &places.r, w_hr, 1 + w_ih.size + w_hh.size)

    cdef int unpack_one(self, const rc_pack *pack, const rc_pack *places, array, idx first) except -1:
        """Of values that were packed, and whose places have numbers from `first` on."""
        cdef Array to
        cdef idx n, place, count = array.size
        take(array, &to, 0)
        for n in range(self.k.pack_size(pack.n, pack.k, pack.groups)):
            place = ((<const unsigned long long *>places.w)[n] if self.item == 8
                     else (<const unsigned int *>places.w)[n]) - first
            if 0 <= place < count:          # not in the part of a vector that is filled up
                memcpy(to.p + place * self.item, <const char *>pack.w + n * self.item, self.item)
        return 0

    cdef Packing packing(self, char *w_ih, char *w_hh, char *w_hr, bint transposed) noexcept:
        """The job that packs the matrices, after the biases, or their transposes."""
        cdef Packing job
        cdef int s
        cdef char *at = self.packed_t.p if transposed else self.packed.p + self.bytes_of_vectors()
        job.k, job.cell, job.item = self.k, self.cell, self.item
        job.I, job.H, job.P, job.transposed = self.input_size, self.hidden_size, self.output_size, transposed
        job.x, job.h = &self.xt if transposed else &self.x, &self.ht[0] if transposed else &self.h[0]
        job.r = &self.rt if transposed else &self.r
        job.w_ih, job.w_hh, job.w_hr = w_ih, w_hh, w_hr
        at = place_pack(job.x, self.k, at)
        for s in range(self.cell.stages):
            at = place_pack(&job.h[s], self.k, at)
        place_pack(job.r, self.k, at)
        return job

    cdef const rc_pack *projection(self, bint transposed) noexcept:
        """W_hr packed, or its transpose; NULL: there is no projection."""
        return NULL if self.r.n == 0 else &self.rt if transposed else &self.r

    cdef double work_of_row(self) noexcept:
        """Multiply-adds of a forward step for one row."""
        return <double>self.cell.blocks * self.hidden_size * (self.output_size + self.input_size) + self.r.n * self.r.k


cdef void add_biases(const rc_kernels *k, const rc_cell *cell, idx H, idx item, char *to, const char *b_ih,
                     const char *b_hh) noexcept nogil:
    """What the sum in each slot starts from, [slots][H]: the sum of its two biases, which may be NULL."""
    cdef const char *b
    cdef int g, second
    cdef rc_blocks one
    one.first, one.resumes, one.pauses, one.overwrite = 1, False, False, False
    memset(to, 0, cell.slots * H * item)
    for second in range(2 if b_ih != NULL else 0):
        b = b_hh if second else b_ih
        for g in range(cell.blocks):    # column sums of one row: adds the bias to that of the slot
            k.column_sums(to + slot_of(cell, second, g) * H * item, NULL, b + block_of(cell, second, g) * H * item, 0, 1,
                          &one, 0, H)


cdef Weights packed_weights(given, bint transposed=False):
    """Weights after a check that they are packed, and where it is wanted their transposes: loops read them unchecked."""
    cdef Weights w
    if not isinstance(given, Weights) or (<Weights>given).packed.p == NULL:
        raise TypeError(f"weights: got {given!r}, expected packed weights")
    w = given
    if transposed and w.packed_t.p == NULL:
        raise ValueError("weights: got some without their transposes, expected a call of pack_backward before")
    return w


cdef Weights first_of(list weights, bint transposed=False):
    """The first of several packed weights, after a check of all of them."""
    if not weights:
        raise ValueError("weights: got none, expected packed weights")
    for w in weights:
        packed_weights(w, transposed)
    return weights[0]
