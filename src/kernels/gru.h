/* GRU (Cho 2014).  Slots: n r z hn, so that the input's product (n r z) and the state's (r z hn) each
 * meet neighbouring slots.
 *
 *   r = sigmoid(a_r)   z = sigmoid(a_z)   n = tanh(a_n + ...)   h' = (1 - z) n + z h
 *
 * reset after the product (cuDNN's and torch's):  hn = W_hn h + b_hn,      n = tanh(a_n + r hn)
 * reset before it (the paper's):                  hn = W_hn (r h) + b_hn,  n = tanh(a_n + hn)
 */
#define GRU_SLOTS(base) *s_n = (base), *s_r = s_n + H, *s_z = s_r + H, *s_hn = s_z + H

/* r and z of all rows before the candidate, which would wait for them in one loop. */
INLINE void FN(gru_gates)(const rnn_step *s, rnn_idx row0, rnn_idx row1, rnn_idx unit0, rnn_idx unit1)
{
    const rnn_idx H = s->h_size;
    EACH_ROW {
        T *s_r = ROW(T, gates, s->ldgates) + H, *s_z = s_r + H;
        if (ROW_IS_OFF) continue;
        EACH_VECTOR {
            STORE(s_r, FN(vsigmoid)(LOAD(s_r)));
            STORE(s_z, FN(vsigmoid)(LOAD(s_z)));
        }
    }
}

INLINE void FN(gru_candidate)(const rnn_step *s, rnn_idx row0, rnn_idx row1, rnn_idx unit0, rnn_idx unit1, const int after)
{
    const rnn_idx H = s->h_size;
    if (after) FN(gru_gates)(s, row0, row1, unit0, unit1);
    EACH_ROW {
        T GRU_SLOTS(ROW(T, gates, s->ldgates));
        const T *h_prev = ROW(const T, prev, s->ldprev);
        T *h = ROW(T, h, H), *h_out = ROW(T, h_out, s->ldout);
        if (ROW_IS_OFF) {
            FN(hold)(s, row, unit0, unit1, s_n, 4);
            continue;
        }
        EACH_VECTOR {
            const V z = LOAD(s_z), hn = LOAD(s_hn);
            const V n = FN(vtanh)(after ? FN(vfma)(LOAD(s_r), hn, LOAD(s_n)) : LOAD(s_n) + hn);
            const V h_new = FN(vfma)(z, LOAD(h_prev) - n, n);
            if (s->keep) STORE(s_n, n);
            STORE(h, h_new);
            STORE(h_out, h_new);
        }
    }
}

/*   dn = dh (1 - z)   da_n = dn (1 - n^2)   da_z = dh (h - n) z (1 - z)   straight to h: dh z
 *   after:   d_hn = da_n r   da_r = da_n hn r (1 - r)
 *   before:  d_hn = da_n     d(r h) = W_hn^T d_hn, then da_r = d(r h) h r (1 - r), and d(r h) r to h
 */
INLINE void FN(gru_candidate_backward)(const rnn_step *s, rnn_idx row0, rnn_idx row1, rnn_idx unit0, rnn_idx unit1, const int after)
{
    const rnn_idx H = s->h_size;
    const V one = FN(vset)(1);
    EACH_ROW {
        const rnn_idx tape_row = row % s->tape_rows;
        const T GRU_SLOTS(TAPE_ROW(gates, s->ldgates));
        const T *h_prev = FN(state_before)(s, tape_row), *grad = ROW(const T, grad_out, s->ldgout);
        T *dh = ROW(T, dh, H), *total_h = ROW(T, total_h, H);
        T *d_n = ROW(T, delta, s->lddelta), *d_r = d_n + H, *d_z = d_r + H, *d_hn = d_z + H;
        if (TAPE_ROW_IS_OFF) {
            FN(hold_backward)(s, row, unit0, unit1, 4);
            continue;
        }
        EACH_VECTOR {
            const V n = LOAD(s_n), r = LOAD(s_r), z = LOAD(s_z), hn = LOAD(s_hn);
            const V dh_t = grad ? LOAD(dh) + LOAD(grad) : LOAD(dh);
            const V da_n = dh_t * (one - z) * FN(vfma)(-n, n, one);
            STORE(d_n, da_n);
            STORE(d_hn, after ? da_n * r : da_n);
            if (after) STORE(d_r, da_n * hn * (r * (one - r)));
            STORE(d_z, dh_t * (LOAD(h_prev) - n) * (z * (one - z)));
            if (total_h) STORE(total_h, dh_t);
            STORE(dh, dh_t * z);
        }
    }
}

static void FN(gru_after_forward)(const rnn_step *s, rnn_idx row0, rnn_idx row1, rnn_idx unit0, rnn_idx unit1)
{
    FN(gru_candidate)(s, row0, row1, unit0, unit1, 1);
}
static void FN(gru_after_backward)(const rnn_step *s, rnn_idx row0, rnn_idx row1, rnn_idx unit0, rnn_idx unit1)
{
    FN(gru_candidate_backward)(s, row0, row1, unit0, unit1, 1);
}
static void FN(gru_before_forward)(const rnn_step *s, rnn_idx row0, rnn_idx row1, rnn_idx unit0, rnn_idx unit1)
{
    FN(gru_candidate)(s, row0, row1, unit0, unit1, 0);
}
static void FN(gru_before_backward)(const rnn_step *s, rnn_idx row0, rnn_idx row1, rnn_idx unit0, rnn_idx unit1)
{
    FN(gru_candidate_backward)(s, row0, row1, unit0, unit1, 0);
}

/* Reset before, first stage: r, z and r h, which the second product reads. */
static void FN(gru_reset_forward)(const rnn_step *s, rnn_idx row0, rnn_idx row1, rnn_idx unit0, rnn_idx unit1)
{
    const rnn_idx H = s->h_size;
    FN(gru_gates)(s, row0, row1, unit0, unit1);
    EACH_ROW {
        const T *s_r = ROW(const T, gates, s->ldgates) + H, *h_prev = ROW(const T, prev, s->ldprev);
        T *aux = ROW(T, aux, H);
        EACH_VECTOR STORE(aux, LOAD(s_r) * LOAD(h_prev));
    }
}

static void FN(gru_reset_backward)(const rnn_step *s, rnn_idx row0, rnn_idx row1, rnn_idx unit0, rnn_idx unit1)
{
    const rnn_idx H = s->h_size;
    const V one = FN(vset)(1);
    EACH_ROW {
        const rnn_idx tape_row = row % s->tape_rows;
        const T *s_r = TAPE_ROW(gates, s->ldgates) + H, *h_prev = FN(state_before)(s, tape_row);
        const T *daux = ROW(const T, daux, H);
        T *dh = ROW(T, dh, H), *d_r = ROW(T, delta, s->lddelta) + H, *aux_out = ROW(T, aux_out, H);
        if (TAPE_ROW_IS_OFF) continue;          /* the candidate's stage has held the row */
        EACH_VECTOR {
            const V r = LOAD(s_r), hp = LOAD(h_prev), drh = LOAD(daux);
            STORE(d_r, drh * hp * (r * (one - r)));
            STORE(dh, FN(vfma)(drh, r, LOAD(dh)));
            if (aux_out) STORE(aux_out, r * hp);
        }
    }
}
#undef GRU_SLOTS
