# Forward through time.


cdef struct StageProduct:         # the product of a stage, all but what each step fills in
    rc_product p
    rc_prepared prepared[2]     # upward, downward
    idx offset                  # bytes from the slots of a row to those that it adds to
    idx units_at_once           # so few that their pre-activations are still in L1 when the equations read them


cdef struct Products:           # with the input, with the state in each stage, and of the projection
    rc_product of_x
    rc_prepared prepared
    StageProduct of_h[RC_MAX_STAGES]
    StageProduct of_m


cdef struct Forward:
    const rc_kernels *k
    const rc_cell *cell
    const rc_pack *x_pack
    const rc_pack *h_pack
    const rc_pack *r_pack       # the projection's; NULL: there is none, and P is H
    char *bias
    const rc_variant *variant   # NULL: the cell is no variant
    Rows rows
    idx T, H, P, I, item
    idx s0, s1                  # the steps to compute now, counted from where the pass begins
    Array x, out, slots, c_out  # slots: the tape's, or scratch for one chunk
    Array gathered              # x in the order of the rows: scratch for one chunk, used with x_row
    Array looked_up             # (V, blocks·H): W_ih x + bias of every row of a table, where x is rows of one
    const idx *tokens           # N: which row of the table the x of each row of each step is; NULL: x is of any kind
    const idx *x_row            # x is (T, B, I), in an order of its own: which of its rows is a row's; NULL: in ours
    const idx *out_row          # the same of out
    bint clears                 # whether zeros are wanted past the rows' ends of out
    Resets resets
    bint reverse, slots_wanted
    char *h[2]                  # carried h, before the step and after it, in turns
    char *c
    char *aux                   # of two stages, or m of a projection
    idx slots_of_thread, x_of_thread    # bytes from the scratch of one thread to that of the next; 0: they share it
    Plan plan
    rc_barrier barrier
    Products *products          # prepared once for many calls; NULL: each thread prepares its own


def forward(Weights w, x, out, list states, idx position=0, *, slots=None, c_out=None, batch=None, resets=None,
            idx first_step=0, bint reverse=False, looked_up=None, bint clears=False):
    """Run one layer and direction over time.

    Parameters
    ----------
    w : Weights
    x : (T, B, I), last axis contiguous
    out : (T, B, P), last axis contiguous: the outputs are written here; P is H where there is no projection
    states : h, (n, B, P) or (B, P), and where the cell has it c, (n, B, H) or (B, H), contiguous: in and out
    position : which of the n
    slots : (T, B, slots, H), rows contiguous, or None: not wanted
    c_out : (T, B, H), contiguous, or None; given together with `slots` where the cell has c
    batch : ragged.Batch or None
        The rows of unequal length. Then `states` are in its order, and slots and c_out hold the N active rows alone, as
        (N, 1, …); x and out do so too, or are (T, B, …) in the caller's order.
    resets : resets.Resets or None
        Of the whole pass, of which these steps begin with `first_step`.
    looked_up : (products, tokens) or None
        Where x is rows of a table: what `project_table` computed of it, and which row the x of every row of every step
        is, (N,) of intp, all rows of step 0 first, in the order of the batch. Only the shape of x is read then.
    clears : whether to write zeros past the rows' ends of out; only with `batch`, and out in the caller's order
    """
    cdef Forward job
    cdef Array order
    cdef idx T
    packed_weights(w)
    set_up_job(&job, w, reverse)
    job.rows = take_batch(batch, x.shape[1])
    T = x.shape[0] if batch is None else batch.steps
    job.resets = take_resets(resets, first_step)
    if job.rows.B == 0 or rows_between(&job.rows, 0, T) == 0:
        if clears:
            clear(out, batch)
        return
    job.slots_wanted = slots is not None
    job.x_row = take_in_either_order(x, &job.x, &job.rows, batch)
    job.out_row = take_in_either_order(out, &job.out, &job.rows, batch)
    job.clears = clears
    take_rows(slots, &job.slots, &job.rows)
    take_rows(c_out, &job.c_out, &job.rows)
    job.h[0], job.c = state_at(states, 0, position), state_at(states, 1, position)
    if looked_up is not None:
        take(looked_up[0], &job.looked_up, 1)
        take(looked_up[1], &order, 0)
        job.tokens = <const idx *>order.p
        job.x_row = NULL
    run_job(&job, w, T)


