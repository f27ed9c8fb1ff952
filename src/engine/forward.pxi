# Forward through time.


cdef struct StageProduct:         # the product of a stage, all but what each step fills in
    rc_product p
    rc_prepared prepared[2]     # upward, downward
    idx units_at_once           # so few that their pre-activations are still in L1 when the equations read them


cdef struct Products:           # with the input, and with the state in each stage
    rc_product of_x
    rc_prepared prepared
    StageProduct of_h[RC_MAX_STAGES]


cdef struct Forward:
    const rc_kernels *k
    const rc_cell *cell
    const rc_pack *x_pack
    const rc_pack *h_pack
    char *bias
    idx T, B, H, item
    idx s0, s1                  # the steps to compute now, counted from where the pass begins
    Array x, out, slots, c_out  # slots: the tape's, or scratch for one chunk
    const idx *lengths
    bint reverse, slots_wanted
    char *h[2]                  # carried h, before the step and after it, in turns
    char *c
    char *aux
    Plan plan
    rc_barrier barrier
    Products *products          # prepared once for many calls; NULL: each thread prepares its own


def forward(Weights w, x, out, list states, idx position=0, *, slots=None, c_out=None, lengths=None,
            bint reverse=False):
    """Run one layer and direction over time.

    Parameters
    ----------
    w : Weights
    x : (T, B, I), last axis contiguous
    out : (T, B, H), last axis contiguous: the outputs are written here
    states : h, and c where the cell has it, each (n, B, H) or (B, H), contiguous: in and out
    position : which of the n
    slots : (T, B, slots, H), rows contiguous, or None: not wanted
    c_out : (T, B, H), contiguous, or None; given together with `slots` where the cell has c
    lengths : (B,) of Py_ssize_t, or None
    """
    cdef Forward job
    cdef Pace pace
    cdef idx B, T
    cdef size_t state, chunk, row
    cdef Memory scratch
    T, B = x.shape[0], x.shape[1]
    if T == 0 or B == 0:
        return
    job.k, job.cell, job.x_pack, job.h_pack, job.bias = w.k, w.cell, &w.x, w.h, w.bias
    job.T, job.B, job.H, job.item = T, B, w.hidden_size, w.item
    job.reverse = reverse
    job.slots_wanted = slots is not None
    job.plan = make_plan(w, T, B, 1, FORWARD_CHUNK)
    job.products = NULL
    take(x, &job.x, 2)
    take(out, &job.out, 2)
    take(slots, &job.slots, 2)
    take(c_out, &job.c_out, 2)
    cdef Array a
    job.h[0], job.c = state_at(states, 0, position), state_at(states, 1, position)
    take(lengths, &a, 0)
    job.lengths = <const idx *>a.p

    state = rounded(B * job.H * job.item)
    row = row_bytes(job.cell.slots * job.H * job.item)
    chunk = rounded(job.plan.chunk * B * row)
    scratch = memory(2 * state + (0 if job.slots_wanted else chunk), SCRATCH)
    job.h[1], job.aux = scratch.p, scratch.p + state
    if not job.slots_wanted:
        job.slots.p = scratch.p + 2 * state
        job.slots.stride[0], job.slots.stride[1] = B * row, row
    pace = first_stretch(w, T, B, 1)
    try:
        while True:
            job.s0, job.s1 = pace.s0, pace.s1
            memset(&job.barrier, 0, sizeof(job.barrier))
            with nogil:
                rc_pool_run(forward_thread, &job, job.plan.threads)
            if not next_stretch(&pace):
                break
    finally:
        give_back(scratch)


cdef inline char *slots_at(const Forward *j, idx t, idx chunk_start) noexcept nogil:
    return j.slots.p + (t if j.slots_wanted else t - chunk_start) * j.slots.stride[0]


cdef void forward_thread(void *context, int thread, int threads) noexcept nogil:
    """One thread's rows or units, over the job's steps."""
    cdef Forward *j = <Forward *>context
    cdef Share mine = share_of(&j.plan, j.B, j.H, thread, threads)
    cdef idx H = j.H, T = j.T, item = j.item, s, s0, s1 = j.s0, t, low, row
    cdef int now = 0
    cdef rc_step step
    cdef Products own
    cdef Products *products = j.products
    if products == NULL:
        products = &own
        set_up_products(j, &mine, products)
    memset(&step, 0, sizeof(step))
    step.h_size, step.lengths, step.slots_wanted = H, j.lengths, j.slots_wanted
    step.ldslots, step.ldprev, step.ldout = j.slots.stride[1] // item, H, j.out.stride[1] // item
    step.c, step.aux = j.c, j.aux
    while s1 < j.s1:
        s0, s1 = s1, min(j.s1, s1 + j.plan.chunk)
        low = T - s1 if j.reverse else s0
        project(j, low, low + s1 - s0, products, &mine)
        for s in range(s0, s1):
            t = T - 1 - s if j.reverse else s
            step.t = t
            step.slots = slots_at(j, t, low)
            step.prev, step.h = j.h[now], j.h[1 - now]
            step.h_out = j.out.p + t * j.out.stride[0]
            step.c_out = j.c_out.p + t * j.c_out.stride[0] if j.c_out.p != NULL else NULL
            if recur(j, &step, products.of_h, &mine):
                return
            now = 1 - now
    if now == 1:                # an odd number of steps: the final h goes to the caller's array
        for row in range(mine.row0, mine.row1):
            memcpy(j.h[0] + (row * H + mine.unit0) * item, j.h[1] + (row * H + mine.unit0) * item,
                   (mine.unit1 - mine.unit0) * item)


