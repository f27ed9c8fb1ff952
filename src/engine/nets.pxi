# Many nets of one cell and shape in one call: an ensemble. Each net has weights of its own, and none depends on another,
# so threads divide the nets: each takes one after the other and computes it alone, as a call of one net on one thread
# does. What a call sets up for one net is set up here for all of them, before the GIL is dropped.


cdef extern from *:
    """
    /* The counter's value; it is n more for the next thread that asks. */
    static Py_ssize_t rc_take_next(Py_ssize_t *counter, Py_ssize_t n)
    {
        return __atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
    }
    """
    idx take_next "rc_take_next" (idx *counter, idx n) noexcept nogil


cdef enum:
    # Work of a net, as in `Pace`, up to which it is computed as a whole between two signals; in longer ones all nets
    # that are being computed pause after some steps.
    LONG_NET = 2 * FIRST_STRETCH
    # For so many nets of each thread it pays that threads take two at a time, although one may be left without any.
    NETS_TO_SHARE = 4


cdef struct UnpackedNets:       # the weights of nets, in arrays with a leading axis of nets
    Packing first               # packs those of net 0; the packs have no memory
    const rc_variant *variant   # NULL: the cell is no variant
    char *b_ih
    char *b_hh
    char *peepholes
    idx next_w_ih, next_w_hh, next_w_hr, next_b_ih, next_b_hh, next_peepholes     # bytes from one net to the next
    size_t of_vectors           # bytes that a net's biases take before its packed matrices; 0: transposes have none


cdef struct PackedNet:          # the weights of one net, packed in a thread's scratch
    rc_pack x, r
    rc_pack h[RC_MAX_STAGES]
    rc_variant variant
    char *bias


cdef struct Nets:
    char *jobs                  # of all nets: Forward or Backward
    idx first, stop, next       # the nets to compute now, and which of them is to be taken next
    idx s0, s1                  # their steps to compute now, counted from where the pass begins
    bint whole                  # these are all of them
    int at_once                 # how many nets a thread takes: 2 where they share a loop, in `backward_nets`
    char *scratch
    size_t scratch_of_net       # bytes that one net needs while it is computed
    const UnpackedNets *unpacked     # the weights that a thread packs when it comes to their net; NULL: they are packed
    int threads


cdef inline char *scratch_of(const Nets *nets, idx net, int thread) noexcept nogil:
    """A thread's scratch serves the nets that it takes; a net that pauses keeps its own."""
    cdef idx place = thread * nets.at_once + (net - nets.first) % nets.at_once if nets.whole else net - nets.first
    return nets.scratch + place * nets.scratch_of_net


cdef int run_nets(Nets *nets, rc_pool_fn f, Weights w, idx count, const Rows *rows, idx T, bint from_last,
                  double passes) except -1:
    """Compute all nets, some at a time. `rows` are those of the net with the most, `f` takes nets until none is left.

    Python may handle signals in between.
    """
    cdef Pace of_net = first_stretch(w, T, rows, from_last, passes), pace
    cdef double work = T * (of_net.of_step + of_net.of_row * rows.B)
    cdef idx in_round
    cdef Memory scratch
    nets.whole, nets.stop = work <= LONG_NET, 0
    if not nets.whole:
        nets.at_once = 1
    in_round = nets.threads * nets.at_once
    scratch = memory(in_round * nets.scratch_of_net, SCRATCH)
    nets.scratch = scratch.p
    try:
        if nets.whole:                      # a step of this pace is one net, or two at once, on each thread
            pace = of_net
            pace.T, pace.of_step, pace.of_row = (count + in_round - 1) // in_round, work * nets.at_once, 0
            find_end(&pace, FIRST_STRETCH)
            pace.began = rc_now()
            nets.s0, nets.s1 = 0, T
            while True:
                nets.first, nets.stop = pace.s0 * in_round, min(count, pace.s1 * in_round)
                run_some(nets, f)
                if not next_stretch(&pace):
                    return 0
        while nets.stop < count:
            nets.first, nets.stop = nets.stop, min(count, nets.stop + nets.threads)
            pace = of_net
            pace.began = rc_now()
            while True:
                nets.s0, nets.s1 = pace.s0, pace.s1
                run_some(nets, f)
                if not next_stretch(&pace):
                    break
            PyErr_CheckSignals()
    finally:
        give_back(scratch)
    return 0


