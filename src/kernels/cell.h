/* What the equations of all cells share: where a row's values lie, and what happens to a row that is held.
 *
 * A cell's kernel loops over rows, and over the units of a row in vectors: whole ones, then the part that is left.  One
 * inline function computes `count` units from u on: LANES for a whole vector, fewer for the part.  It reads
 * s->slots_wanted where it needs it.  If that were read once before the loop, gcc would compile the loop twice, might
 * swap the operands of an addition in one copy, and the sign of a NaN would depend on whether the pass is recorded. */

/* A row of an array, or NULL where the array is. */
INLINE real *row_of(void *array, rc_idx row, rc_idx stride) { return array ? (real *)array + row * stride : NULL; }

INLINE const real *const_row_of(const void *array, rc_idx row, rc_idx stride)
{
    return array ? (const real *)array + row * stride : NULL;
}

/* Forward: where the output of a row goes. */
INLINE real *output_of(const rc_step *s, rc_idx row)
{
    return (real *)s->h_out + (s->out_row ? s->out_row[row] : row) * s->ldout;
}

/* Backward: the gradient on a row's h from above, or NULL. */
INLINE const real *grad_out_of(const rc_step *s, rc_idx row)
{
    return const_row_of(s->grad_out, s->out_row ? s->out_row[row] : row, s->ldgout);
}

/* Backward: the row of the tape that a row of gradients belongs to. */
INLINE rc_idx tape_row_of(const rc_step *s, rc_idx row)
{
    const rc_idx of_batch = row % s->tape_rows;
    return s->tape_row ? s->tape_row[of_batch] : of_batch;
}

/* Backward: the state before the step. */
INLINE const real *state_before(const rc_step *s, rc_idx tape_row)
{
    if (s->was_reset && s->was_reset[tape_row]) return (const real *)s->zeros;
    if (tape_row >= s->continued) return (const real *)s->first + tape_row * s->h_size;
    return (const real *)s->prev + tape_row * s->ldprev;
}

/* Backward, a row that is held keeps its carried gradients, and everything else that it would write is zero. */
INLINE void hold_backward(const rc_step *s, rc_idx row, rc_idx unit0, rc_idx unit1, int slots)
{
    const rc_idx H = s->h_size;
    real *delta = row_of(s->delta, row, s->lddelta);
    real *total_h = row_of(s->total_h, row, H), *total_c = row_of(s->total_c, row, H);
    for (rc_idx u = unit0; u < unit1; u++) {
        for (int slot = 0; slot < slots; slot++) delta[slot * H + u] = 0;
        if (total_h) total_h[u] = 0;
        if (total_c) total_c[u] = 0;
    }
}

/* How many of the units unit0 .. unit1 are left after the whole vectors: visibly less than LANES, so that
 * `vload_n` of a part does not test for a whole vector. */
INLINE rc_idx part_units(rc_idx unit0, rc_idx unit1) { return (unit1 - unit0) % LANES; }

/* dL/dh_t: what was carried back from later steps, and what comes from the layer above. */
INLINE vec total_gradient(const real *dh, const real *grad_out, rc_idx u, rc_idx count)
{
    return grad_out ? vload_n(dh + u, count) + vload_n(grad_out + u, count) : vload_n(dh + u, count);
}

/* Forward, in `rc_steps_fn`: on to the next step. */
INLINE void next_step(rc_step *s, rc_idx slots_step, rc_idx out_step, rc_idx c_step)
{
    s->slots = (char *)s->slots + slots_step;
    s->h_out = (char *)s->h_out + out_step;
    if (s->c_out) s->c_out = (char *)s->c_out + c_step;
}
