# A call of a layer, as a whole, where its arguments need no conversion.
#
# In Python, what lies around the loops took 8 us of a call. Where a program sleeps or does other work for 15 ms between
# two calls, it took 110: each function is then read from memory again. (On a Xeon, LSTM 4,1,5,12 now takes 1.9 us instead
# of 10, and after a pause 60 instead of 170.)


cdef struct Axes:               # of a caller's sequences, which are C-contiguous
    idx T, B
    bint batched, batch_first   # False, False: (T, F); True, False: (T, B, F); True, True: (B, T, F)


def call(list weights, x, state, int directions, bint batch_first):
    """Run a stack of layers on rows of equal length: `RecurrentLayer.call_on` without lengths and resets.

    Parameters
    ----------
    weights : list of Weights
        Those of every layer and direction, in the order of the states.
    x, state
        As given to the layer.

    Returns
    -------
    What the layer returns; None where an argument has to be converted or refused, which takes Python: where it is no
    C-contiguous array of the weights' type and of the right shape, or where the pair (h, c) is no tuple.
    """
    cdef Weights w = weights[0]
    cdef Forward job
    cdef Axes axes, inside
    cdef Array of_x, of_y
    cdef Py_ssize_t *shape
    cdef int kind = NPY_FLOAT if w.item == 4 else NPY_DOUBLE
    cdef idx parts = len(weights), P = w.output_size, position, direction
    if not is_plain(x, kind) or not 2 <= PyArray_NDIM(<PyArrayObject *>x) <= 3:
        return None
    shape = PyArray_DIMS(<PyArrayObject *>x)
    axes.batched = PyArray_NDIM(<PyArrayObject *>x) == 3
    axes.batch_first = batch_first and axes.batched
    axes.T, axes.B = shape[axes.batch_first], shape[not axes.batch_first] if axes.batched else 1
    if shape[1 + axes.batched] != w.input_size:
        return None
    h = state
    c = None
    if state is not None and w.cell.states == 2:
        if type(state) is not tuple or len(<tuple>state) != 2:
            return None
        h, c = <tuple>state
    h = copy_of_state(h, parts, &axes, P, kind)
    if h is None:
        return None
    if w.cell.states == 2:
        c = copy_of_state(c, parts, &axes, w.hidden_size, kind)
        if c is None:
            return None
    y = x
    set_strides(y, &axes, w.input_size, w.item, &of_y)
    of_x, inside = of_y, axes
    inside.batched, inside.batch_first = True, False
    for position in range(parts):
        w, direction = weights[position], position % directions
        if direction == 0:
            below, of_x = y, of_y       # the array stays until the layer has read it
            y = new_sequences(&axes if position + directions == parts else &inside, directions * P, x.dtype)
            set_strides(y, &axes if position + directions == parts else &inside, directions * P, w.item, &of_y)
        set_up_job(&job, w, direction == 1)
        job.x, job.out, job.rows.B = of_x, of_y, axes.B
        job.out.p += direction * P * w.item
        job.h[0] = address(h) + position * axes.B * P * w.item
        if c is not None:
            job.c = address(c) + position * axes.B * w.hidden_size * w.item
        run_job(&job, w, axes.T)
    return y, h if c is None else (h, c)


cdef inline bint is_plain(a, int kind) noexcept:
    """Whether it is an array of numpy's own class, aligned, C-contiguous, and of this type."""
    return (PyArray_CheckExact(a) and PyArray_TYPE(<PyArrayObject *>a) == kind
            and PyArray_ISCARRAY_RO(<PyArrayObject *>a))


cdef object copy_of_state(given, idx parts, const Axes *axes, idx width, int kind):
    """A caller's state, or zeros, as a new array; None if it is not plain or has another shape."""
    cdef Py_ssize_t[3] shape
    cdef Py_ssize_t *has
    cdef int ndim = 3 if axes.batched else 2, i
    shape[0], shape[1], shape[ndim - 1] = parts, axes.B, width
    if given is not None:
        if not is_plain(given, kind) or PyArray_NDIM(<PyArrayObject *>given) != ndim:
            return None
        has = PyArray_DIMS(<PyArrayObject *>given)
        for i in range(ndim):
            if has[i] != shape[i]:
                return None
    found = PyArray_SimpleNew(ndim, shape, kind)
    set_state(address(found), address(given), parts * axes.B * width * (4 if kind == NPY_FLOAT else 8))
    return found


cdef object new_sequences(const Axes *axes, idx features, dtype):
    """An uninitialised array of sequences."""
    if not axes.batched:
        return room((axes.T, features), dtype)
    return room((axes.B, axes.T, features) if axes.batch_first else (axes.T, axes.B, features), dtype)


cdef void set_strides(a, const Axes *axes, idx features, idx item, Array *out) noexcept:
    """As `take`: where the steps and the rows of an array of sequences lie."""
    cdef idx row = features * item
    out.p, out.last, out.item = address(a), features, item
    out.stride[0], out.stride[1] = axes.B * row, row
    if axes.batch_first:
        out.stride[0], out.stride[1] = row, axes.T * row
