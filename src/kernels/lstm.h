/* LSTM (Hochreiter & Schmidhuber 1997, with the forget gate of Gers 2000).  Slots: i f g o.
 *
 *   i = sigmoid(a_i)   f = sigmoid(a_f)   g = tanh(a_g)   o = sigmoid(a_o)
 *   c' = f c + i g
 *   h' = o tanh(c')
 */
#define LSTM_SLOTS(base) *s_i = (base), *s_f = s_i + H, *s_g = s_f + H, *s_o = s_g + H

/* Gates first and states after, each over all rows: a state waits for three gates, and in one loop that wait
 * is a fifth of the time (Zen 3, 128 units: 119 cycles a vector instead of 99).  Not so the part of a vector that is left:
 * a masked load soon after a masked store waits until that is in L1 (Zen 5, 100 steps of 4 rows, two loops and one:
 * 40 and 15 us with 8 units, 44 and 35 us with 20). */
static void FN(lstm_forward)(const rnn_step *s, rnn_idx row0, rnn_idx row1, rnn_idx unit0, rnn_idx unit1)
{
    const rnn_idx H = s->h_size;
    EACH_ROW {
        T LSTM_SLOTS(ROW(T, gates, s->ldgates));
        if (ROW_IS_OFF) continue;
        EACH_VECTOR {
            if (part) break;
            STORE(s_i, FN(vsigmoid)(LOAD(s_i)));
            STORE(s_f, FN(vsigmoid)(LOAD(s_f)));
            STORE(s_g, FN(vtanh)(LOAD(s_g)));
            STORE(s_o, FN(vsigmoid)(LOAD(s_o)));
        }
    }
    EACH_ROW {
        T LSTM_SLOTS(ROW(T, gates, s->ldgates));
        T *c = ROW(T, c, H), *h = ROW(T, h, H), *h_out = ROW(T, h_out, s->ldout), *c_out = ROW(T, c_out, H);
        if (ROW_IS_OFF) {
            FN(hold)(s, row, unit0, unit1, s_i, 4);
            continue;
        }
        EACH_VECTOR {
            V i = LOAD(s_i), f = LOAD(s_f), g = LOAD(s_g), o = LOAD(s_o);
            if (part) {
                i = FN(vsigmoid)(i), f = FN(vsigmoid)(f), g = FN(vtanh)(g), o = FN(vsigmoid)(o);
                if (s->keep) {
                    STORE(s_i, i);
                    STORE(s_f, f);
                    STORE(s_g, g);
                    STORE(s_o, o);
                }
            }
            const V c_new = FN(vfma)(f, LOAD(c), i * g);
            const V h_new = o * FN(vtanh)(c_new);
            STORE(c, c_new);
            STORE(h, h_new);
            STORE(h_out, h_new);
            if (s->keep) STORE(c_out, c_new);
        }
    }
}

/*   dh = dL/dh'   dc = dL/dc' + dh o (1 - tanh(c')^2)
 *   da_o = dh tanh(c') o (1 - o)
 *   da_i = dc g i (1 - i)   da_f = dc c f (1 - f)   da_g = dc i (1 - g^2)
 *   to the step before: dc f, and W^T da by the product that follows
 */
static void FN(lstm_backward)(const rnn_step *s, rnn_idx row0, rnn_idx row1, rnn_idx unit0, rnn_idx unit1)
{
    const rnn_idx H = s->h_size;
    const V one = FN(vset)(1);
    EACH_ROW {
        const rnn_idx tape_row = row % s->tape_rows;
        const T LSTM_SLOTS(TAPE_ROW(gates, s->ldgates));
        const T *c_new = TAPE_ROW(state, s->ldstate), *c_prev = FN(state_before)(s, tape_row);
        const T *grad = ROW(const T, grad_out, s->ldgout);
        T *dh = ROW(T, dh, H), *dc = ROW(T, dc, H), *total_h = ROW(T, total_h, H), *total_c = ROW(T, total_c, H);
        T *d_i = ROW(T, delta, s->lddelta), *d_f = d_i + H, *d_g = d_f + H, *d_o = d_g + H;
        if (TAPE_ROW_IS_OFF) {
            FN(hold_backward)(s, row, unit0, unit1, 4);
            continue;
        }
        EACH_VECTOR {
            const V i = LOAD(s_i), f = LOAD(s_f), g = LOAD(s_g), o = LOAD(s_o);
            const V th = FN(vtanh)(LOAD(c_new));
            const V dh_t = grad ? LOAD(dh) + LOAD(grad) : LOAD(dh);
            const V dc_t = FN(vfma)(dh_t * o, FN(vfma)(-th, th, one), LOAD(dc));
            STORE(d_i, dc_t * g * (i * (one - i)));
            STORE(d_f, dc_t * LOAD(c_prev) * (f * (one - f)));
            STORE(d_g, dc_t * i * FN(vfma)(-g, g, one));
            STORE(d_o, dh_t * th * (o * (one - o)));
            if (total_h) {
                STORE(total_h, dh_t);
                STORE(total_c, dc_t);
            }
            STORE(dc, dc_t * f);
            STORE(dh, (V){0});
        }
    }
}
#undef LSTM_SLOTS
