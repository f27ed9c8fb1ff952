# Forward through time.


cdef struct Recurrence:         # a stage's product, all but what each step fills in
    rnn_product p
    rnn_kept kept[2]            # upward, downward
    idx block                   # units at once: as many as leave the pre-activations in L1


cdef struct Products:           # of the input, and of each stage
    rnn_product of_x
    rnn_kept kept
    Recurrence of_h[2]


cdef struct Forward:
    const rnn_kernels *k
    const rnn_cell *cell
    const rnn_pack *x_pack
    const rnn_pack *h_pack
    char *bias
    idx T, B, H, item
    idx s0, s1                  # the steps to do, counted from where the pass begins
    Array x, out, gates, c_out  # gates: the tape's, or one chunk of scratch
    const idx *lengths
    int reverse, keep
    char *h[2]                  # carried h, this step's and the next
    char *c
    char *aux
    Plan plan
    rnn_barrier barrier
    Products *products          # prepared once for many calls; NULL: by each thread


def forward(Weights w, x, out, list states, idx position=0, *, gates=None, c_out=None, lengths=None, bint reverse=False):
    """Run one layer and direction over time.

    Parameters
    ----------
    w : Weights
    x : (T, B, I), last axis contiguous
    out : (T, B, H), last axis contiguous: the outputs are written here
    states : h, and c where the cell has it, each (n, B, H) or (B, H), contiguous: in and out
    position : which of the n
    gates : (T, B, slots, H), rows contiguous, or None: not kept
    c_out : (T, B, H), contiguous, or None
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
    job.keep = gates is not None
    job.plan = make_plan(w, T, B, 1)
    job.products = NULL
    take(x, &job.x, 2)
    take(out, &job.out, 2)
    take(gates, &job.gates, 2)
    take(c_out, &job.c_out, 2)
    cdef Array a
    job.h[0], job.c = state_at(states, 0, position), state_at(states, 1, position)
    take(lengths, &a, 0)
    job.lengths = <const idx *>a.p

    state = rounded(B * job.H * job.item)
    row = row_bytes(job.cell.slots * job.H * job.item)
    chunk = rounded(job.plan.chunk * B * row)
    scratch = memory(2 * state + (0 if job.keep else chunk), SCRATCH)
    job.h[1], job.aux = scratch.p, scratch.p + state
    if not job.keep:
        job.gates.p = scratch.p + 2 * state
        job.gates.ld[0], job.gates.ld[1] = B * row, row
    pace = begin_at(w, T, B, 1)
    try:
        while True:
            job.s0, job.s1 = pace.s0, pace.s1
            memset(&job.barrier, 0, sizeof(job.barrier))
            with nogil:
                rnn_pool_run(forward_thread, &job, job.plan.threads)
            if not next_stretch(&pace):
                break
    finally:
        give_back(scratch)


cdef inline char *gates_at(const Forward *j, idx t, idx chunk_start) noexcept nogil:
    return j.gates.p + (t if j.keep else t - chunk_start) * j.gates.ld[0]


cdef void forward_thread(void *context, int thread, int threads) noexcept nogil:
    """One thread's rows or units, over the job's steps."""
    cdef Forward *j = <Forward *>context
    cdef Part part = part_of(&j.plan, j.B, j.H, thread, threads)
    cdef idx H = j.H, T = j.T, item = j.item, s, s0, s1 = j.s0, t, low, row
    cdef int now = 0
    cdef rnn_step step
    cdef Products own
    cdef Products *products = j.products
    if products == NULL:
        products = &own
        prepare(j, &part, products)
    memset(&step, 0, sizeof(step))
    step.h_size, step.tape_rows = H, j.B
    step.lengths, step.reverse, step.keep = j.lengths, j.reverse, j.keep
    step.ldgates, step.ldprev, step.ldout = j.gates.ld[1] // item, H, j.out.ld[1] // item
    step.c, step.aux = j.c, j.aux
    while s1 < j.s1:
        s0, s1 = s1, min(j.s1, s1 + j.plan.chunk)
        low = T - s1 if j.reverse else s0
        project(j, low, low + s1 - s0, products, &part)
        for s in range(s0, s1):
            t = T - 1 - s if j.reverse else s
            step.t = t
            step.gates = gates_at(j, t, low)
            step.prev, step.h = j.h[now], j.h[1 - now]
            step.h_out = j.out.p + t * j.out.ld[0]
            step.c_out = j.c_out.p + t * j.c_out.ld[0] if j.c_out.p != NULL else NULL
            if recur(j, &step, products.of_h, &part):
                return
            now = 1 - now
    if now == 1:
        for row in range(part.row0, part.row1):
            memcpy(j.h[0] + (row * H + part.unit0) * item, j.h[1] + (row * H + part.unit0) * item,
                   (part.unit1 - part.unit0) * item)


cdef inline rnn_product product_with(const rnn_pack *pack) noexcept nogil:
    """One step's product that starts from zero, its arrays to be filled in."""
    cdef rnn_product p
    memset(&p, 0, sizeof(p))
    p.pack, p.steps = pack, 1
    return p


