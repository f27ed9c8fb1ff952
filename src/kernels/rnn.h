/* The simple recurrent net (Elman 1990): h' = phi(W x + U h + b), phi in tanh, relu, sigmoid.
 * One slot, the pre-activation; backward needs h' alone, so nothing but h is on the tape. */
enum { FN(PHI_TANH), FN(PHI_RELU), FN(PHI_SIGMOID) };

INLINE void FN(rnn_forward)(const rnn_step *s, rnn_idx row0, rnn_idx row1, rnn_idx unit0, rnn_idx unit1, const int phi)
{
    const rnn_idx H = s->h_size;
    const V zero = {0};
    EACH_ROW {
        T *pre = ROW(T, gates, s->ldgates), *h = ROW(T, h, H), *h_out = ROW(T, h_out, s->ldout);
        if (ROW_IS_OFF) {
            FN(hold)(s, row, unit0, unit1, pre, 0);
            continue;
        }
        EACH_VECTOR {
            const V a = LOAD(pre);
            const V h_new = phi == FN(PHI_TANH) ? FN(vtanh)(a)
                          : phi == FN(PHI_SIGMOID) ? FN(vsigmoid)(a) : FN(vless)(a, zero, zero, a);
            STORE(h, h_new);
            STORE(h_out, h_new);
        }
    }
}

/*   da = dh phi'(a), phi' from h': 1 - h'^2, h' (1 - h'), or 1 where h' > 0 */
INLINE void FN(rnn_backward)(const rnn_step *s, rnn_idx row0, rnn_idx row1, rnn_idx unit0, rnn_idx unit1, const int phi)
{
    const rnn_idx H = s->h_size;
    const V zero = {0}, one = FN(vset)(1);
    EACH_ROW {
        const rnn_idx tape_row = row % s->tape_rows;
        const T *h_new = TAPE_ROW(state, s->ldstate), *grad = ROW(const T, grad_out, s->ldgout);
        T *dh = ROW(T, dh, H), *total_h = ROW(T, total_h, H), *d_a = ROW(T, delta, s->lddelta);
        if (TAPE_ROW_IS_OFF) {
            FN(hold_backward)(s, row, unit0, unit1, 1);
            continue;
        }
        EACH_VECTOR {
            const V h = LOAD(h_new), dh_t = grad ? LOAD(dh) + LOAD(grad) : LOAD(dh);
            const V da = phi == FN(PHI_TANH) ? dh_t * FN(vfma)(-h, h, one)
                       : phi == FN(PHI_SIGMOID) ? dh_t * (h * (one - h)) : FN(vless)(zero, h, dh_t, zero);
            STORE(d_a, da);
            if (total_h) STORE(total_h, dh_t);
            STORE(dh, zero);
        }
    }
}

#define RNN_STEP(name, phi)                                                                              \
    static void FN(rnn_##name##_forward)(const rnn_step *s, rnn_idx r0, rnn_idx r1, rnn_idx u0, rnn_idx u1)  \
    {                                                                                                        \
        FN(rnn_forward)(s, r0, r1, u0, u1, FN(phi));                                                         \
    }                                                                                                        \
    static void FN(rnn_##name##_backward)(const rnn_step *s, rnn_idx r0, rnn_idx r1, rnn_idx u0, rnn_idx u1) \
    {                                                                                                        \
        FN(rnn_backward)(s, r0, r1, u0, u1, FN(phi));                                                        \
    }
RNN_STEP(tanh, PHI_TANH)
RNN_STEP(relu, PHI_RELU)
RNN_STEP(sigmoid, PHI_SIGMOID)
#undef RNN_STEP
