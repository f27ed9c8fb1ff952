/* The simple recurrent net (Elman 1990): h' = phi(W x + U h + b), phi in tanh, relu, sigmoid.
 * One slot, the pre-activation.  Backward needs only h', so nothing but h is on the tape.
 *
 * Functions whose last argument is the constant `phi` serve all three; named functions for the table stand below. */
enum { PHI_TANH, PHI_RELU, PHI_SIGMOID };

INLINE void rnn_state(const real *pre, real *h, real *h_out, rc_idx u, rc_idx count, const int phi)
{
    const vec a = vload_n(pre + u, count), zero = {0};
    const vec h_new = phi == PHI_TANH ? vtanh(a) : phi == PHI_SIGMOID ? vsigmoid(a) : vselect_less(a, zero, zero, a);
    vstore_n(h + u, h_new, count);
    vstore_n(h_out + u, h_new, count);
}

INLINE void rnn_forward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1, const int phi)
{
    const rc_idx H = s->h_size, part = part_units(unit0, unit1), whole = unit1 - part;
    for (rc_idx row = row0; row < row1; row++) {
        real *pre = row_of(s->slots, row, s->ldslots), *h = row_of(s->h, row, H);
        real *h_out = output_of(s, row);
        for (rc_idx u = unit0; u < whole; u += LANES) rnn_state(pre, h, h_out, u, LANES, phi);
        if (part) rnn_state(pre, h, h_out, whole, part, phi);
    }
}

typedef struct {
    const real *h, *grad_out;
    real *d_a, *dh, *total_h;
} rnn_row_backward;

INLINE rnn_row_backward rnn_row_backward_of(const rc_step *s, rc_idx row, rc_idx tape_row)
{
    const rc_idx H = s->h_size;
    return (rnn_row_backward){
        .h = const_row_of(s->state, tape_row, s->ldstate), .grad_out = grad_out_of(s, row),
        .d_a = row_of(s->delta, row, s->lddelta), .dh = row_of(s->dh, row, H), .total_h = row_of(s->total_h, row, H)};
}

/*   da = dh phi'(a), with phi' from h': 1 - h'^2, h' (1 - h'), or 1 where h' > 0 */
INLINE void rnn_gradients(const rnn_row_backward *at, rc_idx u, rc_idx count, const int phi)
{
    const vec zero = {0}, one = vset(1);
    const vec h = vload_n(at->h + u, count), dh = total_gradient(at->dh, at->grad_out, u, count);
    const vec da = phi == PHI_TANH ? dh * vfma(-h, h, one)
                 : phi == PHI_SIGMOID ? dh * (h * (one - h)) : vselect_less(zero, h, dh, zero);
    vstore_n(at->d_a + u, da, count);
    if (at->total_h) vstore_n(at->total_h + u, dh, count);
    vstore_n(at->dh + u, zero, count);              /* the product that follows adds W^T da */
}

INLINE void rnn_backward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1, const int phi)
{
    const rc_idx part = part_units(unit0, unit1), whole = unit1 - part;
    for (rc_idx row = row0; row < row1; row++) {
        const rc_idx tape_row = tape_row_of(s, row);
        if (tape_row >= s->active) {
            hold_backward(s, row, unit0, unit1, 1);
            continue;
        }
        const rnn_row_backward at = rnn_row_backward_of(s, row, tape_row);
        for (rc_idx u = unit0; u < whole; u += LANES) rnn_gradients(&at, u, LANES, phi);
        if (part) rnn_gradients(&at, whole, part, phi);
    }
}

static void rnn_tanh_forward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    rnn_forward(s, row0, row1, unit0, unit1, PHI_TANH);
}

static void rnn_tanh_backward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    rnn_backward(s, row0, row1, unit0, unit1, PHI_TANH);
}

static void rnn_relu_forward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    rnn_forward(s, row0, row1, unit0, unit1, PHI_RELU);
}

static void rnn_relu_backward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    rnn_backward(s, row0, row1, unit0, unit1, PHI_RELU);
}

static void rnn_sigmoid_forward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    rnn_forward(s, row0, row1, unit0, unit1, PHI_SIGMOID);
}

static void rnn_sigmoid_backward(const rc_step *s, rc_idx row0, rc_idx row1, rc_idx unit0, rc_idx unit1)
{
    rnn_backward(s, row0, row1, unit0, unit1, PHI_SIGMOID);
}
