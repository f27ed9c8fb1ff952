# Back-propagation through time.
#
# The steps are walked against the direction of the layer, in chunks. In each chunk the steps come first: the gradients
# of the gates and of the state before. Then the gradients of the input and of the weights are computed for the whole
# chunk.
#
# Where a chunk ends, and the order in which sums over time and batch are taken, is told in sums.pxi.
#
# One cotangent on rows of unequal length is stored as the tape is, the active rows of each step alone. Several are
# (T, K·B, …) in the caller's order, and the rows without the step are held: there are many cotangents on few rows.


cdef struct Backward:
    const rc_kernels *k
    const rc_cell *cell
    const rc_pack *xt_pack
    const rc_pack *ht_pack
    const rc_pack *rt_pack      # the projection's; NULL: there is none, and P is H
    const rc_variant *variant   # NULL: the cell is no variant
    idx T, B, R, I, H, P, item  # R = K * B rows of cotangents
    Rows tape                   # the rows of the tape's steps
    Rows rows                   # the rows of the cotangents' steps
    const idx *tape_row         # which row of the tape's steps holds a row of the batch; NULL: the same
    const idx *grad_out_row     # grad_out is (T, B, P) in an order of its own: which of its rows is a row's; NULL: in ours
    const idx *grad_x_row       # the same of grad_x, which is then written to `grad_x_chunk` first, for one chunk
    char *grad_x_chunk
    bint clears                 # whether zeros are wanted past the rows' ends of grad_x
    Resets resets
    unsigned char *was_reset    # B marks for each thread; zeros: H zeros
    char *zeros
    idx s0, s1                  # the steps to compute now, counted from where the walk begins
    Array x, h, slots, c, grad_out, delta, total_h, total_c, grad_x
    char *h0
    char *c0
    char *dh
    char *dc
    char *daux                  # of two stages, or of m before a projection
    char *aux                   # r * h, or m, of the chunk, for the weight gradient; NULL: not needed
    char *total                 # with a projection, dL/dh of the chunk, where total_h is not wanted
    char *peephole_terms        # of the chunk; NULL: not needed
    idx chunk_start             # of the chunk in which s0 lies
    bint reverse, accumulate
    bint delta_wanted           # `delta` is the caller's array of all steps, not one chunk of scratch
    const Summing *sums         # the gradients of weights and biases; NULL: not wanted
    Numbering numbering         # of the rows of all steps of the pass, of which these begin with step `first_step`
    idx first_step
    rc_pack packed_x, packed_h, packed_aux      # the last two, one after the other, in the same place
    Plan plan
    rc_barrier barrier


def backward(walk):
    """Back-propagate through the steps of one layer and direction. `walk` is a `passes.Walk`.

    Its arrays are as `forward` takes and leaves them; `delta` has rows that are evenly spaced and contiguous, `grad_x`
    rows that are evenly spaced, and the others are contiguous. `Weights.pack_backward` must have been called before.
    """
    cdef Backward job
    cdef Array a
    cdef Weights w = packed_weights(walk.weights, True)
    cdef Sums sums = walk.sums
    cdef list initial, carry = walk.carry
    steps = walk.steps
    initial = steps.initial
    x = steps.x
    cdef idx T = x.shape[0], B = x.shape[1], R = carry[0].shape[carry[0].ndim - 2]
    set_up_walk(&job, w, R, steps.reverse)
    job.tape = take_batch(steps.batch, B)
    if steps.batch is not None:
        T, B = steps.batch.steps, job.tape.B
    job.T, job.B, job.rows = T, B, job.tape
    if not walk.active_rows_alone:
        job.rows.B, job.rows.starts, job.rows.lengths = R, NULL, NULL
        if steps.batch is not None:
            take(steps.batch.rank, &a, 0)
            job.tape_row = <const idx *>a.p
    if T == 0 or rows_between(&job.rows, 0, T) == 0:
        if walk.clears_grad_x:
            clear(walk.grad_x, steps.batch)
        return
    job.accumulate = walk.add_to_grad_x
    job.resets = take_resets(steps.resets, steps.first_step)
    take_rows(x, &job.x, &job.tape)
    take_rows(steps.h, &job.h, &job.tape)
    take_rows(steps.slots, &job.slots, &job.tape)
    take_rows(steps.c, &job.c, &job.tape)
    batch = steps.batch if walk.active_rows_alone else None
    job.grad_out_row = take_in_either_order(walk.grad_out, &job.grad_out, &job.rows, batch)
    job.grad_x_row = take_in_either_order(walk.grad_x, &job.grad_x, &job.rows, batch)
    job.clears = walk.clears_grad_x
    take_rows(walk.delta, &job.delta, &job.rows)
    take_rows(walk.total_h, &job.total_h, &job.rows)
    take_rows(walk.total_c, &job.total_c, &job.rows)
    job.h0, job.c0 = state_at(initial, 0, steps.position), state_at(initial, 1, steps.position)
    job.dh, job.dc = state_at(carry, 0, walk.position), state_at(carry, 1, walk.position)
    run_walk(&job, w, sums, steps.first_step)


