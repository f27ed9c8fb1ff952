# A call of a layer, as a whole, where its arguments need no conversion.
#
# In Python, what lies around the loops took 8 us of a call. Where a program sleeps or does other work for 15 ms between
# two calls, it took 110: each function is then read from memory again. (On a Xeon, LSTM 4,1,5,12 now takes 1.9 us instead
# of 10, and after a pause 60 instead of 170.)


cdef struct Axes:               # of a caller's sequences, which are C-contiguous
    idx T, B
    bint batched, batch_first   # False, False: (T, F); True, False: (T, B, F); True, True: (B, T, F)


cdef struct Places:             # of rows of unequal length, as in `ragged.Batch`
    const idx *order
    const idx *rank


def call(list weights, x, state, lengths, int directions, bint batch_first):
    """Run a stack of layers: `RecurrentLayer.call_on` without resets.

    Parameters
    ----------
    weights : list of Weights
        Those of every layer and direction, in the order of the states.
    x, state, lengths
        As given to the layer.

    Returns
    -------
    What the layer returns; None where an argument has to be converted or refused, which takes Python: where it is no
    C-contiguous array of the right shape and type (that of the weights, or intp for lengths, which may also be a list
    of integers), where the pair (h, c) is no tuple, or where rows of unequal length have no step at all.
    """
    cdef Weights w = first_of(weights)
    cdef Forward job
    cdef Axes axes, inside
    cdef Array of_x, of_y
    cdef idx parts = len(weights), P = w.output_size, N = 0, position, direction
    cdef bint last, zeros = False
    cdef Rows rows
    cdef Places places
    cdef Allocation arranged
    if not take_sequences(x, w, batch_first, w.input_size, &axes):
        return None
    states = copies_of_states(state, w, parts, &axes, axes.batched)
    if states is None:
        return None
    h, c = states[0], states[1] if len(states) > 1 else None
    rows.B, rows.starts, rows.lengths = axes.B, NULL, NULL
    places.order = places.rank = NULL
    if lengths is not None:
        lengths = plain_lengths(lengths, axes.B)
        if lengths is None:
            return None
        arranged = arrange_rows(<const idx *>address(lengths), axes.T, &rows, &places)
        if arranged is None:
            return None
        if rows.starts != NULL:
            N = rows.starts[axes.T]
            if N == 0:
                return None
            zeros = is_mostly_padding(axes.T, axes.B, N)
            if axes.B > 1 and state is not None:
                h = reordered(h, places.order)
                c = None if c is None else reordered(c, places.order)
    y = x
    set_strides(y, &axes, w.input_size, w.item, &of_y)
    of_x, inside = of_y, axes
    inside.batched, inside.batch_first = True, False
    if rows.starts != NULL:
        inside.T, inside.B = N, 1
    for position in range(parts):
        w, direction = weights[position], position % directions
        last = position + directions >= parts
        if direction == 0:
            below, of_x = y, of_y       # the array stays until the layer has read it
            y = new_sequences(&axes if last else &inside, directions * P, x.dtype, last and zeros)
            set_strides(y, &axes if last else &inside, directions * P, w.item, &of_y)
        set_up_job(&job, w, direction == 1)
        job.x, job.out, job.rows = of_x, of_y, rows
        job.out.p += direction * P * w.item
        job.h[0] = address(h) + position * axes.B * P * w.item
        if c is not None:
            job.c = address(c) + position * axes.B * w.hidden_size * w.item
        if rows.starts != NULL:
            job.clears = last and not zeros
            if axes.B > 1:
                job.x_row = places.order if position < directions else NULL
                job.out_row = places.order if last else NULL
            if job.x_row == NULL:
                job.x.stride[1] = job.x.stride[0]
            if job.out_row == NULL:
                job.out.stride[1] = job.out.stride[0]
        run_job(&job, w, axes.T)
    if rows.starts != NULL and axes.B > 1:
        h = reordered(h, places.rank)
        c = None if c is None else reordered(c, places.rank)
    return y, h if c is None else (h, c)


cdef object plain_lengths(given, idx B):
    """The lengths of B rows as an array of intp; None: they have to be converted or refused, or there is no row."""
    if type(given) is list:
        given = whole_numbers(given)
    if (B == 0 or not is_plain(given, NPY_INTP) or PyArray_NDIM(<PyArrayObject *>given) != 1
            or PyArray_DIMS(<PyArrayObject *>given)[0] != B):
        return None
    return given


