/* GRU (Cho 2014).  Slots: n r z hn, so that the product with the input (n r z) and the one with the state (r z hn) each
 * add to neighbouring slots.
 *
 *   r = sigmoid(a_r)   z = sigmoid(a_z)   n = tanh(a_n + ...)   h' = (1 - z) n + z h
 *
 * reset after the product (cuDNN's and torch's):  hn = W_hn h + b_hn,      n = tanh(a_n + r hn)
 * reset before it (the paper's):                  hn = W_hn (r h) + b_hn,  n = tanh(a_n + hn)
 *
 * Functions whose last argument is the constant `after` serve both; named functions for the table stand below.
 */
typedef struct {
    real *n, *r, *z, *hn;               /* the slots */
    const real *h_prev;
    real *h, *h_out;
} gru_row;

INLINE gru_row gru_row_of(const rc_step *s, rc_idx row)
{
    const rc_idx H = s->h_size;
    real *n = row_of(s->slots, row, s->ldslots);
    return (gru_row){.n = n, .r = n + H, .z = n + 2 * H, .hn = n + 3 * H,
                     .h_prev = const_row_of(s->prev, row, s->ldprev), .h = row_of(s->h, row, H),
                     .h_out = output_of(s, row)};
}

INLINE void gru_squash(const gru_row *at, rc_idx u, rc_idx count)
{
    vstore_n(at->r + u, vsigmoid(vload_n(at->r + u, count)), count);
    vstore_n(at->z + u, vsigmoid(vload_n(at->z + u, count)), count);
}

/* r and z, for all rows before any candidate: in a single loop the candidate would wait for them. */
INLINE void gru_gates(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    const rc_idx part = part_units(unit0, unit1), whole = unit1 - part;
    for (rc_idx row = row0; row < row1; row++) {
        const gru_row at = gru_row_of(s, row);
        for (rc_idx u = unit0; u < whole; u += LANES) gru_squash(&at, u, LANES);
        if (part) gru_squash(&at, whole, part);
    }
}

/* The candidate from its pre-activation, and h', of `count` units. */
INLINE void gru_new_state(const rc_step *s, const gru_row *at, rc_idx u, rc_idx count, vec a_n, vec z)
{
    const vec candidate = vtanh(a_n);
    const vec h_new = vfma(z, vload_n(at->h_prev + u, count) - candidate, candidate);
    if (s->slots_wanted) vstore_n(at->n + u, candidate, count);
    vstore_n(at->h + u, h_new, count);
    vstore_n(at->h_out + u, h_new, count);
}

INLINE void gru_state(const rc_step *s, const gru_row *at, rc_idx u, rc_idx count, const int after)
{
    const vec z = vload_n(at->z + u, count), hn = vload_n(at->hn + u, count), a_n = vload_n(at->n + u, count);
    gru_new_state(s, at, u, count, after ? vfma(vload_n(at->r + u, count), hn, a_n) : a_n + hn, z);
}

INLINE void gru_candidate(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1, const int after)
{
    const rc_idx part = part_units(unit0, unit1), whole = unit1 - part;
    for (rc_idx row = row0; row < row1; row++) {
        const gru_row at = gru_row_of(s, row);
        for (rc_idx u = unit0; u < whole; u += LANES) gru_state(s, &at, u, LANES, after);
        if (part) gru_state(s, &at, whole, part, after);
    }
}

typedef struct {
    const real *n, *r, *z, *hn;         /* the slots */
    const real *h_prev, *grad_out;
    real *da_n, *da_r, *da_z, *d_hn;       /* gradients of the sums in the slots */
    real *dh, *total_h;
} gru_row_backward;

INLINE gru_row_backward gru_row_backward_of(const rc_step *s, rc_idx row, rc_idx tape_row)
{
    const rc_idx H = s->h_size;
    const real *n = const_row_of(s->slots, tape_row, s->ldslots);
    real *da_n = row_of(s->delta, row, s->lddelta);
    return (gru_row_backward){
        .n = n, .r = n + H, .z = n + 2 * H, .hn = n + 3 * H, .h_prev = state_before(s, tape_row),
        .grad_out = grad_out_of(s, row), .da_n = da_n, .da_r = da_n + H, .da_z = da_n + 2 * H,
        .d_hn = da_n + 3 * H, .dh = row_of(s->dh, row, H), .total_h = row_of(s->total_h, row, H)};
}