cdef void set_up_walk(Backward *j, Weights w, idx R, bint reverse) noexcept:
    """Fill in what follows from the weights; there are no steps, arrays and resets yet."""
    memset(j, 0, sizeof(Backward))
    j.k, j.cell, j.xt_pack, j.ht_pack, j.rt_pack = w.k, w.cell, &w.xt, w.ht, w.projection(True)
    j.variant = w.variant_or_null()
    j.R, j.I, j.H, j.P, j.item = R, w.input_size, w.hidden_size, w.output_size, w.item
    j.reverse = reverse


cdef int run_walk(Backward *j, Weights w, Sums sums, idx first_step) except -1:
    """Walk back through all steps on some threads; Python may handle signals in between.

    `sums`, or None, are of the whole pass, of which these steps begin with `first_step`.
    """
    cdef Pace pace
    cdef Memory scratch
    cdef int passes = 2
    j.numbering.starts, j.numbering.B, j.numbering.T = j.rows.starts, j.R, j.T
    if sums is not None:
        if sums.s == NULL:
            raise ValueError("sums: got some that are not set up, expected those of a pass")
        j.sums, j.numbering, j.first_step, passes = sums.s, sums.s.numbering, first_step, 3
    j.delta_wanted = j.delta.p != NULL
    j.plan = make_plan(w, j.T, rows_between(&j.rows, 0, j.T), j.R, passes)
    scratch = memory(use_scratch_back(j, NULL), SCRATCH)
    try:
        use_scratch_back(j, scratch.p)
        pace = first_stretch(w, j.T, &j.rows, not j.reverse, passes)
        j.chunk_start = 0
        while True:
            j.s0, j.s1 = pace.s0, pace.s1
            find_chunk(j)
            memset(&j.barrier, 0, sizeof(j.barrier))
            with nogil:
                rc_pool_run(backward_thread, j, j.plan.threads)
            if not next_stretch(&pace):
                return 0
    finally:
        give_back(scratch)