cdef int run_some(Nets *nets, rc_pool_fn f) except -1:
    nets.next = nets.first
    with nogil:
        rc_pool_run_portions(f, nets, nets.threads)
    return 0


cdef int threads_for(Weights w, idx count, idx T, idx B, double passes) noexcept:
    """How many threads divide the nets."""
    cdef double flops = 2.0 * T * B * w.work_of_row() * passes
    if flops * count <= (THREADS_FORWARD if passes == 1 else THREADS_BACKWARD):
        return 1
    return <int>min(rnncore_get_num_threads(), count)


cdef struct NetRows:            # the rows of all nets
    Rows rows                   # of the first
    const idx *order            # [net][B]; NULL: all rows are full
    const idx *first            # [net]: where the rows of these steps begin in arrays that hold those of all steps
    idx T


cdef NetRows take_batches(object batches, idx T, idx B) except *:
    cdef NetRows r
    cdef Array a
    r.rows, r.order, r.first, r.T = take_batch(batches, B), NULL, NULL, T
    if batches is not None:
        take(batches.order, &a, 0)
        r.order = <const idx *>a.p
        take(batches.first, &a, 0)
        r.first = <const idx *>a.p
        r.T = batches.steps
    return r


cdef inline void rows_of_net(const NetRows *r, idx net, Rows *rows) noexcept:
    rows[0] = r.rows
    if rows.starts != NULL:
        rows.starts, rows.lengths = starts_of_net(&r.rows, net, r.T), r.rows.lengths + net * r.rows.B


cdef struct NetArray:
    Array of_first              # of the first net
    idx next_net                # bytes from one net to the next
    bint all_steps              # rows of unequal length: it holds those of all steps of the pass


cdef int take_of_nets(object a, NetArray *out, const NetRows *r, bint all_steps) except -1:
    """As `take_rows`, for an array with a leading axis of nets."""
    take_nets(a, &out.of_first, &out.next_net)
    out.all_steps = all_steps
    if r.rows.starts != NULL:
        out.of_first.stride[1] = out.of_first.stride[0]
    return 0


cdef inline void array_of_net(const NetArray *a, const NetRows *r, idx net, Array *out) noexcept:
    out[0] = a.of_first
    if out.p != NULL:
        out.p += net * a.next_net
        if a.all_steps and r.first != NULL:
            out.p += r.first[net] * out.stride[0]


cdef bint take_of_nets_in_either_order(object a, NetArray *out, const NetRows *r) except -1:
    """As `take_in_either_order`, for an array with a leading axis of nets. True: it is in the caller's order."""
    if r.order == NULL or r.rows.B == 1 or a.shape[2] != r.rows.B:
        take_of_nets(a, out, r, True)
        return False
    take_nets(a, &out.of_first, &out.next_net)
    out.all_steps = False
    return True


cdef char *state_of_net(list states, int which, idx net, idx position) except? NULL:
    """h (`which` 0) or c (1) in contiguous arrays (nets, n, B, H) or (nets, B, H). NULL: the cell has none."""
    cdef Array a
    cdef idx next_net
    if which >= len(states):
        return NULL
    take_nets(states[which], &a, &next_net)
    return a.p + net * next_net + position * a.stride[0]


