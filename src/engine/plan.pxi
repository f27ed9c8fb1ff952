# How a call is shared out.  Sharing rows needs no barrier inside a step, since a row meets no other;
# sharing hidden units needs one a step, and is what helps when there are few rows.


cdef enum:
    # Bytes of recurrent weights up to which threads share even a few rows: each then passes over all the weights, from
    # its own L1 and L2 (two threads, T 300: RNN H 64, B 4 1.54x, LSTM H 64, B 2 1.37x; LSTM H 128, B 2 0.98x).
    SMALL = 1 << 16
    # ... and from which on they share units up to 16 rows a thread: such weights come from L3, to each thread its part
    # (LSTM 50,16,700 1.14x forward, 1.08x training; GRU 100,8,512 1.13x, 1.07x; nothing with 16 rows a thread).
    LARGE = 1 << 21


cdef struct Plan:
    int threads
    bint by_units
    int multiple                # units that a thread takes at least: where a panel begins in every product
    idx chunk                   # steps whose products over time are made at once


cdef Plan make_plan(Weights w, idx T, idx rows, double passes) noexcept:
    """Threads for `passes` times the flops of a forward step, T times.

    The thresholds are where two threads began to help on a 2-core EPYC at 3.7 GHz (November 2026):
    0.1 ms of work, since a sleeping thread takes 10 us to wake, and 2 us a step between two meetings.
    """
    cdef Plan p
    cdef idx H = w.hidden_size, weights = H * H * w.cell.gates * w.item
    cdef double step = 2.0 * rows * w.cell.gates * H * (H + w.input_size) * passes
    cdef int n = rnncore_get_num_threads(), s
    p.threads, p.by_units = 1, False
    p.multiple = w.k.lanes if passes == 1 else 4 * w.k.lanes    # the way back has plain packs
    for s in range(w.cell.stages):
        if w.cell.stage[s].groups == 1:
            p.multiple = 4 * w.k.lanes
    p.chunk = max(1, min(T, (48 + rows - 1) // rows))
    if n > 1 and step * T > (1e7 if passes == 1 else 2.4e7):
        if rows >= n * (1 if weights <= SMALL else 4 if weights <= LARGE else 16):
            p.threads = n
        elif step > 2e5:
            p.by_units = True
            p.threads = <int>min(n, max(1, H // p.multiple))
    return p


# A long call is made in stretches of steps, and between them Python may answer a signal: Ctrl-C is heard within
# a tenth of a second, whatever the length of the sequence.

cdef enum:
    # Work of the first stretch, in multiply-adds (a value through the cell's equations counts as many as 32): some 2 ms,
    # which most calls stay under. Each of the next takes about STRETCH_NS.
    FIRST_STRETCH = 200000000
    STRETCH_NS = 25000000


cdef struct Pace:
    idx s0, s1                  # the stretch, in steps from where the pass begins
    idx T                       # steps in all
    long long began             # ns


cdef Pace begin_at(Weights w, idx T, idx rows, double passes) noexcept:
    """The first stretch of a call that takes `passes` times the work of a forward step, T times."""
    cdef Pace p
    cdef idx H = w.hidden_size
    cdef double step = passes * (rows * H * (w.cell.gates * (H + w.input_size) + 32.0 * w.cell.slots) + 256)
    p.s0, p.T = 0, T
    p.s1 = stretch_end(&p, FIRST_STRETCH / step)
    p.began = rnn_now()
    return p


cdef inline idx stretch_end(const Pace *p, double steps) noexcept:
    return p.T if steps >= p.T - p.s0 else p.s0 + max(1, <idx>steps)


cdef bint next_stretch(Pace *p) except -1:
    """Go to the next stretch; False after the last. Between two, a pending signal's handler runs and may raise."""
    cdef long long now, spent
    cdef double steps
    if p.s1 >= p.T:
        return False
    PyErr_CheckSignals()
    now = rnn_now()
    spent = max(1, now - p.began)
    steps = (p.s1 - p.s0) * min(4.0, max(0.25, <double>STRETCH_NS / spent))
    p.s0, p.began = p.s1, now
    p.s1 = stretch_end(p, steps)
    return True


cdef struct Part:               # one thread's part of a call
    int thread, threads
    bint by_units
    idx rows, units             # the whole
    idx row0, row1, unit0, unit1


cdef inline Part part_of(const Plan *plan, idx rows, idx units, int thread, int threads) noexcept nogil:
    cdef Part p
    p.thread, p.threads, p.by_units = thread, threads, plan.by_units and threads > 1
    p.rows, p.units = rows, units
    p.row0, p.row1, p.unit0, p.unit1 = 0, rows, 0, units
    if p.by_units:
        share(units, plan.multiple, thread, threads, &p.unit0, &p.unit1)
    else:
        share(rows, 1, thread, threads, &p.row0, &p.row1)
    return p


cdef inline bint meet(rnn_barrier *b, Part *p, bint may_shrink) noexcept nogil:
    """Wait for the others. True: this thread is done, since thread 0 finishes the call alone."""
    if not rnn_barrier_wait(b, p.threads, may_shrink) or p.threads == 1:
        return False
    p.threads, p.by_units = 1, False
    p.row0, p.row1, p.unit0, p.unit1 = 0, p.rows, 0, p.units
    return p.thread != 0


cdef inline idx row_bytes(idx bytes) noexcept nogil:
    """Row stride of gates and their gradients: rows 2 KB apart would meet in a few sets of L1."""
    return bytes + 64 if bytes % 2048 == 0 else bytes


cdef inline void share(idx n, idx multiple, int thread, int threads, idx *start, idx *stop) noexcept nogil:
    """Thread's part of 0 .. n in whole multiples, as even as it goes."""
    cdef idx blocks = (n + multiple - 1) // multiple
    start[0] = min(n, blocks * thread // threads * multiple)
    stop[0] = min(n, blocks * (thread + 1) // threads * multiple)