cdef void set_up_job(Forward *j, Weights w, bint reverse) noexcept:
    """Fill in what follows from the weights; there are no arrays, rows and resets yet."""
    memset(j, 0, sizeof(Forward))
    j.k, j.cell, j.x_pack, j.h_pack, j.bias = w.k, w.cell, &w.x, w.h, w.bias
    j.r_pack, j.variant = w.projection(False), w.variant_or_null()
    j.H, j.P, j.I, j.item = w.hidden_size, w.output_size, w.input_size, w.item
    j.reverse = reverse


cdef int run_job(Forward *j, Weights w, idx T) except -1:
    """Compute T steps on some threads; Python may handle signals in between."""
    cdef Pace pace
    cdef Memory scratch
    cdef idx N = rows_between(&j.rows, 0, T)
    if N == 0:
        return 0
    j.T, j.plan = T, make_plan(w, T, N, j.rows.B, 1)
    scratch = memory(use_scratch(j, NULL), SCRATCH)
    use_scratch(j, scratch.p)
    pace = first_stretch(w, T, &j.rows, j.reverse, 1)
    try:
        while True:
            j.s0, j.s1 = pace.s0, pace.s1
            memset(&j.barrier, 0, sizeof(j.barrier))
            with nogil:
                rc_pool_run(forward_thread, j, j.plan.threads)
            if not next_stretch(&pace):
                return 0
    finally:
        give_back(scratch)


cdef size_t use_scratch(Forward *j, char *scratch) noexcept nogil:
    """Point the job at its scratch; NULL: tell how many bytes it is.

    Threads that divide rows of unequal length need their own: they may be in different chunks, where rows lie elsewhere.
    Those that divide the units have slots of their own, since a cache line may have units of two threads in it, and
    would go from core to core in every step (on a Xeon with AVX-512: LSTM 395,4,10,114 1.61x, 100,6,100,150 1.35x, GRU
    100,1,300 1.10x).
    """
    cdef size_t state = rounded(j.rows.B * j.H * j.item), slots = 0, x = 0
    cdef idx row = row_bytes(j.cell.slots * j.H * j.item), of_slots = 1, of_x = 1
    if not j.slots_wanted:
        slots = rounded(j.plan.chunk_rows * row)
    if j.x_row != NULL:
        x = rounded(j.plan.chunk_rows * j.I * j.item)
    if j.plan.by_units:
        of_slots = j.plan.threads
    elif j.rows.starts != NULL:
        of_slots = of_x = j.plan.threads
    if scratch != NULL:
        j.slots_of_thread, j.x_of_thread = slots if of_slots > 1 else 0, x if of_x > 1 else 0
        j.h[1], j.aux = scratch, scratch + state
        if not j.slots_wanted:
            j.slots.p = scratch + 2 * state
            j.slots.stride[0], j.slots.stride[1] = j.rows.B * row, row
        j.gathered.p = scratch + 2 * state + of_slots * slots
        j.gathered.stride[1] = j.I * j.item
    return 2 * state + of_slots * slots + of_x * x


cdef inline char *slots_at(const Forward *j, idx t, idx chunk_start, int thread) noexcept nogil:
    if j.slots_wanted:
        return step_at(&j.slots, &j.rows, t)
    return j.slots.p + thread * j.slots_of_thread + rows_between(&j.rows, chunk_start, t) * j.slots.stride[1]


cdef inline char *input_at(const Forward *j, idx t, idx chunk_start, int thread) noexcept nogil:
    """x in the order of the rows."""
    if j.x_row == NULL:
        return step_at(&j.x, &j.rows, t)
    return j.gathered.p + thread * j.x_of_thread + rows_between(&j.rows, chunk_start, t) * j.gathered.stride[1]