cdef size_t use_scratch_back(Backward *j, char *scratch) noexcept nogil:
    """Point the job at its scratch; NULL: tell how many bytes it is."""
    cdef idx rows = min(rows_between(&j.rows, 0, j.T), SUM_CHUNK + j.R - 1)         # the most that a chunk can have
    cdef idx row = row_bytes(j.cell.slots * j.H * j.item)
    cdef bint aux = (j.cell.stages > 1 or j.rt_pack != NULL) and j.sums != NULL
    cdef bint total = j.rt_pack != NULL and j.total_h.p == NULL
    cdef bint peepholes = j.sums != NULL and j.sums.peepholes.size > 0
    cdef size_t at_delta = rounded(j.R * j.H * j.item), at_total, at_x, at_h, at_aux, at_terms, at_zeros, at_grad_x
    at_total = at_delta + (0 if j.delta_wanted else rounded(rows * row))
    at_x = at_total + (rounded(rows * j.P * j.item) if total else 0)
    at_h = at_x + (rounded(j.k.pack_size(j.I, rows, 1) * j.item) if j.sums != NULL else 0)
    at_aux = at_h + (rounded(j.k.pack_size(j.H, rows, 1) * j.item) if j.sums != NULL else 0)
    at_terms = at_aux + (rounded(rows * j.H * j.item) if aux else 0)
    at_zeros = at_terms + (rounded(rows * RC_PEEPHOLES * j.H * j.item) if peepholes else 0)
    at_grad_x = at_zeros + (rounded(j.H * j.item) + j.plan.threads * rounded(j.B) if j.resets.starts != NULL else 0)
    if scratch != NULL:
        j.daux, j.aux, j.total = scratch, scratch + at_aux if aux else NULL, scratch + at_total
        j.peephole_terms = scratch + at_terms if peepholes else NULL
        j.packed_x.n, j.packed_x.k, j.packed_x.groups, j.packed_x.w = j.I, rows, 1, scratch + at_x
        j.packed_h.n, j.packed_h.k, j.packed_h.groups, j.packed_h.w = j.P, rows, 1, scratch + at_h
        j.packed_aux = j.packed_h
        j.packed_aux.n = j.H
        if not j.delta_wanted:
            j.delta.p, j.delta.stride[1] = scratch + at_delta, row
        j.zeros, j.was_reset = scratch + at_zeros, <unsigned char *>(scratch + at_zeros + rounded(j.H * j.item))
        memset(j.zeros, 0, at_grad_x - at_zeros)
        j.grad_x_chunk = scratch + at_grad_x
    return at_grad_x + (rows * j.I * j.item if j.grad_x_row != NULL else 0)


cdef inline idx chunk_end_of_walk(const Backward *j, idx s) noexcept nogil:
    """Where the chunk of step s ends; both are counted from where the walk begins."""
    if j.reverse:
        return min(j.T, chunk_stop(&j.numbering, j.first_step + s) - j.first_step)
    return j.T - max(0, chunk_first(&j.numbering, j.first_step + j.T - 1 - s) - j.first_step)


cdef inline void find_chunk(Backward *j) noexcept nogil:
    """Go on to the chunk in which s0 lies; there are rows."""
    while chunk_end_of_walk(j, j.chunk_start) <= j.s0 < j.T:
        j.chunk_start = chunk_end_of_walk(j, j.chunk_start)


cdef inline char *delta_at(const Backward *j, idx t, idx low) noexcept nogil:
    """The gradients of the slots at step t, in the chunk that begins at `low`."""
    if j.delta_wanted:
        return step_at(&j.delta, &j.rows, t)
    return j.delta.p + rows_between(&j.rows, low, t) * j.delta.stride[1]


cdef inline char *total_at(const Backward *j, idx t, idx low) noexcept nogil:
    """dL/dh at step t, in the chunk that begins at `low`."""
    if j.total_h.p != NULL:
        return step_at(&j.total_h, &j.rows, t)
    return j.total + rows_between(&j.rows, low, t) * j.P * j.item


cdef void backward_thread(void *context, int thread, int threads) noexcept nogil:
    """One thread's part of the job's steps."""
    walk_chunks(<Backward *>context, NULL, thread, threads)


cdef void walk_chunks(Backward *j, Backward *other, int thread, int threads) noexcept nogil:
    """One thread's part of the job's steps, which may begin and end inside a chunk.

    The products of a chunk are computed in the stretch that reaches its last step. `other`, unless it is NULL, is the
    same job of another net with one full row; this is for one thread then.
    """
    cdef Share mine = share_of(&j.plan, j.R, j.H, j.P, thread, threads)
    cdef idx s0, s1 = j.s0, start, stop = j.chunk_start, low
    while s1 < j.s1:
        s0 = s1
        start = s0 if s0 == stop else j.chunk_start
        stop = chunk_end_of_walk(j, start)
        s1 = min(j.s1, stop)
        low = start if j.reverse else j.T - stop        # the chunk's first step in time
        if walk_steps(j, other, s0, s1, low, &mine):
            return
        if s1 == stop:
            if finish_chunk(j, low, low + stop - start, &mine):
                return
            if other != NULL:
                finish_chunk(other, low, low + stop - start, &mine)


