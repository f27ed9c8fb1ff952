# A recorded pass of a layer, as a whole, and its backward pass, where the arguments need no conversion. As in call.pxi
# it is Python around the loops that is left out.


def record(list weights, x, state, int directions, bint batch_first, lookup, batch):
    """Run a stack of layers and keep what BPTT needs: `RecurrentLayer.record_on`, without resets and dropout.

    Parameters
    ----------
    weights, x, state, directions, batch_first
        As for `call`.
    lookup : Lookup or None
        Which rows of a table x is, arranged for this batch.
    batch : ragged.Batch or None
        The rows of unequal length.

    Returns
    -------
    tuple
        See `passes.WholePass`. None where an argument has to be converted or refused, or there is no step.
    """
    cdef Weights w = first_of(weights)
    cdef Forward job
    cdef Axes axes
    cdef Array of_x, of_out, order, tokens
    cdef Rows rows
    cdef rc_copy copy
    cdef idx parts = len(weights), P = w.output_size, H = w.hidden_size, T, B, N, position, direction
    cdef list outs = [], given, initial, final, arrays, shapes
    if not take_sequences(x, w, batch_first, w.input_size, &axes) or axes.T == 0 or axes.B == 0:
        return None
    rows, T, B = take_batch(batch, axes.B), axes.T, axes.B
    N = rows_between(&rows, 0, T)
    if N == 0:
        return None
    given = initial = copies_of_states(state, w, parts, &axes, True)
    if given is None:
        return None
    if batch is not None:
        T, B = N, 1             # of the arrays, which hold active rows alone
        take(batch.order, &order, 0)
        if state is not None:
            initial = [reordered(one, <const idx *>order.p) for one in given]
    final = [PyArray_NewCopy(<PyArrayObject *>one, NPY_CORDER) for one in initial]
    shapes = [(T, B, w.input_size)]
    for position in range(parts):
        shapes.append((T, B, w.cell.slots, H) if w.cell.slots_on_tape else None)
        shapes.append((T, B, H) if w.cell.states == 2 else None)
    arrays = carve("a tape", x.dtype, tuple(shapes))
    take_rows(arrays[0], &of_out, &rows)
    set_strides(x, &axes, w.input_size, w.item, &of_x)
    with nogil:                     # a copy, since the caller's array may change before backward
        if rows.starts != NULL:
            copy_rows_of_net(&rows, axes.T, &of_x, &of_out, <const idx *>order.p, False)
        elif axes.batch_first:
            copy = copy_of(of_out.p, w.input_size, NULL, of_x.p, of_x.stride[1] // w.item, NULL, B, w.input_size)
            copy.steps, copy.step_to, copy.step_from = T, B * w.input_size, of_x.stride[0] // w.item
            w.k.copy_rows(&copy)
        else:
            memcpy(of_out.p, of_x.p, T * B * w.input_size * w.item)
    for position in range(parts):
        w, direction = weights[position], position % directions
        if direction == 0:
            of_x = of_out
            if batch is None:
                out = room((T, B, directions * P), x.dtype)
            else:               # the caller gets it in another order
                out = carve("a tape", x.dtype, ((T, B, directions * P),))[0]
            take_rows(out, &of_out, &rows)
            outs.append(out)
        set_up_job(&job, w, direction == 1)
        job.rows, job.x, job.out = rows, of_x, of_out
        job.out.p += direction * P * w.item
        job.slots_wanted = w.cell.slots_on_tape
        take_rows(arrays[1 + 2 * position], &job.slots, &rows)
        take_rows(arrays[2 + 2 * position], &job.c_out, &rows)
        job.h[0], job.c = state_at(final, 0, position), state_at(final, 1, position)
        if lookup is not None and position < directions:
            looked_up = lookup.products(w)
            take(looked_up[0], &job.looked_up, 1)
            take(looked_up[1], &tokens, 0)
            job.tokens = <const idx *>tokens.p
        run_job(&job, w, axes.T)
    if batch is not None:
        final = [reorder(one, batch.rank) for one in final]
    return arrays[0], outs, initial, arrays[1:], given, final


def backward_recorded(list weights, tuple recorded, batch, grad_output, grad_state, bint batched, bint batch_first,
                      tuple names, dict shapes):
    """The backward pass of what `record` returned: `Tape.backward` for one cotangent.

    Parameters
    ----------
    weights : list of Weights
        With their transposes packed.
    batch : ragged.Batch or None
        As for `record`.
    grad_output, grad_state
        As given to the tape.
    batched, batch_first
        The layout of the caller's sequences.
    names : tuple of tuple of str or None
        For each layer and direction the names of the six parameters that `Sums` takes.
    shapes : dict of str to tuple
        Of all parameters, by name.

    Returns
    -------
    grad_x, grad_state, parameters, steps
        The gradients of the input and of the initial state in the caller's layout, those of the parameters by name, and
        those at every step, as from `backward.room_for_steps`. None where an argument has to be converted or refused.
    """
    cdef Weights w = first_of(weights, True)
    cdef Axes axes, of_grad
    cdef Array grad_out, order
    cdef const idx *grad_out_row = NULL
    cdef idx parts = len(weights), features = w.output_size * (parts // len(<list>recorded[1])), T, B
    cdef list carry, given, steps
    cdef dict parameters
    cdef bint clears = False
    x, final = recorded[0], recorded[5]
    if grad_output is None and grad_state is None:
        return None
    T, B = PyArray_DIMS(<PyArrayObject *>x)[0], PyArray_DIMS(<PyArrayObject *>x)[1]         # of the arrays
    axes.T, axes.B, axes.batched, axes.batch_first = T, B, batched, batch_first and batched
    if batch is not None:
        axes.T, axes.B = batch.steps, PyArray_DIMS(<PyArrayObject *>(final[0]))[1]
    grad_out.p = NULL
    if grad_output is not None:
        if not take_sequences(grad_output, w, batch_first, features, &of_grad) or of_grad.batched != batched:
            return None
        if of_grad.T != axes.T or of_grad.B != axes.B:
            return None
        set_strides(grad_output, &axes, features, w.item, &grad_out)
    given = carry = copies_of_states(grad_state, w, parts, &axes, batched)
    if carry is None:
        return None
    if batch is not None and axes.B > 1:
        take(batch.order, &order, 0)
        grad_out_row = <const idx *>order.p
        carry = [reordered(one, grad_out_row) for one in given]
    parameters = dict(zip(shapes, carve("gradients of parameters", x.dtype, tuple(shapes.values()))))    # there are steps
    steps = carve("gradients", x.dtype, (
        (T, B, w.cell.slots, w.hidden_size), (T, B, w.output_size),
        (T, B, w.hidden_size) if w.cell.states == 2 else None) * parts)
    if batch is None:
        grad_x = room((T, B, w.input_size), x.dtype)
    else:
        grad_x, clears = batch.room(w.input_size, x.dtype), not is_mostly_padding(axes.T, axes.B, T)
    walk_recorded(weights, recorded, batch, &grad_out, grad_out_row, carry, names, parameters, steps, grad_x, clears)
    if carry is not given:
        carry = [reorder(one, batch.rank) for one in carry]
    if not batched:
        grad_x = grad_x[:, 0]
    elif batch_first:
        grad_x = grad_x.swapaxes(0, 1)
    return grad_x, tuple(carry) if len(carry) > 1 else carry[0], parameters, steps


def walk_back_recorded(list weights, tuple recorded, batch, grad_out, list carry, tuple names, dict parameters,
                       list steps, grad_x, bint clears):
    """BPTT through what `record` returned: `backward.walk_back` for one cotangent, whose arrays are as there.

    Parameters
    ----------
    carry
        In the order of the batch.
    names
        As for `backward_recorded`.
    parameters : dict of str to ndarray
        Empty if they are not wanted. Where weight_ih of the lowest layer is missing, the other ones are computed.
    grad_x : ndarray (T, B, I) or (N, 1, I), or None
    clears : bool
        Whether zeros are written past the rows' ends of grad_x, which is (T, B, I) then.
    """
    cdef Array of_out
    cdef Rows rows = take_batch(batch, recorded[0].shape[1])
    cdef const idx *grad_out_row = take_in_either_order(grad_out, &of_out, &rows, batch)
    walk_recorded(weights, recorded, batch, &of_out, grad_out_row, carry, names, parameters, steps, grad_x, clears)


cdef int walk_recorded(list weights, tuple recorded, batch, const Array *grad_out, const idx *grad_out_row, list carry,
                       tuple names, dict parameters, list steps, grad_x, bint clears) except -1:
    cdef object x
    cdef list outs, initial, kept
    cdef Weights w
    cdef Sums sums = None
    cdef Backward job
    cdef Array grad = grad_out[0]
    cdef Rows rows
    cdef idx layer, position, direction, directions, T
    x, outs, initial, kept = recorded[:4]
    directions = len(weights) // len(outs)
    rows = take_batch(batch, x.shape[1])
    T = x.shape[0] if batch is None else batch.steps
    below = None
    for layer in range(len(outs) - 1, -1, -1):
        above, below = below, grad_x        # `above` keeps the gradients that `grad` points to
        if layer > 0:
            below = carve("gradients", x.dtype, (outs[layer - 1].shape,))[0]
        for direction in range(directions):
            position = layer * directions + direction
            w = weights[position]
            set_up_walk(&job, w, rows.B, direction == 1)
            job.T, job.B, job.tape, job.rows, job.accumulate = T, rows.B, rows, rows, direction == 1
            take_rows(outs[layer - 1] if layer > 0 else x, &job.x, &rows)
            take_rows(outs[layer], &job.h, &rows)
            job.h.p += direction * w.output_size * w.item
            take_rows(kept[2 * position], &job.slots, &rows)
            take_rows(kept[2 * position + 1], &job.c, &rows)
            job.grad_out, job.grad_out_row = grad, grad_out_row
            if grad.p != NULL:
                job.grad_out.p += direction * w.output_size * w.item
            job.grad_x_row = take_in_either_order(below, &job.grad_x, &rows, batch)
            job.clears = clears and layer == 0 and direction == 0
            take_rows(steps[3 * position], &job.delta, &rows)
            take_rows(steps[3 * position + 1], &job.total_h, &rows)
            take_rows(steps[3 * position + 2], &job.total_c, &rows)
            job.h0, job.c0 = state_at(initial, 0, position), state_at(initial, 1, position)
            job.dh, job.dc = state_at(carry, 0, position), state_at(carry, 1, position)
            if parameters:
                sums = Sums.__new__(Sums)
                sums.begin(w, tuple([parameters.get(name) for name in names[position]]), &job.rows, T, False, 1)
            run_walk(&job, w, sums, 0)
            if parameters:
                sums.finish()
        take_rows(below, &grad, &rows)
        grad_out_row = NULL
    return 0
