# An embedding: rows of a table by number, and the sums of the gradients of each row.


cdef enum:
    # Values copied, or added, from which two threads help: 0.1 ms of work, as for the thresholds in plan.pxi.
    THREADS_EMBEDDING = 1 << 18


cdef struct Embedding:
    const rc_kernels *k
    idx M, V, E, item
    const idx *tokens           # M
    char *table                 # (V, E), or its gradient
    char *rows                  # (M, E)
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
    cdef Memory scratch
    cdef idx *starts
    set_embedding(&job, grad_table, tokens, grad_rows)
    scratch = memory((job.V + 1 + job.M) * sizeof(idx), SCRATCH)
    starts = <idx *>scratch.p
    job.starts, job.places = starts, starts + job.V + 1
    with nogil:
        sort_places(job.tokens, job.M, job.V, starts, starts + job.V + 1)
        rc_pool_run(embedding_gradient_thread, &job,
                    rnncore_get_num_threads() if job.M * job.E > THREADS_EMBEDDING else 1)
    give_back(scratch)


cdef int set_embedding(Embedding *job, table, tokens, rows) except -1:
    cdef Array a
    take(tokens, &a, 0)
    job.tokens, job.M = <const idx *>a.p, a.last
    take(rows, &a, 0)
    job.rows = a.p
    take(table, &a, 0)
    job.table, job.V, job.E, job.item = a.p, table.shape[0], a.last, a.item
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
            j.k.sum_rows(j.table + t * size, j.rows, j.E, j.places + low, high - low, j.E)


cdef inline int owner(const Embedding *j, idx work, int threads) noexcept nogil:
    """The thread that sums a token before which there are so many tokens and places."""
    return <int>(work * threads // (j.M + j.V))
