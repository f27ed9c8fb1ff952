# Arrays from Python, and the memory of tapes, packed weights and scratch, which is kept for the next pass.


cdef struct Array:
    char *p                     # NULL: not given
    idx stride[2]               # byte strides of the leading axes
    idx last, item              # values along the last axis, bytes of one


cdef int take(object a, Array *out, int axes) except -1:
    """Address and leading strides of an array, which the caller keeps alive. None gives NULL."""
    cdef PyArrayObject *array = <PyArrayObject *>a
    cdef int i
    out.p = NULL
    out.stride[0] = out.stride[1] = 0
    if a is None:
        return 0
    if not PyArray_Check(a):
        raise TypeError(f"got {type(a).__name__}, expected an array")
    out.p = <char *>PyArray_DATA(array)
    for i in range(axes):
        out.stride[i] = PyArray_STRIDES(array)[i]
    out.last, out.item = PyArray_DIMS(array)[PyArray_NDIM(array) - 1], PyArray_ITEMSIZE(array)
    return 0


cdef inline int kind_of(idx item) noexcept:
    """numpy's number of the type whose values have so many bytes."""
    return NPY_FLOAT if item == 4 else NPY_DOUBLE


cdef inline bint is_plain(a, int kind) noexcept:
    """Whether it is an array of numpy's own class, aligned, C-contiguous, and of this type."""
    return (PyArray_CheckExact(a) and PyArray_TYPE(<PyArrayObject *>a) == kind
            and PyArray_ISCARRAY_RO(<PyArrayObject *>a))


cdef idx take_nets(object a, Array *out, idx *next_net) except -1:
    """As `take`, with two axes after a leading one, whose stride becomes `next_net`; returns its length."""
    cdef Py_ssize_t *strides
    take(a, out, 0)
    next_net[0] = 0
    if a is None:
        return 0
    strides = PyArray_STRIDES(<PyArrayObject *>a)
    next_net[0], out.stride[0], out.stride[1] = strides[0], strides[1], strides[2]
    return PyArray_DIMS(<PyArrayObject *>a)[0]


cdef char *state_at(list states, int which, idx position) except? NULL:
    """h (`which` 0) or c (1) at a position of contiguous arrays (n, B, H) or (B, H). NULL: the cell has none."""
    cdef Array a
    if which >= len(states):
        return NULL
    take(states[which], &a, 1)
    return a.p + position * a.stride[0]


cdef extern from *:
    """
    #if defined(__linux__)
    #include <sys/mman.h>
    static void rc_want_huge_pages(void *p, size_t size) { madvise(p, size, MADV_HUGEPAGE); }
    #else
    static void rc_want_huge_pages(void *p, size_t size) { (void)p; (void)size; }
    #endif
    """
    void rc_want_huge_pages(void *p, size_t size) nogil


cdef enum:
    HUGE_PAGE = 1 << 21
    SMALLEST_KEPT = 1 << 12         # smaller pieces the allocator keeps by itself
    MOST_KEPT = 64                  # pieces
    # Sizes at which glibc may take pages from the system and give them back after use, and from which on the pages are
    # mostly huge ones, so that their faults matter less than keeping the memory.
    SMALLEST_RESULT = 1 << 17
    LARGEST_RESULT = 1 << 25


cdef extern from *:
    """
    #ifdef __SANITIZE_ADDRESS__         /* a write beyond a piece would land in one that is kept, unseen */
    #define RC_SANITIZED 1
    #else
    #define RC_SANITIZED 0
    #endif
    """
    int SANITIZED "RC_SANITIZED"


cdef inline size_t rounded(size_t bytes) noexcept nogil:
    return (bytes + RC_CACHE_LINE - 1) // RC_CACHE_LINE * RC_CACHE_LINE


cdef enum Purpose:              # a piece is used again for the same purpose only, while it may still be in cache
    A_TAPE, GRADIENTS, PARAMETERS, PACKED_WEIGHTS, SCRATCH, RESULTS

cdef dict PURPOSES = {"a tape": A_TAPE, "gradients": GRADIENTS, "gradients of parameters": PARAMETERS}


cdef struct Memory:
    char *p
    size_t size
    Purpose purpose


# The pieces that were given back, oldest first, and how many bytes of them there may be. New pages from the system are
# expensive (40 % of a training step at T 100, B 32, H 256), so a pass uses those of an earlier one. All layers share
# them, and the GIL guards them.
cdef Memory[MOST_KEPT] kept
cdef int kept_count = 0
cdef size_t kept_bytes = 0
cdef size_t kept_limit = 0 if SANITIZED else 1 << 29


cdef Memory memory(size_t size, Purpose purpose) except *:
    """At least `size` bytes with undefined contents, aligned for whole vectors and one vector longer than asked for.

    From 2 MB on they are on huge pages where the system has them, which saves page faults and TLB misses.
    """
    cdef Memory m
    cdef void *p = NULL
    cdef int i, best = -1           # the smallest that fits, so that each pass in a loop finds its own
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
        rc_want_huge_pages(p, size)
    m.p, m.size, m.purpose = <char *>p, size, purpose
    return m