cdef bint finish_chunk(Backward *j, idx low, idx high, Share *mine) noexcept nogil:
    """The products of the chunk low .. high, after its last step. True: this thread is done."""
    cdef idx t0, t1
    if j.sums != NULL:
        pack_chunk(j, low, high, mine)
    if meet(&j.barrier, mine, True):            # delta, and the packed x and h, are complete
        return True
    if j.grad_x.p != NULL:
        input_gradient(j, low, high, mine)
    if j.clears:
        split(high - low, 1, mine.thread, mine.threads, &t0, &t1)
        clear_steps(j.k, &j.grad_x, j.grad_x_row, &j.rows, low + t0, low + t1)
    if j.sums != NULL:
        weight_gradients(j, low, high, mine)
    return meet(&j.barrier, mine, True)         # and read by all, before the next chunk overwrites them


cdef struct StepsBack:          # what the steps of a walk have in common, and what the present one reads and writes
    rc_step step, projection
    StageProduct of_h[RC_MAX_STAGES]
    StageProduct of_m
    unsigned char *marks


cdef bint walk_steps(Backward *j, Backward *other, idx s0, idx s1, idx low, Share *mine) noexcept nogil:
    """Steps s0 .. s1 of the walk, in the chunk that begins at `low`: the equations of each stage, then its product.

    A projection comes before them. `other` is NULL, or as for `walk_chunks`.

    True: this thread is done.
    """
    cdef const rc_stage *stage
    cdef StepsBack w, w2
    cdef rc_product *p
    cdef rc_product *q
    cdef idx s, t, row1
    cdef int k
    begin_walk(j, &w, mine)
    if other != NULL:
        begin_walk(other, &w2, mine)
    share_rows(mine, &j.rows, j.T, s0, s1, not j.reverse)
    for s in range(s0, s1):
        t = s if j.reverse else j.T - 1 - s
        row1 = min(mine.row1, active_rows(&j.rows, t))
        if row1 <= mine.row0:
            continue
        if begin_step(j, &w, t, low, row1, mine):
            return True
        if other != NULL:
            begin_step(other, &w2, t, low, row1, mine)
        for k in range(j.cell.stages - 1, -1, -1):
            stage = &j.cell.stage[k]
            stage.backward(&w.step, mine.row0, row1, mine.unit0, mine.unit1)
            if mine.by_units and meet(&j.barrier, mine, True):      # the product reads delta of all units
                return True
            p = product_back(j, &w, t, k)
            if other == NULL:
                j.k.product(p, mine.row0, row1, mine.h0, mine.h1)
                continue
            stage.backward(&w2.step, 0, 1, 0, j.H)
            q = product_back(other, &w2, t, k)
            if p.prepared.count > 0:
                j.k.product_of_two(p, q)
            else:
                j.k.product(p, 0, 1, 0, j.P)
                j.k.product(q, 0, 1, 0, j.P)
        end_step(j, &w, t, row1, mine)
        if other != NULL:
            end_step(other, &w2, t, row1, mine)
    return False