cdef void project(Forward *j, idx low, idx high, Products *products, const Part *part) noexcept nogil:
    """Steps low .. high of W_ih x + bias, into the slots that the input feeds."""
    cdef rnn_product *p = &products.of_x
    cdef idx item = j.item, row0, row1
    p.a, p.c = j.x.p + low * j.x.ld[0], gates_at(j, low, low) + j.cell.x_slot * j.H * item
    p.lda, p.steps, p.step_a, p.step_c = j.x.ld[1] // item, high - low, j.x.ld[0] // item, j.gates.ld[0] // item
    row0, row1 = part.row0, part.row1
    if row1 - row0 == j.B and (j.B == 1 or j.x.ld[0] == j.B * j.x.ld[1]):       # rows of all steps lie evenly
        row0, row1, p.steps = 0, (high - low) * j.B, 1
        p.lda = j.x.ld[0] // j.B // item
    j.k.product(p, row0, row1, part.unit0, part.unit1)


cdef void prepare(const Forward *j, const Part *part, Products *products) noexcept nogil:
    """What the steps' products have in common."""
    cdef const rnn_stage *stage
    cdef rnn_product *p = &products.of_x
    cdef Recurrence *r
    cdef idx units
    cdef int s, g
    p[0] = product_with(j.x_pack)
    p.ldc, p.gc, p.kept = j.gates.ld[1] // j.item, j.H, &products.kept
    p.kept.count = 0
    for g in range(j.cell.gates):
        p.bias[g] = j.bias + (j.cell.x_slot + g) * j.H * j.item
    for s in range(j.cell.stages):
        stage = &j.cell.stage[s]
        r = &products.of_h[s]
        p = &r.p
        p[0] = product_with(&j.h_pack[s])
        p.lda, p.ldc, p.gc = j.H, j.gates.ld[1] // j.item, j.H
        p.adds = max(0, min(stage.groups, j.cell.x_slot + j.cell.gates - stage.slot))  # projected before
        for g in range(stage.groups):
            p.bias[g] = j.bias + (stage.slot + g) * j.H * j.item
        units = (1 if stage.groups > 1 else 4) * j.k.lanes
        r.block = max(1, 16384 // (max(1, part.row1 - part.row0) * units * stage.groups * j.item)) * units
        r.kept[0].count = r.kept[1].count = 0


cdef bint recur(Forward *j, rnn_step *step, Recurrence *r, Part *part) noexcept nogil:
    """One step: each stage's product, and its equations on the panels while they are in cache.

    Threads that share the units meet after each stage; True: this thread is done.
    """
    cdef const rnn_stage *stage
    cdef rnn_product *p
    cdef idx block, blocks, n, u, stop
    cdef int s
    for s in range(j.cell.stages):
        stage = &j.cell.stage[s]
        p = &r[s].p
        block = r[s].block
        p.a = step.prev
        if stage.from_aux:
            p.a = step.aux
        p.c = <char *>step.gates + stage.slot * j.H * j.item
        p.downward = step.t & 1                 # there and back: each step begins with weights in cache
        blocks = 1 if part.unit1 - part.unit0 <= block else (part.unit1 - part.unit0 + block - 1) // block
        p.kept = &r[s].kept[p.downward] if blocks == 1 else NULL
        for n in range(blocks):
            u = part.unit0 + (blocks - 1 - n if p.downward else n) * block
            stop = min(part.unit1, u + block)
            j.k.product(p, part.row0, part.row1, u, stop)
            stage.forward(step, part.row0, part.row1, u, stop)
        if part.by_units and meet(&j.barrier, part, True):
            return True
    return False