cdef inline rc_product product_with(const rc_pack *pack) noexcept nogil:
    """A product of one step whose sums start from zero; the arrays are still to be filled in."""
    cdef rc_product p
    memset(&p, 0, sizeof(p))
    p.pack, p.steps = pack, 1
    return p


cdef void project(Forward *j, idx low, idx high, Products *products, const Share *mine) noexcept nogil:
    """W_ih x + bias for the steps low .. high, into the slots that the input adds to."""
    cdef rc_product *p = &products.of_x
    cdef idx item = j.item, row0, row1
    p.a, p.c = j.x.p + low * j.x.stride[0], slots_at(j, low, low) + j.cell.x_slot * j.H * item
    p.lda, p.steps = j.x.stride[1] // item, high - low
    p.step_a, p.step_c = j.x.stride[0] // item, j.slots.stride[0] // item
    row0, row1 = mine.row0, mine.row1
    if row1 - row0 == j.B and (j.B == 1 or j.x.stride[0] == j.B * j.x.stride[1]):   # evenly spaced rows
        row0, row1, p.steps = 0, (high - low) * j.B, 1
        p.lda = j.x.stride[0] // j.B // item
    j.k.product(p, row0, row1, mine.unit0, mine.unit1)


cdef void set_up_products(const Forward *j, const Share *mine, Products *products) noexcept nogil:
    """Fill in what the products of all steps have in common."""
    cdef const rc_stage *stage
    cdef rc_product *p = &products.of_x
    cdef StageProduct *r
    cdef idx units
    cdef int s, g
    p[0] = product_with(j.x_pack)
    p.ldc, p.gc, p.prepared = j.slots.stride[1] // j.item, j.H, &products.prepared
    p.prepared.count = 0
    for g in range(j.cell.blocks):
        p.bias[g] = j.bias + (j.cell.x_slot + g) * j.H * j.item
    for s in range(j.cell.stages):
        stage = &j.cell.stage[s]
        r = &products.of_h[s]
        p = &r.p
        p[0] = product_with(&j.h_pack[s])
        p.lda, p.ldc, p.gc = j.H, j.slots.stride[1] // j.item, j.H
        # the slots that already hold the product with the input
        p.adds = max(0, min(stage.groups, j.cell.x_slot + j.cell.blocks - stage.slot))
        for g in range(stage.groups):
            p.bias[g] = j.bias + (stage.slot + g) * j.H * j.item
        units = (1 if stage.groups > 1 else RC_PANEL_VECTORS) * j.k.lanes
        r.units_at_once = max(1, RC_L1_BYTES // (max(1, mine.row1 - mine.row0) * units * stage.groups * j.item)) * units
        r.prepared[0].count = r.prepared[1].count = 0


cdef bint recur(Forward *j, rc_step *step, StageProduct *r, Share *mine) noexcept nogil:
    """One step: the product of each stage, and its equations on some units while their sums are in cache.

    Threads that share the hidden units wait for each other after each stage. True: this thread is done.
    """
    cdef const rc_stage *stage
    cdef rc_product *p
    cdef idx size, parts, n, u, stop
    cdef int s
    for s in range(j.cell.stages):
        stage = &j.cell.stage[s]
        p = &r[s].p
        size = r[s].units_at_once
        p.a = step.prev
        if stage.from_aux:
            p.a = step.aux
        p.c = <char *>step.slots + stage.slot * j.H * j.item
        p.downward = step.t & 1         # up and down in turns, so that a step begins with weights that are in cache
        parts = 1 if mine.unit1 - mine.unit0 <= size else (mine.unit1 - mine.unit0 + size - 1) // size
        p.prepared = &r[s].prepared[p.downward] if parts == 1 else NULL
        for n in range(parts):
            u = mine.unit0 + (parts - 1 - n if p.downward else n) * size
            stop = min(mine.unit1, u + size)
            j.k.product(p, mine.row0, mine.row1, u, stop)
            stage.forward(step, mine.row0, mine.row1, u, stop)
        if mine.by_units and meet(&j.barrier, mine, True):
            return True
    return False