cdef void begin_walk(const Backward *j, StepsBack *w, const Share *mine) noexcept nogil:
    """Fill in what all steps have in common."""
    cdef const rc_cell *cell = j.cell
    cdef const Array *state = &j.c if cell.states == 2 else &j.h        # the one that the equations read
    cdef idx H = j.H, item = j.item
    cdef rc_step *step = &w.step
    cdef rc_product *p
    cdef int k
    for k in range(cell.stages):
        p = &w.of_h[k].p
        p[0] = product_with(&j.ht_pack[k])
        p.lda, p.ldc = j.delta.stride[1] // item, H if cell.stage[k].from_aux else j.P
        p.adds = not cell.stage[k].from_aux     # to what the equations passed on to the state
        w.of_h[k].prepared[0].count = w.of_h[k].prepared[1].count = 0
    w.marks = j.was_reset + mine.thread * rounded(j.B)
    memset(step, 0, sizeof(rc_step))
    step.h_size, step.tape_rows, step.tape_row, step.out_row = H, j.B, j.tape_row, j.grad_out_row
    step.ldslots, step.lddelta = j.slots.stride[1] // item, j.delta.stride[1] // item
    step.first, step.ldstate = j.c0 if cell.states == 2 else j.h0, state.stride[1] // item
    step.dh, step.dc, step.daux, step.zeros = j.dh, j.dc, j.daux, j.zeros
    step.ldgout = j.grad_out.stride[1] // item if j.grad_out.p != NULL else 0
    step.variant = j.variant
    if j.rt_pack != NULL:       # the gradient on h goes to the projection, and the cell's equations get that of m
        w.projection = step[0]
        w.projection.h_size = j.P
        step.dh = j.daux
        p = &w.of_m.p
        p[0] = product_with(j.rt_pack)
        p.lda, p.c, p.ldc = j.P, j.daux, H
        w.of_m.prepared[0].count = w.of_m.prepared[1].count = 0


cdef bint begin_step(Backward *j, StepsBack *w, idx t, idx low, idx row1, Share *mine) noexcept nogil:
    """Fill in where step t reads and writes, and go back through the projection. True: this thread is done."""
    cdef const Array *state = &j.c if j.cell.states == 2 else &j.h
    cdef rc_step *step = &w.step
    cdef rc_step *projection = &w.projection
    cdef rc_product *p = &w.of_m.p
    cdef idx before = t + 1 if j.reverse else t - 1, row = j.H * j.item
    step.active = active_rows(&j.tape, t)
    step.slots = step_at(&j.slots, &j.tape, t) if j.slots.p != NULL else NULL
    step.continued = 0
    if 0 <= before < j.T:
        step.prev, step.ldprev = step_at(state, &j.tape, before), state.stride[1] // j.item
        step.continued = active_rows(&j.tape, before)
    step.state = step_at(state, &j.tape, t)
    step.was_reset = NULL
    if any_reset(&j.resets, t):
        step.was_reset = w.marks
        mark_resets(&j.resets, t, w.marks, True)
    step.grad_out = NULL
    if j.grad_out.p != NULL:
        step.grad_out = (j.grad_out.p + t * j.grad_out.stride[0] if j.grad_out_row != NULL
                         else step_at(&j.grad_out, &j.rows, t))
    step.delta = delta_at(j, t, low)
    step.total_h = step_at(&j.total_h, &j.rows, t) if j.total_h.p != NULL else NULL
    step.total_c = step_at(&j.total_c, &j.rows, t) if j.total_c.p != NULL else NULL
    step.aux_out = j.aux + rows_between(&j.rows, low, t) * row if j.aux != NULL else NULL
    if j.peephole_terms != NULL:
        step.peephole_terms = j.peephole_terms + rows_between(&j.rows, low, t) * RC_PEEPHOLES * row
    if j.rt_pack == NULL:
        return False
    projection.active, projection.grad_out, projection.total_h = step.active, step.grad_out, total_at(j, t, low)
    j.k.projected_backward(projection, mine.row0, row1, mine.h0, mine.h1)
    if mine.by_units and meet(&j.barrier, mine, True):          # the product reads all of it
        return True
    p.a, p.downward = projection.total_h, t & 1
    p.prepared = &w.of_m.prepared[p.downward]
    j.k.product(p, mine.row0, row1, mine.unit0, mine.unit1)
    step.grad_out = NULL
    if step.total_h != NULL:        # it is there; written beside total_c, it may replace what it is read from
        step.total_h = j.daux
    return False