/*   dn = dh (1 - z)   da_n = dn (1 - n^2)   da_z = dh (h - n) z (1 - z)   straight to h: dh z
 *   after:   d_hn = da_n r   da_r = da_n hn r (1 - r)
 *   before:  d_hn = da_n     d(r h) = W_hn^T d_hn, then da_r = d(r h) h r (1 - r), and d(r h) r to h
 */
INLINE void gru_gradients(const gru_row_backward *at, rc_idx u, rc_idx count, const int after)
{
    const vec one = vset(1);
    const vec n = vload_n(at->n + u, count), r = vload_n(at->r + u, count);
    const vec z = vload_n(at->z + u, count), hn = vload_n(at->hn + u, count);
    const vec dh = total_gradient(at->dh, at->grad_out, u, count);
    const vec da_n = dh * (one - z) * vfma(-n, n, one);
    vstore_n(at->da_n + u, da_n, count);
    vstore_n(at->d_hn + u, after ? da_n * r : da_n, count);
    if (after) vstore_n(at->da_r + u, da_n * hn * (r * (one - r)), count);
    vstore_n(at->da_z + u, dh * (vload_n(at->h_prev + u, count) - n) * (z * (one - z)), count);
    if (at->total_h) vstore_n(at->total_h + u, dh, count);
    vstore_n(at->dh + u, dh * z, count);            /* the product that follows adds W^T da */
}

INLINE void gru_candidate_backward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1,
                                   const int after)
{
    const rc_idx part = part_units(unit0, unit1), whole = unit1 - part;
    for (rc_idx row = row0; row < row1; row++) {
        const rc_idx tape_row = tape_row_of(s, row);
        if (tape_row >= s->active) {
            hold_backward(s, row, unit0, unit1, 4);
            continue;
        }
        const gru_row_backward at = gru_row_backward_of(s, row, tape_row);
        for (rc_idx u = unit0; u < whole; u += LANES) gru_gradients(&at, u, LANES, after);
        if (part) gru_gradients(&at, whole, part, after);
    }
}

static void gru_after_forward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    gru_gates(s, row0, row1, unit0, unit1);
    gru_candidate(s, row0, row1, unit0, unit1, 1);
}

INLINE void gru_after_panels(const rc_step *s, const gru_row *at, const rc_product *of_h, rc_idx u, const int NP)
{
    vec a[NP * 3];
    sums_of_row(a, of_h, at->h_prev, at->r, u, 3, NP, 2);
UNROLL
    for (int q = 0; q < NP; q++, u += LANES) {
        const rc_idx count = q < NP - 1 ? LANES : s->h_size - u;
        const vec r = vsigmoid(a[3 * q]), z = vsigmoid(a[3 * q + 1]), hn = a[3 * q + 2];
        if (s->slots_wanted) {
            vstore_n(at->r + u, r, count);
            vstore_n(at->z + u, z, count);
            vstore_n(at->hn + u, hn, count);
        }
        gru_new_state(s, at, u, count, vfma(r, hn, vload_n(at->n + u, count)), z);
    }
}

#if defined(NARROW_UNITS)
/* h' of the units of one half, from a_n, hn, and the numerators n and denominators d of r z. */
INLINE void gru_after_half(const rc_step *s, const gru_row *at, vec *h, vec a_n, vec hn, const vec *n, const vec *d,
                           int half)
{
    const rc_idx units = s->h_size;
    const vec r = half_quotient(n[0], d[0]), z = half_quotient(n[1], d[1]);
    vec tanh_d, tanh_n = tanh_parts(vfma(r, hn, a_n), &tanh_d, 1);
    const vec candidate = half_quotient(tanh_n, tanh_d);
    *h = vfma(z, *h - candidate, candidate);
    store_half(at->h_out, *h, units, half);
    if (s->slots_wanted) {
        store_half(at->n, candidate, units, half);
        store_half(at->r, r, units, half);
        store_half(at->z, z, units, half);
        store_half(at->hn, hn, units, half);
    }
}