def forward_nets(weights, x, out, list states, idx position=0, *, slots=None, c_out=None, batch=None,
                 resets=None, idx first_step=0, bint reverse=False):
    """Run one layer and direction of all nets over time: as `forward`, where all arrays have a leading axis of nets.

    Parameters
    ----------
    weights : list of Weights, one for each net, or Unpacked
    x, out, states, position, resets, first_step, reverse : as for `forward`
    slots, c_out : as for `forward`; of these steps alone
    batch : ragged.Batches or None
        Then x and out, unless they are in the caller's order, hold the rows of all steps of the pass.
    """
    cdef Weights w = first_of_nets(weights)
    cdef NetRows rows = take_batches(batch, x.shape[1], x.shape[2])
    cdef idx count = len(weights), T = rows.T, B = rows.rows.B, n
    cdef Resets of_first = take_resets(resets, first_step)
    cdef NetArray ax, aout, aslots, ac
    cdef bint x_as_given, out_as_given
    cdef Forward one
    cdef Forward *j
    cdef Nets nets
    cdef UnpackedNets unpacked
    cdef Rows full
    cdef Memory jobs
    if T == 0 or B == 0:
        return
    x_as_given = take_of_nets_in_either_order(x, &ax, &rows)
    out_as_given = take_of_nets_in_either_order(out, &aout, &rows)
    take_of_nets(slots, &aslots, &rows, False)
    take_of_nets(c_out, &ac, &rows, False)
    memset(&one, 0, sizeof(one))
    one.k, one.cell = w.k, w.cell
    one.T, one.H, one.P, one.I, one.item = T, w.hidden_size, w.output_size, w.input_size, w.item
    one.rows, one.reverse, one.slots_wanted = rows.rows, reverse, slots is not None
    one.plan = make_plan(w, T, T * B, B, 1)
    one.plan.threads, one.plan.by_units = 1, False
    if rows.order != NULL:
        one.plan.chunk_rows = max(FORWARD_CHUNK, B)
        one.x_row = rows.order if x_as_given else NULL
    nets.threads, nets.at_once = threads_for(w, count, T, B, 1), 1
    nets.scratch_of_net = use_scratch(&one, NULL) + take_unpacked(weights, &nets, &unpacked, False)
    jobs = memory(count * sizeof(Forward), SCRATCH)
    nets.jobs = jobs.p
    try:
        for n in range(count):
            w = weights[n]
            j = <Forward *>nets.jobs + n
            j[0] = one
            j.x_pack, j.h_pack, j.r_pack, j.bias = &w.x, w.h, w.projection(False), w.bias
            j.variant = w.variant_or_null()
            rows_of_net(&rows, n, &j.rows)
            j.resets = resets_of_net(of_first, n)
            array_of_net(&ax, &rows, n, &j.x)
            array_of_net(&aout, &rows, n, &j.out)
            array_of_net(&aslots, &rows, n, &j.slots)
            array_of_net(&ac, &rows, n, &j.c_out)
            j.x_row = rows.order + n * B if x_as_given else NULL
            j.out_row = rows.order + n * B if out_as_given else NULL
            j.h[0], j.c = state_of_net(states, 0, n, position), state_of_net(states, 1, n, position)
        full.B, full.starts, full.lengths = B, NULL, NULL
        run_nets(&nets, forward_nets_thread, w, count, &full, T, reverse, 1)
    finally:
        give_back(jobs)


cdef void forward_nets_thread(void *context, int thread, int threads) noexcept nogil:
    cdef Nets *nets = <Nets *>context
    cdef Forward j
    cdef PackedNet own
    cdef char *scratch
    cdef idx net = take_next(&nets.next, 1)
    while net < nets.stop:
        j = (<Forward *>nets.jobs)[net]
        scratch = scratch_of(nets, net, thread)
        if nets.unpacked != NULL:
            scratch = pack_net(nets, net, scratch, &own)
            j.x_pack, j.h_pack, j.bias = &own.x, own.h, own.bias
            j.r_pack = NULL if j.r_pack == NULL else &own.r
            j.variant = NULL if j.variant == NULL else &own.variant
        use_scratch(&j, scratch)
        j.s0, j.s1 = nets.s0, nets.s1
        forward_thread(&j, 0, 1)
        net = take_next(&nets.next, 1)


