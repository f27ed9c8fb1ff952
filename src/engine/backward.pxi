# Back-propagation through time.
#
# The steps are walked against the direction of the layer, in chunks. In each chunk the steps come first: the gradients
# of the gates and of the state before. Then the gradients of the input and of the weights are computed for the whole
# chunk.
#
# Sums over time and batch have one accumulator for each element and run in the order of the walk, within a step from
# the last row to the first (a reversed layer: from the first to the last). So neither threads nor chunks nor the
# windows of a checkpointed pass change a bit.


cdef struct Backward:
    const rc_kernels *k
    const rc_cell *cell
    const rc_pack *xt_pack
    const rc_pack *ht_pack
    idx T, B, R, I, H, item     # R = K * B rows of cotangents
    idx s0, s1                  # the steps to compute now, counted from where the walk begins
    Array x, h, slots, c, grad_out, delta, total_h, total_c, grad_x
    char *h0
    char *c0
    char *dh
    char *dc
    char *daux
    char *aux                   # r * h of the chunk, for the weight gradient of a second stage; NULL: not needed
    const idx *lengths
    bint reverse, accumulate, overwrite
    bint delta_wanted           # `delta` is the caller's array of all steps, not one chunk of scratch
    char *grad_w_ih
    char *grad_w_hh
    char *sums                  # [slots][H]: sums of delta, for the biases; NULL: not wanted
    rc_pack packed_x, packed_h
    Plan plan
    rc_barrier barrier


def backward(walk):
    """Back-propagate through the steps of one layer and direction. `walk` is a `passes.Walk`.

    Its arrays are as `forward` takes and leaves them; `delta` has rows that are evenly spaced and contiguous, `grad_x`
    rows that are evenly spaced, and the others are contiguous. `Weights.pack_backward` must have been called before.
    """
    cdef Backward job
    cdef Pace pace
    cdef Array a
    cdef Weights w = walk.weights
    cdef list initial, carry = walk.carry
    steps, b_ih, b_hh = walk.steps, walk.grad_b_ih, walk.grad_b_hh
    initial = steps.initial
    x = steps.x
    cdef idx T = x.shape[0], B = x.shape[1], R = carry[0].shape[carry[0].ndim - 2]
    cdef idx H = w.hidden_size, item = w.item, rows, row
    cdef size_t at_delta, at_x, at_h, at_aux, at_sums
    cdef Memory scratch
    if T == 0 or R == 0:
        return
    job.k, job.cell, job.xt_pack, job.ht_pack = w.k, w.cell, &w.xt, w.ht
    job.T, job.B, job.R, job.I, job.H, job.item = T, B, R, w.input_size, H, item
    job.reverse, job.accumulate, job.overwrite = steps.reverse, walk.add_to_grad_x, walk.overwrite_parameters
    take(x, &job.x, 2)
    take(steps.h, &job.h, 2)
    take(steps.slots, &job.slots, 2)
    take(steps.c, &job.c, 2)
    take(walk.grad_out, &job.grad_out, 2)
    take(walk.delta, &job.delta, 2)
    job.delta_wanted = job.delta.p != NULL
    take(walk.total_h, &job.total_h, 1)
    take(walk.total_c, &job.total_c, 1)
    take(walk.grad_x, &job.grad_x, 2)
    job.h0, job.c0 = state_at(initial, 0, steps.position), state_at(initial, 1, steps.position)
    job.dh, job.dc = state_at(carry, 0, walk.position), state_at(carry, 1, walk.position)
    take(steps.lengths, &a, 0)
    job.lengths = <const idx *>a.p
    take(walk.grad_w_ih, &a, 0)
    job.grad_w_ih = a.p
    take(walk.grad_w_hh, &a, 0)
    job.grad_w_hh = a.p

    job.plan = make_plan(w, T, R, 3 if job.grad_w_ih != NULL else 2, BACKWARD_CHUNK)
    rows = job.plan.chunk * R
    job.packed_x = w.shape(job.I, rows, 1)
    job.packed_h = w.shape(H, rows, 1)
    row = row_bytes(job.cell.slots * H * item)
    at_delta = rounded(R * H * item)
    at_x = at_delta + (0 if job.delta_wanted else rounded(rows * row))
    at_h = at_x + (w.bytes_of(&job.packed_x) if job.grad_w_ih != NULL else 0)
    at_aux = at_h + (w.bytes_of(&job.packed_h) if job.grad_w_ih != NULL else 0)
    at_sums = at_aux + (rounded(rows * H * item) if job.cell.stages > 1 and job.grad_w_ih != NULL else 0)
    scratch = memory(at_sums + (job.cell.slots * H * item if b_ih is not None else 0), SCRATCH)
    try:
        job.daux = scratch.p
        job.aux = scratch.p + at_aux if job.cell.stages > 1 and job.grad_w_ih != NULL else NULL
        job.packed_x.w, job.packed_h.w = scratch.p + at_x, scratch.p + at_h
        if not job.delta_wanted:
            job.delta.p = scratch.p + at_delta
            job.delta.stride[0], job.delta.stride[1] = R * row, row
        job.sums = scratch.p + at_sums if b_ih is not None else NULL
        if b_ih is not None:
            memset(job.sums, 0, job.cell.slots * H * item)
            if not job.overwrite:
                copy_sums(w, job.sums, b_ih, b_hh, False)
        pace = first_stretch(w, T, R, 3 if job.grad_w_ih != NULL else 2)
        while True:
            job.s0, job.s1 = pace.s0, pace.s1
            memset(&job.barrier, 0, sizeof(job.barrier))
            with nogil:
                rc_pool_run(backward_thread, &job, job.plan.threads)
            if not next_stretch(&pace):
                break
        if b_ih is not None:
            copy_sums(w, job.sums, b_ih, b_hh, True)
    finally:
        give_back(scratch)


