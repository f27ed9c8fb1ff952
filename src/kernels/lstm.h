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
    real *i = row_of(s->gates, row, s->ldgates);
    return (lstm_row){.i = i, .f = i + H, .g = i + 2 * H, .o = i + 3 * H,
                      .c = row_of(s->c, row, H), .h = row_of(s->h, row, H),
                      .h_out = row_of(s->h_out, row, s->ldout), .c_out = row_of(s->c_out, row, H)};
}

/* The gates of a whole vector of units. */
INLINE void lstm_gates(const lstm_row *at, rc_idx u)
{
    vstore(at->i + u, vsigmoid(vload(at->i + u)));
    vstore(at->f + u, vsigmoid(vload(at->f + u)));
    vstore(at->g + u, vtanh(vload(at->g + u)));
    vstore(at->o + u, vsigmoid(vload(at->o + u)));
}

/* c' and h' of n units.  With `squash` the slots still hold the pre-activations. */
INLINE void lstm_state(const rc_step *s, const lstm_row *at, rc_idx u, rc_idx n, const int squash)
{
    vec i = vload_n(at->i + u, n), f = vload_n(at->f + u, n), g = vload_n(at->g + u, n), o = vload_n(at->o + u, n);
    if (squash) {
        i = vsigmoid(i), f = vsigmoid(f), g = vtanh(g), o = vsigmoid(o);
        if (s->recorded) {
            vstore_n(at->i + u, i, n);
            vstore_n(at->f + u, f, n);
            vstore_n(at->g + u, g, n);
            vstore_n(at->o + u, o, n);
        }
    }
    const vec c_new = vfma(f, vload_n(at->c + u, n), i * g);
    const vec h_new = o * vtanh(c_new);
    vstore_n(at->c + u, c_new, n);
    vstore_n(at->h + u, h_new, n);
    vstore_n(at->h_out + u, h_new, n);
    if (s->recorded) vstore_n(at->c_out + u, c_new, n);
}

/* Two loops over the rows, gates first: c' depends on three gates, so in one fused loop it would wait for them, a fifth
 * of the time (Zen 3, 128 units: 119 cycles a vector instead of 99).  The part of a vector is different: a masked load
 * soon after a masked store has to wait until the store has reached L1, so the part's gates and states are computed
 * together (Zen 5, 100 steps of 4 rows, in two loops and in one: 40 and 15 us with 8 units, 44 and 35 us with 20). */
static void lstm_forward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    const rc_idx part = part_units(unit0, unit1), whole = unit1 - part;
    for (rc_idx row = row0; row < row1; row++) {
        if (is_past_end(s, row)) continue;
        const lstm_row at = lstm_row_of(s, row);
        for (rc_idx u = unit0; u < whole; u += LANES) lstm_gates(&at, u);
    }
    for (rc_idx row = row0; row < row1; row++) {
        const lstm_row at = lstm_row_of(s, row);
        if (is_past_end(s, row)) {
            hold(s, row, unit0, unit1, at.i, 4);
            continue;
        }
        for (rc_idx u = unit0; u < whole; u += LANES) lstm_state(s, &at, u, LANES, 0);
        if (part) lstm_state(s, &at, whole, part, 1);
    }
}

typedef struct {
    const real *i, *f, *g, *o;          /* the slots */
    const real *c_new, *c_prev, *grad_out;
    real *d_i, *d_f, *d_g, *d_o;        /* gradients of their pre-activations */
    real *dh, *dc, *total_h, *total_c;
} lstm_row_backward;

INLINE lstm_row_backward lstm_row_backward_of(const rc_step *s, rc_idx row, rc_idx tape_row)
{
    const rc_idx H = s->h_size;
    const real *i = const_row_of(s->gates, tape_row, s->ldgates);
    real *d_i = row_of(s->delta, row, s->lddelta);
    return (lstm_row_backward){
        .i = i, .f = i + H, .g = i + 2 * H, .o = i + 3 * H, .c_new = const_row_of(s->state, tape_row, s->ldstate),
        .c_prev = state_before(s, tape_row), .grad_out = const_row_of(s->grad_out, row, s->ldgout),
        .d_i = d_i, .d_f = d_i + H, .d_g = d_i + 2 * H, .d_o = d_i + 3 * H, .dh = row_of(s->dh, row, H),
        .dc = row_of(s->dc, row, H), .total_h = row_of(s->total_h, row, H), .total_c = row_of(s->total_c, row, H)};
}

/*   dh = dL/dh'   dc = dL/dc' + dh o (1 - tanh(c')^2)
 *   da_o = dh tanh(c') o (1 - o)
 *   da_i = dc g i (1 - i)   da_f = dc c f (1 - f)   da_g = dc i (1 - g^2)
 *   to the step before: dc f, and W^T da by the product that follows
 */
INLINE void lstm_gradients(const lstm_row_backward *at, rc_idx u, rc_idx n)
{
    const vec one = vset(1);
    const vec i = vload_n(at->i + u, n), f = vload_n(at->f + u, n);
    const vec g = vload_n(at->g + u, n), o = vload_n(at->o + u, n);
    const vec tanh_c = vtanh(vload_n(at->c_new + u, n));
    const vec dh = total_gradient(at->dh, at->grad_out, u, n);
    const vec dc = vfma(dh * o, vfma(-tanh_c, tanh_c, one), vload_n(at->dc + u, n));
    vstore_n(at->d_i + u, dc * g * (i * (one - i)), n);
    vstore_n(at->d_f + u, dc * vload_n(at->c_prev + u, n) * (f * (one - f)), n);
    vstore_n(at->d_g + u, dc * i * vfma(-g, g, one), n);
    vstore_n(at->d_o + u, dh * tanh_c * (o * (one - o)), n);
    if (at->total_h) {
        vstore_n(at->total_h + u, dh, n);
        vstore_n(at->total_c + u, dc, n);
    }
    vstore_n(at->dc + u, dc * f, n);
    vstore_n(at->dh + u, (vec){0}, n);
}

static void lstm_backward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    const rc_idx part = part_units(unit0, unit1), whole = unit1 - part;
    for (rc_idx row = row0; row < row1; row++) {
        const rc_idx tape_row = row % s->tape_rows;
        if (is_past_end(s, tape_row)) {
            hold_backward(s, row, unit0, unit1, 4);
            continue;
        }
        const lstm_row_backward at = lstm_row_backward_of(s, row, tape_row);
        for (rc_idx u = unit0; u < whole; u += LANES) lstm_gradients(&at, u, LANES);
        if (part) lstm_gradients(&at, whole, part);
    }
}
