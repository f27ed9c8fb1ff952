/* LSTM (Hochreiter & Schmidhuber 1997, with the forget gate of Gers 2000).  Slots: i f g o.
 *
 *   i = sigmoid(a_i)   f = sigmoid(a_f)   g = tanh(a_g)   o = sigmoid(a_o)
 *   c' = f c + i g
 *   h' = o tanh(c')
 */
typedef struct {
    real *i, *f, *g, *o;                /* the slots */
    real *c, *h, *h_out, *c_out;
} lstm_row;

INLINE lstm_row lstm_row_of(const rc_step *s, rc_idx row)
{
    const rc_idx H = s->h_size;
    real *i = row_of(s->slots, row, s->ldslots);
    return (lstm_row){.i = i, .f = i + H, .g = i + 2 * H, .o = i + 3 * H,
                      .c = row_of(s->c, row, H), .h = row_of(s->h, row, H),
                      .h_out = output_of(s, row), .c_out = row_of(s->c_out, row, H)};
}

/* The gates of a whole vector of units. */
INLINE void lstm_gates(const lstm_row *at, rc_idx u)
{
    vstore(at->i + u, vsigmoid(vload(at->i + u)));
    vstore(at->f + u, vsigmoid(vload(at->f + u)));
    vstore(at->g + u, vtanh(vload(at->g + u)));
    vstore(at->o + u, vsigmoid(vload(at->o + u)));
}

/* c' and h' of `count` units, from their gates. */
INLINE void lstm_state(const rc_step *s, const lstm_row *at, rc_idx u, rc_idx count, vec i, vec f, vec g, vec o)
{
    const vec c_new = vfma(f, vload_n(at->c + u, count), i * g);
    const vec h_new = o * vtanh(c_new);
    vstore_n(at->c + u, c_new, count);
    vstore_n(at->h + u, h_new, count);
    vstore_n(at->h_out + u, h_new, count);
    if (s->slots_wanted) vstore_n(at->c_out + u, c_new, count);
}

/* Gates and state of `count` units, from the pre-activations. */
INLINE void lstm_units(const rc_step *s, const lstm_row *at, rc_idx u, rc_idx count, vec i, vec f, vec g, vec o)
{
    i = vsigmoid(i), f = vsigmoid(f), g = vtanh(g), o = vsigmoid(o);
    if (s->slots_wanted) {
        vstore_n(at->i + u, i, count);
        vstore_n(at->f + u, f, count);
        vstore_n(at->g + u, g, count);
        vstore_n(at->o + u, o, count);
    }
    lstm_state(s, at, u, count, i, f, g, o);
}

/* Two loops over the rows, gates first: c' depends on three gates, and in a single loop it would wait for them (Zen 3,
 * 128 units: 119 cycles a vector instead of 99).  The part of a vector is different: a masked load
 * soon after a masked store has to wait until the store has reached L1, so the part's gates and states are computed
 * together (Zen 5, 100 steps of 4 rows, in two loops and in one: 40 and 15 us with 8 units, 44 and 35 us with 20). */
static void lstm_forward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    const rc_idx part = part_units(unit0, unit1), whole = unit1 - part;
    for (rc_idx row = row0; row < row1; row++) {
        const lstm_row at = lstm_row_of(s, row);
        for (rc_idx u = unit0; u < whole; u += LANES) lstm_gates(&at, u);
    }
    for (rc_idx row = row0; row < row1; row++) {
        const lstm_row at = lstm_row_of(s, row);
        for (rc_idx u = unit0; u < whole; u += LANES)
            lstm_state(s, &at, u, LANES, vload(at.i + u), vload(at.f + u), vload(at.g + u), vload(at.o + u));
        if (part)
            lstm_units(s, &at, whole, part, vload_n(at.i + whole, part), vload_n(at.f + whole, part),
                       vload_n(at.g + whole, part), vload_n(at.o + whole, part));
    }
}