def backward_nets(weights, walk):
    """Back-propagate through the steps of one layer and direction of all nets. `walk` is a `nets.NetsWalk`.

    `weights` is a list of `Weights`, one for each net, that have their transposes, or `Unpacked`.

    As `backward`, for one cotangent on each row, where all arrays have a leading axis of nets. Those of rows of unequal
    length hold the rows of all steps of the pass, but for slots and c, which hold those of these steps.
    """
    cdef Weights w = first_of_nets(weights, True)
    cdef Sums sums = walk.sums
    cdef list initial, carry = walk.carry
    steps = walk.steps
    initial = steps.initial
    cdef NetRows rows = take_batches(steps.batch, steps.x.shape[1], steps.x.shape[2])
    cdef idx count = len(weights), T = rows.T, B = rows.rows.B, n
    cdef NetArray x, h, slots, c, grad_out, delta, total_h, total_c, grad_x
    cdef Backward one
    cdef Backward *j
    cdef Nets nets
    cdef UnpackedNets unpacked
    cdef Rows full
    cdef Memory jobs
    if T == 0 or B == 0:
        return
    take_of_nets(steps.x, &x, &rows, True)
    take_of_nets(steps.h, &h, &rows, True)
    take_of_nets(steps.slots, &slots, &rows, False)
    take_of_nets(steps.c, &c, &rows, False)
    take_of_nets(walk.grad_out, &grad_out, &rows, True)
    take_of_nets(walk.grad_x, &grad_x, &rows, True)
    take_of_nets(walk.delta, &delta, &rows, True)
    take_of_nets(walk.total_h, &total_h, &rows, True)
    take_of_nets(walk.total_c, &total_c, &rows, True)
    memset(&one, 0, sizeof(one))
    one.k, one.cell = w.k, w.cell
    one.T, one.B, one.R, one.I, one.item = T, B, B, w.input_size, w.item
    one.H, one.P, one.rt_pack, one.total_h = w.hidden_size, w.output_size, w.projection(True), total_h.of_first
    one.reverse, one.accumulate, one.first_step = steps.reverse, walk.add_to_grad_x, steps.first_step
    one.resets = take_resets(steps.resets, steps.first_step)
    one.delta_wanted = walk.delta is not None
    one.rows.B = B
    one.sums = sums.s if sums is not None else NULL
    one.plan.threads = 1
    nets.threads = threads_for(w, count, T, B, 3 if sums is not None else 2)
    nets.at_once = 2 if shares_loops(w, &rows.rows) and count >= NETS_TO_SHARE * nets.threads else 1
    nets.scratch_of_net = use_scratch_back(&one, NULL) + take_unpacked(weights, &nets, &unpacked, True)
    jobs = memory(count * sizeof(Backward), SCRATCH)
    nets.jobs = jobs.p
    try:
        for n in range(count):
            w = weights[n]
            j = <Backward *>nets.jobs + n
            j[0] = one
            j.xt_pack, j.ht_pack, j.rt_pack, j.variant = &w.xt, w.ht, w.projection(True), w.variant_or_null()
            rows_of_net(&rows, n, &j.tape)
            j.rows, j.resets = j.tape, resets_of_net(one.resets, n)
            array_of_net(&x, &rows, n, &j.x)
            array_of_net(&h, &rows, n, &j.h)
            array_of_net(&slots, &rows, n, &j.slots)
            array_of_net(&c, &rows, n, &j.c)
            array_of_net(&grad_out, &rows, n, &j.grad_out)
            array_of_net(&grad_x, &rows, n, &j.grad_x)
            array_of_net(&delta, &rows, n, &j.delta)
            array_of_net(&total_h, &rows, n, &j.total_h)
            array_of_net(&total_c, &rows, n, &j.total_c)
            j.h0, j.c0 = state_of_net(initial, 0, n, steps.position), state_of_net(initial, 1, n, steps.position)
            j.dh, j.dc = state_of_net(carry, 0, n, walk.position), state_of_net(carry, 1, n, walk.position)
            if sums is not None:
                j.sums, j.numbering = &sums.s[n], sums.s[n].numbering
            else:
                j.numbering.starts, j.numbering.B, j.numbering.T, j.first_step = j.rows.starts, B, T, 0
        full.B, full.starts, full.lengths = B, NULL, NULL
        run_nets(&nets, backward_nets_thread, w, count, &full, T, not steps.reverse, 3 if sums is not None else 2)
    finally:
        give_back(jobs)


