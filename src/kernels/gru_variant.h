/* Variants of the GRU: other activations f (of r and z) and g (of the candidate), with what goes into them within
 * +-gate_clip.
 *
 *   r = f(a_r)   z = f(a_z)   n = g(a_n + r hn) or g(a_n + hn)   h' = (1 - z) n + z h
 *
 * Functions whose last argument is the constant `after` serve both, as in gru.h.
 */
INLINE void gru_variant_squash(const activation *f, const gru_row *at, rc_idx u, rc_idx count)
{
    vstore_n(at->r + u, activated(f, vload_n(at->r + u, count)), count);
    vstore_n(at->z + u, activated(f, vload_n(at->z + u, count)), count);
}

INLINE void gru_variant_gates(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    const rc_idx part = part_units(unit0, unit1), whole = unit1 - part;
    const activation f = activation_of(s, 0);
    for (rc_idx row = row0; row < row1; row++) {
        const gru_row at = gru_row_of(s, row);
        for (rc_idx u = unit0; u < whole; u += LANES) gru_variant_squash(&f, &at, u, LANES);
        if (part) gru_variant_squash(&f, &at, whole, part);
    }
}

INLINE void gru_variant_state(const activation *g, const gru_row *at, rc_idx u, rc_idx count, const int after)
{
    const vec z = vload_n(at->z + u, count), hn = vload_n(at->hn + u, count), a_n = vload_n(at->n + u, count);
    const vec n = activated(g, after ? vfma(vload_n(at->r + u, count), hn, a_n) : a_n + hn);
    const vec h_new = vfma(z, vload_n(at->h_prev + u, count) - n, n);
    vstore_n(at->n + u, n, count);
    vstore_n(at->h + u, h_new, count);
    vstore_n(at->h_out + u, h_new, count);
}

INLINE void gru_variant_candidate(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1,
                                  const int after)
{
    const rc_idx part = part_units(unit0, unit1), whole = unit1 - part;
    const activation g = activation_of(s, 1);
    for (rc_idx row = row0; row < row1; row++) {
        const gru_row at = gru_row_of(s, row);
        for (rc_idx u = unit0; u < whole; u += LANES) gru_variant_state(&g, &at, u, LANES, after);
        if (part) gru_variant_state(&g, &at, whole, part, after);
    }
}

/*   dn = dh (1 - z)   da_n = dn g'(a_n)   da_z = dh (h - n) f'(a_z)   straight to h: dh z
 *   after:   d_hn = da_n r   da_r = da_n hn f'(a_r)
 *   before:  d_hn = da_n     d(r h) = W_hn^T d_hn, then da_r = d(r h) h f'(a_r), and d(r h) r to h
 */
INLINE void gru_variant_gradients(const activation *f, const activation *g, const gru_row_backward *at, rc_idx u,
                                  rc_idx count, const int after)
{
    const vec one = vset(1);
    const vec n = vload_n(at->n + u, count), r = vload_n(at->r + u, count);
    const vec z = vload_n(at->z + u, count), hn = vload_n(at->hn + u, count);
    const vec dh = total_gradient(at->dh, at->grad_out, u, count);
    const vec da_n = dh * (one - z) * slope_from(g, n);
    vstore_n(at->da_n + u, da_n, count);
    vstore_n(at->d_hn + u, after ? da_n * r : da_n, count);
    if (after) vstore_n(at->da_r + u, da_n * hn * slope_from(f, r), count);
    vstore_n(at->da_z + u, dh * (vload_n(at->h_prev + u, count) - n) * slope_from(f, z), count);
    if (at->total_h) vstore_n(at->total_h + u, dh, count);
    vstore_n(at->dh + u, dh * z, count);            /* the product that follows adds W^T da */
}

INLINE void gru_variant_candidate_backward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1,
                                           const int after)
{
    const rc_idx part = part_units(unit0, unit1), whole = unit1 - part;
    const activation f = activation_of(s, 0), g = activation_of(s, 1);
    for (rc_idx row = row0; row < row1; row++) {
        const rc_idx tape_row = tape_row_of(s, row);
        if (tape_row >= s->active) {
            hold_backward(s, row, unit0, unit1, 4);
            continue;
        }
        const gru_row_backward at = gru_row_backward_of(s, row, tape_row);
        for (rc_idx u = unit0; u < whole; u += LANES) gru_variant_gradients(&f, &g, &at, u, LANES, after);
        if (part) gru_variant_gradients(&f, &g, &at, whole, part, after);
    }
}

static void gru_after_variant_forward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    gru_variant_gates(s, row0, row1, unit0, unit1);
    gru_variant_candidate(s, row0, row1, unit0, unit1, 1);
}

static void gru_after_variant_backward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    gru_variant_candidate_backward(s, row0, row1, unit0, unit1, 1);
}

static void gru_before_candidate_variant_forward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0,
                                                 rc_idx unit1)
{
    gru_variant_candidate(s, row0, row1, unit0, unit1, 0);
}

static void gru_before_candidate_variant_backward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0,
                                                  rc_idx unit1)
{
    gru_variant_candidate_backward(s, row0, row1, unit0, unit1, 0);
}

static void gru_before_gates_variant_forward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    gru_variant_gates(s, row0, row1, unit0, unit1);
    gru_resets(s, row0, row1, unit0, unit1);
}

INLINE void gru_variant_reset_gradients(const activation *f, const gru_row_backward *at, const real *daux,
                                        real *aux_out, rc_idx u, rc_idx count)
{
    const vec r = vload_n(at->r + u, count), h_prev = vload_n(at->h_prev + u, count), drh = vload_n(daux + u, count);
    vstore_n(at->da_r + u, drh * h_prev * slope_from(f, r), count);
    vstore_n(at->dh + u, vfma(drh, r, vload_n(at->dh + u, count)), count);
    if (aux_out) vstore_n(aux_out + u, r * h_prev, count);
}

static void gru_before_gates_variant_backward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    const rc_idx H = s->h_size, part = part_units(unit0, unit1), whole = unit1 - part;
    const activation f = activation_of(s, 0);
    for (rc_idx row = row0; row < row1; row++) {
        const rc_idx tape_row = tape_row_of(s, row);
        if (tape_row >= s->active) continue;         /* the candidate's stage, which runs first, has held it */
        const gru_row_backward at = gru_row_backward_of(s, row, tape_row);
        const real *daux = const_row_of(s->daux, row, H);
        real *aux_out = row_of(s->aux_out, row, H);
        for (rc_idx u = unit0; u < whole; u += LANES) gru_variant_reset_gradients(&f, &at, daux, aux_out, u, LANES);
        if (part) gru_variant_reset_gradients(&f, &at, daux, aux_out, whole, part);
    }
}
