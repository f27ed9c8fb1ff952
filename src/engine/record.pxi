# A recorded pass of a layer, as a whole, and its backward pass, where the arguments need no conversion. As in call.pxi
# it is Python around the loops that is left out.


def record(list weights, x, state, int directions, bint batch_first, list looked_up):
    """Run a stack of layers and keep what BPTT needs: `RecurrentLayer.record_on` of full rows, without resets.

    Parameters
    ----------
    weights, x, state, directions, batch_first
        As for `call`.
    looked_up : list of (products, tokens) or None
        As for `forward`, for each direction of the lowest layer, where x is rows of a table.

    Returns
    -------
    tuple
        What `passes.whole_passes` takes. None where an argument has to be converted or refused, or there is no step.
    """
    cdef Weights w = weights[0]
    cdef Forward job
    cdef Axes axes
    cdef Array of_x, of_out, of_tokens
    cdef rc_copy copy
    cdef idx parts = len(weights), P = w.output_size, H = w.hidden_size, T, B, position, direction
    cdef list outs = [], initial, final, arrays, shapes
    if not take_sequences(x, kind_of(w), batch_first, w.input_size, &axes) or axes.T == 0 or axes.B == 0:
        return None
    T, B = axes.T, axes.B
    initial = copies_of_states(state, w, parts, &axes, True)
    if initial is None:
        return None
    final = [PyArray_NewCopy(<PyArrayObject *>one, NPY_CORDER) for one in initial]
    shapes = [(T, B, w.input_size)]
    for position in range(parts):
        shapes.append((T, B, w.cell.slots, H) if w.cell.slots_on_tape else None)
        shapes.append((T, B, H) if w.cell.states == 2 else None)
    arrays = carve("a tape", x.dtype, tuple(shapes))
    take(arrays[0], &of_out, 2)
    set_strides(x, &axes, w.input_size, w.item, &of_x)
    with nogil:                     # a copy, since the caller's array may change before backward
        if axes.batch_first:
            copy = copy_of(of_out.p, w.input_size, NULL, of_x.p, of_x.stride[1] // w.item, NULL, B, w.input_size)
            copy.steps, copy.step_to, copy.step_from = T, B * w.input_size, of_x.stride[0] // w.item
            w.k.copy_rows(&copy)
        else:
            memcpy(of_out.p, of_x.p, T * B * w.input_size * w.item)
    for position in range(parts):
        w, direction = weights[position], position % directions
        if direction == 0:
            of_x = of_out
            out = room((T, B, directions * P), x.dtype)
            take(out, &of_out, 2)
            outs.append(out)
        set_up_job(&job, w, direction == 1)
        job.rows.B = B
        job.x, job.out = of_x, of_out
        job.out.p += direction * P * w.item
        job.slots_wanted = w.cell.slots_on_tape
        take(arrays[1 + 2 * position], &job.slots, 2)
        take(arrays[2 + 2 * position], &job.c_out, 2)
        job.h[0] = address(final[0]) + position * B * P * w.item
        if w.cell.states == 2:
            job.c = address(final[1]) + position * B * H * w.item
        if looked_up is not None and position < directions:
            take(looked_up[direction][0], &job.looked_up, 1)
            take(looked_up[direction][1], &of_tokens, 0)
            job.tokens = <const idx *>of_tokens.p
        run_job(&job, w, T)
    return arrays[0], outs, initial, arrays[1:], final


def backward_recorded(list weights, tuple recorded, grad_output, grad_state, bint batched, bint batch_first,
                      tuple names, dict shapes):
    """The backward pass of what `record` returned: `Tape.backward` for one cotangent.

    Parameters
    ----------
    weights : list of Weights
        With their transposes packed.
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
    cdef Weights w = weights[0]
    cdef Axes axes, given
    cdef Array grad_out
    cdef idx parts = len(weights), features = w.output_size * (parts // len(<list>recorded[1]))
    cdef Py_ssize_t *shape = PyArray_DIMS(<PyArrayObject *>recorded[0])
    cdef list carry, steps
    cdef dict parameters
    if grad_output is None and grad_state is None:
        return None
    axes.T, axes.B, axes.batched, axes.batch_first = shape[0], shape[1], batched, batch_first and batched
    grad_out.p = NULL
    if grad_output is not None:
        if not take_sequences(grad_output, kind_of(w), batch_first, features, &given) or given.batched != batched:
            return None
        if given.T != axes.T or given.B != axes.B:
            return None
        set_strides(grad_output, &axes, features, w.item, &grad_out)
    carry = copies_of_states(grad_state, w, parts, &axes, batched)
    if carry is None:
        return None
    dtype = recorded[0].dtype
    parameters = dict(zip(shapes, carve("gradients of parameters", dtype, tuple(shapes.values()))))
    steps = carve("gradients", dtype, (
        (axes.T, axes.B, w.cell.slots, w.hidden_size), (axes.T, axes.B, w.output_size),
        (axes.T, axes.B, w.hidden_size) if w.cell.states == 2 else None) * parts)
    grad_x = room(recorded[0].shape if batched else (axes.T, w.input_size), dtype)
    walk_recorded(weights, recorded, &grad_out, carry, names, parameters, steps, grad_x)
    if axes.batch_first:
        grad_x = grad_x.swapaxes(0, 1)
    return grad_x, tuple(carry) if len(carry) > 1 else carry[0], parameters, steps


def walk_back_recorded(list weights, tuple recorded, grad_out, list carry, tuple names, dict parameters, list steps,
                       grad_x):
    """BPTT through what `record` returned: `backward.walk_back` for one cotangent, whose arrays are as there.

    Parameters
    ----------
    names
        As for `backward_recorded`.
    parameters : dict of str to ndarray
        Empty if they are not wanted. Where weight_ih of the lowest layer is missing, the other ones are computed.
    grad_x : ndarray (T, B, I) or None
    """
    cdef Array of_out
    take(grad_out, &of_out, 2)
    walk_recorded(weights, recorded, &of_out, carry, names, parameters, steps, grad_x)


cdef int walk_recorded(list weights, tuple recorded, const Array *grad_out, list carry, tuple names, dict parameters,
                       list steps, grad_x) except -1:
    cdef object x
    cdef list outs, initial, kept
    cdef Weights w
    cdef Sums sums = None
    cdef Backward job
    cdef Array grad = grad_out[0]
    cdef idx layer, position, direction, directions, T, B
    x, outs, initial, kept, _ = recorded
    directions = len(weights) // len(outs)
    T, B = PyArray_DIMS(<PyArrayObject *>x)[0], PyArray_DIMS(<PyArrayObject *>x)[1]
    below = None                        # keeps the gradients of a layer's input until the layer below has read them
    for layer in range(len(outs) - 1, -1, -1):
        above, below = below, grad_x
        if layer > 0:
            below = carve("gradients", x.dtype, ((T, B, outs[layer - 1].shape[2]),))[0]
        for direction in range(directions):
            position = layer * directions + direction
            w = weights[position]
            set_up_walk(&job, w, B, direction == 1)
            job.T, job.B, job.tape.B, job.rows.B, job.accumulate = T, B, B, B, direction == 1
            take(outs[layer - 1] if layer > 0 else x, &job.x, 2)
            take(outs[layer], &job.h, 2)
            job.h.p += direction * w.output_size * w.item
            take(kept[2 * position], &job.slots, 2)
            take(kept[2 * position + 1], &job.c, 2)
            job.grad_out = grad
            if grad.p != NULL:
                job.grad_out.p += direction * w.output_size * w.item
            take(below, &job.grad_x, 2)
            job.grad_x.stride[1] = w.input_size * w.item        # of a single sequence, it has no axis of rows
            take(steps[3 * position], &job.delta, 2)
            take(steps[3 * position + 1], &job.total_h, 2)
            take(steps[3 * position + 2], &job.total_c, 2)
            job.h0 = address(initial[0]) + position * B * w.output_size * w.item
            job.dh = address(carry[0]) + position * B * w.output_size * w.item
            if w.cell.states == 2:
                job.c0 = address(initial[1]) + position * B * w.hidden_size * w.item
                job.dc = address(carry[1]) + position * B * w.hidden_size * w.item
            if parameters:
                sums = Sums.__new__(Sums)
                sums.begin(w, tuple([parameters.get(name) for name in names[position]]), &job.rows, T, False, 1)
            run_walk(&job, w, sums, 0)
            if parameters:
                sums.finish()
        take(below, &grad, 2)
    return 0
