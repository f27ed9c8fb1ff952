# How a call is divided among threads. Dividing the rows needs no barrier inside a step, since rows do not depend on
# each other. Dividing the hidden units needs a barrier in every step, and is what helps where there are few rows.


cdef enum:
    # Up to so many bytes of recurrent weights, threads divide even a few rows: each then reads all the weights, but
    # from its own L1 and L2 (two threads, T 300: RNN H 64, B 4 1.54x, LSTM H 64, B 2 1.37x; LSTM H 128, B 2 0.98x).
    SMALL = 1 << 16
    # Above so many bytes, they divide the units where there are fewer than 16 rows a thread: such weights come from L3,
    # and each thread then reads only its own part of them (LSTM 50,16,700 1.14x forward, 1.08x training; GRU 100,8,512
    # 1.13x, 1.07x; no gain with 16 rows a thread).
    LARGE = 1 << 21


cdef enum:
    # Rows of a chunk in forward: so few that the sums are still in cache when their step comes. (Backward: sums.pxi.)
    FORWARD_CHUNK = 48
    # Where rows have unequal lengths, a chunk may have more, up to so many bytes, so that it has enough steps for
    # `project_by_row`.
    UNEQUAL_CHUNK = 2 * RC_L1_BYTES
    STEPS_BY_ROW = 16
    # Flops of a call from which two threads help, and of a step from which they may divide the units.
    THREADS_FORWARD = 10000000
    THREADS_BACKWARD = 24000000
    THREADS_UNITS = 200000
    # Where recurrent weights come from L3 (LARGE), each step takes at least as long as reading them, and a byte takes as
    # long as so many flops: 24 GB/s beside 100 GF/s on a Xeon with AVX-512. Two threads forward there: RNN 4,1,13,950
    # 3.3x, and 1.5x where calls are 15 ms apart; GRU 4,1,20,500 2.8x and 1.6x.
    FLOPS_OF_A_BYTE = 4


# The rows of a batch. Where they have unequal lengths, they are sorted from the longest to the shortest, so that the
# active rows of a step are its first ones, and arrays hold only these: all rows of step 0, then those of step 1, …
# Such arrays are (N, 1, …), where N is the sum of the lengths.

cdef struct Rows:
    idx B
    const idx *starts           # T + 1: where the rows of each step begin, and N; NULL: every step has all B rows
    const idx *lengths          # B, descending; NULL as `starts`


cdef struct Resets:             # of the states of rows: see resets.pxi
    const idx *starts           # T + 1: where the rows that are reset before each step begin; NULL: there are no resets
    const idx *rows             # before: in the order in which the pass runs
    idx next_net                # from the starts of one net to those of the next


cdef Rows take_batch(object batch, idx B) except *:
    """The rows of a `ragged.Batch`, or, where that is None, of B full rows."""
    cdef Rows r
    cdef Array a
    r.B, r.starts, r.lengths = B, NULL, NULL
    if batch is not None:
        take(batch.starts, &a, 0)
        r.starts = <const idx *>a.p
        take(batch.sorted_lengths, &a, 0)
        r.lengths = <const idx *>a.p
        r.B = a.last
    return r


cdef inline const idx *starts_of_net(const Rows *rows, idx net, idx T) noexcept nogil:
    """`starts` of one net of several, whose arrays follow each other."""
    if rows.starts == NULL:
        return NULL
    return rows.starts + net * (T + 1)


def arrange(batch):
    """Sort the rows of a `ragged.Batch`: fills in its order, rank, sorted_lengths and starts.

    Where there are several nets (`ragged.Batches`), all arrays have a leading axis, and each net's rows are sorted.
    """
    cdef Array lengths, order, rank, sorted_lengths, starts
    cdef idx T = batch.steps, nets = len(batch.lengths) if batch.lengths.ndim == 2 else 1, n, B
    take(batch.lengths, &lengths, 0)
    take(batch.order, &order, 0)
    take(batch.rank, &rank, 0)
    take(batch.sorted_lengths, &sorted_lengths, 0)
    take(batch.starts, &starts, 0)
    B = lengths.last
    for n in range(nets):
        arrange_net(<const idx *>lengths.p + n * B, <idx *>order.p + n * B, <idx *>rank.p + n * B,
                    <idx *>sorted_lengths.p + n * B, <idx *>starts.p + n * (T + 1), T, B)


