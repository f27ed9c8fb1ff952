/* Variants of the LSTM: other activations f g h, bounds, peepholes p (Gers & Schmidhuber 2000), coupled gates.
 *
 *   i = f(a_i + p_i c)   f = f(a_f + p_f c), coupled: 1 - i   g = g(a_g)
 *   c' = f c + i g, within +-cell_clip
 *   o = f(a_o + p_o c')
 *   h' = o h(c')
 *
 * What goes into f and g lies within +-gate_clip.
 */
typedef struct {
    activation f, g, h;
    vec cell_bound;
    int coupled;
    const real *p_i, *p_f, *p_o;        /* NULL: there are no peepholes */
} lstm_variant;

INLINE lstm_variant lstm_variant_of(const rc_step *s)
{
    const real *p = (const real *)s->variant->peepholes;
    return (lstm_variant){
        .f = activation_of(s, 0), .g = activation_of(s, 1),
        .h = activation_within(&s->variant->activation[2], __builtin_inf()),
        .cell_bound = vset((real)s->variant->cell_clip), .coupled = s->variant->coupled,
        .p_i = p, .p_f = const_row_of(p, 1, s->h_size), .p_o = const_row_of(p, 2, s->h_size)};
}

/* The gates that do not depend on c'. */
INLINE void lstm_variant_gates(const lstm_variant *v, const lstm_row *at, rc_idx u, rc_idx count)
{
    const vec one = vset(1), c = vload_n(at->c + u, count);
    vec a_i = vload_n(at->i + u, count), a_f = vload_n(at->f + u, count);
    if (v->p_i) {
        a_i = vfma(vload_n(v->p_i + u, count), c, a_i);
        a_f = vfma(vload_n(v->p_f + u, count), c, a_f);
    }
    const vec i = activated(&v->f, a_i);
    vstore_n(at->i + u, i, count);
    vstore_n(at->f + u, v->coupled ? one - i : activated(&v->f, a_f), count);
    vstore_n(at->g + u, activated(&v->g, vload_n(at->g + u, count)), count);
    if (!v->p_o) vstore_n(at->o + u, activated(&v->f, vload_n(at->o + u, count)), count);
}

INLINE void lstm_variant_state(const rc_step *s, const lstm_variant *v, const lstm_row *at, rc_idx u, rc_idx count)
{
    const vec i = vload_n(at->i + u, count), f = vload_n(at->f + u, count), g = vload_n(at->g + u, count);
    const vec c_new = bounded(vfma(f, vload_n(at->c + u, count), i * g), v->cell_bound);
    vec o = vload_n(at->o + u, count);
    if (v->p_o) {
        o = activated(&v->f, vfma(vload_n(v->p_o + u, count), c_new, o));
        vstore_n(at->o + u, o, count);
    }
    const vec h_new = o * activated(&v->h, c_new);
    vstore_n(at->c + u, c_new, count);
    vstore_n(at->h + u, h_new, count);
    vstore_n(at->h_out + u, h_new, count);
    if (s->slots_wanted) vstore_n(at->c_out + u, c_new, count);
}

static void lstm_variant_forward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    const rc_idx part = part_units(unit0, unit1), whole = unit1 - part;
    const lstm_variant v = lstm_variant_of(s);
    for (rc_idx row = row0; row < row1; row++) {
        const lstm_row at = lstm_row_of(s, row);
        for (rc_idx u = unit0; u < whole; u += LANES) lstm_variant_gates(&v, &at, u, LANES);
        if (part) lstm_variant_gates(&v, &at, whole, part);
    }
    for (rc_idx row = row0; row < row1; row++) {
        const lstm_row at = lstm_row_of(s, row);
        for (rc_idx u = unit0; u < whole; u += LANES) lstm_variant_state(s, &v, &at, u, LANES);
        if (part) lstm_variant_state(s, &v, &at, whole, part);
    }
}

/*   da_o = dh h(c') f'(a_o)
 *   dc = dL/dc' + dh o h'(c') + da_o p_o, and from here on zero where c' was bounded
 *   da_i = dc g f'(a_i), coupled: dc (g - c) f'(a_i)   da_f = dc c f'(a_f), coupled: 0   da_g = dc i g'(a_g)
 *   to the step before: dc f + da_i p_i + da_f p_f, and W^T da by the product that follows
 *   to the peepholes: da_i c, da_f c, da_o c'
 */
INLINE void lstm_variant_gradients(const lstm_variant *v, const lstm_row_backward *at, real *terms, rc_idx H, rc_idx u,
                                   rc_idx count)
{
    const vec zero = {0};
    const vec i = vload_n(at->i + u, count), f = vload_n(at->f + u, count);
    const vec g = vload_n(at->g + u, count), o = vload_n(at->o + u, count);
    const vec c_new = vload_n(at->c_new + u, count), c_prev = vload_n(at->c_prev + u, count);
    const vec of_c = activated(&v->h, c_new), dh = total_gradient(at->dh, at->grad_out, u, count);
    const vec da_o = dh * of_c * slope_from(&v->f, o);
    vec dc = vfma(dh * o, slope_from(&v->h, of_c), vload_n(at->dc + u, count));
    if (v->p_o) dc = vfma(da_o, vload_n(v->p_o + u, count), dc);
    if (at->total_h) {
        vstore_n(at->total_h + u, dh, count);
        vstore_n(at->total_c + u, dc, count);
    }
    dc = zero_where(vabs(c_new) >= v->cell_bound, dc);
    const vec da_i = dc * (v->coupled ? g - c_prev : g) * slope_from(&v->f, i);
    const vec da_f = v->coupled ? zero : dc * c_prev * slope_from(&v->f, f);
    vec dc_prev = dc * f;
    if (v->p_i) {
        dc_prev = vfma(da_i, vload_n(v->p_i + u, count), dc_prev);
        dc_prev = vfma(da_f, vload_n(v->p_f + u, count), dc_prev);
    }
    if (at->h_again) vstore_n(at->h_again + u, o * of_c, count);
    if (terms) {
        vstore_n(terms + u, da_i * c_prev, count);
        vstore_n(terms + H + u, da_f * c_prev, count);
        vstore_n(terms + 2 * H + u, da_o * c_new, count);
    }
    vstore_n(at->da_i + u, da_i, count);
    vstore_n(at->da_f + u, da_f, count);
    vstore_n(at->da_g + u, dc * i * slope_from(&v->g, g), count);
    vstore_n(at->da_o + u, da_o, count);
    vstore_n(at->dc + u, dc_prev, count);
    vstore_n(at->dh + u, zero, count);              /* the product that follows adds W^T da */
}

static void lstm_variant_backward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    const rc_idx H = s->h_size, part = part_units(unit0, unit1), whole = unit1 - part;
    const lstm_variant v = lstm_variant_of(s);
    for (rc_idx row = row0; row < row1; row++) {
        const rc_idx tape_row = tape_row_of(s, row);
        if (tape_row >= s->active) {
            hold_backward(s, row, unit0, unit1, 4);
            continue;
        }
        const lstm_row_backward at = lstm_row_backward_of(s, row, tape_row);
        real *terms = row_of(s->peephole_terms, row, RC_PEEPHOLES * H);
        for (rc_idx u = unit0; u < whole; u += LANES) lstm_variant_gradients(&v, &at, terms, H, u, LANES);
        if (part) lstm_variant_gradients(&v, &at, terms, H, whole, part);
    }
}