cdef bint shares_loops(Weights w, const Rows *rows) noexcept:
    """Whether the walks of two nets go step by step together, which gives the sums of their only rows time.

    Their weights have to stay in L1 together.
    """
    cdef idx size = w.cell.blocks * w.hidden_size * w.output_size * w.item
    return rows.B == 1 and rows.starts == NULL and size <= RC_L1_BYTES


cdef void backward_nets_thread(void *context, int thread, int threads) noexcept nogil:
    cdef Nets *nets = <Nets *>context
    cdef Backward j, other
    cdef PackedNet own, of_other
    cdef idx net = take_next(&nets.next, nets.at_once)
    while net < nets.stop:
        begin_net(nets, net, thread, &j, &own)
        if rows_between(&j.rows, 0, j.T) > 0:
            if nets.at_once > 1 and net + 1 < nets.stop:
                begin_net(nets, net + 1, thread, &other, &of_other)
                walk_chunks(&j, &other, 0, 1)
            else:
                walk_chunks(&j, NULL, 0, 1)
        net = take_next(&nets.next, nets.at_once)


cdef void begin_net(const Nets *nets, idx net, int thread, Backward *j, PackedNet *own) noexcept nogil:
    cdef char *scratch = scratch_of(nets, net, thread)
    # From the last net on, whose tape is still in cache: 64 LSTMs, 60,1,12,32, Emerald Rapids: 1.02x.
    net = nets.first + nets.stop - 1 - net
    j[0] = (<Backward *>nets.jobs)[net]
    if nets.unpacked != NULL:
        scratch = pack_net(nets, net, scratch, own)
        j.xt_pack, j.ht_pack = &own.x, own.h
        j.rt_pack = NULL if j.rt_pack == NULL else &own.r
        j.variant = NULL if j.variant == NULL else &own.variant
    use_scratch_back(j, scratch)
    j.s0, j.s1, j.chunk_start = nets.s0, nets.s1, 0
    if rows_between(&j.rows, 0, j.T) > 0:
        find_chunk(j)


# ---- their weights ------------------------------------------------------------------------------