cdef int copy_sums(Weights w, char *sums, b_ih, b_hh, bint out) except -1:
    """Copy the sums of the slots' gradients to the gradients of the biases (out), or from there, to go on adding."""
    cdef Array a
    cdef idx size = w.hidden_size * w.item
    cdef char *slot
    cdef char *block
    cdef int g, of_h
    for of_h in range(2):
        take(b_hh if of_h else b_ih, &a, 0)
        for g in range(w.cell.blocks):
            slot, block = sums + slot_of(w.cell, of_h, g) * size, a.p + block_of(w.cell, of_h, g) * size
            if out:
                memcpy(block, slot, size)
            else:
                memcpy(slot, block, size)
    return 0


cdef inline char *delta_at(const Backward *j, idx t, idx chunk_start) noexcept nogil:
    return j.delta.p + (t if j.delta_wanted else t - chunk_start) * j.delta.stride[0]


cdef void backward_thread(void *context, int thread, int threads) noexcept nogil:
    """One thread's part of the job's steps, which may begin and end inside a chunk.

    The products of a chunk are computed in the stretch that reaches its last step.
    """
    cdef Backward *j = <Backward *>context
    cdef Share mine = share_of(&j.plan, j.R, j.H, thread, threads)
    cdef idx s0, s1 = j.s0, start, stop, low
    while s1 < j.s1:
        s0 = s1
        start = s0 // j.plan.chunk * j.plan.chunk
        stop = min(j.T, start + j.plan.chunk)
        s1 = min(j.s1, stop)
        low = start if j.reverse else j.T - stop        # the chunk's first step in time
        if walk_steps(j, s0, s1, low, &mine):
            return
        if s1 < stop:
            continue
        if j.grad_w_ih != NULL:
            pack_chunk(j, low, low + stop - start, &mine)
        if meet(&j.barrier, &mine, True):       # delta, and the packed x and h, are complete
            return
        if j.grad_x.p != NULL:
            input_gradient(j, low, low + stop - start, &mine)
        if j.grad_w_ih != NULL:
            weight_gradients(j, low, low + stop - start, j.overwrite and start == 0, &mine)
        if meet(&j.barrier, &mine, True):       # and read by all, before the next chunk overwrites them
            return