INLINE void lstm_panels(const rc_step *s, const lstm_row *at, const rc_product *of_h, const real *h, rc_idx u,
                        const int NP)
{
    vec a[NP * 4];
    sums_of_row(a, of_h, h, at->i, u, 4, NP, 4);
UNROLL
    for (int q = 0; q < NP; q++, u += LANES)
        lstm_units(s, at, u, q < NP - 1 ? LANES : s->h_size - u, a[4 * q], a[4 * q + 1], a[4 * q + 2], a[4 * q + 3]);
}

#if defined(NARROW_UNITS)
/* c' and h' of the units of one half, from the numerators n and denominators d of i f g o. */
INLINE void lstm_half(const rc_step *s, const lstm_row *at, vec *c, vec *h, const vec *n, const vec *d, int half)
{
    const rc_idx units = s->h_size;
    const vec i = half_quotient(n[0], d[0]), g = half_quotient(n[2], d[2]), f = half_quotient(n[1], d[1]);
    vec tanh_d, tanh_n;
    *c = vfma(f, *c, i * g);
    tanh_n = tanh_parts(*c, &tanh_d, 1);
    const vec o = half_quotient(n[3], d[3]);
    *h = o * half_quotient(tanh_n, tanh_d);
    store_half(at->h_out, *h, units, half);
    if (s->slots_wanted) {
        store_half(at->i, i, units, half);
        store_half(at->f, f, units, half);
        store_half(at->g, g, units, half);
        store_half(at->o, o, units, half);
        store_half(at->c_out, *c, units, half);
    }
}

INLINE void lstm_narrow_steps(const rc_product *of_h, rc_step *s, rc_idx row, rc_idx steps, rc_idx slots_step,
                              rc_idx out_step, rc_idx c_step, const int HALVES)
{
    const rc_idx units = s->h_size;
    const real *h0 = const_row_of(s->prev, row, s->ldprev), *c0 = lstm_row_of(s, row).c;
    vec h[2], c[2];
UNROLL
    for (int half = 0; half < HALVES; half++) h[half] = load_half(h0, units, half), c[half] = load_half(c0, units, half);
    for (; steps > 0; steps--) {
        const lstm_row at = lstm_row_of(s, row);
        vec n[4], d[4];
        sums_of_narrow_row(n, of_h, h, at.i, 4, 4, HALVES);
        n[0] = sigmoid_parts(n[0], &d[0], 1);
        n[2] = tanh_parts(n[2], &d[2], 1);
        n[1] = sigmoid_parts(n[1], &d[1], 1);
        n[3] = sigmoid_parts(n[3], &d[3], 1);
        lstm_half(s, &at, &c[0], &h[0], n, d, 0);
        if (HALVES == 2) {
UNROLL
            for (int v = 0; v < 4; v++) n[v] = upper_half(n[v]), d[v] = upper_half(d[v]);
            lstm_half(s, &at, &c[1], &h[1], n, d, 1);
        }
        next_step(s, slots_step, out_step, c_step);
    }
    const lstm_row at = lstm_row_of(s, row);
UNROLL
    for (int half = 0; half < HALVES; half++) {
        store_half(at.h, h[half], units, half);
        store_half(at.c, c[half], units, half);
    }
}
#endif

static void lstm_steps(const rc_product *of_h, rc_step *s, rc_idx row, rc_idx steps, rc_idx slots_step,
                       rc_idx out_step, rc_idx c_step)
{
    IF_NARROW(lstm_narrow_steps)
    const real *h = const_row_of(s->prev, row, s->ldprev);
    for (; steps > 0; steps--) {
        const lstm_row at = lstm_row_of(s, row);
        for (rc_idx u = 0, n; u < s->h_size; u += n * LANES)
            switch (n = panels_at_a_time(s->h_size - u, 3)) {
            case 1: lstm_panels(s, &at, of_h, h, u, 1); break;
            case 2: lstm_panels(s, &at, of_h, h, u, 2); break;
            default: lstm_panels(s, &at, of_h, h, u, 3);
            }
        h = at.h_out;
        next_step(s, slots_step, out_step, c_step);
    }
}