cdef class Unpacked:
    """The weights of all nets of one layer and direction as they lie, in arrays with a leading axis of nets.

    A thread packs those of a net into its scratch when it comes to the net, for this pass alone. Packing all of them
    before the pass writes them to memory, from where every net reads them again: that is for weights which serve several
    passes (training of 64 nets, 60,1,12,32, Emerald Rapids: LSTM 1.13x, GRU 1.1x). The arrays must not change while they
    are used, so the caller has to look afterwards whether they did.

    The constructor takes what `pack_nets` does. An item is a `Weights` without values, which has the sizes of all nets.
    """
    cdef Weights like
    cdef object arrays          # kept alive
    cdef Array of_x, of_h, of_r, x_bias, h_bias, of_c
    cdef idx count

    def __cinit__(self, str cell, w_ih, w_hh, b_ih=None, b_hh=None, w_hr=None, *, peepholes=None, variant=None):
        self.arrays, self.count = (w_ih, w_hh, b_ih, b_hh, w_hr, peepholes), len(w_ih)
        take(w_ih, &self.of_x, 1)
        take(w_hh, &self.of_h, 1)
        take(b_ih, &self.x_bias, 1)
        take(b_hh, &self.h_bias, 1)
        take(w_hr, &self.of_r, 1)
        take(peepholes, &self.of_c, 1)
        self.like = Weights.__new__(Weights)
        self.like.set_up(cell, &self.of_x, &self.of_h, &self.of_r, variant, self.of_c.p != NULL)

    def __len__(self):
        return self.count

    def __getitem__(self, idx k):
        if not 0 <= k < self.count:
            raise IndexError(f"weights: got net {k}, expected a number from 0 to {self.count - 1}")
        return self.like

    cdef size_t describe(self, UnpackedNets *u, bint transposed) noexcept:
        """Fill in what the threads need to know; returns the bytes of a net's packed weights."""
        cdef Weights w = self.like
        u.first, u.variant = w.packing(self.of_x.p, self.of_h.p, self.of_r.p, transposed), w.variant_or_null()
        u.b_ih, u.b_hh, u.peepholes = self.x_bias.p, self.h_bias.p, self.of_c.p
        u.next_w_ih, u.next_w_hh, u.next_w_hr = self.of_x.stride[0], self.of_h.stride[0], self.of_r.stride[0]
        u.next_b_ih, u.next_b_hh, u.next_peepholes = self.x_bias.stride[0], self.h_bias.stride[0], self.of_c.stride[0]
        u.of_vectors = 0 if transposed else w.bytes_of_vectors()
        return w.size_of(transposed)


cdef Weights first_of_nets(weights, bint transposed=False):
    """As `first_of`, where the weights need not be packed."""
    return (<Unpacked>weights).like if isinstance(weights, Unpacked) else first_of(weights, transposed)


cdef size_t take_unpacked(weights, Nets *nets, UnpackedNets *u, bint transposed) noexcept:
    """Let the threads pack weights that are not packed; returns the bytes that they need for those of a net."""
    nets.unpacked = NULL
    if isinstance(weights, list):
        return 0
    nets.unpacked = u
    return (<Unpacked>weights).describe(u, transposed)


cdef char *pack_net(const Nets *nets, idx net, char *to, PackedNet *own) noexcept nogil:
    """Pack the weights of a net when its first steps are computed; returns where the scratch goes on after them."""
    cdef const UnpackedNets *u = nets.unpacked
    cdef Packing job = u.first
    cdef int s
    own.x, own.r, own.bias = job.x[0], job.r[0], to
    job.w_ih += net * u.next_w_ih
    job.w_hh += net * u.next_w_hh
    if job.w_hr != NULL:
        job.w_hr += net * u.next_w_hr
    if u.variant != NULL:
        own.variant = u.variant[0]
        own.variant.peepholes = NULL if u.peepholes == NULL else u.peepholes + net * u.next_peepholes
    to += u.of_vectors
    to = place_pack(&own.x, job.k, to)
    for s in range(job.cell.stages):
        own.h[s] = job.h[s]
        to = place_pack(&own.h[s], job.k, to)
    to = place_pack(&own.r, job.k, to)
    if nets.s0 == 0:
        if u.of_vectors > 0:
            add_biases(job.k, job.cell, job.H, job.item, own.bias, NULL if u.b_ih == NULL else u.b_ih + net * u.next_b_ih,
                       NULL if u.b_hh == NULL else u.b_hh + net * u.next_b_hh)
        job.x, job.h, job.r = &own.x, own.h, &own.r
        packing_thread(&job, 0, 1)
    return to


