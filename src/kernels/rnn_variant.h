/* Variants of the simple recurrent net: h' = f(W x + U h + b) with any activation f, of a sum within +-gate_clip.
 * The nonlinearity of the row of the table is not read. */
INLINE void rnn_variant_state(const activation *f, const real *pre, real *h, real *h_out, rc_idx u, rc_idx count)
{
    const vec h_new = activated(f, vload_n(pre + u, count));
    vstore_n(h + u, h_new, count);
    vstore_n(h_out + u, h_new, count);
}

static void rnn_variant_forward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    const rc_idx H = s->h_size, part = part_units(unit0, unit1), whole = unit1 - part;
    const activation f = activation_of(s, 0);
    for (rc_idx row = row0; row < row1; row++) {
        real *pre = row_of(s->slots, row, s->ldslots), *h = row_of(s->h, row, H);
        real *h_out = output_of(s, row);
        for (rc_idx u = unit0; u < whole; u += LANES) rnn_variant_state(&f, pre, h, h_out, u, LANES);
        if (part) rnn_variant_state(&f, pre, h, h_out, whole, part);
    }
}

/*   da = dh f'(a), from h' */
INLINE void rnn_variant_gradients(const activation *f, const rnn_row_backward *at, rc_idx u, rc_idx count)
{
    const vec dh = total_gradient(at->dh, at->grad_out, u, count);
    vstore_n(at->d_a + u, dh * slope_from(f, vload_n(at->h + u, count)), count);
    if (at->total_h) vstore_n(at->total_h + u, dh, count);
    vstore_n(at->dh + u, (vec){0}, count);          /* the product that follows adds W^T da */
}

static void rnn_variant_backward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    const rc_idx part = part_units(unit0, unit1), whole = unit1 - part;
    const activation f = activation_of(s, 0);
    for (rc_idx row = row0; row < row1; row++) {
        const rc_idx tape_row = tape_row_of(s, row);
        if (tape_row >= s->active) {
            hold_backward(s, row, unit0, unit1, 1);
            continue;
        }
        const rnn_row_backward at = rnn_row_backward_of(s, row, tape_row);
        for (rc_idx u = unit0; u < whole; u += LANES) rnn_variant_gradients(&f, &at, u, LANES);
        if (part) rnn_variant_gradients(&f, &at, whole, part);
    }
}