def arrange_plain(batch, lengths, x, bint batch_first):
    """Give a new `ragged.Batch` its rows, where the arguments of a layer need no conversion.

    Returns
    -------
    bool or None
        Whether it was done; False: all rows are full. None: an argument has to be converted or refused.
    """
    cdef Py_ssize_t B, ends
    cdef idx T
    cdef int unequal
    if not PyArray_CheckExact(x) or not 2 <= PyArray_NDIM(<PyArrayObject *>x) <= 3:
        return None
    B, T = 1, PyArray_DIMS(<PyArrayObject *>x)[0]
    if PyArray_NDIM(<PyArrayObject *>x) == 3:
        B = PyArray_DIMS(<PyArrayObject *>x)[1]
        if batch_first:
            B, T = T, B
    lengths = plain_lengths(lengths, B)
    if lengths is None:
        return None
    lengths = PyArray_NewCopy(<PyArrayObject *>lengths, NPY_CORDER)     # the caller's may change after it was checked
    unequal = unequal_lengths(<const idx *>address(lengths), B, T)
    if unequal <= 0:
        return None if unequal == 0 else False
    order, rank, sorted_lengths = [PyArray_SimpleNew(1, &B, NPY_INTP) for _ in range(3)]
    ends = T + 1
    starts = PyArray_SimpleNew(1, &ends, NPY_INTP)
    arrange_net(<const idx *>address(lengths), <idx *>address(order), <idx *>address(rank),
                <idx *>address(sorted_lengths), <idx *>address(starts), T, B)
    batch.lengths, batch.steps, batch.N = lengths, T, (<idx *>address(starts))[T]
    batch.order, batch.rank, batch.sorted_lengths, batch.starts = order, rank, sorted_lengths, starts
    return True


cdef void arrange_net(const idx *lengths, idx *order, idx *rank, idx *sorted_lengths, idx *starts, idx T,
                      idx B) noexcept:
    """A counting sort."""
    cdef idx t, n, row, place, step, end
    cdef idx *count = starts
    memset(count, 0, (T + 1) * sizeof(idx))
    for row in range(B):
        count[lengths[row]] += 1
    place = 0
    for t in range(T, -1, -1):          # count: the place of the first row of this length
        n, count[t] = count[t], place
        place += n
    for row in range(B):
        n = lengths[row]
        place = count[n]
        count[n] += 1
        order[place], rank[row], sorted_lengths[place] = row, place, n
    starts[0] = t = n = 0
    for place in range(B, -1, -1):      # as many rows have the steps up to where the last of them ends
        end = sorted_lengths[place - 1] if place > 0 else T
        for step in range(t, end):
            n += place
            starts[step + 1] = n
        t = end


cdef inline const rc_kernels *kernels_for(const Array *a) noexcept nogil:
    """The kernels for the type of an array."""
    return rc_kernels_for(chosen_isa, <int>(8 * a.item))


def gather(padded, active, batch):
    """Copy the active rows of (T, B, F), in the caller's order, to (N, 1, F). Last axes are contiguous.

    Where there are several nets, both arrays have a leading axis.
    """
    copy_rows(padded, active, batch, False)


def spread(active, padded, batch):
    """Copy (N, 1, F) to the active rows of (T, B, F), in the caller's order; the others are left as they are."""
    copy_rows(padded, active, batch, True)


def clear(padded, batch):
    """Write zeros past the rows' ends of (T, B, F), in the caller's order. The last axis is contiguous."""
    cdef Rows rows = take_batch(batch, 0)
    cdef Array p, order
    cdef idx T = batch.steps
    take(padded, &p, 2)
    take(batch.order, &order, 0)
    with nogil:
        clear_steps(kernels_for(&p), &p, <const idx *>order.p, &rows, 0, T)