def pack_nets(str cell, list earlier, w_ih, w_hh, b_ih=None, b_hh=None, w_hr=None, *, peepholes=None, variant=None):
    """A `Weights` for each net, from arrays with a leading axis of nets.

    All nets are of one `variant`. `earlier` holds for each net its `Weights`, which stay, or None. New ones lie in one
    piece of memory.
    """
    cdef Array of_x, of_h, of_r, x_bias, h_bias, of_c
    cdef Weights w
    cdef idx n, count = len(earlier), new = earlier.count(None), x_size, h_size, bias_size, i = 0
    cdef list found = list(earlier)
    cdef Allocation shared
    cdef Memory jobs
    cdef size_t size = 0
    if new == 0:
        return found
    take(w_ih, &of_x, 1)
    take(w_hh, &of_h, 1)
    take(b_ih, &x_bias, 1)
    take(b_hh, &h_bias, 1)
    take(w_hr, &of_r, 1)
    take(peepholes, &of_c, 1)
    jobs = memory(new * sizeof(Packing), SCRATCH)
    shared = Allocation.__new__(Allocation)
    try:
        for n in range(count):
            if found[n] is not None:
                continue
            found[n] = w = Weights.__new__(Weights)
            w.set_up(cell, &of_x, &of_h, &of_r, variant, of_c.p != NULL)
            if i == 0:
                size = w.size_of(False)
                shared.m, shared.nbytes = memory(new * size, PACKED_WEIGHTS), new * size
            w.shared = shared
            w.packed.p, w.packed.size = shared.m.p + i * size, size
            (<Packing *>jobs.p)[i] = w.begin(
                of_x.p + n * of_x.stride[0], of_h.p + n * of_h.stride[0],
                NULL if of_r.p == NULL else of_r.p + n * of_r.stride[0],
                NULL if x_bias.p == NULL else x_bias.p + n * x_bias.stride[0],
                NULL if h_bias.p == NULL else h_bias.p + n * h_bias.stride[0],
                NULL if of_c.p == NULL else of_c.p + n * of_c.stride[0])
            i += 1
        pack_all(jobs.p, new)
    finally:
        give_back(jobs)
    return found


def pack_nets_backward(list weights, w_ih, w_hh, w_hr=None):
    """`Weights.pack_backward` for all nets, from arrays with a leading axis of nets."""
    cdef Array of_x, of_h, of_r
    cdef Weights w
    cdef idx n, new = 0
    cdef Allocation shared
    cdef Memory jobs
    cdef size_t size = 0
    for w in weights:
        if w.packed_t.p == NULL:
            new, size = new + 1, w.size_of(True)
    if new == 0:
        return
    take(w_ih, &of_x, 1)
    take(w_hh, &of_h, 1)
    take(w_hr, &of_r, 1)
    jobs = memory(new * sizeof(Packing), SCRATCH)
    try:
        shared = Allocation.__new__(Allocation)
        shared.m, shared.nbytes = memory(new * size, PACKED_WEIGHTS), new * size
        new = 0
        for n in range(len(weights)):
            w = weights[n]
            if w.packed_t.p == NULL:
                w.shared_t = shared
                w.packed_t.p, w.packed_t.size = shared.m.p + new * size, size
                (<Packing *>jobs.p)[new] = w.packing(
                    of_x.p + n * of_x.stride[0], of_h.p + n * of_h.stride[0],
                    NULL if of_r.p == NULL else of_r.p + n * of_r.stride[0], True)
                new += 1
        pack_all(jobs.p, new)
    finally:
        give_back(jobs)


cdef void pack_all(char *jobs, idx count) noexcept:
    cdef Packing *first = <Packing *>jobs
    cdef idx size = count * first.H * first.cell.blocks * (first.I + first.P) * first.item
    cdef Nets nets
    nets.jobs, nets.next, nets.stop = jobs, 0, count
    rc_pool_run_portions(packing_nets_thread, &nets, rnncore_get_num_threads() if size > PACK_ON_THREADS else 1)


cdef void packing_nets_thread(void *context, int thread, int threads) noexcept nogil:
    cdef Nets *nets = <Nets *>context
    cdef idx net = take_next(&nets.next, 1)
    while net < nets.stop:
        packing_thread(<Packing *>nets.jobs + net, 0, 1)
        net = take_next(&nets.next, 1)