cdef object whole_numbers(list given):
    """Python's integers as an array of intp; None where there is anything else."""
    cdef Py_ssize_t n = len(given)
    cdef idx at
    cdef int too_large = 0
    found = PyArray_SimpleNew(1, &n, NPY_INTP)
    for at in range(n):
        if type(given[at]) is not int:
            return None
        (<idx *>address(found))[at] = <idx>PyLong_AsLongLongAndOverflow(given[at], &too_large)
        if too_large:
            return None
    return found


cdef Allocation arrange_rows(const idx *lengths, idx T, Rows *rows, Places *places):
    """Sort rows of unequal length, as `ragged.Batch` does. Rows of T steps are left as they are.

    The memory of the results lives as long as what is returned; None: a length is out of range.
    """
    cdef Allocation found = Allocation.__new__(Allocation)
    cdef idx *p
    cdef idx B = rows.B
    cdef int unequal
    found.m = memory((4 * B + T + 1) * sizeof(idx), SCRATCH)
    p = <idx *>found.m.p
    memcpy(p, lengths, B * sizeof(idx))         # the caller's array may change after it was checked
    unequal = unequal_lengths(p, B, T)
    if unequal == 0:
        return None
    if unequal == 1:
        places.order, places.rank, rows.lengths, rows.starts = p + B, p + 2 * B, p + 3 * B, p + 4 * B
        arrange_net(p, p + B, p + 2 * B, p + 3 * B, p + 4 * B, T, B)
    return found


cdef bint take_sequences(x, Weights w, bint batch_first, idx features, Axes *axes) noexcept:
    """Find the axes of a caller's sequences; whether they are plain, and have so many features."""
    cdef Py_ssize_t *shape
    if not is_plain(x, kind_of(w.item)) or not 2 <= PyArray_NDIM(<PyArrayObject *>x) <= 3:
        return False
    shape = PyArray_DIMS(<PyArrayObject *>x)
    axes.batched = PyArray_NDIM(<PyArrayObject *>x) == 3
    axes.batch_first = batch_first and axes.batched
    axes.T, axes.B = shape[axes.batch_first], shape[not axes.batch_first] if axes.batched else 1
    return shape[1 + axes.batched] == features


cdef list copies_of_states(given, Weights w, idx parts, const Axes *axes, bint batched):
    """A caller's state, or None, as the list of those that the cell has: see `copy_of_state`. None: it takes Python."""
    h = given
    c = None
    if given is not None and w.cell.states == 2:
        if type(given) is not tuple or len(<tuple>given) != 2:
            return None
        h, c = <tuple>given
    h = copy_of_state(h, parts, axes, batched, w.output_size, w.item)
    if h is None or w.cell.states == 1:
        return None if h is None else [h]
    c = copy_of_state(c, parts, axes, batched, w.hidden_size, w.item)
    return None if c is None else [h, c]


cdef object copy_of_state(given, idx parts, const Axes *axes, bint batched, idx width, idx item):
    """A caller's state, or zeros, as a new array; None if it is not plain or has another shape.

    It is (parts, B, width), or (parts, width) where a single sequence is not `batched`.
    """
    cdef Py_ssize_t[3] shape
    cdef Py_ssize_t *has
    cdef int ndim = 3 if axes.batched else 2, i
    shape[0], shape[1], shape[ndim - 1] = parts, axes.B, width
    if given is not None:
        if not is_plain(given, kind_of(item)) or PyArray_NDIM(<PyArrayObject *>given) != ndim:
            return None
        has = PyArray_DIMS(<PyArrayObject *>given)
        for i in range(ndim):
            if has[i] != shape[i]:
                return None
    if batched and not axes.batched:
        shape[1], shape[2], ndim = 1, width, 3
    found = PyArray_SimpleNew(ndim, shape, kind_of(item))
    set_state(address(found), address(given), parts * axes.B * width * item)
    return found


cdef object new_sequences(const Axes *axes, idx features, dtype, bint zeros):
    """An array of sequences, of zeros or uninitialised."""
    cdef tuple shape = (axes.T, features)
    if axes.batched:
        shape = (axes.B, axes.T, features) if axes.batch_first else (axes.T, axes.B, features)
    return new_zeros(shape, dtype) if zeros else room(shape, dtype)


cdef void set_strides(a, const Axes *axes, idx features, idx item, Array *out) noexcept:
    """As `take`: where the steps and the rows of an array of sequences lie."""
    cdef idx row = features * item
    out.p, out.last, out.item = address(a), features, item
    out.stride[0], out.stride[1] = axes.B * row, row
    if axes.batch_first:
        out.stride[0], out.stride[1] = row, axes.T * row