cdef inline idx end_of_equal_steps(const Rows *rows, idx t, idx stop) noexcept nogil:
    """Up to where steps have as many rows as step t: the last of these rows ends there."""
    cdef idx n = active_rows(rows, t)
    return stop if n == 0 else min(stop, rows.lengths[n - 1])


cdef inline rc_copy copy_of(char *to, idx ldto, const idx *to_row, const char *source, idx ldfrom, const idx *from_row,
                            idx count, idx n) noexcept nogil:
    """A copy of rows within one step."""
    cdef rc_copy c
    c.to, c.ldto, c.to_row, c.from_, c.ldfrom, c.from_row = to, ldto, to_row, source, ldfrom, from_row
    c.count, c.n, c.steps, c.step_to, c.step_from = count, n, 1, 0, 0
    return c


cdef inline rc_copy zeros_past_ends(const Array *padded, const idx *order, idx t, idx row0, idx row1, idx column,
                                    idx n) noexcept nogil:
    """Zeros for the rows row0 .. row1 of step t of (T, B, F), n values from `column` on; and for steps after it.

    `order` is NULL where B is 1.
    """
    cdef idx item = padded.item
    cdef rc_copy c = copy_of(padded.p + t * padded.stride[0] + column * item, padded.stride[1] // item, NULL, NULL, 0,
                             NULL, row1 - row0, n)
    if order != NULL:
        c.to_row = order + row0
    c.step_to = padded.stride[0] // item
    return c


cdef void clear_steps(const rc_kernels *k, const Array *padded, const idx *order, const Rows *rows, idx t,
                      idx stop) noexcept nogil:
    """Write zeros past the rows' ends to the steps t .. stop of (T, B, F)."""
    cdef rc_copy c
    cdef idx end
    while t < stop:
        end = end_of_equal_steps(rows, t, stop)
        c = zeros_past_ends(padded, order, t, active_rows(rows, t), rows.B, 0, padded.last)
        c.steps = end - t
        k.copy_rows(&c)
        t = end


cpdef bint is_mostly_padding(idx T, idx B, idx N) noexcept:
    """Whether so few of T·B rows of steps exist that the system's pages of zeros cost less than writing zeros."""
    return T * B > 4 * N


def reorder(array, order):
    """The rows of (n, B, F), whose last axis is contiguous, in another order, as a new array: row r is row order[r]."""
    cdef Array o
    take(order, &o, 0)
    return reordered(array, <const idx *>o.p)


