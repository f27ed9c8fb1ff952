# Arrays from Python, and memory: what is taken for tapes, packed weights and scratch, and used again.


cdef struct Array:
    char *p                     # NULL: not given
    idx ld[3]                   # byte strides of the leading axes
    idx last, item              # values along the last axis, bytes of one


cdef int take(object a, Array *out, int axes) except -1:
    """Address and leading strides of an array that the caller keeps alive. None gives NULL."""
    cdef Py_buffer b
    cdef int i
    out.p = NULL
    out.ld[0] = out.ld[1] = out.ld[2] = 0
    if a is None:
        return 0
    PyObject_GetBuffer(a, &b, PyBUF_STRIDED_RO)
    out.p = <char *>b.buf
    for i in range(axes):
        out.ld[i] = b.strides[i]
    out.last, out.item = b.shape[b.ndim - 1], b.itemsize
    PyBuffer_Release(&b)
    return 0


cdef char *state_at(list states, int which, idx position) except? NULL:
    """Of h (0) or c (1), each (n, B, H) or (B, H) and contiguous, the one at a position; NULL: the cell has none."""
    cdef Array a
    if which >= len(states):
        return NULL
    take(states[which], &a, 1)
    return a.p + position * a.ld[0]


cdef extern from *:
    """
    #if defined(__linux__)
    #include <sys/mman.h>
    static void rnn_want_huge_pages(void *p, size_t size) { madvise(p, size, MADV_HUGEPAGE); }
    #else
    static void rnn_want_huge_pages(void *p, size_t size) { (void)p; (void)size; }
    #endif
    """
    void rnn_want_huge_pages(void *p, size_t size) nogil


cdef enum:
    HUGE_PAGE = 1 << 21
    SMALLEST_KEPT = 1 << 12         # what is smaller the allocator keeps by itself
    MOST_KEPT = 64                  # pieces


cdef extern from *:
    """
    #ifdef __SANITIZE_ADDRESS__         /* memory that is kept hides who writes beyond his own */
    #define RNN_SANITIZED 1
    #else
    #define RNN_SANITIZED 0
    #endif
    """
    int SANITIZED "RNN_SANITIZED"


cdef inline size_t rounded(size_t bytes) noexcept nogil:
    return (bytes + 63) // 64 * 64


cdef enum Purpose:              # pieces are used again for what they were used for: so each stays warm in cache
    A_TAPE, GRADIENTS, PARAMETERS, PACKED_WEIGHTS, SCRATCH

PURPOSES = {"a tape": A_TAPE, "gradients": GRADIENTS, "gradients of parameters": PARAMETERS}


cdef struct Memory:
    char *p
    size_t size
    Purpose purpose


# What was given back, oldest first, and how many bytes of it there may be. Fresh pages cost more than the steps that
# fill them (measured: 40 % of a training step at T 100, B 32, H 256), so a pass takes those of an earlier one. All layers
# share them; the GIL guards them.
cdef Memory[MOST_KEPT] kept
cdef int kept_count = 0
cdef size_t kept_bytes = 0
cdef size_t kept_limit = 0 if SANITIZED else 1 << 29


cdef Memory memory(size_t size, Purpose purpose) except *:
    """At least `size` bytes, aligned for whole vectors, and a vector longer than asked for; contents undefined.

    From 2 MB on in huge pages where the system has them, which saves page faults and lookups.
    """
    cdef Memory m
    cdef void *p = NULL
    cdef int i, best = -1           # the tightest, so that a loop of passes finds its own
    for i in range(kept_count - 1 if size >= SMALLEST_KEPT // 2 else -1, -1, -1):
        if (kept[i].purpose == purpose and size <= kept[i].size <= size + size // 4
                and (best < 0 or kept[i].size < kept[best].size)):
            best = i
    if best >= 0:
        m = kept[best]
        forget(best)
        return m
    if posix_memalign(&p, HUGE_PAGE if size >= HUGE_PAGE else 64, size + 64):
        raise MemoryError(f"{size} bytes")
    if size >= HUGE_PAGE:
        rnn_want_huge_pages(p, size)
    m.p, m.size, m.purpose = <char *>p, size, purpose
    return m


cdef void give_back(Memory m) noexcept:
    """Keep the piece for the next pass that fits into it, within the limit: the oldest pieces go first."""
    global kept_count, kept_bytes
    if m.p == NULL or m.size < SMALLEST_KEPT or m.size > kept_limit:
        free(m.p)
        return
    drop(kept_limit - m.size, MOST_KEPT - 1)
    kept[kept_count] = m
    kept_count += 1
    kept_bytes += m.size


cdef void forget(int i) noexcept:
    global kept_count, kept_bytes
    kept_bytes -= kept[i].size
    kept_count -= 1
    for i in range(i, kept_count):
        kept[i] = kept[i + 1]


cdef void drop(size_t bytes, int pieces) noexcept:
    """Free the oldest pieces until no more than so much is kept."""
    while kept_bytes > bytes or kept_count > pieces:
        free(kept[0].p)
        forget(0)


def get_kept_bytes():
    """Bytes that are kept for the next passes."""
    return kept_bytes


def release_kept():
    """Free all of them now."""
    drop(0, 0)


def get_kept_limit():
    """How many of them there may be."""
    return kept_limit


def set_kept_limit(size_t limit):
    """Keep at most so many bytes; what is above is freed now."""
    global kept_limit
    kept_limit = limit
    drop(limit, MOST_KEPT)


@cython.no_gc
cdef class Block:
    """Memory that arrays live on; they keep it alive, and it is given back when the last one is gone."""
    cdef Memory m
    cdef readonly size_t nbytes         # asked for; the piece may be somewhat larger

    def __dealloc__(self):
        give_back(self.m)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.m.p, <Py_ssize_t>self.nbytes, 0, flags)


def carve(str purpose, dtype, tuple shapes):
    """Arrays of these shapes (None: no array) on one block, each on its own cache lines, their contents undefined.

    With four axes, the last two are a row of slots, and rows may lie apart: see `row_bytes`.
    """
    cdef idx item = dtype.itemsize, row = 0
    cdef size_t size = 0, at = 0
    cdef list arrays = []
    cdef object shape, strides
    cdef Block block = Block.__new__(Block)
    for shape in shapes:
        if shape is not None:
            size += rounded(extent(shape, item, &row))
    block.m, block.nbytes = memory(size, PURPOSES[purpose]), size
    for shape in shapes:
        if shape is None:
            arrays.append(None)
            continue
        size = extent(shape, item, &row)
        strides = (shape[1] * row, row, shape[3] * item, item) if row else None
        arrays.append(ndarray(shape, dtype, block, at, strides))
        at += rounded(size)
    return arrays


cdef idx extent(tuple shape, idx item, idx *row) except -1:
    """Bytes of an array, and of a row of slots, 0 without."""
    cdef idx size = item, n
    for n in shape:
        size *= n
    row[0] = 0
    if len(shape) == 4:
        row[0] = row_bytes(<idx>shape[2] * <idx>shape[3] * item)
        size = <idx>shape[0] * <idx>shape[1] * row[0]
    return size
