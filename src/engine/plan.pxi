# How a call is shared out.  Sharing rows needs no barrier inside a step, since a row meets no other;
# sharing hidden units needs one a step, and is what helps when there are few rows.


cdef struct Plan:
    int threads
    bint by_units
    idx chunk                   # steps whose products over time are made at once


cdef Plan make_plan(Weights w, idx T, idx rows, double passes) noexcept:
    """Threads for `passes` times the flops of a forward step, T times.

    Thresholds measured in benchmarks/README.md: below them one thread is faster.
    """
    cdef Plan p
    cdef idx H = w.hidden_size
    cdef double step = 2.0 * rows * w.cell.gates * H * (H + w.input_size) * passes
    cdef int n = rnncore_get_num_threads()
    p.threads, p.by_units = 1, False
    p.chunk = max(1, min(T, (48 + rows - 1) // rows))
    if n > 1 and step * T > 4e6:
        if rows >= 4 * n:
            p.threads = n
        elif step > 2e5:
            p.by_units = True
            p.threads = <int>min(n, max(1, H // (4 * w.k.lanes)))
    return p


cdef inline void share(idx n, idx multiple, int thread, int threads, idx *start, idx *stop) noexcept nogil:
    """Thread's part of 0 .. n in whole multiples, as even as it goes."""
    cdef idx blocks = (n + multiple - 1) // multiple
    start[0] = min(n, blocks * thread // threads * multiple)
    stop[0] = min(n, blocks * (thread + 1) // threads * multiple)
