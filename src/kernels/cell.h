/* What the cells' equations are written with: a loop over rows, a loop over vectors of units, loads and
 * stores that mind the end of a row, and what happens to a row that is past its end. */
#undef EACH_ROW
#undef EACH_VECTOR
#undef LOAD
#undef STORE
#undef ROW
#undef TAPE_ROW
#undef ROW_IS_OFF
#undef TAPE_ROW_IS_OFF
#define EACH_ROW for (rnn_idx row = row0; row < row1; row++)
/* whole vectors first, then the part of one that is left */
#define WHOLE (unit0 + (unit1 - unit0) / LANES * LANES)
#define EACH_VECTOR                                                 \
    _Pragma("GCC unroll 2") for (int part = 0; part < 2; part++)    \
        for (rnn_idx u = part ? WHOLE : unit0; u < (part ? unit1 : WHOLE); u += LANES)
#define LOAD(p) (part ? FN(vload_part)((p) + u, (int)(unit1 - u)) : FN(vload)((p) + u))
#define STORE(p, v) (part ? FN(vstore_part)((p) + u, (v), (int)(unit1 - u)) : FN(vstore)((p) + u, (v)))
#define ROW(type, field, ld) (s->field ? (type *)s->field + row * (ld) : (type *)0)
#define TAPE_ROW(field, ld) (s->field ? (const T *)s->field + tape_row * (ld) : (const T *)0)
#define ROW_IS_OFF (s->lengths && s->t >= s->lengths[row])
#define TAPE_ROW_IS_OFF (s->lengths && s->t >= s->lengths[tape_row])

/* The state before the step.  A reversed row starts at its own end, so its first step differs. */
INLINE const T *FN(state_before)(const rnn_step *s, rnn_idx tape_row)
{
    if (s->reverse && s->lengths && s->t == s->lengths[tape_row] - 1)
        return (const T *)s->first + tape_row * s->h_size;
    return (const T *)s->prev + tape_row * s->ldprev;
}

/* A row past its end keeps its state, and its outputs are zero. */
INLINE void FN(hold)(const rnn_step *s, rnn_idx row, rnn_idx unit0, rnn_idx unit1, T *gates, int slots)
{
    const rnn_idx H = s->h_size;
    const T *prev = ROW(const T, prev, s->ldprev);
    T *h = ROW(T, h, H), *h_out = ROW(T, h_out, s->ldout), *c_out = ROW(T, c_out, H);
    for (rnn_idx u = unit0; u < unit1; u++) {
        h[u] = prev[u];
        h_out[u] = 0;
        if (c_out) c_out[u] = 0;
        for (int slot = 0; s->keep && slot < slots; slot++) gates[slot * H + u] = 0;
    }
}

/* ... and its carried gradients wait; nothing else of it counts. */
INLINE void FN(hold_backward)(const rnn_step *s, rnn_idx row, rnn_idx unit0, rnn_idx unit1, int slots)
{
    const rnn_idx H = s->h_size;
    T *delta = ROW(T, delta, s->lddelta), *total_h = ROW(T, total_h, H), *total_c = ROW(T, total_c, H);
    T *aux_out = ROW(T, aux_out, H);
    for (rnn_idx u = unit0; u < unit1; u++) {
        for (int slot = 0; slot < slots; slot++) delta[slot * H + u] = 0;
        if (total_h) total_h[u] = 0;
        if (total_c) total_c[u] = 0;
        if (aux_out) aux_out[u] = 0;
    }
}