cdef void forward_thread(void *context, int thread, int threads) noexcept nogil:
    """One thread's rows or units, over the job's steps."""
    cdef Forward *j = <Forward *>context
    cdef Share mine = share_of(&j.plan, j.rows.B, j.H, j.P, thread, threads)
    cdef idx H = j.H, T = j.T, item = j.item, s, s0, s1 = j.s0, t, low, ahead, n, active, row1, first, stop
    cdef int now = 0
    cdef bint alike
    cdef rc_copy clear
    cdef rc_step step, projection
    cdef rc_step *of_h = &step if j.r_pack == NULL else &projection     # has h and h_out, where the new h goes
    cdef Products own
    cdef Products *products = j.products
    share_rows(&mine, &j.rows, T, j.s0, j.s1, j.reverse)
    if products == NULL:
        products = &own
        set_up_products(j, &mine, products)
    alike = all_alike(j, products.of_h, &mine)
    memset(&step, 0, sizeof(step))
    step.h_size, step.out_row, step.slots_wanted = H, j.out_row, j.slots_wanted
    step.ldslots, step.ldprev, step.ldout = j.slots.stride[1] // item, j.P, j.out.stride[1] // item
    step.c, step.aux, step.variant = j.c, j.aux, j.variant
    if j.r_pack != NULL:        # what the equations leave as h is m
        step.h, step.h_out, step.ldout, step.out_row = j.aux, j.aux, H, NULL
    active = active_rows(&j.rows, T - 1 - s1 if j.reverse else s1)
    while s1 < j.s1:
        s0, s1 = s1, min(j.s1, chunk_end(&j.plan, &j.rows, T, s1, j.reverse))
        low = T - s1 if j.reverse else s0
        ahead = 0
        if j.tokens != NULL:
            look_up(j, low, low + s1 - s0, &mine)
        elif reads_in_place(j, s1 - s0, &mine):
            project_by_row(j, low, low + s1 - s0, products, &mine)
        else:
            if j.x_row != NULL:
                ahead = s1 - s0
                if gather_input(j, low, low + s1 - s0, &mine):
                    return
            project(j, low, low + s1 - s0, products, &mine)
        s = s0
        while s < s1:
            t = T - 1 - s if j.reverse else s
            n = active_rows(&j.rows, t)
            if n != active:     # rows have ended, or begin: before and after its steps h is in the caller's array
                if now == 1:
                    copy_states(j, min(n, active), max(n, active), 1 if n < active else 0, &mine)
                    if n > active and mine.by_units and meet_in_chunk(j, &mine, low, s1 - s0):
                        return          # the next product reads h of all units
                active = n
            if any_reset(&j.resets, t):
                reset_states(j, t, j.h[now], &mine)
                if mine.by_units and meet_in_chunk(j, &mine, low, s1 - s0):
                    return              # as above
            row1, first, stop = min(mine.row1, n), s, end_of_run(j, s, s1, n)
            if mine.row0 >= row1:
                now = (now + stop - s) & 1
            elif alike:
                now = steps_alike(j, &step, of_h, products, s, stop, low, now, row1, ahead, &mine)
            else:
                for s in range(s, stop):
                    t = T - 1 - s if j.reverse else s
                    set_addresses(j, &step, of_h, t, low, now, mine.thread)
                    if recur(j, &step, of_h, products, row1, low, s1 - s0, t & 1, &mine):
                        return
                    now = 1 - now
            s = stop
            if j.clears and (not alike or mine.row0 >= row1):
                clear = padding_of(j, T - stop if j.reverse else first, n, &mine)
                clear.steps = stop - first
                j.k.copy_rows(&clear)
    if now == 1:                # an odd number of steps: the final h goes to the caller's array
        copy_states(j, 0, active, 1, &mine)


cdef bint meet_in_chunk(Forward *j, Share *mine, idx low, idx steps) noexcept nogil:
    """`meet` inside a chunk; a thread that goes on alone takes the others' slots of it. True: this thread is done."""
    cdef int threads = mine.threads, thread
    cdef idx row, slot, at, size = j.slots.stride[1]
    cdef Share other
    cdef char *own
    if meet(&j.barrier, mine, True):
        return True
    if mine.threads < threads and j.slots_of_thread > 0:
        own = slots_at(j, low, low, mine.thread)
        for thread in range(1, threads):
            other = share_of(&j.plan, j.rows.B, j.H, j.P, thread, threads)
            for row in range(rows_between(&j.rows, low, low + steps)):
                for slot in range(j.cell.slots):
                    at = row * size + (slot * j.H + other.unit0) * j.item
                    memcpy(own + at, own + thread * j.slots_of_thread + at, (other.unit1 - other.unit0) * j.item)
    return False