cdef bint walk_steps(Backward *j, idx s0, idx s1, idx low, Share *mine) noexcept nogil:
    """Steps s0 .. s1 of the walk, in the chunk that begins at `low`: the equations of each stage, then its product.

    True: this thread is done.
    """
    cdef const rc_cell *cell = j.cell
    cdef const rc_stage *stage
    cdef idx H = j.H, B = j.B, item = j.item, s, t, before
    cdef Array *state = &j.c if cell.states == 2 else &j.h      # the one that the equations read
    cdef char *first = j.c0 if cell.states == 2 else j.h0
    cdef rc_step step
    cdef StageProduct r[RC_MAX_STAGES]
    cdef rc_product *p
    cdef int k
    for k in range(cell.stages):
        p = &r[k].p
        p[0] = product_with(&j.ht_pack[k])
        p.lda, p.ldc = j.delta.stride[1] // item, H
        p.adds = not cell.stage[k].from_aux     # to what the equations passed on to the state
        r[k].prepared[0].count = r[k].prepared[1].count = 0
    memset(&step, 0, sizeof(step))
    step.h_size, step.tape_rows = H, B
    step.lengths, step.reverse = j.lengths, j.reverse
    step.ldslots, step.lddelta = j.slots.stride[1] // item, j.delta.stride[1] // item
    step.first, step.ldstate = first, state.stride[1] // item
    step.dh, step.dc, step.daux = j.dh, j.dc, j.daux
    step.ldgout = j.grad_out.stride[1] // item if j.grad_out.p != NULL else 0
    for s in range(s0, s1):
        t = s if j.reverse else j.T - 1 - s
        before = t + 1 if j.reverse else t - 1
        step.t = t
        step.slots = j.slots.p + t * j.slots.stride[0] if j.slots.p != NULL else NULL
        if 0 <= before < j.T:
            step.prev, step.ldprev = state.p + before * state.stride[0], state.stride[1] // item
        else:
            step.prev, step.ldprev = first, H
        step.state = state.p + t * state.stride[0]
        step.grad_out = j.grad_out.p + t * j.grad_out.stride[0] if j.grad_out.p != NULL else NULL
        step.delta = delta_at(j, t, low)
        step.total_h = j.total_h.p + t * j.total_h.stride[0] if j.total_h.p != NULL else NULL
        step.total_c = j.total_c.p + t * j.total_c.stride[0] if j.total_c.p != NULL else NULL
        step.aux_out = j.aux + (t - low) * j.R * H * item if j.aux != NULL else NULL
        for k in range(cell.stages - 1, -1, -1):
            stage = &cell.stage[k]
            stage.backward(&step, mine.row0, mine.row1, mine.unit0, mine.unit1)
            if mine.by_units and meet(&j.barrier, mine, True):      # the product reads delta of all units
                return True
            p = &r[k].p
            p.downward = t & 1
            p.prepared = &r[k].prepared[p.downward]
            p.a = <char *>step.delta + stage.slot * H * item
            p.c = j.daux if stage.from_aux else j.dh
            j.k.product(p, mine.row0, mine.row1, mine.unit0, mine.unit1)
    return False


cdef void input_gradient(Backward *j, idx low, idx high, const Share *mine) noexcept nogil:
    cdef rc_product p = product_with(j.xt_pack)
    cdef idx row0, row1, rows = (high - low) * j.R
    split(rows, j.k.tile_rows, mine.thread, mine.threads, &row0, &row1)
    p.a = delta_at(j, low, low) + j.cell.x_slot * j.H * j.item
    p.lda = j.delta.stride[1] // j.item
    p.c, p.ldc = j.grad_x.p + low * j.grad_x.stride[0], j.grad_x.stride[1] // j.item
    p.adds = j.accumulate
    j.k.product(&p, row0, row1, 0, j.I)


cdef void pack_chunk(Backward *j, idx low, idx high, const Share *mine) noexcept nogil:
    """Pack x, and h before each step, in the order of the walk. Each thread packs its share of the steps."""
    cdef idx B = j.B, H = j.H, item = j.item, n, n0, n1, t, last, b
    cdef idx sign = 1 if j.reverse else -1
    cdef bint starts
    cdef char *src
    j.packed_x.k = j.packed_h.k = (high - low) * B
    split(high - low, 1, mine.thread, mine.threads, &n0, &n1)
    t = low + n0 if j.reverse else high - 1 - n0
    pack_steps(j, &j.packed_x, &j.x, n0, n1, t)
    if j.reverse and j.lengths != NULL:                 # every row begins at its own end
        for n in range(n0, n1):
            for b in range(B):
                src = j.h0 + b * H * item
                if low + n + 1 < min(j.T, j.lengths[b]):    # in a window, a row may continue beyond it
                    src = j.h.p + (low + n + 1) * j.h.stride[0] + b * j.h.stride[1]
                j.k.pack_rows(&j.packed_h, n * B + b, 1, src, H)
        return
    last = t + sign * (n1 - n0)                         # before the last of these steps
    starts = n1 > n0 and (last < 0 or last >= j.T)
    pack_steps(j, &j.packed_h, &j.h, n0, n1 - starts, t + sign)
    if starts:
        j.k.pack_rows(&j.packed_h, (n1 - 1) * B, B, j.h0 if j.reverse else j.h0 + (B - 1) * H * item, sign * H)