cdef inline rc_product *product_back(const Backward *j, StepsBack *w, idx t, int stage) noexcept nogil:
    """The product of a stage at step t, from the gradients of the slots to that of the state before."""
    cdef rc_product *p = &w.of_h[stage].p
    p.downward = t & 1
    p.prepared = &w.of_h[stage].prepared[p.downward]
    p.a = <char *>w.step.delta + j.cell.stage[stage].slot * j.H * j.item
    p.c = j.daux if j.cell.stage[stage].from_aux else j.dh
    return p


cdef inline void end_step(Backward *j, StepsBack *w, idx t, idx row1, const Share *mine) noexcept nogil:
    if w.step.was_reset != NULL:
        cut_gradients(j, &w.step, row1, mine)
        mark_resets(&j.resets, t, w.marks, False)


cdef void input_gradient(Backward *j, idx low, idx high, const Share *mine) noexcept nogil:
    cdef rc_product p = product_with(j.xt_pack)
    cdef idx row0, row1, rows = rows_between(&j.rows, low, high)
    split(rows, j.k.tile_rows, mine.thread, mine.threads, &row0, &row1)
    p.a = delta_at(j, low, low) + j.cell.x_slot * j.H * j.item
    p.lda = j.delta.stride[1] // j.item
    p.adds = j.accumulate
    if j.grad_x_row == NULL:
        p.c, p.ldc = step_at(&j.grad_x, &j.rows, low), j.grad_x.stride[1] // j.item
        j.k.product(&p, row0, row1, 0, j.I)
        return
    p.c, p.ldc = j.grad_x_chunk, j.I
    if j.accumulate:
        copy_input_gradient(j, low, high, row0, row1, True)
    j.k.product(&p, row0, row1, 0, j.I)
    copy_input_gradient(j, low, high, row0, row1, False)


