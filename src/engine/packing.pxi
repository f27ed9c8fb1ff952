# Packing the matrices of one layer and direction for the kernels, shared out over threads.


cdef enum:
    # Bytes of weights from which several threads pack them: 0.1 ms of work, as for the thresholds in plan.pxi.
    PACK_ON_THREADS = 1 << 20


cdef struct Packing:
    const rc_kernels *k
    const rc_cell *cell
    idx item, I, H, P
    rc_pack *x
    rc_pack *h                  # one for each stage
    rc_pack *r                  # of the projection
    bint transposed             # pack the transposes, for backward
    char *w_ih
    char *w_hh
    char *w_hr                  # NULL: there is no projection, and P is H


cdef inline size_t bytes_of_pack(const rc_pack *p, const rc_kernels *k) noexcept nogil:
    return rounded(k.pack_size(p.n, p.k, p.groups) * (k.bits // 8))


cdef inline char *place_pack(rc_pack *p, const rc_kernels *k, char *at) noexcept nogil:
    """Let a matrix be packed at this place; returns where the next one can be."""
    p.w = at
    return at + bytes_of_pack(p, k)


cdef void pack_on_threads(Packing *job) noexcept:
    cdef idx size = job.H * job.cell.blocks * (job.I + job.P) * job.item
    rc_pool_run(packing_thread, job, rnncore_get_num_threads() if size > PACK_ON_THREADS else 1)


cdef void packing_thread(void *context, int thread, int threads) noexcept nogil:
    cdef Packing *j = <Packing *>context
    cdef int s, block = 0, only = 0
    pack_blocks(j, j.x, j.w_ih, j.H, j.I, j.cell.x_order, j.cell.blocks, thread, threads)
    for s in range(j.cell.stages):
        pack_blocks(j, &j.h[s], j.w_hh, j.H, j.P, j.cell.h_order + block, j.cell.stage[s].groups, thread, threads)
        block += j.cell.stage[s].groups
    if j.w_hr != NULL:
        pack_blocks(j, j.r, j.w_hr, j.P, j.H, &only, 1, thread, threads)


cdef extern from *:
    """
    /* Any thread may set a flag, and any may look at it. */
    static void rc_set_flag(int *flag) { __atomic_store_n(flag, 1, __ATOMIC_RELAXED); }
    static int rc_is_set(const int *flag) { return __atomic_load_n(flag, __ATOMIC_RELAXED); }
    """
    void set_flag "rc_set_flag" (int *flag) noexcept nogil
    bint is_set "rc_is_set" (const int *flag) noexcept nogil


cdef struct Comparison:
    Packing packing
    char *scratch               # for each thread one panel
    size_t of_thread
    int threads
    int differs                 # a flag


cdef idx panel_bytes(const Packing *j, const rc_pack *pack) noexcept nogil:
    return pack.k * j.k.lanes * (pack.groups if pack.groups > 1 else RC_PANEL_VECTORS) * j.item


cdef void comparison_thread(void *context, int thread, int threads) noexcept nogil:
    cdef Comparison *c = <Comparison *>context
    cdef Packing *j = &c.packing
    cdef char *scratch = c.scratch + thread * c.of_thread
    cdef int s, block = 0, only = 0
    compare_blocks(c, j.x, j.w_ih, j.H, j.I, j.cell.x_order, j.cell.blocks, scratch, thread, threads)
    for s in range(j.cell.stages):
        compare_blocks(c, &j.h[s], j.w_hh, j.H, j.P, j.cell.h_order + block, j.cell.stage[s].groups, scratch, thread,
                       threads)
        block += j.cell.stage[s].groups
    if j.w_hr != NULL:
        compare_blocks(c, j.r, j.w_hr, j.P, j.H, &only, 1, scratch, thread, threads)


cdef void compare_blocks(Comparison *c, const rc_pack *pack, const char *w, idx rows, idx width, const int *order,
                         int blocks, char *scratch, int thread, int threads) noexcept nogil:
    """Compare this thread's panels with what some blocks of so many rows, `width` wide, give."""
    cdef const Packing *j = &c.packing
    cdef const void *src[RC_MAX_SLOTS]
    cdef idx units = (1 if pack.groups > 1 else RC_PANEL_VECTORS) * j.k.lanes, panel = panel_bytes(j, pack)
    cdef idx size = j.k.pack_size(pack.n, pack.k, pack.groups) * j.item, start, stop, i
    cdef rc_pack one = pack[0]
    cdef int g
    for g in range(blocks):
        src[g] = w + order[g] * rows * width * j.item
    split((rows + units - 1) // units, 1, thread, threads, &start, &stop)
    for i in range(start, stop):
        if is_set(&c.differs):
            return
        one.w = <void *>(<size_t>scratch - <size_t>(i * panel))     # panel i is then at the beginning of the scratch
        j.k.pack(&one, src, width, i * units, min(rows, (i + 1) * units))
        if memcmp(scratch, <char *>pack.w + i * panel, min(panel, size - i * panel)) != 0:
            set_flag(&c.differs)


cdef void pack_blocks(const Packing *j, rc_pack *pack, const char *w, idx rows, idx width, const int *order,
                      int blocks, int thread, int threads) noexcept nogil:
    """Pack this thread's part of some blocks of so many rows, `width` wide."""
    cdef const void *src[RC_MAX_SLOTS]
    cdef idx start, stop
    cdef int g
    for g in range(blocks):
        src[g] = w + order[g] * rows * width * j.item
    if j.transposed:
        split(rows, 1, thread, threads, &start, &stop)
        for g in range(blocks):
            j.k.pack_rows(pack, g * rows + start, stop - start, <char *>src[g] + start * width * j.item, width)
    else:
        split(rows, RC_PANEL_VECTORS * j.k.lanes, thread, threads, &start, &stop)
        j.k.pack(pack, src, width, start, stop)