cdef void copy_states(Forward *j, idx row0, idx row1, int source, const Share *mine) noexcept nogil:
    """Copy this thread's part of h for some rows from one of the two arrays to the other."""
    cdef idx row, at
    for row in range(max(row0, mine.row0), min(row1, mine.row1)):
        at = (row * j.P + mine.h0) * j.item
        memcpy(j.h[1 - source] + at, j.h[source] + at, (mine.h1 - mine.h0) * j.item)


cdef inline rc_copy padding_of(const Forward *j, idx t, idx n, const Share *mine) noexcept nogil:
    """Zeros for this thread's part of step t, which has n rows, past the rows' ends; and for steps after it."""
    return zeros_past_ends(&j.out, j.out_row, t, max(mine.row0, n), mine.row1, mine.h0, mine.h1 - mine.h0)


cdef inline void fetch_input(const Forward *j, idx t, const Share *mine) noexcept nogil:
    """Ask for the x of step t, which `gather_input` will copy."""
    cdef rc_copy c
    if 0 <= t < j.T:
        c = copy_of(NULL, 0, NULL, j.x.p + t * j.x.stride[0], j.x.stride[1] // j.item, j.x_row + mine.row0,
                    min(mine.row1, active_rows(&j.rows, t)) - mine.row0, j.I)
        j.k.copy_rows(&c)