cdef void copy_input_gradient(Backward *j, idx low, idx high, idx row0, idx row1, bint to_chunk) noexcept nogil:
    """Copy the rows row0 .. row1 of a chunk between `grad_x`, in the caller's order, and the chunk's own array."""
    cdef idx t = low, first = 0, n, r0, count, steps, ld = j.grad_x.stride[1] // j.item
    cdef const idx *order
    cdef char *mine
    cdef char *theirs
    cdef rc_copy c
    while first < row1:
        n = active_rows(&j.rows, t)
        r0 = max(row0 - first, 0)
        count, order = min(row1 - first, n) - r0, j.grad_x_row + r0
        mine, theirs = j.grad_x_chunk + (first + r0) * j.I * j.item, j.grad_x.p + t * j.grad_x.stride[0]
        steps = 1
        if r0 == 0 and count == n and n > 0:        # and all steps after it that are alike
            steps = min(end_of_equal_steps(&j.rows, t, high) - t, (row1 - first) // n)
        if to_chunk:
            c = copy_of(mine, j.I, NULL, theirs, ld, order, count, j.I)
            c.step_to, c.step_from = n * j.I, j.grad_x.stride[0] // j.item
        else:
            c = copy_of(theirs, ld, order, mine, j.I, NULL, count, j.I)
            c.step_from, c.step_to = n * j.I, j.grad_x.stride[0] // j.item
        c.steps = steps
        j.k.copy_rows(&c)
        first += steps * n
        t += steps


cdef void pack_chunk(Backward *j, idx low, idx high, const Share *mine) noexcept nogil:
    """Pack x, and h before each step, in the order of the walk. Each thread packs its share of the steps."""
    cdef idx n0, n1, t0, t1, at, n, first, stop, all0, all1
    j.packed_x.k = j.packed_h.k = rows_between(&j.rows, low, high)
    split(high - low, 1, mine.thread, mine.threads, &n0, &n1)
    t0, t1 = (low + n0, low + n1) if j.reverse else (high - n1, high - n0)
    all0, all1 = t0, t1
    at = rows_between(&j.rows, low, t0) if j.reverse else rows_between(&j.rows, t1, high)
    if j.sums.w_ih.sum != NULL:
        pack_steps(j, &j.packed_x, at, &j.x, t0, t1)
    while t0 < t1:              # steps of as many rows, for which h before them is in one piece, but for one of them
        n, first, stop = active_rows(&j.rows, t0 if j.reverse else t1 - 1), t0, t1
        if j.reverse:
            if j.rows.starts != NULL:
                stop = end_of_equal_steps(&j.rows, t0, t1)
            pack_steps(j, &j.packed_h, at, &j.h, t0 + 1, stop)
            at += (stop - 1 - t0) * n
            at += pack_before(j, at, stop - 1)
            t0 = stop
        else:
            if n < j.rows.B:
                first = max(t0, j.rows.lengths[n])
            pack_steps(j, &j.packed_h, at, &j.h, first, t1 - 1)
            at += (t1 - 1 - first) * n
            at += pack_before(j, at, first)
            t1 = first
    if j.resets.starts != NULL:
        pack_resets(j, low, high, all0, all1)


cdef void pack_steps(const Backward *j, const rc_pack *pack, idx at, const Array *a, idx t0, idx t1) noexcept nogil:
    """Pack the rows of the steps t0 .. t1 in the order of the walk; the first of them is row `at` of the pack."""
    cdef idx stride = a.stride[1], rows = rows_between(&j.rows, t0, t1), n, t
    if t0 >= t1:
        return
    if j.rows.starts == NULL and j.B == 1:
        stride = a.stride[0]
    elif j.rows.starts == NULL and a.stride[0] != j.B * stride:         # not evenly spaced from step to step
        for n in range(t1 - t0):
            t = t0 + n if j.reverse else t1 - 1 - n
            pack_evenly(j, pack, at + n * j.B, step_at(a, &j.rows, t), j.B, stride)
        return
    pack_evenly(j, pack, at, step_at(a, &j.rows, t0), rows, stride)


cdef idx pack_before(const Backward *j, idx at, idx t) noexcept nogil:
    """Pack h before step t, from the step before, or for rows that begin there from h0. Returns how many rows."""
    cdef idx before = t + 1 if j.reverse else t - 1, n = active_rows(&j.rows, t), m = 0
    cdef idx first = j.P * j.item
    if 0 <= before < j.T:
        m = min(n, active_rows(&j.rows, before))
        pack_evenly(j, &j.packed_h, at if j.reverse else at + n - m, step_at(&j.h, &j.rows, before), m, j.h.stride[1])
    pack_evenly(j, &j.packed_h, at + m if j.reverse else at, j.h0 + m * first, n - m, first)
    return n


cdef inline void pack_evenly(const Backward *j, const rc_pack *pack, idx at, char *src, idx rows,
                             idx stride) noexcept nogil:
    """Pack evenly spaced rows in the order of the walk; src is the first of them in memory."""
    if rows == 0:
        return
    if not j.reverse:
        src, stride = src + (rows - 1) * stride, -stride
    j.k.pack_rows(pack, at, rows, src, stride // j.item)


cdef void weight_gradients(Backward *j, idx low, idx high, Share *mine) noexcept nogil:
    """The gradients of all weight matrices, and the sums for biases and peepholes: of every block, this thread's rows."""
    cdef const rc_cell *cell = j.cell
    cdef const Summing *sums = j.sums
    cdef idx H = j.H, item = j.item, slots = cell.slots, rows = rows_between(&j.rows, low, high), m0, m1, h0, h1
    cdef idx first = 0 if j.reverse else rows - 1
    cdef char *total = total_at(j, low, low) + first * j.P * item if j.rt_pack != NULL else NULL
    cdef char *d = delta_at(j, low, low) + first * j.delta.stride[1]
    cdef rc_weight_gradient o
    cdef rc_blocks blocks
    cdef idx at
    cdef int s, g, slot, block = 0
    if rows == 0:
        return
    low, high = j.first_step + low, j.first_step + high
    blocks = blocks_of(&sums.numbering, low, high, j.reverse)
    split(H, j.k.lanes, mine.thread, mine.threads, &m0, &m1)
    split(j.P, j.k.lanes, mine.thread, mine.threads, &h0, &h1)
    if ends_span(&sums.numbering, low, high, j.reverse):
        end_span(sums, j.I, H, j.P, low, j.reverse, m0, m1, h0, h1)
    o.ldd = j.delta.stride[1] // item if j.reverse else -(j.delta.stride[1] // item)
    o.ldc[0], o.ldc[1], o.blocks = j.I, j.P, &blocks
    for slot in range(slots if sums.slots.sum != NULL else 0):
        at = slot * H * item
        j.k.column_sums(sums.slots.sum + at, sums.slots.partial + at, d + at, o.ldd, rows, &blocks, m0, m1)
    for slot in range(RC_PEEPHOLES if j.peephole_terms != NULL else 0):
        at = slot * H * item
        j.k.column_sums(sums.peepholes.sum + at, sums.peepholes.partial + at,
                        j.peephole_terms + first * RC_PEEPHOLES * H * item + at,
                        RC_PEEPHOLES * H if j.reverse else -RC_PEEPHOLES * H, rows, &blocks, m0, m1)
    o.pack[1] = NULL
    for slot in range(cell.stage[0].slot if sums.w_ih.sum != NULL else 0):      # slots that only the input adds to
        of_slot(j, &o, d, slot)
        j.k.weight_gradient(&o, m0, m1)
    o.pack[1] = &j.packed_h
    for s in range(cell.stages):
        if cell.stage[s].from_aux:
            pack_aux(j, rows, mine)
            o.pack[1] = &j.packed_aux
        for g in range(cell.stage[s].groups):
            of_slot(j, &o, d, cell.stage[s].slot + g)
            at = cell.h_order[block] * H * j.P * item
            o.c[1], o.partial[1] = sums.w_hh.sum + at, sums.w_hh.partial + at
            j.k.weight_gradient(&o, m0, m1)
            block += 1
    if j.rt_pack != NULL:
        pack_aux(j, rows, mine)
        o.d, o.ldd = total, j.P if j.reverse else -j.P
        o.pack[0], o.pack[1] = NULL, &j.packed_aux
        o.c[1], o.partial[1], o.ldc[1] = sums.w_hr.sum, sums.w_hr.partial, H
        j.k.weight_gradient(&o, h0, h1)


cdef inline void of_slot(const Backward *j, rc_weight_gradient *o, char *d, int slot) noexcept nogil:
    """Point `o` at the gradients of a slot and, if the input adds to that slot, at the block of w_ih for it."""
    cdef int g = slot - j.cell.x_slot
    cdef idx at
    o.d = d + slot * j.H * j.item
    o.pack[0] = &j.packed_x if 0 <= g < j.cell.blocks and j.sums.w_ih.sum != NULL else NULL
    if o.pack[0] != NULL:
        at = j.cell.x_order[g] * j.H * j.I * j.item
        o.c[0], o.partial[0] = j.sums.w_ih.sum + at, j.sums.w_ih.partial + at


cdef void pack_aux(Backward *j, idx rows, Share *mine) noexcept nogil:
    """Pack r * h, the input of the second stage, or m in the place of h, after all threads have used h."""
    cdef idx n0, n1, H = j.H, first
    meet(&j.barrier, mine, False)
    split(rows, 1, mine.thread, mine.threads, &n0, &n1)
    first = n0 if j.reverse else rows - 1 - n0
    j.packed_aux.k = rows
    j.k.pack_rows(&j.packed_aux, n0, n1 - n0, j.aux + first * H * j.item, H if j.reverse else -H)
    meet(&j.barrier, mine, False)
