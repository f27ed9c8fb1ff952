# An embedding: rows of a table by number, and the sums of the gradients of each row.
#
# Where a recurrent layer reads such rows, many of them are the same. Its products with the input are then computed once
# for each row of the table and looked up, and going back, the gradients of the pre-activations are first added up by
# token: of the three products with weight_ih in a training step, each is one of V rows in the place of one of T·B.


cdef enum:
    # Values copied, or added, from which two threads help: 0.1 ms of work, as for the thresholds in plan.pxi.
    THREADS_EMBEDDING = 1 << 18


cdef struct Embedding:
    const rc_kernels *k
    idx M, V, E, item
    const idx *tokens           # M
    char *table                 # (V, E), or its gradient
    char *rows                  # (M, E)
    idx ldrows                  # values from one of these rows to the next
    const idx *starts           # V + 1: where the places of each token begin
    const idx *places           # M: the places in `tokens` of token 0, then those of token 1, ..., each in their order


def embed(table, tokens, rows):
    """rows[i] = table[tokens[i]]; contiguous arrays (V, E), (M,) of intp, (M, E).

    Returns False, and writes nothing, where a token is not a row of the table.
    """
    cdef Embedding job
    set_embedding(&job, table, tokens, rows)
    if not within(job.tokens, job.M, job.V):
        return False
    with nogil:
        rc_pool_run(embed_thread, &job, rnncore_get_num_threads() if job.M * job.E > THREADS_EMBEDDING else 1)
    return True


def embedding_gradient(grad_table, tokens, grad_rows):
    """Each row of grad_table (V, E) becomes the sum of the rows of grad_rows (M, E) with its token; 0: there are none.

    A sum adds its rows in their order in float64 and is rounded once, so its error does not grow with their number.
    """
    cdef Embedding job
    set_embedding(&job, grad_table, tokens, grad_rows)
    sum_by_token(&job)


cdef int sum_by_token(Embedding *j) except -1:
    cdef Memory scratch = memory((j.V + 1 + j.M) * sizeof(idx), SCRATCH)
    cdef idx *starts = <idx *>scratch.p
    j.starts, j.places = starts, starts + j.V + 1
    with nogil:
        sort_places(j.tokens, j.M, j.V, starts, starts + j.V + 1)
        rc_pool_run(embedding_gradient_thread, j, rnncore_get_num_threads() if j.M * j.E > THREADS_EMBEDDING else 1)
    give_back(scratch)
    return 0


def project_table(Weights w, table, products):
    """products (V, blocks·H) = W_ih x + bias of every row x of a table (V, I), in the order of the slots."""
    cdef Linear job
    packed_weights(w)
    set_table(&job, w, table, products)
    run_linear_forward(&job, table.shape[0])


def table_backward(Weights w, table, tokens, delta, grad_table, grad_w_ih):
    """The gradients of a table (V, I), and of weight_ih through it, from those of the pre-activations.

    `delta` is as `backward` leaves it, and `tokens` as `forward` takes them; `w.pack_backward` must have been called.
    The gradients of each token are added up in float64 in the order of the steps, and rounded once.
    """
    cdef Embedding sums
    cdef Linear job
    cdef Array a
    packed_weights(w, True)
    summed = carve("gradients", table.dtype, ((table.shape[0], w.cell.blocks * w.hidden_size),))[0]
    take(delta, &a, 2)
    set_embedding(&sums, summed, tokens, summed)
    sums.rows = a.p + w.cell.x_slot * w.hidden_size * w.item
    sums.ldrows = a.stride[0 if delta.shape[1] == 1 else 1] // w.item
    sum_by_token(&sums)
    set_table(&job, w, table, summed)
    run_linear_backward(&job, table.shape[0], grad_table, grad_w_ih, None)


cdef int set_table(Linear *job, Weights w, table, products) except -1:
    cdef Array a
    cdef int g
    take(table, &a, 0)
    job.x = a.p
    take(products, &a, 0)
    job.y = a.p
    job.k, job.w, job.wt, job.bias = w.k, &w.x, &w.xt, w.bias + w.cell.x_slot * w.hidden_size * w.item
    job.I, job.O, job.item, job.blocks = w.input_size, w.cell.blocks * w.hidden_size, w.item, w.cell.blocks
    for g in range(job.blocks):
        job.block[g] = w.cell.x_order[g]
    return 0


cdef int set_embedding(Embedding *job, table, tokens, rows) except -1:
    cdef Array a
    take(tokens, &a, 0)
    job.tokens, job.M = <const idx *>a.p, a.last
    take(rows, &a, 0)
    job.rows = a.p
    take(table, &a, 0)
    job.table, job.V, job.E, job.item = a.p, table.shape[0], a.last, a.item
    job.ldrows = job.E
    job.k = rc_kernels_for(chosen_isa, <int>a.item * 8)
    return 0


cdef bint within(const idx *tokens, idx M, idx V) noexcept nogil:
    cdef bint inside = True
    cdef idx i
    for i in range(M):
        inside &= 0 <= tokens[i] < V
    return inside


cdef void sort_places(const idx *tokens, idx M, idx V, idx *starts, idx *places) noexcept nogil:
    """A counting sort, which keeps the order of the places of a token."""
    cdef idx i, t, at = 0, n
    memset(starts, 0, (V + 1) * sizeof(idx))
    for i in range(M):
        starts[tokens[i]] += 1
    for t in range(V):
        n, starts[t] = starts[t], at
        at += n
    for i in range(M):
        t = tokens[i]
        places[starts[t]] = i
        starts[t] += 1
    for t in range(V, 0, -1):           # each begins where the one before it has ended
        starts[t] = starts[t - 1]
    starts[0] = 0


cdef void embed_thread(void *context, int thread, int threads) noexcept nogil:
    cdef Embedding *j = <Embedding *>context
    cdef idx size = j.E * j.item, start, stop, i
    split(j.M, 1, thread, threads, &start, &stop)
    for i in range(start, stop):
        memcpy(j.rows + i * size, j.table + j.tokens[i] * size, size)


cdef void embedding_gradient_thread(void *context, int thread, int threads) noexcept nogil:
    """The sums of this thread's tokens: about as many places for each thread."""
    cdef Embedding *j = <Embedding *>context
    cdef idx size = j.E * j.item, t, low, high
    for t in range(j.V):
        low, high = j.starts[t], j.starts[t + 1]
        if owner(j, low + t, threads) != thread:
            continue
        if low == high:
            memset(j.table + t * size, 0, size)
        else:
            j.k.sum_rows(j.table + t * size, j.rows, j.ldrows, j.places + low, high - low, j.E)


cdef inline int owner(const Embedding *j, idx work, int threads) noexcept nogil:
    """The thread that sums a token before which there are so many tokens and places."""
    return <int>(work * threads // (j.M + j.V))