INLINE void gru_after_narrow_steps(const rc_product *of_h, rc_step *s, rc_idx row, rc_idx steps, rc_idx slots_step,
                                   rc_idx out_step, rc_idx c_step, const int HALVES)
{
    const rc_idx units = s->h_size;
    const real *h0 = const_row_of(s->prev, row, s->ldprev);
    vec h[2];
UNROLL
    for (int half = 0; half < HALVES; half++) h[half] = load_half(h0, units, half);
    for (; steps > 0; steps--) {
        const gru_row at = gru_row_of(s, row);
        const vec a_n = vload_n(at.n, units);
        vec n[3], d[2];
        sums_of_narrow_row(n, of_h, h, at.r, 3, 2, HALVES);
        n[0] = sigmoid_parts(n[0], &d[0], 1);
        n[1] = sigmoid_parts(n[1], &d[1], 1);
        gru_after_half(s, &at, &h[0], a_n, n[2], n, d, 0);
        if (HALVES == 2) {
UNROLL
            for (int v = 0; v < 3; v++) n[v] = upper_half(n[v]);
            d[0] = upper_half(d[0]), d[1] = upper_half(d[1]);
            gru_after_half(s, &at, &h[1], upper_half(a_n), n[2], n, d, 1);
        }
        next_step(s, slots_step, out_step, c_step);
    }
UNROLL
    for (int half = 0; half < HALVES; half++) store_half(row_of(s->h, row, units), h[half], units, half);
}
#endif

static void gru_after_steps(const rc_product *of_h, rc_step *s, rc_idx row, rc_idx steps, rc_idx slots_step,
                            rc_idx out_step, rc_idx c_step)
{
    IF_NARROW(gru_after_narrow_steps)
    const real *h = const_row_of(s->prev, row, s->ldprev);
    for (; steps > 0; steps--) {
        gru_row at = gru_row_of(s, row);
        at.h_prev = h;
        for (rc_idx u = 0, n; u < s->h_size; u += n * LANES)
            switch (n = panels_at_a_time(s->h_size - u, 4)) {
            case 1: gru_after_panels(s, &at, of_h, u, 1); break;
            case 2: gru_after_panels(s, &at, of_h, u, 2); break;
            case 3: gru_after_panels(s, &at, of_h, u, 3); break;
            default: gru_after_panels(s, &at, of_h, u, 4);
            }
        h = at.h_out;
        next_step(s, slots_step, out_step, c_step);
    }
}

static void gru_after_backward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    gru_candidate_backward(s, row0, row1, unit0, unit1, 1);
}

static void gru_before_candidate_forward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    gru_candidate(s, row0, row1, unit0, unit1, 0);
}

static void gru_before_candidate_backward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    gru_candidate_backward(s, row0, row1, unit0, unit1, 0);
}

/* r h, which the second product reads. */
INLINE void gru_reset(const real *r, const real *h_prev, real *aux, rc_idx u, rc_idx count)
{
    vstore_n(aux + u, vload_n(r + u, count) * vload_n(h_prev + u, count), count);
}

INLINE void gru_resets(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    const rc_idx H = s->h_size, part = part_units(unit0, unit1), whole = unit1 - part;
    for (rc_idx row = row0; row < row1; row++) {
        const gru_row at = gru_row_of(s, row);
        real *aux = row_of(s->aux, row, H);
        for (rc_idx u = unit0; u < whole; u += LANES) gru_reset(at.r, at.h_prev, aux, u, LANES);
        if (part) gru_reset(at.r, at.h_prev, aux, whole, part);
    }
}

/* Reset before the product, first stage: r, z and r h. */
static void gru_before_gates_forward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    gru_gates(s, row0, row1, unit0, unit1);
    gru_resets(s, row0, row1, unit0, unit1);
}

INLINE void gru_reset_gradients(const gru_row_backward *at, const real *daux, real *aux_out, rc_idx u, rc_idx count)
{
    const vec one = vset(1);
    const vec r = vload_n(at->r + u, count), h_prev = vload_n(at->h_prev + u, count), drh = vload_n(daux + u, count);
    vstore_n(at->da_r + u, drh * h_prev * (r * (one - r)), count);
    vstore_n(at->dh + u, vfma(drh, r, vload_n(at->dh + u, count)), count);
    if (aux_out) vstore_n(aux_out + u, r * h_prev, count);
}

static void gru_before_gates_backward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    const rc_idx H = s->h_size, part = part_units(unit0, unit1), whole = unit1 - part;
    for (rc_idx row = row0; row < row1; row++) {
        const rc_idx tape_row = tape_row_of(s, row);
        if (tape_row >= s->active) continue;         /* the candidate's stage, which runs first, has held it */
        const gru_row_backward at = gru_row_backward_of(s, row, tape_row);
        const real *daux = const_row_of(s->daux, row, H);
        real *aux_out = row_of(s->aux_out, row, H);
        for (rc_idx u = unit0; u < whole; u += LANES) gru_reset_gradients(&at, daux, aux_out, u, LANES);
        if (part) gru_reset_gradients(&at, daux, aux_out, whole, part);
    }
}