cdef inline void pack_steps(const Backward *j, const rc_pack *pack, const Array *a, idx n0, idx n1,
                            idx t) noexcept nogil:
    """Pack steps n0 .. n1 of the chunk, counted as the walk goes; the first of them is step t of the array."""
    cdef idx sign = 1 if j.reverse else -1, B = j.B, n
    cdef char *src = a.p + t * a.stride[0] + (0 if j.reverse else B - 1) * a.stride[1]  # the first row of the walk
    if B == 1 or a.stride[0] == B * a.stride[1]:                # all rows of all steps are evenly spaced
        j.k.pack_rows(pack, n0 * B, (n1 - n0) * B, src, sign * (a.stride[0] // B // j.item))
        return
    for n in range(n0, n1):
        j.k.pack_rows(pack, n * B, B, src + sign * (n - n0) * a.stride[0], sign * (a.stride[1] // j.item))


cdef void weight_gradients(Backward *j, idx low, idx high, bint overwrite, Share *mine) noexcept nogil:
    """The gradients of both weight matrices and the sums for the biases: of every block, this thread's rows."""
    cdef const rc_cell *cell = j.cell
    cdef idx H = j.H, item = j.item, slots = cell.slots, rows = (high - low) * j.B, m0, m1
    cdef idx first = 0 if j.reverse else rows - 1
    cdef char *d = delta_at(j, low, low) + first * j.delta.stride[1]
    cdef rc_weight_gradient o
    cdef int s, g, slot, block = 0
    split(H, j.k.lanes, mine.thread, mine.threads, &m0, &m1)
    o.ldd = j.delta.stride[1] // item if j.reverse else -(j.delta.stride[1] // item)
    o.ldc[0], o.ldc[1], o.overwrite = j.I, H, overwrite
    for slot in range(slots if j.sums != NULL else 0):
        j.k.column_sums(j.sums + slot * H * item, d + slot * H * item, o.ldd, rows, m0, m1)
    o.pack[1] = NULL
    for slot in range(cell.stage[0].slot):          # slots that only the input adds to
        of_slot(j, &o, d, slot)
        j.k.weight_gradient(&o, m0, m1)
    o.pack[1] = &j.packed_h
    for s in range(cell.stages):
        if cell.stage[s].from_aux:
            pack_aux(j, rows, mine)
        for g in range(cell.stage[s].groups):
            of_slot(j, &o, d, cell.stage[s].slot + g)
            o.c[1] = j.grad_w_hh + cell.h_order[block] * H * H * item
            j.k.weight_gradient(&o, m0, m1)
            block += 1


cdef inline void of_slot(const Backward *j, rc_weight_gradient *o, char *d, int slot) noexcept nogil:
    """Point `o` at the gradients of a slot and, if the input adds to that slot, at the block of w_ih for it."""
    cdef int g = slot - j.cell.x_slot
    o.d = d + slot * j.H * j.item
    o.pack[0] = &j.packed_x if 0 <= g < j.cell.blocks else NULL
    if o.pack[0] != NULL:
        o.c[0] = j.grad_w_ih + j.cell.x_order[g] * j.H * j.I * j.item


cdef void pack_aux(Backward *j, idx rows, Share *mine) noexcept nogil:
    """Pack the input of the second stage, r * h, in the place of h, after all threads have used h."""
    cdef idx n0, n1, H = j.H, first
    meet(&j.barrier, mine, False)
    split(rows, 1, mine.thread, mine.threads, &n0, &n1)
    first = n0 if j.reverse else rows - 1 - n0
    j.k.pack_rows(&j.packed_h, n0, n1 - n0, j.aux + first * H * j.item, H if j.reverse else -H)
    meet(&j.barrier, mine, False)
