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