typedef struct {
    const real *i, *f, *g, *o;          /* the slots */
    const real *c_new, *c_prev, *grad_out;
    real *da_i, *da_f, *da_g, *da_o;        /* gradients of their pre-activations */
    real *dh, *dc, *total_h, *total_c, *h_again;
} lstm_row_backward;

INLINE lstm_row_backward lstm_row_backward_of(const rc_step *s, rc_idx row, rc_idx tape_row)
{
    const rc_idx H = s->h_size;
    const real *i = const_row_of(s->slots, tape_row, s->ldslots);
    real *da_i = row_of(s->delta, row, s->lddelta);
    return (lstm_row_backward){
        .i = i, .f = i + H, .g = i + 2 * H, .o = i + 3 * H, .c_new = const_row_of(s->state, tape_row, s->ldstate),
        .c_prev = state_before(s, tape_row), .grad_out = grad_out_of(s, row),
        .da_i = da_i, .da_f = da_i + H, .da_g = da_i + 2 * H, .da_o = da_i + 3 * H, .dh = row_of(s->dh, row, H),
        .dc = row_of(s->dc, row, H), .total_h = row_of(s->total_h, row, H), .total_c = row_of(s->total_c, row, H),
        .h_again = row_of(s->aux_out, row, H)};
}

/*   dh = dL/dh'   dc = dL/dc' + dh o (1 - tanh(c')^2)
 *   da_o = dh tanh(c') o (1 - o)
 *   da_i = dc g i (1 - i)   da_f = dc c f (1 - f)   da_g = dc i (1 - g^2)
 *   to the step before: dc f, and W^T da by the product that follows
 */
INLINE void lstm_gradients(const lstm_row_backward *at, rc_idx u, rc_idx count)
{
    const vec one = vset(1);
    const vec i = vload_n(at->i + u, count), f = vload_n(at->f + u, count);
    const vec g = vload_n(at->g + u, count), o = vload_n(at->o + u, count);
    const vec tanh_c = vtanh(vload_n(at->c_new + u, count));
    const vec dh = total_gradient(at->dh, at->grad_out, u, count);
    const vec dc = vfma(dh * o, vfma(-tanh_c, tanh_c, one), vload_n(at->dc + u, count));
    vstore_n(at->da_i + u, dc * g * (i * (one - i)), count);
    vstore_n(at->da_f + u, dc * vload_n(at->c_prev + u, count) * (f * (one - f)), count);
    vstore_n(at->da_g + u, dc * i * vfma(-g, g, one), count);
    vstore_n(at->da_o + u, dh * tanh_c * (o * (one - o)), count);
    if (at->total_h) {
        vstore_n(at->total_h + u, dh, count);
        vstore_n(at->total_c + u, dc, count);
    }
    if (at->h_again) vstore_n(at->h_again + u, o * tanh_c, count);
    vstore_n(at->dc + u, dc * f, count);
    vstore_n(at->dh + u, (vec){0}, count);          /* the product that follows adds W^T da */
}

static void lstm_backward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    const rc_idx part = part_units(unit0, unit1), whole = unit1 - part;
    for (rc_idx row = row0; row < row1; row++) {
        const rc_idx tape_row = tape_row_of(s, row);
        if (tape_row >= s->active) {
            hold_backward(s, row, unit0, unit1, 4);
            continue;
        }
        const lstm_row_backward at = lstm_row_backward_of(s, row, tape_row);
        for (rc_idx u = unit0; u < whole; u += LANES) lstm_gradients(&at, u, LANES);
        if (part) lstm_gradients(&at, whole, part);
    }
}
