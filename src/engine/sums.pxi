# The gradients of weights, biases and peepholes: sums over all steps and rows.
#
# A float32 sum that adds one term after the other loses more the longer it is: constant terms are off by 3 % after three
# million of them. So terms are added up in three levels. The rows that have a step are numbered: those of step 0, then
# those of step 1, and so on, a batch of unequal lengths in the order of `plan.Rows`. Then
#
#   a chunk  is all steps whose first row has a number in the same SUM_CHUNK numbers;
#   a block  is RC_SUM_ROWS rows of a chunk, from its first row on: added up in one accumulator, from zero;
#   a span   is all chunks whose first row has a number in the same SUM_SPAN numbers: its blocks are added in the
#            layer's type, and spans are added in float64.
#
# Everything goes in the order of the walk: from the last row to the first, in a reversed layer from the first to the
# last. Where a chunk, a block or a span ends depends on the numbers of rows alone, which padding, threads and
# checkpoints do not change, so they do not change a bit of the sums.


cdef enum:
    # So many rows that a weight gradient is read and written seldom, and few enough to stay in cache.
    SUM_CHUNK = 256
    # So few blocks that adding them loses no more than adding the rows of a block.
    SUM_SPAN = 4096


cdef struct Numbering:          # of the rows of all steps
    const idx *starts           # T + 1: the number of the first row of each step; NULL: every step has B rows
    idx B, T


cdef inline idx number_of(const Numbering *n, idx t) noexcept nogil:
    """The number of the first row of step t."""
    return t * n.B if n.starts == NULL else n.starts[t]


cdef inline idx chunk_first(const Numbering *n, idx t) noexcept nogil:
    """The first step of the chunk that step t is in."""
    cdef idx chunk = number_of(n, t) // SUM_CHUNK
    if n.starts == NULL:
        return (chunk * SUM_CHUNK + n.B - 1) // n.B
    while t > 0 and n.starts[t - 1] >= chunk * SUM_CHUNK:
        t -= 1
    return t


