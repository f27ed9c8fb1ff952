/* The projection of an LSTM (Sak, Senior & Beaufays 2014): the cell's equations compute m = o tanh(c'), H wide, and
 *
 *   h' = W_hr m
 *
 * is P wide.  Forward is that product alone.  Backward begins with dh = dL/dh', which the products that follow take to
 * dL/dm = W_hr^T dh and dL/dW_hr.  `h_size` of the step is P here. */

INLINE void projected_gradients(real *total, real *dh, const real *grad_out, rc_idx u, rc_idx count)
{
    vstore_n(total + u, total_gradient(dh, grad_out, u, count), count);
    vstore_n(dh + u, (vec){0}, count);              /* the product that follows the cell's equations adds W^T da */
}

static void projected_backward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    const rc_idx part = part_units(unit0, unit1), whole = unit1 - part;
    for (rc_idx row = row0; row < row1; row++) {
        if (tape_row_of(s, row) >= s->active) {
            hold_backward(s, row, unit0, unit1, 0);
            continue;
        }
        real *total = row_of(s->total_h, row, s->h_size), *dh = row_of(s->dh, row, s->h_size);
        const real *grad_out = grad_out_of(s, row);
        for (rc_idx u = unit0; u < whole; u += LANES) projected_gradients(total, dh, grad_out, u, LANES);
        if (part) projected_gradients(total, dh, grad_out, whole, part);
    }
}