cdef object reordered(array, const idx *order):
    cdef Array a, f
    cdef idx n = array.shape[0], B = array.shape[1]
    cdef rc_copy c
    found = PyArray_NewLikeArray(<PyArrayObject *>array, NPY_CORDER, NULL, 0)
    take(array, &a, 2)
    take(found, &f, 2)
    c = copy_of(f.p, f.stride[1] // f.item, NULL, a.p, a.stride[1] // a.item, order, B, a.last)
    c.steps, c.step_to, c.step_from = n, f.stride[0] // f.item, a.stride[0] // a.item
    kernels_for(&a).copy_rows(&c)
    return found


def check_lengths(lengths, idx steps):
    """Look at an array of integers (B,) from 0 to `steps`: -1 if all are `steps`, 0 if one is out of range, otherwise 1."""
    cdef Array a
    take(lengths, &a, 0)
    return unequal_lengths(<const idx *>a.p, a.last, steps)


cdef int unequal_lengths(const idx *lengths, idx B, idx steps) noexcept nogil:
    cdef idx row, full = 0
    for row in range(B):
        if not 0 <= lengths[row] <= steps:
            return 0
        full += lengths[row] == steps
    return -1 if full == B else 1


cdef int copy_rows(padded, active, batch, bint to_padded) except -1:
    cdef Rows rows = take_batch(batch, 0), of_net = rows
    cdef Array p, a, order
    cdef idx T = batch.steps, nets = 1, net, next_p, next_a
    if padded.ndim == 4:
        nets = take_nets(padded, &p, &next_p)
        take_nets(active, &a, &next_a)
    else:
        next_p = next_a = 0
        take(padded, &p, 2)
        take(active, &a, 2)
    a.stride[1] = a.stride[0]
    take(batch.order, &order, 0)
    with nogil:
        for net in range(nets):
            of_net.starts, of_net.lengths = starts_of_net(&rows, net, T), rows.lengths + net * rows.B
            copy_rows_of_net(&of_net, T, &p, &a, <const idx *>order.p + net * rows.B, to_padded)
            p.p += next_p
            a.p += next_a
    return 0


cdef void copy_rows_of_net(const Rows *rows, idx T, const Array *padded, const Array *active, const idx *order,
                           bint to_padded) noexcept nogil:
    cdef const rc_kernels *k = kernels_for(padded)
    cdef idx ldp = padded.stride[1] // padded.item, lda = active.stride[1] // active.item, t = 0, stop, n
    cdef char *p
    cdef char *a
    cdef rc_copy c
    while t < T:
        stop = end_of_equal_steps(rows, t, T)
        n, p, a = active_rows(rows, t), padded.p + t * padded.stride[0], step_at(active, rows, t)
        if to_padded:
            c = copy_of(p, ldp, order, a, lda, NULL, n, active.last)
            c.step_to, c.step_from = padded.stride[0] // padded.item, n * lda
        else:
            c = copy_of(a, lda, NULL, p, ldp, order, n, active.last)
            c.step_from, c.step_to = padded.stride[0] // padded.item, n * lda
        c.steps = stop - t
        k.copy_rows(&c)
        t = stop


cdef int take_rows(object a, Array *out, const Rows *rows) except -1:
    """As `take`, for the rows of steps: (T, B, …) where all are full, otherwise (N, 1, …)."""
    take(a, out, 2)
    if rows.starts != NULL:
        out.stride[1] = out.stride[0]
    return 0


cdef const idx *take_in_either_order(object a, Array *out, const Rows *rows, object batch) except? NULL:
    """As `take_rows`, or (T, B, …) in the caller's order; returns which of its rows is a row's. NULL: it is in ours.

    Where B is 1, both orders are the same, and the rows lie in the same places.
    """
    cdef Array order
    if a is None or batch is None or rows.B == 1 or a.shape[1] != rows.B:
        take_rows(a, out, rows)
        return NULL
    take(a, out, 2)
    take(batch.order, &order, 0)
    return <const idx *>order.p


cdef inline idx active_rows(const Rows *rows, idx t) noexcept nogil:
    return rows.B if rows.starts == NULL else rows.starts[t + 1] - rows.starts[t]


cdef inline idx rows_between(const Rows *rows, idx t0, idx t1) noexcept nogil:
    """Rows of the steps t0 .. t1."""
    return (t1 - t0) * rows.B if rows.starts == NULL else rows.starts[t1] - rows.starts[t0]


cdef inline char *step_at(const Array *a, const Rows *rows, idx t) noexcept nogil:
    """The first row of step t."""
    return a.p + (t if rows.starts == NULL else rows.starts[t]) * a.stride[0]


cdef struct Plan:
    int threads
    bint by_units
    int multiple                # a thread's units begin at a multiple of this, where a panel begins in every product
    int h_multiple              # the same of its values of h, where a projection narrows it
    idx chunk                   # forward: steps in a chunk, where every step has all rows
    idx chunk_rows              # forward: rows in a chunk, at most


cdef Plan make_plan(Weights w, idx T, idx N, idx B, double passes) noexcept:
    """How many threads a pass of T steps uses that have N rows in all and at most B, and what they divide.

    A step takes `passes` times the flops of a forward step (1: it is forward).

    The thresholds are where two threads began to help on a 2-core EPYC at 3.7 GHz (November 2026): 0.1 ms of work in
    all, since a sleeping thread takes 10 us to wake, and 2 us of work between two barriers. Work is flops or, in a step
    of few rows with large weights, the reading of these.
    """
    cdef Plan p
    cdef idx weights = (w.hidden_size * w.output_size * w.cell.blocks + w.r.n * w.r.k) * w.item, rows = (N + T - 1) // T
    cdef double step = passes * max(2.0 * rows * w.work_of_row(), FLOPS_OF_A_BYTE * weights if weights > LARGE else 0)
    cdef int n = rnncore_get_num_threads(), s
    p.threads, p.by_units, p.h_multiple = 1, False, RC_PANEL_VECTORS * w.k.lanes
    p.multiple = w.k.lanes if passes == 1 else RC_PANEL_VECTORS * w.k.lanes   # backward, all matrices have one group
    for s in range(w.cell.stages):
        if w.cell.stage[s].groups == 1:
            p.multiple = RC_PANEL_VECTORS * w.k.lanes
    p.chunk = max(1, min(T, (FORWARD_CHUNK + rows - 1) // rows))
    p.chunk_rows = p.chunk * B
    if N < T * B:
        p.chunk_rows = max(B, FORWARD_CHUNK, UNEQUAL_CHUNK // (w.cell.slots * w.hidden_size * w.item))
    if n > 1 and step * T > (THREADS_FORWARD if passes == 1 else THREADS_BACKWARD):
        if rows >= n * (1 if weights <= SMALL else 4 if weights <= LARGE else 16):
            p.threads = n
        elif step > THREADS_UNITS:
            p.by_units = True
            p.threads = <int>min(n, max(1, w.hidden_size // p.multiple))
    return p


cdef inline idx chunk_end(const Plan *plan, const Rows *rows, idx T, idx s, bint from_last) noexcept nogil:
    """Where the chunk of a forward pass ends that begins at s, counted from the first step or, `from_last`, the last."""
    cdef idx n = 0, stop = s
    if rows.starts == NULL:
        return min(T, s + plan.chunk)
    while stop < T:
        n += active_rows(rows, T - 1 - stop if from_last else stop)
        if n > plan.chunk_rows:
            break
        stop += 1
    return stop


# A long call is divided into stretches of steps, and between two of them Python may handle a signal: Ctrl-C is answered
# within a tenth of a second, whatever the length of the sequence. (A single step, and the weight gradients of a chunk,
# are not divided.)

cdef enum:
    # Work of the first stretch, in multiply-adds, where the equations of one slot of a unit count as 32, and a step as
    # 256 more: some milliseconds, which most calls stay under. Each stretch after it is made to take about STRETCH_NS.
    FIRST_STRETCH = 200000000
    STRETCH_NS = 25000000


cdef struct Pace:
    idx s0, s1                  # the stretch, in steps from where the pass begins
    idx T                       # steps in all
    const Rows *rows
    bint from_last              # the pass begins with the last step
    double of_step, of_row      # work of a step without rows, and of one of its rows
    double work                 # of the stretch
    long long began             # ns


cdef Pace first_stretch(Weights w, idx T, const Rows *rows, bint from_last, double passes) noexcept:
    """The first stretch of T steps that each take `passes` times the work of a forward step."""
    cdef Pace p
    p.s0, p.T, p.rows, p.from_last = 0, T, rows, from_last
    p.of_step = 256 * passes
    p.of_row = passes * (w.work_of_row() + 32.0 * w.hidden_size * w.cell.slots)
    find_end(&p, FIRST_STRETCH)
    p.began = rc_now() if p.s1 < T else 0       # the last stretch is not timed, and a block of a small net is soon done
    return p


cdef inline double work_of(const Pace *p, idx s) noexcept:
    return p.of_step + p.of_row * active_rows(p.rows, p.T - 1 - s if p.from_last else s)


cdef void find_end(Pace *p, double most) noexcept:
    """End the stretch before its work exceeds `most`, but after one step."""
    cdef double steps = most / work_of(p, p.s0), rest
    if p.rows.starts == NULL:
        p.s1 = p.T if steps >= p.T - p.s0 else p.s0 + max(1, <idx>steps)
        p.work = (p.s1 - p.s0) * work_of(p, p.s0)
        return
    rest = p.of_step * (p.T - p.s0) + p.of_row * (rows_between(p.rows, 0, p.T - p.s0) if p.from_last else
                                                  rows_between(p.rows, p.s0, p.T))
    if rest <= most:
        p.s1, p.work = p.T, rest
        return
    p.s1, p.work = p.s0 + 1, work_of(p, p.s0)
    while p.s1 < p.T and p.work + work_of(p, p.s1) <= most:
        p.work += work_of(p, p.s1)
        p.s1 += 1


cdef bint next_stretch(Pace *p) except -1:
    """Go on to the next stretch; False after the last. The handler of a pending signal runs here, and may raise."""
    cdef long long now, spent
    if p.s1 >= p.T:
        return False
    PyErr_CheckSignals()
    now = rc_now()
    spent = max(1, now - p.began)
    p.s0, p.began = p.s1, now
    find_end(p, p.work * min(4.0, max(0.25, <double>STRETCH_NS / spent)))       # not misled by one odd stretch
    return True


cdef struct Share:              # what one thread computes of a call
    int thread, threads
    bint by_units
    idx rows, units             # the whole
    idx row0, row1, unit0, unit1
    idx width, h0, h1           # the whole h, and this thread's part: as of the units where there is no projection


cdef inline Share share_of(const Plan *plan, idx rows, idx units, idx width, int thread, int threads) noexcept nogil:
    """A thread's share of the rows or of the units and of h, which is `width` wide."""
    cdef Share p
    p.thread, p.threads, p.by_units = thread, threads, plan.by_units and threads > 1
    p.rows, p.units, p.width = rows, units, width
    p.row0, p.row1, p.unit0, p.unit1, p.h0, p.h1 = 0, rows, 0, units, 0, width
    if p.by_units:
        split(units, plan.multiple, thread, threads, &p.unit0, &p.unit1)
        split(width, plan.multiple if width == units else plan.h_multiple, thread, threads, &p.h0, &p.h1)
    else:
        split(rows, 1, thread, threads, &p.row0, &p.row1)
    return p


cdef inline void share_rows(Share *p, const Rows *rows, idx T, idx s0, idx s1, bint from_last) noexcept nogil:
    """Divide the work of the steps s0 .. s1, counted from the first or the last, where rows end at different steps."""
    cdef idx t0 = T - s1 if from_last else s0, t1 = T - s0 if from_last else s1
    cdef double total, work = 0
    cdef idx row = 0
    cdef int thread
    if rows.starts == NULL or p.by_units:
        return
    if p.threads == 1:
        p.row0, p.row1 = 0, p.rows
        return
    total = rows_between(rows, t0, t1)
    for thread in range(p.thread + 1):
        p.row0 = row
        while row < p.rows and work * p.threads < total * (thread + 1):
            work += max(0, min(rows.lengths[row], t1) - t0)
            row += 1
    p.row1 = p.rows if p.thread == p.threads - 1 else row


cdef inline bint meet(rc_barrier *b, Share *p, bint may_shrink) noexcept nogil:
    """Wait for the other threads. Where the call goes on with thread 0 alone, its share becomes the whole.

    True: this thread is done.
    """
    if not rc_barrier_wait(b, p.thread, p.threads, may_shrink) or p.threads == 1:
        return False
    p.threads, p.by_units = 1, False
    p.row0, p.row1, p.unit0, p.unit1, p.h0, p.h1 = 0, p.rows, 0, p.units, 0, p.width
    return p.thread != 0


cdef inline idx row_bytes(idx bytes) noexcept nogil:
    """Row stride of gates and their gradients, with a gap where rows 2 KB apart would share a few sets of L1."""
    return bytes + RC_CACHE_LINE if bytes % 2048 == 0 else bytes


cdef inline void split(idx n, idx multiple, int thread, int threads, idx *start, idx *stop) noexcept nogil:
    """This thread's part of 0 .. n, in whole multiples and as even as possible."""
    cdef idx blocks = (n + multiple - 1) // multiple
    start[0] = min(n, blocks * thread // threads * multiple)
    stop[0] = min(n, blocks * (thread + 1) // threads * multiple)