cdef void give_back(Memory m) noexcept:
    """Keep the piece for a later pass, within the limit; the oldest pieces are freed for it."""
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
    """Free the oldest pieces until at most so many bytes and pieces are kept."""
    while kept_bytes > bytes or kept_count > pieces:
        free(kept[0].p)
        forget(0)


def get_kept_bytes():
    """Bytes that are kept for later passes."""
    return kept_bytes


def release_kept():
    """Free all that are kept."""
    drop(0, 0)


def get_kept_limit():
    """How many bytes may be kept."""
    return kept_limit


def set_kept_limit(size_t limit):
    """Keep at most so many bytes from now on; what is above the limit is freed at once."""
    global kept_limit
    kept_limit = limit
    drop(limit, MOST_KEPT)


@cython.no_gc
cdef class Allocation:
    """The memory of one or several arrays, which keep it alive: it is given back when the last of them is deleted."""
    cdef Memory m
    cdef readonly size_t nbytes         # as asked for; the piece may be larger

    def __dealloc__(self):
        give_back(self.m)

    def __getbuffer__(self, Py_buffer *view, int flags):
        # numpy asks whether it may be written to, where an array that was made read-only is to be writable again
        PyBuffer_FillInfo(view, self, self.m.p, <Py_ssize_t>self.nbytes, 0, flags)


def carve(str purpose, dtype, tuple shapes, idx nets=0):
    """Arrays of these shapes (None: no array) on one allocation, with undefined contents; no two share a cache line.

    In an array with four axes the last two are the slots of a row, and there may be gaps between rows: see `row_bytes`.
    With `nets` every array has a leading axis of this length before its shape.
    """
    cdef idx item = dtype.itemsize, row = 0, each = max(1, nets)
    cdef size_t size = 0, at = 0
    cdef list arrays = []
    cdef object shape
    cdef Allocation memory_of_all = Allocation.__new__(Allocation)
    for shape in shapes:
        if shape is not None:
            size += rounded(each * extent(shape, item, &row))
    memory_of_all.m, memory_of_all.nbytes = memory(size, PURPOSES[purpose]), size
    for shape in shapes:
        if shape is None:
            arrays.append(None)
            continue
        size = extent(shape, item, &row)
        arrays.append(array_on(memory_of_all, at, shape, dtype, row, nets, size))
        at += rounded(each * size)
    return arrays


cdef object array_on(Allocation owner, size_t at, tuple shape, dtype, idx row, idx nets, idx of_net):
    """An array on the memory of an allocation, from byte `at` on; `row`, `nets` and `of_net` are bytes as in `carve`."""
    cdef Py_ssize_t[6] lengths
    cdef Py_ssize_t[6] strides
    cdef int ndim = 0, lead = nets > 0, kind = dtype.num
    cdef idx stride = dtype.itemsize
    if len(shape) > 5:
        raise ValueError(f"shape: got {len(shape)} axes, expected at most 5")
    if kind not in (NPY_FLOAT, NPY_DOUBLE):
        raise TypeError(f"dtype: got {dtype}, expected float32 or float64")
    for n in shape:
        lengths[lead + ndim] = n
        ndim += 1
    for i in range(lead + ndim - 1, lead - 1, -1):
        strides[i] = stride
        stride *= lengths[i]
        if row > 0 and i == lead + 2:       # the slots of a row are before it
            stride = row
    if lead:
        lengths[0], strides[0] = nets, of_net
    return array_of(owner, owner.m.p + at, lead + ndim, lengths, strides, kind)


def room(tuple shape, dtype):
    """A new array with undefined contents, for a caller to keep: an output, or a gradient of the input.

    A large one is on memory that was freed earlier, if there is any: where the allocator gives and takes back pages,
    their faults were half of the time of recording RNN 300,32,128,128.
    """
    cdef size_t size = dtype.itemsize
    cdef idx n
    cdef Allocation own
    for n in shape:
        size *= n
    if not SMALLEST_RESULT <= size <= LARGEST_RESULT:
        return ndarray(shape, dtype)
    own = Allocation.__new__(Allocation)
    own.m, own.nbytes = memory(size, RESULTS), size
    return array_on(own, 0, shape, dtype, 0, 0, 0)


cdef idx extent(tuple shape, idx item, idx *row) except -1:
    """Bytes of an array; `row` becomes the bytes of a row of slots, or 0 where the array has fewer than four axes."""
    cdef idx size = item, n
    for n in shape:
        size *= n
    row[0] = 0
    if len(shape) == 4:
        row[0] = row_bytes(<idx>shape[2] * <idx>shape[3] * item)
        size = <idx>shape[0] * <idx>shape[1] * row[0]
    return size