cdef bint gather_input(Forward *j, idx low, idx high, Share *mine) noexcept nogil:
    """Bring the steps low .. high of x into the order of the rows. True: this thread is done."""
    cdef idx t, t0 = low, t1 = high, stop, row0 = mine.row0, n
    cdef rc_copy c
    if mine.by_units:           # all rows are needed by every thread: they divide the steps
        split(high - low, 1, mine.thread, mine.threads, &t0, &t1)
        t0, t1 = low + t0, low + t1
    t = t0
    while t < t1:
        n, stop = active_rows(&j.rows, t), end_of_equal_steps(&j.rows, t, t1)
        c = copy_of(input_at(j, t, low, mine.thread) + row0 * j.gathered.stride[1], j.I, NULL,
                    j.x.p + t * j.x.stride[0], j.x.stride[1] // j.item, j.x_row + row0, min(mine.row1, n) - row0, j.I)
        c.steps, c.step_to, c.step_from = stop - t, n * j.I, j.x.stride[0] // j.item
        j.k.copy_rows(&c)
        t = stop
    return mine.by_units and meet(&j.barrier, mine, True)


cdef inline rc_product product_with(const rc_pack *pack) noexcept nogil:
    """A product of one step whose sums start from zero; the arrays are still to be filled in."""
    cdef rc_product p
    memset(&p, 0, sizeof(p))
    p.pack, p.steps = pack, 1
    return p


cdef void project(Forward *j, idx low, idx high, Products *products, const Share *mine) noexcept nogil:
    """W_ih x + bias for the steps low .. high, into the slots that the input adds to."""
    cdef rc_product *p = &products.of_x
    cdef const Array *x = &j.x if j.x_row == NULL else &j.gathered
    cdef idx item = j.item, B = j.rows.B, t = low, stop, n, row1
    p.a, p.c = input_at(j, low, low, mine.thread), slots_at(j, low, low, mine.thread) + j.cell.x_slot * j.H * item
    p.lda, p.steps = x.stride[1] // item, 1
    if j.rows.starts == NULL:
        if mine.row1 - mine.row0 == B and (B == 1 or x.stride[0] == B * x.stride[1]):   # evenly spaced rows
            p.lda = x.stride[0] // B // item
            j.k.product(p, 0, (high - low) * B, mine.unit0, mine.unit1)
            return
        p.steps, p.step_a, p.step_c = high - low, x.stride[0] // item, j.slots.stride[0] // item
        j.k.product(p, mine.row0, mine.row1, mine.unit0, mine.unit1)
        return
    if mine.row0 == 0 and mine.row1 >= active_rows(&j.rows, low):       # all rows, since no later step has more
        j.k.product(p, 0, rows_between(&j.rows, low, high), mine.unit0, mine.unit1)
        return
    while t < high:                                                     # steps of equally many rows
        n, stop = active_rows(&j.rows, t), end_of_equal_steps(&j.rows, t, high)
        row1 = min(mine.row1, n)
        if mine.row0 < row1:
            p.a, p.c = input_at(j, t, low, mine.thread), slots_at(j, t, low, mine.thread) + j.cell.x_slot * j.H * item
            p.steps, p.step_a, p.step_c = stop - t, n * p.lda, n * p.ldc
            j.k.product(p, mine.row0, row1, mine.unit0, mine.unit1)
        t = stop


cdef void look_up(const Forward *j, idx low, idx high, const Share *mine) noexcept nogil:
    """As `project`, where x is rows of a table: the products are rows, too."""
    cdef idx H = j.H * j.item, blocks = j.cell.blocks, first = rows_between(&j.rows, 0, low), row0 = mine.row0, n, t, g
    cdef idx ld = j.slots.stride[1] // j.item, of_table = j.looked_up.stride[0] // j.item
    cdef rc_copy c
    cdef char *slots
    if not mine.by_units and row0 == 0 and mine.row1 >= active_rows(&j.rows, low):      # all rows: no later step has more
        c = copy_of(slots_at(j, low, low, mine.thread) + j.cell.x_slot * H, ld, NULL, j.looked_up.p, of_table,
                    j.tokens + first, rows_between(&j.rows, low, high), blocks * j.H)
        j.k.copy_rows(&c)
        return
    for t in range(low, high):
        n = active_rows(&j.rows, t)
        slots = slots_at(j, t, low, mine.thread) + j.cell.x_slot * H + row0 * j.slots.stride[1]
        c = copy_of(slots, ld, NULL, j.looked_up.p, of_table, j.tokens + first + row0, min(mine.row1, n) - row0,
                    blocks * j.H)
        first += n
        if not mine.by_units:
            j.k.copy_rows(&c)
            continue
        c.n = mine.unit1 - mine.unit0
        for g in range(blocks):
            c.to, c.from_ = slots + g * H + mine.unit0 * j.item, j.looked_up.p + g * H + mine.unit0 * j.item
            j.k.copy_rows(&c)


cdef inline bint reads_in_place(const Forward *j, idx steps, const Share *mine) noexcept nogil:
    """Whether the input's product takes a chunk of x as it lies in the caller's order, one row after the other.

    Then x is not copied, the rows of a tile are the steps of one row, and the weights are read once for each row (RNN
    with lengths, Emerald Rapids, 1000,8,64: 1.04x, 1000,8,8,32: 1.04x, 1000,8,32: 1.01x; with AVX2 1.01x). It is for
    small weights, and for one matrix: of several, tiles are narrower, and it gains nothing.
    """
    return (j.x_row != NULL and steps >= STEPS_BY_ROW and j.x_pack.groups == 1 and not mine.by_units
            and j.x_pack.n * j.x_pack.k * j.item <= RC_L1_BYTES)


cdef void project_by_row(Forward *j, idx low, idx high, Products *products, const Share *mine) noexcept nogil:
    """As `project`, for x as it lies in the caller's order."""
    cdef rc_product p = products.of_x
    cdef idx t = low, stop, n, row
    cdef char *x
    cdef char *slots
    p.lda, p.steps = j.x.stride[0] // j.item, 1
    while t < high:
        n, stop = active_rows(&j.rows, t), end_of_equal_steps(&j.rows, t, high)
        p.ldc = n * products.of_x.ldc
        p.prepared.count = 0
        x, slots = j.x.p + t * j.x.stride[0], slots_at(j, t, low, mine.thread) + j.cell.x_slot * j.H * j.item
        for row in range(mine.row0, min(mine.row1, n)):
            p.a, p.c = x + j.x_row[row] * j.x.stride[1], slots + row * j.slots.stride[1]
            j.k.product(&p, 0, stop - t, mine.unit0, mine.unit1)
        t = stop
    p.prepared.count = 0                    # `project` has other strides


cdef void set_up_products(const Forward *j, const Share *mine, Products *products) noexcept nogil:
    """Fill in what the products of all steps have in common."""
    cdef const rc_stage *stage
    cdef rc_product *p = &products.of_x
    cdef StageProduct *r
    cdef idx units
    cdef int s, g, down
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
        p.lda, p.ldc, p.gc = j.P, j.slots.stride[1] // j.item, j.H
        # the slots that already hold the product with the input
        p.adds = max(0, min(stage.groups, j.cell.x_slot + j.cell.blocks - stage.slot))
        for g in range(stage.groups):
            p.bias[g] = j.bias + (stage.slot + g) * j.H * j.item
        r.offset = stage.slot * j.H * j.item
        units = (1 if stage.groups > 1 else RC_PANEL_VECTORS) * j.k.lanes
        r.units_at_once = max(1, RC_L1_BYTES // (max(1, mine.row1 - mine.row0) * units * stage.groups * j.item)) * units
        for down in range(2):
            r.prepared[down].count = r.prepared[down].row1 = 0
    if j.r_pack != NULL:
        r = &products.of_m
        r.p = product_with(j.r_pack)
        r.p.a, r.p.lda, r.p.ldc = j.aux, j.H, j.P
        r.prepared[0].count = r.prepared[1].count = 0


cdef inline void set_addresses(const Forward *j, rc_step *step, rc_step *of_h, idx t, idx low, int now,
                               int thread) noexcept nogil:
    """Where step t, in the chunk that begins at `low`, reads and writes; h before it is `j.h[now]`."""
    step.slots = slots_at(j, t, low, thread)
    step.prev, of_h.h = j.h[now], j.h[1 - now]
    of_h.h_out = j.out.p + t * j.out.stride[0] if j.out_row != NULL else step_at(&j.out, &j.rows, t)
    step.c_out = step_at(&j.c_out, &j.rows, t) if j.c_out.p != NULL else NULL


cdef inline idx end_of_run(const Forward *j, idx s, idx s1, idx n) noexcept nogil:
    """Up to where steps have the n rows of step s, and no row is reset before them."""
    cdef idx t
    if j.resets.starts == NULL:
        if j.rows.starts == NULL:
            return s1
        if j.reverse:
            return min(s1, j.T if n == j.rows.B else j.T - j.rows.lengths[n])
        return end_of_equal_steps(&j.rows, s, s1)
    for s in range(s + 1, s1):
        t = j.T - 1 - s if j.reverse else s
        if active_rows(&j.rows, t) != n or any_reset(&j.resets, t):
            return s
    return s1


cdef inline bint all_alike(const Forward *j, const StageProduct *r, const Share *mine) noexcept nogil:
    """Whether in a run of steps nothing but addresses changes from one step to the next: see `steps_alike`."""
    cdef int s
    for s in range(j.cell.stages):
        if mine.by_units or mine.unit1 - mine.unit0 > r[s].units_at_once:
            return False
    return True


cdef inline bint steps_at_once(const Forward *j) noexcept nogil:
    """Whether the cell has a kernel of its own for a row of a net so small that its weights stay in L1."""
    return (j.cell.steps != NULL and j.variant == NULL and j.r_pack == NULL
            and j.H * j.H * j.cell.stage[0].groups * j.item <= RC_L1_BYTES)


cdef int steps_alike(Forward *j, rc_step *step, rc_step *of_h, Products *products, idx s0, idx s1, idx low, int now,
                     idx row1, idx ahead, const Share *mine) noexcept nogil:
    """The steps s0 .. s1 of one run, in a loop that does only what such steps need. Returns which h is the last one.

    In a small net the loop's own instructions are a good part of a step. Of one row, LSTM and GRU leave even more of them
    out, in a kernel of their own (see `steps_at_once`). Padding is cleared step by step: many stores at once would have
    to wait for their cache lines, those of a step get them while the next one is computed (RNN forward with lengths,
    Emerald Rapids, 1000,8,64: 1.05x, 1000,8,32: 1.02x).
    """
    cdef const rc_stage *stage
    cdef StageProduct *r = products.of_h
    cdef rc_product *p
    cdef idx t = j.T - 1 - s0 if j.reverse else s0, rows = active_rows(&j.rows, t), sign = -1 if j.reverse else 1
    cdef idx of_slots = sign * rows * j.slots.stride[1], of_c = sign * rows * j.c_out.stride[1], n
    cdef idx of_out = sign * j.out.stride[0] * (rows if j.rows.starts != NULL and j.out_row == NULL else 1)
    cdef int s, down, stages = j.cell.stages
    cdef rc_copy clear
    clear.count = 0
    set_addresses(j, step, of_h, t, low, now, mine.thread)
    if j.clears:
        clear = padding_of(j, t, rows, mine)
        clear.step_to *= sign
    if row1 - mine.row0 == 1 and steps_at_once(j):
        if clear.count > 0:
            clear.steps = s1 - s0
            j.k.copy_rows(&clear)
        j.cell.steps(&r.p, step, mine.row0, s1 - s0, of_slots, of_out, of_c)
        return 1 - now
    for s in range(stages):
        for down in range(2):
            if r[s].prepared[down].row1 != row1:
                r[s].prepared[down].count = 0
    for n in range(s1 - s0):
        for s in range(stages):
            stage = &j.cell.stage[s]
            p = &r[s].p
            p.a = step.prev
            if stage.from_aux:
                p.a = step.aux
            p.c = <char *>step.slots + r[s].offset
            p.downward = t & 1
            p.prepared = &r[s].prepared[p.downward]
            if p.prepared.count > 0:
                j.k.product_again(p, mine.row0)
            else:
                j.k.product(p, mine.row0, row1, mine.unit0, mine.unit1)
            stage.forward(step, mine.row0, row1, mine.unit0, mine.unit1)
        if j.r_pack != NULL:
            project_state(j, of_h, &products.of_m, row1, t & 1, mine)
        if ahead > 0:
            fetch_input(j, t + sign * ahead, mine)
        if clear.count > 0:
            j.k.copy_rows(&clear)
            clear.to = <char *>clear.to + sign * j.out.stride[0]
        now, t = 1 - now, t + sign
        step.slots, of_h.h_out = <char *>step.slots + of_slots, <char *>of_h.h_out + of_out
        step.prev, of_h.h = j.h[now], j.h[1 - now]
        if step.c_out != NULL:
            step.c_out = <char *>step.c_out + of_c
    return now


cdef bint recur(Forward *j, rc_step *step, rc_step *of_h, Products *products, idx row1, idx low, idx steps,
                bint downward, Share *mine) noexcept nogil:
    """One step of the rows up to row1: each stage's product, and its equations while their sums are in cache.

    Threads that share the hidden units wait for each other after each stage, and after the projection, which reads m
    of all units. The step is one of a chunk of `steps` that begins at `low`. True: this thread is done.
    """
    cdef const rc_stage *stage
    cdef StageProduct *r = products.of_h
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
        p.c = <char *>step.slots + r[s].offset
        p.downward = downward           # up and down in turns, so that a step begins with weights that are in cache
        parts = 1 if mine.unit1 - mine.unit0 <= size else (mine.unit1 - mine.unit0 + size - 1) // size
        p.prepared = &r[s].prepared[p.downward] if parts == 1 else NULL
        for n in range(parts):
            u = mine.unit0 + (parts - 1 - n if p.downward else n) * size
            stop = min(mine.unit1, u + size)
            j.k.product(p, mine.row0, row1, u, stop)
            stage.forward(step, mine.row0, row1, u, stop)
        if mine.by_units and meet_in_chunk(j, mine, low, steps):
            return True
    if j.r_pack != NULL:
        project_state(j, of_h, &products.of_m, row1, downward, mine)
        if mine.by_units and meet_in_chunk(j, mine, low, steps):
            return True
    return False


cdef void project_state(const Forward *j, const rc_step *of_h, StageProduct *r, idx row1, bint downward,
                        const Share *mine) noexcept nogil:
    """h = W_hr m for this thread's rows up to row1 or part of h, and its copy to the output."""
    cdef idx at = mine.h0 * j.item, row0 = mine.row0, ldout = j.out.stride[1] // j.item
    cdef char *h = <char *>of_h.h + row0 * j.P * j.item + at
    cdef char *out = <char *>of_h.h_out + at
    cdef const idx *order = NULL
    cdef rc_copy c
    r.p.c = of_h.h
    r.p.downward = downward
    r.p.prepared = &r.prepared[downward]
    j.k.product(&r.p, mine.row0, row1, mine.h0, mine.h1)
    if j.out_row == NULL:
        out += row0 * j.out.stride[1]
    else:
        order = j.out_row + row0
    c = copy_of(out, ldout, order, h, j.P, NULL, row1 - row0, mine.h1 - mine.h0)
    j.k.copy_rows(&c)