cdef inline idx chunk_stop(const Numbering *n, idx t) noexcept nogil:
    """The first step after the chunk that step t is in."""
    cdef idx chunk = number_of(n, t) // SUM_CHUNK
    if n.starts == NULL:
        return min(n.T, ((chunk + 1) * SUM_CHUNK + n.B - 1) // n.B)
    while t < n.T and n.starts[t] < (chunk + 1) * SUM_CHUNK:
        t += 1
    return t


cdef inline idx span_of(const Numbering *n, idx t) noexcept nogil:
    """The span of the chunk that step t is in."""
    return number_of(n, chunk_first(n, t)) // SUM_SPAN


cdef struct Part:               # one array of sums
    char *sum
    char *partial               # of a block that an earlier window began; NULL where there are no windows
    double *total               # of earlier spans; NULL where there is only one
    idx size                    # values


cdef struct Summing:
    const rc_kernels *k
    Numbering numbering
    Part w_ih, w_hh
    Part w_hr, peepholes        # of size 0 where there are none
    Part slots                  # [slots][H], the sums for the biases; `sum` NULL where there are none
    idx last_span


cdef class Sums:
    """The gradients of the parameters of one layer and direction, while they are summed; of one net or several.

    The walk may come in windows, one after the other, as it does between checkpoints.
    """
    cdef Summing *s             # one for each net
    cdef idx nets
    cdef Weights w
    cdef tuple arrays           # the arrays that `s` points to
    cdef object steps           # as given: it has the rows that `s` points to
    cdef Memory own

    def __cinit__(self, Weights w=None, steps=None, bint windows=False, w_ih=None, w_hh=None, b_ih=None, b_hh=None,
                  w_hr=None, *, peepholes=None, idx nets=1):
        """`steps` are all steps of the pass. The arrays, contiguous and of the layer's type, receive the gradients.

        `w_ih` is None where the input is rows of a table: see `table_backward`.

        Where there are several nets, the arrays have a leading axis for them. Without arguments nothing is set up, which
        is then for `begin` to do.
        """
        cdef Rows rows
        if w is not None:
            if w_hh is None:
                raise TypeError("w_hh: got None, expected an array")
            rows = take_batch(steps.batch, steps.x.shape[steps.x.ndim - 2])
            self.begin(w, (w_ih, w_hh, b_ih, b_hh, w_hr, peepholes), &rows, steps.T, windows, nets)
            self.steps = steps

    cdef int begin(self, Weights w, tuple arrays, const Rows *rows, idx T, bint windows, idx nets) except -1:
        """`arrays` are the six of the constructor in their order, which is also that of `structure.ENGINE_NAMES`.

        What `rows` points to has to stay.
        """
        cdef Array[6] of
        cdef Summing one
        cdef Summing *s
        cdef bint spans = False
        cdef size_t each, at = rounded(nets * sizeof(Summing))
        cdef idx n
        cdef int i
        self.w, self.arrays, self.nets = w, arrays, nets
        for i in range(6):
            take(arrays[i], &of[i], 0)
        memset(&one, 0, sizeof(one))
        one.k, one.numbering.B, one.numbering.T = w.k, rows.B, T
        one.w_ih.size = w.cell.blocks * w.hidden_size * w.input_size if of[0].p != NULL else 0
        one.w_hh.size = w.cell.blocks * w.hidden_size * w.output_size
        one.slots.size = w.cell.slots * w.hidden_size if of[2].p != NULL else 0
        one.w_hr.size = w.r.n * w.r.k
        one.peepholes.size = RC_PEEPHOLES * w.hidden_size if of[5].p != NULL else 0
        for n in range(nets):
            one.numbering.starts = starts_of_net(rows, n, T)
            spans |= last_span(&one.numbering) > 0
        each = use_memory(&one, NULL, windows, spans)
        self.own = memory(at + nets * each, SCRATCH)
        self.s = <Summing *>self.own.p
        for n in range(nets):
            s = &self.s[n]
            s[0] = one
            s.numbering.starts = starts_of_net(rows, n, T)
            s.last_span = last_span(&s.numbering)
            s.w_ih.sum, s.w_hh.sum = of[0].p + n * one.w_ih.size * w.item, of[1].p + n * one.w_hh.size * w.item
            s.w_hr.sum = of[4].p + n * one.w_hr.size * w.item
            s.peepholes.sum = of[5].p + n * one.peepholes.size * w.item
            use_memory(s, self.own.p + at + n * each, windows, spans)
        return 0

    def __dealloc__(self):
        give_back(self.own)

    def finish(self):
        """After the last window: what the arrays hold from now on are the gradients."""
        cdef object b_ih = self.arrays[2], b_hh = self.arrays[3]
        cdef Summing *s
        cdef idx n
        for n in range(self.nets):
            s = &self.s[n]
            if s.last_span > 0:
                round_part(s, &s.w_ih)
                round_part(s, &s.w_hh)
                round_part(s, &s.w_hr)
                round_part(s, &s.slots)
                round_part(s, &s.peepholes)
        if b_ih is not None:
            self.copy_sums(b_ih, False)
            self.copy_sums(b_hh, True)

    cdef int copy_sums(self, bias, bint of_h) except -1:
        """Copy the sums of the slots to the gradient of a bias."""
        cdef Array a
        cdef const rc_cell *cell = self.w.cell
        cdef idx size = self.w.hidden_size * self.w.item, n
        cdef int g
        take(bias, &a, 0)
        for n in range(self.nets):
            for g in range(cell.blocks):
                memcpy(a.p + (n * cell.blocks + block_of(cell, of_h, g)) * size,
                       self.s[n].slots.sum + slot_of(cell, of_h, g) * size, size)
        return 0


cdef size_t use_memory(Summing *s, char *p, bint windows, bint spans) noexcept:
    """Point the sums at the memory that they need besides the arrays; NULL: tell how many bytes it is."""
    cdef size_t item = s.k.bits // 8, at = rounded(s.slots.size * item)
    cdef Part *part
    cdef int i
    if p != NULL and s.slots.size > 0:
        s.slots.sum = p
        memset(p, 0, at)                                    # the biases' gradients where there is no step
    for i in range(5):
        part = (&s.w_ih if i == 0 else &s.w_hh if i == 1 else &s.w_hr if i == 2 else &s.slots if i == 3
                else &s.peepholes)
        if spans:
            if p != NULL:
                part.total = <double *>(p + at)
            at += rounded(part.size * 8)
        if windows:
            if p != NULL:
                part.partial = p + at
            at += rounded(part.size * item)
    return at


cdef inline void round_part(const Summing *s, const Part *part) noexcept:
    s.k.round_total(part.sum, part.total, part.size)


cdef idx last_span(const Numbering *n) noexcept:
    """The span of the last step that a row has."""
    cdef idx t = n.T - 1
    if n.B == 0:
        return 0
    while t > 0 and n.starts != NULL and n.starts[t] == n.starts[n.T]:
        t -= 1
    return span_of(n, t) if t >= 0 else 0


cdef rc_blocks blocks_of(const Numbering *n, idx low, idx high, bint ascending) noexcept nogil:
    """The blocks of the steps low .. high of one chunk, in the order of the walk."""
    cdef rc_blocks b
    cdef idx begin = number_of(n, chunk_first(n, low))
    cdef idx all = number_of(n, chunk_stop(n, low)) - begin                     # rows of the whole chunk
    cdef idx r0 = number_of(n, low) - begin, r1 = number_of(n, high) - begin    # and those of these steps among them
    if ascending:
        b.first = RC_SUM_ROWS - r0 % RC_SUM_ROWS
        b.resumes = r0 % RC_SUM_ROWS != 0
        b.pauses = r1 < all and r1 % RC_SUM_ROWS != 0
        b.overwrite = r0 < RC_SUM_ROWS and begins_span(n, low, True)
    else:
        b.first = (r1 - 1) % RC_SUM_ROWS + 1
        b.resumes = r1 < all and r1 % RC_SUM_ROWS != 0
        b.pauses = r0 % RC_SUM_ROWS != 0
        b.overwrite = (r1 + RC_SUM_ROWS - 1) // RC_SUM_ROWS * RC_SUM_ROWS >= all and begins_span(n, low, False)
    b.first = min(b.first, r1 - r0)
    return b


cdef inline bint begins_span(const Numbering *n, idx t, bint ascending) noexcept nogil:
    """Whether the chunk of step t is the first of its span in the order of the walk."""
    cdef idx before = step_before(n, t, ascending)
    return before < 0 or span_of(n, before) != span_of(n, t)


cdef inline idx step_before(const Numbering *n, idx t, bint ascending) noexcept nogil:
    """A step of the chunk that comes before that of step t in the walk; -1: it is the first."""
    cdef idx before = chunk_first(n, t) - 1 if ascending else chunk_stop(n, t)
    if before == n.T or before >= 0 and number_of(n, before) == number_of(n, n.T):      # no row has it
        return -1
    return before


cdef inline bint ends_span(const Numbering *n, idx low, idx high, bint ascending) noexcept nogil:
    """Whether a span ends before the steps low .. high, which are of one chunk: they are the first ones of another."""
    cdef bint begins = low == chunk_first(n, low) if ascending else number_of(n, high) == number_of(n, chunk_stop(n, low))
    return begins and step_before(n, low, ascending) >= 0 and begins_span(n, low, ascending)


cdef void end_span(const Summing *s, idx I, idx H, idx P, idx low, bint ascending, idx m0, idx m1, idx h0,
                   idx h1) noexcept nogil:
    """Before the chunk of step `low`, the first one of its span, add the sums of the span before to the totals.

    Of every block of H rows, and of every slot, only the rows m0 .. m1, and of w_hr h0 .. h1.
    """
    cdef idx before = step_before(&s.numbering, low, ascending)
    cdef bint first = span_of(&s.numbering, before) == (0 if ascending else s.last_span)
    add_rows(s, &s.w_ih, I, H, m0, m1, first)
    add_rows(s, &s.w_hh, P, H, m0, m1, first)
    add_rows(s, &s.w_hr, H, P, h0, h1, first)
    add_rows(s, &s.slots, 1, H, m0, m1, first)
    add_rows(s, &s.peepholes, 1, H, m0, m1, first)


cdef void add_rows(const Summing *s, const Part *part, idx width, idx H, idx m0, idx m1, bint first) noexcept nogil:
    cdef idx at = m0 * width, item = s.k.bits // 8
    while at < part.size:
        s.k.add_to_total(part.total + at, part.sum + at * item, (m1 - m0) * width, first)
        at += H * width
